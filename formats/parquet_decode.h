/* Decoding pieces of Parquet pages. Every function reads only inside [*at, end), moves *at behind
 * what it took, and returns false when the bytes do not hold what they promise.
 *
 * next: formats/parquet_read.c */
#pragma once

#include "formats/parquet_read.h"

/* RLE/bit-packed hybrid: n values of `width` bits (0..32), each at most `largest`. */
bool qk_pq_decode_hybrid(const uint8_t **at, const uint8_t *end, int width, uint32_t largest,
                         size_t n, uint32_t *out);
/* DELTA_BINARY_PACKED: exactly n values. */
bool qk_pq_decode_delta(const uint8_t **at, const uint8_t *end, size_t n, int64_t *out);

/* Strings as all lengths, then all bytes; out points into the input. lengths: room for n. */
bool qk_pq_decode_delta_length(const uint8_t **at, const uint8_t *end, size_t n, int64_t *lengths,
                               qk_pq_bytes *out);
/* Strings as lengths shared with the one before, then suffixes as above; out points into `text`,
 * which is filled. lengths: room for 2 n. */
bool qk_pq_decode_delta_bytes(const uint8_t **at, const uint8_t *end, size_t n, int64_t *lengths,
                              qk_buf *text, qk_pq_bytes *out);

/* n values of a type into slots: uint8_t, int32_t, int64_t, float, double or qk_pq_bytes (which
 * point into the input). */
bool qk_pq_decode_plain(const uint8_t **at, const uint8_t *end, const qk_pq_leaf *leaf, size_t n,
                        void *out);
/* BYTE_STREAM_SPLIT of float, double, int32, int64. */
bool qk_pq_decode_split(const uint8_t **at, const uint8_t *end, size_t width, size_t n, void *out);
/* Bytes of a slot of this type. */
size_t qk_pq_slot_size(qk_pq_type type);

/* Decompresses into out[0 .. out_size); false when it is not exactly that. *known is false for a
 * codec that is not built in. */
bool qk_pq_decompress(int codec, const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
                      bool *known);
