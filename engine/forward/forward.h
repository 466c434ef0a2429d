/* The forward pass: token ids in, sampled queries, keys and values out. ONE layer loop for every family and
 * every backend; it calls the op table (kernels/backend.h) and knows no names and no #ifdef.
 *
 * Sequences are packed end to end, never padded. Memory: the residual stream [T, D] and the
 * projections [T, (H + 2K) d]; everything wider (the MLP) goes in chunks of rows, so it
 * grows linearly in T and slowly.
 *
 * next: engine/capture/capture.h */
#pragma once

#include "kernels/backend.h"

#include "engine/model/layer_budget.h"

typedef struct qk_model qk_model;

typedef struct qk_batch {
    const int32_t *ids;       /* [T] token ids */
    const int32_t *seq_start; /* [n_seq + 1] offsets into ids; seq_start[n_seq] = T */
    int n_seq;
} qk_batch;

/* Who wants rows. pre_rope and post_rope say which rows of a layer (NULL: none); layer_done is
 * called when all copies of that layer have arrived, and may fail (a full disk). Each may be NULL.
 * On a device that works by itself the next layer is asked for before the last one is done, so two
 * layers' rows must fit in memory at once.
 *
 * wanted says before the pass which rows of the batch the two will name: it adds them to `rows`, and
 * to `with_lse`, too, where a query's log-sum-exp is among what is wanted (engine/forward/row_set.h).
 * Then only what they depend on is computed (engine/forward/slice.h). NULL: every row is. */
typedef struct qk_capture_hooks {
    void *context;
    const qk_layer_capture *(*pre_rope)(void *context, int layer);
    const qk_layer_capture *(*post_rope)(void *context, int layer);
    qk_status (*layer_done)(void *context, int layer, qk_error *err);
    void (*wanted)(void *context, int layer, uint64_t *rows, uint64_t *with_lse);
} qk_capture_hooks;

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

/* Bytes of an activation block for T tokens, for the plan. */
uint64_t qk_forward_bytes(const qk_spec *spec, const qk_backend *backend, qk_dtype compute,
                          uint64_t T);
/* Floating point operations of a forward over a sequence of the given length, for the plan: of
 * products of weights, of attention over the whole sequence, and of attention where a window is
 * shorter than it. last_layer, needs: as in qk_model_size_of. */
typedef struct qk_forward_work {
    double products, attention, windowed;
} qk_forward_work;
qk_forward_work qk_forward_work_of(const qk_spec *spec, int last_layer, qk_last_layer needs,
                                   double length);
static inline double qk_forward_work_flops(qk_forward_work work)
{
    return work.products + work.attention + work.windowed;
}
/* All of them. */
double qk_forward_flops(const qk_spec *spec, int last_layer, qk_last_layer needs, double length);
