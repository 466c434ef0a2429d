/* Reading Parquet: footer, and columns page by page.
 *
 * A file is mapped; its footer is checked when it is opened; a cursor walks one leaf column through
 * all row groups and holds one page. Other columns are never touched. Read: data pages v1 and v2;
 * every encoding of the format; uncompressed, snappy, gzip, brotli, zstd, lz4_raw; CRCs when
 * present. Nested columns, lzo and the older lz4 are refused by name. Source:
 * apache/parquet-format, README.md, Encodings.md, parquet.thrift.
 *
 * next: formats/parquet_meta.c */
#pragma once

#include "engine/base/file.h"

typedef enum qk_pq_type {
    QK_PQ_T_BOOLEAN,
    QK_PQ_T_INT32,
    QK_PQ_T_INT64,
    QK_PQ_T_INT96,
    QK_PQ_T_FLOAT,
    QK_PQ_T_DOUBLE,
    QK_PQ_T_BYTES,
    QK_PQ_T_FIXED,
} qk_pq_type;

/* What the values mean: ConvertedType or LogicalType, whichever is given. */
typedef enum qk_pq_meaning {
    QK_PQ_M_NONE,
    QK_PQ_M_STRING,
    QK_PQ_M_INT, /* signed or unsigned, see qk_pq_leaf */
    QK_PQ_M_OTHER,
} qk_pq_meaning;

typedef struct qk_pq_leaf {
    const char *path; /* "text", "vector.list.element" */
    const char *top;  /* name of the top-level column */
    qk_pq_type type;
    qk_pq_meaning meaning;
    bool is_unsigned;     /* of M_INT */
    const char *other;    /* name of an OTHER meaning, for messages */
    int max_def, max_rep; /* levels */
    int fixed_length;     /* of T_FIXED */
} qk_pq_leaf;

/* One leaf in one row group. */
typedef struct qk_pq_chunk {
    int codec;
    uint32_t encodings; /* bit set of their numbers */
    int64_t values, compressed, uncompressed, data_offset, dictionary_offset; /* 0: none */
    int64_t nulls;                                                            /* -1: not said */
} qk_pq_chunk;

typedef struct qk_pq_group {
    int64_t rows;
    qk_pq_chunk *chunks; /* [n_leaves] */
} qk_pq_group;

typedef struct qk_pq_file {
    qk_map map;
    const char *path;
    int64_t rows;
    qk_pq_leaf *leaves;
    size_t n_leaves;
    qk_pq_group *groups;
    size_t n_groups;
    const char *created_by; /* or NULL */
    struct qk_pq_pair {
        const char *key, *value;
    } * metadata;
    size_t n_metadata;
    qk_arena arena;
} qk_pq_file;

qk_status qk_pq_open(qk_pq_file **out, const char *path, qk_error *err);
void qk_pq_close(qk_pq_file *f); /* NULL-safe */
/* Index of the leaf whose path is `name`, or -1; a top-level column of exactly this name wins over
 * a path into a struct. -2: two top-level columns have this name. */
int qk_pq_find(const qk_pq_file *f, const char *name);
const char *qk_pq_metadata(const qk_pq_file *f, const char *key); /* NULL: absent */
const char *qk_pq_type_name(qk_pq_type type);
const char *qk_pq_codec_name(int codec);
const char *qk_pq_encoding_name(int encoding); /* NULL: unknown */

typedef struct qk_pq_bytes {
    const uint8_t *data;
    size_t size;
} qk_pq_bytes;

/* Rows of one page: values has a slot for each row (undefined where valid is 0): uint8_t
 * (booleans), int32_t, int64_t, float, double or qk_pq_bytes. Valid until the next call. */
typedef struct qk_pq_batch {
    size_t n;
    const void *values;
    const uint8_t *valid; /* [n] */
} qk_pq_batch;

typedef struct qk_pq_cursor qk_pq_cursor;

/* A flat column (max_rep 0), or a list of floats for qk_pq_next_floats. */
qk_status qk_pq_cursor_open(qk_pq_cursor **out, const qk_pq_file *f, size_t leaf, qk_error *err);
void qk_pq_cursor_close(qk_pq_cursor *c); /* NULL-safe */
/* Up to `most` rows; n = 0 at the end. */
qk_status qk_pq_next(qk_pq_cursor *c, size_t most, qk_pq_batch *batch, qk_error *err);
/* Up to `most` rows of a list column whose every row holds exactly list_size floats: [*n,
 * list_size], in *values. *n = 0 at the end. */
qk_status qk_pq_next_floats(qk_pq_cursor *c, size_t list_size, size_t most, const float **values,
                            size_t *n, qk_error *err);
/* Passes over rows of a flat column; whole row groups without reading them. */
qk_status qk_pq_skip(qk_pq_cursor *c, int64_t rows, qk_error *err);
