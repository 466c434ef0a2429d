/* One number from sixteen lanes: their sum, their maximum. One tree everywhere, so the same bits:
 * lanes fold 8 on 8, 4 on 4, 2 on 2, 1 on 1.
 *
 * next: kernels/cpu/isa/rows.c */
#pragma once

#include "kernels/cpu/isa/simd.h"

#if defined(QK_ISA_avx2) || defined(QK_ISA_avx512) || defined(QK_ISA_avx512bf16)

#define FOLD(op, h)                                                                                \
    do {                                                                                           \
        __m128 q = _mm_##op##_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));          \
        q = _mm_##op##_ps(q, _mm_movehl_ps(q, q));                                                 \
        return _mm_cvtss_f32(_mm_##op##_ss(q, _mm_shuffle_ps(q, q, 1)));                           \
    } while (0)

#ifndef QK_ISA_avx2
INLINE float v16_sum(v16 x)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    FOLD(add, h);
}
INLINE float v16_max_lane(v16 x)
{
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    FOLD(max, h);
}
#else
INLINE float v16_sum(v16 x)
{
    __m256 h = _mm256_add_ps(x.a, x.b);
    FOLD(add, h);
}
INLINE float v16_max_lane(v16 x)
{
    __m256 h = _mm256_max_ps(x.a, x.b);
    FOLD(max, h);
}
#endif

#else

INLINE float v16_sum(v16 x)
{
    for (int n = 8; n; n /= 2)
        for (int i = 0; i < n; i++) x.f[i] += x.f[i + n];
    return x.f[0];
}
INLINE float v16_max_lane(v16 x)
{
    for (int n = 8; n; n /= 2)
        for (int i = 0; i < n; i++) x.f[i] = x.f[i] > x.f[i + n] ? x.f[i] : x.f[i + n];
    return x.f[0];
}

#endif
