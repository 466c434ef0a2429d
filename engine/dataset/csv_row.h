/* Records of a CSV or TSV file, split into fields as pandas splits them.
 *
 *   record = field (delimiter field)* end      end = LF | CR LF | CR | end of file
 *   field  = bytes without delimiter and end, taken as they are (spaces and quotes too)
 *          | '"' anything, '""' for a quote '"' and perhaps more bytes, which are added
 *
 * Records of nothing but spaces and tabs are skipped, a byte order mark is too. All bytes must be
 * UTF-8. A record that the end of the window cuts is split again after more is read
 * (stream.h). Private to engine/dataset/.
 *
 * next: engine/dataset/csv_type.h */
#pragma once

#include "engine/dataset/stream.h"

enum { QK_CSV_MAX_FIELDS = 100000 };

typedef struct qk_csv_field {
    const char *text; /* length bytes; borrowed until the next record */
    size_t length;
} qk_csv_field;

typedef struct qk_csv {
    qk_stream in;
    char delimiter;
    size_t max_fields; /* fields of a record: those of the header, once it is read */
    qk_csv_field *fields;
    size_t count, capacity;
    int64_t record; /* number of the record in `fields` from 0; -1: the header */

    qk_buf unquoted; /* the fields that are not just bytes of the window, one after the other */
    size_t *offsets; /* of a field in `unquoted`, or SIZE_MAX; until the record is complete */
    size_t n_offsets;
    uint64_t offset; /* of the record in the plain text */
} qk_csv;

/* `path` is borrowed. The delimiter is a tab when the name says .tsv, else a comma. */
qk_status qk_csv_open(qk_csv *csv, const char *path, qk_error *err);
/* *more is false behind the last record. The first record, the header, sets `max_fields`. */
qk_status qk_csv_next(qk_csv *csv, bool *more, qk_error *err);
/* The name of a column, while the header is the record: as pandas, "Unnamed: 2" for an empty one.
 * Whole, however long; the caller frees. */
char *qk_csv_header_name(const qk_csv *csv, size_t column);
void qk_csv_close(qk_csv *csv); /* zeroed: fine */
