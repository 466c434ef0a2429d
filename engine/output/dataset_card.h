/* README.md of a dataset folder: front matter that makes `load_dataset(path, "l00h00q")` work, and
 * a card for people.
 *
 *   configs:
 *   - config_name: all              also all_q, all_k, layerNN, layerNN_q, layerNN_k, lNNhNN
 *     default: true
 *     data_files:
 *     - split: train
 *       path: l*h*[qk]/data.parquet
 *   - config_name: l00h00q          one for every file, while there are at most 4,000
 *
 * Format: Hugging Face, "Data files configuration" of dataset repositories.
 *
 * next: engine/output/merge.h */
#pragma once

#include "engine/base/mem.h"
#include "sampler/seed.h"

enum { QK_MOST_CONFIGS = 4000 };

/* One data file, in any order. */
typedef struct qk_card_file {
    const char *split;
    int layer, head;
    qk_kind kind;
    uint64_t rows;
} qk_card_file;

/* One run that added rows to a split; optional strings may be NULL. */
typedef struct qk_card_run {
    const char *name; /* the first digits of its fingerprint */
    const char *dataset, *dataset_split, *sampling;
    int64_t max_length; /* 0: no limit */
    int64_t files, examples, tokens;
} qk_card_run;

/* What one split holds, for people; all optional strings may be NULL. */
typedef struct qk_card_split {
    const char *split, *folder; /* "" when the files lie at the root */
    const char *model, *dataset, *dataset_split, *sampling, *dtype;
    int head_dim;
    int64_t examples, tokens;
    const qk_card_run *runs; /* in the order they came; listed where there are several */
    size_t n_runs;
} qk_card_split;

/* Appends the whole README to out. Files of a split lie at folder/lXXhYYq/data.parquet. The last
 * line is a comment with the SHA-256 of all that is before it. */
void qk_card_write(qk_buf *out, const qk_card_file *files, size_t n_files,
                   const qk_card_split *splits, size_t n_splits);
/* Warns when folder/README.md is missing, or is not as qk_card_write wrote it. */
void qk_card_look(const char *folder);
