/* The forward pass against stored true values ("goldens").
 *
 * A golden is a safetensors file: input_ids [S, T] or [T] int64; lengths [S] int64 (absent: all T);
 * positions [n] int64 (absent: 0 .. T-1); and any of
 *   LL.q LL.k LL.q_pre LL.k_pre   [S, heads, n, d] or [heads, n, d] float32, LL the layer
 *   LL.v                          the same, of the key heads: values as attention reads them
 *   LL.lse                        [S, H, n] or [H, n] float32: logarithm, base e, of the sum of
 *                                 exp(score) over the keys that the query sees (kernels/backend.h)
 *   last_hidden                   [S, T, D] float32
 * Rows past a sequence's length are zero.
 *
 * Errors are relative to the root mean square of the golden tensor, lse's too, and one bound holds
 * for all. For lse it follows from that of q and k: d lse = sum p d score, so its error is a mean of
 * errors of scores. A score of q and k that are off by a part t in directions of their own is off by
 * sqrt(2) t of a score's size; over many keys the mean shrinks, and where one key has all of p, lse
 * is that score and as large.
 *
 * next: engine/commands/verify.c */
#pragma once

#include "engine/model/model.h"

/* One tensor of the golden beside what was computed. */
typedef struct qk_verified {
    const char *name;
    int layer;         /* -1: last_hidden */
    double rms_error;  /* root mean square of the difference / that of the golden */
    double max_error;  /* largest difference / root mean square of the golden */
    const float *data; /* computed, in the golden's shape */
    const size_t *shape;
    int n_dims;
} qk_verified;

typedef struct qk_verification {
    qk_verified *items; /* in name order */
    size_t count;
    bool same_bits; /* alone, together and in reverse order gave the same bits */
    int layers;     /* of the model */
    int64_t tokens;
    double seconds; /* of the run in one batch */
    const char *device;
    qk_arena arena;
} qk_verification;

/* Runs the model in `folder` over the golden's sequences three times: one by one, in one batch in
 * reverse order, and in one batch. The model is loaded whole (options->last_layer is -1). */
qk_status qk_verify(qk_verification *v, const char *folder, const char *golden,
                    const qk_model_options *options, qk_error *err);
void qk_verification_free(qk_verification *v);
