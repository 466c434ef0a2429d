/* The model: its type, its flags, and when its tables are read. See load.h. */
#include "engine/tokenizer/load.h"

enum { MAX_AFFIX = 64 };

/* ---- flags ---- */

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

/* ---- the whole ---- */

enum { TYPE, DROPOUT, PREFIX, SUFFIX, UNK, UNK_ID, FUSE, FALLBACK, IGNORE, SCALARS };
enum { VOCAB = SCALARS, MERGES, MEMBERS };

typedef struct model_parts {
    qk_span spans[MEMBERS];
    const qk_json *values[SCALARS];
    bool has_vocab, has_merges; /* in the tables already */
} model_parts;

static qk_status set_prefix(qk_loader *l, const model_parts *m)
{
    qk_bpe *bpe = &l->tok->bpe;
    return set_affix(l, m->values[PREFIX], "model.continuing_subword_prefix", &bpe->prefix,
                     &bpe->prefix_length);
}

/* A table is read where it stands if what it needs to know stands before it, as it always does in
 * files that the library wrote. Small members become trees. */
static qk_status read_member(qk_loader *l, qk_json_reader *r, qk_json_event first, int i,
                             void *context, bool *done)
{
    model_parts *m = context;
    if (i == VOCAB) {
        bool bpe = qk_json_is_string(m->values[TYPE], "BPE");
        *done = m->has_vocab = bpe || qk_json_is_string(m->values[TYPE], "Unigram");
        if (!*done) return QK_OK;
        return bpe ? qk_read_bpe_vocab(r, first, &l->tok->bpe.vocab)
                   : qk_read_unigram_vocab(r, first, l->tok);
    }
    if (i == MERGES) {
        *done = m->has_merges =
            m->has_vocab && m->values[PREFIX] && qk_json_is_string(m->values[TYPE], "BPE");
        if (!*done) return QK_OK;
        QK_TRY(set_prefix(l, m));
        return qk_read_bpe_merges(r, first, &l->tok->bpe);
    }
    size_t begin = r->offset;
    if (!qk_json_skip(r, first)) return r->err->status;
    *done = true;
    return qk_loader_tree(l, (qk_span){begin, (size_t)(r->at - r->begin)}, &m->values[i]);
}

/* The tables that were passed over. */
static qk_status read_late(qk_loader *l, const model_parts *m)
{
    qk_tokenizer *tok = l->tok;
    bool is_unigram = qk_json_is_string(m->values[TYPE], "Unigram");
    qk_json_reader r;
    qk_status s = QK_OK;
    qk_loader_open(l, &r, m->spans[VOCAB]);
    if (!m->has_vocab)
        s = is_unigram ? qk_read_unigram_vocab(&r, qk_json_next(&r), tok)
                       : qk_read_bpe_vocab(&r, qk_json_next(&r), &tok->bpe.vocab);
    qk_json_close(&r);
    QK_TRY(s);
    if (is_unigram) return QK_OK;
    if (!tok->bpe.vocab.count)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: model.vocab is empty", l->path);
    qk_loader_open(l, &r, m->spans[MERGES]);
    if (!m->has_merges) s = qk_read_bpe_merges(&r, qk_json_next(&r), &tok->bpe);
    qk_json_close(&r);
    return s;
}

static qk_status load_bpe(qk_loader *l, model_parts *m)
{
    qk_bpe *bpe = &l->tok->bpe;
    const qk_json *type = m->values[TYPE], *dropout = m->values[DROPOUT];
    if (!qk_json_is_string(type, "BPE") && (type || !m->spans[MERGES].end))
        return qk_loader_refuse(l, "model.type", "\"%s\" is not supported; BPE and Unigram are",
                                type && type->type == QK_JSON_T_STRING ? type->text
                                                                       : qk_json_type_name(type));
    if (dropout && dropout->type != QK_JSON_T_NULL &&
        !(dropout->type == QK_JSON_T_NUMBER && dropout->number == 0))
        return qk_loader_refuse(l, "model.dropout", "only null is supported");
    QK_TRY(set_prefix(l, m));
    QK_TRY(set_affix(l, m->values[SUFFIX], "model.end_of_word_suffix", &bpe->suffix,
                     &bpe->suffix_length));
    if (!m->spans[VOCAB].end || !m->spans[MERGES].end)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: model.%s is missing", l->path,
                       m->spans[VOCAB].end ? "merges" : "vocab");
    QK_TRY(read_late(l, m));
    QK_TRY(set_unknown(l, m->values[UNK]));
    QK_TRY(set_flag(l, m->values[FUSE], "model.fuse_unk", &bpe->fuse_unk));
    QK_TRY(set_flag(l, m->values[FALLBACK], "model.byte_fallback", &bpe->byte_fallback));
    return set_flag(l, m->values[IGNORE], "model.ignore_merges", &bpe->ignore_merges);
}

qk_status qk_load_model(qk_loader *l, qk_json_reader *r, qk_json_event first)
{
    static const char *const names[MEMBERS] = {"type",
                                               "dropout",
                                               "continuing_subword_prefix",
                                               "end_of_word_suffix",
                                               "unk_token",
                                               "unk_id",
                                               "fuse_unk",
                                               "byte_fallback",
                                               "ignore_merges",
                                               "vocab",
                                               "merges"};
    model_parts m = {0};
    QK_TRY(qk_loader_members(l, r, first, names, m.spans, MEMBERS, read_member, &m));
    if (!qk_json_is_string(m.values[TYPE], "Unigram")) return load_bpe(l, &m);
    if (!m.spans[VOCAB].end)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: model.vocab is missing", l->path);
    QK_TRY(read_late(l, &m));
    return qk_load_unigram(l, m.values[UNK_ID], m.values[FALLBACK]);
}
