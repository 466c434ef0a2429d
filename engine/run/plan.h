/* What a run will do, worked out before any weight is read: model, heads, units, folders.
 *
 * next: engine/dataset/dataset.h */
#pragma once

#include "engine/config/config.h"
#include "engine/families/family.h"
#include "engine/families/presets.h"
#include "engine/model/layer_budget.h"
#include "engine/output/layout.h"
#include "engine/run/inputs.h"
#include "sampler/heads.h"

/* A batch is closed early rather than exceed this; batch_size 1 always passes. */
enum { QK_MOST_BATCH_TOKENS = 65536 };

typedef struct qk_plan {
    const qk_config *config; /* borrowed */
    const qk_inputs *inputs; /* borrowed; NULL with a preset */
    qk_spec spec;
    qk_head_plan heads;
    const int *window;                           /* [spec.layers]: 0 full attention */
    const char *model_folder, *tokenizer_folder; /* of inputs, or names with a preset */
    const qk_preset *preset; /* what stands for a model that is not there, or NULL */
    const char *split;       /* the model's name with every non-word character as '_', or "train" */
    int unit_examples;       /* examples of a work unit: depends on the configuration alone */
    const char *staging;     /* data_root/staging: work in progress */
    const char *final;       /* data_root/final: exactly what is pushed */
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

/* The dataset folder that it writes; everything in it is borrowed. */
qk_output qk_plan_output(const qk_plan *plan);

/* Sizes of a run, from the plan and a look at the first examples. */
typedef struct qk_estimate {
    int64_t examples;  /* of the dataset; -1: unknown, and all sums are those of what was looked at,
                        * or of one example */
    int64_t looked_at; /* how many were tokenized to get the means */
    bool assumed;      /* none: every example is counted with tokenizer.max_length tokens */
    double mean_tokens, longest_tokens;
    double rows, files, bytes; /* of the final dataset, before compression */
    double tokens, flops;
    uint64_t weight_bytes;  /* of all layers that run */
    qk_layer_budget budget; /* what of them is in memory at a time, on this machine as it is now */
    uint64_t activation_bytes, capture_bytes; /* with budget.bytes: peak memory */
} qk_estimate;

/* Bytes that weights have to leave free: activations and captured rows of the largest batch that
 * the configuration allows, and 384 MB for everything else. Examples whose length nothing limits
 * count as a full batch. */
uint64_t qk_plan_reserve(const qk_plan *plan, const qk_backend *backend);

qk_status qk_plan_has_tokenizer(const qk_plan *plan, bool *has, qk_error *err);
/* Tokenizes up to `look` examples. Without a tokenizer (a preset, a folder that has none) or a
 * dataset, examples are counted at full length instead, dataset.max_samples of them. */
qk_status qk_plan_estimate(qk_plan *plan, int64_t look, qk_estimate *out, qk_error *err);
