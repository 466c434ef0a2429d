/* join(first, second): two datasets become one, the only way in which rows come into a folder.
 *
 *   a run        first: the split that final/ has, second: the finished units   (merge.h)
 *   a push       first: the split of the branch, second: that of the folder     (engine/push/merge.h)
 *   a command    first and second: splits of two folders                        (join_folders.h)
 *
 * A dataset is a manifest, examples and head files. Of each the rows of the first come first, in
 * their order, then what the second has beside them:
 *
 *   examples.parquet   an example once; another text under one id is refused
 *   head files         a row once per (full id, position), see join_file.h; a file that only one of
 *                      the two has, or that both have alike, stays as it is, unless an id of the
 *                      other dataset shares a stored one with it: then it is written anew with the
 *                      full ids that tell them apart
 *   manifest.json      the runs of both, each once
 *   README.md          from the manifests of all splits
 *
 * In branch layout there is no first dataset, and rows of the second are kept as they come. All of
 * it is written under staging/merged and enters final/ as one change (engine/staging/publish.h).
 *
 * Memory: the ids and texts of both (engine/output/example_texts.h), one row group for each file
 * that is open, and 16 to 48 bytes for each row of those; files are written in groups that fit a
 * budget.
 *
 * next: engine/output/join_file.h */
#pragma once

#include "engine/output/examples_file.h"
#include "engine/output/head_file.h"
#include "engine/output/manifest.h"

typedef struct qk_join_file qk_join_file; /* engine/output/join_file.h */
typedef struct qk_staging qk_staging;

/* A second dataset that is no folder. `rows` gives the rows of a group of files of one layer, in
 * order, to qk_join_file_add. */
typedef struct qk_source {
    void *self;
    qk_status (*examples)(void *self, qk_example_visit visit, void *context, qk_error *err);
    qk_status (*rows)(void *self, qk_join_file *files, size_t n, qk_error *err);
    qk_manifest_run run;        /* that it adds */
    qk_head_file_format format; /* of its files */
    bool ids_from_column;
} qk_source;

/* How files of a folder that stay as they are come into final. */
typedef enum qk_join_way {
    QK_JOIN_COPY,
    QK_JOIN_STAY, /* they are there: the folder is final's */
    QK_JOIN_MOVE, /* the folder is our own copy of something, and is thrown away afterwards */
} qk_join_way;

typedef struct qk_join_folder {
    const char *path;        /* of the split; NULL: there is no such folder */
    const qk_json *manifest; /* or NULL; the files that it lists are whole */
    const char *name;        /* for messages: whose it is */
    qk_join_way way;
} qk_join_folder;

/* A head file of either dataset. */
typedef struct qk_join_head {
    const char *name; /* "l00h00q" */
    bool first, second;
    bool equal; /* both have it, and with the same bytes */
} qk_join_head;

typedef struct qk_join {
    const qk_staging *staging; /* held alone */
    const char *final; /* what gets it; NULL: it stays under staging/merged, without README.md */
    const char *split; /* its name */
    const char *below; /* where it lies in final: "", or "split/" */
    bool once;         /* prefix layout */
    qk_join_folder first, second;
    const qk_source *units;    /* the second dataset where it is no folder, else NULL */
    const qk_join_head *heads; /* those of units by layer */
    size_t n_heads;
    /* NULL, or called before examples.parquet of `first` is read, and with heads set before its head
     * files are, when nothing is left to refuse. */
    qk_status (*fetch)(void *context, bool heads, qk_error *err);
    void *context;
    const char *hint; /* of what is refused */
} qk_join;

typedef struct qk_join_result {
    uint64_t rows, files; /* of the split */
    uint64_t rows_added;  /* of the second dataset */
    size_t written;       /* head files that are new under their name */
} qk_join_result;

qk_status qk_join_run(const qk_join *j, qk_join_result *result, qk_error *err);
