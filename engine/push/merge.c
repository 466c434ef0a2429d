/* See merge.h. */
#include "engine/push/merge.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/output/compatibility.h"
#include "engine/output/final_folder.h"
#include "engine/output/layout.h"
#include "engine/push/card.h"
#include "engine/push/join.h"

static char *name_in(const char *split, const char *name)
{
    return split ? qk_strf("%s/%s", split, name) : qk_strdup(name);
}

qk_status qk_push_incoming(const qk_push_merge *m, const char *split, const char *name, char **path,
                           qk_error *err)
{
    *path = NULL;
    char *full = name_in(split, name);
    const qk_hub_file *there = qk_hub_listing_find(&m->remote->listing, full);
    char *folder = qk_path_join(m->staging->folder, "incoming");
    qk_status s = there ? qk_fetch_files(m->lines, m->remote, &there, 1, folder, err) : QK_OK;
    if (s == QK_OK && there) *path = qk_path_join(folder, full);
    free(folder);
    free(full);
    return s;
}

qk_status qk_push_manifest(const qk_push_merge *m, const char *split, qk_arena *arena,
                           const qk_json **out, qk_error *err)
{
    char *path;
    *out = NULL;
    QK_TRY(qk_push_incoming(m, split, "manifest.json", &path, err));
    qk_status s = path ? qk_manifest_read_file(path, arena, out, err) : QK_OK;
    free(path);
    if (s != QK_ERR_FORMAT && s != QK_ERR_DAMAGED) return s;
    qk_error why = *err;
    return qk_fail(err, s, "push to another --branch, or put right or remove that file there",
                   "%s, branch %s: %s", m->remote->repo, m->remote->branch, why.message);
}

/* Whether the branch and the folder have the same bytes under a name. */
static bool is_equal(const qk_push_merge *m, const qk_hub_file *there)
{
    const qk_push_file *here = qk_push_files_find(m->files, there->path);
    return here && qk_push_file_is(here, there);
}

/* Data files of the branch that the folder does not have with these bytes. */
static size_t count_foreign(const qk_push_merge *m, const char *split)
{
    size_t n = 0;
    char head[32];
    for (size_t i = 0; i < m->remote->listing.count; i++)
        n += qk_parse_data_path(m->remote->listing.files[i].path, split, head) &&
             !is_equal(m, &m->remote->listing.files[i]);
    return n;
}

/* ---- branch layout ---- */

static qk_status check_branch(const qk_push_merge *m, const qk_json *ours, qk_arena *arena,
                              qk_error *err)
{
    const qk_json *theirs;
    QK_TRY(qk_push_manifest(m, NULL, arena, &theirs, err));
    const char *difference = theirs ? qk_compatibility_of_settings(theirs, ours, arena) : NULL;
    if (difference)
        return qk_fail(err, QK_ERR_CONFIG,
                       "push to another --branch, or replace this one with --delete-stale",
                       "%s, branch %s, holds a run with other settings; %s", m->remote->repo,
                       m->remote->branch, difference);
    if (theirs) return QK_OK;
    if (!count_foreign(m, NULL)) return QK_OK;
    return qk_fail(err, QK_ERR_CONFIG,
                   "push to another --branch, or replace this one with --delete-stale",
                   "%s, branch %s, holds other data files and no manifest.json", m->remote->repo,
                   m->remote->branch);
}

/* ---- prefix layout ---- */

/* Whether the folder has every file that the branch's manifest lists. */
static bool has_all_files(const qk_push_merge *m, const char *split, const qk_json *theirs)
{
    const qk_json *files = qk_json_get(theirs, "files");
    for (const qk_json *f = files ? files->first : NULL; f; f = f->next) {
        char *name = qk_strf("%s/%s/data.parquet", split, f->key);
        bool there = qk_push_files_find(m->files, name) != NULL;
        free(name);
        if (!there) return false;
    }
    return true;
}

static qk_status merge_split(qk_push_merge *m, const char *split, qk_error *err)
{
    char *manifest = name_in(split, "manifest.json");
    const qk_hub_file *there = qk_hub_listing_find(&m->remote->listing, manifest);
    bool same = there ? is_equal(m, there) : !count_foreign(m, split);
    free(manifest);
    if (same) return QK_OK;
    qk_arena arena = {0};
    const qk_json *ours = NULL, *theirs = NULL;
    char *folder = qk_path_join(m->folder, split);
    qk_status s = qk_manifest_read(folder, &arena, &ours, err);
    if (s == QK_OK) s = qk_push_manifest(m, split, &arena, &theirs, err);
    bool covered = theirs && qk_manifest_covers(ours, theirs) && has_all_files(m, split, theirs);
    if (s == QK_OK && !covered) s = qk_push_join(m, split, theirs, ours, err);
    free(folder);
    qk_arena_free(&arena);
    return s;
}

/* Folders with a manifest: splits. */
static qk_status find_splits(const qk_push_merge *m, qk_names *splits, qk_error *err)
{
    qk_names names = {0};
    QK_TRY(qk_list_dir(m->folder, &names, err));
    qk_status s = QK_OK;
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        bool there;
        qk_path_info info; /* a link is not pushed, so it is no split of this push */
        char *folder = qk_path_join(m->folder, names.items[i]);
        char *path = qk_path_join(folder, "manifest.json");
        s = qk_path_look_at_name(folder, &info, err);
        if (s == QK_OK && info.type == QK_PATH_FOLDER && names.items[i][0] != '.') {
            s = qk_has_file(path, &there, err);
            if (there) qk_names_add(splits, names.items[i]);
            if (there) s = qk_final_look(m->folder, names.items[i], err);
        }
        free(path);
        free(folder);
    }
    qk_names_free(&names);
    return s;
}

/* Rows of the branch are joined with those of folders per model, not with those at the root. */
static qk_status refuse_two_layouts(const qk_push_merge *m, qk_error *err)
{
    qk_names splits = {0};
    qk_status s = find_splits(m, &splits, err);
    if (s == QK_OK && splits.count)
        s = qk_fail(err, QK_ERR_CONFIG, "push them from folders of their own",
                    "%s: holds one run at its root and a folder per model as well (%s)", m->folder,
                    splits.items[0]);
    qk_names_free(&splits);
    return s;
}

static qk_status merge_splits(qk_push_merge *m, qk_error *err)
{
    qk_names splits = {0};
    qk_status s = find_splits(m, &splits, err);
    if (s == QK_OK && splits.count && count_foreign(m, NULL))
        s = qk_fail(err, QK_ERR_CONFIG, "push to another --branch",
                    "%s, branch %s, holds one run at its root, the folder one folder per model",
                    m->remote->repo, m->remote->branch);
    for (size_t i = 0; i < splits.count && s == QK_OK; i++)
        s = merge_split(m, splits.items[i], err);
    if (s == QK_OK && splits.count) s = qk_push_card(m, err);
    qk_names_free(&splits);
    return s;
}

qk_status qk_push_merge_run(qk_push_merge *m, qk_error *err)
{
    m->merged = 0;
    m->card = NULL;
    qk_arena arena = {0};
    const qk_json *root = NULL;
    qk_status s = qk_final_look(m->folder, NULL, err);
    if (s == QK_OK) s = qk_manifest_read(m->folder, &arena, &root, err);
    if (s == QK_OK && root) s = refuse_two_layouts(m, err);
    if (s == QK_OK) s = root ? check_branch(m, root, &arena, err) : merge_splits(m, err);
    qk_arena_free(&arena);
    return s;
}
