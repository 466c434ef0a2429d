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
#include "kernels/cuda/rows.h"

#define THREADS 256
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
    for (int c = thread_id() * VEC; c < D; c += THREADS * VEC) {
        float v[VEC];
        ld_vec(v, x + c);
        EACH (i, VEC) {
            sum += v[i] * v[i];
            st_shared_f32(parked(c + i), v[i]);
        }
    }
    return 1 / square_root(block_sum(sum, shared_base(), WARPS) / (float)D + eps);
}

KERNEL(rmsnorm, THREADS, rmsnorm_args)
{
    long long row = block_id();
    float norm = park_row(a.x + row * a.x_stride, a.D, a.eps);
    for (int c = thread_id() * VEC; c < a.D; c += THREADS * VEC) {
        float w[VEC], y[VEC];
        ld_vec(w, a.w + c);
        EACH (i, VEC) y[i] = ld_shared_f32(parked(c + i)) * norm * (w[i] + a.shift);
        st_vec(a.y, row * a.y_stride + c, y, a.y_format);
    }
}

KERNEL(add, THREADS, add_args)
{
    float *x = a.x + (long long)block_id() * a.x_stride;
    const float *y = a.y + (long long)block_id() * a.y_stride;
    float norm = a.w ? park_row(y, a.D, a.eps) : 1;
    for (int c = thread_id() * VEC; c < a.D; c += THREADS * VEC) {
        float sum[VEC], v[VEC], w[VEC];
        ld_vec(sum, x + c);
        if (a.w) {
            ld_vec(w, a.w + c);
            EACH (i, VEC) v[i] = ld_shared_f32(parked(c + i)) * norm * (w[i] + a.shift);
        } else {
            ld_vec(v, y + c);
        }
        EACH (i, VEC) sum[i] += a.scale * v[i];
        st_vec(x, c, sum, KERNEL_F32);
    }
}
