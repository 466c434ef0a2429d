/* The BPE model: one piece of text -> token ids.
 *
 *   symbols := the vocabulary's id of each character; one that is not there becomes its bytes
 *              "<0xE6>" (byte_fallback), else unk_token (fuse_unk joins a run of them), else
 * nothing repeat: of all neighbours that may merge, the pair of lowest rank, leftmost first,
 * becomes one
 *
 * next: engine/tokenizer/bpe.c, engine/tokenizer/bpe_merge.c */
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
    int32_t level_ids[256];        /* of the characters that ByteLevel spells bytes with */
    bool level_complete;           /* all of them are there, and neither prefix nor suffix */
    bool cuts;                     /* qk_bpe_next_cut may cut */
    bool glued[256];               /* last bytes of characters that some token has before U+2581 */
    bool *merging;                 /* by id: part of some merge */
} qk_bpe;

static inline uint64_t qk_merge_pair(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* Makes the table of all merges, in place of the one there was. Rank is the position in the file; of a
 * pair given twice the later one counts. false: a search would probe more than QK_MAX_PROBES. */
bool qk_bpe_set_merges(qk_bpe *bpe, const qk_merge *merges, size_t count);
/* Appends a character as the vocabulary spells it at its position in a piece. */
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

typedef struct qk_id_array {
    int32_t *items;
    size_t count, capacity;
} qk_id_array;

/* Makes the capacity at least `count`. */
static inline void qk_id_array_reserve(qk_id_array *a, size_t count)
{
    if (count <= a->capacity) return;
    a->capacity = 2 * count;
    a->items = qk_realloc(a->items, a->capacity, sizeof *a->items);
}

typedef struct qk_bpe_memory {
    qk_id_array symbols; /* before merging */
    qk_id_array tokens;  /* the result */
    qk_buf spelled, marked;
    qk_symbol *links; /* of the stretch that is being merged */
    size_t link_capacity;
    uint64_t *heap; /* rank << 32 | index of the left symbol */
    size_t heap_count, heap_capacity;
} qk_bpe_memory;
void qk_bpe_memory_free(qk_bpe_memory *memory);

/* The slot where the search for a pair begins; slot_count is a power of two. */
static inline size_t qk_merge_home(uint64_t pair, size_t slot_count)
{
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    return (size_t)(h >> 32 ^ h) & (slot_count - 1);
}

/* The slot of a pair, or the free one where it belongs. */
static inline qk_merge *qk_merge_slot(qk_merge *slots, size_t slot_count, uint64_t pair)
{
    size_t i = qk_merge_home(pair, slot_count);
    while (slots[i].pair != pair && slots[i].pair != UINT64_MAX) i = (i + 1) & (slot_count - 1);
    return &slots[i];
}

/* The merge of two tokens, or NULL. */
static inline const qk_merge *qk_bpe_find_merge(const qk_bpe *bpe, int32_t left, int32_t right)
{
    if (!bpe->merge_slots) return NULL;
    const qk_merge *m = qk_merge_slot(bpe->merges, bpe->merge_slots, qk_merge_pair(left, right));
    return m->pair == UINT64_MAX ? NULL : m;
}

/* Merges memory->symbols into memory->tokens. After a signal (qk_interrupted) long pieces are left
 * half done. */
void qk_bpe_merge_symbols(const qk_bpe *bpe, qk_bpe_memory *memory);

/* piece: well-formed UTF-8 of at most 2^30 bytes; with byte_level its bytes are spelled with
 * GPT-2's characters first. Afterwards the tokens are memory->tokens. */
void qk_bpe_encode(const qk_bpe *bpe, qk_bpe_memory *memory, const uint8_t *piece, size_t length,
                   bool byte_level);
/* GPT-2's spelling of a byte: one visible character below U+0400; returns its length, 1 or 2. */
size_t qk_byte_level_character(uint8_t byte, uint8_t out[4]);
/* The same of many bytes. Appends. */
void qk_byte_level_spell(const uint8_t *bytes, size_t n, qk_buf *out);
