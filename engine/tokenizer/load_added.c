/* Added tokens. See load.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/load.h"

/* The library gives ids itself: the vocabulary's, else one more than the largest so far. */
static int64_t next_id(const qk_tokenizer *tok, const qk_json *content)
{
    int32_t id = qk_vocab_find(&tok->bpe.vocab, content->text, content->length);
    if (id >= 0) return id;
    size_t count = tok->bpe.vocab.count, size = tok->added_ids.size;
    return (int64_t)(size > count ? size : count);
}

static qk_status match_added(qk_loader *l, const char *where, const qk_json *content,
                             qk_added_token token, bool normalized)
{
    const uint8_t *text = (const uint8_t *)content->text;
    size_t length = content->length;
    if (!normalized) {
        qk_added_add(&l->tok->added, text, length, token);
        return QK_OK;
    }
    qk_norm_memory memory = {0};
    qk_view view = {text, length, NULL};
    qk_status s = qk_normalize(&l->tok->normalizer, &memory, &view, l->err);
    if (s == QK_OK && (!view.length || view.length > QK_MAX_ADDED_LENGTH))
        s = qk_loader_refuse(l, where, "a normalised length of %zu bytes", view.length);
    if (s == QK_OK && !qk_added_add(&l->tok->normalized, view.text, view.length, token))
        s = qk_loader_refuse(l, where,
                             "another token normalises to the same text; which one the library "
                             "finds is left to chance");
    qk_norm_memory_free(&memory);
    return s;
}

static qk_status load_token(qk_loader *l, const qk_json *item, const char *where)
{
    const qk_json *content = qk_json_get(item, "content"), *id = qk_json_get(item, "id");
    if (!content || content->type != QK_JSON_T_STRING || !id || !id->is_integer)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL,
                       "%s: %s: \"content\" (a string) or \"id\" is missing", l->path, where);
    if (!content->length || content->length > QK_MAX_ADDED_LENGTH)
        return qk_loader_refuse(l, where, "a token of %zu bytes; 1 to %d are supported",
                                content->length, QK_MAX_ADDED_LENGTH);
    bool normalized = false;
    int64_t expected = next_id(l->tok, content);
    qk_added_token token = {.id = (int32_t)expected};
    QK_TRY(qk_loader_bool(l, item, where, "single_word", true, &token.single_word));
    QK_TRY(qk_loader_bool(l, item, where, "normalized", true, &normalized));
    QK_TRY(qk_loader_bool(l, item, where, "lstrip", true, &token.lstrip));
    QK_TRY(qk_loader_bool(l, item, where, "rstrip", true, &token.rstrip));
    if (id->integer != expected)
        return qk_loader_refuse(l, where, "token \"%.60s\" has id %lld, the library gives it %lld",
                                content->text, (long long)id->integer, (long long)expected);
    if (!qk_vocab_add(&l->tok->added_ids, content->text, content->length, expected))
        return qk_loader_refuse(l, where, "token \"%.60s\" or its id %lld is given twice",
                                content->text, (long long)expected);
    return match_added(l, where, content, token, normalized);
}

qk_status qk_load_added(qk_loader *l, const qk_json *node)
{
    if (!node || node->type == QK_JSON_T_NULL) return QK_OK;
    if (node->type != QK_JSON_T_ARRAY)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: added_tokens: an array expected, found %s",
                       l->path, qk_json_type_name(node));
    size_t i = 0;
    for (const qk_json *item = node->first; item; item = item->next, i++) {
        char where[64];
        snprintf(where, sizeof where, "added_tokens[%zu]", i);
        QK_TRY(load_token(l, item, where));
    }
    return QK_OK;
}
