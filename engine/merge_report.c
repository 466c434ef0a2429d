/* See merge_report.h. */
#include "engine/merge_report.h"

#include <stdlib.h>
#include <string.h>

#include "engine/rows_file.h"

bool qk_parse_file_name(const char *name, int *layer, int *head, qk_kind *kind)
{
    char letter, rest;
    if (sscanf(name, "l%4dh%4d%c%c", layer, head, &letter, &rest) != 3) return false;
    *kind = (qk_kind)letter;
    return (letter == 'q' || letter == 'k') && *layer >= 0 && *head >= 0;
}

static void add_file(qk_merge_report *r, qk_card_file file, const qk_manifest_file *size)
{
    if (r->n_files == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 64;
        r->files = qk_realloc(r->files, r->capacity, sizeof *r->files);
        r->sizes = qk_realloc(r->sizes, r->capacity, sizeof *r->sizes);
    }
    r->files[r->n_files] = file;
    r->sizes[r->n_files++] = *size;
    r->rows += file.rows;
    r->nonfinite += size->nonfinite;
}

void qk_merge_report_add(qk_merge_report *r, int layer, int head, qk_kind kind,
                         const qk_manifest_file *file)
{
    add_file(r, (qk_card_file){r->plan->split, layer, head, kind, file->rows}, file);
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
    qk_rows_reader *reader = NULL;
    if (s == QK_OK && info.type == QK_PATH_FILE) s = qk_rows_open(&reader, path, 0, err);
    if (reader) {
        file->rows = size->rows = qk_rows_count(reader);
        size->nonfinite = qk_rows_nonfinite(reader);
        *head_dim = qk_rows_head_dim(reader);
    }
    qk_rows_close(reader);
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

static qk_status find_own_others(qk_merge_report *r, qk_error *err)
{
    qk_names names;
    qk_status s = list_if_there(r->plan->split_folder, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        qk_card_file file = {.split = r->plan->split};
        qk_manifest_file size;
        int d;
        if (!qk_parse_file_name(names.items[i], &file.layer, &file.head, &file.kind) ||
            is_known(r, names.items[i]))
            continue;
        s = count_file(r->plan->split_folder, names.items[i], &file, &size, &d, err);
        if (s != QK_OK || !size.bytes) continue;
        size.name = qk_arena_strndup(&r->arena, names.items[i], strlen(names.items[i]));
        add_file(r, file, &size);
    }
    qk_names_free(&names);
    return s;
}

static const char *text_of(qk_arena *arena, const qk_json *v)
{
    return v && v->type == QK_JSON_T_STRING ? qk_arena_strndup(arena, v->text, v->length) : NULL;
}

void qk_describe_split(qk_card_split *split, const qk_json *identity, qk_arena *arena)
{
    const qk_json *c = qk_json_get(identity, "config");
    const qk_json *dataset = qk_json_get(c, "dataset"), *model = qk_json_get(c, "model"),
                  *capture = qk_json_get(c, "capture");
    split->model = text_of(arena, qk_json_get(model, "name"));
    split->dtype = text_of(arena, qk_json_get(model, "dtype"));
    split->dataset = text_of(arena, qk_json_get(dataset, "path"));
    split->dataset_split = text_of(arena, qk_json_get(dataset, "split"));
    split->sampling = text_of(arena, qk_json_get(qk_json_get(capture, "sampler"), "type"));
}

static qk_card_split *add_split(qk_merge_report *r, const char *name, const char *folder)
{
    QK_GROW(r->splits, r->n_splits, r->splits_capacity);
    r->splits[r->n_splits] = (qk_card_split){.split = name, .folder = folder};
    return &r->splits[r->n_splits++];
}

static int64_t count_of(const qk_json *v)
{
    return v && v->is_integer ? v->integer : 0;
}

/* One folder of final/ that belongs to another model. */
static qk_status add_other_split(qk_merge_report *r, const char *name, qk_error *err)
{
    const char *folder = qk_arena_strf(&r->arena, "%s/%s", r->plan->final, name);
    const char *split = qk_arena_strndup(&r->arena, name, strlen(name));
    if (!strcmp(name, r->plan->split) || name[0] == '.') return QK_OK;
    qk_names names;
    QK_TRY(list_if_there(folder, &names, err));
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
    const qk_json *run = qk_json_get(manifest, "runs");
    for (run = run ? run->first : NULL; run && run->next; run = run->next) {
    }
    info.examples = count_of(qk_json_get(manifest, "examples"));
    info.tokens = count_of(qk_json_get(manifest, "tokens"));
    qk_describe_split(&info, qk_json_get(run, "identity"), &r->arena);
    *add_split(r, split, split) = info;
    return QK_OK;
}

qk_status qk_merge_report_find_others(qk_merge_report *r, qk_error *err)
{
    bool prefix = r->plan->config->output.layout == QK_LAYOUT_PREFIX;
    add_split(r, r->plan->split, prefix ? r->plan->split : "");
    if (!prefix) return QK_OK;
    QK_TRY(find_own_others(r, err));
    qk_names names;
    qk_status s = list_if_there(r->plan->final, &names, err);
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

void qk_merge_report_manifest(qk_merge_report *r, const qk_identity *id, const qk_json *old,
                              size_t n_units, qk_buf *out)
{
    qk_manifest_file *sorted = qk_alloc(r->n_files, sizeof *sorted);
    if (r->n_files) memcpy(sorted, r->sizes, r->n_files * sizeof *sorted);
    if (r->n_files) qsort(sorted, r->n_files, sizeof *sorted, by_file_name);
    bool prefix = r->plan->config->output.layout == QK_LAYOUT_PREFIX;
    qk_manifest_write(out, prefix ? old : NULL, id, r->plan->spec.d, sorted, r->n_files,
                      r->examples, r->tokens, r->units, n_units);
    free(sorted);
}

void qk_merge_report_card(qk_merge_report *r, const qk_identity *id, qk_buf *out)
{
    r->splits[0].head_dim = r->plan->spec.d;
    r->splits[0].examples = r->examples;
    r->splits[0].tokens = r->tokens;
    qk_describe_split(&r->splits[0], id->tree, &r->arena);
    size_t n = r->n_files + r->n_others;
    qk_card_file *all = qk_alloc(n, sizeof *all);
    if (r->n_files) memcpy(all, r->files, r->n_files * sizeof *all);
    if (r->n_others) memcpy(all + r->n_files, r->others, r->n_others * sizeof *all);
    *out = (qk_buf){0};
    qk_card_write(out, all, n, r->splits, r->n_splits);
    free(all);
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
