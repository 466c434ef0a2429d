/* See nonfinite.h. */
#include "engine/base/nonfinite.h"

/* The bits, without the sign, of the smallest magnitude that `to` cannot hold. */
static uint32_t limit_of(qk_dtype dtype, qk_dtype to)
{
    if (dtype == QK_F32) return to == QK_F16 ? 0x477FF000 : to == QK_BF16 ? 0x7F7F8000 : 0x7F800000;
    if (dtype == QK_BF16) return to == QK_F16 ? 0x4780 : 0x7F80;
    return 0x7C00;
}

size_t qk_nonfinite_count(const void *values, size_t n, qk_dtype dtype, qk_dtype to)
{
    uint32_t limit = limit_of(dtype, to);
    size_t bad = 0;
    if (dtype == QK_F32) {
        const uint32_t *v = values;
        for (size_t i = 0; i < n; i++) bad += (v[i] & 0x7FFFFFFF) >= limit;
    } else {
        const uint16_t *v = values;
        for (size_t i = 0; i < n; i++) bad += (v[i] & 0x7FFF) >= (uint16_t)limit;
    }
    return bad;
}

size_t qk_nonfinite_first(const void *values, size_t n, qk_dtype dtype, qk_dtype to)
{
    size_t size = qk_dtype_size(dtype);
    for (size_t i = 0; i < n; i++)
        if (qk_nonfinite_count((const char *)values + i * size, 1, dtype, to)) return i;
    return n;
}

size_t qk_nonfinite_rows(const float *values, size_t rows, size_t d)
{
    size_t bad = 0;
    if (!qk_nonfinite_count(values, rows * d, QK_F32, QK_F32)) return 0;
    for (size_t r = 0; r < rows; r++)
        bad += qk_nonfinite_count(values + r * d, d, QK_F32, QK_F32) > 0;
    return bad;
}
