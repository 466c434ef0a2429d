/* Two datasets side by side: rows on one side only, how far vectors and log-sum-exps are apart, token
 * ids, labels (diff_labels.h) that differ.
 *
 * Files are paired by their path below the folders (l00h00q/data.parquet, or <split>/...). Rows are
 * paired by (example_id, position); of several with the same pair the first with the first, and so
 * on. Order does not count. Equal bits are equal, also NaN and infinity. What one
 * side does not know of a token id, log-sum-exp or label (a column that is not there, null) is no
 * difference. Memory: the rows of one file of each side.
 *
 * next: engine/commands/diff.c */
#pragma once

#include "engine/base/file.h"

typedef struct qk_file_diff {
    const char *name; /* "l00h00q", "model/l00h00q" */
    bool in_a, in_b;
    uint64_t both, only_a, only_b; /* rows */
    uint64_t buckets;              /* rows in both whose bucket differs */
    uint64_t token_ids;            /* rows in both whose token id differs */
    uint64_t labels; /* rows in both with another window, token string, layer, head, kind */
    double rms;      /* of the difference / RMS of a's vectors */
    double largest;  /* largest difference of two numbers of vectors */
    double lse_rms, lse_largest; /* of the differences of log-sum-exps, which are absolute */
} qk_file_diff;

typedef struct qk_diff {
    qk_file_diff *files; /* in name order */
    size_t count;
    qk_file_diff total; /* rms, largest and those of lse: of the worst file */
    qk_arena arena;
} qk_diff;

/* a and b: dataset folders (final/). */
qk_status qk_diff_make(qk_diff *d, const char *a, const char *b, qk_error *err);
void qk_diff_free(qk_diff *d);
