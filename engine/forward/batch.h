/* What a forward pass is given: token ids, and who wants which rows of it.
 *
 * next: engine/forward/forward.h, engine/forward/slice.h */
#pragma once

#include "engine/base/error.h"
#include "kernels/backend.h"

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
