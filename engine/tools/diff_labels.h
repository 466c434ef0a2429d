/* Columns of a head file that say what a row is, beside its vector: sliding_window, token_str, layer,
 * head, kind; as numbers that are compared and not read.
 *
 * next: engine/tools/diff.h */
#pragma once

#include "formats/parquet_read.h"

enum { QK_LABELS = 5 };

/* [n] for each column: a hash of the value, 0 where it is not known: no column, or null; but a null
 * window is full attention, which is known. */
typedef struct qk_labels {
    uint64_t *of[QK_LABELS];
    size_t n;
} qk_labels;

/* Of the n rows of the file, in its order; a column of a type that is not expected is not known. Free
 * out also after an error. */
qk_status qk_labels_read(qk_labels *out, const char *path, size_t n, qk_error *err);
/* Whether a column that both know differs. */
bool qk_labels_differ(const qk_labels *a, size_t row_a, const qk_labels *b, size_t row_b);
void qk_labels_free(qk_labels *l);
