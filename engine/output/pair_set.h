/* A set of (id, position) pairs: the rows that a file already has. */
#pragma once

#include "engine/base/mem.h"

/* Zero-initialise to create. 16 bytes per slot, at most two thirds full. */
typedef struct qk_pair_set {
    struct qk_pair {
        int64_t id;
        int64_t position; /* -1: free */
    } * slots;
    size_t count, capacity; /* capacity: a power of two */
    uint64_t key;           /* of the hash: another one for each table */
    uint64_t probes;        /* slots that qk_pair_set_add has looked at: what it cost */
} qk_pair_set;

/* true when the pair was not there before. position >= 0. */
bool qk_pair_set_add(qk_pair_set *set, int64_t id, int32_t position);
bool qk_pair_set_has(const qk_pair_set *set, int64_t id, int32_t position);
void qk_pair_set_free(qk_pair_set *set);
