/* One file of rows, whatever its format. Private to engine/dataset/.
 *
 * A source gives (text, id) cells in file order. It holds a part of the file (a row
 * group, a window), never the whole. parquet.c, jsonl.c, csv.c
 * and text.c each implement qk_source_type.
 *
 * next: engine/dataset/jsonl.c */
#pragma once

#include "engine/base/file.h"
#include "engine/dataset/id_type.h"

typedef enum qk_format {
    QK_FORMAT_PARQUET,
    QK_FORMAT_JSON,
    QK_FORMAT_TEXT,
    QK_FORMAT_CSV, /* TSV too, by its name */
} qk_format;

/* A value; what it means beyond its kind (a unit, a scale) is in the type of its column. */
typedef struct qk_cell {
    qk_cell_kind kind;
    int64_t integer;  /* INT, BOOL; DATE, TIME, STAMP, DURATION: days or units */
    uint64_t natural; /* UINT */
    double number;    /* FLOAT */
    /* length bytes, no NUL behind them, borrowed until the next row. TEXT: UTF-8; BYTES, UUID: the
     * bytes; DECIMAL: the digits without a point, perhaps behind a '-', "0" or no zero in front. */
    const char *text;
    size_t length;
} qk_cell;

typedef struct qk_row {
    qk_cell text, id; /* text is NULL or TEXT */
} qk_row;

typedef struct qk_source qk_source;

typedef struct qk_source_type {
    qk_status (*next)(qk_source *s, qk_row *row, bool *more, qk_error *err);
    /* Passes over `rows` rows or all that are left; NULL: by reading them. */
    qk_status (*skip)(qk_source *s, int64_t rows, qk_error *err);
    void (*close)(qk_source *s); /* frees s */
} qk_source_type;

/* Names are borrowed for the life of the source. */
typedef struct qk_source_spec {
    qk_format format;
    const char *path, *text_column;
    const char *id_column; /* NULL: ids are not read */
    bool is_later; /* not the first file: it may lack the id column, and has null ids then */
} qk_source_spec;

/* What every source begins with. */
struct qk_source {
    const qk_source_type *type;
    qk_source_spec spec;
    int64_t rows; /* in the file; -1: only reading it all tells */
    int64_t at;   /* rows given or passed over so far */
    /* Of the id column: known when the file is open (Parquet), else with the first row or the end;
     * not known of a file without any row. What comes late in an array of JSON may widen it. */
    qk_id_type id_type;
};

/* Opens a file and checks that the columns exist (in JSON: that some of the first rows have them).
 */
qk_status qk_source_open(qk_source **out, const qk_source_spec *spec, qk_error *err);
qk_status qk_source_next(qk_source *s, qk_row *row, bool *more, qk_error *err);
qk_status qk_source_skip(qk_source *s, int64_t rows, qk_error *err);
void qk_source_close(qk_source *s); /* NULL-safe */
/* Rows of a file: from its footer, or by reading it. */
qk_status qk_source_count(int64_t *rows, const qk_source_spec *spec, qk_error *err);

/* Refuses a file whose first bytes say that it is not what its name says: a Git LFS pointer, an
 * archive, UTF-16 ... */
qk_status qk_source_check_magic(qk_format format, const char *path, qk_error *err);

/* For the implementations. */
qk_status qk_parquet_open(qk_source **out, const qk_source_spec *spec, qk_error *err);
qk_status qk_jsonl_open(qk_source **out, const qk_source_spec *spec, qk_error *err);
qk_status qk_csv_source_open(qk_source **out, const qk_source_spec *spec, qk_error *err);
qk_status qk_text_open(qk_source **out, const qk_source_spec *spec, qk_error *err);
/* Whether an error of reading ahead is met again when the rows are read: one of the
 * file's bytes. A disk that fails once, or a signal, may let the reading pass, and types that
 * nobody saw would be wrong without a word. */
bool qk_source_meets_again(qk_status s);
/* QK_ERR_NOTFOUND: "path: there is no column 'text'; the columns are a, b". */
qk_status qk_source_no_column(const char *path, const char *column, const qk_names *found,
                              qk_error *err);
