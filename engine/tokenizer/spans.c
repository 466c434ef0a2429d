/* Spans of BPE tokens. See spans.h.
 *
 * The model knows ids only. Here the piece is cut into the symbols it began with once more, each
 * with its position; a token is made of the next symbols whose strings are as long as its own. */
#include "engine/tokenizer/spans.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/unicode.h"

struct qk_span_symbol {
    qk_raw_span bytes;
    size_t length; /* of its string */
};

void qk_span_memory_free(qk_span_memory *m)
{
    free(m->symbols);
    *m = (qk_span_memory){0};
}

static size_t string_length(const qk_bpe *bpe, int32_t id)
{
    size_t length = 0;
    qk_vocab_text(&bpe->vocab, id, &length);
    return length;
}

static void add(qk_span_memory *m, const qk_bpe *bpe, int32_t id, qk_raw_span bytes)
{
    QK_GROW(m->symbols, m->count, m->capacity);
    m->symbols[m->count++] = (struct qk_span_symbol){bytes, string_length(bpe, id)};
}

/* The symbols in the model's order: an unknown token waits until the next known character. */
static void find_symbols(const qk_bpe *bpe, qk_span_memory *m, const uint8_t *piece, size_t length)
{
    qk_buf marked = {0};
    qk_raw_span waiting = {0};
    m->count = 0;
    for (size_t i = 0, n; i < length; i += n) {
        uint32_t code;
        n = qk_code_at(piece + i, length - i, &code);
        qk_raw_span bytes = {(uint32_t)i, (uint32_t)(i + n)};
        qk_buf_clear(&marked);
        qk_bpe_mark(bpe, piece + i, n, i == 0, i + n == length, &marked);
        int32_t id = qk_vocab_find(&bpe->vocab, marked.data, marked.size);
        if (id >= 0) {
            if (waiting.end) add(m, bpe, bpe->unk, waiting);
            waiting = (qk_raw_span){0};
            add(m, bpe, id, bytes);
        } else if (bpe->byte_fallback && qk_has_bytes(bpe->byte_ids, marked.data, marked.size)) {
            for (size_t k = 0; k < marked.size; k++)
                add(m, bpe, bpe->byte_ids[marked.data[k]], bytes);
        } else if (bpe->unk >= 0) {
            if (waiting.end && !bpe->fuse_unk) add(m, bpe, bpe->unk, waiting);
            waiting =
                waiting.end && bpe->fuse_unk ? (qk_raw_span){waiting.start, bytes.end} : bytes;
        }
    }
    if (waiting.end) add(m, bpe, bpe->unk, waiting);
    qk_buf_free(&marked);
}

void qk_bpe_spans(const qk_bpe *bpe, qk_span_memory *m, const uint8_t *piece, size_t length,
                  const int32_t *ids, size_t count, qk_raw_span *spans)
{
    if (count == 1 && bpe->ignore_merges && string_length(bpe, ids[0]) == length) {
        spans[0] = (qk_raw_span){0, (uint32_t)length};
        return;
    }
    find_symbols(bpe, m, piece, length);
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (next == m->count) next--; /* a prefix longer than a token: lengths do not add up */
        spans[i] = m->symbols[next].bytes;
        size_t wanted = string_length(bpe, ids[i]), got = m->symbols[next++].length;
        for (; got < wanted && next < m->count; next++) {
            got += m->symbols[next].length - bpe->prefix_length; /* as joining drops it */
            if (m->symbols[next].bytes.end > spans[i].end)
                spans[i].end = m->symbols[next].bytes.end;
        }
    }
}
