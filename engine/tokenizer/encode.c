/* Encoding: the order of the steps, the word cache, truncation. See tokenizer.h.
 *
 *   raw text -> added tokens and stretches between them
 *   stretch  -> normalised -> `normalized` added tokens and stretches -> pieces -> BPE
 *
 * next: engine/tokenizer/bpe.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/tokenizer/internal.h"

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
    qk_norm_memory norm;
    qk_pre_memory pre;
    qk_bpe_memory bpe;
};

typedef struct encoder {
    const qk_tokenizer *tok;
    struct qk_token_scratch *scratch;
    qk_tokens *out;
    size_t most; /* ids of text beyond this many are cut off */
    qk_error *err;
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

static void run_bpe(encoder *e, const uint8_t *piece, size_t length)
{
    qk_bpe_memory *m = &e->scratch->bpe;
    qk_bpe_encode(&e->tok->bpe, m, piece, length, e->tok->pretokenizer.byte_level);
    push_ids(e->out, m->tokens.items, m->tokens.count);
}

static void encode_word(encoder *e, const uint8_t *piece, size_t length)
{
    if (length > CACHE_KEY) {
        run_bpe(e, piece, length);
        return;
    }
    cached_word *word = &e->scratch->cache[qk_hash_bytes(piece, length) >> 32 & (CACHE_SLOTS - 1)];
    if (word->length == length && !memcmp(word->key, piece, length)) {
        push_ids(e->out, word->ids, word->count);
        return;
    }
    size_t begin = e->out->count;
    run_bpe(e, piece, length);
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
static qk_status encode_words(encoder *e, const uint8_t *text, size_t length, bool at_start)
{
    if (!length) return QK_OK;
    qk_pre_memory *m = &e->scratch->pre;
    QK_TRY(qk_pretokenize(&e->tok->pretokenizer, m, text, length, at_start, e->err));
    for (size_t i = 0; i < m->pieces.count && !is_full(e); i++) {
        qk_piece p = m->pieces.items[i];
        encode_piece(e, m->text + p.start, p.end - p.start);
    }
    return QK_OK;
}

/* Raw text without added tokens of the first kind. */
static qk_status encode_stretch(encoder *e, const uint8_t *text, size_t length, bool at_start)
{
    if (!length) return QK_OK;
    QK_TRY(qk_normalize(&e->tok->normalizer, &e->scratch->norm, &text, &length, e->err));
    qk_added_walk w = {0};
    size_t done = 0;
    while (!is_full(e) && qk_added_next(&e->tok->normalized, text, length, &w)) {
        if (w.start > done) QK_TRY(encode_words(e, text + done, w.start - done, at_start && !done));
        push_ids(e->out, &w.id, 1);
        done = w.end;
    }
    return encode_words(e, text + done, length - done, at_start && !done);
}

static qk_status encode_text(encoder *e, const uint8_t *text, size_t length)
{
    qk_added_walk w = {0};
    size_t done = 0;
    while (!is_full(e) && qk_added_next(&e->tok->added, text, length, &w)) {
        if (w.start > done) QK_TRY(encode_stretch(e, text + done, w.start - done, !done));
        push_ids(e->out, &w.id, 1);
        done = w.end;
    }
    return encode_stretch(e, text + done, length - done, !done);
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

qk_status qk_tokenizer_encode(const qk_tokenizer *tok, const char *text, size_t length,
                              int64_t max_length, qk_tokens *out, qk_error *err)
{
    const uint8_t *bytes = (const uint8_t *)(length ? text : "");
    QK_TRY(check_text(bytes, length, err));
    size_t around = tok->before.count + tok->behind.count;
    encoder e = {tok, prepare_scratch(tok, out), out, SIZE_MAX - 1, err};
    /* A limit below the number of special tokens cuts nothing: the reference subtracts unsigned. */
    if (max_length > 0 && (uint64_t)max_length >= around)
        e.most = (size_t)max_length - around + tok->before.count;
    out->count = 0;
    push_ids(out, tok->before.items, tok->before.count);
    QK_TRY(encode_text(&e, bytes, length));
    out->truncated = out->count > e.most;
    if (out->truncated) out->count = e.most;
    push_ids(out, tok->behind.items, tok->behind.count);
    return QK_OK;
}

void qk_tokens_free(qk_tokens *tokens)
{
    struct qk_token_scratch *s = tokens->scratch;
    if (s) {
        free(s->cache);
        qk_norm_memory_free(&s->norm);
        qk_pre_memory_free(&s->pre);
        qk_bpe_memory_free(&s->bpe);
        free(s);
    }
    free(tokens->ids);
    *tokens = (qk_tokens){0};
}
