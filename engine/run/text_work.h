/* How many operations the forward pass over a text takes, and how many it would take without
 * inference.slice: the sampler draws the text's positions, and engine/forward/slice.h says what they
 * depend on. For the plan, for progress, and for what a run says at its end.
 *
 * next: engine/forward/slice.h */
#pragma once

#include "engine/forward/cost.h"

typedef struct qk_plan qk_plan;
typedef struct qk_text_work qk_text_work;

/* What the rows of the last captured layer come from. */
qk_last_layer qk_plan_last_needs(const qk_plan *plan);

qk_text_work *qk_text_work_new(const qk_plan *plan); /* borrowed */
void qk_text_work_free(qk_text_work *w);             /* NULL-safe */
/* Of a text of this 64-bit id. *whole is what it would take without the slice, or NULL. */
qk_forward_work qk_text_work_of(qk_text_work *w, int64_t id, int32_t tokens,
                                qk_forward_work *whole);
/* "; slice: 62 % of the operations skipped", or "" where that is less than one in a hundred. */
const char *qk_slice_text(char *out, size_t size, double flops, double whole_flops);
