/* See parquet_encode.h. */
#include "formats/parquet_encode.h"

#include <string.h>

static void varint(qk_buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) qk_buf_add_byte(out, (uint8_t)(v | 0x80));
    qk_buf_add_byte(out, (uint8_t)v);
}

void qk_pq_encode_run(qk_buf *out, uint32_t value, size_t n, int width)
{
    varint(out, (uint64_t)n << 1);
    for (int bits = 0; bits < width; bits += 8) qk_buf_add_byte(out, (uint8_t)(value >> bits));
}

/* Packs values of `width` bits, lowest bit first, into whole bytes. */
static void pack(qk_buf *out, const uint64_t *values, size_t n, int width)
{
    uint64_t hold = 0;
    int filled = 0;
    qk_buf_reserve(out, n * (size_t)width / 8 + 16);
    for (size_t i = 0; i < n; i++) {
        int taken = 0;
        while (taken < width) {
            int space = 64 - filled, part = width - taken < space ? width - taken : space;
            uint64_t bits = values[i] >> taken;
            if (part < 64) bits &= ((uint64_t)1 << part) - 1;
            hold |= bits << filled;
            filled += part;
            taken += part;
            if (filled == 64) {
                qk_buf_add(out, &hold, 8);
                hold = 0;
                filled = 0;
            }
        }
    }
    qk_buf_add(out, &hold, ((size_t)filled + 7) / 8);
}

void qk_pq_encode_hybrid(qk_buf *out, const uint32_t *values, size_t n, int width)
{
    size_t same = 0;
    while (same < n && values[same] == values[0]) same++;
    if (same == n) {
        if (n) qk_pq_encode_run(out, values[0], n, width);
        return;
    }
    varint(out, (uint64_t)((n + 7) / 8) << 1 | 1);
    uint64_t group[64];
    for (size_t i = 0; i < n; i += 64) {
        size_t count = n - i < 64 ? n - i : 64, whole = (count + 7) / 8 * 8;
        for (size_t k = 0; k < whole; k++) group[k] = k < count ? values[i + k] : 0;
        pack(out, group, whole, width);
    }
}

void qk_pq_encode_list_starts(qk_buf *out, size_t rows, size_t list_size)
{
    if (list_size == 1) {
        qk_pq_encode_run(out, 0, rows, 1);
        return;
    }
    size_t n = rows * list_size, bytes = (n + 7) / 8;
    varint(out, (uint64_t)bytes << 1 | 1);
    qk_buf_reserve(out, bytes);
    uint8_t *at = out->data + out->size;
    memset(at, 0xFF, bytes);
    for (size_t r = 0; r < rows; r++)
        at[r * list_size / 8] &= (uint8_t) ~(1u << (r * list_size % 8));
    out->size += bytes;
}

void qk_pq_encode_split(qk_buf *out, const float *values, size_t n)
{
    qk_buf_reserve(out, 4 * n);
    uint8_t *restrict b0 = out->data + out->size, *restrict b1 = b0 + n, *restrict b2 = b1 + n,
                      *restrict b3 = b2 + n;
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, values + i, 4);
        b0[i] = (uint8_t)u;
        b1[i] = (uint8_t)(u >> 8);
        b2[i] = (uint8_t)(u >> 16);
        b3[i] = (uint8_t)(u >> 24);
    }
    out->size += 4 * n;
}
