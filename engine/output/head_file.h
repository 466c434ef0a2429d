/* One lXXhYYq/data.parquet of the output: the columns of a capture, written and read back.
 *
 *   bucket, example_id, position  int32
 *   vector                        fixed_size_list<float32>[d]
 *   sliding_window                int32, null for full attention
 *
 * and, each only when asked for:
 *
 *   token_str                     string
 *   token_id                      int32
 *   lse                           float32, of queries (kernels/backend.h); null in other files
 *   layer, head, kind             int32, int32, string: what the name of the file says
 *
 * null where nobody knows: rows of a folder that lacks the column were joined with these.
 *
 * The file's metadata may hold "qkengine.shared_ids": the full ids of rows whose stored id several
 * examples share, as JSON [[first row, rows, "full id"], ...]; and with the last three columns
 * "qkengine.attention" and "qkengine.head" (engine/output/attention.h).
 *
 * next: formats/parquet_write.h, engine/output/attention.h */
#pragma once

#include "formats/parquet_write.h"
#include "sampler/kind.h"

/* Rows in columns; borrowed. */
typedef struct qk_file_rows {
    size_t n;
    const int32_t *bucket, *example_id, *position; /* [n] */
    const float *vectors;                          /* [n, d] */
    const int32_t *window;                         /* [n]; 0 is written as null */
    const qk_pq_text *token_str;                   /* [n]; without data: null; or NULL */
    const int32_t *token_id;                       /* [n]; below 0: null; NULL: all null */
    const float *lse;                              /* [n], or NULL: all null */
    const uint8_t *has_lse;                        /* [n], 0: null; NULL: none is */
} qk_file_rows;

typedef struct qk_head_file_writer qk_head_file_writer;

typedef struct qk_head_file_format {
    int d;
    bool token_strings, plain_vectors, token_ids, lse, head_columns;
    int layer, head; /* of head_columns */
    qk_kind kind;
} qk_head_file_format;

qk_status qk_head_file_create(qk_head_file_writer **out, const char *path,
                              const qk_head_file_format *format, qk_error *err);
qk_status qk_head_file_append(qk_head_file_writer *w, const qk_file_rows *rows, qk_error *err);
/* Rows so far whose vector or lse holds NaN or infinity; the finished file's metadata has their number, too. */
uint64_t qk_head_file_nonfinite_written(const qk_head_file_writer *w);
/* A string under a key of the file's metadata; both are copied. */
void qk_head_file_set_metadata(qk_head_file_writer *w, const char *key, const char *value);
/* Finishes the file; shared_ids may be NULL. *bytes is its size. Frees w in any case. */
qk_status qk_head_file_commit(qk_head_file_writer *w, const char *shared_ids, uint64_t *bytes,
                              qk_error *err);
void qk_head_file_abort(qk_head_file_writer *w); /* NULL-safe */
/* Memory that an open writer may hold, for grouping. */
uint64_t qk_head_file_writer_bytes(const qk_head_file_format *format);

typedef struct qk_head_file_reader qk_head_file_reader;

/* Opens an existing file and checks its columns against d; of those that need not be there a missing
 * one reads as null. layer, head and kind are not read: its name says them. */
qk_status qk_head_file_open(qk_head_file_reader **out, const char *path, int d, qk_error *err);
/* The next rows in *rows, valid until the next call; n = 0 at the end. */
qk_status qk_head_file_next(qk_head_file_reader *r, qk_file_rows *rows, qk_error *err);
/* Asks for the columns that the file has, beside those that are asked for already. */
void qk_head_file_add_columns(const qk_head_file_reader *r, qk_head_file_format *format);
int qk_head_file_head_dim(const qk_head_file_reader *r);
uint64_t qk_head_file_count(const qk_head_file_reader *r);
/* Rows of NaN or infinity, as the file's metadata says. */
uint64_t qk_head_file_nonfinite(const qk_head_file_reader *r);
/* The metadata value, or NULL. */
const char *qk_head_file_shared_ids(const qk_head_file_reader *r);
void qk_head_file_close(qk_head_file_reader *r); /* NULL-safe */
