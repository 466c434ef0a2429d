/* Where the time of a run goes: seconds for each of its stages, added up over all threads.
 *
 *   tokenize   texts become token ids, beside the rest, on the thread that reads ahead
 *   wait       for the next unit's texts: reading and tokenizing were not ahead
 *   forward    the forward passes, without
 *   rows       what the thread that runs them does with captured rows: handing them to the writer,
 *              and waiting for it where it is behind
 *   write      the writer's thread, beside the rest: checksums, writing, the flush of each unit
 *   merge      units become the dataset
 *
 * All but tokenize and write follow each other, so that their sum is no more than the run. Any thread may add,
 * at any time.
 *
 * next: engine/run/timings.h */
#pragma once

typedef enum qk_stage {
    QK_STAGE_TOKENIZE,
    QK_STAGE_WAIT,
    QK_STAGE_FORWARD,
    QK_STAGE_ROWS,
    QK_STAGE_WRITE,
    QK_STAGE_MERGE,
    QK_STAGES,
} qk_stage;

/* "tokenize" */
const char *qk_stage_name(qk_stage stage);
void qk_stage_add(qk_stage stage, double seconds);
/* What has been added since the last reset. */
double qk_stage_seconds(qk_stage stage);
void qk_stages_reset(void);
