/* Writing Parquet: flat nullable columns and fixed-size lists of floats, streamed in row groups.
 *
 *   "PAR1"
 *   row group: for each column a chunk: [dictionary page] data pages     (format version 2.6)
 *     page: thrift PageHeader, then the zstd-compressed body: levels and values, with a CRC-32
 *   footer: thrift FileMetaData, its length u32, "PAR1"
 *
 * Rows are buffered to a fixed number and written as one row group, so the bytes of a file depend
 * on its rows and never on how they were appended. Memory: one row group. Source:
 * apache/parquet-format, README.md, Encodings.md and parquet.thrift; the metadata "ARROW:schema" of
 * Arrow's C++ writer (formats/arrow_schema.h).
 *
 * next: formats/parquet_writer.h */
#pragma once

#include "engine/base/file.h"

typedef enum qk_pq_kind {
    QK_PQ_INT32,
    QK_PQ_INT64,
    QK_PQ_BOOL,   /* bytes 0 and 1 in memory */
    QK_PQ_STRING, /* qk_pq_text, UTF-8, in memory */
    QK_PQ_FLOATS, /* fixed-size list of float32, never null */
    QK_PQ_FLOAT,  /* float32, without minimum and maximum */
} qk_pq_kind;

typedef struct qk_pq_column {
    const char *name;
    qk_pq_kind kind;
    int list_size; /* of FLOATS */
    bool plain;    /* FLOATS as PLAIN instead of BYTE_STREAM_SPLIT */
} qk_pq_column;

/* A string, which may hold NULs; data NULL is null. */
typedef struct qk_pq_text {
    const char *data;
    size_t size; /* bytes */
} qk_pq_text;

/* n values of one column; borrowed for the call. */
typedef struct qk_pq_values {
    const void *data; /* int32_t, int64_t, uint8_t, qk_pq_text, float, or float [n, list_size] */
    const uint8_t *valid; /* [n], 0: null; NULL: no nulls. A string without data is null as well */
} qk_pq_values;

typedef struct qk_pq_writer qk_pq_writer;

/* Columns are copied. rows_per_group > 0. */
qk_status qk_pq_create(qk_pq_writer **out, const char *path, const qk_pq_column *columns,
                       size_t n_columns, size_t rows_per_group, const char *created_by,
                       qk_error *err);
/* values: one entry per column. A full disk is reported by the call that meets it. */
qk_status qk_pq_append(qk_pq_writer *w, size_t n_rows, const qk_pq_values *values, qk_error *err);
/* Key-value metadata of the footer; both are copied. */
void qk_pq_set_metadata(qk_pq_writer *w, const char *key, const char *value);
/* Last row group, footer, flush, rename. *bytes (may be NULL): size of the file. Frees w always. */
qk_status qk_pq_commit(qk_pq_writer *w, uint64_t *bytes, qk_error *err);
void qk_pq_abort(qk_pq_writer *w); /* NULL-safe; leaves no file */
