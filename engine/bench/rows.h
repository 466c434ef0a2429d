/* Rows of a document, asked for and dropped: what leaves the forward pass, without anything that is
 * done with it. Positions are drawn ahead, for each layer and kind, as a run draws them.
 *
 * next: engine/capture/capture.h, which asks for the same rows and keeps them */
#pragma once

#include <stdint.h>

typedef struct qk_backend qk_backend;
typedef struct qk_bench_rows qk_bench_rows;
typedef struct qk_capture_hooks qk_capture_hooks;
typedef struct qk_head_plan qk_head_plan;
typedef struct qk_sampler qk_sampler;

qk_bench_rows *qk_bench_rows_new(const qk_head_plan *heads, const qk_sampler *sampler, int d,
                                 int32_t tokens);
void qk_bench_rows_free(qk_bench_rows *r); /* NULL-safe */
qk_capture_hooks qk_bench_rows_hooks(qk_bench_rows *r);
/* Of one document: vectors, over all heads. */
uint64_t qk_bench_rows_count(const qk_bench_rows *r);

/* A backend that is the given one but for attention, which takes no rows: a pass of its own does,
 * right before it. One at a time. */
const qk_backend *qk_bench_gathering(const qk_backend *backend);
