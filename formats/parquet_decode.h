/* The values of one Parquet page, decoded in pieces: nulls are not among them.
 *
 *   PLAIN                     little-endian values; strings: 4 bytes of length, then the bytes;
 *                             booleans: one bit each, the lowest first
 *   (PLAIN|RLE)_DICTIONARY    a byte: bit width of the indices; indices into the dictionary page
 *   RLE                       booleans as a hybrid stream of width 1 behind its length (4 bytes)
 *   DELTA_BINARY_PACKED       integers
 *   DELTA_LENGTH_BYTE_ARRAY   lengths as deltas, then all bytes
 *   DELTA_BYTE_ARRAY          lengths shared with the value before, then the rest as above
 *   BYTE_STREAM_SPLIT         first bytes of all values, then second bytes, ...
 * Source: apache/parquet-format, Encodings.md.
 *
 * next: formats/parquet_page.h */
#pragma once

#include "formats/parquet_bits.h"
#include "formats/parquet_meta.h"

/* Bytes that a decoder gives for a value: 1 (bool), 4, 8, or a qk_pq_bytes. */
size_t qk_pq_value_size(qk_pq_type type);

/* The entries of a dictionary page; strings point into its bytes. */
typedef struct qk_pq_dictionary {
    uint8_t *values; /* [count, qk_pq_value_size] */
    size_t count;
    bool is_there;
} qk_pq_dictionary;

typedef struct qk_pq_decoder {
    const qk_pq_leaf *leaf;
    qk_pq_encoding encoding;
    const qk_pq_dictionary *dictionary;
    const uint8_t *at, *end; /* of PLAIN values and of the bytes of strings */
    uint64_t taken;          /* values given: booleans and BYTE_STREAM_SPLIT count them */
    size_t stride;           /* BYTE_STREAM_SPLIT: values in the page */
    qk_pq_rle rle;           /* indices or booleans */
    qk_pq_delta numbers;     /* integers, or lengths of strings without what is shared */
    qk_pq_delta shared;      /* lengths shared with the value before */
    qk_buf last;             /* DELTA_BYTE_ARRAY: the value before */
    qk_buf text;             /* and the values of the last call */
    size_t max_values;       /* that a call may ask for */
} qk_pq_decoder;

/* Begins a page of at most `values` values, whose bytes stay where they are. The decoder keeps its
 * buffers from page to page: zero-initialise it once, qk_pq_decoder_free at the end. */
qk_status qk_pq_decoder_open(qk_pq_decoder *d, const qk_pq_leaf *leaf, int encoding,
                             const uint8_t *bytes, size_t n, uint64_t values,
                             const qk_pq_dictionary *dictionary, qk_error *err);
/* The next n values, n <= d->max_values, into out[n, qk_pq_value_size]. Strings point into the page, the
 * dictionary, or memory of the decoder that the next call uses again. */
qk_status qk_pq_decoder_read(qk_pq_decoder *d, void *out, size_t n, qk_error *err);
void qk_pq_decoder_free(qk_pq_decoder *d);

/* Decodes a PLAIN dictionary page of `count` entries; qk_pq_dictionary_free frees. */
qk_status qk_pq_dictionary_read(qk_pq_dictionary *dictionary, const qk_pq_leaf *leaf,
                                const uint8_t *bytes, size_t n, size_t count, qk_error *err);
void qk_pq_dictionary_free(qk_pq_dictionary *dictionary);
