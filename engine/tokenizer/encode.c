/* Encoding: the order of the steps, the word cache, truncation. See tokenizer.h.
 *
 *   raw text -> added tokens and stretches between them
 *   stretch  -> normalised -> `normalized` added tokens and stretches -> pieces -> BPE, Unigram
 *
 * Where spans are asked for, every text carries its origins and words are not cached.
 *
 * next: engine/tokenizer/bpe.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/tokenizer/internal.h"
#include "engine/tokenizer/spans.h"

/* A word and its ids in one cache line; the cache is direct-mapped: a newcomer replaces. */
enum { CACHE_SLOTS = 1 << 15, CACHE_KEY = 32, CACHE_IDS = 7 };

typedef struct cached_word {
    uint8_t key[CACHE_KEY];
    int32_t ids[CACHE_IDS];
    uint8_t length, count; /* length 0: free */
} cached_word;

struct qk_token_scratch {
    uint64_t serial; /* of the tokenizer whose words are cached */
    cached_word *cache;
    qk_buf spelled;
    qk_norm_memory norm;
    qk_pre_memory pre;
    qk_bpe_memory bpe;
    qk_unigram_memory unigram;
    qk_traced raw, traced; /* the text with its origins; a piece's spelled bytes with theirs */
    qk_span_memory span;
};

typedef struct encoder {
    const qk_tokenizer *tok;
    struct qk_token_scratch *scratch;
    qk_tokens *out;
    size_t most; /* ids of text beyond this many are cut off */
    bool spans;
    qk_error *err;
} encoder;

/* GPT-2's spelling of bytes. Appends. */
static void spell(const uint8_t *bytes, size_t n, qk_buf *out)
{
    qk_buf_reserve(out, 2 * n + 2);
    for (size_t i = 0; i < n; i++)
        out->size += qk_byte_level_character(bytes[i], out->data + out->size);
}

/* ---- pieces ---- */

static void push_ids(qk_tokens *out, const int32_t *ids, size_t n)
{
    if (!n) return;
    if (out->count + n > out->capacity) {
        out->capacity = 2 * (out->count + n);
        out->ids = qk_realloc(out->ids, out->capacity, sizeof *out->ids);
    }
    memcpy(out->ids + out->count, ids, n * sizeof *ids);
    out->count += n;
}

/* The last n ids came from this part of the text. */
static void put_span(encoder *e, size_t n, qk_origin span)
{
    qk_tokens *out = e->out;
    if (!e->spans) return;
    if (out->count > out->span_capacity) {
        out->span_capacity = out->capacity;
        out->spans = qk_realloc(out->spans, out->span_capacity, sizeof *out->spans);
    }
    for (size_t i = out->count - n; i < out->count; i++)
        out->spans[i] = (qk_token_span){span.start, span.end};
}

static void push_around(encoder *e, const qk_id_list *list)
{
    push_ids(e->out, list->items, list->count);
    put_span(e, list->count, (qk_origin){0});
}

/* Part [start, end) of a view became an added token. */
static void push_added(encoder *e, int32_t id, qk_view view, size_t start, size_t end)
{
    push_ids(e->out, &id, 1);
    if (e->spans) put_span(e, 1, qk_view_span(view, start, end));
}

static void run_model(encoder *e, const uint8_t *piece, size_t length)
{
    struct qk_token_scratch *s = e->scratch;
    if (e->tok->is_unigram) {
        qk_unigram_encode(&e->tok->unigram, &e->tok->bpe.vocab, &s->unigram, piece, length);
        for (size_t i = 0; i < s->unigram.count; i++) push_ids(e->out, &s->unigram.tokens[i].id, 1);
        return;
    }
    qk_bpe_encode(&e->tok->bpe, &s->bpe, piece, length);
    for (size_t i = 0; i < s->bpe.count; i++)
        if (s->bpe.symbols[i].id >= 0) push_ids(e->out, &s->bpe.symbols[i].id, 1);
}

static void run_piece(encoder *e, const uint8_t *piece, size_t length)
{
    struct qk_token_scratch *s = e->scratch;
    if (e->tok->pretokenizer.byte_level) {
        qk_buf_clear(&s->spelled);
        spell(piece, length, &s->spelled);
        piece = s->spelled.data;
        length = s->spelled.size;
    }
    run_model(e, piece, length);
}

/* A piece with the spans of its tokens. */
static void encode_traced(encoder *e, qk_view piece)
{
    struct qk_token_scratch *s = e->scratch;
    size_t begin = e->out->count;
    if (e->tok->pretokenizer.byte_level) {
        qk_traced_begin(&s->traced, piece);
        qk_traced_spell(&s->traced, piece);
        piece = qk_traced_view(&s->traced);
    }
    run_model(e, piece.text, piece.length);
    size_t count = e->out->count - begin;
    if (!count) return;
    qk_origin *parts = qk_alloc(count, sizeof *parts);
    for (size_t i = 0; e->tok->is_unigram && i < count; i++) parts[i] = s->unigram.tokens[i].bytes;
    if (!e->tok->is_unigram)
        qk_bpe_spans(&e->tok->bpe, &s->span, piece.text, piece.length, e->out->ids + begin, count,
                     parts);
    put_span(e, count, (qk_origin){0});
    for (size_t i = 0; i < count; i++) {
        qk_origin span = qk_view_span(piece, parts[i].start, parts[i].end);
        e->out->spans[begin + i] = (qk_token_span){span.start, span.end};
    }
    free(parts);
}

static void encode_word(encoder *e, const uint8_t *piece, size_t length)
{
    if (length > CACHE_KEY) {
        run_piece(e, piece, length);
        return;
    }
    cached_word *word = &e->scratch->cache[qk_hash_bytes(piece, length) >> 32 & (CACHE_SLOTS - 1)];
    if (word->length == length && !memcmp(word->key, piece, length)) {
        push_ids(e->out, word->ids, word->count);
        return;
    }
    size_t begin = e->out->count;
    run_piece(e, piece, length);
    size_t count = e->out->count - begin;
    if (count > CACHE_IDS) return;
    memcpy(word->key, piece, length);
    if (count > 0) memcpy(word->ids, e->out->ids + begin, count * sizeof *word->ids);
    word->length = (uint8_t)length;
    word->count = (uint8_t)count;
}

static bool is_full(const encoder *e)
{
    return e->out->count > e->most;
}

static void encode_piece(encoder *e, const uint8_t *piece, size_t length)
{
    while (length && !is_full(e)) {
        size_t part =
            e->tok->pretokenizer.byte_level ? length : qk_bpe_next_cut(&e->tok->bpe, piece, length);
        encode_word(e, piece, part);
        piece += part;
        length -= part;
    }
}

/* ---- stretches ---- */

/* Normalised text without added tokens. */
static qk_status encode_words(encoder *e, qk_view view, bool at_start)
{
    if (!view.length) return QK_OK;
    qk_pre_memory *m = &e->scratch->pre;
    QK_TRY(qk_pretokenize(&e->tok->pretokenizer, m, view, at_start, e->err));
    for (size_t i = 0; i < m->pieces.count && !is_full(e); i++) {
        qk_piece p = m->pieces.items[i];
        if (e->spans)
            encode_traced(e, qk_view_part(m->view, p.start, p.end));
        else
            encode_piece(e, m->view.text + p.start, p.end - p.start);
    }
    return QK_OK;
}

/* Raw text without added tokens of the first kind. */
static qk_status encode_stretch(encoder *e, qk_view view, bool at_start)
{
    if (!view.length) return QK_OK;
    QK_TRY(qk_normalize(&e->tok->normalizer, &e->scratch->norm, &view, e->err));
    qk_added_walk w = {0};
    size_t done = 0;
    while (!is_full(e) && qk_added_next(&e->tok->normalized, view.text, view.length, &w)) {
        if (w.start > done)
            QK_TRY(encode_words(e, qk_view_part(view, done, w.start), at_start && !done));
        push_added(e, w.id, view, w.start, w.end);
        done = w.end;
    }
    return encode_words(e, qk_view_part(view, done, view.length), at_start && !done);
}

static qk_status encode_text(encoder *e, qk_view view)
{
    qk_added_walk w = {0};
    size_t done = 0;
    while (!is_full(e) && qk_added_next(&e->tok->added, view.text, view.length, &w)) {
        if (w.start > done) QK_TRY(encode_stretch(e, qk_view_part(view, done, w.start), !done));
        push_added(e, w.id, view, w.start, w.end);
        done = w.end;
    }
    return encode_stretch(e, qk_view_part(view, done, view.length), !done);
}

/* ---- one text ---- */

static struct qk_token_scratch *prepare_scratch(const qk_tokenizer *tok, qk_tokens *out)
{
    if (!out->scratch) {
        out->scratch = qk_zalloc(1, sizeof *out->scratch);
        out->scratch->cache = qk_zalloc(CACHE_SLOTS, sizeof *out->scratch->cache);
    } else if (out->scratch->serial != tok->serial) {
        memset(out->scratch->cache, 0, CACHE_SLOTS * sizeof *out->scratch->cache);
    }
    out->scratch->serial = tok->serial;
    return out->scratch;
}

static qk_status check_text(const uint8_t *text, size_t length, qk_error *err)
{
    if (length > QK_MAX_TEXT)
        return qk_fail(err, QK_ERR_DATA, "split the text",
                       "a text of %zu bytes; at most 1 GiB can be tokenized", length);
    size_t bad = qk_utf8_check(text, length);
    if (bad < length)
        return qk_fail(err, QK_ERR_DATA, "convert the text to UTF-8",
                       "the text is not UTF-8 at byte %zu (0x%02X)", bad, text[bad]);
    return QK_OK;
}

qk_status qk_tokenizer_encode_with(const qk_tokenizer *tok, const char *text, size_t length,
                                   qk_encode_options options, qk_tokens *out, qk_error *err)
{
    qk_view view = {(const uint8_t *)(length ? text : ""), length, NULL};
    QK_TRY(check_text(view.text, length, err));
    encoder e = {tok, prepare_scratch(tok, out), out, SIZE_MAX - 1, options.spans, err};
    size_t before = options.plain ? 0 : tok->before.count;
    size_t around = options.plain ? 0 : before + tok->behind.count;
    /* A limit below the number of special tokens cuts nothing: the reference subtracts unsigned. */
    if (options.max_length > 0 && (uint64_t)options.max_length >= around)
        e.most = (size_t)options.max_length - around + before;
    if (length && (options.spans || tok->pretokenizer.needs_origins)) {
        qk_traced_raw(&e.scratch->raw, view.text, length);
        view = qk_traced_view(&e.scratch->raw);
    }
    out->count = 0;
    if (!options.plain) push_around(&e, &tok->before);
    QK_TRY(encode_text(&e, view));
    out->truncated = out->count > e.most;
    if (out->truncated) out->count = e.most;
    if (!options.plain) push_around(&e, &tok->behind);
    return QK_OK;
}

qk_status qk_tokenizer_encode(const qk_tokenizer *tok, const char *text, size_t length,
                              int64_t max_length, qk_tokens *out, qk_error *err)
{
    qk_encode_options options = {.max_length = max_length};
    return qk_tokenizer_encode_with(tok, text, length, options, out, err);
}

void qk_tokens_free(qk_tokens *tokens)
{
    struct qk_token_scratch *s = tokens->scratch;
    if (s) {
        free(s->cache);
        qk_buf_free(&s->spelled);
        qk_norm_memory_free(&s->norm);
        qk_pre_memory_free(&s->pre);
        qk_bpe_memory_free(&s->bpe);
        qk_unigram_memory_free(&s->unigram);
        qk_span_memory_free(&s->span);
        qk_traced_free(&s->raw);
        qk_traced_free(&s->traced);
        free(s);
    }
    free(tokens->ids);
    free(tokens->spans);
    *tokens = (qk_tokens){0};
}
