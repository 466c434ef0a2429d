/* What a run will do, worked out before any weight is read: model, heads, units, folders.
 *
 * next: engine/run/estimate.h, engine/dataset/dataset.h */
#pragma once

#include "engine/families/family.h"
#include "sampler/heads.h"

typedef struct qk_capture_plan qk_capture_plan;
typedef struct qk_config qk_config;
typedef struct qk_inputs qk_inputs;
typedef struct qk_output qk_output;
typedef struct qk_preset qk_preset;

/* Tokens of a batch, which is closed early rather than exceed them: where inference.batch_size is
 * given, and where it is not. An example that has more of them is a batch of its own. */
enum { QK_MAX_BATCH_TOKENS = 65536, QK_PACKED_TOKENS = 2048 };

/* The most that a batch has, unless it is a single example. */
typedef struct qk_batch_limits {
    int64_t examples, tokens;
} qk_batch_limits;
qk_batch_limits qk_batch_limits_of(const qk_config *config);

typedef struct qk_plan {
    const qk_config *config; /* borrowed */
    const qk_inputs *inputs; /* borrowed; NULL with a preset */
    qk_spec spec;
    qk_head_plan heads;
    const int *window;        /* [spec.layers]: 0 full attention */
    const qk_json *attention; /* what the model does with its vectors, for readers */
    const char *model_folder, *tokenizer_folder; /* of inputs, or names with a preset */
    const qk_preset *preset;  /* what stands for a model that is not there, or NULL */
    const char *split;        /* of final/: own_split, old_split or "train" */
    const char *own_split;    /* prefix layout: output.split, or the model's name (of a local folder
                              * that is not written as owner/name its last part) with every non-word
                              * character as '_' */
    const char *old_split;    /* the same of the whole path, as 0.2.0 had it; NULL: no other */
    int unit_examples;        /* examples of a work unit: depends on the configuration alone */
    bool prefix;              /* output.layout */
    const char *final;        /* data_root/final: exactly what is pushed */
    const char *split_folder; /* final/<split> in prefix layout, final in branch layout */
    qk_arena arena;
} qk_plan;

/* inputs (engine/run/inputs.h) are borrowed. */
qk_status qk_plan_make(qk_plan *plan, const qk_config *config, const qk_inputs *inputs,
                       qk_error *err);
/* For looking only, with the built-in config.json of a model that cannot be had. */
qk_status qk_plan_from_preset(qk_plan *plan, const qk_config *config, const qk_preset *preset,
                              qk_error *err);
void qk_plan_free(qk_plan *plan);
/* Goes on with old_split where final/ holds rows of this model by that name and none by the own
 * one. For a run, which asks again when what another one had begun to move into final/ is there. */
qk_status qk_plan_find_split(qk_plan *plan, qk_error *err);

/* What it captures; the heads are borrowed. */
qk_capture_plan qk_plan_capture(const qk_plan *plan);
/* The dataset folder that it writes; everything in it is borrowed. */
qk_output qk_plan_output(const qk_plan *plan);

qk_status qk_plan_has_tokenizer(const qk_plan *plan, bool *has, qk_error *err);
