/* Encoding: the order of the steps, the word cache, truncation. See tokenizer.h.
 *
 *   raw text -> added tokens and stretches between them
 *   stretch  -> normalised -> `normalized` added tokens and stretches -> pieces -> BPE, Unigram
 *
 * Where spans are asked for, every text carries its raw spans and words are not cached.
 *
 * next: engine/tokenizer/bpe.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/tokenizer/internal.h"
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/spans.h"
#include "engine/tokenizer/unigram.h"

/* Words and their ids, in direct-mapped caches: a newcomer replaces. A short word is a cache line,
 * a long one four. */
enum { SHORT_SLOTS = 1 << 15, SHORT_KEY = 16, SHORT_IDS = 11 };
enum { LONG_SLOTS = 1 << 12, LONG_KEY = 124, LONG_IDS = 32 };

typedef struct short_word {
    uint64_t key[2];       /* with zeros behind the word */
    uint8_t length, count; /* length 0: free */
    int32_t ids[SHORT_IDS];
} short_word;

typedef struct long_word {
    uint8_t length, count;
    uint8_t key[LONG_KEY];
    int32_t ids[LONG_IDS];
} long_word;

struct qk_token_scratch {
    qk_work work;            /* what one text may still take */
    uint64_t serial;         /* of the tokenizer whose words are cached */
    short_word *short_words; /* [SHORT_SLOTS] */
    long_word *long_words;   /* [LONG_SLOTS] */
    qk_buf spelled;          /* a piece for a Unigram model */
    qk_norm_memory norm;
    qk_pre_memory pre;
    qk_bpe_memory bpe;
    qk_unigram_memory unigram;
    qk_traced raw, traced; /* the text with its raw spans; a piece's spelled bytes with theirs */
    qk_span_memory span;
};

typedef struct encoder {
    const qk_tokenizer *tok;
    struct qk_token_scratch *scratch;
    qk_tokens *out;
    size_t max_ids; /* beyond this many, those of the text are cut off */
    bool spans;
    qk_error *err;
    uint32_t checks; /* of the count and of signals */
} encoder;

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
static void put_span(encoder *e, size_t n, qk_raw_span span)
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

static void push_around(encoder *e, const qk_id_array *list)
{
    push_ids(e->out, list->items, list->count);
    put_span(e, list->count, (qk_raw_span){0});
}

/* Part [start, end) of a view became an added token. */
static void push_added(encoder *e, int32_t id, qk_view view, size_t start, size_t end)
{
    push_ids(e->out, &id, 1);
    if (e->spans) put_span(e, 1, qk_view_span(view, start, end));
}

/* byte_level: the piece is still to be spelled with GPT-2's characters. */
static qk_status run_model(encoder *e, const uint8_t *piece, size_t length, bool byte_level)
{
    struct qk_token_scratch *s = e->scratch;
    if (!e->tok->unigram) {
        qk_bpe_encode(&e->tok->bpe, &s->bpe, piece, length, byte_level);
        push_ids(e->out, s->bpe.tokens.items, s->bpe.tokens.count);
        return QK_OK;
    }
    if (byte_level) {
        qk_buf_clear(&s->spelled);
        qk_byte_level_spell(piece, length, &s->spelled);
        piece = s->spelled.data;
        length = s->spelled.size;
    }
    if (!qk_unigram_encode(e->tok->unigram, &e->tok->bpe.vocab, &s->unigram, &s->work, piece,
                           length)) {
        size_t bytes = 0;
        const char *token = qk_vocab_text(&e->tok->bpe.vocab, e->tok->unigram->longest, &bytes);
        QK_TRY(qk_interrupt_check(e->err));
        return qk_fail(e->err, QK_ERR_DATA,
                       "split the text, or use a tokenizer without such tokens",
                       "model.vocab: its tokens need too much work for this text: more than %d "
                       "steps for each of its bytes; the longest, \"%.40s\"..., has %zu bytes",
                       QK_WORK_PER_BYTE, token ? token : "", bytes);
    }
    for (size_t i = 0; i < s->unigram.count; i++) push_ids(e->out, &s->unigram.tokens[i].id, 1);
    return QK_OK;
}

static qk_status run_piece(encoder *e, const uint8_t *piece, size_t length)
{
    return run_model(e, piece, length, e->tok->pretokenizer->byte_level);
}

/* A piece with the spans of its tokens. */
static qk_status encode_traced(encoder *e, qk_view piece)
{
    struct qk_token_scratch *s = e->scratch;
    size_t begin = e->out->count;
    if (e->tok->pretokenizer->byte_level) {
        qk_traced_begin(&s->traced, piece);
        qk_traced_spell(&s->traced, piece);
        piece = qk_traced_view(&s->traced);
    }
    QK_TRY(run_model(e, piece.text, piece.length, false));
    size_t count = e->out->count - begin;
    if (!count) return QK_OK;
    qk_raw_span *parts = qk_alloc(count, sizeof *parts);
    for (size_t i = 0; e->tok->unigram && i < count; i++) parts[i] = s->unigram.tokens[i].bytes;
    if (!e->tok->unigram)
        qk_bpe_spans(&e->tok->bpe, &s->span, piece.text, piece.length, e->out->ids + begin, count,
                     parts);
    put_span(e, count, (qk_raw_span){0});
    for (size_t i = 0; i < count; i++) {
        qk_raw_span span = qk_view_span(piece, parts[i].start, parts[i].end);
        e->out->spans[begin + i] = (qk_token_span){span.start, span.end};
    }
    free(parts);
    return QK_OK;
}

static qk_status encode_long(encoder *e, const uint8_t *piece, size_t length)
{
    uint64_t hash = qk_hash_bytes(piece, length);
    long_word *word = &e->scratch->long_words[hash >> 32 & (LONG_SLOTS - 1)];
    if (word->length == length && !memcmp(word->key, piece, length)) {
        push_ids(e->out, word->ids, word->count);
        return QK_OK;
    }
    size_t begin = e->out->count;
    QK_TRY(run_piece(e, piece, length));
    size_t count = e->out->count - begin;
    if (count > LONG_IDS) return QK_OK;
    memcpy(word->key, piece, length);
    if (count) memcpy(word->ids, e->out->ids + begin, count * sizeof *word->ids);
    word->length = (uint8_t)length;
    word->count = (uint8_t)count;
    return QK_OK;
}

/* 1 to 16 bytes of a text that ends at `end`, with zeros behind them. */
static void load_key(const uint8_t *piece, size_t length, const uint8_t *end, uint64_t key[2])
{
    key[0] = key[1] = 0;
    if ((size_t)(end - piece) < SHORT_KEY) {
        memcpy(key, piece, length);
        return;
    }
    memcpy(key, piece, SHORT_KEY);
    uint8_t *bytes = (uint8_t *)key;
    static const uint8_t mask[2 * SHORT_KEY] = {255, 255, 255, 255, 255, 255, 255, 255,
                                                255, 255, 255, 255, 255, 255, 255, 255};
    for (size_t i = 0; i < SHORT_KEY; i++) bytes[i] &= mask[SHORT_KEY - length + i];
}

static qk_status encode_short(encoder *e, const uint8_t *piece, size_t length, const uint8_t *end)
{
    uint64_t key[2];
    load_key(piece, length, end, key);
    uint64_t hash = (key[0] ^ key[1] * 0xD6E8FEB86659FD93u) * 0x9E3779B97F4A7C15u;
    hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93u;
    short_word *word = &e->scratch->short_words[hash >> 40 & (SHORT_SLOTS - 1)];
    if (word->key[0] == key[0] && word->key[1] == key[1] && word->length == length) {
        qk_tokens *out = e->out;
        if (out->count + SHORT_IDS <= out->capacity) {
            memcpy(out->ids + out->count, word->ids, sizeof word->ids);
            out->count += word->count;
        } else {
            push_ids(out, word->ids, word->count);
        }
        return QK_OK;
    }
    size_t begin = e->out->count;
    QK_TRY(run_piece(e, piece, length));
    size_t count = e->out->count - begin;
    if (count > SHORT_IDS) return QK_OK;
    memcpy(word->key, key, sizeof key);
    if (count) memcpy(word->ids, e->out->ids + begin, count * sizeof *word->ids);
    word->length = (uint8_t)length;
    word->count = (uint8_t)count;
    return QK_OK;
}

/* There are ids enough, or a signal has come: the rest of the text is left alone. */
static bool is_full(encoder *e)
{
    return e->out->count > e->max_ids || (++e->checks % QK_WORK_CHUNK == 0 && qk_interrupted());
}

/* A piece of a text that ends at `end`. */
static qk_status encode_piece(encoder *e, const uint8_t *piece, size_t length, const uint8_t *end)
{
    while (length && !is_full(e)) {
        size_t part = e->tok->pretokenizer->byte_level
                          ? length
                          : qk_bpe_next_cut(&e->tok->bpe, piece, length);
        if (part <= SHORT_KEY)
            QK_TRY(encode_short(e, piece, part, end));
        else if (part <= LONG_KEY)
            QK_TRY(encode_long(e, piece, part));
        else
            QK_TRY(run_piece(e, piece, part));
        piece += part;
        length -= part;
    }
    return QK_OK;
}

/* ---- stretches ---- */

/* Normalised text without added tokens. */
static qk_status encode_words(encoder *e, qk_view view, bool at_start)
{
    if (!view.length) return QK_OK;
    qk_pre_memory *m = &e->scratch->pre;
    QK_TRY(qk_pretokenize(e->tok->pretokenizer, m, view, at_start, e->err));
    size_t n = m->pieces.count;
    const uint8_t *end = n ? m->view.text + m->pieces.items[n - 1].end : NULL;
    for (size_t i = 0; i < n && !is_full(e); i++) {
        qk_piece p = m->pieces.items[i];
        if (e->spans)
            QK_TRY(encode_traced(e, qk_view_part(m->view, p.start, p.end)));
        else
            QK_TRY(encode_piece(e, m->view.text + p.start, p.end - p.start, end));
    }
    return QK_OK;
}

static qk_status check_walk(const encoder *e, const qk_added_walk *w)
{
    if (!w->stopped) return QK_OK;
    QK_TRY(qk_interrupt_check(e->err));
    return qk_fail(e->err, QK_ERR_DATA, "split the text, or use a tokenizer without such tokens",
                   "added_tokens: to find them takes too much work in this text: more than %d "
                   "steps for each of its bytes",
                   QK_WORK_PER_BYTE);
}

/* Raw text without added tokens of the first kind. */
static qk_status encode_stretch(encoder *e, qk_view view, bool at_start)
{
    if (!view.length) return QK_OK;
    QK_TRY(qk_normalize(e->tok->normalizer, &e->scratch->norm, &view, e->err));
    qk_added_walk w = {.work = &e->scratch->work};
    size_t done = 0;
    while (!is_full(e) && qk_added_next(&e->tok->normalized, view.text, view.length, &w)) {
        if (w.start > done)
            QK_TRY(encode_words(e, qk_view_part(view, done, w.start), at_start && !done));
        push_added(e, w.id, view, w.start, w.end);
        done = w.end;
    }
    QK_TRY(check_walk(e, &w));
    return encode_words(e, qk_view_part(view, done, view.length), at_start && !done);
}

static qk_status encode_text(encoder *e, qk_view view)
{
    qk_added_walk w = {.work = &e->scratch->work};
    size_t done = 0;
    while (!is_full(e) && qk_added_next(&e->tok->added, view.text, view.length, &w)) {
        if (w.start > done) QK_TRY(encode_stretch(e, qk_view_part(view, done, w.start), !done));
        push_added(e, w.id, view, w.start, w.end);
        done = w.end;
    }
    QK_TRY(check_walk(e, &w));
    return encode_stretch(e, qk_view_part(view, done, view.length), !done);
}

/* ---- one text ---- */

static struct qk_token_scratch *prepare_scratch(const qk_tokenizer *tok, qk_tokens *out)
{
    struct qk_token_scratch *s = out->scratch;
    if (!s) {
        out->scratch = s = qk_zalloc(1, sizeof *s);
        s->norm.match.work = s->pre.match.work = &s->work;
        s->short_words = qk_zalloc(SHORT_SLOTS, sizeof *s->short_words);
        s->long_words = qk_zalloc(LONG_SLOTS, sizeof *s->long_words);
    } else if (s->serial != tok->serial) {
        memset(s->short_words, 0, SHORT_SLOTS * sizeof *s->short_words);
        memset(s->long_words, 0, LONG_SLOTS * sizeof *s->long_words);
    }
    s->serial = tok->serial;
    return s;
}

/* Cuts the ids of the text, which begin behind `before` others, down to `max_ids`. */
static void cut(encoder *e, size_t before, size_t max_ids)
{
    qk_tokens *out = e->out;
    size_t count = out->count - before;
    out->truncated = count > max_ids;
    if (!out->truncated) return;
    out->count = before + max_ids;
    if (!e->tok->cut_left) return;
    size_t first = before + count - max_ids;
    memmove(out->ids + before, out->ids + first, max_ids * sizeof *out->ids);
    if (e->spans) memmove(out->spans + before, out->spans + first, max_ids * sizeof *out->spans);
}

qk_status qk_tokenizer_encode_with(const qk_tokenizer *tok, const char *text, size_t length,
                                   qk_encode_options options, qk_tokens *out, qk_error *err)
{
    qk_view view = {(const uint8_t *)(length ? text : ""), length, NULL};
    if (length > QK_MAX_TEXT)
        return qk_fail(err, QK_ERR_DATA, "split the text",
                       "a text of %zu bytes; at most 1 GiB can be tokenized", length);
    size_t bad = qk_utf8_check(view.text, length);
    if (bad < length)
        return qk_fail(err, QK_ERR_DATA, "convert the text to UTF-8",
                       "the text is not UTF-8 at byte %zu (0x%02X)", bad, view.text[bad]);
    encoder e = {.tok = tok,
                 .scratch = prepare_scratch(tok, out),
                 .out = out,
                 .max_ids = SIZE_MAX - 1,
                 .spans = options.spans,
                 .err = err};
    qk_work_begin(&e.scratch->work, length);
    size_t before = options.plain ? 0 : tok->before.count;
    size_t around = options.plain ? 0 : before + tok->behind.count;
    /* A limit below the number of special tokens cuts nothing: the reference subtracts unsigned. */
    size_t max_ids = SIZE_MAX - 1 - before;
    if (options.max_length > 0 && (uint64_t)options.max_length >= around)
        max_ids = (size_t)options.max_length - around;
    if (!tok->cut_left)
        e.max_ids = before + max_ids; /* the end of a text is needed to cut its beginning */
    if (length && (options.spans || tok->pretokenizer->needs_raw_spans)) {
        qk_traced_raw(&e.scratch->raw, view.text, length);
        view = qk_traced_view(&e.scratch->raw);
    }
    out->count = 0;
    if (!options.plain) push_around(&e, &tok->before);
    QK_TRY(encode_text(&e, view));
    QK_TRY(qk_interrupt_check(err)); /* what was left half done does not matter */
    cut(&e, before, max_ids);
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
        free(s->short_words);
        free(s->long_words);
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
