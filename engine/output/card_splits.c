/* See card_splits.h. */
#include "engine/output/card_splits.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/output/card_attention.h"
#include "engine/output/final_folder.h"
#include "engine/output/layout.h"
#include "engine/output/manifest.h"

static const char *text_of(qk_arena *arena, const qk_json *v)
{
    return v && v->type == QK_JSON_T_STRING ? qk_arena_strndup(arena, v->text, v->length) : NULL;
}

static int64_t count_of(const qk_json *v)
{
    return v && v->is_integer ? v->integer : 0;
}

static const qk_json *first_of(const qk_json *object, const char *key)
{
    const qk_json *list = qk_json_get(object, key);
    return list && list->type == QK_JSON_T_ARRAY ? list->first : NULL;
}

/* "log_uniform, base_rate 4.0, min_bucket_size 128" */
static const char *sampling_of(const qk_json *capture, qk_arena *arena)
{
    const qk_json *sampler = qk_json_get(capture, "sampler"), *type = qk_json_get(sampler, "type"),
                  *rate = qk_json_get(sampler, "base_rate"),
                  *bucket = qk_json_get(capture, "min_bucket_size");
    if (!type || type->type != QK_JSON_T_STRING) return NULL;
    if (!strcmp(type->text, "all") || !rate || rate->type != QK_JSON_T_NUMBER)
        return text_of(arena, type);
    return qk_arena_strf(arena, "%s, base_rate %s, min_bucket_size %lld", type->text, rate->text,
                         (long long)count_of(bucket));
}

static void describe_run(qk_card_run *out, const qk_json *run, qk_arena *arena)
{
    const qk_json *identity = qk_json_get(run, "identity"), *c = qk_json_get(identity, "config"),
                  *dataset = qk_json_get(c, "dataset");
    const char *print = text_of(arena, qk_json_get(run, "fingerprint"));
    *out = (qk_card_run){
        .name = print ? qk_arena_strf(arena, "%.12s", print) : NULL,
        .dataset = text_of(arena, qk_json_get(dataset, "path")),
        .dataset_split = text_of(arena, qk_json_get(dataset, "split")),
        .sampling = sampling_of(qk_json_get(c, "capture"), arena),
        .max_length = count_of(qk_json_get(qk_json_get(c, "tokenizer"), "max_length")),
    };
    for (const qk_json *u = first_of(run, "units"); u; u = u->next) {
        out->examples += count_of(qk_json_get(u, "examples"));
        out->tokens += count_of(qk_json_get(u, "tokens"));
    }
    const qk_json *states = qk_json_get(qk_json_get(c, "capture"), "rope");
    for (const qk_json *l = first_of(identity, "heads"); l; l = l->next) {
        const qk_json *q = qk_json_get(l, "q"), *k = qk_json_get(l, "k"), *v = qk_json_get(l, "v");
        size_t turned = (q ? q->count : 0) + (k ? k->count : 0);
        out->files += (int64_t)(turned * (states && states->count == 2 ? 2 : 1));
        out->files += (int64_t)(v ? v->count : 0);
    }
}

static void describe_split(qk_card_split *split, const qk_json *manifest, qk_arena *arena)
{
    const qk_json *list = qk_json_get(manifest, "runs"), *last = NULL;
    if (!manifest) return;
    split->head_dim = (int)count_of(qk_json_get(manifest, "head_dim"));
    split->examples = count_of(qk_json_get(manifest, "examples"));
    split->tokens = count_of(qk_json_get(manifest, "tokens"));
    split->partial = qk_manifest_partial(manifest, arena);
    qk_card_run *runs = qk_arena_alloc(arena, list ? list->count : 0, sizeof *runs);
    for (const qk_json *r = first_of(manifest, "runs"); r; r = r->next) {
        describe_run(&runs[split->n_runs++], r, arena);
        last = r;
    }
    split->runs = runs;
    split->attention = qk_card_attention_of(manifest, split->head_dim, arena);
    const qk_json *c = qk_json_get(qk_json_get(last, "identity"), "config"),
                  *model = qk_json_get(c, "model"),
                  *sampler = qk_json_get(qk_json_get(c, "capture"), "sampler");
    split->model = text_of(arena, qk_json_get(model, "name"));
    split->dtype = text_of(arena, qk_json_get(model, "dtype"));
    split->dataset = text_of(arena, qk_json_get(qk_json_get(c, "dataset"), "path"));
    split->dataset_split = text_of(arena, qk_json_get(qk_json_get(c, "dataset"), "split"));
    split->sampling = text_of(arena, qk_json_get(sampler, "type"));
}

bool qk_card_has(const qk_card *c, const char *split)
{
    for (size_t i = 0; i < c->n_splits; i++)
        if (!strcmp(c->splits[i].split, split)) return true;
    return false;
}

static void add_file(qk_card *c, const char *split, const char *name, const qk_json *listed)
{
    qk_card_file file = {.split = split};
    if (!qk_parse_file_name(name, &file.layer, &file.head, &file.kind)) return;
    const qk_json *entry = qk_json_get(listed, name);
    file.rows = (uint64_t)count_of(qk_json_get(entry, "rows"));
    file.sha256 = text_of(&c->arena, qk_json_get(entry, "sha256"));
    QK_GROW(c->files, c->n_files, c->files_capacity);
    c->files[c->n_files++] = file;
}

void qk_card_add(qk_card *c, const char *split, const char *folder, const qk_names *names,
                 const qk_json *manifest)
{
    const qk_json *listed = qk_json_get(manifest, "files");
    size_t before = c->n_files;
    if (qk_card_has(c, split) || !qk_is_split_name(split)) return;
    split = qk_arena_strndup(&c->arena, split, strlen(split));
    for (size_t i = 0; names && i < names->count; i++) add_file(c, split, names->items[i], listed);
    for (const qk_json *f = !names && listed ? listed->first : NULL; f; f = f->next)
        add_file(c, split, f->key, listed);
    if (c->n_files == before) return;
    QK_GROW(c->splits, c->n_splits, c->splits_capacity);
    qk_card_split *added = &c->splits[c->n_splits++];
    *added = (qk_card_split){.split = split,
                             .folder = qk_arena_strndup(&c->arena, folder, strlen(folder))};
    describe_split(added, manifest, &c->arena);
}

static qk_status add_folder(qk_card *c, const char *final, const char *name, qk_error *err)
{
    bool is_split;
    if (qk_card_has(c, name)) return QK_OK;
    QK_TRY(qk_final_is_split(final, name, &is_split, err));
    if (!is_split) return QK_OK;
    qk_names names;
    qk_arena arena = {0};
    const qk_json *manifest = NULL;
    char *folder = qk_path_join(final, name);
    qk_status s = qk_list_heads(folder, &names, err);
    if (s == QK_OK && names.count) s = qk_manifest_read(folder, &arena, &manifest, err);
    if (s == QK_OK && names.count && !qk_is_split_name(name))
        qk_warn_once(
            "%s: is no name of a split, README.md leaves it out; rename the folder, with letters, "
            "digits and _ only, and not to all",
            folder);
    if (s == QK_OK) qk_card_add(c, name, name, &names, manifest);
    qk_names_free(&names);
    qk_arena_free(&arena);
    free(folder);
    return s;
}

qk_status qk_card_add_folders(qk_card *c, const char *final, qk_error *err)
{
    qk_names names;
    bool there;
    QK_TRY(qk_has_folder(final, &there, err));
    if (!there) return QK_OK;
    qk_status s = qk_list_dir(final, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++)
        s = add_folder(c, final, names.items[i], err);
    qk_names_free(&names);
    return s;
}

void qk_card_text(const qk_card *c, qk_buf *out)
{
    qk_card_write(out, c->files, c->n_files, c->splits, c->n_splits);
}

qk_status qk_card_make(qk_buf *out, const char *final, const char *split, const char *folder,
                       const qk_json *manifest, qk_error *err)
{
    qk_card card = {0};
    qk_card_add(&card, split, folder, NULL, manifest);
    qk_status s = *folder ? qk_card_add_folders(&card, final, err) : QK_OK;
    if (s == QK_OK) qk_card_text(&card, out);
    qk_card_free(&card);
    return s;
}

void qk_card_free(qk_card *c)
{
    free(c->files);
    free(c->splits);
    qk_arena_free(&c->arena);
    *c = (qk_card){0};
}
