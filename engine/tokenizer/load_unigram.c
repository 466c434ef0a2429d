/* A Unigram model: [["token", score], ...], where the index is the id. See load.h. */
#include <math.h>

#include "engine/tokenizer/load.h"
#include "engine/tokenizer/unigram.h"

static qk_status expect(qk_json_reader *r, qk_json_event got, qk_json_event wanted, size_t i)
{
    if (got == wanted) return QK_OK;
    if (got == QK_JSON_ERROR) return r->err->status;
    return qk_json_fail(r, "model.vocab[%zu]: a token and its score are expected here", i);
}

qk_status qk_read_unigram_vocab(qk_json_reader *r, qk_json_event first, qk_tokenizer *tok)
{
    qk_json_event e = first;
    if (e != QK_JSON_ARRAY)
        return e == QK_JSON_ERROR ? r->err->status
                                  : qk_json_fail(r, "model.vocab: an array is expected here");
    tok->unigram = qk_arena_alloc(&tok->arena, 1, sizeof *tok->unigram);
    for (size_t i = 0; (e = qk_json_next(r)) != QK_JSON_ARRAY_END; i++) {
        QK_TRY(expect(r, e, QK_JSON_ARRAY, i));
        QK_TRY(expect(r, qk_json_next(r), QK_JSON_STRING, i));
        if (i > QK_MAX_TOKEN_ID)
            return qk_json_fail(r, "model.vocab: more than %d tokens", QK_MAX_TOKEN_ID);
        bool added = qk_vocab_add(&tok->bpe.vocab, r->text, r->length, (int64_t)i);
        if (tok->bpe.vocab.crowded) return qk_json_fail(r, "model.vocab: %s", QK_CROWDED);
        if (!added)
            return qk_json_fail(r, "model.vocab[%zu]: token \"%.*s\" is given twice", i,
                                (int)(r->length < 60 ? r->length : 60), r->text);
        QK_TRY(expect(r, qk_json_next(r), QK_JSON_NUMBER, i));
        double score = qk_unigram_parse_score(r->text, r->length);
        if (!isfinite(score))
            return qk_json_fail(r, "model.vocab[%zu]: the score is not finite", i);
        qk_unigram_add_score(tok->unigram, score);
        QK_TRY(expect(r, qk_json_next(r), QK_JSON_ARRAY_END, i));
    }
    return QK_OK;
}

qk_status qk_load_unigram(qk_loader *l, const qk_json *unknown, const qk_json *fallback)
{
    qk_tokenizer *tok = l->tok;
    if (fallback && fallback->type != QK_JSON_T_BOOL && fallback->type != QK_JSON_T_NULL)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL,
                       "%s: model.byte_fallback: true or false expected, found %s", l->path,
                       qk_json_type_name(fallback));
    if (!unknown || unknown->type == QK_JSON_T_NULL)
        return qk_loader_refuse(l, "model.unk_id",
                                "without it some texts are an error in the reference");
    if (!unknown->is_integer)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: model.unk_id: an integer is expected",
                       l->path);
    if (unknown->integer < 0 || (uint64_t)unknown->integer >= tok->unigram->count)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL,
                       "%s: model.unk_id: %lld is no id of the vocabulary, which has %zu tokens",
                       l->path, (long long)unknown->integer, tok->unigram->count);
    tok->unigram->unk = (int32_t)unknown->integer;
    tok->unigram->byte_fallback = fallback && fallback->type == QK_JSON_T_BOOL && fallback->boolean;
    if (qk_vocab_is_spread(&tok->bpe.vocab) && qk_unigram_finish(tok->unigram, &tok->bpe.vocab))
        return QK_OK;
    return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: model.vocab: %s", l->path, QK_CROWDED);
}
