/* Inner loops over one row: RMS norm, gated activations, softmax.
 *
 * Sums run in 16 lanes, lane i taking elements i, i + 16, ..., folded at the end by v16_sum's fixed
 * tree: the same bits in every instruction set, for any T.
 *
 * next: kernels/cpu/isa/attention.c */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa/fold.h"
#include "kernels/cpu/isa/isa.h"

/* 1 / sqrt(mean(x^2) + eps) */
INLINE float inverse_rms(const float *x, size_t n, float eps)
{
    v16 sum = v16_zero();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) sum = v16_fma(v16_load(x + i), v16_load(x + i), sum);
    if (i < n) {
        v16 tail = v16_load_n(x + i, n - i, 0);
        sum = v16_fma(tail, tail, sum);
    }
    return 1 / sqrtf(v16_sum(sum) / (float)n + eps);
}

/* 16 numbers of a row, or the n < 16 that are left and zeros. */
INLINE v16 load(const float *x, size_t n)
{
    return n < 16 ? v16_load_n(x, n, 0) : v16_load(x);
}

/* y = x scale (w + shift); y [n] float32 or bfloat16 from element `at` on; y may be x. */
INLINE void scale_row(void *y, size_t at, bool bf16, const float *x, size_t n, const float *w,
                      float scale, float shift)
{
    for (size_t i = 0; i < n; i += 16) {
        v16 weight = v16_add(load(w + i, n - i), v16_set1(shift));
        v16 out = v16_mul(v16_mul(load(x + i, n - i), v16_set1(scale)), weight);
        v16_store_as(y, at + i, out, n - i, bf16);
    }
}

void QK_NAME(cpu_row_rmsnorm)(qk_tensor y, qk_tensor x, size_t row, const float *w, float eps,
                              bool plus_one)
{
    const float *in = (const float *)x.data + row * x.stride;
    float scale = inverse_rms(in, x.cols, eps), shift = plus_one ? 1 : 0;
    scale_row(y.data, row * y.stride, y.dtype == QK_BF16, in, x.cols, w, scale, shift);
}

void QK_NAME(cpu_norm_part)(float *x, size_t n, const float *w, float eps, bool plus_one)
{
    scale_row(x, 0, false, x, n, w, inverse_rms(x, n, eps), plus_one ? 1 : 0);
}

void QK_NAME(cpu_row_store)(qk_tensor y, size_t row, const float *from)
{
    if (y.dtype == QK_F32) {
        memcpy((float *)y.data + row * y.stride, from, y.cols * sizeof(float));
        return;
    }
    uint16_t *to = (uint16_t *)y.data + row * y.stride;
    for (size_t i = 0; i < y.cols; i += 16)
        v16_store_bf16(to + i, load(from + i, y.cols - i), y.cols - i);
}

/* n <= 16 numbers, of float32 or bfloat16, by way of bfloat16. */
INLINE void copy_half(float *out, const qk_tensor *t, size_t at, size_t n)
{
    uint16_t bits[16] = {0};
    if (t->dtype == QK_F32)
        v16_store_bf16(bits, load((const float *)t->data + at, n), n);
    else
        memcpy(bits, (const uint16_t *)t->data + at, n * sizeof *bits);
    v16_store_as(out, 0, v16_from_bf16(bits), n, false);
}

void QK_NAME(cpu_copy_row)(float *out, qk_tensor t, size_t at, size_t d, qk_dtype rounded)
{
    if (t.dtype == QK_F32 && rounded == QK_F32) {
        memcpy(out, (const float *)t.data + at, d * sizeof *out);
        return;
    }
    size_t i = 0;
    for (; i + 16 <= d; i += 16) copy_half(out + i, &t, at + i, 16);
    if (i < d) copy_half(out + i, &t, at + i, d - i);
}

void QK_NAME(cpu_rotate)(float *head, const float *cos, const float *sin, size_t half)
{
    for (size_t i = 0; i < half; i += 16) {
        size_t n = half - i;
        float *at = head + i;
        v16 a = load(at, n), b = load(at + half, n), c = load(cos + i, n), s = load(sin + i, n);
        v16_store_as(at, 0, v16_sub(v16_mul(a, c), v16_mul(b, s)), n, false);
        v16_store_as(at + half, 0, v16_add(v16_mul(b, c), v16_mul(a, s)), n, false);
    }
}

void QK_NAME(cpu_softmax)(float *x, size_t n)
{
    float largest = x[0];
    for (size_t i = 1; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    v16 sum = v16_zero();
    for (size_t i = 0; i < n; i += 16) {
        size_t count = n - i < 16 ? n - i : 16;
        float e[16];
        v16_store(e, v16_exp(v16_sub(v16_load_n(x + i, count, -INFINITY), v16_set1(largest))));
        sum = v16_add(sum, v16_load(e));
        memcpy(x + i, e, count * sizeof(float));
    }
    float total = v16_sum(sum);
    for (size_t i = 0; i < n; i++) x[i] /= total;
}

/* x Phi(x), Phi the normal distribution: Phi(-z) = e^(-z^2 / 2) t p(t) for z >= 0, with
 * t = 1 / (1 + 0.4 z / sqrt 2) and p fitted to 6e-8 of the value up to z = 13. */
INLINE v16 gelu(v16 x)
{
    static const float p[] = {0.040267907f, -0.13547306f, 0.07384616f, 0.09972505f, 0.07151139f,
                              0.19696173f,  0.20095891f,  0.22657567f, 0.2256263f};
    v16 z = v16_max(x, v16_sub(v16_zero(), x));
    v16 t = v16_div(v16_set1(1), v16_fma(z, v16_set1(0.4f * 0.70710678f), v16_set1(1)));
    v16 sum = v16_set1(p[0]);
    for (int i = 1; i < 9; i++) sum = v16_fma(sum, t, v16_set1(p[i]));
    v16 density = v16_exp(v16_mul(v16_mul(x, x), v16_set1(-0.5f)));
    v16 tail = v16_mul(v16_mul(v16_set1(0.5f), density), v16_mul(sum, t));
    /* Phi(x): the tail below zero, 1 - tail from zero on. */
    v16 above = v16_keep_ge(v16_sub(v16_set1(1), v16_add(tail, tail)), x, v16_zero());
    return v16_mul(x, v16_add(tail, above));
}

/* silu(x) = x / (1 + e^-x);  gelu_tanh(x) = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
INLINE v16 activate(v16 x, qk_activation act)
{
    if (act == QK_SILU) return v16_div(x, v16_add(v16_set1(1), v16_exp(v16_sub(v16_zero(), x))));
    if (act == QK_GELU) return gelu(x);
    v16 cube = v16_mul(v16_mul(x, x), x);
    v16 t = v16_tanh(v16_mul(v16_set1(0.7978845608f), v16_fma(cube, v16_set1(0.044715f), x)));
    return v16_mul(v16_mul(v16_set1(0.5f), x), v16_add(v16_set1(1), t));
}

void QK_NAME(cpu_row_glu)(qk_tensor y, qk_tensor g, size_t row, qk_activation act)
{
    const float *gate = (const float *)g.data + row * g.stride, *up = gate + y.cols;
    size_t at = row * y.stride, n = y.cols;
    for (size_t i = 0; i < n; i += 16) {
        v16 x = load(gate + i, n - i), u = load(up + i, n - i);
        v16_store_as(y.data, at + i, v16_mul(activate(x, act), u), n - i, y.dtype == QK_BF16);
    }
}
