/* See merge_report.h. */
#include "engine/output/merge_report.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/sha256.h"
#include "engine/output/card_splits.h"
#include "engine/output/head_file.h"

void qk_merge_report_add(qk_merge_report *r, const qk_manifest_file *entry)
{
    QK_GROW(r->files, r->n_files, r->capacity);
    r->files[r->n_files++] = *entry;
    r->rows += entry->rows;
    r->nonfinite += entry->nonfinite;
}

static bool is_known(const qk_merge_report *r, const char *name)
{
    for (size_t i = 0; i < r->n_files; i++)
        if (!strcmp(r->files[i].name, name)) return true;
    return false;
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

/* A data file that this run did not write; nothing where it is none. */
static qk_status add_other(qk_merge_report *r, const char *name, qk_error *err)
{
    const char *path = qk_arena_strf(&r->arena, "%s/%s/data.parquet", r->out->folder, name);
    qk_path_info info;
    qk_head_file_reader *reader;
    QK_TRY(qk_path_stat(path, &info, err));
    if (info.type != QK_PATH_FILE) return QK_OK;
    QK_TRY(qk_head_file_open(&reader, path, 0, err));
    qk_manifest_file entry = {.name = qk_arena_strndup(&r->arena, name, strlen(name)),
                              .rows = qk_head_file_count(reader),
                              .bytes = info.size,
                              .nonfinite = qk_head_file_nonfinite(reader)};
    qk_head_file_close(reader);
    QK_TRY(find_digest(r, &entry, err));
    qk_merge_report_add(r, &entry);
    return QK_OK;
}

qk_status qk_merge_report_find_others(qk_merge_report *r, qk_error *err)
{
    qk_names names;
    int layer, head;
    qk_kind kind;
    bool there;
    QK_TRY(qk_has_folder(r->out->folder, &there, err));
    if (!there) return QK_OK;
    qk_status s = qk_list_dir(r->out->folder, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++)
        if (qk_parse_file_name(names.items[i], &layer, &head, &kind) &&
            !is_known(r, names.items[i]))
            s = add_other(r, names.items[i], err);
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
    if (r->n_files) memcpy(sorted, r->files, r->n_files * sizeof *sorted);
    if (r->n_files) qsort(sorted, r->n_files, sizeof *sorted, by_file_name);
    qk_manifest_write(out, r->old, &r->run, r->out->head_dim, sorted, r->n_files, &r->examples_file,
                      r->examples, r->tokens);
    free(sorted);
}

qk_status qk_merge_report_write(qk_merge_report *r, qk_buf *manifest, qk_buf *card, qk_error *err)
{
    const qk_json *tree;
    write_manifest(r, manifest);
    QK_TRY(qk_json_parse(&r->arena, (const char *)manifest->data, manifest->size, "manifest", &tree,
                         err));
    const qk_output *o = r->out;
    return qk_card_make(card, o->final, o->split, o->prefix ? o->split : "", tree, err);
}

void qk_merge_report_free(qk_merge_report *r)
{
    free(r->units);
    free(r->files);
    qk_arena_free(&r->arena);
    *r = (qk_merge_report){0};
}
