/* A BPE model: flags, vocabulary and merges. See load.h.
 *
 * Vocabulary and merges have up to a million entries; they go from the JSON reader straight into
 * the tables. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/load.h"

enum { MAX_MERGES = 1 << 24, MAX_AFFIX = 64 };

static qk_status check_type(qk_loader *l, const qk_json *type, bool has_merges)
{
    if (qk_json_is_string(type, "BPE") || (!type && has_merges)) return QK_OK;
    return qk_loader_refuse(l, "model.type", "\"%s\" is not supported; BPE and Unigram are",
                            type && type->type == QK_JSON_T_STRING ? type->text
                                                                   : qk_json_type_name(type));
}

/* ---- vocabulary ---- */

static qk_status read_token(qk_json_reader *r, qk_vocab *vocab, qk_buf *key)
{
    qk_buf_clear(key);
    qk_buf_add(key, r->text, r->length);
    int64_t id;
    bool is_integer = false;
    qk_json_event e = qk_json_next(r);
    if (e == QK_JSON_ERROR) return r->err->status;
    if (e == QK_JSON_NUMBER) qk_json_number(r->text, r->length, &is_integer, &id);
    if (!is_integer || id < 0) return qk_json_fail(r, "model.vocab: a token id is expected here");
    if (id > QK_MAX_TOKEN_ID)
        return qk_json_fail(r, "model.vocab: token id %lld is beyond %d", (long long)id,
                            QK_MAX_TOKEN_ID);
    const char *text = qk_buf_str(key);
    if (!qk_vocab_add(vocab, text, key->size, id))
        return qk_json_fail(r, "model.vocab: token \"%.60s\" or its id %lld is given twice", text,
                            (long long)id);
    return QK_OK;
}

static qk_status read_vocab(qk_json_reader *r, qk_bpe *bpe)
{
    qk_json_event e = qk_json_next(r);
    if (e != QK_JSON_OBJECT)
        return e == QK_JSON_ERROR ? r->err->status
                                  : qk_json_fail(r, "model.vocab: an object is expected here");
    qk_buf key = {0};
    qk_status s = QK_OK;
    while (s == QK_OK && (e = qk_json_next(r)) == QK_JSON_KEY) s = read_token(r, &bpe->vocab, &key);
    qk_buf_free(&key);
    return s != QK_OK ? s : e == QK_JSON_ERROR ? r->err->status : QK_OK;
}

/* ---- merges ---- */

typedef struct merge_text {
    qk_buf left, joined; /* joined: left and right together */
} merge_text;

/* "left right" with exactly one space. */
static qk_status split_string(qk_json_reader *r, merge_text *m)
{
    const char *space = memchr(r->text, ' ', r->length);
    size_t left = space ? (size_t)(space - r->text) : 0, right = r->length - left - 1;
    if (!space || memchr(space + 1, ' ', right))
        return qk_json_fail(r, "model.merges: a merge is two tokens with one space between them");
    qk_buf_add(&m->left, r->text, left);
    qk_buf_add(&m->joined, r->text, left);
    qk_buf_add(&m->joined, space + 1, right);
    return QK_OK;
}

static qk_status read_pair(qk_json_reader *r, merge_text *m)
{
    for (int i = 0; i < 2; i++) {
        qk_json_event e = qk_json_next(r);
        if (e == QK_JSON_ERROR) return r->err->status;
        if (e != QK_JSON_STRING) return qk_json_fail(r, "model.merges: a merge is two tokens");
        if (i == 0) qk_buf_add(&m->left, r->text, r->length);
        qk_buf_add(&m->joined, r->text, r->length);
    }
    qk_json_event e = qk_json_next(r);
    if (e == QK_JSON_ARRAY_END) return QK_OK;
    return e == QK_JSON_ERROR ? r->err->status
                              : qk_json_fail(r, "model.merges: a merge is two tokens");
}

/* Joining drops the prefix of the right token. */
static int32_t find_joined(const qk_bpe *bpe, merge_text *m)
{
    size_t left = m->left.size, right = m->joined.size - left, drop = bpe->prefix_length;
    if (drop && drop >= right) return -1;
    if (drop) memmove(m->joined.data + left, m->joined.data + left + drop, right - drop);
    return qk_vocab_find(&bpe->vocab, m->joined.data, left + right - drop);
}

static qk_status not_in_vocab(qk_json_reader *r, uint32_t rank, const char *what, const void *token,
                              size_t n)
{
    return qk_json_fail(r, "model.merges[%u]: %s \"%.*s\" is not in model.vocab", rank, what,
                        (int)(n < 60 ? n : 60), (const char *)token);
}

static qk_status add_merge(qk_json_reader *r, qk_bpe *bpe, merge_text *m, uint32_t rank)
{
    const qk_vocab *v = &bpe->vocab;
    size_t n = m->left.size, n_right = m->joined.size - n;
    int32_t left = qk_vocab_find(v, m->left.data, n);
    if (left < 0) return not_in_vocab(r, rank, "its token", m->left.data, n);
    int32_t right = qk_vocab_find(v, m->joined.data + n, n_right);
    if (right < 0) return not_in_vocab(r, rank, "its token", m->joined.data + n, n_right);
    int32_t joined = find_joined(bpe, m);
    if (joined < 0) return not_in_vocab(r, rank, "its result", m->joined.data, m->joined.size);
    qk_bpe_add_merge(bpe, left, right, joined, rank);
    return QK_OK;
}

static qk_status read_merges(qk_json_reader *r, qk_bpe *bpe, merge_text *m)
{
    qk_json_event e = qk_json_next(r);
    if (e != QK_JSON_ARRAY)
        return e == QK_JSON_ERROR ? r->err->status
                                  : qk_json_fail(r, "model.merges: an array is expected here");
    uint32_t rank = 0;
    qk_json_event form = QK_JSON_DONE;
    while ((e = qk_json_next(r)) == QK_JSON_STRING || e == QK_JSON_ARRAY) {
        if (form == QK_JSON_DONE) form = e;
        if (e != form)
            return qk_json_fail(r, "model.merges[%u]: %s, while those before it are %s", rank,
                                e == QK_JSON_STRING ? "one text" : "a pair",
                                e == QK_JSON_STRING ? "pairs" : "texts");
        if (rank == MAX_MERGES)
            return qk_json_fail(r, "model.merges: more than %d merges", MAX_MERGES);
        qk_buf_clear(&m->left);
        qk_buf_clear(&m->joined);
        if (e == QK_JSON_STRING && r->length >= 8 && !memcmp(r->text, "#version", 8)) continue;
        QK_TRY(e == QK_JSON_STRING ? split_string(r, m) : read_pair(r, m));
        QK_TRY(add_merge(r, bpe, m, rank++));
    }
    if (e == QK_JSON_ARRAY_END) return QK_OK;
    return e == QK_JSON_ERROR ? r->err->status
                              : qk_json_fail(r, "model.merges: a merge is expected here");
}

static qk_status read_tables(qk_loader *l, qk_span vocab, qk_span merges)
{
    qk_bpe *bpe = &l->tok->bpe;
    qk_json_reader r;
    qk_json_open(&r, l->text, l->size, l->path, l->err);
    r.at += vocab.begin;
    qk_status s = read_vocab(&r, bpe);
    qk_json_close(&r);
    QK_TRY(s);
    if (!bpe->vocab.count)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: model.vocab is empty", l->path);
    merge_text m = {0};
    qk_json_open(&r, l->text, l->size, l->path, l->err);
    r.at += merges.begin;
    s = read_merges(&r, bpe, &m);
    qk_json_close(&r);
    qk_buf_free(&m.left);
    qk_buf_free(&m.joined);
    return s;
}

/* ---- flags ---- */

/* A member that must be absent, null or 0. */
static qk_status check_unused(qk_loader *l, const qk_json *value, const char *where)
{
    if (!value || value->type == QK_JSON_T_NULL) return QK_OK;
    if (value->type == QK_JSON_T_NUMBER && value->number == 0) return QK_OK;
    return qk_loader_refuse(l, where, "only null is supported");
}

/* A prefix or suffix; absent or null: "". */
static qk_status set_affix(qk_loader *l, const qk_json *value, const char *where, const char **out,
                           size_t *length)
{
    *out = "";
    *length = 0;
    if (!value || value->type == QK_JSON_T_NULL) return QK_OK;
    if (value->type != QK_JSON_T_STRING || value->length > MAX_AFFIX)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL,
                       "%s: %s: a string of at most %d bytes expected, found %s", l->path, where,
                       MAX_AFFIX, qk_json_type_name(value));
    *out = qk_arena_strndup(&l->tok->arena, value->text, value->length);
    *length = value->length;
    return QK_OK;
}

static qk_status set_unknown(qk_loader *l, const qk_json *value)
{
    qk_bpe *bpe = &l->tok->bpe;
    bpe->unk = -1;
    if (!value || value->type == QK_JSON_T_NULL) return QK_OK;
    if (value->type == QK_JSON_T_STRING)
        bpe->unk = qk_vocab_find(&bpe->vocab, value->text, value->length);
    if (bpe->unk < 0 && value->type == QK_JSON_T_STRING)
        return qk_loader_refuse(l, "model.unk_token", "\"%.60s\" is no token of the vocabulary",
                                value->text);
    if (bpe->unk < 0)
        return qk_loader_refuse(l, "model.unk_token", "a token is expected, found %s",
                                qk_json_type_name(value));
    return QK_OK;
}

static qk_status set_flag(qk_loader *l, const qk_json *value, const char *where, bool *out)
{
    *out = value && value->type == QK_JSON_T_BOOL && value->boolean;
    if (!value || value->type == QK_JSON_T_NULL || value->type == QK_JSON_T_BOOL) return QK_OK;
    return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: %s: true or false expected, found %s", l->path,
                   where, qk_json_type_name(value));
}

qk_status qk_load_model(qk_loader *l, qk_span model)
{
    enum { TYPE, DROPOUT, PREFIX, SUFFIX, UNK, FUSE, FALLBACK, IGNORE, SCALARS };
    enum { VOCAB = SCALARS, MERGES, MEMBERS };
    static const char *const names[MEMBERS] = {"type",
                                               "dropout",
                                               "continuing_subword_prefix",
                                               "end_of_word_suffix",
                                               "unk_token",
                                               "fuse_unk",
                                               "byte_fallback",
                                               "ignore_merges",
                                               "vocab",
                                               "merges"};
    qk_span spans[MEMBERS] = {0};
    const qk_json *values[SCALARS];
    qk_bpe *bpe = &l->tok->bpe;
    QK_TRY(qk_loader_members(l, model.begin, names, spans, MEMBERS));
    for (int i = 0; i < SCALARS; i++) QK_TRY(qk_loader_tree(l, spans[i], &values[i]));
    if (qk_json_is_string(values[TYPE], "Unigram")) return qk_load_unigram(l, model);
    QK_TRY(check_type(l, values[TYPE], spans[MERGES].end > 0));
    QK_TRY(check_unused(l, values[DROPOUT], "model.dropout"));
    QK_TRY(set_affix(l, values[PREFIX], "model.continuing_subword_prefix", &bpe->prefix,
                     &bpe->prefix_length));
    QK_TRY(set_affix(l, values[SUFFIX], "model.end_of_word_suffix", &bpe->suffix,
                     &bpe->suffix_length));
    if (!spans[VOCAB].end || !spans[MERGES].end)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: model.%s is missing", l->path,
                       spans[VOCAB].end ? "merges" : "vocab");
    l->big[0] = spans[VOCAB];
    l->big[1] = spans[MERGES];
    if (!l->has_tables) QK_TRY(read_tables(l, spans[VOCAB], spans[MERGES]));
    QK_TRY(set_unknown(l, values[UNK]));
    QK_TRY(set_flag(l, values[FUSE], "model.fuse_unk", &bpe->fuse_unk));
    QK_TRY(set_flag(l, values[FALLBACK], "model.byte_fallback", &bpe->byte_fallback));
    QK_TRY(set_flag(l, values[IGNORE], "model.ignore_merges", &bpe->ignore_merges));
    return QK_OK;
}
