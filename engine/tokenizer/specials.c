/* Special tokens (token_specs.h): what the classes' __init__ in transformers 5.1.0 make of their
 * arguments. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/class_rules.h"
#include "engine/tokenizer/load.h"
#include "engine/tokenizer/special_args.h"

static qk_token_spec string_token(const char *key, const char *text)
{
    return (qk_token_spec){.id = -1,
                           .key = key,
                           .key_length = strlen(key),
                           .text = text,
                           .length = text ? strlen(text) : 0,
                           .is_string = true};
}

/* ---- names ---- */

/* A token of the decoder with this content, the last one that was read, takes its place. */
static void find_in_decoder(const qk_token_specs *decoder, qk_token_spec *token)
{
    for (size_t i = decoder->count; token->text && i-- > 0;) {
        const qk_token_spec *t = &decoder->items[i];
        if (t->length != token->length || memcmp(t->text, token->text, t->length) != 0) continue;
        const char *key = token->key;
        size_t key_length = token->key_length;
        *token = *t;
        token->key = key;
        token->key_length = key_length;
        return;
    }
}

static qk_status named_tokens(const qk_special_args *args, const char *padding)
{
    qk_specials *out = &args->l->specials;
    const qk_class_rule *rule = args->l->rule;
    for (int i = 0; i < QK_NAMED; i++) {
        const qk_special_arg *a = qk_special_arg_find(args, qk_named_tokens[i]);
        const char *text = rule ? rule->named[i] : i == QK_PAD ? padding : NULL;
        qk_token_spec token = string_token(qk_named_tokens[i], text);
        if (a) QK_TRY(qk_special_arg_token(args->l, a, a->value, &token));
        if (a) find_in_decoder(&out->decoder, &token);
        qk_token_specs_add(&out->names, token);
    }
    const qk_token_spec *unk = &out->names.items[QK_UNK];
    out->unk = unk->text;
    out->unk_length = unk->length;
    return QK_OK;
}

static bool has_key(const qk_token_specs *specs, const qk_special_arg *a)
{
    for (size_t i = 0; i < specs->count; i++)
        if (specs->items[i].key_length == a->key_length &&
            !memcmp(specs->items[i].key, a->key, a->key_length))
            return true;
    return false;
}

/* Keys that end in _token and are still arguments: first those that the class itself has, each with
 * its default. */
static qk_status other_names(const qk_special_args *args, qk_token_specs *own, qk_token_specs *out)
{
    const qk_class_rule *rule = args->l->rule;
    for (const qk_class_name *n = rule ? rule->others : NULL; n && n->key; n++) {
        const qk_special_arg *a = qk_special_arg_find(args, n->key);
        qk_token_spec token = string_token(n->key, n->text);
        if (a) QK_TRY(qk_special_arg_token(args->l, a, a->value, &token));
        if (token.text) qk_token_specs_add(own, token);
    }
    for (size_t i = 0; i < own->count; i++) qk_token_specs_add(out, own->items[i]);
    for (size_t i = 0; i < args->count; i++) {
        const qk_special_arg *a = &args->items[i];
        bool token = a->value && qk_ends_in_token(a->key, a->key_length) &&
                     !qk_is_named_token(a->key, a->key_length) && !has_key(own, a);
        if (!token || (a->value->type != QK_JSON_T_STRING && !qk_is_typed_token(a->value) &&
                       !(a->of_map && a->value->type == QK_JSON_T_OBJECT)))
            continue;
        qk_token_spec t;
        QK_TRY(qk_special_arg_token(args->l, a, a->value, &t));
        qk_token_specs_add(out, t);
    }
    return QK_OK;
}

/* ---- the whole ---- */

static int by_id(const void *a, const void *b)
{
    const qk_token_spec *x = a, *y = b;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return x->key_length < y->key_length ? -1 : x->key_length > y->key_length;
}

/* By id; of equal ids the last one stays. For this, key_length is a token's index. */
static void sort_decoder(qk_token_specs *specs)
{
    size_t kept = 0;
    for (size_t i = 0; i < specs->count; i++) specs->items[i].key_length = i;
    if (specs->count) qsort(specs->items, specs->count, sizeof *specs->items, by_id);
    for (size_t i = 0; i < specs->count; i++) {
        if (kept && specs->items[kept - 1].id == specs->items[i].id) kept--;
        specs->items[kept++] = specs->items[i];
    }
    specs->count = kept;
}

static qk_status resolve(const qk_special_args *args, const char *padding, qk_token_specs *own)
{
    qk_specials *out = &args->l->specials;
    QK_TRY(named_tokens(args, padding));
    sort_decoder(&out->decoder);
    qk_token_specs others = {0};
    qk_status s = other_names(args, own, &others);
    for (size_t i = 0; s == QK_OK && i < others.count; i++)
        qk_token_specs_add(&out->names, others.items[i]);
    free(others.items);
    QK_TRY(s);
    for (size_t i = 0; i < args->own.count; i++)
        qk_token_specs_set(&out->names, args->own.items[i]);
    if (args->has_map_extras) return QK_OK;
    const qk_special_arg *extra = qk_special_arg_find(args, "extra_special_tokens");
    if (extra) return qk_special_arg_extras(args->l, extra);
    const qk_special_arg *additional = qk_special_arg_find(args, "additional_special_tokens");
    if (additional) QK_TRY(qk_special_arg_extras(args->l, additional));
    for (size_t i = 0; i < own->count; i++) qk_token_specs_add(&out->extras, own->items[i]);
    return QK_OK;
}

qk_status qk_load_specials(qk_loader *l, const char *padding)
{
    qk_special_args args;
    qk_token_specs own = {0}; /* of the class */
    qk_status s = qk_special_args_read(&args, l);
    if (s == QK_OK) s = resolve(&args, padding, &own);
    free(own.items);
    qk_special_args_free(&args);
    return s;
}
