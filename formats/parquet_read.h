/* Reading Parquet files: columns of any flat type, inside structs too, and lists of float.
 *
 *   qk_pq_file *f;   qk_pq_open(&f, "data.parquet", &err)
 *   qk_pq_cursor *c; qk_pq_cursor_open(&c, f, (size_t)qk_pq_find(f, "text"), &err)
 *   do qk_pq_next(c, 1000, &batch, &err) ... while (batch.n)
 *
 * One page at a time is read and expanded: a cursor holds a page (1 GB at most), its packed bytes
 * and its dictionary (256 MB), the file some 250 bytes for each column chunk of a footer (128 MB).
 * Sizes beyond those limits, and beyond what a codec can make of the packed bytes, are refused
 * before anything is allocated. Pages of columns without a cursor are never touched. All codecs but
 * LZO and all encodings of the format are read; encrypted files, and chunks in other files, are
 * not. What old writers did wrong is read where it is sure what was meant, see parquet_creator.h.
 * Every message says file, row group, column and byte. Several cursors of one file may be used
 * at once, each by one thread.
 *
 * next: formats/parquet_meta.h, then parquet_cursor.c */
#pragma once

#include "formats/parquet_meta.h"

typedef struct qk_pq_cursor qk_pq_cursor;

/* Reads and checks the footer. */
qk_status qk_pq_open(qk_pq_file **out, const char *path, qk_error *err);
void qk_pq_close(qk_pq_file *f); /* NULL-safe; close its cursors first */

/* The string under a key of the key-value metadata, or NULL. */
const char *qk_pq_metadata(const qk_pq_file *f, const char *key);
/* Index of the leaf with this path: a top-level column exactly so called, else the dotted path of
 * one inside structs or lists. -1: there is none; -2: there are two. */
int qk_pq_find(const qk_pq_file *f, const char *name);

/* A cursor is at the first row. */
qk_status qk_pq_cursor_open(qk_pq_cursor **out, const qk_pq_file *f, size_t leaf, qk_error *err);
void qk_pq_cursor_close(qk_pq_cursor *c); /* NULL-safe */

/* Rows of a column, in memory of the cursor that the next call uses again. */
typedef struct qk_pq_batch {
    size_t n;
    qk_pq_type type;
    /* [n] of uint8_t (BOOLEAN), int32_t, int64_t, float, double, or qk_pq_bytes (BYTE_ARRAY, FIXED,
     * INT96); zero where null. From qk_pq_next_floats: float [n, list size]. */
    const void *values;
    const uint8_t *valid; /* [n], 0 where null */
} qk_pq_batch;

/* The next rows: `max_rows` of them (up to 65536) or, of strings, perhaps fewer; batch->n is 0 at the
 * end only. A column of lists is refused. */
qk_status qk_pq_next(qk_pq_cursor *c, size_t max_rows, qk_pq_batch *batch, qk_error *err);
/* The next rows of a list<float> column, each of exactly `list_size` elements or null; a null
 * element and any other number are errors. Fewer than `max_rows` when those would be large. */
qk_status qk_pq_next_floats(qk_pq_cursor *c, size_t list_size, size_t max_rows, qk_pq_batch *batch,
                            qk_error *err);
/* Passes over `rows` rows, or all that are left; row groups and pages in between are not read. */
qk_status qk_pq_skip(qk_pq_cursor *c, int64_t rows, qk_error *err);
