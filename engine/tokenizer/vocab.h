/* Token strings and their ids, both ways.
 *
 * next: engine/tokenizer/bpe.h */
#pragma once

#include "engine/base/mem.h"

enum { QK_MAX_TOKEN_ID = (1 << 22) - 1 }; /* tables are as long as the largest id */
/* Slots of a hash table that a search may probe. Chance needs some hundred; a file whose keys were
 * chosen to collide would make every search as long as the table. */
enum { QK_MAX_PROBES = 1 << 12 };

typedef struct qk_vocab_entry {
    uint32_t offset; /* into bytes; UINT32_MAX: no token has this id */
    uint32_t length; /* UINT32_MAX there, too */
} qk_vocab_entry;

typedef struct qk_vocab {
    qk_buf bytes;            /* every string with a NUL behind it; strings may contain NULs */
    qk_vocab_entry *entries; /* by id */
    size_t size, capacity;   /* largest id + 1 */
    size_t count;            /* tokens */
    uint64_t *slots;         /* open addressing: hash << 32 | id + 1; 0 is free */
    size_t slot_count;       /* a power of two, at least twice count */
    bool crowded;            /* adding failed because of QK_MAX_PROBES */
} qk_vocab;

/* Adds a token: false when its string or its id is there already, the id is out of range, or the
 * table is crowded. */
bool qk_vocab_add(qk_vocab *vocab, const char *text, size_t length, int64_t id);
/* Whether every search is short, when all tokens are there. */
bool qk_vocab_is_spread(const qk_vocab *vocab);
/* The id of a string, or -1. */
int32_t qk_vocab_find(const qk_vocab *vocab, const void *text, size_t length);
/* Whether an id has this string; false for an id that no token has. */
bool qk_vocab_is(const qk_vocab *vocab, int64_t id, const void *text, size_t length);
/* Many look-ups at once: the waits for memory overlap, which makes them some times faster. */
typedef struct qk_vocab_query {
    const void *text; /* borrowed */
    size_t length;
    uint64_t hash; /* set by the call */
    int32_t id;    /* the answer, or -1 */
} qk_vocab_query;
void qk_vocab_find_many(const qk_vocab *vocab, qk_vocab_query *queries, size_t count);
/* Byte fallback: ids[b] is the token "<0x00>".."<0xFF>" of byte b, or -1. */
void qk_vocab_find_bytes(const qk_vocab *vocab, int32_t ids[256]);
/* Whether there is a token for each of these bytes. */
bool qk_has_bytes(const int32_t ids[256], const uint8_t *bytes, size_t n);
/* The string of an id (NUL-terminated, borrowed until the next add), or NULL. */
const char *qk_vocab_text(const qk_vocab *vocab, int64_t id, size_t *length);
void qk_vocab_free(qk_vocab *vocab);
