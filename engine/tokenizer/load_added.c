/* Added tokens and the post-processor. See load.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/load.h"

/* ---- added tokens ---- */

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
    qk_status s = qk_normalize(&l->tok->normalizer, &memory, &text, &length, l->err);
    if (s == QK_OK && (!length || length > QK_MAX_ADDED_LENGTH))
        s = qk_loader_refuse(l, where, "a normalised length of %zu bytes", length);
    if (s == QK_OK) qk_added_add(&l->tok->normalized, text, length, token);
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
    bool single_word = false, normalized = false;
    int64_t expected = next_id(l->tok, content);
    qk_added_token token = {.id = (int32_t)expected};
    QK_TRY(qk_loader_bool(l, item, where, "single_word", true, &single_word));
    QK_TRY(qk_loader_bool(l, item, where, "normalized", true, &normalized));
    QK_TRY(qk_loader_bool(l, item, where, "lstrip", true, &token.lstrip));
    QK_TRY(qk_loader_bool(l, item, where, "rstrip", true, &token.rstrip));
    if (single_word) return qk_loader_refuse(l, where, "single_word is not supported");
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

/* ---- post-processor ---- */

enum { MAX_AROUND = 1024 };

static bool has_token(const qk_tokenizer *tok, int64_t id)
{
    return qk_vocab_text(&tok->bpe.vocab, id, NULL) || qk_vocab_text(&tok->added_ids, id, NULL);
}

static void add_id(qk_id_list *list, int64_t id)
{
    QK_GROW(list->items, list->count, list->capacity);
    list->items[list->count++] = (int32_t)id;
}

/* Appends the ids that a template's special token stands for. */
static qk_status add_special(qk_loader *l, const qk_json *specials, const qk_json *name,
                             const char *where, qk_id_list *out)
{
    const qk_json *ids = NULL;
    if (name && name->type == QK_JSON_T_STRING)
        ids = qk_json_get(qk_json_get(specials, name->text), "ids");
    if (!ids || ids->type != QK_JSON_T_ARRAY)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL,
                       "%s: %s: a special token of the template has no \"ids\"", l->path, where);
    for (const qk_json *id = ids->first; id; id = id->next) {
        if (!id->is_integer || !has_token(l->tok, id->integer))
            return qk_loader_refuse(l, where, "an id in special_tokens is no token");
        if (out->count == MAX_AROUND)
            return qk_loader_refuse(l, where, "more than %d special tokens", MAX_AROUND);
        add_id(out, id->integer);
    }
    return QK_OK;
}

static void append(qk_id_list *list, const qk_id_list *more)
{
    for (size_t i = 0; i < more->count; i++) add_id(list, more->items[i]);
}

/* A later template goes around an earlier one. */
static void put_around(qk_tokenizer *tok, qk_id_list *before, qk_id_list *behind)
{
    append(before, &tok->before);
    append(&tok->behind, behind);
    qk_id_list old = tok->before;
    tok->before = *before;
    *before = old;
}

static qk_status read_template(qk_loader *l, const qk_json *node, const char *where,
                               qk_id_list *before, qk_id_list *behind)
{
    const qk_json *specials = qk_json_get(node, "special_tokens");
    const qk_json *single = qk_json_get(node, "single");
    bool text = false;
    if (!single || single->type != QK_JSON_T_ARRAY)
        return qk_loader_refuse(l, where, "\"single\" is no list");
    for (const qk_json *item = single->first; item; item = item->next) {
        const qk_json *special = qk_json_get(item, "SpecialToken");
        const qk_json *sequence = qk_json_get(item, "Sequence");
        if (special)
            QK_TRY(add_special(l, specials, qk_json_get(special, "id"), where,
                               text ? behind : before));
        else if (!text && qk_json_is_string(qk_json_get(sequence, "id"), "A"))
            text = true;
        else
            return qk_loader_refuse(l, where, "this \"single\" template is not supported");
    }
    return text ? QK_OK : qk_loader_refuse(l, where, "the \"single\" template has no Sequence A");
}

static qk_status load_template(qk_loader *l, const qk_json *node, const char *where)
{
    qk_id_list before = {0}, behind = {0};
    qk_status s = read_template(l, node, where, &before, &behind);
    if (s == QK_OK) put_around(l->tok, &before, &behind);
    free(before.items);
    free(behind.items);
    return s;
}

static qk_status load_processor(qk_loader *l, const qk_json *node, const char *where)
{
    const qk_json *type = qk_json_get(node, "type");
    if (qk_json_is_string(type, "ByteLevel")) return QK_OK; /* moves offsets, not ids */
    if (qk_json_is_string(type, "TemplateProcessing")) return load_template(l, node, where);
    return qk_loader_refuse(l, where, "type \"%.40s\" is not supported",
                            type && type->type == QK_JSON_T_STRING ? type->text : "");
}

qk_status qk_load_post_processor(qk_loader *l, const qk_json *node)
{
    if (!node || node->type == QK_JSON_T_NULL) return QK_OK;
    if (!qk_json_is_string(qk_json_get(node, "type"), "Sequence"))
        return load_processor(l, node, "post_processor");
    const qk_json *list = qk_json_get(node, "processors");
    if (!list || list->type != QK_JSON_T_ARRAY)
        return qk_loader_refuse(l, "post_processor", "\"processors\" is no list");
    size_t i = 0;
    for (const qk_json *item = list->first; item; item = item->next, i++) {
        char where[64];
        snprintf(where, sizeof where, "post_processor.processors[%zu]", i);
        QK_TRY(load_processor(l, item, where));
    }
    return QK_OK;
}
