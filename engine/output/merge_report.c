/* See merge_report.h. */
#include "engine/output/merge_report.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/beneath.h"
#include "engine/output/final_folder.h"
#include "engine/output/head_file.h"
#include "engine/base/sha256.h"

static void add_file(qk_merge_report *r, const qk_manifest_file *entry, qk_card_file file)
{
    if (r->n_files == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 64;
        r->files = qk_realloc(r->files, r->capacity, sizeof *r->files);
        r->sizes = qk_realloc(r->sizes, r->capacity, sizeof *r->sizes);
    }
    r->files[r->n_files] = file;
    r->sizes[r->n_files++] = *entry;
    r->rows += file.rows;
    r->nonfinite += entry->nonfinite;
}

void qk_merge_report_add(qk_merge_report *r, const qk_manifest_file *entry, int layer, int head,
                         qk_kind kind)
{
    add_file(r, entry, (qk_card_file){r->out->split, layer, head, kind, entry->rows});
}

static bool is_known(const qk_merge_report *r, const char *name)
{
    for (size_t i = 0; i < r->n_files; i++)
        if (!strcmp(r->sizes[i].name, name)) return true;
    return false;
}

/* A data file that this run did not write. */
static qk_status count_file(const char *folder, const char *name, qk_card_file *file,
                            qk_manifest_file *size, int *head_dim, qk_error *err)
{
    char *path = qk_strf("%s/%s/data.parquet", folder, name);
    qk_path_info info;
    qk_status s = qk_path_look(path, &info, err);
    *size = (qk_manifest_file){.name = name, .bytes = info.size};
    qk_head_file_reader *reader = NULL;
    if (s == QK_OK && info.type == QK_PATH_FILE) s = qk_head_file_open(&reader, path, 0, err);
    if (reader) {
        file->rows = size->rows = qk_head_file_count(reader);
        size->nonfinite = qk_head_file_nonfinite(reader);
        *head_dim = qk_head_file_head_dim(reader);
    }
    qk_head_file_close(reader);
    free(path);
    return s;
}

/* None of a folder that is not there. */
static qk_status list_if_there(const char *folder, qk_names *out, qk_error *err)
{
    bool there;
    *out = (qk_names){0};
    QK_TRY(qk_has_folder(folder, &there, err));
    return there ? qk_list_dir(folder, out, err) : QK_OK;
}

/* The digest of a file that this run leaves as it is. */
static qk_status find_digest(const qk_merge_report *r, qk_manifest_file *entry, qk_error *err)
{
    qk_manifest_file known;
    if (qk_manifest_find(r->old, entry->name, &known)) memcpy(entry->sha256, known.sha256, 65);
    if (*entry->sha256) return QK_OK;
    char *path = qk_strf("%s/%s/data.parquet", r->out->folder, entry->name);
    uint64_t bytes;
    qk_status s = qk_sha256_file(path, entry->sha256, &bytes, err);
    free(path);
    return s;
}

static qk_status find_own_others(qk_merge_report *r, qk_error *err)
{
    qk_names names;
    qk_status s = list_if_there(r->out->folder, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        qk_card_file file = {.split = r->out->split};
        qk_manifest_file entry;
        int d;
        if (!qk_parse_file_name(names.items[i], &file.layer, &file.head, &file.kind) ||
            is_known(r, names.items[i]))
            continue;
        s = count_file(r->out->folder, names.items[i], &file, &entry, &d, err);
        if (s != QK_OK || !entry.bytes) continue;
        entry.name = qk_arena_strndup(&r->arena, names.items[i], strlen(names.items[i]));
        s = find_digest(r, &entry, err);
        if (s == QK_OK) add_file(r, &entry, file);
    }
    qk_names_free(&names);
    return s;
}

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
    for (const qk_json *l = first_of(identity, "heads"); l; l = l->next) {
        const qk_json *q = qk_json_get(l, "q"), *k = qk_json_get(l, "k");
        out->files += (int64_t)((q ? q->count : 0) + (k ? k->count : 0));
    }
}

void qk_describe_split(qk_card_split *split, const qk_json *manifest, qk_arena *arena)
{
    const qk_json *list = qk_json_get(manifest, "runs"), *last = NULL;
    if (!manifest) return;
    split->head_dim = (int)count_of(qk_json_get(manifest, "head_dim"));
    split->examples = count_of(qk_json_get(manifest, "examples"));
    split->tokens = count_of(qk_json_get(manifest, "tokens"));
    qk_card_run *runs = qk_arena_alloc(arena, list ? list->count : 0, sizeof *runs);
    for (const qk_json *r = first_of(manifest, "runs"); r; r = r->next) {
        describe_run(&runs[split->n_runs++], r, arena);
        last = r;
    }
    split->runs = runs;
    const qk_json *c = qk_json_get(qk_json_get(last, "identity"), "config"),
                  *model = qk_json_get(c, "model"),
                  *sampler = qk_json_get(qk_json_get(c, "capture"), "sampler");
    split->model = text_of(arena, qk_json_get(model, "name"));
    split->dtype = text_of(arena, qk_json_get(model, "dtype"));
    split->dataset = text_of(arena, qk_json_get(qk_json_get(c, "dataset"), "path"));
    split->dataset_split = text_of(arena, qk_json_get(qk_json_get(c, "dataset"), "split"));
    split->sampling = text_of(arena, qk_json_get(sampler, "type"));
}

static qk_card_split *add_split(qk_merge_report *r, const char *name, const char *folder)
{
    QK_GROW(r->splits, r->n_splits, r->splits_capacity);
    r->splits[r->n_splits] = (qk_card_split){.split = name, .folder = folder};
    return &r->splits[r->n_splits++];
}

/* One folder of final/ that belongs to another model. */
static qk_status add_other_split(qk_merge_report *r, const char *name, qk_error *err)
{
    const char *folder = qk_arena_strf(&r->arena, "%s/%s", r->out->final, name);
    const char *split = qk_arena_strndup(&r->arena, name, strlen(name));
    bool is_split;
    if (!strcmp(name, r->out->split)) return QK_OK;
    QK_TRY(qk_final_is_split(r->out->final, name, &is_split, err));
    if (!is_split) return QK_OK;
    qk_names names;
    QK_TRY(qk_list_dir(folder, &names, err));
    const qk_json *manifest = NULL;
    qk_card_split info = {.split = split, .folder = split};
    size_t before = r->n_others;
    qk_status s = qk_manifest_read(folder, &r->arena, &manifest, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        qk_card_file file = {.split = split};
        qk_manifest_file size;
        if (!qk_parse_file_name(names.items[i], &file.layer, &file.head, &file.kind)) continue;
        s = count_file(folder, names.items[i], &file, &size, &info.head_dim, err);
        if (s != QK_OK || !size.bytes) continue;
        QK_GROW(r->others, r->n_others, r->others_capacity);
        r->others[r->n_others++] = file;
    }
    qk_names_free(&names);
    if (s != QK_OK || r->n_others == before) return s;
    qk_describe_split(&info, manifest, &r->arena);
    *add_split(r, split, split) = info;
    return QK_OK;
}

qk_status qk_merge_report_find_others(qk_merge_report *r, qk_error *err)
{
    add_split(r, r->out->split, r->out->prefix ? r->out->split : "");
    if (!r->out->prefix) return QK_OK;
    QK_TRY(find_own_others(r, err));
    qk_names names;
    qk_status s = list_if_there(r->out->final, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++)
        s = add_other_split(r, names.items[i], err);
    qk_names_free(&names);
    return s;
}

static int by_file_name(const void *a, const void *b)
{
    const qk_manifest_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void write_manifest(qk_merge_report *r, qk_buf *out)
{
    qk_manifest_file *sorted = qk_alloc(r->n_files, sizeof *sorted);
    if (r->n_files) memcpy(sorted, r->sizes, r->n_files * sizeof *sorted);
    if (r->n_files) qsort(sorted, r->n_files, sizeof *sorted, by_file_name);
    qk_manifest_write(out, r->old, &r->run, r->out->head_dim, sorted, r->n_files, &r->examples_file,
                      r->examples, r->tokens);
    free(sorted);
}

static void write_card(qk_merge_report *r, const qk_json *manifest, qk_buf *out)
{
    qk_describe_split(&r->splits[0], manifest, &r->arena);
    size_t n = r->n_files + r->n_others;
    qk_card_file *all = qk_alloc(n, sizeof *all);
    if (r->n_files) memcpy(all, r->files, r->n_files * sizeof *all);
    if (r->n_others) memcpy(all + r->n_files, r->others, r->n_others * sizeof *all);
    qk_card_write(out, all, n, r->splits, r->n_splits);
    free(all);
}

qk_status qk_merge_report_write(qk_merge_report *r, qk_buf *manifest, qk_buf *card, qk_error *err)
{
    const qk_json *tree;
    write_manifest(r, manifest);
    QK_TRY(qk_json_parse(&r->arena, (const char *)manifest->data, manifest->size, "manifest", &tree,
                         err));
    write_card(r, tree, card);
    return QK_OK;
}

void qk_merge_report_free(qk_merge_report *r)
{
    free(r->units);
    free(r->files);
    free(r->sizes);
    free(r->others);
    free(r->splits);
    qk_arena_free(&r->arena);
    *r = (qk_merge_report){0};
}
