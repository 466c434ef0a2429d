/* How large a run is and what it costs, from its plan and the first examples.
 *
 * next: engine/commands/plan.c */
#pragma once

#include "engine/forward/cost.h"
#include "engine/model/layer_budget.h"
#include "engine/run/probe.h"

typedef struct qk_plan qk_plan;
typedef struct qk_tokenizer qk_tokenizer;

typedef struct qk_estimate {
    int64_t examples;  /* of the dataset; -1: unknown, and all sums are those of what was looked at,
                        * or of one example */
    int64_t looked_at; /* how many were tokenized to get the means */
    bool assumed;      /* none: every example is counted with tokenizer.max_length tokens */
    double mean_tokens, longest_tokens;
    double rows, files, bytes; /* of the final dataset, before compression */
    double tokens, flops;
    qk_forward_work work;   /* flops, by kind */
    double whole_flops;     /* what they would be without inference.slice */
    double products_share;  /* the part of the products that are left with it */
    double typical_tokens;  /* of the example that a token is most likely to be in */
    double batch_tokens;    /* of a batch of mean examples */
    int64_t units, batches; /* of the run; -1: unknown */
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
/* Examples, tokens, rows and units alone, for the start of a run: from its first 32 texts; of a
 * dataset on this disk. examples: how many it takes, or -1: as the dataset knows it without being
 * read. */
qk_status qk_estimate_start(const qk_plan *plan, const qk_tokenizer *tokenizer, int64_t examples,
                            qk_estimate *out, qk_error *err);

/* How long the forward passes take, by a probe of this machine (engine/run/probe.h). */
typedef struct qk_time_estimate {
    bool measured;
    qk_error why; /* where it could not be: what stands in the way */
    qk_speed speed;
    double
        seconds; /* of all examples that the estimate counts, weights that are read again left out */
} qk_time_estimate;
/* Fails on a signal alone. Nothing to compute is measured as nothing. */
qk_status qk_estimate_time(const qk_plan *plan, const qk_estimate *e, qk_time_estimate *out,
                           qk_error *err);
