/* `qkengine run`: the whole pipeline.
 *
 *   plan -> dataset -> tokenizer -> for each work unit that nobody else has: model, forward,
 *        capture, unit file -> when all units are there: merge into final/
 *
 * Crash-safe: staging/ (engine/staging/staging.h) holds finished units; the same command skips
 * them. final/ changes only when everything is ready, by renames that a restart completes
 * (engine/staging/publish.h). Nothing is ever removed that this program did not write.
 *
 * Any number of processes share a run: engine/run/sharing.h.
 *
 * next: engine/run/pass.h, engine/output/merge.h */
#pragma once

#include "engine/base/stages.h"
#include "engine/staging/claims.h"

typedef struct qk_config qk_config;

typedef enum qk_run_goal {
    QK_RUN_WHOLE, /* compute what is missing, then merge */
    QK_RUN_MERGE, /* merge when all units are there */
    QK_RUN_PART,  /* merge when all units are there, else those that are (engine/run/partial.h) */
} qk_run_goal;

typedef struct qk_run_options {
    qk_shard shard; /* {0, 1} is everything */
    qk_run_goal goal;
} qk_run_options;

typedef enum qk_run_outcome {
    QK_RUN_MERGED,          /* by this process */
    QK_RUN_MERGED_PART,     /* the same of the units that are there; others are missing */
    QK_RUN_ALREADY_THERE,   /* before it began */
    QK_RUN_MERGED_BY_OTHER, /* while it was at work or waited */
    QK_RUN_UNFINISHED, /* units are missing: others work on them, or they are another shard's, or
                        * computing was not asked for */
} qk_run_outcome;

typedef struct qk_run_result {
    qk_run_outcome outcome;
    int64_t examples, tokens;        /* read by this process; units of others are not counted */
    int64_t units;                   /* of the run; 0 when nothing was to be done, -1: not known */
    int64_t units_done;              /* by this process */
    int64_t units_found, units_left; /* passed over, or there for a merge; missing at the end */
    int64_t units_merged;            /* of a part */
    char missing[128];               /* "0 and 3": units that a part lacks, as far as is known */
    char busy[128];                  /* "12 and 14": those of units_left that others work on */
    uint64_t rows_final, rows_added, files;
    double seconds_forward, seconds_total;
    double stages[QK_STAGES];  /* seconds: engine/base/stages.h */
    double flops, whole_flops; /* of forward passes here; what they would be without the slice */
    char final_folder[4096];   /* of the dataset: final/, or partial/ */
    char split[256];           /* its name there */
} qk_run_result;

/* staging is the caller's: closed, with data_root/staging as its
 * folder. Behind a merge it is held alone until the caller closes it, so that what is done with
 * final/ then (a push) finds it as the merge left it; else this function has closed it. */
qk_status qk_run(const qk_config *config, const qk_run_options *options, qk_staging *staging,
                 qk_run_result *result, qk_error *err);
