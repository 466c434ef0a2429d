/* The Unigram model. See unigram.h. */
#include "engine/tokenizer/unigram.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/unicode.h"

/* The best way to a byte position. */
struct qk_unigram_node {
    double score;
    int32_t id;
    uint32_t start; /* of its last token; NOWHERE: not reached yet */
};

enum { UNKNOWN_PENALTY = 10 };
#define NOWHERE UINT32_MAX

/* ---- the trie ---- */

static size_t home_of(uint64_t key, size_t count)
{
    return (size_t)(key * 0x9E3779B97F4A7C15u >> 32) & (count - 1);
}

static qk_unigram_edge *find_slot(qk_unigram_edge *slots, size_t count, uint64_t key)
{
    size_t i = home_of(key, count);
    while (slots[i].key != key && slots[i].key) i = (i + 1) & (count - 1);
    return &slots[i];
}

static uint64_t edge_key(uint32_t node, uint8_t byte)
{
    return ((uint64_t)node << 8 | byte) + 1;
}

static void grow_edges(qk_unigram *u)
{
    qk_unigram_edge *old = u->edges;
    size_t n = u->edge_slots;
    u->edge_slots = n ? 2 * n : 1024;
    u->edges = qk_zalloc(u->edge_slots, sizeof *u->edges);
    for (size_t i = 0; i < n; i++)
        if (old[i].key) *find_slot(u->edges, u->edge_slots, old[i].key) = old[i];
    free(old);
}

/* Node 0 is the root; an edge's number is that of the node it leads to. false: too many edges meet
 * in one place. */
static bool add_token(qk_unigram *u, const char *text, size_t length, int32_t id)
{
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        if (2 * (u->edge_count + 1) > u->edge_slots) grow_edges(u);
        uint64_t key = edge_key(node, (uint8_t)text[i]);
        qk_unigram_edge *edge = find_slot(u->edges, u->edge_slots, key);
        size_t home = home_of(key, u->edge_slots), slot = (size_t)(edge - u->edges);
        if (((slot - home) & (u->edge_slots - 1)) > QK_MAX_PROBES) return false;
        if (!edge->key) *edge = (qk_unigram_edge){key, (uint32_t)++u->edge_count, -1};
        if (i + 1 == length) edge->token = id;
        node = edge->node;
    }
    return true;
}

void qk_unigram_add_score(qk_unigram *u, double score)
{
    QK_GROW(u->scores, u->count, u->capacity);
    u->scores[u->count++] = score;
}

bool qk_unigram_finish(qk_unigram *u, const qk_vocab *vocab)
{
    double lowest = INFINITY;
    size_t longest = 0;
    grow_edges(u);
    for (size_t id = 0; id < u->count; id++) {
        size_t length;
        const char *text = qk_vocab_text(vocab, (int64_t)id, &length);
        if (!add_token(u, text, length, (int32_t)id)) return false;
        if (u->scores[id] < lowest) lowest = u->scores[id];
        if (length > longest) longest = length, u->longest = (int32_t)id;
    }
    u->unk_score = lowest - UNKNOWN_PENALTY;
    qk_vocab_find_bytes(vocab, u->byte_ids);
    size_t run = 0, longest_run = 0; /* of slots that are not free: a search passes no more */
    for (size_t i = 0; i < u->edge_slots; i++) {
        run = u->edges[i].key ? run + 1 : 0;
        longest_run = run > longest_run ? run : longest_run;
    }
    return longest_run <= QK_MAX_PROBES;
}

void qk_unigram_free(qk_unigram *u)
{
    free(u->scores);
    free(u->edges);
    *u = (qk_unigram){0};
}

void qk_unigram_memory_free(qk_unigram_memory *m)
{
    free(m->best);
    free(m->tokens);
    *m = (qk_unigram_memory){0};
}

/* ---- Viterbi ---- */

static void offer(struct qk_unigram_node *to, double score, int32_t id, size_t start)
{
    if (to->start != NOWHERE && !(score > to->score)) return;
    *to = (struct qk_unigram_node){score, id, (uint32_t)start};
}

/* All tokens that begin at `start`; true when one of them spells its first character alone. *walked
 * becomes how many bytes were visited. */
static bool offer_tokens(const qk_unigram *u, struct qk_unigram_node *best, const uint8_t *piece,
                         size_t length, size_t start, size_t character, size_t *walked)
{
    bool single = false;
    uint32_t node = 0;
    size_t i = start;
    for (; i < length; i++) {
        const qk_unigram_edge *edge = find_slot(u->edges, u->edge_slots, edge_key(node, piece[i]));
        if (!edge->key) break;
        node = edge->node;
        if (edge->token < 0) continue;
        offer(&best[i + 1], u->scores[edge->token] + best[start].score, edge->token, start);
        single = single || i + 1 - start == character;
    }
    *walked = i + 1 - start;
    return single;
}

static bool find_best(const qk_unigram *u, struct qk_unigram_node *best, qk_work *work,
                      const uint8_t *piece, size_t length)
{
    enum { STEPS = 16 }; /* a byte's: the table is larger than a processor's cache */
    for (size_t i = 0; i <= length; i++) best[i] = (struct qk_unigram_node){0, 0, NOWHERE};
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n = qk_code_at(piece + i, length - i, &code);
        size_t walked;
        if (!offer_tokens(u, best, piece, length, i, n, &walked))
            offer(&best[i + n], u->unk_score + best[i].score, u->unk, i);
        if (!qk_work_add(work, STEPS * walked)) return false;
        i += n;
    }
    return true;
}

/* ---- tokens ---- */

static void add(qk_unigram_memory *m, int32_t id, size_t start, size_t end)
{
    QK_GROW(m->tokens, m->count, m->token_capacity);
    m->tokens[m->count++] = (qk_unigram_token){id, {(uint32_t)start, (uint32_t)end}};
}

/* The tokens of a run of unknown characters, last one first. */
static void add_unknown(const qk_unigram *u, const qk_vocab *vocab, qk_unigram_memory *m,
                        const uint8_t *piece, size_t start, size_t end)
{
    int32_t id = qk_vocab_find(vocab, piece + start, end - start);
    bool bytes =
        id < 0 && u->byte_fallback && qk_has_bytes(u->byte_ids, piece + start, end - start);
    if (!bytes) add(m, id >= 0 ? id : u->unk, start, end);
    for (size_t i = end; bytes && i > start; i--) add(m, u->byte_ids[piece[i - 1]], start, end);
}

bool qk_unigram_encode(const qk_unigram *u, const qk_vocab *vocab, qk_unigram_memory *m,
                       qk_work *work, const uint8_t *piece, size_t length)
{
    if (length >= m->capacity) {
        m->capacity = length + 1 > 2 * m->capacity ? length + 1 : 2 * m->capacity;
        free(m->best);
        m->best = qk_alloc(m->capacity, sizeof *m->best);
    }
    m->count = 0;
    if (!find_best(u, m->best, work, piece, length)) return false;
    for (size_t end = length; end > 0;) {
        size_t start = m->best[end].start;
        if (m->best[end].id == u->unk) {
            while (start > 0 && m->best[start].id == u->unk) start = m->best[start].start;
            add_unknown(u, vocab, m, piece, start, end);
        } else {
            add(m, m->best[end].id, start, end);
        }
        end = start;
    }
    for (size_t i = 0, k = m->count; i + 1 < k; i++) { /* they came last one first */
        qk_unigram_token swap = m->tokens[i];
        m->tokens[i] = m->tokens[--k];
        m->tokens[k] = swap;
    }
    return true;
}

/* ---- scores ---- */

static double power_of_ten(int n)
{
    char text[8];
    snprintf(text, sizeof text, "1e%d", n);
    return strtod(text, NULL);
}

static double scale(double value, long exponent)
{
    while (exponent < -308 && value != 0) {
        value /= 1e308;
        exponent += 308;
    }
    if (value == 0) return value;
    if (exponent > 308) return INFINITY;
    return exponent < 0 ? value / power_of_ten((int)-exponent)
                        : value * power_of_ten((int)exponent);
}

double qk_unigram_parse_score(const char *text, size_t length)
{
    uint64_t digits = 0;
    long exponent = 0;
    bool negative = false, fraction = false, full = false;
    size_t i = 0;
    for (; i < length && text[i] != 'e' && text[i] != 'E'; i++) {
        unsigned digit = (unsigned)text[i] - '0';
        if (text[i] == '-') negative = true;
        if (text[i] == '.') fraction = true;
        if (digit > 9) continue;
        full = full || digits > (UINT64_MAX - digit) / 10;
        if (!full) digits = 10 * digits + digit;
        exponent += full ? !fraction : -(long)fraction;
    }
    if (i + 1 < length) exponent += strtol(text + i + 1, NULL, 10);
    double value = scale((double)digits, exponent);
    return negative ? -value : value;
}
