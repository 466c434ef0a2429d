/* Inside of the Parquet writer: what is known of a file while it is written. See parquet_write.h.
 *
 * next: formats/parquet_write.c, then parquet_write_footer.c */
#pragma once

#include <zstd.h>

#include "formats/parquet_meta.h"
#include "formats/parquet_write.h"

/* Longer strings are no statistics. */
enum { QK_PQ_MAX_STATISTIC = 64 };

/* A string in the text of its column. */
typedef struct qk_pq_slice {
    size_t at, size; /* bytes */
} qk_pq_slice;

/* One column's rows of the open row group. */
typedef struct qk_pq_column_rows {
    qk_pq_column spec;
    qk_buf values; /* lists: float; strings: qk_pq_slice; else int64_t, of a float its bits */
    qk_buf text;   /* strings end to end */
    qk_buf valid;  /* one byte per row */
    size_t nulls;
} qk_pq_column_rows;

/* What the footer says of one chunk. */
typedef struct qk_pq_chunk_out {
    int64_t values, uncompressed, compressed, data_offset, dictionary_offset, nulls;
    int encoding;
    char min[QK_PQ_MAX_STATISTIC], max[QK_PQ_MAX_STATISTIC];
    size_t min_size, max_size; /* 0 and 0: no statistics but the count of nulls */
} qk_pq_chunk_out;

typedef struct qk_pq_group_out {
    int64_t rows, offset;
    qk_pq_chunk_out *chunks;
} qk_pq_group_out;

struct qk_pq_writer {
    qk_writer file;
    qk_pq_column_rows *columns;
    size_t n_columns, rows_per_group, rows;
    int64_t total_rows;
    qk_pq_group_out *groups;
    size_t n_groups, groups_capacity;
    qk_names keys, metadata;
    char *created_by;
    ZSTD_CCtx *zstd;
    qk_buf body, packed, numbers; /* reused by pages */
    size_t cuts[4], n_cuts;       /* offsets in body where a new kind of bytes begins */
};

/* Writes the footer behind the last row group. */
void qk_pq_write_footer(qk_pq_writer *w);
