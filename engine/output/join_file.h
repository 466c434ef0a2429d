/* One head file of a join: rows of the first dataset, then those of the second.
 *
 * Where rows of two are compared, one is kept once per (full id, position). A row whose full id
 * nobody knows (two ids share the stored one, and the file does not say which it is) is compared
 * with all rows of the first dataset by what files store. Private to engine/output. */
#pragma once

#include "engine/output/head_file.h"
#include "engine/output/id_index.h"
#include "engine/output/pair_set.h"
#include "sampler/seed.h"

/* Rows in columns with the full ids behind the stored ones; borrowed. */
typedef struct qk_id_rows {
    qk_file_rows rows;
    const int64_t *ids;   /* [n] */
    const bool *is_known; /* [n] whether ids[i] is the row's; NULL: all are known */
} qk_id_rows;

typedef struct qk_join_file {
    const char *name;   /* "l00h00q" */
    int layer, head, d; /* d: numbers of a vector */
    qk_kind kind;
    size_t index;               /* of qk_join.heads */
    const char *path;           /* under staging/merged */
    bool compare;               /* rows are kept once; else all of them */
    bool compare_stored;        /* the second dataset may have rows whose full id nobody knows */
    const qk_id_index *all_ids; /* of both datasets: shared ids are noted; NULL: they are not */
    qk_head_file_writer *writer;
    uint64_t rows, added;  /* added: of them, those of the second dataset */
    int32_t last_position; /* the highest one; -1: it has no rows */
    bool head_columns;     /* it has them */
    /* (full id, position) of the rows so far; (stored id, position) of those without a full id;
     * (stored id, position) of all rows of the first dataset */
    qk_pair_set seen, seen_stored, first_stored;
    qk_id_runs shared;
    qk_buf kept, ints, vectors, strings; /* scratch of qk_join_file_add */
    qk_buf columns, block, lse;          /* scratch of who gives rows */
} qk_join_file;

/* Appends rows of the first dataset, or those of the second that are not there. */
qk_status qk_join_file_add(qk_join_file *f, bool first, const qk_id_rows *rows, qk_error *err);
/* The same with all rows of a file, from its beginning. ids: of the examples beside it. */
qk_status qk_join_file_read(qk_join_file *f, bool first, qk_head_file_reader *from,
                            const char *path, const qk_id_index *ids, qk_error *err);
/* Finishes the file; *nonfinite: its rows that hold NaN or infinity. */
qk_status qk_join_file_commit(qk_join_file *f, uint64_t *nonfinite, qk_error *err);
void qk_join_file_free(qk_join_file *f);

/* A step of one file, with an error of its own. */
typedef qk_status (*qk_join_step)(void *context, qk_join_file *f, qk_error *err);
/* Takes a step of every file, side by side where that pays; bytes: what all of them have to do. The
 * error is that of the first file that has one. */
qk_status qk_join_each(qk_join_file *files, size_t n, uint64_t bytes, qk_join_step step,
                       void *context, qk_error *err);
