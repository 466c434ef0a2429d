/* What pandas makes of a column of CSV fields, and `datasets` of a column of pandas.
 *
 * A file is read in chunks of QK_CSV_CHUNK rows. Each chunk's column has one type: integers, else
 * numbers, else truth values, else strings; words such as NA (csv_type.c has the list) and the
 * empty field are null, and integers with a null among them are numbers. The column has the type of
 * the first chunk; later ones are cast to it as Arrow casts, and what would change a value there is
 * refused. Integers are read as pandas reads them: 007 is 7, int64 first, then uint64 when none is
 * negative or null; longer ones are refused. Private to engine/dataset/.
 *
 * next: engine/dataset/csv.c */
#pragma once

#include "engine/dataset/source.h"

enum { QK_CSV_CHUNK = 10000 };

typedef enum qk_csv_kind {
    QK_CSV_NULL, /* nothing but nulls; numbers, to later chunks */
    QK_CSV_INT,
    QK_CSV_UINT, /* above int64 */
    QK_CSV_FLOAT,
    QK_CSV_BOOL,
    QK_CSV_TEXT,
    QK_CSV_RAW,         /* the same, and the null words are texts too: see qk_csv_guess_kind */
    QK_CSV_HUGE,        /* integers, some beyond uint64: `datasets` fails */
    QK_CSV_INT_OR_NULL, /* floats that are integers or null */
} qk_csv_kind;

/* The fields of a chunk's column, one by one. Zero-initialise. Numbers of fields count
 * from 1; 0 is none. */
typedef struct qk_csv_guess {
    int64_t values; /* fields that are not null */
    bool null, negative, above_int64, not_float, not_bool;
    int64_t no_int, over_int64;   /* the first field that stops reading int64, and why */
    int64_t no_uint, over_uint64; /* the same for uint64 */
} qk_csv_guess;

void qk_csv_guess_add(qk_csv_guess *g, const char *text, size_t length);
qk_csv_kind qk_csv_guess_kind(const qk_csv_guess *g);

/* A field of a chunk of type `chunk` as a cell of a column of type `column`. Text that is not the
 * field's own bytes is put in `keep`. Errors name no row yet. */
qk_status qk_csv_cell(qk_cell *out, const char *text, size_t length, qk_csv_kind chunk,
                      qk_csv_kind column, qk_buf *keep, qk_error *err);
/* "integers", "texts" ... */
const char *qk_csv_kind_name(qk_csv_kind kind);
