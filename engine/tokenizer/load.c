/* Loading tokenizer.json. See load.h. */
#include "engine/tokenizer/load.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/tokenizer/class_rules.h"
#include "engine/tokenizer/classes.h"
#include "engine/tokenizer/config_keys.h"
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/unigram.h"
#include "formats/mistaken.h"

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

qk_status qk_loader_members(qk_loader *l, qk_json_reader *r, qk_json_event first,
                            const char *const *names, qk_span *spans, int count,
                            qk_member_reader read, void *context)
{
    if (first == QK_JSON_ERROR) return r->err->status;
    if (first != QK_JSON_OBJECT) return qk_json_fail(r, "an object is expected here");
    qk_json_event e;
    while ((e = qk_json_next(r)) == QK_JSON_KEY) {
        int i = count - 1;
        while (i >= 0 && !qk_json_text_is(r->text, r->length, names[i])) i--;
        if (i >= 0 && spans[i].end) return qk_json_fail(r, "\"%s\" is given twice", names[i]);
        e = qk_json_next(r);
        size_t begin = r->offset;
        bool done = false;
        if (i >= 0) QK_TRY(read(l, r, e, i, context, &done));
        if (!done && !qk_json_skip(r, e)) return r->err->status;
        if (i >= 0) spans[i] = (qk_span){begin, (size_t)(r->at - r->begin)};
    }
    return e == QK_JSON_ERROR ? r->err->status : QK_OK;
}

void qk_loader_open(qk_loader *l, qk_json_reader *r, qk_span span)
{
    qk_json_open(r, l->text, l->size, l->path, l->err);
    r->at += span.begin;
}

qk_status qk_loader_tree(qk_loader *l, qk_span span, const qk_json **out)
{
    *out = NULL;
    if (span.begin == span.end) return QK_OK;
    return qk_json_parse(&l->arena, l->text + span.begin, span.end - span.begin, l->path, out,
                         l->err);
}

/* ---- the whole ---- */

enum { ADDED, NORMALIZER, PRETOKENIZER, POST, TRUNCATION, PADDING, MODEL, PARTS };

static qk_status read_part(qk_loader *l, qk_json_reader *r, qk_json_event first, int i,
                           void *context, bool *done)
{
    (void)context;
    *done = i == MODEL;
    return *done ? qk_load_model(l, r, first) : QK_OK;
}

static qk_status read_text(qk_loader *l, qk_span *spans)
{
    static const char *const names[PARTS] = {"added_tokens",   "normalizer", "pre_tokenizer",
                                             "post_processor", "truncation", "padding",
                                             "model"};
    qk_json_reader r;
    qk_json_open(&r, l->text, l->size, l->path, l->err);
    qk_status s = qk_loader_members(l, &r, qk_json_next(&r), names, spans, PARTS, read_part, NULL);
    if (s == QK_OK && qk_json_next(&r) != QK_JSON_DONE) s = l->err->status;
    qk_json_close(&r);
    if (s == QK_OK && !spans[MODEL].end)
        return qk_fail(l->err, QK_ERR_FORMAT, NULL, "%s: there is no \"model\"", l->path);
    return s;
}

static qk_status load_parts(qk_loader *l)
{
    qk_span spans[PARTS] = {0};
    const qk_json *trees[MODEL];
    QK_TRY(read_text(l, spans));
    for (int i = 0; i < MODEL; i++) QK_TRY(qk_loader_tree(l, spans[i], &trees[i]));
    const char *class;
    QK_TRY(qk_choose_class(l, &class));
    l->rule = class ? qk_class_rule_find(class) : NULL;
    if (class && !l->rule) {
        const qk_json *named = qk_json_get(l->side.config, "tokenizer_class");
        bool here = named && named->type == QK_JSON_T_STRING; /* else config.json leads to it */
        return qk_side_refuse(l, here ? "tokenizer_config.json" : "config.json",
                              "tokenizer_class: \"%.60s\" is not supported", class);
    }
    QK_TRY(qk_check_config_keys(l));
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
    if (!l->tok->unigram) qk_bpe_finish(&l->tok->bpe);
    return QK_OK;
}

static qk_status load_file(qk_loader *l)
{
    qk_buf file;
    qk_status s = qk_read_file(&file, l->path, MAX_FILE, l->err);
    if (s == QK_ERR_NOTFOUND) s = qk_explain_folder(l->folder, QK_WANT_TOKENIZER, l->err);
    if (s != QK_OK) return s;
    l->text = (const char *)file.data;
    l->size = file.size;
    s = qk_refuse_stand_in(file.data, file.size, l->path, l->err);
    if (s == QK_OK) s = load_parts(l);
    qk_buf_free(&file);
    return s;
}

qk_status qk_tokenizer_load(qk_tokenizer **out, const char *folder, qk_error *err)
{
    static atomic_uint_fast64_t serial;
    qk_error ignored;
    *out = NULL;
    char *path = qk_path_join(folder, "tokenizer.json");
    qk_loader l = {.tok = qk_zalloc(1, sizeof *l.tok),
                   .folder = folder,
                   .path = path,
                   .err = err ? err : &ignored};
    l.tok->normalizer = qk_arena_alloc(&l.tok->arena, 1, sizeof *l.tok->normalizer);
    l.tok->pretokenizer = qk_arena_alloc(&l.tok->arena, 1, sizeof *l.tok->pretokenizer);
    qk_status s = qk_side_files_read(&l.side, &l.arena, folder, l.err);
    if (s == QK_OK) s = load_file(&l);
    if (s == QK_OK) {
        qk_tokenizer *tok = *out = l.tok;
        const qk_vocab *model = &tok->bpe.vocab, *added = &tok->added_ids;
        tok->serial = atomic_fetch_add(&serial, 1) + 1;
        tok->size = model->size > added->size ? model->size : added->size;
        tok->description =
            tok->unigram ? qk_strf("Unigram, %zu tokens, %zu added", model->count, added->count)
                         : qk_strf("BPE, %zu tokens, %zu merges, %zu added", model->count,
                                   tok->bpe.merge_count, added->count);
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
    qk_normalizer_free(tok->normalizer);
    qk_pretokenizer_free(tok->pretokenizer);
    qk_bpe_free(&tok->bpe);
    if (tok->unigram) qk_unigram_free(tok->unigram);
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

const char *qk_tokenizer_piece_text(const qk_tokenizer *tok, int32_t id, size_t *length)
{
    const char *text = qk_vocab_text(&tok->added_ids, id, length);
    return text ? text : qk_vocab_text(&tok->bpe.vocab, id, length);
}

const char *qk_tokenizer_piece(const qk_tokenizer *tok, int32_t id)
{
    return qk_tokenizer_piece_text(tok, id, NULL);
}

const char *qk_tokenizer_describe(const qk_tokenizer *tok)
{
    return tok->description;
}
