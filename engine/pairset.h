/* A set of (id, position) pairs: the rows that a file already has. */
#pragma once

#include "engine/base/mem.h"

/* Zero-initialise to create. 16 bytes per slot, at most two thirds full. */
typedef struct qk_pairset {
    struct qk_pair {
        int64_t id;
        int64_t position; /* -1: free */
    } * slots;
    size_t count, capacity; /* capacity: a power of two */
    uint64_t key;           /* of the hash: another one for each table */
    uint64_t probes;        /* slots that qk_pairset_add has looked at: what it cost */
} qk_pairset;

/* true when the pair was not there before. position >= 0. */
bool qk_pairset_add(qk_pairset *set, int64_t id, int32_t position);
bool qk_pairset_has(const qk_pairset *set, int64_t id, int32_t position);
void qk_pairset_clear(qk_pairset *set); /* keeps the memory */
void qk_pairset_free(qk_pairset *set);
