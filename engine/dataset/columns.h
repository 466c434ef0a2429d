/* The columns of a data file and their types, for `qkengine inspect`.
 *
 *   Parquet    from the footer          id INT64, text BYTE_ARRAY string, doc.text BYTE_ARRAY string
 *   JSON       keys of the first rows   id integer, text string; "integer or string" when mixed
 *   CSV, TSV   the header, and the first rows as pandas types them
 *   text       text string
 *
 * next: engine/commands/inspect_data.c */
#pragma once

#include "engine/dataset/source.h"

enum { QK_MAX_COLUMNS = 200 }; /* more are not listed */

typedef struct qk_column {
    char *name, *type; /* owned */
} qk_column;

typedef struct qk_columns {
    qk_column *items;
    size_t count, capacity;
} qk_columns;

qk_status qk_columns_find(qk_columns *out, qk_format format, const char *path, qk_error *err);
/* From the footer. */
qk_status qk_columns_parquet_rows(const char *path, int64_t *rows, qk_error *err);
bool qk_columns_have(const qk_columns *columns, const char *name);
void qk_columns_free(qk_columns *columns); /* zeroed: fine */
