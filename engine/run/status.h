/* How far a run is, from what its folder says: `qkengine status`.
 *
 *   data_root/staging   units that are finished, claims on others, how many there are in all
 *   data_root/final     what earlier merges have left
 *
 * Nothing is written, locked or made, so others go on as if nobody looked. What is read may change
 * meanwhile: each number is that of some moment of the reading. What cannot be read is told by
 * name, and the rest is reported all the same.
 *
 * next: engine/staging/holder.h, engine/commands/status.c */
#pragma once

#include "engine/base/file.h"
#include "engine/staging/holder.h"

typedef enum qk_run_state {
    QK_RUN_STATE_STARTS, /* a staging folder without units: a model is loaded, or a start failed */
    QK_RUN_STATE_WORKS,  /* processes are at work, as far as their claims say */
    QK_RUN_STATE_STANDS, /* units are left, and no process is at work */
    QK_RUN_STATE_UNMERGED, /* all units are finished */
    QK_RUN_STATE_FINISHED, /* nothing is left in staging, and final/ has a dataset */
} qk_run_state;

typedef struct qk_worker {
    int64_t unit;
    qk_holder holder; /* host "" where the claim does not say who */
    qk_holder_state state;
} qk_worker;

/* A dataset in final/, from its manifest. */
typedef struct qk_final_split {
    char *name; /* "train" in branch layout */
    int64_t files, examples, tokens, runs;
    uint64_t rows;
} qk_final_split;

typedef struct qk_run_status {
    qk_run_state state;
    char *model;               /* NULL: not known */
    int64_t units, units_done; /* in all (-1: not known yet), finished */
    double newest;             /* when the last one was finished, seconds since 1970 */
    int64_t recent;            /* units that the rates are of; 0: there are none */
    double units_per_second, tokens_per_second; /* 0: not known */
    double seconds_left;                        /* -1: not known, or nobody works */
    qk_worker *workers; /* a claim each, by unit; those of finished units are left out */
    size_t n_workers, workers_capacity;
    qk_final_split *splits;
    size_t n_splits, splits_capacity;
    qk_names problems; /* messages */
} qk_run_status;

/* QK_ERR_NOTFOUND where there is no such folder, QK_ERR_DATA where it is no run's: the hint says
 * what it may be instead. qk_run_status_free in any case. */
qk_status qk_run_status_read(qk_run_status *out, const char *data_root, qk_error *err);
void qk_run_status_free(qk_run_status *s);
