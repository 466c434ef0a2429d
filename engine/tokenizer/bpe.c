/* Byte-pair encoding. See bpe.h. */
#include "engine/tokenizer/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/unicode.h"

/* ---- merges ---- */

bool qk_bpe_set_merges(qk_bpe *bpe, const qk_merge *merges, size_t count)
{
    enum { AHEAD = 16 }; /* slots that are on their way from memory */
    free(bpe->merges);
    bpe->merge_slots = 1024;
    while (bpe->merge_slots < 2 * count) bpe->merge_slots *= 2;
    bpe->merges = qk_alloc(bpe->merge_slots, sizeof *bpe->merges);
    bpe->merge_count = 0;
    for (size_t i = 0; i < bpe->merge_slots; i++) bpe->merges[i] = (qk_merge){.pair = UINT64_MAX};
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            __builtin_prefetch(
                &bpe->merges[qk_merge_home(merges[i + AHEAD].pair, bpe->merge_slots)], 1);
        size_t home = qk_merge_home(merges[i].pair, bpe->merge_slots);
        qk_merge *slot = qk_merge_slot(bpe->merges, bpe->merge_slots, merges[i].pair);
        size_t passed = ((size_t)(slot - bpe->merges) - home) & (bpe->merge_slots - 1);
        if (passed > QK_MAX_PROBES) return false;
        if (slot->pair == UINT64_MAX) bpe->merge_count++;
        *slot = merges[i];
    }
    size_t run = 0, longest = 0; /* of slots that are not free: a search passes no more */
    for (size_t i = 0; i < bpe->merge_slots; i++) {
        run = bpe->merges[i].pair != UINT64_MAX ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest <= QK_MAX_PROBES;
}

/* ---- GPT-2's bytes ---- */

static uint32_t byte_character(uint8_t byte)
{
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174) return byte;
    if (byte <= 32) return 256u + byte;
    return byte == 173 ? 323u : 289u + (byte - 127u); /* 127..160 */
}

size_t qk_byte_level_character(uint8_t byte, uint8_t out[4])
{
    return qk_utf8_encode(byte_character(byte), out);
}

void qk_byte_level_spell(const uint8_t *bytes, size_t n, qk_buf *out)
{
    qk_buf_reserve(out, 2 * n);
    uint8_t *p = out->data + out->size;
    for (size_t i = 0; i < n; i++) p += qk_utf8_encode(byte_character(bytes[i]), p);
    out->size = (size_t)(p - out->data);
}

/* ---- tables of the whole vocabulary ---- */

/* Whether a character is spelled by its position in the piece. */
static bool has_marks(const qk_bpe *bpe)
{
    return bpe->prefix_length || bpe->suffix_length;
}

static const char SPACE[] = "\xE2\x96\x81"; /* U+2581 */

/* Fills glued, merging and cuts. A token with a U+2581 inside may be what some merge makes.
 *
 * No merge may cross a cut, so every character must leave a symbol that ends in its last byte: none
 * is dropped (there is an unknown token), and stand-ins for characters never merge. */
static void find_cuts(qk_bpe *bpe)
{
    bpe->merging = qk_zalloc(bpe->vocab.size, sizeof *bpe->merging);
    bool *made = qk_zalloc(bpe->vocab.size, sizeof *made);
    for (size_t i = 0; i < bpe->merge_slots; i++) {
        const qk_merge *m = &bpe->merges[i];
        if (m->pair == UINT64_MAX) continue;
        bpe->merging[m->pair >> 32] = bpe->merging[(uint32_t)m->pair] = true;
        made[m->joined] = true;
    }
    for (size_t id = 0; id < bpe->vocab.size; id++) {
        size_t length;
        const char *text = made[id] ? qk_vocab_text(&bpe->vocab, (int64_t)id, &length) : NULL;
        const char *at = text, *end = text ? text + length : NULL;
        while (at && (at = memmem(at, (size_t)(end - at), SPACE, 3))) {
            if (at > text) bpe->glued[(uint8_t)at[-1]] = true;
            at += 3;
        }
    }
    free(made);
    bpe->cuts = !has_marks(bpe) && !bpe->ignore_merges && bpe->unk >= 0 &&
                !bpe->merging[bpe->unk] && qk_vocab_find(&bpe->vocab, SPACE, 3) >= 0;
    for (int b = 0; b < 256; b++)
        if (bpe->byte_ids[b] >= 0 && bpe->merging[bpe->byte_ids[b]]) bpe->cuts = false;
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
    qk_vocab_find_bytes(&bpe->vocab, bpe->byte_ids);
    for (uint32_t c = 0; c < QK_BPE_NEAR; c++) {
        uint8_t utf8[4];
        bpe->near_ids[c] = qk_vocab_find(&bpe->vocab, utf8, qk_utf8_encode(c, utf8));
    }
    bpe->level_complete = !has_marks(bpe);
    for (int b = 0; b < 256; b++) {
        bpe->level_ids[b] = bpe->near_ids[byte_character((uint8_t)b)];
        if (bpe->level_ids[b] < 0) bpe->level_complete = false;
    }
    find_cuts(bpe);
}

void qk_bpe_free(qk_bpe *bpe)
{
    qk_vocab_free(&bpe->vocab);
    free(bpe->merges);
    free(bpe->merging);
    *bpe = (qk_bpe){0};
}

void qk_bpe_memory_free(qk_bpe_memory *m)
{
    free(m->symbols.items);
    free(m->tokens.items);
    qk_buf_free(&m->spelled);
    qk_buf_free(&m->marked);
    free(m->links);
    free(m->heap);
    *m = (qk_bpe_memory){0};
}

/* ---- characters to symbols ---- */

static void add_symbol(qk_bpe_memory *m, int32_t id)
{
    QK_GROW(m->symbols.items, m->symbols.count, m->symbols.capacity);
    m->symbols.items[m->symbols.count++] = id;
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
    bool waiting = false, marks = has_marks(bpe);
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t n = qk_code_at(piece + i, length - i, &code), spelled = n;
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
        } else if (bpe->byte_fallback && qk_has_bytes(bpe->byte_ids, text, spelled)) {
            for (size_t k = 0; k < spelled; k++) add_symbol(m, bpe->byte_ids[text[k]]);
        } else if (bpe->unk >= 0) {
            if (waiting && !bpe->fuse_unk) add_symbol(m, bpe->unk);
            waiting = true;
        }
        i += n;
    }
    if (waiting) add_symbol(m, bpe->unk);
}

/* Bytes straight to symbols, where every byte has one. */
static void split_bytes(const qk_bpe *bpe, qk_bpe_memory *m, const uint8_t *piece, size_t length)
{
    qk_id_array_reserve(&m->symbols, length);
    for (size_t i = 0; i < length; i++) m->symbols.items[i] = bpe->level_ids[piece[i]];
    m->symbols.count = length;
}

/* ---- a piece ---- */

void qk_bpe_encode(const qk_bpe *bpe, qk_bpe_memory *m, const uint8_t *piece, size_t length,
                   bool byte_level)
{
    m->symbols.count = m->tokens.count = 0;
    if (byte_level && bpe->level_complete && !bpe->ignore_merges) {
        split_bytes(bpe, m, piece, length);
        qk_bpe_merge_symbols(bpe, m);
        return;
    }
    const uint8_t *bytes = piece;
    size_t n = length;
    if (byte_level) {
        qk_buf_clear(&m->spelled);
        qk_byte_level_spell(piece, length, &m->spelled);
        piece = m->spelled.data;
        length = m->spelled.size;
    }
    if (bpe->ignore_merges && length) {
        int32_t whole = qk_vocab_find(&bpe->vocab, piece, length);
        if (whole >= 0) {
            qk_id_array_reserve(&m->tokens, 1);
            m->tokens.items[m->tokens.count++] = whole;
            return;
        }
    }
    if (byte_level && bpe->level_complete)
        split_bytes(bpe, m, bytes, n);
    else
        split_characters(bpe, m, piece, length);
    qk_bpe_merge_symbols(bpe, m);
}
