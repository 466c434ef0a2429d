/* Who holds a claim, for people and for `qkengine status`: a line of JSON behind the claim's 32
 * digits (engine/staging/claims.h). Claims of versions up to 0.2.0 have none, and nothing but what
 * people read depends on it.
 *
 *   {"claim": the first 16 digits, "host": "node7", "pid": 4711, "job": "1234_5", "rank": 3,
 *    "world": 8, "since": seconds since 1970, "machine": "...", "started": ticks}
 *
 * job, rank and world are those of engine/base/launcher.h, where it finds them. `machine` names the
 * boot and the namespace of process numbers, `started` is the process's start as /proc has it: with
 * both, another process of the same number is not taken for the holder, nor one of another
 * container or of another machine with the same name.
 *
 * next: engine/run/status.h */
#pragma once

#include <sys/types.h>

#include "engine/base/launcher.h"
#include "engine/base/mem.h"

enum { QK_HOLDER_TOKEN = 16 };

typedef struct qk_holder {
    char host[256];
    int64_t pid;
    char job[QK_LAUNCH_JOB]; /* "" without one */
    int64_t rank, world;     /* world 0: not known */
    double since;            /* when it took the claim, seconds since 1970 */
    char machine[80];
    int64_t started;
} qk_holder;

/* How the holder is, as far as this machine can tell without the lock: a test of the lock would hold
 * it for a moment, and keep a process from the unit. */
typedef enum qk_holder_state {
    QK_HOLDER_ELSEWHERE, /* on another machine or in another container: not known */
    QK_HOLDER_WORKS,
    QK_HOLDER_STOPPED, /* by SIGSTOP or a debugger */
    QK_HOLDER_GONE,    /* the process has ended: the next one that passes takes the unit */
} qk_holder_state;

/* This process, from now on. */
void qk_holder_self(qk_holder *out);
/* Appends its line. token: 16 digits of the claim. */
void qk_holder_write(qk_buf *out, const qk_holder *h, const char *token);
/* From the whole text of a claim; false where it does not say who, or is not of this holder. */
bool qk_holder_read(qk_holder *out, const char *text, size_t n);
qk_holder_state qk_holder_look(const qk_holder *h);
