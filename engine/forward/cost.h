/* What a forward pass costs, memory and operations, for the plan and for progress.
 *
 * next: engine/run/estimate.h */
#pragma once

#include "kernels/backend.h"

#include "engine/model/layer_budget.h"

typedef struct qk_slice qk_slice;

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
/* Floating point operations of the plan. Not counted: rows that stay because moving others would
 * cost more. */
qk_forward_work qk_slice_work(const qk_slice *s);
