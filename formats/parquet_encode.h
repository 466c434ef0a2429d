/* Encodings of Parquet pages, appended to a buffer. Source: parquet-format, Encodings.md.
 *
 *   RLE/bit-packed hybrid  runs: varint(count << 1), value;  groups of 8: varint(groups << 1 | 1)
 *   BYTE_STREAM_SPLIT      byte 0 of all floats, byte 1 of all floats, ...: compresses well
 * DELTA_BINARY_PACKED is left out on purpose: fastparquet reads it wrongly, and beside vectors it
 * saves little.
 *
 * next: formats/parquet_write.c */
#pragma once

#include "engine/base/mem.h"

/* n values below 2^width. Bit-packed groups throughout, except that n equal values are one run. */
void qk_pq_encode_hybrid(qk_buf *out, const uint32_t *values, size_t n, int width);
/* n times the same value. */
void qk_pq_encode_run(qk_buf *out, uint32_t value, size_t n, int width);
/* Repetition levels of rows fixed-size lists: 0 1 1 .. 1, again and again. */
void qk_pq_encode_list_starts(qk_buf *out, size_t rows, size_t list_size);
void qk_pq_encode_split(qk_buf *out, const float *values, size_t n);
