/* Byte-pair encoding. See bpe.h. */
#include "engine/tokenizer/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"

/* ---- merges ---- */

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static qk_merge *find_slot(qk_merge *slots, size_t count, uint64_t pair)
{
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h >> 32 ^ h) & (count - 1);
    while (slots[i].pair != pair && slots[i].pair != UINT64_MAX) i = (i + 1) & (count - 1);
    return &slots[i];
}

static void grow_merges(qk_bpe *bpe)
{
    qk_merge *old = bpe->merges;
    size_t n = bpe->merge_slots;
    bpe->merge_slots = n ? 2 * n : 1024;
    bpe->merges = qk_alloc(bpe->merge_slots, sizeof *bpe->merges);
    for (size_t i = 0; i < bpe->merge_slots; i++) bpe->merges[i].pair = UINT64_MAX;
    for (size_t i = 0; i < n; i++)
        if (old[i].pair != UINT64_MAX)
            *find_slot(bpe->merges, bpe->merge_slots, old[i].pair) = old[i];
    free(old);
}

void qk_bpe_add_merge(qk_bpe *bpe, int32_t left, int32_t right, int32_t joined, uint32_t rank)
{
    if (2 * (bpe->merge_count + 1) > bpe->merge_slots) grow_merges(bpe);
    qk_merge *slot = find_slot(bpe->merges, bpe->merge_slots, pair_of(left, right));
    if (slot->pair == UINT64_MAX) bpe->merge_count++;
    *slot = (qk_merge){pair_of(left, right), rank, joined};
}

static const qk_merge *find_merge(const qk_bpe *bpe, int32_t left, int32_t right)
{
    if (!bpe->merge_slots) return NULL;
    const qk_merge *m = find_slot(bpe->merges, bpe->merge_slots, pair_of(left, right));
    return m->pair == UINT64_MAX ? NULL : m;
}

static const char SPACE[] = "\xE2\x96\x81"; /* U+2581 */

/* By id: bytes "<0x..>" and the unknown token. The caller frees. */
static bool *find_stand_ins(const qk_bpe *bpe)
{
    bool *out = qk_zalloc(bpe->vocab.size, sizeof *out);
    for (int b = 0; b < 256; b++)
        if (bpe->byte_ids[b] >= 0) out[bpe->byte_ids[b]] = true;
    if (bpe->unk >= 0) out[bpe->unk] = true;
    return out;
}

/* No merge may cross a cut, so every character must leave a symbol that ends in its last byte:
 * none is dropped (there is an unknown token), and stand-ins for characters never merge. */
static void find_cuts(qk_bpe *bpe)
{
    bool marks = bpe->prefix_length || bpe->suffix_length;
    bpe->cuts =
        !marks && !bpe->ignore_merges && bpe->unk >= 0 && qk_vocab_find(&bpe->vocab, SPACE, 3) >= 0;
    bool *stand_in = find_stand_ins(bpe);
    for (size_t i = 0; bpe->cuts && i < bpe->merge_slots; i++) {
        const qk_merge *m = &bpe->merges[i];
        if (m->pair == UINT64_MAX) continue;
        if (stand_in[m->pair >> 32] || stand_in[(uint32_t)m->pair]) bpe->cuts = false;
        size_t length;
        const char *text = qk_vocab_text(&bpe->vocab, m->joined, &length);
        const char *at = text, *end = text + length;
        while ((at = memmem(at, (size_t)(end - at), SPACE, 3))) {
            if (at > text) bpe->glued[(uint8_t)at[-1]] = true;
            at += 3;
        }
    }
    free(stand_in);
}

size_t qk_bpe_next_cut(const qk_bpe *bpe, const uint8_t *piece, size_t length)
{
    if (!bpe->cuts) return length;
    for (size_t i = 1; i + 2 < length; i++)
        if (piece[i] == 0xE2 && piece[i + 1] == 0x96 && piece[i + 2] == 0x81 &&
            !bpe->glued[piece[i - 1]])
            return i;
    return length;
}

void qk_bpe_finish(qk_bpe *bpe)
{
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        bpe->byte_ids[b] = qk_vocab_find(&bpe->vocab, name, 6);
    }
    for (uint32_t c = 0; c < QK_BPE_NEAR; c++) {
        uint8_t utf8[4];
        bpe->near_ids[c] = qk_vocab_find(&bpe->vocab, utf8, qk_utf8_encode(c, utf8));
    }
    find_cuts(bpe);
}

void qk_bpe_free(qk_bpe *bpe)
{
    qk_vocab_free(&bpe->vocab);
    free(bpe->merges);
    *bpe = (qk_bpe){0};
}

void qk_bpe_memory_free(qk_bpe_memory *memory)
{
    free(memory->symbols);
    free(memory->heap);
    qk_buf_free(&memory->marked);
    *memory = (qk_bpe_memory){0};
}

/* ---- characters to symbols ---- */

static void add_symbol(qk_bpe_memory *m, int32_t id)
{
    QK_GROW(m->symbols, m->count, m->capacity);
    int32_t i = (int32_t)m->count++;
    m->symbols[i] = (qk_symbol){id, i - 1, i + 1};
}

/* The tokens of a character's bytes; false when one of them is not in the vocabulary. */
static bool add_bytes(const qk_bpe *bpe, qk_bpe_memory *m, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bpe->byte_ids[bytes[i]] < 0) return false;
    for (size_t i = 0; i < n; i++) add_symbol(m, bpe->byte_ids[bytes[i]]);
    return true;
}

void qk_bpe_mark(const qk_bpe *bpe, const uint8_t *character, size_t n, bool is_first, bool is_last,
                 qk_buf *out)
{
    if (!is_first) qk_buf_add(out, bpe->prefix, bpe->prefix_length);
    qk_buf_add(out, character, n);
    if (is_last) qk_buf_add(out, bpe->suffix, bpe->suffix_length);
}

/* An unknown token waits until the next known character, so bytes that follow come before it. */
static void split_characters(const qk_bpe *bpe, qk_bpe_memory *m, const uint8_t *piece,
                             size_t length)
{
    bool waiting = false, marks = bpe->prefix_length || bpe->suffix_length;
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n = qk_utf8_decode(piece + i, length - i, &code), spelled = n;
        QK_ASSERT(n > 0);
        const uint8_t *text = piece + i;
        if (marks) {
            qk_buf_clear(&m->marked);
            qk_bpe_mark(bpe, text, n, i == 0, i + n == length, &m->marked);
            text = m->marked.data;
            spelled = m->marked.size;
        }
        bool near = code < QK_BPE_NEAR && !marks;
        int32_t id = near ? bpe->near_ids[code] : qk_vocab_find(&bpe->vocab, text, spelled);
        if (id >= 0) {
            if (waiting) add_symbol(m, bpe->unk);
            waiting = false;
            add_symbol(m, id);
        } else if (!(bpe->byte_fallback && add_bytes(bpe, m, text, spelled)) && bpe->unk >= 0) {
            if (waiting && !bpe->fuse_unk) add_symbol(m, bpe->unk);
            waiting = true;
        }
        i += n;
    }
    if (waiting) add_symbol(m, bpe->unk);
    if (m->count) m->symbols[m->count - 1].next = -1;
}

/* ---- the heap ---- */

static void push(qk_bpe_memory *m, uint64_t key)
{
    QK_GROW(m->heap, m->heap_count, m->heap_capacity);
    size_t i = m->heap_count++;
    while (i > 0 && m->heap[(i - 1) / 2] > key) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = key;
}

static uint64_t pop(qk_bpe_memory *m)
{
    uint64_t top = m->heap[0], last = m->heap[--m->heap_count];
    size_t i = 0, n = m->heap_count;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && m->heap[child + 1] < m->heap[child]) child++;
        if (m->heap[child] >= last) break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = last;
    return top;
}

/* Queues the pair of a symbol and the next one, when they may merge. */
static void queue_pair(const qk_bpe *bpe, qk_bpe_memory *m, int32_t left)
{
    int32_t right = m->symbols[left].next;
    if (right < 0) return;
    const qk_merge *merge = find_merge(bpe, m->symbols[left].id, m->symbols[right].id);
    if (merge) push(m, (uint64_t)merge->rank << 32 | (uint32_t)left);
}

static void merge_all(const qk_bpe *bpe, qk_bpe_memory *m)
{
    m->heap_count = 0;
    for (size_t i = 0; i + 1 < m->count; i++) queue_pair(bpe, m, (int32_t)i);
    qk_symbol *symbols = m->symbols;
    while (m->heap_count) {
        uint64_t key = pop(m);
        int32_t left = (int32_t)(uint32_t)key, right = symbols[left].next;
        if (symbols[left].id < 0 || right < 0) continue;
        const qk_merge *merge = find_merge(bpe, symbols[left].id, symbols[right].id);
        if (!merge || merge->rank != key >> 32) continue; /* one of them has changed since */
        symbols[left].id = merge->joined;
        symbols[left].next = symbols[right].next;
        symbols[right].id = -1;
        if (symbols[left].next >= 0) symbols[symbols[left].next].prev = left;
        if (symbols[left].prev >= 0) queue_pair(bpe, m, symbols[left].prev);
        queue_pair(bpe, m, left);
    }
}

void qk_bpe_encode(const qk_bpe *bpe, qk_bpe_memory *m, const uint8_t *piece, size_t length)
{
    m->count = 0;
    if (bpe->ignore_merges && length) {
        int32_t whole = qk_vocab_find(&bpe->vocab, piece, length);
        if (whole >= 0) {
            add_symbol(m, whole);
            return;
        }
    }
    split_characters(bpe, m, piece, length);
    merge_all(bpe, m);
}
