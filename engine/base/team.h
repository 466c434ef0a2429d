/* Loops whose items several threads share, and how many threads that are.
 *
 * Each thread that runs such loops has a team of its own: itself and workers, which it starts when
 * it first needs them and which end with it. A loop is cut into one share for each member; everyone
 * takes pieces of his own share, and with that done, pieces of what is left of the others':
 *
 *      0                                        n
 *      | share 0  | share 1  | share 2  | share 3 |
 *      | xx|xx|   | xx|      |          | xx|xx|xx|     member 3 goes on with share 0
 *
 * Nobody waits for a worker that has not come yet: where a busy machine has no core for it, its
 * share is done by the others. What is waited for at the end are pieces that somebody has begun.
 * Whoever waits spins for 50 us, the usual pause between two loops, and then sleeps; where the team
 * has more members than CPUs it sleeps at once.
 *
 * So who does what is not known, and results must not depend on it.
 *
 * next: kernels/cpu/backend_cpu.c */
#pragma once

#include <stddef.h>

#include "engine/base/error.h"

/* Items begin .. end - 1. member: 0 .. threads - 1, for scratch memory; no two calls at the same
 * time have the same one, in the loops of one owner. A loop within a body is run by the one that
 * calls it, as member 0; only where nobody shares the outer loop, since it has one item or one
 * thread, it is run like any other. */
typedef void qk_loop_body(void *context, size_t begin, size_t end, int member);

/* Runs `body` for all of 0 .. n - 1, on up to `threads` threads (0: qk_threads()); the calling one
 * is among them. Returns when all are done; what they have written is seen then. A thread that
 * does not start is done without, and asked for again only by qk_team_start or a larger loop. */
void qk_loop(int threads, size_t n, qk_loop_body *body, void *context);
/* The same for few items that take long, or of which some take longer: one at a time and in order,
 * to whoever is free. */
void qk_loop_each(int threads, size_t n, qk_loop_body *body, void *context);

/* qk_loop_each of steps that can fail. All are run; the error is that of the first item, by number,
 * that failed. */
typedef qk_status qk_loop_step(void *context, size_t item, int member, qk_error *err);
qk_status qk_loop_try(int threads, size_t n, qk_loop_step *step, void *context, qk_error *err);

/* Starts the workers of the calling thread's team ahead of its first loop, so that a thread that
 * does not start is an error that names the limit in the way. Their stacks have OMP_STACKSIZE. */
qk_status qk_team_start(int threads, qk_error *err);

/* How many threads a loop has that asks for 0, at least 1: what qk_threads_set has set, else
 * OMP_NUM_THREADS, else the CPUs that are available, and no more than SLURM_CPUS_PER_TASK.
 * why: what has said so, or NULL where that is every CPU of the machine; itself NULL, or set. */
int qk_threads(const char **why);
/* For all threads of the process. why: "inference.threads". */
void qk_threads_set(int threads, const char *why);
