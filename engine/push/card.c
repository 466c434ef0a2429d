/* See card.h. */
#include "engine/push/card.h"

#include <stdlib.h>
#include <string.h>

#include "engine/output/merge_report.h"

typedef struct card {
    qk_card_file *files;
    size_t n_files, files_capacity;
    qk_card_split *splits;
    size_t n_splits, splits_capacity;
    qk_arena arena;
} card;

static int64_t number(const qk_json *object, const char *key)
{
    const qk_json *v = qk_json_get(object, key);
    return v && v->is_integer ? v->integer : 0;
}

static void add_split(card *c, const char *name, const qk_json *manifest)
{
    name = qk_arena_strndup(&c->arena, name, strlen(name));
    const qk_json *files = qk_json_get(manifest, "files");
    qk_card_split split = {.split = name, .folder = name};
    qk_describe_split(&split, manifest, &c->arena);
    QK_GROW(c->splits, c->n_splits, c->splits_capacity);
    c->splits[c->n_splits++] = split;
    for (const qk_json *f = files ? files->first : NULL; f; f = f->next) {
        qk_card_file file = {.split = name, .rows = (uint64_t)number(f, "rows")};
        if (!qk_parse_file_name(f->key, &file.layer, &file.head, &file.kind)) continue;
        QK_GROW(c->files, c->n_files, c->files_capacity);
        c->files[c->n_files++] = file;
    }
}

static qk_status add_ours(card *c, const qk_push_merge *m, const char *split, qk_error *err)
{
    char *folder = qk_path_join(m->folder, split);
    const qk_json *manifest = NULL;
    qk_status s = qk_manifest_read(folder, &c->arena, &manifest, err);
    if (s == QK_OK) add_split(c, split, manifest);
    free(folder);
    return s;
}

static bool has(const qk_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (!strcmp(names->items[i], name)) return true;
    return false;
}

/* Splits that only the branch has: its X/manifest.json. */
static qk_status add_theirs(card *c, const qk_push_merge *m, const qk_names *ours, qk_error *err)
{
    for (size_t i = 0; i < m->remote->listing.count; i++) {
        const char *name = m->remote->listing.files[i].path, *slash = strchr(name, '/');
        if (!slash || strcmp(slash, "/manifest.json")) continue;
        const char *split = qk_arena_strndup(&c->arena, name, (size_t)(slash - name));
        if (has(ours, split)) continue;
        char *path = NULL;
        const qk_json *manifest;
        QK_TRY(qk_push_incoming(m, split, "manifest.json", &path, err));
        qk_status s = qk_manifest_read_file(path, &c->arena, &manifest, err);
        free(path);
        QK_TRY(s);
        add_split(c, split, manifest);
    }
    return QK_OK;
}

/* Whether the folder's README.md says just this. */
static qk_status is_ours(const qk_push_merge *m, const qk_buf *text, bool *same, qk_error *err)
{
    char *path = qk_path_join(m->folder, "README.md");
    qk_buf readme;
    bool there;
    qk_status s = qk_read_file_if_there(&readme, path, 1 << 28, &there, err);
    *same = s == QK_OK && there && readme.size == text->size &&
            !memcmp(readme.data, text->data, text->size);
    qk_buf_free(&readme);
    free(path);
    return s;
}

static int by_split(const void *a, const void *b)
{
    const qk_card_split *x = a, *y = b;
    return strcmp(x->split, y->split);
}

static qk_status write_card(card *c, qk_push_merge *m, const char *path, bool *same, qk_error *err)
{
    qk_buf text = {0};
    if (c->n_splits) qsort(c->splits, c->n_splits, sizeof *c->splits, by_split);
    qk_card_write(&text, c->files, c->n_files, c->splits, c->n_splits);
    qk_status s = is_ours(m, &text, same, err);
    if (s == QK_OK && !*same) s = qk_write_file(path, text.data, text.size, err);
    qk_buf_free(&text);
    return s;
}

qk_status qk_push_card(qk_push_merge *m, const qk_names *splits, qk_error *err)
{
    card c = {0};
    qk_status s = QK_OK;
    bool same = true;
    for (size_t i = 0; i < splits->count && s == QK_OK; i++)
        s = add_ours(&c, m, splits->items[i], err);
    size_t own_files = c.n_files, own_splits = c.n_splits;
    /* What the folder took in changes its own card too. */
    char *own = qk_path_join(m->folder, "README.md");
    char *path = qk_path_join(m->staging->folder, "README.md");
    if (s == QK_OK && m->merged) s = write_card(&c, m, own, &same, err);
    if (s == QK_OK) s = add_theirs(&c, m, splits, err);
    bool more = c.n_splits > own_splits || c.n_files > own_files;
    if (s == QK_OK) s = write_card(&c, m, path, &same, err);
    if (s == QK_OK && (more || !same)) m->card = same ? NULL : qk_strdup(path);
    free(own);
    free(path);
    free(c.files);
    free(c.splits);
    qk_arena_free(&c.arena);
    return s;
}
