/* See special_args.h. The steps are those of from_pretrained in transformers 5.1.0, in their order:
 * later ones overwrite earlier ones. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/class_rules.h"
#include "engine/tokenizer/load.h"
#include "engine/tokenizer/special_args.h"

#define CONFIG "tokenizer_config.json"
#define MAP "special_tokens_map.json"

static const char *file_of(const qk_special_arg *a)
{
    return a->of_map ? MAP : CONFIG;
}

static qk_status expected(qk_loader *l, const char *file, const char *where, const char *what,
                          const qk_json *found)
{
    return qk_side_refuse(l, file, "%.80s: %s expected, found %s", where, what,
                          qk_json_type_name(found));
}

/* ---- one token ---- */

/* AddedToken(**value): "content" and flags. */
static qk_status parse_token(qk_loader *l, const char *file, const char *where,
                             const qk_json *value, qk_token_spec *out)
{
    const qk_json *content = qk_json_get(value, "content");
    const struct {
        const char *name;
        bool *to;
    } flags[] = {{"single_word", &out->single_word},
                 {"lstrip", &out->lstrip},
                 {"rstrip", &out->rstrip},
                 {"normalized", &out->normalized},
                 {"special", &out->special}};
    if (!content || content->type != QK_JSON_T_STRING)
        return expected(l, file, where, "a token with \"content\"", content);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const qk_json *v = qk_json_get(value, flags[i].name);
        if (v && v->type != QK_JSON_T_BOOL)
            return expected(l, file, where, "true or false in every flag", v);
        if (v) *flags[i].to = v->boolean;
    }
    out->text = content->text;
    out->length = content->length;
    out->has_normalized = qk_json_get(value, "normalized") != NULL;
    return QK_OK;
}

qk_status qk_special_arg_token(qk_loader *l, const qk_special_arg *a, const qk_json *value,
                               qk_token_spec *out)
{
    *out = (qk_token_spec){.id = -1, .key = a->key, .key_length = a->key_length};
    if (value->type == QK_JSON_T_NULL) return QK_OK;
    if (value->type == QK_JSON_T_STRING) {
        out->text = value->text;
        out->length = value->length;
        out->is_string = true;
        return QK_OK;
    }
    bool of_map = a->of_map && value->type == QK_JSON_T_OBJECT;
    if (!qk_is_typed_token(value) && !of_map)
        return expected(l, file_of(a), a->key, "a string or an AddedToken (with \"__type\")",
                        value);
    if (of_map && qk_json_get(value, "special"))
        return qk_side_refuse(l, MAP, "%.80s: \"special\" cannot be given here", a->key);
    out->special = of_map;
    return parse_token(l, file_of(a), a->key, value, out);
}

void qk_token_specs_set(qk_token_specs *specs, qk_token_spec token)
{
    for (size_t i = 0; i < specs->count; i++) {
        qk_token_spec *t = &specs->items[i];
        if (t->key_length != token.key_length || memcmp(t->key, token.key, t->key_length) != 0)
            continue;
        *t = token;
        return;
    }
    qk_token_specs_add(specs, token);
}

qk_status qk_special_arg_extras(qk_loader *l, const qk_special_arg *a)
{
    const qk_json *list = a->value;
    if (list->type == QK_JSON_T_NULL) return QK_OK;
    if (list->type != QK_JSON_T_ARRAY)
        return expected(l, file_of(a), a->key, "a list of tokens", list);
    for (const qk_json *v = list->first; v; v = v->next) {
        qk_special_arg item = {a->key, a->key_length, v, false};
        qk_token_spec token;
        QK_TRY(qk_special_arg_token(l, &item, v, &token));
        if (!token.text) return expected(l, file_of(a), a->key, "a token", v);
        qk_token_specs_add(&l->specials.extras, token);
    }
    return QK_OK;
}

/* ---- the arguments ---- */

enum { MAX_NAMES = 1024 }; /* bounds the work: each name is compared with all others */

qk_special_arg *qk_special_arg_find(const qk_special_args *args, const char *key)
{
    for (size_t i = 0; i < args->count; i++)
        if (args->items[i].value &&
            qk_json_text_is(args->items[i].key, args->items[i].key_length, key))
            return &args->items[i];
    return NULL;
}

static qk_status check_count(qk_loader *l, const char *file, const qk_json *object)
{
    if (!object || object->count <= MAX_NAMES) return QK_OK;
    return qk_side_refuse(l, file, "%zu keys; at most %d are read", object->count, MAX_NAMES);
}

static qk_status take_config(qk_special_args *args)
{
    /* AutoTokenizer's, and what it takes out where there is a tokenizer.json */
    static const char *const unread[] = {"tokenizer_class", "init_inputs", "add_bos_token",
                                         "add_eos_token"};
    qk_loader *l = args->l;
    const qk_json *config = l->side.config, *map = l->side.map;
    QK_TRY(check_count(l, CONFIG, config));
    QK_TRY(check_count(l, MAP, map));
    size_t capacity = (config ? config->count : 0) + (map ? map->count : 0);
    args->items = qk_arena_alloc(&l->arena, capacity + 1, sizeof *args->items);
    for (const qk_json *v = config ? config->first : NULL; v; v = v->next) {
        bool read = true;
        for (size_t i = 0; i < sizeof unread / sizeof *unread; i++)
            if (qk_json_text_is(v->key, v->key_length, unread[i])) read = false;
        if (read) args->items[args->count++] = (qk_special_arg){v->key, v->key_length, v, false};
    }
    qk_special_arg *old = qk_special_arg_find(args, "additional_special_tokens");
    if (!old) return QK_OK;
    bool hidden = qk_special_arg_find(args, "extra_special_tokens") != NULL;
    old->key = "extra_special_tokens";
    old->key_length = strlen(old->key);
    if (hidden) old->value = NULL;
    return QK_OK;
}

/* An object of names and tokens. */
static qk_status take_own(qk_special_args *args, const qk_special_arg *from)
{
    QK_TRY(check_count(args->l, file_of(from), from->value));
    for (const qk_json *v = from->value->first; v; v = v->next) {
        qk_special_arg a = {v->key, v->key_length, v, false};
        qk_token_spec token;
        QK_TRY(qk_special_arg_token(args->l, &a, v, &token));
        if (!token.text || qk_json_text_is(v->key, v->key_length, "__type"))
            return expected(args->l, file_of(from), from->key, "an object of names and tokens", v);
        qk_token_specs_set(&args->own, token);
    }
    return QK_OK;
}

/* Strings under keys that end in _token, and an object of extra_special_tokens, come in place of
 * model_specific_special_tokens, if there are any. */
static qk_status take_names(qk_special_args *args)
{
    for (size_t i = 0; i < args->count; i++) {
        qk_special_arg *a = &args->items[i];
        if (!a->value || a->value->type != QK_JSON_T_STRING) continue;
        if (!qk_ends_in_token(a->key, a->key_length) || qk_is_named_token(a->key, a->key_length))
            continue;
        qk_token_spec token;
        QK_TRY(qk_special_arg_token(args->l, a, a->value, &token));
        qk_token_specs_set(&args->own, token);
        a->value = NULL;
    }
    qk_special_arg *extra = qk_special_arg_find(args, "extra_special_tokens");
    if (extra && extra->value->type == QK_JSON_T_OBJECT) {
        QK_TRY(take_own(args, extra));
        extra->value = NULL;
    }
    qk_special_arg *own = qk_special_arg_find(args, "model_specific_special_tokens");
    if (!own) return QK_OK;
    if (!args->own.count && own->value->type == QK_JSON_T_OBJECT)
        QK_TRY(take_own(args, own));
    else if (!args->own.count && own->value->type != QK_JSON_T_NULL)
        return expected(args->l, CONFIG, own->key, "an object", own->value);
    own->value = NULL;
    return QK_OK;
}

/* A list goes behind the one that is there; an object takes its place. */
static qk_status take_map_extras(qk_special_args *args, const qk_special_arg *a)
{
    qk_special_arg *there = qk_special_arg_find(args, "extra_special_tokens");
    bool list = a->value->type == QK_JSON_T_ARRAY;
    if (!list && a->value->type != QK_JSON_T_OBJECT)
        return expected(args->l, MAP, a->key, "a list or an object", a->value);
    if (there && list) QK_TRY(qk_special_arg_extras(args->l, there));
    if (there) there->value = NULL;
    args->config_extras = args->l->specials.extras.count;
    args->has_map_extras = list;
    if (!list) return take_own(args, a);
    for (const qk_json *v = a->value->first; v; v = v->next) {
        qk_token_spec token;
        QK_TRY(qk_special_arg_token(args->l, a, v, &token));
        if (!token.text) return expected(args->l, MAP, a->key, "a token", v);
        qk_token_specs_add(&args->l->specials.extras, token);
    }
    return QK_OK;
}

/* In the reference any key of this file becomes an argument; only tokens are supported. */
static qk_status take_map(qk_special_args *args)
{
    const qk_json *map = args->l->side.map;
    for (const qk_json *v = map ? map->first : NULL; v; v = v->next) {
        qk_special_arg a = {v->key, v->key_length, v, true};
        if (qk_json_text_is(v->key, v->key_length, "extra_special_tokens")) {
            QK_TRY(take_map_extras(args, &a));
            continue;
        }
        bool token =
            v->type == QK_JSON_T_STRING || v->type == QK_JSON_T_OBJECT || v->type == QK_JSON_T_NULL;
        if (!qk_json_text_is(v->key, v->key_length, "additional_special_tokens") &&
            !(token && qk_ends_in_token(v->key, v->key_length)))
            return qk_side_refuse(args->l, MAP, "%.80s: this key is not supported", v->key);
        qk_special_arg *there = qk_special_arg_find(args, v->key);
        if (!there) there = &args->items[args->count++];
        *there = a;
    }
    return QK_OK;
}

/* ---- the decoder ---- */

static qk_status read_decoder(qk_loader *l, const qk_json *object)
{
    if (object->type != QK_JSON_T_OBJECT)
        return expected(l, CONFIG, "added_tokens_decoder", "an object", object);
    for (const qk_json *v = object->first; v; v = v->next) {
        qk_token_spec token = {0};
        bool whole = false;
        if (v->key_length && v->key_length < 16 && strspn(v->key, "0123456789") == v->key_length &&
            (*v->key != '0' || !v->key[1]))
            qk_json_number(v->key, v->key_length, &whole, &token.id);
        if (!whole)
            return qk_side_refuse(l, CONFIG, "added_tokens_decoder: \"%.40s\" is no id", v->key);
        QK_TRY(parse_token(l, CONFIG, "added_tokens_decoder", v, &token));
        qk_token_specs_add(&l->specials.decoder, token);
    }
    return QK_OK;
}

static void note(qk_vocab *names, const char *text, size_t length)
{
    if (length) qk_vocab_add(names, text, length, (int64_t)names->count);
}

/* What is named as special so far. Objects of tokenizer_config.json do not count: the reference
 * makes tokens of them only later. */
static void note_specials(const qk_special_args *args, qk_vocab *names)
{
    const qk_token_specs *extras = &args->l->specials.extras;
    for (size_t i = 0; i < args->count; i++) {
        const qk_special_arg *a = &args->items[i];
        const qk_json *v = a->value, *content = a->of_map ? qk_json_get(v, "content") : NULL;
        if (!v) continue;
        if (qk_json_text_is(a->key, a->key_length, "extra_special_tokens"))
            for (const qk_json *e = v->first; e; e = e->next)
                if (e->type == QK_JSON_T_STRING) note(names, e->text, e->length);
        if (!qk_is_named_token(a->key, a->key_length)) continue;
        if (content) v = content;
        if (v->type == QK_JSON_T_STRING) note(names, v->text, v->length);
    }
    for (size_t i = 0; i < extras->count; i++)
        if (extras->items[i].is_string || i >= args->config_extras)
            note(names, extras->items[i].text, extras->items[i].length);
}

/* added_tokens.json: {"content": id, ...} */
static qk_status read_added_file(const qk_special_args *args)
{
    const qk_json *file = args->l->side.added;
    qk_vocab names = {0};
    qk_status s = QK_OK;
    note_specials(args, &names);
    for (const qk_json *v = file ? file->first : NULL; v && s == QK_OK; v = v->next) {
        bool special = qk_vocab_find(&names, v->key, v->key_length) >= 0;
        if (!v->is_integer) s = expected(args->l, "added_tokens.json", v->key, "an id", v);
        qk_token_specs_add(&args->l->specials.decoder, (qk_token_spec){.id = v->integer,
                                                                       .text = v->key,
                                                                       .length = v->key_length,
                                                                       .special = special,
                                                                       .has_normalized = true,
                                                                       .normalized = !special});
    }
    qk_vocab_free(&names);
    return s;
}

qk_status qk_special_args_read(qk_special_args *args, qk_loader *l)
{
    *args = (qk_special_args){.l = l};
    QK_TRY(take_config(args));
    QK_TRY(take_names(args));
    const qk_json *decoder = qk_json_get(l->side.config, "added_tokens_decoder");
    if (decoder) return read_decoder(l, decoder);
    QK_TRY(take_map(args));
    QK_TRY(read_added_file(args));
    for (size_t i = 0; i < l->specials.file.count; i++)
        qk_token_specs_add(&l->specials.decoder, l->specials.file.items[i]);
    return QK_OK;
}

void qk_special_args_free(qk_special_args *args)
{
    free(args->own.items);
    *args = (qk_special_args){0};
}
