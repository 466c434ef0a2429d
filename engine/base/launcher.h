/* Which of how many processes this one is, from the variables that whoever started it has set: a
 * scheduler, an MPI launcher, torchrun.
 *
 *   a row for each launcher (launcher.c): rank, world, local rank
 *   array tasks x nodes x processes on a node
 *
 * Launchers lie in each other, and the environment has the variables of all. Tasks of an array are
 * jobs of their own: what was started in one of them counts once for each task. A launcher that
 * spans machines (mpirun and torchrun over the nodes of a job) has numbered all processes already;
 * one that stays on its own machine numbers those of one node. What fits neither is an error that
 * names both: a rank that is wrong would leave units undone.
 *
 * next: engine/commands/run.c */
#pragma once

#include <stdint.h>

#include "engine/base/error.h"

enum { QK_LAUNCH_TEXT = 320 };

typedef struct qk_launch {
    int64_t rank, world;       /* 0 <= rank < world */
    int64_t local;             /* rank among those of this machine; -1: nobody says */
    char from[QK_LAUNCH_TEXT]; /* "Slurm (SLURM_PROCID)" */
} qk_launch;

/* The value of an environment variable, or NULL: getenv, but for tests. */
typedef char *qk_getenv(const char *name);

/* QK_ERR_USAGE where nobody says it, where variables are missing or are no numbers in range, and
 * where they contradict each other. */
qk_status qk_launch_find(qk_launch *out, qk_getenv *get, qk_error *err);

/* The rank among the processes of this machine, from 0; -1: nobody says, or not clearly. */
int64_t qk_launch_local(qk_getenv *get);

/* The scheduler's name of this job, "1234_5": "" without one. */
enum { QK_LAUNCH_JOB = 128 };
void qk_launch_job(char out[QK_LAUNCH_JOB], qk_getenv *get);
