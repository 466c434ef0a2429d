/* See join_folders.h. Steps: check both folders, join split by split, card, the rename. */
#include "engine/output/join_folders.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/output/card_splits.h"
#include "engine/output/compatibility.h"
#include "engine/output/final_folder.h"
#include "engine/output/join.h"
#include "engine/output/layout.h"
#include "engine/staging/publish.h"

/* One split of a folder, or what a folder in branch layout holds. */
typedef struct part {
    const char *split, *path;
    const qk_json *manifest;
    qk_names heads;
} part;

typedef struct input {
    const char *folder;
    qk_staging run; /* held, where it belongs to a data_root */
    char *run_path;
    bool branch; /* one run at its root */
    part *parts; /* in name order */
    size_t count, capacity;
} input;

typedef struct folder_join {
    input a, b;
    const char *out, *work; /* OUT, OUT.joining */
    qk_staging staging;
    qk_join_report *report;
    qk_arena arena;
    qk_error *err;
} folder_join;

/* ---- what is in a folder ---- */

/* Reads what the split holds (NULL: the folder itself), all of it; nothing where it has no
 * manifest. */
static qk_status add_part(folder_join *w, input *in, const char *split)
{
    part p = {.split = split ? qk_arena_strf(&w->arena, "%s", split) : "train",
              .path = split ? qk_arena_strf(&w->arena, "%s/%s", in->folder, split) : in->folder};
    QK_TRY(qk_final_check(in->folder, split, w->err));
    QK_TRY(qk_manifest_read(p.path, &w->arena, &p.manifest, w->err));
    QK_TRY(qk_list_heads(p.path, &p.heads, w->err));
    if (!p.manifest && p.heads.count) {
        qk_fail(w->err, QK_ERR_DATA, "move these files out of the folder to join the rest",
                "%s: holds data files and no manifest.json", p.path);
        qk_names_free(&p.heads);
        return w->err->status;
    }
    if (!p.manifest) return QK_OK;
    QK_GROW(in->parts, in->count, in->capacity);
    in->parts[in->count++] = p;
    return qk_manifest_check(p.manifest, p.path, w->err);
}

static qk_status read_input(folder_join *w, input *in)
{
    bool there;
    qk_names names;
    QK_TRY(qk_has_folder(in->folder, &there, w->err));
    if (!there)
        return qk_fail(w->err, QK_ERR_NOTFOUND, "give the final/ folder of a run",
                       "%s: no such folder", in->folder);
    QK_TRY(add_part(w, in, NULL));
    in->branch = in->count > 0;
    QK_TRY(qk_list_dir(in->folder, &names, w->err));
    qk_status s = QK_OK;
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        qk_path_info info;
        const char *name = names.items[i];
        const char *path = qk_arena_strf(&w->arena, "%s/%s", in->folder, name);
        if (*name == '.' || qk_is_file_name(name)) continue;
        s = qk_path_lstat(path, &info, w->err);
        if (s == QK_OK && info.type == QK_PATH_LINK)
            s = qk_fail(w->err, QK_ERR_DATA, "put the folder itself there, or remove the link",
                        "%s: is a link", path);
        if (s == QK_OK && info.type == QK_PATH_FOLDER) s = add_part(w, in, name);
    }
    qk_names_free(&names);
    if (s == QK_OK && in->branch && in->count > 1)
        s = qk_fail(w->err, QK_ERR_CONFIG, "join folders of one layout",
                    "%s: holds one run at its root and a folder per model as well (%s)", in->folder,
                    in->parts[1].split);
    if (s == QK_OK && !in->count)
        s = qk_fail(w->err, QK_ERR_NOTFOUND, "give the final/ folder of a run",
                    "%s: holds no dataset", in->folder);
    return s;
}

static void free_input(input *in)
{
    for (size_t i = 0; i < in->count; i++) qk_names_free(&in->parts[i].heads);
    free(in->parts);
    qk_staging_close(&in->run);
    free(in->run_path);
}

static const part *find_part(const input *in, const char *split)
{
    for (size_t i = 0; i < in->count; i++)
        if (!strcmp(in->parts[i].split, split)) return &in->parts[i];
    return NULL;
}

/* ---- split by split ---- */

static bool has_head(const part *p, const char *name)
{
    for (size_t i = 0; p && i < p->heads.count; i++)
        if (!strcmp(p->heads.items[i], name)) return true;
    return false;
}

/* Whether both manifests say the same digest; what they list was checked. */
static bool is_equal(const part *first, const part *second, const char *name)
{
    qk_manifest_file x, y;
    return first && second && qk_manifest_find(first->manifest, name, &x) &&
           qk_manifest_find(second->manifest, name, &y) && *x.sha256 && !strcmp(x.sha256, y.sha256);
}

/* first: NULL for a split that is copied. */
static qk_status write_split(folder_join *w, const part *first, const part *second)
{
    const char *below = w->a.branch ? "" : qk_arena_strf(&w->arena, "%s/", second->split);
    size_t n = 0, most = second->heads.count + (first ? first->heads.count : 0);
    qk_join_head *heads = qk_zalloc(most, sizeof *heads);
    for (size_t i = 0; i < second->heads.count; i++) {
        const char *name = second->heads.items[i];
        heads[n++] =
            (qk_join_head){name, has_head(first, name), true, is_equal(first, second, name)};
    }
    for (size_t i = 0; first && i < first->heads.count; i++)
        if (!has_head(second, first->heads.items[i]))
            heads[n++] = (qk_join_head){.name = first->heads.items[i], .first = true};
    const qk_join join = {
        .staging = &w->staging,
        .split = second->split,
        .below = below,
        .once = !w->a.branch,
        .first = {first ? first->path : NULL, first ? first->manifest : NULL, w->a.folder,
                  QK_JOIN_COPY},
        .second = {second->path, second->manifest, w->b.folder, QK_JOIN_COPY},
        .heads = heads,
        .n_heads = n,
        .hint = "join them to folders of their own",
    };
    qk_join_result result;
    qk_status s = qk_join_run(&join, &result, w->err);
    w->report->splits++;
    w->report->files += result.files;
    w->report->rows += result.rows;
    free(heads);
    return s;
}

/* Whether nothing of b is new beside a. */
static bool covers(folder_join *w, const part *a, const part *b)
{
    if (qk_compatibility_of_manifests(a->manifest, b->manifest, &w->arena)) return false;
    for (size_t i = 0; i < b->heads.count; i++)
        if (!has_head(a, b->heads.items[i])) return false;
    return qk_manifest_covers(a->manifest, b->manifest);
}

static qk_status write_splits(folder_join *w)
{
    for (size_t i = 0; i < w->a.count; i++) {
        const part *a = &w->a.parts[i], *b = find_part(&w->b, a->split);
        bool alone = !b || w->a.branch || covers(w, a, b);
        QK_TRY(alone ? write_split(w, NULL, a) : write_split(w, a, b));
    }
    for (size_t i = 0; i < w->b.count; i++)
        if (!find_part(&w->a, w->b.parts[i].split)) QK_TRY(write_split(w, NULL, &w->b.parts[i]));
    return QK_OK;
}

/* Rows of branch layout lie together only where the same run made them. */
static qk_status check_layouts(folder_join *w)
{
    const input *a = &w->a, *b = &w->b;
    if (a->branch != b->branch)
        return qk_fail(w->err, QK_ERR_CONFIG, "join folders of one layout",
                       "%s holds one run at its root, %s one folder per model",
                       (a->branch ? a : b)->folder, (a->branch ? b : a)->folder);
    if (!a->branch) return QK_OK;
    const char *difference =
        qk_compatibility_of_settings(a->parts->manifest, b->parts->manifest, &w->arena);
    if (!difference) return QK_OK;
    return qk_fail(w->err, QK_ERR_CONFIG, "a folder of branch layout holds one set of options",
                   "%s holds a run with other settings than %s; %s", a->folder, b->folder,
                   difference);
}

/* ---- OUT ---- */

static qk_status check_out(const folder_join *w)
{
    qk_path_info info;
    qk_names names = {0};
    QK_TRY(qk_path_lstat(w->out, &info, w->err));
    if (info.type == QK_PATH_ABSENT) return QK_OK;
    if (info.type == QK_PATH_FOLDER) QK_TRY(qk_list_dir(w->out, &names, w->err));
    bool empty = info.type == QK_PATH_FOLDER && !names.count;
    qk_names_free(&names);
    if (empty) return QK_OK;
    return qk_fail(w->err, QK_ERR_CONFIG, "give the name of a new folder",
                   "%s: is there already, and is no empty folder", w->out);
}

static bool lies_in(const char *path, const char *folder)
{
    char *real = realpath(path, NULL), *above = realpath(folder, NULL);
    size_t n = above ? strlen(above) : 0;
    bool within = n && real && !strncmp(real, above, n) && (!real[n] || real[n] == '/');
    free(real);
    free(above);
    return within;
}

/* OUT has a name of its own and lies in neither folder, which would be pushed with it; and neither
 * lies in OUT.joining, which is emptied. */
static qk_status check_place(folder_join *w)
{
    const char *name = qk_path_name(w->out), *hint = "give the name of a new folder";
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return qk_fail(w->err, QK_ERR_CONFIG, hint, "'%s': is no name of a folder", w->out);
    /* The folder around OUT, or the next one above that is there. */
    qk_path_info info = {0};
    const char *above = w->out;
    while (info.type == QK_PATH_ABSENT && strcmp(above, ".") != 0 && strcmp(above, "/") != 0) {
        const char *slash = strrchr(above, '/');
        size_t n = slash ? (size_t)(slash - above) : 0;
        above = !slash ? "." : !n ? "/" : qk_arena_strndup(&w->arena, above, n);
        QK_TRY(qk_path_stat(above, &info, w->err));
    }
    for (int i = 0; i < 2; i++) {
        const char *folder = i ? w->b.folder : w->a.folder;
        if (lies_in(above, folder))
            return qk_fail(w->err, QK_ERR_CONFIG, hint, "%s: would lie in %s, which stays as it is",
                           w->out, folder);
        if (lies_in(folder, w->work))
            return qk_fail(w->err, QK_ERR_CONFIG, hint, "%s: would be made in %s, where %s lies",
                           w->out, w->work, folder);
    }
    return QK_OK;
}

static qk_status write_card(folder_join *w, const char *merged)
{
    qk_buf text = {0};
    const qk_json *manifest;
    const char *split = w->a.parts->split, *folder = w->a.branch ? "" : split,
               *in = *folder ? qk_arena_strf(&w->arena, "%s/%s", merged, folder) : merged;
    QK_TRY(qk_manifest_read(in, &w->arena, &manifest, w->err));
    qk_status s = qk_card_make(&text, merged, split, folder, manifest, w->err);
    const char *path = qk_arena_strf(&w->arena, "%s/README.md", merged);
    if (s == QK_OK) s = qk_write_file(path, text.data, text.size, w->err);
    qk_buf_free(&text);
    return s;
}

static qk_status write_out(folder_join *w)
{
    qk_path_info info;
    const char *merged = qk_arena_strf(&w->arena, "%s/merged", w->work);
    QK_TRY(check_out(w)); /* another process may have been here */
    QK_TRY(qk_publish_clean(&w->staging, w->err));
    QK_TRY(qk_path_lstat(merged, &info, w->err));
    if (info.type != QK_PATH_ABSENT) /* it would become a part of OUT */
        return qk_fail(w->err, QK_ERR_DATA, "move them away, or remove them",
                       "%s: holds files that no join has left there", merged);
    QK_TRY(write_splits(w));
    QK_TRY(write_card(w, merged));
    QK_TRY(qk_interrupt_check(w->err));
    return qk_move_file(merged, w->out, w->err);
}

static qk_status join(folder_join *w)
{
    struct stat a, b;
    bool same = !stat(w->a.folder, &a) && !stat(w->b.folder, &b) && a.st_dev == b.st_dev &&
                a.st_ino == b.st_ino;
    QK_TRY(check_place(w));
    QK_TRY(check_out(w));
    QK_TRY(qk_final_hold(w->a.folder, &w->a.run, &w->a.run_path, w->err));
    bool held = same && w->a.run_path; /* under the other name it may be no final/ */
    if (!held) QK_TRY(qk_final_hold(w->b.folder, &w->b.run, &w->b.run_path, w->err));
    QK_TRY(read_input(w, &w->a));
    QK_TRY(read_input(w, &w->b));
    QK_TRY(check_layouts(w));
    QK_TRY(qk_staging_open_alone(&w->staging, w->work, w->err));
    qk_status s = write_out(w);
    qk_publish_end(&w->staging); /* anything else in OUT.joining stays */
    return s;
}

static const char *without_slash(qk_arena *arena, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    return qk_arena_strndup(arena, path, n);
}

qk_status qk_join_folders(const char *a, const char *b, const char *out, qk_join_report *report,
                          qk_error *err)
{
    folder_join w = {.staging.lock = -1, .report = report, .err = err};
    w.a = (input){.folder = without_slash(&w.arena, a), .run.lock = -1};
    w.b = (input){.folder = without_slash(&w.arena, b), .run.lock = -1};
    w.out = without_slash(&w.arena, out);
    w.work = qk_arena_strf(&w.arena, "%s.joining", w.out);
    *report = (qk_join_report){0};
    qk_interrupt_install();
    qk_status s = join(&w);
    free_input(&w.a);
    free_input(&w.b);
    qk_arena_free(&w.arena);
    return s;
}
