/* The identity (engine/staging/identity.h) of the run that a plan describes: reads the digests of
 * weights, tokenizer and dataset.
 *
 * next: engine/dataset/rows_digest.h */
#pragma once

#include "engine/staging/identity.h"

typedef struct qk_dataset qk_dataset;
typedef struct qk_plan qk_plan;

/* Of a dataset that is opened, before its first row; it stands there again afterwards. */
qk_status qk_identity_make(qk_identity *id, const qk_plan *plan, qk_dataset *dataset,
                           qk_arena *arena, qk_error *err);
/* The part of it that is known without reading a file, for looking only: configuration, the model's
 * config.json and heads. Two runs that differ in it are two runs. */
qk_status qk_identity_settings(qk_identity *id, const qk_plan *plan, qk_arena *arena,
                               qk_error *err);
