/* Gated activations and plain conversion.
 *
 *   glu       y = act(g[:, 0:F]) * g[:, F:2F]                                    (Shazeer, 2020)
 *   convert   y = x in y's format
 *
 *   silu(x)      = x / (1 + e^-x)
 *   gelu(x)      = x Phi(x) = x / 2 erfc(-x / sqrt 2)              (Hendrycks and Gimpel, 2016)
 *   gelu_tanh(x) = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
 *
 * g [T, 2F] float32, as the product with the joined gate and up weights leaves it; y [T, F] float32
 * or bfloat16. One block of 256 threads per row, each element touched once.
 *
 *   bytes per row   8 F read, 2 F written;   some 20 FLOPs per element: bound by memory
 *
 * next: kernels/cuda/qkv_post.cu */
#define THREADS 256
#include "kernels/cuda/rows.h"

DEVICE float activate(float x, int activation)
{
    if (activation == 0) return x / (1 + exp_exact(-x));
    if (activation == 1) return 0.5f * x * erfc_exact(-0.70710678f * x);
    return 0.5f * x * (1 + tanh_exact(0.7978845608f * (x + 0.044715f * x * x * x)));
}

KERNEL(glu, THREADS, glu_args)
{
    long long row = block_id();
    const float *gate = a.g + row * a.g_stride, *up = gate + a.F;
    SWEEP (c, a.F) {
        float x[AHEAD][VEC], y[AHEAD][VEC];
        ld_sweep(x, gate, c, a.F);
        ld_sweep(y, up, c, a.F);
        EACH (u, AHEAD) {
            if (PIECE(c, u) >= a.F) continue;
            EACH (i, VEC) x[u][i] = activate(x[u][i], a.activation) * y[u][i];
            st_vec(a.y, row * a.y_stride + PIECE(c, u), x[u], a.y_format);
        }
    }
}

KERNEL(convert, THREADS, convert_args)
{
    long long row = block_id();
    SWEEP (c, a.cols) {
        float v[AHEAD][VEC];
        ld_sweep(v, a.x + row * a.x_stride, c, a.cols);
        EACH (u, AHEAD)
            if (PIECE(c, u) < a.cols) st_vec(a.y, row * a.y_stride + PIECE(c, u), v[u], a.y_format);
    }
}
