/* Which rows of which heads leave the forward pass, and their way into a work unit.
 *
 * Before a batch runs, the sampler draws positions for every (example, layer, kind); the hooks hand
 * the resulting row lists to the forward pass layer by layer, and write each layer's rows into the
 * unit as soon as they have arrived. Memory: the rows of one layer of one batch, of two on a device
 * that works by itself.
 *
 * next: engine/capture/unit_file.h */
#pragma once

#include "engine/base/mem.h"
#include "sampler/positions.h"

typedef struct qk_batch qk_batch;
typedef struct qk_capture_hooks qk_capture_hooks;
typedef struct qk_head_plan qk_head_plan;
typedef struct qk_unit_writer qk_unit_writer;

typedef struct qk_capture_plan {
    const qk_head_plan *heads;       /* what has no heads there is not captured */
    qk_sampler sampler, key_sampler; /* of queries; of keys and values */
    bool per_head_masks;
    bool pre_rope;        /* queries and keys before RoPE; false with heads->both_states */
    bool lse;             /* with queries after RoPE */
    bool allow_nonfinite; /* false: rows of NaN or infinity are an error */
    int d;
} qk_capture_plan;

/* One sequence of a batch. */
typedef struct qk_capture_example {
    int64_t id;          /* the full one */
    int32_t ordinal;     /* in the unit */
    int64_t index;       /* row of the dataset's selection, for messages */
    const char *id_text; /* the same; NULL without an id column */
} qk_capture_example;

typedef struct qk_capture qk_capture;

qk_capture *qk_capture_new(const qk_capture_plan *plan);
void qk_capture_free(qk_capture *c); /* NULL-safe */

/* Aims the next forward pass: its batch, what each sequence of it is, and the unit that receives
 * the rows. All borrowed until that pass has ended. */
void qk_capture_aim(qk_capture *c, const qk_batch *batch, const qk_capture_example *examples,
                    qk_unit_writer *unit);
/* The hooks for qk_forward_run; that before or after RoPE is NULL where nothing is taken there. A
 * row that is not finite fails with QK_ERR_DATA and names its layer, head, example and position. */
qk_capture_hooks qk_capture_hooks_of(qk_capture *c);
/* Rows handed to units so far, over all files. */
uint64_t qk_capture_rows(const qk_capture *c);
