/* Where the files of a dataset lie, and what they are called.
 *
 *   final/<split>/lXXhYYq/data.parquet   prefix layout: a folder for each model, a row once
 *   final/lXXhYYq/data.parquet           branch layout: one run
 *
 * with manifest.json and examples.parquet beside the folders of heads, and README.md in final/.
 *
 * next: engine/output/head_file.h, engine/output/join.h */
#pragma once

#include "engine/base/file.h"
#include "sampler/heads.h"
#include "sampler/seed.h"

typedef struct qk_json qk_json;
typedef struct qk_listed qk_listed;

/* The dataset folder of a run: what its writers have to know. All pointers are borrowed. */
typedef struct qk_output {
    const char *final; /* exactly what is pushed */
    const char *split,
        *folder; /* final/<split> in prefix layout; "train" and final in branch layout */
    bool prefix;
    const qk_head_plan *heads;
    const int *window; /* [layers of the model]: 0 full attention */
    int head_dim;
    bool token_strings, plain_vectors, ids_from_column;
    bool token_ids, lse, head_columns;
    const qk_json *attention;   /* what the model does with them (engine/output/attention.h) */
    int unit_examples;          /* examples of a work unit */
    const qk_listed *listed[2]; /* positions of queries, and of keys where those are others; or
                                 * NULL */
} qk_output;

/* "l00h03q", in the arena. */
const char *qk_file_name(qk_arena *arena, int layer, int head, qk_kind kind);
/* "l00h03q_pre" -> 0, 3, QK_KIND_Q_PRE; false for any other name, "l0h3q" included. */
bool qk_parse_file_name(const char *name, int *layer, int *head, qk_kind *kind);
bool qk_is_file_name(const char *name); /* the same question alone */
/* The model's name as a folder: non-word characters (all but Unicode letters, digits and '_')
 * become
 * '_'. In the arena. */
const char *qk_split_name(qk_arena *arena, const char *model_name);
/* Whether `datasets` takes a split of that name: such words, with single points between them, but
 * not "all", by which it means every split. */
bool qk_is_split_name(const char *name);
/* The head's name in the path of a data file of a split, "split/l00h00q/data.parquet", or at the
 * root for NULL: true, and the name. */
bool qk_parse_data_path(const char *path, const char *split, char head[32]);
/* Head files of a split's folder: names of folders that hold their data.parquet, in name order;
 * none where there is no such folder. */
qk_status qk_list_heads(const char *folder, qk_names *out, qk_error *err);
/* Data files below a dataset folder: "l00h00q" or "split/l00h00q", in name order. */
qk_status qk_find_data_files(const char *folder, qk_names *out, qk_error *err);
