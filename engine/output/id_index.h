/* Which full ids stand behind a stored 32-bit id.
 *
 * Different 64-bit ids may share their low 32 bits. Rows store only those, so a file keeps the full
 * ids of such rows in its metadata ("shared ids"); all others follow from examples.parquet.
 *
 * However many ids share a stored one, each question takes a few steps: the table has one slot for
 * each stored id, and a set holds the full ids that are not the first of theirs.
 *
 * Memory: 18 to 36 bytes for each stored id, 24 to 48 for each further id.
 *
 * next: engine/output/join_file.h */
#pragma once

#include "engine/output/pair_set.h"

typedef struct qk_id_index {
    int64_t *ids;       /* [capacity] open addressing by the stored id: the first id of each */
    uint32_t *sharing;  /* [capacity] how many full ids share it; 0: a free slot */
    qk_pair_set others; /* (full id, 0): ids that were not the first */
    size_t count, capacity;
    uint64_t key;    /* of the hash */
    uint64_t probes; /* slots that qk_id_index_add has looked at: what it cost */
} qk_id_index;

/* false when it is there already. */
bool qk_id_index_add(qk_id_index *index, int64_t id);
bool qk_id_index_has(const qk_id_index *index, int64_t id);
/* How many different full ids share this stored id; *id is the first of them when there is any. */
uint32_t qk_id_index_find(const qk_id_index *index, int32_t stored, int64_t *id);
void qk_id_index_free(qk_id_index *index);

/* ---- shared ids of one file: runs of rows ---- */

typedef struct qk_id_run {
    uint64_t first, rows;
    int64_t id;
} qk_id_run;

typedef struct qk_id_runs {
    qk_id_run *items;
    size_t count, capacity;
} qk_id_runs;

/* Row numbers must grow. */
void qk_id_runs_add(qk_id_runs *runs, uint64_t row, int64_t id);
/* The full id of a row, when the runs have it. */
bool qk_id_runs_find(const qk_id_runs *runs, uint64_t row, int64_t *id);
/* The metadata's text, or NULL without runs; the caller frees. */
char *qk_id_runs_write(const qk_id_runs *runs);
qk_status qk_id_runs_read(qk_id_runs *runs, const char *text, const char *path, qk_error *err);
void qk_id_runs_free(qk_id_runs *runs);
