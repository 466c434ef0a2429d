/* See merge.h. From top to bottom: what branch and folder hold, branch layout, the join of a split,
 * the branch's card. */
#include "engine/push/merge.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/output/card_splits.h"
#include "engine/output/compatibility.h"
#include "engine/output/final_folder.h"
#include "engine/output/join.h"
#include "engine/output/layout.h"
#include "engine/staging/publish.h"
#include "hub/fetch.h"

typedef struct merger {
    qk_push_merge *m;
    const qk_hub_listing *branch; /* its files */
    const char *incoming;         /* folder of those that were fetched */
    const char *folder;           /* that is pushed, without a slash at its end */
    const char *split;            /* that is joined, */
    qk_join_head *heads;          /* and its head files, by name */
    size_t n_heads, heads_capacity;
    qk_arena arena; /* names, some for each file, and manifests */
    qk_error *err;
} merger;

/* ---- what branch and folder hold ---- */

static const char *name_in(merger *w, const char *split, const char *name)
{
    return split ? qk_arena_strf(&w->arena, "%s/%s", split, name) : name;
}

/* The split's file (NULL split: at the root) as the branch has it, fetched when it is not there.
 * *path NULL: the branch has none. */
static qk_status fetch_one(merger *w, const char *split, const char *name, const char **path)
{
    const char *full = name_in(w, split, name);
    const qk_hub_file *there = qk_hub_listing_find(w->branch, full);
    *path = there ? qk_arena_strf(&w->arena, "%s/%s", w->incoming, full) : NULL;
    if (!there) return QK_OK;
    return qk_fetch_files(w->m->lines, w->m->remote, &there, 1, w->incoming, w->err);
}

/* The manifest of that split as the branch has it; NULL: it has none. */
static qk_status fetch_manifest(merger *w, const char *split, const qk_json **out)
{
    const char *path;
    *out = NULL;
    QK_TRY(fetch_one(w, split, "manifest.json", &path));
    qk_status s = path ? qk_manifest_read_file(path, &w->arena, out, w->err) : QK_OK;
    if (s != QK_ERR_FORMAT && s != QK_ERR_DAMAGED) return s;
    qk_error why = *w->err;
    return qk_fail(w->err, s, "push to another --branch, or put right or remove that file there",
                   "%s, branch %s: %s", w->m->remote->repo, w->m->remote->branch, why.message);
}

/* Whether the branch and the folder have the same bytes under a name. */
static bool is_equal(const merger *w, const qk_hub_file *there)
{
    const qk_push_file *here = qk_push_files_find(w->m->files, there->path);
    return here && qk_push_file_is(here, there);
}

/* Data files of the branch that the folder does not have with these bytes. */
static size_t count_foreign(const merger *w, const char *split)
{
    size_t n = 0;
    char head[32];
    for (size_t i = 0; i < w->branch->count; i++)
        n += qk_parse_data_path(w->branch->files[i].path, split, head) &&
             !is_equal(w, &w->branch->files[i]);
    return n;
}

/* Folders with a manifest: splits. */
static qk_status find_splits(merger *w, qk_names *splits)
{
    qk_names names = {0};
    QK_TRY(qk_list_dir(w->folder, &names, w->err));
    qk_status s = QK_OK;
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        bool there = false;
        qk_path_info info; /* a link is not pushed, so it is no split of this push */
        const char *path = qk_arena_strf(&w->arena, "%s/%s", w->folder, names.items[i]);
        s = qk_path_lstat(path, &info, w->err);
        if (s == QK_OK && info.type == QK_PATH_FOLDER && names.items[i][0] != '.')
            s = qk_has_file(name_in(w, path, "manifest.json"), &there, w->err);
        if (there) qk_names_add(splits, names.items[i]);
        if (there) s = qk_final_check(w->folder, names.items[i], w->err);
    }
    qk_names_free(&names);
    return s;
}

/* ---- branch layout ---- */

static qk_status check_branch(merger *w, const qk_json *ours)
{
    static const char hint[] = "push to another --branch, or replace this one with --delete-stale";
    const qk_remote *remote = w->m->remote;
    const qk_json *theirs;
    QK_TRY(fetch_manifest(w, NULL, &theirs));
    if (!theirs && count_foreign(w, NULL))
        return qk_fail(w->err, QK_ERR_CONFIG, hint,
                       "%s, branch %s, holds other data files and no manifest.json", remote->repo,
                       remote->branch);
    const char *difference = theirs ? qk_compatibility_of_settings(theirs, ours, &w->arena) : NULL;
    if (!difference) return QK_OK;
    return qk_fail(w->err, QK_ERR_CONFIG, hint,
                   "%s, branch %s, holds a run with other settings; %s", remote->repo,
                   remote->branch, difference);
}

/* ---- prefix layout: the join of a split ---- */

/* A head file of the branch, or of the folder alone. */
static void add_head(merger *w, const char *path, const qk_hub_file *there,
                     const qk_push_file *here)
{
    char name[32];
    if (!qk_parse_data_path(path, w->split, name)) return;
    QK_GROW(w->heads, w->n_heads, w->heads_capacity);
    w->heads[w->n_heads++] = (qk_join_head){
        .name = qk_arena_strf(&w->arena, "%s", name),
        .first = there != NULL,
        .second = here != NULL,
        .equal = here && qk_push_file_is(here, there),
    };
}

static int by_name(const void *a, const void *b)
{
    const qk_join_head *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void list_heads(merger *w)
{
    const qk_push_files *files = w->m->files;
    w->n_heads = 0;
    for (size_t i = 0; i < w->branch->count; i++) {
        const qk_hub_file *there = &w->branch->files[i];
        add_head(w, there->path, there, qk_push_files_find(files, there->path));
    }
    for (size_t i = 0; i < files->count; i++)
        if (!qk_hub_listing_find(w->branch, files->items[i].name))
            add_head(w, files->items[i].name, NULL, &files->items[i]);
    if (w->n_heads) qsort(w->heads, w->n_heads, sizeof *w->heads, by_name);
}

/* What of the branch is not here with the same bytes. */
static qk_status fetch(void *context, bool heads, qk_error *err)
{
    merger *w = context;
    const qk_push_merge *m = w->m;
    const char *path;
    if (!heads) return fetch_one(w, w->split, "examples.parquet", &path);
    const qk_hub_file **wanted = qk_alloc(w->n_heads, sizeof *wanted);
    size_t n = 0;
    for (size_t i = 0; i < w->n_heads; i++) {
        if (!w->heads[i].first || w->heads[i].equal) continue;
        path = qk_arena_strf(&w->arena, "%s/%s/data.parquet", w->split, w->heads[i].name);
        wanted[n++] = qk_hub_listing_find(w->branch, path);
    }
    qk_info("%s: %zu files of %s changed in the meantime, merging them", m->remote->repo, n,
            w->split);
    qk_status s = qk_fetch_files(m->lines, m->remote, wanted, n, w->incoming, err);
    free(wanted);
    return s;
}

static qk_status join_split(merger *w, const qk_json *theirs, const qk_json *ours)
{
    const qk_push_merge *m = w->m;
    list_heads(w);
    const qk_join join = {
        .staging = m->staging,
        .final = m->folder,
        .split = w->split,
        .below = name_in(w, w->split, ""),
        .once = true,
        .first = {name_in(w, w->incoming, w->split), theirs, m->remote->repo, QK_JOIN_MOVE},
        .second = {name_in(w, w->folder, w->split), ours, m->folder, QK_JOIN_STAY},
        .heads = w->heads,
        .n_heads = w->n_heads,
        .fetch = fetch,
        .context = w,
        .hint = "push to another repository or --branch",
    };
    qk_join_result result;
    qk_status s = qk_join_run(&join, &result, w->err);
    w->m->merged += result.written;
    return s;
}

/* Whether the folder has every run of the branch, and every file that its manifest lists. */
static bool is_covered(merger *w, const qk_json *theirs, const qk_json *ours)
{
    const qk_json *files = qk_json_get(theirs, "files");
    for (const qk_json *f = files ? files->first : NULL; f; f = f->next)
        if (!qk_push_files_find(w->m->files,
                                qk_arena_strf(&w->arena, "%s/%s/data.parquet", w->split, f->key)))
            return false;
    return theirs && qk_manifest_covers(ours, theirs);
}

static qk_status merge_split(merger *w, const char *split)
{
    const qk_hub_file *there = qk_hub_listing_find(w->branch, name_in(w, split, "manifest.json"));
    const qk_json *ours, *theirs;
    w->split = split;
    if (there ? is_equal(w, there) : !count_foreign(w, split)) return QK_OK;
    QK_TRY(qk_manifest_read(name_in(w, w->folder, split), &w->arena, &ours, w->err));
    QK_TRY(fetch_manifest(w, split, &theirs));
    return is_covered(w, theirs, ours) ? QK_OK : join_split(w, theirs, ours);
}

/* ---- the branch's card ---- */

/* A split of the branch, from the names of its files and its manifest, which is fetched. */
static qk_status add_split(merger *w, qk_card *c, const char *split)
{
    qk_names names = {0};
    const qk_json *manifest = NULL;
    for (size_t i = 0; i < w->branch->count; i++) {
        char head[32];
        if (qk_parse_data_path(w->branch->files[i].path, split, head)) qk_names_add(&names, head);
    }
    qk_status s = names.count ? fetch_manifest(w, split, &manifest) : QK_OK;
    if (s == QK_ERR_FORMAT || s == QK_ERR_DAMAGED) { /* of another model: no reason to stop */
        qk_warn("%s; README.md says little of %s", w->err->message, split);
        s = QK_OK;
    }
    if (s == QK_OK) qk_card_add(c, split, split, &names, manifest);
    qk_names_free(&names);
    return s;
}

/* Splits that only the branch has: the folders in it that datasets can call so. */
static qk_status add_theirs(merger *w, qk_card *c)
{
    const char *last = "";
    for (size_t i = 0; i < w->branch->count; i++) {
        const char *path = w->branch->files[i].path, *slash = strchr(path, '/');
        size_t n = slash ? (size_t)(slash - path) : 0;
        if (!n || (!strncmp(path, last, n) && !last[n])) continue;
        last = qk_arena_strndup(&w->arena, path, n);
        if (qk_is_split_name(last) && !qk_card_has(c, last)) QK_TRY(add_split(w, c, last));
    }
    return QK_OK;
}

/* Where the branch has splits that the folder lacks, its README.md lists those, too; else it is the
 * folder's own. */
static qk_status write_card(merger *w)
{
    qk_card c = {0};
    qk_buf text = {0};
    char *path = qk_path_join(w->m->staging->folder, "README.md");
    qk_status s = qk_card_add_folders(&c, w->m->folder, w->err);
    size_t ours = c.n_splits;
    if (s == QK_OK) s = add_theirs(w, &c);
    bool other = s == QK_OK && c.n_splits > ours;
    if (other) qk_card_text(&c, &text);
    if (other) s = qk_write_file(path, text.data, text.size, w->err);
    if (other && s == QK_OK)
        w->m->card = path;
    else
        free(path);
    qk_buf_free(&text);
    qk_card_free(&c);
    return s;
}

/* ---- all of it ---- */

/* Rows of the branch are joined with those of folders per model, not with those at the root. */
static qk_status merge(merger *w, const qk_names *splits, const qk_json *root)
{
    const qk_push_merge *m = w->m;
    if (root && splits->count)
        return qk_fail(w->err, QK_ERR_CONFIG, "push them from folders of their own",
                       "%s: holds one run at its root and a folder per model as well (%s)",
                       m->folder, splits->items[0]);
    if (root) return check_branch(w, root);
    if (!splits->count) return QK_OK;
    if (count_foreign(w, NULL))
        return qk_fail(w->err, QK_ERR_CONFIG, "push to another --branch",
                       "%s, branch %s, holds one run at its root, the folder one folder per model",
                       m->remote->repo, m->remote->branch);
    for (size_t i = 0; i < splits->count; i++) QK_TRY(merge_split(w, splits->items[i]));
    return write_card(w);
}

qk_status qk_push_merge_run(qk_push_merge *m, qk_error *err)
{
    merger w = {.m = m, .branch = &m->remote->listing, .err = err};
    qk_names splits = {0};
    const qk_json *root = NULL;
    m->merged = 0;
    m->card = NULL;
    size_t n = strlen(m->folder);
    while (n > 1 && m->folder[n - 1] == '/') n--;
    w.folder = qk_arena_strndup(&w.arena, m->folder, n);
    w.incoming = qk_arena_strf(&w.arena, "%s/incoming", m->staging->folder);
    qk_status s = qk_final_check(m->folder, NULL, err);
    if (s == QK_OK) s = qk_manifest_read(m->folder, &w.arena, &root, err);
    if (s == QK_OK) s = find_splits(&w, &splits);
    if (s == QK_OK) s = merge(&w, &splits, root);
    qk_names_free(&splits);
    free(w.heads);
    qk_arena_free(&w.arena);
    return s;
}
