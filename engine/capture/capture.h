/* Which rows of which heads leave the forward pass, and their way into a work unit.
 *
 * Before a batch runs, the sampler draws positions for every (example, layer, kind); the hooks hand
 * the resulting row lists to the forward pass layer by layer, and hand each layer's rows to the
 * writer thread as soon as they have arrived, which checks them and writes them into the unit. Memory:
 * the rows of so many layers of one batch as the plan has buffers.
 *
 * next: engine/capture/unit_queue.h, engine/capture/unit_file.h */
#pragma once

#include "engine/base/mem.h"
#include "sampler/positions.h"

typedef struct qk_batch qk_batch;
typedef struct qk_capture_hooks qk_capture_hooks;
typedef struct qk_head_plan qk_head_plan;
typedef struct qk_unit_queue qk_unit_queue;
typedef struct qk_unit_writer qk_unit_writer;

/* Layers whose rows may wait or be written while the forward goes on. */
enum { QK_CAPTURE_BEHIND = 2 };

typedef struct qk_capture_plan {
    const qk_head_plan *heads;       /* what has no heads there is not captured */
    qk_sampler sampler, key_sampler; /* of queries; of keys and values */
    bool per_head_masks;
    bool pre_rope;        /* queries and keys before RoPE; false with heads->both_states */
    bool lse;             /* with queries after RoPE */
    bool allow_nonfinite; /* false: rows of NaN or infinity are an error */
    int buffers;          /* for the rows of a layer: one more at least than are in the forward */
    int d;
} qk_capture_plan;

/* One sequence of a batch. */
typedef struct qk_capture_example {
    int64_t id;      /* the full one */
    int32_t ordinal; /* in the unit */
} qk_capture_example;

typedef struct qk_capture qk_capture;

qk_capture *qk_capture_new(const qk_capture_plan *plan);
/* All jobs of its queue have ended. NULL-safe. */
void qk_capture_free(qk_capture *c);

/* Aims the next forward pass: its batch and what each sequence of it is, borrowed until that pass has
 * ended; and the unit that receives the rows, which has its examples already, and the queue that they
 * take. These two are borrowed until all jobs of that unit have ended. */
void qk_capture_aim(qk_capture *c, const qk_batch *batch, const qk_capture_example *examples,
                    qk_unit_writer *unit, qk_unit_queue *queue);
/* The hooks for qk_forward_run; that before or after RoPE is NULL where nothing is taken there.
 * layer_done fails with what the writer has failed with so far. A row that is not finite is
 * QK_ERR_DATA and names its layer, head, example and position. */
qk_capture_hooks qk_capture_hooks_of(qk_capture *c);
/* Rows handed to the writer so far, over all files. */
uint64_t qk_capture_rows(const qk_capture *c);
