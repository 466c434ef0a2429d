/* One output file while it is merged: rows that were there, then new ones. Private to merge*.c. */
#pragma once

#include "engine/capture/unit_file.h"
#include "engine/output/head_file.h"
#include "engine/output/id_index.h"
#include "engine/output/pair_set.h"
#include "engine/tokenizer/tokenizer.h"

/* What all files of a merge share. */
typedef struct qk_merge_context {
    bool keep_pairs_once; /* prefix layout: a row is kept once per (full id, position) */
    bool token_strings;
    const qk_tokenizer *tokenizer;
    const qk_id_index *old_ids; /* of the examples.parquet that is there */
    const qk_id_index *all_ids; /* and of the units as well */
    qk_head_file_format format;
    const int *window; /* [layers] */
} qk_merge_context;

typedef struct qk_merge_file {
    int layer, head;
    qk_kind kind;
    const char *name; /* "l00h00q" */
    char *path;       /* staging/merged/... */
    qk_head_file_writer *writer;
    uint64_t rows, added, bytes, nonfinite;
    qk_pair_set seen;        /* (full id, position) */
    qk_pair_set seen_stored; /* (stored id, position) of rows whose full id nobody knows */
    qk_pair_set all_stored;  /* the same of all rows; filled for qk_merge_file_add_file */
    bool keep_all_stored;
    qk_id_runs shared;
    qk_buf vectors, columns, strings; /* reused between blocks */
} qk_merge_file;

/* Creates the writer; old_path: the file that final/ has, copied first; NULL: none. */
qk_status qk_merge_file_open(qk_merge_file *f, const qk_merge_context *c, const char *old_path,
                             qk_error *err);
/* Appends the rows of the h-th head of a block; rows are its integer columns. */
qk_status qk_merge_file_add(qk_merge_file *f, const qk_merge_context *c, const qk_unit *unit,
                            const qk_unit_block *block, int32_t h, const qk_unit_rows *rows,
                            qk_error *err);
/* Appends the rows of another file that this one lacks; ids: of the examples.parquet beside it. */
qk_status qk_merge_file_add_file(qk_merge_file *f, const qk_merge_context *c, const char *path,
                                 const qk_id_index *ids, qk_error *err);
qk_status qk_merge_file_commit(qk_merge_file *f, qk_error *err);
void qk_merge_file_free(qk_merge_file *f);
