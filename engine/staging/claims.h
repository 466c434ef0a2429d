/* Who works on which unit, when several processes share one staging folder.
 *
 * A unit is claimed by flock on unit-NNNNNN.claim, so a process that dies gives its claims back
 * by itself. Taking one:
 *
 *   unit there? -> open, lock -> is the file still the one of that name? -> unit there now?
 *
 * The second check is what makes the first one safe: the unit may have been finished, and its claim
 * removed, in between. Only the holder removes a claim: behind the unit's rename, or giving it
 * back.
 *
 * The file holds the unique part of the holder's temporary name, which the next holder removes, who
 * the holder is, for who counts them, and a line for people (engine/staging/holder.h).
 * Should two ever work on one unit (a file server that lost a lock), each writes a file of its
 * own, and both are the same.
 *
 * next: engine/run/run.h */
#pragma once

#include "engine/staging/staging.h"

typedef enum qk_claim_state {
    QK_CLAIM_MINE,
    QK_CLAIM_DONE, /* the unit is finished */
    QK_CLAIM_BUSY, /* another process works on it */
} qk_claim_state;

typedef struct qk_claim {
    int fd;     /* -1: no claim */
    char *path; /* of the claim */
    char *unit; /* of the unit's file */
    char *tmp;  /* the name under which this process writes it */
} qk_claim;

/* Claims a unit when it can. Only QK_CLAIM_MINE leaves something to drop. */
qk_status qk_claim_take(qk_claim *c, const qk_staging *s, int64_t unit, qk_claim_state *state,
                        qk_error *err);
/* Whether it is neither finished nor claimed, at this moment. A caller that finds it free must try to
 * take it, as after qk_claims_left. */
qk_status qk_claim_is_free(const qk_staging *s, int64_t unit, bool *is_free, qk_error *err);
/* Gives it back, finished or not; fine without a claim. */
void qk_claim_drop(qk_claim *c);

/* The part of the units that a process may take: number % of == index. */
typedef struct qk_shard {
    int64_t index, of;
} qk_shard;

/* What is left of units 0 .. units-1. */
typedef struct qk_left {
    int64_t missing;   /* not finished */
    int64_t free;      /* of these: of the shard, from the first one that nobody works on */
    int64_t last_free; /* the last of them, or -1 */
    qk_units busy;     /* of these: of the shard, others work on them, and before the first free */
} qk_left;

/* A caller that finds units free must take them: another one that asks at the same moment may
 * believe that they are being worked on. */
qk_status qk_claims_left(qk_left *out, const qk_staging *s, qk_shard shard, int64_t units,
                         qk_error *err);
/* How many processes hold claims of the shard, for people: what cannot be read is not counted. A
 * caller looks for free units afterwards, as after qk_claims_left. */
int64_t qk_claims_holders(const qk_staging *s, qk_shard shard);
void qk_left_free(qk_left *left);
