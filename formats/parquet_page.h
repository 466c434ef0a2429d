/* Pages of a Parquet column chunk: headers, checksums, decompression, and where the parts begin.
 *
 *   page       header (thrift), then `packed_bytes` bytes
 *   data v1    the whole is packed: repetition levels, definition levels, values. Levels are a
 *              hybrid stream behind its length (4 bytes), and absent when they can only be 0
 *   data v2    levels in the open, without their lengths, which the header has; values packed
 *   dictionary packed PLAIN values
 * Source: apache/parquet-format, README.md and parquet.thrift.
 *
 * next: formats/parquet_read.h */
#pragma once

#include "formats/codec.h"
#include "formats/parquet_decode.h"

/* A page that expands to more is refused. Writers cut pages at about 1 MB; those that make one page
 * of a whole row group stay far below too. */
enum { QK_PQ_MAX_PAGE = 1 << 30, QK_PQ_MAX_DICTIONARY = 256 << 20 };

typedef enum qk_pq_page_type {
    QK_PQ_PAGE_DATA = 0,
    QK_PQ_PAGE_INDEX = 1,
    QK_PQ_PAGE_DICTIONARY = 2,
    QK_PQ_PAGE_DATA_V2 = 3,
} qk_pq_page_type;

typedef struct qk_pq_page {
    int32_t type, plain_bytes, packed_bytes;
    bool has_crc, has_header; /* of its type */
    uint32_t crc;             /* CRC-32 of the packed bytes */
    int32_t values, encoding;
    int32_t definition_encoding, repetition_encoding; /* v1 */
    int32_t rows, definition_bytes, repetition_bytes; /* v2 */
    bool is_packed;                                   /* v2, as its header says */
} qk_pq_page;

/* Memory for one page; grows, and is kept for the next. Zero-initialise; free(data) at the end. */
typedef struct qk_pq_scratch {
    void *data;
    size_t capacity;
} qk_pq_scratch;
qk_status qk_pq_scratch_reserve(qk_pq_scratch *scratch, size_t bytes, const char *what,
                                qk_error *err);

/* A part of a page. */
typedef struct qk_pq_part {
    const uint8_t *data;
    size_t n;
} qk_pq_part;

typedef struct qk_pq_page_parts {
    qk_pq_part repetition, definition, values;
} qk_pq_page_parts;

/* Whether it is a page with values or a dictionary: others, and those of a type younger than this
 * reader, are passed over. */
bool qk_pq_page_counts(const qk_pq_page *page);
/* Reads and checks the header at bytes[0..n); *header_bytes is its size. The page fits behind it
 * into the `left` bytes of its column chunk from there. */
qk_status qk_pq_page_read(qk_pq_page *page, const uint8_t *bytes, size_t n, uint64_t left,
                          size_t *header_bytes, qk_error *err);
/* Checks and expands the page at `packed`. The parts point into `packed` or into `scratch`; a
 * dictionary page has values only. */
qk_status qk_pq_page_expand(const qk_pq_page *page, const uint8_t *packed, int codec,
                            const qk_pq_leaf *leaf, qk_pq_scratch *scratch, qk_pq_page_parts *parts,
                            qk_error *err);
