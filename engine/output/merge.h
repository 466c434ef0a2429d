/* The finished units of a run join final/: one Parquet file per (layer, head, kind), with everything
 * around them.
 *
 * Rows keep the order of the dataset; within an example the sampler's. Layout `prefix`: rows that
 * final/ already has stay in front, and a row is kept once per (full example id, position) and
 * file; another text under an id that final/ has is refused. Layout `branch`: rows as they come.
 *
 * Of a run that is not finished, the units that are there make a dataset of their own, which says in
 * its manifest and card what it lacks.
 *
 * Files are written in groups (engine/output/join.h); every unit is read once per group, never the
 * whole dataset.
 *
 * next: engine/output/join.h */
#pragma once

#include "engine/capture/unit_file.h"
#include "engine/output/layout.h"

typedef struct qk_identity qk_identity;
typedef struct qk_json qk_json;
typedef struct qk_staging qk_staging;
typedef struct qk_units qk_units;
typedef struct qk_texts qk_texts;
typedef struct qk_tokenizer qk_tokenizer;

typedef struct qk_merge_result {
    uint64_t rows, rows_added, files;
    int64_t damaged; /* the unit whose file was found to be damaged, with that error; else -1 */
} qk_merge_result;

typedef struct qk_merge_job {
    const qk_output *out;
    const qk_staging *staging; /* the units; held */
    const qk_staging *work; /* held alone: files are written below it, then moved into out->final.
                                * The same one, but for a part of a run */
    const qk_identity *id;
    const qk_json *old;   /* the manifest that final/ has now, or NULL; what it lists is read and
                                * must be whole */
    int64_t units;        /* of the run; -1 for a part of it: not known */
    const qk_units *part; /* the units of a part of the run, one or more: nothing that final/
                                * holds is kept. NULL: all of them */
    const qk_tokenizer *tokenizer; /* spells token_str */
} qk_merge_job;

/* Writes merged/ from the units and moves it into final/. */
qk_status qk_merge(const qk_merge_job *job, qk_merge_result *result, qk_error *err);
/* The error of an example whose id stands for other tokens in final/: QK_TEXT_OTHER. */
qk_status qk_merge_refuse_text(const qk_texts *texts, const qk_unit_example *e, const char *folder,
                               qk_error *err);
