/* `qkengine run`: the whole pipeline.
 *
 *   plan -> dataset -> tokenizer -> for each work unit that nobody else has: model, forward,
 *        capture, unit file -> when all units are there: merge into final/
 *
 * Crash-safe: staging/ (engine/staging/staging.h) holds finished units; the same command skips
 * them. final/ changes only when everything is ready, by renames that a restart completes
 * (engine/staging/publish.h). Nothing is ever removed that this program did not write.
 *
 * Any number of processes share a run. Each holds staging/lock shared while it works, claims units
 * (engine/staging/claims.h), and at the end of the dataset looks at what is left:
 *
 *   a unit that nobody works on   whoever had it died: back to work
 *   units that others work on     done here, exit; this process has nothing left to decide
 *   none                          let go of the lock, get it alone, look again, merge, clear
 *
 * Somebody always merges. Take the process that finishes the last unit: its look finds none left,
 * so it stays until it holds the lock alone or final/ is complete. Nobody can keep it from that
 * for ever: there is nothing to work on, so all others let go and want the same, and of those one
 * gets it. Nor do two merge: the second one looks again when it holds the lock; final/ is complete,
 * and the lock's text is another one. A look that takes a claim for a moment may make another
 * process believe that a unit is being worked on and leave; it then is, because whoever finds a
 * unit free goes back for it. Only a process that ends with an error leaves a hole, and its exit
 * status says so.
 *
 * next: engine/run/compute_unit.h, engine/output/merge.h */
#pragma once

#include "engine/config/config.h"
#include "engine/staging/claims.h"

typedef enum qk_run_outcome {
    QK_RUN_MERGED,          /* by this process */
    QK_RUN_ALREADY_THERE,   /* before it began */
    QK_RUN_MERGED_BY_OTHER, /* while it was at work or waited */
    QK_RUN_PART,            /* units are missing that others work on, or another shard's */
} qk_run_outcome;

typedef struct qk_run_result {
    qk_run_outcome outcome;
    int64_t examples, tokens;        /* read by this process; units of others are not counted */
    int64_t units;                   /* of the run; 0 when nothing was to be done */
    int64_t units_done;              /* by this process */
    int64_t units_found, units_left; /* passed over; missing at the end */
    char busy[128];                  /* "12 and 14": those of units_left that others work on */
    uint64_t rows_final, rows_added, files;
    double seconds_forward, seconds_total;
    char final_folder[4096];
    qk_staging held; /* after a merge: the lock, held alone until the caller closes it */
} qk_run_result;

/* shard: {0, 1} is everything. The result's lock is to be closed in any case. */
qk_status qk_run(const qk_config *config, qk_shard shard, qk_run_result *result, qk_error *err);
