/* Vocabulary and merges of a BPE model. See load.h.
 *
 * They have up to a million entries, most of a tokenizer.json: each is read where it stands and
 * goes from the JSON reader straight into the tables. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/load.h"

enum { MAX_MERGES = 1 << 24, BATCH = 64 };

/* ---- vocabulary ---- */

static qk_status read_token(qk_json_reader *r, qk_vocab *vocab)
{
    const char *text = r->text;
    size_t length = r->length;
    int64_t id;
    bool is_integer = false;
    qk_json_event e = qk_json_next(r);
    if (e == QK_JSON_ERROR) return r->err->status;
    if (e == QK_JSON_NUMBER) qk_json_number(r->text, r->length, &is_integer, &id);
    if (!is_integer || id < 0) return qk_json_fail(r, "model.vocab: a token id is expected here");
    if (id > QK_MAX_TOKEN_ID)
        return qk_json_fail(r, "model.vocab: token id %lld is beyond %d", (long long)id,
                            QK_MAX_TOKEN_ID);
    bool added = qk_vocab_add(vocab, text, length, id);
    if (vocab->crowded) return qk_json_fail(r, "model.vocab: %s", QK_CROWDED);
    if (!added)
        return qk_json_fail(r, "model.vocab: token \"%.*s\" or its id %lld is given twice",
                            (int)(length < 60 ? length : 60), text, (long long)id);
    return QK_OK;
}

qk_status qk_read_bpe_vocab(qk_json_reader *r, qk_json_event first, qk_vocab *vocab)
{
    qk_json_event e = first;
    if (e != QK_JSON_OBJECT)
        return e == QK_JSON_ERROR ? r->err->status
                                  : qk_json_fail(r, "model.vocab: an object is expected here");
    while ((e = qk_json_next(r)) == QK_JSON_KEY) QK_TRY(read_token(r, vocab));
    if (e == QK_JSON_ERROR) return r->err->status;
    return qk_vocab_is_spread(vocab) ? QK_OK : qk_json_fail(r, "model.vocab: %s", QK_CROWDED);
}

/* ---- merges ---- */

/* The merges so far, and those whose tokens are still to be looked up, together. */
typedef struct merge_batch {
    qk_bpe *bpe;
    qk_json_event form; /* of all merges: strings or arrays */
    qk_merge *merges;   /* [rank], of which the table is made once */
    size_t rank, capacity;
    int32_t joined; /* of the last merge; the next one mostly makes the same or the next token */
    size_t count;   /* that wait */
    qk_buf text;    /* of each: left, right and, with a prefix, both joined once more */
    struct {
        size_t at, left, right; /* in text; bytes */
        int32_t joined;         /* or -1: to be looked up */
        const char *behind;     /* position in the file */
    } items[BATCH];
} merge_batch;

/* "left right" with exactly one space. */
static qk_status split_string(qk_json_reader *r, merge_batch *b)
{
    const char *space = memchr(r->text, ' ', r->length);
    size_t left = space ? (size_t)(space - r->text) : 0, right = r->length - left - 1;
    if (!space || memchr(space + 1, ' ', right))
        return qk_json_fail(r, "model.merges: a merge is two tokens with one space between them");
    qk_buf_add(&b->text, r->text, left);
    qk_buf_add(&b->text, space + 1, right);
    b->items[b->count].left = left;
    b->items[b->count].right = right;
    return QK_OK;
}

static qk_status read_pair(qk_json_reader *r, merge_batch *b)
{
    size_t lengths[2];
    for (int i = 0; i < 2; i++) {
        qk_json_event e = qk_json_next(r);
        if (e == QK_JSON_ERROR) return r->err->status;
        if (e != QK_JSON_STRING) return qk_json_fail(r, "model.merges: a merge is two tokens");
        qk_buf_add(&b->text, r->text, r->length);
        lengths[i] = r->length;
    }
    b->items[b->count].left = lengths[0];
    b->items[b->count].right = lengths[1];
    qk_json_event e = qk_json_next(r);
    if (e == QK_JSON_ARRAY_END) return QK_OK;
    return e == QK_JSON_ERROR ? r->err->status
                              : qk_json_fail(r, "model.merges: a merge is two tokens");
}

static qk_status fail_missing(qk_json_reader *r, size_t rank, const char *what, const void *token,
                              size_t length)
{
    return qk_json_fail(r, "model.merges[%zu]: %s \"%.*s\" is not in model.vocab", rank, what,
                        (int)(length < 60 ? length : 60), (const char *)token);
}

/* Looks up what waits: both tokens of each merge and, where it is not known yet, their result. */
static qk_status settle(qk_json_reader *r, merge_batch *b)
{
    qk_vocab_query queries[3 * BATCH], *q = queries;
    size_t asked = 0;
    size_t drop = b->bpe->prefix_length;
    for (size_t i = 0; i < b->count; i++) {
        size_t n = b->items[i].left, both = n + b->items[i].right;
        const uint8_t *text = b->text.data + b->items[i].at;
        queries[asked++] = (qk_vocab_query){.text = text, .length = n};
        queries[asked++] = (qk_vocab_query){.text = text + n, .length = both - n};
        if (b->items[i].joined < 0)
            queries[asked++] =
                (qk_vocab_query){.text = drop ? text + both : text, .length = both - drop};
    }
    qk_vocab_find_many(&b->bpe->vocab, queries, asked);
    for (size_t i = 0; i < b->count; i++) {
        const qk_vocab_query *left = q++, *right = q++,
                             *missing = left->id < 0    ? left
                                        : right->id < 0 ? right
                                                        : NULL;
        b->joined = b->items[i].joined >= 0 ? b->items[i].joined : q++->id;
        bool is_result = !missing && b->joined < 0;
        if (is_result) missing = q - 1;
        if (missing) {
            r->at = b->items[i].behind;
            return fail_missing(r, b->rank, is_result ? "its result" : "its token", missing->text,
                                missing->length);
        }
        QK_GROW(b->merges, b->rank, b->capacity);
        b->merges[b->rank] =
            (qk_merge){qk_merge_pair(left->id, right->id), (uint32_t)b->rank, b->joined};
        b->rank++;
    }
    b->count = 0;
    qk_buf_clear(&b->text);
    return QK_OK;
}

/* Joining drops the prefix of the right token; one that has no more than that makes nothing. */
static qk_status join(qk_json_reader *r, merge_batch *b, size_t at)
{
    size_t left = b->items[b->count].left, right = b->items[b->count].right, from = at;
    size_t drop = b->bpe->prefix_length, length = left + right - drop;
    if (drop && right <= drop)
        return fail_missing(r, b->rank + b->count, "its result", b->text.data + at, left + right);
    if (drop) {
        from = b->text.size;
        qk_buf_reserve(&b->text, length);
        qk_buf_add(&b->text, b->text.data + at, left);
        qk_buf_add(&b->text, b->text.data + at + left + drop, right - drop);
    }
    b->items[b->count].joined = -1;
    for (int32_t id = b->joined; id <= b->joined + 1; id++)
        if (qk_vocab_is(&b->bpe->vocab, id, b->text.data + from, length)) {
            b->items[b->count].joined = b->joined = id;
            break;
        }
    return QK_OK;
}

static qk_status read_list(qk_json_reader *r, merge_batch *b)
{
    qk_json_event e;
    while ((e = qk_json_next(r)) == QK_JSON_STRING || e == QK_JSON_ARRAY) {
        if (b->form && e != b->form)
            return qk_json_fail(r, "model.merges[%zu]: %s, while those before it are %s",
                                b->rank + b->count, e == QK_JSON_STRING ? "one text" : "a pair",
                                e == QK_JSON_STRING ? "pairs" : "texts");
        b->form = e;
        if (e == QK_JSON_STRING && r->length >= 8 && !memcmp(r->text, "#version", 8)) continue;
        if (b->rank + b->count == MAX_MERGES)
            return qk_json_fail(r, "model.merges: more than %d merges", MAX_MERGES);
        size_t at = b->text.size;
        QK_TRY(e == QK_JSON_STRING ? split_string(r, b) : read_pair(r, b));
        b->items[b->count].at = at;
        b->items[b->count].behind = r->at;
        QK_TRY(join(r, b, at));
        if (++b->count == BATCH) QK_TRY(settle(r, b));
    }
    if (e == QK_JSON_ERROR) return r->err->status;
    if (e != QK_JSON_ARRAY_END) return qk_json_fail(r, "model.merges: a merge is expected here");
    return settle(r, b);
}

qk_status qk_read_bpe_merges(qk_json_reader *r, qk_json_event first, qk_bpe *bpe)
{
    if (first != QK_JSON_ARRAY)
        return first == QK_JSON_ERROR ? r->err->status
                                      : qk_json_fail(r, "model.merges: an array is expected here");
    merge_batch batch = {.bpe = bpe, .joined = -1};
    qk_status s = read_list(r, &batch);
    if (s == QK_OK && !qk_bpe_set_merges(bpe, batch.merges, batch.rank))
        s = qk_json_fail(r, "model.merges: %s", QK_CROWDED);
    free(batch.merges);
    qk_buf_free(&batch.text);
    return s;
}
