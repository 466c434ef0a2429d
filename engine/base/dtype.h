/* Number formats of tensors and their conversions to float32: the only copy in the program.
 *
 * bfloat16 is the upper half of a float32 (8 exponent bits, 7 of mantissa); float16 is IEEE
 * binary16. Conversions to them round to nearest, ties to even, as torch does. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum qk_dtype { QK_F32, QK_F16, QK_BF16 } qk_dtype;

static inline size_t qk_dtype_size(qk_dtype t)
{
    return t == QK_F32 ? 4 : 2;
}

static inline const char *qk_dtype_name(qk_dtype t)
{
    return t == QK_F32 ? "float32" : t == QK_F16 ? "float16" : "bfloat16";
}

static inline uint32_t qk_float_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float qk_bits_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline float qk_bf16_to_f32(uint16_t h)
{
    return qk_bits_float((uint32_t)h << 16);
}

static inline uint16_t qk_f32_to_bf16(float f)
{
    uint32_t u = qk_float_bits(f);
    if ((u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)((u >> 16) | 0x40); /* NaN stays NaN */
    return (uint16_t)((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}

static inline float qk_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
    if (exponent == 31) return qk_bits_float(sign | 0x7F800000 | mantissa << 13);
    if (exponent) return qk_bits_float(sign | (exponent + 112) << 23 | mantissa << 13);
    float tiny = (float)mantissa * 0x1p-24f; /* subnormal: mantissa * 2^-24, exact */
    return sign ? -tiny : tiny;
}

static inline uint16_t qk_f32_to_f16(float f)
{
    uint32_t u = qk_float_bits(f), sign = u >> 16 & 0x8000, size = u & 0x7FFFFFFF;
    if (size > 0x7F800000) return (uint16_t)(sign | 0x7E00); /* NaN */
    if (size >= 0x477FF000)
        return (uint16_t)(sign | 0x7C00); /* 65520 and above round to infinity */
    if (size < 0x38800000) { /* below 2^-14: a multiple of 2^-24, rounded by the addition */
        float aligned = qk_bits_float(size) + 0.5f;
        return (uint16_t)(sign | (qk_float_bits(aligned) - qk_float_bits(0.5f)));
    }
    return (uint16_t)(sign | ((size - 0x38000000 + 0xFFF + (size >> 13 & 1)) >> 13));
}

/* A float32 rounded to a format and widened again. */
static inline float qk_round_to(float value, qk_dtype dtype)
{
    if (dtype == QK_BF16) return qk_bf16_to_f32(qk_f32_to_bf16(value));
    return dtype == QK_F16 ? qk_f16_to_f32(qk_f32_to_f16(value)) : value;
}

/* Element i of an array as float32, and the other way round, rounded to nearest. */
static inline float qk_element(const void *data, size_t i, qk_dtype dtype)
{
    if (dtype == QK_F32) return ((const float *)data)[i];
    uint16_t h = ((const uint16_t *)data)[i];
    return dtype == QK_BF16 ? qk_bf16_to_f32(h) : qk_f16_to_f32(h);
}

static inline void qk_element_set(void *data, size_t i, qk_dtype dtype, float value)
{
    if (dtype == QK_F32)
        ((float *)data)[i] = value;
    else
        ((uint16_t *)data)[i] = dtype == QK_BF16 ? qk_f32_to_bf16(value) : qk_f32_to_f16(value);
}
