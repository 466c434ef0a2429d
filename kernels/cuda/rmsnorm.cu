/* RMS norm, and the residual addition that may contain one.
 *
 *   rmsnorm   y = x / sqrt(mean(x^2) + eps) * (w + shift)          (Zhang and Sennrich, 2019)
 *   add       x += scale * y,   or   x += scale * rmsnorm(y)
 *
 * x [T, D] float32; y of rmsnorm float32 or bfloat16. One block of 256 threads per row. The row is
 * read once: each thread keeps its part in shared memory while the sum of squares forms, and no
 * other thread touches that part, so the only barrier is the one inside the sum.
 *
 *   shared memory   32 + 4 D bytes        (D = 4096: 16 KB, 8 blocks and more per SM)
 *   bytes per row   rmsnorm 4 D + 2 D (bfloat16 out), add 12 D;   FLOPs 4 D: bound by memory
 *
 * The order of the sum depends on D alone, so a row has the same bits in every batch.
 *
 * next: kernels/cuda/qkv_post.cu */
#define THREADS 256
#include "kernels/cuda/rows.h"

#define WARPS (THREADS / WARP)

/* Where element c of the row is parked. */
DEVICE u32 parked(int c)
{
    return shared_base() + 4u * WARPS + 4u * (u32)c;
}

/* Parks x [D] in shared memory; returns 1 / sqrt(mean(x^2) + eps). */
DEVICE float park_row(const float *x, int D, float eps)
{
    float sum = 0;
    name_shared(shared_base(), 4u * WARPS, "sums");
    name_shared(parked(0), 4u * (u32)D, "row");
    SWEEP (c, D) {
        float v[AHEAD][VEC];
        ld_sweep(v, x, c, D);
        EACH (u, AHEAD) {
            if (PIECE(c, u) >= D) continue;
            EACH (i, VEC) sum += v[u][i] * v[u][i];
            st_shared_vec(parked(PIECE(c, u)), v[u]);
        }
    }
    return 1 / square_root(block_sum(sum, shared_base(), WARPS) / (float)D + eps);
}

/* v = the parked elements from `at` on, normed. */
DEVICE void ld_normed(float *v, int at, float norm, const float *w, float shift)
{
    ld_shared_vec(v, parked(at));
    EACH (i, VEC) v[i] = v[i] * norm * (w[i] + shift);
}

KERNEL(rmsnorm, THREADS, rmsnorm_args)
{
    long long row = block_id();
    float norm = park_row(a.x + row * a.x_stride, a.D, a.eps);
    SWEEP (c, a.D) {
        float w[AHEAD][VEC], y[VEC];
        ld_sweep(w, a.w, c, a.D);
        EACH (u, AHEAD) {
            if (PIECE(c, u) >= a.D) continue;
            ld_normed(y, PIECE(c, u), norm, w[u], a.shift);
            st_vec(a.y, row * a.y_stride + PIECE(c, u), y, a.y_format);
        }
    }
}

KERNEL(add, THREADS, add_args)
{
    float *x = a.x + (long long)block_id() * a.x_stride;
    const float *y = a.y + (long long)block_id() * a.y_stride;
    float norm = a.w ? park_row(y, a.D, a.eps) : 1;
    SWEEP (c, a.D) {
        float sum[AHEAD][VEC], v[AHEAD][VEC]; /* v: y, or the weights of its norm */
        ld_sweep(sum, x, c, a.D);
        ld_sweep(v, a.w ? a.w : y, c, a.D);
        EACH (u, AHEAD) {
            if (PIECE(c, u) >= a.D) continue;
            float w[VEC];
            EACH (i, VEC) w[i] = v[u][i];
            if (a.w) ld_normed(v[u], PIECE(c, u), norm, w, a.shift);
            EACH (i, VEC) sum[u][i] += a.scale * v[u][i];
            st_vec(x, PIECE(c, u), sum[u], KERNEL_F32);
        }
    }
}
