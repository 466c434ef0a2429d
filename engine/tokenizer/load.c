/* Loading tokenizer.json. See load.h. */
#include "engine/tokenizer/load.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/tokenizer/cache_file.h"
#include "engine/tokenizer/class_rules.h"
#include "engine/tokenizer/classes.h"
#include "engine/tokenizer/config_keys.h"

enum { MAX_FILE = 1 << 29 };

qk_status qk_loader_refuse(qk_loader *l, const char *where, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return qk_fail(l->err, QK_ERR_UNSUPPORTED, QK_REFUSAL_HINT, "%s: %s: %s", l->path, where, what);
}

qk_status qk_loader_bool(qk_loader *l, const qk_json *object, const char *where, const char *key,
                         bool required, bool *out)
{
    const qk_json *v = qk_json_get(object, key);
    if (v && v->type == QK_JSON_T_BOOL) {
        *out = v->boolean;
        return QK_OK;
    }
    if (!required && (!v || v->type == QK_JSON_T_NULL)) return QK_OK;
    return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: %s.%s: true or false expected, found %s",
                   l->path, where, key, qk_json_type_name(v));
}

qk_status qk_loader_string(qk_loader *l, const qk_json *object, const char *where, const char *key,
                           const char **out, size_t *length)
{
    const qk_json *v = qk_json_get(object, key);
    *out = NULL;
    *length = 0;
    if (!v || v->type == QK_JSON_T_NULL) return QK_OK;
    if (v->type != QK_JSON_T_STRING)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: %s.%s: a string expected, found %s",
                       l->path, where, key, qk_json_type_name(v));
    *out = qk_arena_strndup(&l->tok->arena, v->text, v->length);
    *length = v->length;
    return QK_OK;
}

/* ---- parts of the text ---- */

static int name_index(const qk_json_reader *r, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strlen(names[i]) == r->length && !memcmp(names[i], r->text, r->length)) return i;
    return -1;
}

static qk_status read_members(qk_json_reader *r, const char *const *names, qk_span *spans,
                              int count)
{
    qk_json_event e = qk_json_next(r);
    if (e == QK_JSON_ERROR) return r->err->status;
    if (e != QK_JSON_OBJECT) return qk_json_fail(r, "an object is expected here");
    while ((e = qk_json_next(r)) == QK_JSON_KEY) {
        int i = name_index(r, names, count);
        if (i >= 0 && spans[i].end) return qk_json_fail(r, "\"%s\" is given twice", names[i]);
        e = qk_json_next(r);
        size_t begin = r->offset;
        if (!qk_json_skip(r, e)) return r->err->status;
        if (i >= 0) spans[i] = (qk_span){begin, (size_t)(r->at - r->begin)};
    }
    return e == QK_JSON_ERROR ? r->err->status : QK_OK;
}

qk_status qk_loader_members(qk_loader *l, size_t from, const char *const *names, qk_span *spans,
                            int count)
{
    qk_json_reader r;
    qk_json_open(&r, l->text, l->size, l->path, l->err);
    r.at += from;
    qk_status s = read_members(&r, names, spans, count);
    if (s == QK_OK && !from && qk_json_next(&r) != QK_JSON_DONE) s = l->err->status;
    qk_json_close(&r);
    return s;
}

qk_status qk_loader_tree(qk_loader *l, qk_span span, const qk_json **out)
{
    *out = NULL;
    if (span.begin == span.end) return QK_OK;
    return qk_json_parse(&l->arena, l->text + span.begin, span.end - span.begin, l->path, out,
                         l->err);
}

/* ---- the whole ---- */

static void finish(qk_loader *l)
{
    static atomic_uint_fast64_t serial;
    qk_tokenizer *tok = l->tok;
    const qk_vocab *model = &tok->bpe.vocab, *added = &tok->added_ids;
    tok->serial = atomic_fetch_add(&serial, 1) + 1;
    tok->size = model->size > added->size ? model->size : added->size;
    if (tok->is_unigram)
        tok->description = qk_strf("Unigram, %zu tokens, %zu added", model->count, added->count);
    else
        tok->description = qk_strf("BPE, %zu tokens, %zu merges, %zu added", model->count,
                                   tok->bpe.merge_count, added->count);
}

static qk_status find_class(qk_loader *l)
{
    const char *name;
    QK_TRY(qk_choose_class(l, &name));
    l->rule = name ? qk_class_rule_find(name) : NULL;
    if (name && !l->rule)
        return qk_loader_refuse(l, "tokenizer_class", "\"%.60s\" is not supported", name);
    return qk_check_config_keys(l);
}

static qk_status load_parts(qk_loader *l)
{
    enum { ADDED, NORMALIZER, PRETOKENIZER, POST, TRUNCATION, PADDING, MODEL, PARTS };
    static const char *const names[PARTS] = {"added_tokens",   "normalizer", "pre_tokenizer",
                                             "post_processor", "truncation", "padding",
                                             "model"};
    qk_span spans[PARTS] = {0};
    const qk_json *trees[MODEL];
    QK_TRY(qk_loader_members(l, 0, names, spans, PARTS));
    if (!spans[MODEL].end)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: there is no \"model\"", l->path);
    for (int i = 0; i < MODEL; i++) QK_TRY(qk_loader_tree(l, spans[i], &trees[i]));
    QK_TRY(qk_load_model(l, spans[MODEL]));
    QK_TRY(find_class(l));
    QK_TRY(qk_apply_config_keys(l, l->rule ? NULL : trees[TRUNCATION]));
    QK_TRY(qk_read_added(l, trees[ADDED]));
    const qk_json *pad = qk_json_get(trees[PADDING], "pad_token");
    QK_TRY(qk_load_specials(l, pad && pad->type == QK_JSON_T_STRING ? pad->text : NULL));
    if (l->rule) {
        QK_TRY(qk_apply_class(l));
    } else {
        QK_TRY(qk_load_normalizer(l, trees[NORMALIZER]));
        QK_TRY(qk_load_pretokenizer(l, trees[PRETOKENIZER]));
    }
    QK_TRY(qk_load_added(l));
    QK_TRY(qk_load_post_processor(l, trees[POST]));
    if (!l->tok->is_unigram) qk_bpe_finish(&l->tok->bpe);
    return QK_OK;
}

/* The text without its two big values, for the cache. */
static void write_cache(const qk_loader *l, const qk_table_cache_place *place)
{
    const qk_span *first = &l->big[0], *second = &l->big[1];
    if (!first->end || !second->end) return; /* a model without these two */
    if (first->begin > second->begin) first = &l->big[1], second = &l->big[0];
    qk_buf text = {0};
    qk_buf_add(&text, l->text, first->begin);
    qk_buf_add_str(&text, "null");
    qk_buf_add(&text, l->text + first->end, second->begin - first->end);
    qk_buf_add_str(&text, "null");
    qk_buf_add(&text, l->text + second->end, l->size - second->end);
    qk_table_cache_write(place, &l->tok->bpe, (const char *)text.data, text.size);
    qk_buf_free(&text);
}

static qk_status load_cached(qk_loader *l, const qk_table_cache_place *place, bool *found)
{
    l->has_tables = *found =
        qk_table_cache_read(place, &l->tok->bpe, &l->tok->tables, &l->text, &l->size);
    return *found ? load_parts(l) : QK_OK;
}

static qk_status load_mapped(qk_loader *l, qk_table_cache_place *place, const qk_map *map)
{
    bool found = false;
    if (map->size > MAX_FILE)
        return qk_fail(l->err, QK_ERR_UNSUPPORTED, NULL, "%s: %zu bytes; at most 512 MiB are read",
                       l->path, map->size);
    bool cached = map->size >= QK_CACHE_LEAST;
    if (cached) {
        qk_table_cache_place_hash(place, l->path, map->data, map->size);
        QK_TRY(load_cached(l, place, &found));
        if (found) return QK_OK;
    }
    l->text = (const char *)map->data;
    l->size = map->size;
    QK_TRY(load_parts(l));
    if (cached) write_cache(l, place);
    return QK_OK;
}

static qk_status load_file(qk_loader *l)
{
    qk_table_cache_place place;
    qk_map map;
    bool found;
    qk_table_cache_place_find(&place, l->path);
    qk_status s = load_cached(l, &place, &found);
    if (s == QK_OK && !found) {
        s = qk_map_open(&map, l->path, l->err);
        if (s == QK_OK) {
            s = load_mapped(l, &place, &map);
            qk_map_close(&map);
        }
    }
    qk_table_cache_place_free(&place);
    return s;
}

qk_status qk_tokenizer_load(qk_tokenizer **out, const char *folder, qk_error *err)
{
    qk_error ignored;
    *out = NULL;
    char *path = qk_path_join(folder, "tokenizer.json");
    qk_loader l = {.tok = qk_zalloc(1, sizeof *l.tok),
                   .folder = folder,
                   .path = path,
                   .err = err ? err : &ignored};
    qk_status s = qk_side_files_read(&l.side, &l.arena, folder, l.err);
    if (s == QK_OK) s = load_file(&l);
    if (s == QK_OK) {
        finish(&l);
        *out = l.tok;
    } else {
        qk_tokenizer_free(l.tok);
    }
    qk_specials_free(&l.specials);
    qk_arena_free(&l.arena);
    free(path);
    return s;
}

void qk_tokenizer_free(qk_tokenizer *tok)
{
    if (!tok) return;
    qk_added_free(&tok->added);
    qk_added_free(&tok->normalized);
    qk_vocab_free(&tok->added_ids);
    qk_normalizer_free(&tok->normalizer);
    qk_pretokenizer_free(&tok->pretokenizer);
    qk_table_cache_release(&tok->bpe, &tok->tables);
    qk_bpe_free(&tok->bpe);
    qk_unigram_free(&tok->unigram);
    free(tok->before.items);
    free(tok->behind.items);
    free(tok->description);
    qk_arena_free(&tok->arena);
    free(tok);
}

size_t qk_tokenizer_vocab_size(const qk_tokenizer *tok)
{
    return tok->size;
}

const char *qk_tokenizer_piece(const qk_tokenizer *tok, int32_t id)
{
    const char *text = qk_vocab_text(&tok->added_ids, id, NULL);
    return text ? text : qk_vocab_text(&tok->bpe.vocab, id, NULL);
}

const char *qk_tokenizer_describe(const qk_tokenizer *tok)
{
    return tok->description;
}
