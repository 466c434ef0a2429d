/* A model of a real shape with random weights, in memory only: the values of `qkengine synth`, made
 * as the backend asks for them. Its embedding has no more than MAX_VOCABULARY rows: a forward looks
 * up one for each token, however many there are, and the table of a real model may take gigabytes.
 *
 * next: engine/tools/synth.h, engine/model/model.h */
#pragma once

#include "engine/base/dtype.h"
#include "engine/base/error.h"

typedef struct qk_model_options qk_model_options;
typedef struct qk_preset qk_preset;
typedef struct qk_random_model qk_random_model;

/* layers: 0 for all. *out is freed with qk_random_model_free, also after a failure. */
qk_status qk_random_model_make(qk_random_model **out, const qk_preset *preset, int layers,
                               qk_dtype dtype, qk_error *err);
/* For qk_model_load: the model in the place of a folder's files. */
void qk_random_model_give(const qk_random_model *r, qk_model_options *options);
void qk_random_model_free(qk_random_model *r); /* NULL-safe */
