/* The work on one unit: its examples in batches through the forward, the rows that the capture
 * takes of them into the unit's file.
 *
 *   examples -> check ids -> batch -> qk_forward_run -> capture after each layer
 *                                                         |
 *                               a thread of its own:      +-> unit file -> commit, claim given back
 *
 * The file of a unit is finished while the next one is computed. Errors come in the order of the
 * units: what goes wrong with a file stops the unit behind it, at its next layer or at its end.
 *
 * The model is loaded when the first unit turns up. By then the folder belongs to this run, and
 * what it is computed with is noted; before that nothing is written.
 *
 * next: engine/forward/forward.h, engine/capture/capture.h, engine/capture/unit_queue.h */
#pragma once

#include "engine/staging/claims.h"

typedef struct qk_numerics_existing qk_numerics_existing;
typedef struct qk_plan qk_plan;
typedef struct qk_prefetch_unit qk_prefetch_unit;
typedef struct qk_texts qk_texts;
typedef struct qk_tokenizer qk_tokenizer;

typedef struct qk_compute_plan {
    const qk_plan *plan; /* all of it borrowed */
    const qk_tokenizer *tokenizer;
    qk_staging *staging;
    qk_identity *identity;
    const qk_numerics_existing *existing; /* rows that this run adds to */
    const qk_texts *texts; /* of final/: a unit with another text under one of their ids is refused
                              before it is computed */
    void (*progress)(void *context); /* before the first batch of a unit, after each layer */
    void *context;
} qk_compute_plan;

typedef struct qk_computed {
    int64_t examples, tokens; /* so far */
    uint64_t rows;            /* that the capture has taken */
    double began;             /* when the model was ready first; 0: not yet */
    /* Of the unit in work: its texts, those in finished batches, those of the batch in work and
     * their tokens, and how much of that batch is done (0 to 1, by layers). */
    int64_t unit_texts, unit_done, batch_texts, batch_tokens;
    double share;
    /* Floating point operations: of finished batches, of the one in work, of what follows in its
     * unit; and of known_texts, those of all units so far. What the first two would be without
     * inference.slice. */
    double work, batch_work, work_ahead, work_known;
    double whole, batch_whole;
    int64_t known_texts;
} qk_computed;

typedef struct qk_compute qk_compute;

qk_compute *qk_compute_new(const qk_compute_plan *plan);
/* Makes the model ready, binds the staging folder to this run and notes its numerics; does
 * nothing when all that is done. Another process may note other numerics at the same moment:
 * then the model is loaded again to follow it. */
qk_status qk_compute_load(qk_compute *w, qk_error *err);
/* Computes a unit that this process has claimed. The claim is moved from *claim where that succeeds,
 * and given back when the unit's file is there, or after a failure with qk_compute_finish; the unit
 * before it is there then. After an error what matters is what qk_compute_finish says. */
qk_status qk_compute_unit(qk_compute *w, const qk_prefetch_unit *unit, qk_claim *claim,
                          qk_error *err);
/* Whether all units that were computed are on the disk. */
bool qk_compute_is_written(const qk_compute *w);
/* Waits until they are. Fails with what has gone wrong with their files first; then it is earlier than
 * whatever else stops the run. To be called after the last unit, also after an error. */
qk_status qk_compute_finish(qk_compute *w, qk_error *err);
qk_computed qk_compute_done(const qk_compute *w);
/* Gives the model's memory back; qk_compute_load makes it ready again. */
void qk_compute_unload(qk_compute *w);
void qk_compute_free(qk_compute *w); /* NULL-safe */
