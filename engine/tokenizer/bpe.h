/* The BPE model: one piece of text -> token ids.
 *
 *   symbols := the vocabulary's id of each character; one that is not there becomes its bytes
 *              "<0xE6>" (byte_fallback), else unk_token (fuse_unk joins a run of them), else
 * nothing repeat: of all neighbours that may merge, the pair of lowest rank, leftmost first,
 * becomes one
 *
 * The neighbours wait in a heap, so a piece of n characters costs n log n.
 *
 * next: engine/tokenizer/bpe.c, engine/tokenizer/pretokenize.h */
#pragma once

#include "engine/tokenizer/vocab.h"

enum { QK_BPE_NEAR = 0x400 };

typedef struct qk_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX is a free slot */
    uint32_t rank;
    int32_t joined;
} qk_merge;

typedef struct qk_bpe {
    qk_vocab vocab;
    qk_merge *merges; /* open addressing */
    size_t merge_slots, merge_count;
    int32_t unk; /* -1: none */
    bool fuse_unk, byte_fallback, ignore_merges;
    const char *prefix, *suffix; /* of characters that do not begin, that end a piece; or "" */
    size_t prefix_length, suffix_length;
    int32_t byte_ids[256];         /* "<0x00>".."<0xFF>", -1 where absent */
    int32_t near_ids[QK_BPE_NEAR]; /* of single characters below U+0400, -1 where absent */
    bool cuts;                     /* qk_bpe_next_cut may cut */
    bool glued[256];               /* last bytes of characters that some token has before U+2581 */
} qk_bpe;

/* Rank is the place in the file; a pair given again moves to the later rank. */
void qk_bpe_add_merge(qk_bpe *bpe, int32_t left, int32_t right, int32_t joined, uint32_t rank);
/* Appends a character as the vocabulary spells it at its place in a piece. */
void qk_bpe_mark(const qk_bpe *bpe, const uint8_t *character, size_t n, bool is_first, bool is_last,
                 qk_buf *out);
/* Fills the id tables when the vocabulary is complete. */
void qk_bpe_finish(qk_bpe *bpe);
void qk_bpe_free(qk_bpe *bpe);
/* Where the first part of a piece ends, such that its parts encode to the same tokens as the whole:
 * before a U+2581 ("▁", a space) that no merge joins to the character in front of it. Models
 * without pre-tokenizer get whole texts as one piece; this makes words of them again. */
size_t qk_bpe_next_cut(const qk_bpe *bpe, const uint8_t *piece, size_t length);

/* Working memory of one thread. Zero-initialise to create. */
typedef struct qk_symbol {
    int32_t id; /* -1: merged into the one before */
    int32_t prev, next;
} qk_symbol;

typedef struct qk_bpe_memory {
    qk_symbol *symbols; /* the result: ids of symbols[0], its next, ... */
    size_t count, capacity;
    qk_buf marked;
    uint64_t *heap; /* rank << 32 | place of the left symbol */
    size_t heap_count, heap_capacity;
} qk_bpe_memory;
void qk_bpe_memory_free(qk_bpe_memory *memory);

/* piece: well-formed UTF-8 of at most 2^30 bytes. Afterwards the tokens are
 * memory->symbols[0..count) with an id other than -1, in order. */
void qk_bpe_encode(const qk_bpe *bpe, qk_bpe_memory *memory, const uint8_t *piece, size_t length);
