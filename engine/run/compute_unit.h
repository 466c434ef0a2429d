/* The work on one unit: its examples in batches through the forward, the rows that the capture
 * takes of them into the unit's file.
 *
 *   examples -> check ids -> batch -> qk_forward_run -> capture after each layer -> unit file
 *
 * The model is loaded when the first unit turns up. By then the folder belongs to this run, and
 * what it is computed with is noted; before that nothing is written.
 *
 * next: engine/forward/forward.h, engine/capture/capture.h */
#pragma once

#include "engine/capture/capture.h"
#include "engine/run/plan.h"
#include "engine/run/prefetch.h"
#include "engine/staging/claims.h"
#include "engine/staging/numerics.h"

typedef struct qk_compute {
    const qk_plan *plan; /* what is borrowed comes first, filled in by the caller */
    const qk_tokenizer *tokenizer;
    qk_staging *staging;
    qk_identity *identity;
    qk_numerics_there there; /* rows that this run adds to */
    /* For each example of a unit, before anything is computed: an error refuses the unit. */
    qk_status (*example)(void *context, const qk_unit_example *e, qk_error *err);
    void (*progress)(void *context); /* after each batch */
    void *context;

    bool loaded;
    qk_model model;
    qk_forward *forward;
    qk_capture *capture;
    qk_unit_stamp stamp;
    const qk_prefetch_unit *unit; /* that is being worked on */
    int32_t *ids, *starts;        /* one batch */
    qk_capture_example *sequences;
    size_t ids_room;
    int64_t examples, tokens; /* done so far */
    double began;             /* when the model was ready first; 0: not yet */
} qk_compute;

/* Makes the model ready, binds the staging folder to this run and notes its arithmetic; does
 * nothing when all that is done. Another process may note another arithmetic at the same moment:
 * then the model is loaded again to follow it. */
qk_status qk_compute_load(qk_compute *w, qk_error *err);
/* Writes the file of a unit that this process has claimed. */
qk_status qk_compute_unit(qk_compute *w, const qk_prefetch_unit *unit, const qk_claim *claim,
                          qk_error *err);
/* Rows that the capture has taken. */
uint64_t qk_compute_rows(const qk_compute *w);
/* Gives the model's memory back; qk_compute_load makes it ready again. */
void qk_compute_unload(qk_compute *w);
void qk_compute_free(qk_compute *w);
