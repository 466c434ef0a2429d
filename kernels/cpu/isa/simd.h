/* v16: sixteen float32 lanes, the unit that every inner loop of the CPU backend is written in.
 *
 * One zmm register with AVX-512, two ymm with AVX2, an array elsewhere. All three give the same
 * bits: every operation is exactly rounded (fma included: the portable one calls fmaf), sums use
 * one fixed tree, and exp is a polynomial written in these operations. So a result never depends on
 * the instruction set. (What tile registers do is not written in v16: kernels/cpu/isa/amx.h.)
 *
 * Files in kernels/cpu/isa are compiled once per instruction set, with QK_ISA as its name.
 *
 * next: kernels/cpu/isa/gemm.c */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/dtype.h"

#define QK_JOIN_(a, b) a##_##b
#define QK_JOIN(a, b) QK_JOIN_(a, b)
/* The name of an exported symbol of this instruction set: QK_NAME(gemm) is gemm_avx2. */
#define QK_NAME(name) QK_JOIN(name, QK_ISA)

#define INLINE static inline __attribute__((always_inline, unused))

#ifdef QK_ISA_amx /* tile registers on top of it: kernels/cpu/isa/amx.h */
#define QK_ISA_avx512bf16
#endif

#if defined(QK_ISA_avx512) || defined(QK_ISA_avx512bf16)

#include <immintrin.h>

typedef __m512 v16;

INLINE v16 v16_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
INLINE void v16_store(float *p, v16 a)
{
    _mm512_storeu_ps(p, a);
}
INLINE v16 v16_set1(float a)
{
    return _mm512_set1_ps(a);
}
INLINE v16 v16_add(v16 a, v16 b)
{
    return _mm512_add_ps(a, b);
}
INLINE v16 v16_sub(v16 a, v16 b)
{
    return _mm512_sub_ps(a, b);
}
INLINE v16 v16_mul(v16 a, v16 b)
{
    return _mm512_mul_ps(a, b);
}
INLINE v16 v16_div(v16 a, v16 b)
{
    return _mm512_div_ps(a, b);
}
INLINE v16 v16_max(v16 a, v16 b)
{
    return _mm512_max_ps(a, b);
}
INLINE v16 v16_min(v16 a, v16 b)
{
    return _mm512_min_ps(a, b);
}
INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
} /* a b + c */
/* a * 2^n, n from -126 to 127: the lowest 9 bits of a lane; a and the result are normal. */
INLINE v16 v16_scale2(v16 a, v16 n)
{
    __m512i e = _mm512_slli_epi32(_mm512_castps_si512(n), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), e));
}
/* value where x >= limit, else 0 (also where x is NaN). */
INLINE v16 v16_keep_ge(v16 value, v16 x, v16 limit)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ), value);
}
/* Rounded to bfloat16 as qk_f32_to_bf16 does it: the same bits for NaN and subnormal numbers. */
INLINE __m256i v16_to_bf16(v16 a)
{
    __m512i u = _mm512_castps_si512(a), upper = _mm512_srli_epi32(u, 16);
    __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7FFF)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(r, 16), nan, quiet));
}
/* The first n lanes, n from 1 on; all 16 when n is larger. */
INLINE void v16_store_bf16(uint16_t *p, v16 a, size_t n)
{
    _mm256_mask_storeu_epi16(p, (__mmask16)(n < 16 ? (1u << n) - 1 : 0xFFFF), v16_to_bf16(a));
}
INLINE v16 v16_from_bf16(const uint16_t *p)
{
    __m512i h = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(h, 16));
}
INLINE v16 v16_from_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
/* The even and the odd numbers of sixteen pairs of bfloat16; the even ones are the lower halves. */
INLINE v16 v16_even(const uint32_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
INLINE v16 v16_odd(const uint32_t *p)
{
    __m512i high = _mm512_set1_epi32((int)0xFFFF0000);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high));
}

#ifdef QK_ISA_avx512bf16
#define V16_HAS_PAIRS /* an instruction that multiplies them */
typedef __m512i v16i; /* sixteen pairs of bfloat16 */
INLINE v16i v16i_load(const uint32_t *p)
{
    return _mm512_loadu_si512(p);
}
INLINE v16i v16i_set1(uint32_t a)
{
    return _mm512_set1_epi32((int)a);
}
/* sum + odd products + even products, each with one rounding; but subnormals count as zero. */
INLINE v16 v16_add_pairs(v16 sum, v16i a, v16i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
#endif

#elif defined(QK_ISA_avx2)

#include <immintrin.h>

typedef struct v16 {
    __m256 a, b;
} v16;

#define V16_2(op, x, y) ((v16){op((x).a, (y).a), op((x).b, (y).b)})
INLINE v16 v16_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
INLINE void v16_store(float *p, v16 x)
{
    _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b);
}
INLINE v16 v16_set1(float x)
{
    return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
INLINE v16 v16_add(v16 x, v16 y)
{
    return V16_2(_mm256_add_ps, x, y);
}
INLINE v16 v16_sub(v16 x, v16 y)
{
    return V16_2(_mm256_sub_ps, x, y);
}
INLINE v16 v16_mul(v16 x, v16 y)
{
    return V16_2(_mm256_mul_ps, x, y);
}
INLINE v16 v16_div(v16 x, v16 y)
{
    return V16_2(_mm256_div_ps, x, y);
}
INLINE v16 v16_max(v16 x, v16 y)
{
    return V16_2(_mm256_max_ps, x, y);
}
INLINE v16 v16_min(v16 x, v16 y)
{
    return V16_2(_mm256_min_ps, x, y);
}
INLINE v16 v16_fma(v16 x, v16 y, v16 z)
{
    return (v16){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
INLINE __m256 v8_scale2(__m256 a, __m256 n)
{
    __m256i e = _mm256_slli_epi32(_mm256_castps_si256(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), e));
}
INLINE v16 v16_scale2(v16 x, v16 n)
{
    return V16_2(v8_scale2, x, n);
}
INLINE v16 v16_keep_ge(v16 value, v16 x, v16 limit)
{
    return (v16){_mm256_and_ps(value.a, _mm256_cmp_ps(x.a, limit.a, _CMP_GE_OQ)),
                 _mm256_and_ps(value.b, _mm256_cmp_ps(x.b, limit.b, _CMP_GE_OQ))};
}
INLINE __m128i v8_to_bf16(__m256 a)
{
    __m256i u = _mm256_castps_si256(a), upper = _mm256_srli_epi32(u, 16);
    __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    __m256i r = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7FFF)), odd);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    r = _mm256_blendv_epi8(_mm256_srli_epi32(r, 16), quiet, nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}
INLINE void v16_store_bf16(uint16_t *p, v16 x, size_t n)
{
    uint16_t t[16];
    _mm_storeu_si128((__m128i *)t, v8_to_bf16(x.a));
    _mm_storeu_si128((__m128i *)(t + 8), v8_to_bf16(x.b));
    memcpy(p, t, n < 16 ? 2 * n : sizeof t);
}
INLINE __m256 v8_from_bf16(const uint16_t *p)
{
    __m256i h = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(h, 16));
}
INLINE v16 v16_from_bf16(const uint16_t *p)
{
    return (v16){v8_from_bf16(p), v8_from_bf16(p + 8)};
}
INLINE v16 v16_from_f16(const uint16_t *p)
{
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                 _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
INLINE __m256 v8_even(const uint32_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)p), 16));
}
INLINE v16 v16_even(const uint32_t *p)
{
    return (v16){v8_even(p), v8_even(p + 8)};
}
INLINE v16 v16_odd(const uint32_t *p)
{
    /* volatile: loaded each time. The compiler would keep it in a register, and a product of 6 rows
     * has none to spare. */
    static const volatile uint32_t mask[8] = {0xFFFF0000, 0xFFFF0000, 0xFFFF0000, 0xFFFF0000,
                                              0xFFFF0000, 0xFFFF0000, 0xFFFF0000, 0xFFFF0000};
    __m256i high = *(const volatile __m256i_u *)mask;
    __m256i a = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)p), high),
            b = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(p + 8)), high);
    return (v16){_mm256_castsi256_ps(a), _mm256_castsi256_ps(b)};
}

#else /* portable */

typedef struct v16 {
    float f[16];
} v16;

#define V16_EACH(expression)                                                                       \
    v16 r;                                                                                         \
    for (int i = 0; i < 16; i++) r.f[i] = (expression);                                            \
    return r
INLINE v16 v16_load(const float *p)
{
    V16_EACH(p[i]);
}
INLINE void v16_store(float *p, v16 x)
{
    memcpy(p, x.f, sizeof x.f);
}
INLINE v16 v16_set1(float x)
{
    V16_EACH(x);
}
INLINE v16 v16_add(v16 x, v16 y)
{
    V16_EACH(x.f[i] + y.f[i]);
}
INLINE v16 v16_sub(v16 x, v16 y)
{
    V16_EACH(x.f[i] - y.f[i]);
}
INLINE v16 v16_mul(v16 x, v16 y)
{
    V16_EACH(x.f[i] * y.f[i]);
}
INLINE v16 v16_div(v16 x, v16 y)
{
    V16_EACH(x.f[i] / y.f[i]);
}
/* As x86 does it: the second operand when either is NaN. */
INLINE v16 v16_max(v16 x, v16 y)
{
    V16_EACH(x.f[i] > y.f[i] ? x.f[i] : y.f[i]);
}
INLINE v16 v16_min(v16 x, v16 y)
{
    V16_EACH(x.f[i] < y.f[i] ? x.f[i] : y.f[i]);
}
INLINE v16 v16_fma(v16 x, v16 y, v16 z)
{
    V16_EACH(fmaf(x.f[i], y.f[i], z.f[i]));
}
INLINE v16 v16_scale2(v16 x, v16 n)
{
    V16_EACH(qk_bits_float(qk_float_bits(x.f[i]) + (qk_float_bits(n.f[i]) << 23)));
}
INLINE v16 v16_keep_ge(v16 value, v16 x, v16 limit)
{
    V16_EACH(x.f[i] >= limit.f[i] ? value.f[i] : 0);
}
INLINE void v16_store_bf16(uint16_t *p, v16 x, size_t n)
{
    for (size_t i = 0; i < 16 && i < n; i++) p[i] = qk_f32_to_bf16(x.f[i]);
}
INLINE v16 v16_from_bf16(const uint16_t *p)
{
    V16_EACH(qk_bf16_to_f32(p[i]));
}
INLINE v16 v16_from_f16(const uint16_t *p)
{
    V16_EACH(qk_f16_to_f32(p[i]));
}
INLINE v16 v16_even(const uint32_t *p)
{
    V16_EACH(qk_bits_float(p[i] << 16));
}
INLINE v16 v16_odd(const uint32_t *p)
{
    V16_EACH(qk_bits_float(p[i] & 0xFFFF0000));
}

#endif

/* ---- the same for all ---- */

INLINE v16 v16_zero(void)
{
    return v16_set1(0);
}

/* Up to 16 values; the missing lanes are `fill`. */
INLINE v16 v16_load_n(const float *p, size_t n, float fill)
{
    float t[16];
    for (size_t i = 0; i < 16; i++) t[i] = i < n ? p[i] : fill;
    return v16_load(t);
}

/* The first n lanes to element `at` of an array, or all 16 when n is larger. */
INLINE void v16_store_as(void *data, size_t at, v16 x, size_t n, bool bf16)
{
    if (bf16) {
        v16_store_bf16((uint16_t *)data + at, x, n);
    } else if (n >= 16) {
        v16_store((float *)data + at, x);
    } else {
        float t[16];
        v16_store(t, x);
        memcpy((float *)data + at, t, n * sizeof(float));
    }
}

/* e^x within 2 ulp; 0 below -87.3 (minus infinity included), infinity-free up to 88.
 *   x = n ln 2 + r, |r| <= ln 2 / 2;  e^x = 2^n p(r), p: the Taylor polynomial of degree 7 */
INLINE v16 v16_exp(v16 x)
{
    v16 lowest = v16_set1(-87.3f);
    v16 t = v16_min(v16_max(x, lowest), v16_set1(88.0f));
    /* Numbers from 2^23 on are whole: adding one rounds, and n stands in the lowest bits. */
    v16 big = v16_set1(0x1.8p23f);
    v16 sum = v16_add(v16_mul(t, v16_set1(0x1.715476p+0f)), big); /* 1 / ln 2 */
    v16 n = v16_sub(sum, big);
    v16 r = v16_fma(n, v16_set1(-0x1.62e4p-1f), t); /* ln 2, upper bits */
    r = v16_fma(n, v16_set1(-0x1.7f7d1cp-20f), r);  /* and the rest */
    v16 p = v16_set1(1.0f / 5040);
    p = v16_fma(p, r, v16_set1(1.0f / 720));
    p = v16_fma(p, r, v16_set1(1.0f / 120));
    p = v16_fma(p, r, v16_set1(1.0f / 24));
    p = v16_fma(p, r, v16_set1(1.0f / 6));
    p = v16_fma(p, r, v16_set1(0.5f));
    p = v16_fma(p, r, v16_set1(1));
    p = v16_fma(p, r, v16_set1(1));
    return v16_keep_ge(v16_scale2(p, sum), x, lowest);
}

/* tanh x = 1 - 2 / (e^2x + 1), within 1e-7 of the true value. */
INLINE v16 v16_tanh(v16 x)
{
    v16 t = v16_min(v16_max(x, v16_set1(-20)), v16_set1(20));
    v16 e = v16_add(v16_exp(v16_add(t, t)), v16_set1(1));
    return v16_sub(v16_set1(1), v16_div(v16_set1(2), e));
}
