/* One thread that writes work units behind the forward pass.
 *
 * The forward hands over jobs: the rows of a layer to check, checksum and write, the commit of a unit.
 * The thread runs them one after the other, in the order of handing over, so that a file gets the
 * bytes that it would get without the thread, and errors come in the order of the rows.
 *
 *   forward: put (waits while QK_UNIT_QUEUE_JOBS are waiting) -> writer: run -> ended
 *
 * After the first job that fails none is run any more: each ends as it comes to its turn. Whoever
 * hands over asks for that failure with qk_unit_queue_check, and stops. What a job points to is
 * borrowed until it has ended; then it belongs to the one who handed it over again, who sees all that
 * the job has done to it.
 *
 * One thread alone puts, waits and drops.
 *
 * next: engine/capture/capture.h */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

enum { QK_UNIT_QUEUE_JOBS = 4 }; /* that wait, the one that runs not counted */

typedef struct qk_unit_job {
    qk_status (*run)(void *context, qk_error *err);
    void *context;
    const void *unit; /* for qk_unit_queue_drop: which unit it is of; never looked into */
} qk_unit_job;

typedef struct qk_unit_queue qk_unit_queue;

/* Starts the thread; the error names the limit that is in the way. */
qk_status qk_unit_queue_new(qk_unit_queue **out, qk_error *err);
/* Hands a job over. Its number: 1, 2, 3 ... */
int64_t qk_unit_queue_put(qk_unit_queue *q, const qk_unit_job *job);
/* Whether the job of that number has ended, which those before it have, too; 0 is no job. */
bool qk_unit_queue_ended(qk_unit_queue *q, int64_t job);
/* Waits until it has. */
void qk_unit_queue_wait(qk_unit_queue *q, int64_t job);
/* The first failure of all so far; again at each call. */
qk_status qk_unit_queue_check(qk_unit_queue *q, qk_error *err);
/* The jobs of a unit that have not begun end without running. Waits until all jobs have ended. */
void qk_unit_queue_drop(qk_unit_queue *q, const void *unit);
/* Waits until all jobs have ended, and ends the thread. NULL-safe. */
void qk_unit_queue_free(qk_unit_queue *q);
