/* Token strings and their ids, both ways.
 *
 * next: engine/tokenizer/bpe.h */
#pragma once

#include "engine/base/mem.h"

enum { QK_MAX_TOKEN_ID = (1 << 22) - 1 }; /* tables are as long as the largest id */

typedef struct qk_vocab {
    qk_buf bytes;          /* every string with a NUL behind it; strings may contain NULs */
    uint32_t *offsets;     /* by id, into bytes; UINT32_MAX: no token has this id */
    uint32_t *lengths;     /* UINT32_MAX there, too */
    size_t size, capacity; /* largest id + 1 */
    size_t count;          /* tokens */
    uint64_t *slots;       /* open addressing: hash << 32 | id + 1; 0 is free */
    size_t slot_count;     /* a power of two, at least twice count */
} qk_vocab;

/* A hash of bytes for tables in memory. */
uint64_t qk_hash_bytes(const void *bytes, size_t n);

/* Adds a token: false when its string or its id is there already, or the id is out of range. */
bool qk_vocab_add(qk_vocab *vocab, const char *text, size_t length, int64_t id);
/* The id of a string, or -1. */
int32_t qk_vocab_find(const qk_vocab *vocab, const void *text, size_t length);
/* The string of an id (NUL-terminated, borrowed until the next add), or NULL. */
const char *qk_vocab_text(const qk_vocab *vocab, int64_t id, size_t *length);
void qk_vocab_free(qk_vocab *vocab);
