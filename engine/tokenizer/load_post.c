/* The post-processor: the ids around those of a text. Templates for pairs of texts are ignored. See
 * load.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/class_rules.h"
#include "engine/tokenizer/load.h"

enum { MAX_AROUND = 1024 };

static bool has_token(const qk_tokenizer *tok, int64_t id)
{
    return qk_vocab_text(&tok->bpe.vocab, id, NULL) || qk_vocab_text(&tok->added_ids, id, NULL);
}

static void add_id(qk_id_array *list, int64_t id)
{
    QK_GROW(list->items, list->count, list->capacity);
    list->items[list->count++] = (int32_t)id;
}

/* Appends the ids that a template's special token stands for. */
static qk_status add_special(qk_loader *l, const qk_json *specials, const qk_json *name,
                             const char *where, qk_id_array *out)
{
    if (!name || name->type != QK_JSON_T_STRING)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL,
                       "%s: %s: a special token of the template has no \"id\"", l->path, where);
    const qk_json *entry = qk_json_get(specials, name->text), *ids = qk_json_get(entry, "ids");
    if (!ids || ids->type != QK_JSON_T_ARRAY)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL,
                       entry ? "%s: %s: \"%.60s\" in special_tokens has no \"ids\""
                             : "%s: %s: the template's \"%.60s\" is not in special_tokens",
                       l->path, where, name->text);
    for (const qk_json *id = ids->first; id; id = id->next) {
        if (!id->is_integer || !has_token(l->tok, id->integer))
            return qk_loader_refuse(l, where, "%.*s, an id of \"%.60s\", is no token",
                                    (int)(id->length < 40 ? id->length : 40),
                                    id->text ? id->text : "", name->text);
        if (out->count == MAX_AROUND)
            return qk_loader_refuse(l, where, "more than %d special tokens", MAX_AROUND);
        add_id(out, id->integer);
    }
    return QK_OK;
}

static void append(qk_id_array *list, const qk_id_array *more)
{
    for (size_t i = 0; i < more->count; i++) add_id(list, more->items[i]);
}

/* A later template goes around an earlier one. */
static void put_around(qk_tokenizer *tok, qk_id_array *before, qk_id_array *behind)
{
    append(before, &tok->before);
    append(&tok->behind, behind);
    qk_id_array old = tok->before;
    tok->before = *before;
    *before = old;
}

static qk_status read_template(qk_loader *l, const qk_json *node, const char *where,
                               qk_id_array *before, qk_id_array *behind)
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

/* {"cls": ["<s>", 0], "sep": ["</s>", 2]}: one id each, before and behind. */
static qk_status load_pair(qk_loader *l, const qk_json *node, const char *where)
{
    static const char *const names[2] = {"cls", "sep"};
    qk_id_array around[2] = {0};
    qk_status s = QK_OK;
    for (int i = 0; s == QK_OK && i < 2; i++) {
        const qk_json *pair = qk_json_get(node, names[i]);
        const qk_json *id =
            pair && pair->type == QK_JSON_T_ARRAY && pair->count == 2 ? pair->first->next : NULL;
        if (!id || !id->is_integer || !has_token(l->tok, id->integer))
            s = qk_loader_refuse(l, where, "\"%s\" is not [\"token\", its id]", names[i]);
        else
            add_id(&around[i], id->integer);
    }
    if (s == QK_OK) put_around(l->tok, &around[0], &around[1]);
    free(around[0].items);
    free(around[1].items);
    return s;
}

static qk_status load_processor(qk_loader *l, const qk_json *node, const char *where)
{
    const qk_json *type = qk_json_get(node, "type");
    if (qk_json_is_string(type, "ByteLevel")) return QK_OK; /* moves offsets, not ids */
    if (qk_json_is_string(type, "TemplateProcessing")) {
        qk_id_array before = {0}, behind = {0};
        qk_status s = read_template(l, node, where, &before, &behind);
        if (s == QK_OK) put_around(l->tok, &before, &behind);
        free(before.items);
        free(behind.items);
        return s;
    }
    if (qk_json_is_string(type, "RobertaProcessing") || qk_json_is_string(type, "BertProcessing"))
        return load_pair(l, node, where);
    return qk_loader_refuse(l, where, "type \"%.40s\" is not supported",
                            type && type->type == QK_JSON_T_STRING ? type->text : "");
}

/* A class's own template: BOS in front. */
static qk_status add_bos(qk_loader *l)
{
    const qk_token_spec *bos = &l->specials.names.items[QK_BOS];
    int32_t id = -1;
    if (bos->text) id = qk_vocab_find(&l->tok->added_ids, bos->text, bos->length);
    if (id < 0 || strpbrk(bos->text, " :$")) /* these mean something in a template */
        return qk_loader_refuse(l, "bos_token", "%s puts it in front, and cannot: \"%.60s\"",
                                l->rule->name, bos->text ? bos->text : "");
    add_id(&l->tok->before, id);
    return QK_OK;
}

qk_status qk_load_post_processor(qk_loader *l, const qk_json *node)
{
    if (l->rule && l->rule->add_bos) return add_bos(l);
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
