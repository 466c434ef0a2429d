/* Added tokens: the library's table of them, and what goes into it. See load.h and token_specs.h.
 *
 * A token that is added again takes the place of the old one under its id. Where it is looked for
 * (raw or normalised text) is another matter: the library keeps the first special form of it, and
 * every form that came while none was special. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/class_rules.h"
#include "engine/tokenizer/load.h"
#include "engine/tokenizer/normalize.h"

typedef struct entry {
    qk_token_spec token; /* the last form */
    int32_t id;
    bool special; /* some form was */
    bool in_raw, in_normalized;
} entry;

typedef struct table {
    qk_loader *l;
    qk_vocab index; /* content -> index in entries */
    entry *entries; /* text NULL: noted as special, not added yet */
    size_t count, capacity;
} table;

static entry *find_entry(const table *t, const qk_token_spec *token)
{
    int32_t i = qk_vocab_find(&t->index, token->text, token->length);
    return i < 0 ? NULL : &t->entries[i];
}

static void note_form(entry *e, const qk_token_spec *token)
{
    if (qk_token_is_normalized(token))
        e->in_normalized = true;
    else
        e->in_raw = true;
}

/* The library gives ids itself: the vocabulary's, else one more than the largest so far. */
static int64_t next_id(const qk_tokenizer *tok, const qk_token_spec *token)
{
    int32_t id = qk_vocab_find(&tok->added_ids, token->text, token->length);
    if (id < 0) id = qk_vocab_find(&tok->bpe.vocab, token->text, token->length);
    if (id >= 0) return id;
    size_t count = tok->bpe.vocab.count, size = tok->added_ids.size;
    return (int64_t)(size > count ? size : count);
}

/* The specials of a whole batch are noted before any of its tokens is added. */
static void note_special(table *t, const qk_token_spec *token)
{
    if (!token->special || !token->length) return;
    entry *e = find_entry(t, token);
    if (!e) {
        QK_GROW(t->entries, t->count, t->capacity);
        qk_vocab_add(&t->index, token->text, token->length, (int64_t)t->count);
        e = &t->entries[t->count++];
        *e = (entry){.id = -1};
    }
    if (!e->special) note_form(e, token);
    e->special = true;
}

static qk_status add_token(table *t, const qk_token_spec *token)
{
    qk_tokenizer *tok = t->l->tok;
    if (!token->length) return QK_OK; /* the library passes over it */
    if (token->length > QK_MAX_ADDED_LENGTH)
        return qk_loader_refuse(t->l, "added tokens", "a token of %zu bytes; 1 to %d are supported",
                                token->length, QK_MAX_ADDED_LENGTH);
    entry *e = find_entry(t, token);
    const qk_token_spec *old = e && e->token.text ? &e->token : NULL;
    if (old && old->lstrip == token->lstrip && old->rstrip == token->rstrip &&
        old->single_word == token->single_word && old->special == token->special &&
        qk_token_is_normalized(old) == qk_token_is_normalized(token))
        return QK_OK;
    int64_t id = next_id(tok, token);
    if (!old && !qk_vocab_add(&tok->added_ids, token->text, token->length, id))
        return qk_loader_refuse(t->l, "added tokens", "token \"%.60s\": its id %lld is another's",
                                token->text, (long long)id);
    if (!e) {
        QK_GROW(t->entries, t->count, t->capacity);
        qk_vocab_add(&t->index, token->text, token->length, (int64_t)t->count);
        e = &t->entries[t->count++];
        *e = (entry){.id = -1};
    }
    e->id = (int32_t)id;
    e->token = *token;
    if (!e->special) note_form(e, token);
    return QK_OK;
}

static qk_status add_batch(table *t, const qk_token_specs *batch)
{
    for (size_t i = 0; i < batch->count; i++) note_special(t, &batch->items[i]);
    for (size_t i = 0; i < batch->count; i++) QK_TRY(add_token(t, &batch->items[i]));
    return QK_OK;
}

/* ---- tokenizer.json ---- */

static qk_status read_token(qk_loader *l, const qk_json *item, const char *where)
{
    const qk_json *content = qk_json_get(item, "content"), *id = qk_json_get(item, "id");
    if (!content || content->type != QK_JSON_T_STRING || !id || !id->is_integer)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL,
                       "%s: %s: \"content\" (a string) or \"id\" is missing", l->path, where);
    if (!content->length || content->length > QK_MAX_ADDED_LENGTH)
        return qk_loader_refuse(l, where, "a token of %zu bytes; 1 to %d are supported",
                                content->length, QK_MAX_ADDED_LENGTH);
    qk_token_spec token = {.id = id->integer,
                           .text = content->text,
                           .length = content->length,
                           .has_normalized = true};
    QK_TRY(qk_loader_bool(l, item, where, "single_word", true, &token.single_word));
    QK_TRY(qk_loader_bool(l, item, where, "normalized", true, &token.normalized));
    QK_TRY(qk_loader_bool(l, item, where, "lstrip", true, &token.lstrip));
    QK_TRY(qk_loader_bool(l, item, where, "rstrip", true, &token.rstrip));
    QK_TRY(qk_loader_bool(l, item, where, "special", false, &token.special));
    qk_token_specs_add(&l->specials.file, token);
    return QK_OK;
}

qk_status qk_read_added(qk_loader *l, const qk_json *node)
{
    if (!node || node->type == QK_JSON_T_NULL) return QK_OK;
    if (node->type != QK_JSON_T_ARRAY)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: added_tokens: an array expected, found %s",
                       l->path, qk_json_type_name(node));
    size_t i = 0;
    for (const qk_json *item = node->first; item; item = item->next, i++) {
        char where[64];
        snprintf(where, sizeof where, "added_tokens[%zu]", i);
        QK_TRY(read_token(l, item, where));
    }
    return QK_OK;
}

/* The library warns where its ids are not those of the file, and goes on with its own. The
 * reference then writes the tokenizer as text and reads it again, so only last forms are left. */
static qk_status add_file(table *t)
{
    const qk_token_specs *file = &t->l->specials.file;
    for (size_t i = 0; i < file->count; i++) note_special(t, &file->items[i]);
    for (size_t i = 0; i < file->count; i++) {
        const qk_token_spec *token = &file->items[i];
        int64_t expected = next_id(t->l->tok, token);
        char where[64];
        snprintf(where, sizeof where, "added_tokens[%zu]", i);
        if (token->id != expected)
            return qk_loader_refuse(t->l, where,
                                    "token \"%.60s\" has id %lld, the library gives it %lld",
                                    token->text, (long long)token->id, (long long)expected);
        QK_TRY(add_token(t, token));
    }
    for (size_t i = 0; i < t->count; i++) {
        entry *e = &t->entries[i];
        e->special = e->token.special;
        e->in_normalized = qk_token_is_normalized(&e->token);
        e->in_raw = !e->in_normalized;
    }
    return QK_OK;
}

/* ---- the others ---- */

/* What the reference looks through before it adds a token: contents of those that are there, and
 * the strings and AddedTokens that wait. */
typedef struct waiting {
    qk_vocab contents, tokens;
    qk_token_specs batch;
    qk_buf key;
} waiting;

static void note(qk_vocab *set, const void *text, size_t length)
{
    qk_vocab_add(set, text, length, (int64_t)set->count);
}

static void add_unless_there(waiting *w, const qk_token_specs *specs)
{
    for (size_t i = 0; i < specs->count; i++) {
        const qk_token_spec *t = &specs->items[i];
        if (!t->text || qk_vocab_find(&w->contents, t->text, t->length) >= 0) continue;
        /* the content, with its kind and flags in front */
        int flags = t->is_string << 5 | t->lstrip << 4 | t->rstrip << 3 | t->single_word << 2 |
                    t->special << 1 | qk_token_is_normalized(t);
        qk_buf_clear(&w->key);
        qk_buf_add_byte(&w->key, (uint8_t)(' ' + flags));
        qk_buf_add(&w->key, t->text, t->length);
        if (qk_vocab_find(&w->tokens, w->key.data, w->key.size) >= 0) continue;
        note(&w->tokens, w->key.data, w->key.size);
        qk_token_specs_add(&w->batch, *t);
    }
}

static qk_status add_others(table *t)
{
    const qk_specials *s = &t->l->specials;
    const qk_token_specs *file = &s->file, *decoder = &s->decoder;
    waiting w = {0};
    for (size_t i = 0; !t->l->rule && i < file->count; i++)
        note(&w.contents, file->items[i].text, file->items[i].length);
    for (size_t i = 0; i < decoder->count; i++) {
        note(&w.contents, decoder->items[i].text, decoder->items[i].length);
        qk_token_specs_add(&w.batch, decoder->items[i]);
    }
    add_unless_there(&w, &s->names);
    add_unless_there(&w, &s->extras);
    qk_vocab names = {0}; /* strings, and tokens that have a name, are special */
    for (size_t i = 0; i < s->names.count; i++)
        if (s->names.items[i].text) note(&names, s->names.items[i].text, s->names.items[i].length);
    for (size_t i = 0; i < w.batch.count; i++) {
        qk_token_spec *b = &w.batch.items[i];
        if (b->is_string || qk_vocab_find(&names, b->text, b->length) >= 0) b->special = true;
    }
    qk_status status = add_batch(t, &w.batch);
    qk_vocab_free(&names);
    qk_vocab_free(&w.contents);
    qk_vocab_free(&w.tokens);
    qk_buf_free(&w.key);
    free(w.batch.items);
    return status;
}

/* Adds names and extras again, each as a plain special token. */
static qk_status add_plain(table *t)
{
    const qk_token_specs *lists[] = {&t->l->specials.names, &t->l->specials.extras};
    qk_token_specs batch = {0};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < lists[k]->count; i++)
            if (lists[k]->items[i].text)
                qk_token_specs_add(&batch, (qk_token_spec){.text = lists[k]->items[i].text,
                                                           .length = lists[k]->items[i].length,
                                                           .special = true});
    qk_status s = add_batch(t, &batch);
    free(batch.items);
    return s;
}

/* ---- finding them in texts ---- */

static qk_status match_entry(table *t, const entry *e)
{
    qk_loader *l = t->l;
    const qk_token_spec *token = &e->token;
    if (!token->text) return QK_OK;
    qk_added_token added = {.id = e->id,
                            .lstrip = token->lstrip,
                            .rstrip = token->rstrip,
                            .single_word = token->single_word,
                            .passed_over = e->special && l->tok->split_specials};
    if (e->in_raw) qk_added_add(&l->tok->added, token->text, token->length, added);
    if (!e->in_normalized) return QK_OK;
    qk_norm_memory memory = {0};
    qk_view view = {(const uint8_t *)token->text, token->length, NULL};
    qk_status s = qk_normalize(l->tok->normalizer, &memory, &view, l->err);
    if (s == QK_OK && (!view.length || view.length > QK_MAX_ADDED_LENGTH))
        s = qk_loader_refuse(l, "added tokens", "token \"%.60s\": a normalised length of %zu bytes",
                             token->text, view.length);
    if (s == QK_OK && !qk_added_add(&l->tok->normalized, view.text, view.length, added))
        s = qk_loader_refuse(l, "added tokens",
                             "token \"%.60s\": another token normalises to the same text; which "
                             "one the library finds is left to chance",
                             token->text);
    qk_norm_memory_free(&memory);
    return s;
}

qk_status qk_load_added(qk_loader *l)
{
    table t = {.l = l};
    qk_status s = l->rule ? QK_OK : add_file(&t);
    if (s == QK_OK) s = add_others(&t);
    if (s == QK_OK && l->rule && l->rule->plain_specials) s = add_plain(&t);
    for (size_t i = 0; s == QK_OK && i < t.count; i++) s = match_entry(&t, &t.entries[i]);
    qk_vocab_free(&t.index);
    free(t.entries);
    return s;
}
