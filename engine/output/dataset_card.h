/* README.md of a dataset folder: front matter that makes `load_dataset(path, "l00h00q")` work, and
 * a card for people, whose calls all work as they stand there.
 *
 *   configs:
 *   - config_name: l00h00q          one for every file, and lNNhNN for both kinds of a head
 *     data_files: "l00h00q/data.parquet"
 *   - config_name: all              also all_q, all_k, layerNN, layerNN_q, layerNN_k, and all_v,
 *                                   layerNN_v, all_q_pre ... where there are such files
 *     default: true
 *     description: "sha256 ..."   of the list of all files with their digests
 *     data_files: "l*h*[qk]/data.parquet"
 *
 * and where a split is a folder:
 *     data_files:
 *     - split: "model"
 *       path: "model/l*h*[qk]/data.parquet"
 *
 * The Hub shows nothing of a dataset with more than 3,000 configurations, and `datasets` parses and
 * hashes all of them to load one (about 0.3 ms each, and 0.2 ms for each further split). So all
 * names of a sort are listed, or none: all*, then layerNN*, then single files, then lNNhNN, each if
 * it stays within 3,000 names and 10,000 paths beside those before it. Heads of a model of 64 x 64
 * heads are loaded by data_files.
 *
 * For a folder on this disk `datasets` keeps what it loaded under the folder's name and a hash of
 * the configurations, whatever is in the files: without the description, rows of an earlier run, or
 * of another folder called final, would be given for these.
 *
 * The text depends on the set of files and on the manifests, not on the order in which either
 * came.
 *
 * Format: Hugging Face, "Data files configuration" of dataset repositories.
 *
 * next: engine/output/card_splits.h */
#pragma once

#include "engine/base/mem.h"
#include "sampler/seed.h"

typedef struct qk_card_attention qk_card_attention;

/* One data file, in any order. */
typedef struct qk_card_file {
    const char *split;
    int layer, head;
    qk_kind kind;
    uint64_t rows;
    const char *sha256; /* NULL: not known */
} qk_card_file;

/* One run that added rows to a split; optional strings may be NULL. */
typedef struct qk_card_run {
    const char *name; /* the first digits of its fingerprint */
    const char *dataset, *dataset_split, *sampling;
    int64_t max_length; /* 0: no limit */
    int64_t files, examples, tokens;
} qk_card_run;

/* What one split holds, for people; all optional strings may be NULL. Names differ. */
typedef struct qk_card_split {
    const char *split, *folder; /* "" when the files lie at the root */
    const char *model, *dataset, *dataset_split, *sampling, *dtype;
    int head_dim;
    const qk_card_attention *attention; /* or NULL */
    int64_t examples, tokens;
    const char *partial;     /* "12 of 75 units": its run was not finished; NULL: it was */
    const qk_card_run *runs; /* in the order they came; listed where there are several */
    size_t n_runs;
} qk_card_split;

/* Appends the whole README to out. Files of a split lie at folder/lXXhYYq/data.parquet; folder is
 * "" for a split that is alone and called train. The last line is a comment with the SHA-256 of
 * all that is before it. */
void qk_card_write(qk_buf *out, const qk_card_file *files, size_t n_files,
                   const qk_card_split *splits, size_t n_splits);
/* Appends the call that loads the first file of a split as rows, by its name or its path as such a
 * README would: `load_dataset("path", "l00h00q", split="model")` and a comment; nothing where the
 * split has no rows. revision: of the Hub, or NULL. */
void qk_card_write_call(qk_buf *out, const qk_card_file *files, size_t n_files,
                        const qk_card_split *splits, size_t n_splits, const char *split,
                        const char *path, const char *revision);
/* Warns when folder/README.md is missing, or is not as qk_card_write wrote it. */
void qk_card_check(const char *folder);
