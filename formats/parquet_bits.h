/* The two integer streams inside Parquet pages, read in pieces of any size.
 *
 * RLE / bit-packed hybrid (levels, dictionary indices, booleans), values of `width` bits:
 *   run      varint h; h even: h / 2 copies of one value of ceil(width / 8) bytes
 *                      h odd:  h / 2 groups of 8 values, packed from the lowest bit up
 * DELTA_BINARY_PACKED (integers, lengths of strings):
 *   header   varints: block size, miniblocks per block, count; zigzag: first value
 *   block    zigzag: least delta; a bit width for each miniblock; the miniblocks
 *   value = value before + least delta + packed, modulo 2^64
 * Source: apache/parquet-format, Encodings.md.
 *
 * next: formats/parquet_decode.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"

/* Bits that numbers up to `largest` need. */
static inline int qk_pq_bit_width(uint32_t largest)
{
    return largest ? 32 - __builtin_clz(largest) : 0;
}

/* A little-endian number of four bytes. */
static inline uint32_t qk_pq_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

typedef struct qk_pq_rle {
    const uint8_t *at, *end;
    int width;         /* bits of a value, 0 to 32 */
    uint64_t run_left; /* values */
    bool is_packed;
    uint32_t value;        /* of a repeated run */
    const uint8_t *packed; /* of a packed run: its first byte, */
    size_t packed_bytes;   /* how many bytes it has in the page, */
    uint64_t packed_at;    /* and the index of the next value */
} qk_pq_rle;

void qk_pq_rle_open(qk_pq_rle *r, const uint8_t *bytes, size_t n, int width);
/* The next n values; false when the stream ends before. */
bool qk_pq_rle_read(qk_pq_rle *r, uint32_t *out, size_t n);

typedef struct qk_pq_delta {
    const uint8_t *at, *end;
    uint64_t left; /* values not given yet */
    uint64_t value, least;
    bool begun;                 /* the first value, which stands in the header, is given */
    uint64_t mini_size;         /* values of a miniblock */
    uint64_t minis;             /* miniblocks of a block */
    const uint8_t *widths;      /* of the current block, [minis] */
    uint64_t mini;              /* miniblocks begun in the current block */
    const uint8_t *mini_data;   /* the current miniblock */
    uint64_t mini_at, mini_end; /* values given and held */
    int width;                  /* bits of its values */
} qk_pq_delta;

/* Reads the header; there are `max_values` at most. */
qk_status qk_pq_delta_open(qk_pq_delta *d, const uint8_t *bytes, size_t n, uint64_t max_values,
                           qk_error *err);
/* The next n values. */
qk_status qk_pq_delta_read(qk_pq_delta *d, int64_t *out, size_t n, qk_error *err);
/* Goes on to the end of the stream, so that d->at is the first byte behind it. */
qk_status qk_pq_delta_finish(qk_pq_delta *d, qk_error *err);
