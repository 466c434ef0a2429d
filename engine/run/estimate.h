/* How large a run is and what it costs, from its plan and the first examples.
 *
 * next: engine/commands/plan.c */
#pragma once

#include "engine/model/layer_budget.h"

typedef struct qk_plan qk_plan;

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
uint64_t qk_estimate_reserve(const qk_plan *plan, const qk_backend *backend);
/* Tokenizes up to `look` examples. Without a tokenizer (a preset, a folder that has none) or a
 * dataset, examples are counted at full length instead, dataset.max_samples of them. */
qk_status qk_estimate_make(qk_plan *plan, int64_t look, qk_estimate *out, qk_error *err);
