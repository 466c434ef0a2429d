/* One lXXhYYq/data.parquet of the output: the columns of a capture, written and read back.
 *
 *   bucket, example_id, position  int32
 *   vector                        fixed_size_list<float32>[d]
 *   sliding_window                int32, null for full attention
 *   token_str                     string, only when asked for
 *
 * The file's metadata may hold "qkengine.shared_ids": the full ids of rows whose stored id several
 * examples share, as JSON [[first row, rows, "full id"], ...].
 *
 * next: formats/parquet_write.h */
#pragma once

#include "formats/parquet_write.h"

/* Rows in columns; borrowed. */
typedef struct qk_file_rows {
    size_t n;
    const int32_t *bucket, *example_id, *position; /* [n] */
    const float *vectors;                          /* [n, d] */
    const int32_t *window;                         /* [n]; 0 is written as null */
    const qk_pq_text *token_str;                   /* [n]; without data: null; or NULL */
} qk_file_rows;

typedef struct qk_rows_writer qk_rows_writer;

typedef struct qk_rows_format {
    int d;
    bool token_strings, plain_vectors;
} qk_rows_format;

qk_status qk_rows_create(qk_rows_writer **out, const char *path, const qk_rows_format *format,
                         qk_error *err);
qk_status qk_rows_append(qk_rows_writer *w, const qk_file_rows *rows, qk_error *err);
/* Rows so far that hold NaN or infinity; the finished file's metadata has their number, too. */
uint64_t qk_rows_nonfinite_written(const qk_rows_writer *w);
/* Finishes the file; shared_ids may be NULL. *bytes is its size. Frees w in any case. */
qk_status qk_rows_commit(qk_rows_writer *w, const char *shared_ids, uint64_t *bytes, qk_error *err);
void qk_rows_abort(qk_rows_writer *w); /* NULL-safe */
/* Memory that an open writer may hold, for grouping. */
uint64_t qk_rows_writer_bytes(const qk_rows_format *format);

typedef struct qk_rows_reader qk_rows_reader;

/* Opens an existing file and checks its columns against d; missing token_str and sliding_window
 * columns read as null. */
qk_status qk_rows_open(qk_rows_reader **out, const char *path, int d, qk_error *err);
/* The next rows in *rows, valid until the next call; n = 0 at the end. */
qk_status qk_rows_next(qk_rows_reader *r, qk_file_rows *rows, qk_error *err);
bool qk_rows_has_token_strings(const qk_rows_reader *r);
int qk_rows_head_dim(const qk_rows_reader *r);
uint64_t qk_rows_count(const qk_rows_reader *r);
/* Rows of NaN or infinity, as the file's metadata says. */
uint64_t qk_rows_nonfinite(const qk_rows_reader *r);
/* The metadata value, or NULL. */
const char *qk_rows_shared_ids(const qk_rows_reader *r);
void qk_rows_close(qk_rows_reader *r); /* NULL-safe */
