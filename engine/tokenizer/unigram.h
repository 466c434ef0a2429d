/* The Unigram model: one piece of text -> token ids.
 *
 *   Of all ways to cut the piece into tokens the one with the highest sum of scores (Viterbi over
 *   byte positions, in double). A character that no token spells alone may also be unknown, at
 *   unk_score = lowest score - 10. Ties: the earlier start wins. A run of unknown characters is
 *   joined; what is joined is looked up once more, then becomes its bytes "<0xE6>"
 *   (byte_fallback), else the unknown token.
 *
 * Source: the library's results, asked by experiment.
 *
 * next: engine/tokenizer/unigram.c */
#pragma once

#include "engine/tokenizer/traced.h"
#include "engine/tokenizer/vocab.h"
#include "engine/tokenizer/work.h"

typedef struct qk_unigram_edge {
    uint64_t key;  /* node << 8 | byte, plus 1; 0 is a free slot */
    uint32_t node; /* where the byte leads */
    int32_t token; /* that ends there, or -1 */
} qk_unigram_edge;

typedef struct qk_unigram {
    double *scores; /* by id */
    size_t count, capacity;
    int32_t longest;        /* id of the longest token */
    qk_unigram_edge *edges; /* a trie of the tokens, as an open-addressed table */
    size_t edge_slots, edge_count;
    int32_t unk;
    double unk_score;
    bool byte_fallback;
    int32_t byte_ids[256]; /* "<0x00>".."<0xFF>", -1 where absent */
} qk_unigram;

/* Scores are given in the order of ids. */
void qk_unigram_add_score(qk_unigram *model, double score);
/* Builds the tables when vocabulary and scores are complete. false: a search would probe more than
 * QK_MAX_PROBES slots. */
bool qk_unigram_finish(qk_unigram *model, const qk_vocab *vocab);
void qk_unigram_free(qk_unigram *model);

typedef struct qk_unigram_token {
    int32_t id;
    qk_raw_span bytes; /* of the piece */
} qk_unigram_token;

/* Working memory of one thread; holds the result, too. Zero-initialise to create. */
typedef struct qk_unigram_memory {
    struct qk_unigram_node *best; /* by byte position */
    size_t capacity;
    qk_unigram_token *tokens;
    size_t count, token_capacity;
} qk_unigram_memory;
void qk_unigram_memory_free(qk_unigram_memory *memory);

/* piece: well-formed UTF-8. The result is memory->tokens[0..count). false: the work that is left
 * was not enough, or a signal has come. Long tokens that a text begins again and again make it
 * quadratic. */
bool qk_unigram_encode(const qk_unigram *model, const qk_vocab *vocab, qk_unigram_memory *memory,
                       qk_work *work, const uint8_t *piece, size_t length);
/* A JSON number as the library's parser reads a score: all digits as a 64-bit integer (further
 * ones are dropped), then one multiplication or division by a power of ten. May differ from the
 * nearest double in the last bit. text: a JSON number. */
double qk_unigram_parse_score(const char *text, size_t length);
