/* Any number of processes share a run. Each holds staging/lock shared while it works, claims units
 * (engine/staging/claims.h), and at the end of the dataset inspects what is left:
 *
 *   a unit that nobody works on   whoever had it died: back to work
 *   units that others work on     done here, exit; this process has nothing left to decide
 *   none                          let go of the lock, get it alone, inspect again, merge, clear
 *
 * Somebody always merges. Take the process that finishes the last unit: it finds none left, so it
 * stays until it holds the lock alone or final/ is complete. Nobody can keep it from that for ever:
 * there is nothing to work on, so all others let go and want the same, and of those one gets it.
 * Nor do two merge: the second one checks again when it holds the lock; final/ is complete, and the
 * lock's text is another one. A check that takes a claim for a moment may make another process
 * believe that a unit is being worked on and leave; it then is, because whoever finds a unit free
 * goes back for it. Only a process that ends with an error leaves a hole, and its exit status says
 * so.
 *
 * next: engine/run/run.h */
#pragma once

#include "engine/staging/staging.h"

typedef struct qk_existing qk_existing;

typedef struct qk_sharing {
    qk_staging *staging; /* borrowed, like the next two */
    qk_existing *existing;
    const qk_identity *identity;
    char last_merge[17]; /* in this folder, when this process joined the others */
} qk_sharing;

typedef enum qk_entry {
    QK_ENTRY_WORK,            /* the folder is held shared */
    QK_ENTRY_COMPLETE,        /* so, and final/ has this run, whole */
    QK_ENTRY_MERGED_BY_OTHER, /* while this process waited; nothing is held */
} qk_entry;

/* Holds the folder with all others that work on this run. Whoever gets it alone before that
 * completes what a process that died had begun. */
qk_status qk_sharing_enter(qk_sharing *s, qk_entry *entry, qk_error *err);
/* All units are there: holds the folder alone; *merged when another process was first. */
qk_status qk_sharing_hold_alone(qk_sharing *s, bool *merged, qk_error *err);
/* Whether the folder belongs to this run already. A folder whose identity.json is damaged or gone
 * belongs to the run of its units: those of another run or version are an error. */
qk_status qk_sharing_check_owner(const qk_sharing *s, bool *bound, qk_error *err);
