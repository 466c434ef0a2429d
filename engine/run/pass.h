/* One pass over the dataset: the units of a range that this process can claim are computed, the
 * others are passed over.
 *
 *   prefetch (reads, tokenizes ahead) -> claim -> qk_compute_unit -> the claim is given back
 *
 * A process has one claim for the unit that it computes, and one for the unit before it until that is
 * on the disk. A unit that it has read ahead is anybody's until its turn.
 *
 * next: engine/run/prefetch.h, engine/run/compute_unit.h */
#pragma once

#include "engine/run/prefetch.h"
#include "engine/staging/claims.h"

typedef struct qk_compute qk_compute;
typedef struct qk_inputs qk_inputs;
typedef struct qk_plan qk_plan;

typedef struct qk_pass {
    const qk_plan *plan; /* what is borrowed comes first, filled in by the caller */
    qk_shard shard;
    const qk_staging *staging;
    const qk_inputs *inputs;
    qk_dataset *dataset; /* of the run's identity; stands at its beginning between passes */
    const qk_tokenizer *tokenizer;
    qk_compute *compute;
    int64_t rows_known; /* of the dataset, where the identity or a pass tells; else -1 */

    int64_t units_done, units_found; /* of all passes: by this process; passed over */
    double seconds;                  /* since the model was ready, at the end of the last pass */

    qk_prefetch *prefetch;
    qk_claim claims[QK_PREFETCH_UNITS]; /* unit n's lies in claims[n % QK_PREFETCH_UNITS] */
    qk_units finished;                  /* when the pass began */
    int64_t stop;                       /* units from here on are not taken */
    int64_t unit;                       /* that is being worked on */
    int64_t written, written_texts; /* the unit that is computed and on its way to the disk, and its
                                         * texts; -1: none */
    int64_t rows;                   /* of the dataset, or -1 */
    bool noted;                     /* the number of units, in the staging folder */
    /* Of this shard, as far as known; for progress. */
    int64_t units, texts;       /* in all, or -1 */
    int64_t ready, ready_texts; /* finished units, by whomever */
    int64_t processes;          /* at work */
    double looked, looking;     /* at the folder: when last, and the seconds that it took */
    qk_units seen;              /* finished then */
    bool shown, told;           /* a first line; what was there already */
} qk_pass;

/* Computes units below `stop`; where that is all of them, their number is noted in the staging
 * folder. */
qk_status qk_pass_run(qk_pass *p, int64_t stop, qk_error *err);
/* The progress line; for qk_compute's callback. */
void qk_pass_show(void *pass);
/* Says once what an earlier start has left: "resumes: 12 of 75 units are there". all: -1 where it is
 * not known. */
void qk_pass_tell_there(qk_pass *p, int64_t there, int64_t all);
