/* The forward pass: token ids in, sampled queries, keys and values out. ONE layer loop for every family and
 * every backend; it calls the op table (kernels/backend.h) and knows no names and no #ifdef.
 *
 * Sequences are packed end to end, never padded. Memory: the residual stream [T, D] and the
 * projections [T, (H + 2K) d]; everything wider (the MLP) goes in chunks of rows, so it
 * grows linearly in T and slowly.
 *
 * next: engine/capture/capture.h */
#pragma once

#include "engine/forward/batch.h"
#include "engine/forward/cost.h"

typedef struct qk_model qk_model;

typedef struct qk_forward qk_forward; /* one activation block */

qk_forward *qk_forward_new(const qk_model *model);
void qk_forward_free(qk_forward *f); /* NULL-safe */

/* Runs the loaded layers over one batch. Grows the activation block when the batch is the largest
 * so far. Fails when memory is short, or with what layer_done returned. */
qk_status qk_forward_run(qk_forward *f, const qk_batch *batch, const qk_capture_hooks *hooks,
                         qk_error *err);
/* The last hidden state after the final norm, [T, D] of the batch that ran last, into host memory.
 * Only for models that were loaded whole, and after a pass that computed every row. */
qk_status qk_forward_hidden(qk_forward *f, float *out, qk_error *err);
