/* A model of a real shape with random weights, in memory only: the values of `qkengine synth`, made
 * as the backend asks for them. Its embedding has no more than MAX_VOCABULARY rows: a forward looks
 * up one for each token, however many there are, and the table of a real model may take gigabytes.
 *
 * next: engine/tools/synth.h, engine/model/model.h */
#pragma once

#include "engine/model/model.h"
#include "formats/json.h"
#include "formats/safetensors.h"

typedef struct qk_preset qk_preset;

typedef struct qk_random_model {
    qk_model_source source; /* for qk_model_load, with qk_random_model_cut as its change_spec */
    const char *name;
    qk_spec spec;
    qk_checkpoint checkpoint; /* in the arena */
    struct qk_synth_values *values;
    qk_json_out text;
    qk_arena arena;
} qk_random_model;

/* layers: 0 for all. Zero-initialise; qk_random_model_free frees, also after a failure. */
qk_status qk_random_model_make(qk_random_model *r, const qk_preset *preset, int layers,
                               qk_dtype dtype, qk_error *err);
void qk_random_model_cut(qk_spec *spec);
void qk_random_model_free(qk_random_model *r);
