/* Transposed copies of 32-bit units (a float32, a pair of bfloat16), a few rows at a time: as
 * shuffles of four units in gcc's and clang's vectors, so that no instruction set is named.
 *
 *   a0 a1 a2 a3                                      a0 b0 c0 d0      interleave a with b and c
 *   b0 b1 b2 b3    rows of `from`  ->  rows of `to`  a1 b1 c1 d1      with d, then pairs of both
 *   c0 ..                                            a2 ..
 *
 * Strides are in units.
 *
 * next: kernels/cpu/matrix.c */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t cpu_four __attribute__((vector_size(16)));

/* Four units from the one with number `at` on. */
static inline cpu_four cpu_load_four(const void *from, size_t at)
{
    cpu_four v;
    memcpy(&v, (const char *)from + 4 * at, sizeof v);
    return v;
}

/* to[u, r] = from[at + r stride + u] for 4 rows and 4 units. */
static inline void cpu_transpose_4x4(void *to, size_t to_stride, const void *from, size_t at,
                                     size_t stride)
{
    const cpu_four a = cpu_load_four(from, at), b = cpu_load_four(from, at + stride),
                   c = cpu_load_four(from, at + 2 * stride),
                   d = cpu_load_four(from, at + 3 * stride);
    const cpu_four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), /* a0 b0 a1 b1 */
        ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                   cd = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                   cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const cpu_four out[4] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5),
                             __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                             __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                             __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
    for (size_t u = 0; u < 4; u++) memcpy((char *)to + 4 * u * to_stride, &out[u], sizeof out[u]);
}

/* The same for 2 rows and 4 units. */
static inline void cpu_transpose_2x4(void *to, size_t to_stride, const void *from, size_t at,
                                     size_t stride)
{
    const cpu_four a = cpu_load_four(from, at), b = cpu_load_four(from, at + stride);
    const cpu_four out[2] = {__builtin_shufflevector(a, b, 0, 4, 1, 5),
                             __builtin_shufflevector(a, b, 2, 6, 3, 7)};
    for (size_t u = 0; u < 4; u++)
        memcpy((char *)to + 4 * u * to_stride, (const char *)&out[u / 2] + u % 2 * 8, 8);
}

/* to[u, r] = from[r, u] for `rows` rows, an even number known when compiling, and n units. */
static inline __attribute__((always_inline)) void
cpu_transpose(void *out, size_t to_stride, const void *from, size_t stride, size_t rows, size_t n)
{
    char *to = out;
    size_t whole = n / 4 * 4;
    for (size_t u = 0; u < whole; u += 4) {
        size_t r = 0;
        for (; r + 4 <= rows; r += 4)
            cpu_transpose_4x4(to + 4 * (u * to_stride + r), to_stride, from, r * stride + u,
                              stride);
        if (r < rows)
            cpu_transpose_2x4(to + 4 * (u * to_stride + r), to_stride, from, r * stride + u,
                              stride);
    }
    for (size_t u = whole; u < n; u++)
        for (size_t r = 0; r < rows; r++)
            memcpy(to + 4 * (u * to_stride + r), (const char *)from + 4 * (r * stride + u), 4);
}
