/* The finished units of a run join final/: one Parquet file per (layer, head, kind), with everything
 * around them.
 *
 * Rows keep the order of the dataset; within an example the sampler's. Layout `prefix`: rows that
 * final/ already has stay in front, and a row is kept once per (full example id, position) and
 * file; another text under an id that final/ has is refused. Layout `branch`: rows as they come.
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
typedef struct qk_texts qk_texts;
typedef struct qk_tokenizer qk_tokenizer;

typedef struct qk_merge_result {
    uint64_t rows, rows_added, files;
    int64_t damaged; /* the unit whose file was found to be damaged, with that error; else -1 */
} qk_merge_result;

/* Writes staging/merged/ from units 0 .. units-1 and moves it into final/. old: the manifest that
 * final/ has now, or NULL; what it lists is read and must be whole. tokenizer spells token_str. */
qk_status qk_merge(const qk_output *out, const qk_staging *staging, const qk_identity *id,
                   const qk_json *old, int64_t units, const qk_tokenizer *tokenizer,
                   qk_merge_result *result, qk_error *err);
/* The error of an example whose id stands for other tokens in final/: QK_TEXT_OTHER. */
qk_status qk_merge_refuse_text(const qk_texts *texts, const qk_unit_example *e, const char *folder,
                               qk_error *err);
