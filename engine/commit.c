/* See commit.h. */
#include "engine/commit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOURNAL_LIMIT = 256 << 20 };

static char *journal_path(const qk_staging *s)
{
    return qk_path_join(s->folder, "commit.json");
}

char *qk_commit_path(const qk_staging *s, const char *relative, qk_error *err)
{
    char *path = qk_strf("%s/merged/%s", s->folder, relative);
    char *slash = strrchr(path, '/');
    *slash = 0;
    bool made = qk_make_dirs(path, err) == QK_OK;
    *slash = '/';
    if (made) return path;
    free(path);
    return NULL;
}

static qk_status move(const qk_staging *s, const char *final_folder, const char *relative,
                      qk_error *err)
{
    char *from = qk_strf("%s/merged/%s", s->folder, relative);
    char *to = qk_path_join(final_folder, relative), *folder = qk_strdup(to);
    *strrchr(folder, '/') = 0;
    qk_status status = qk_make_dirs(folder, err);
    /* Moved before the crash: nothing is left to do for this one. */
    bool pending = false;
    if (status == QK_OK) status = qk_has_file(from, &pending, err);
    if (status == QK_OK && pending && rename(from, to) != 0)
        status = qk_fail_write(err, "cannot write", to);
    if (status == QK_OK) status = qk_sync_dir(folder, err);
    free(from);
    free(to);
    free(folder);
    return status;
}

/* Removes the emptied folders of staging/merged. */
static void remove_folders(const qk_staging *s, const qk_names *files)
{
    for (size_t i = 0; i < files->count; i++) {
        char *path = qk_strf("%s/merged/%s", s->folder, files->items[i]);
        for (char *slash;
             (slash = strrchr(path, '/')) && (size_t)(slash - path) > strlen(s->folder);) {
            *slash = 0;
            if (rmdir(path) != 0) break;
        }
        free(path);
    }
}

static qk_status move_all(const qk_staging *s, const char *final_folder, const qk_names *files,
                          qk_error *err)
{
    for (size_t i = 0; i < files->count; i++) QK_TRY(move(s, final_folder, files->items[i], err));
    QK_TRY(qk_sync_dir(final_folder, err));
    remove_folders(s, files);
    char *journal = journal_path(s);
    qk_status status = qk_remove_file(journal, err);
    free(journal);
    return status;
}

qk_status qk_commit_files(const qk_staging *s, const char *final_folder, const qk_names *files,
                          qk_error *err)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_begin(&o, "files", '[');
    for (size_t i = 0; i < files->count; i++) qk_json_add_str(&o, NULL, files->items[i]);
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    char *journal = journal_path(s);
    qk_status status = qk_make_dirs(final_folder, err);
    if (status == QK_OK) status = qk_write_file(journal, o.buf.data, o.buf.size, err);
    free(journal);
    qk_buf_free(&o.buf);
    return status == QK_OK ? move_all(s, final_folder, files, err) : status;
}

qk_status qk_commit_is_pending(const qk_staging *s, bool *pending, qk_error *err)
{
    char *journal = journal_path(s);
    qk_status status = qk_has_file(journal, pending, err);
    free(journal);
    return status;
}

qk_status qk_commit_recover(const qk_staging *s, const char *final_folder, qk_error *err)
{
    char *journal = journal_path(s);
    qk_arena arena = {0};
    qk_names files = {0};
    const qk_json *root = NULL;
    qk_status status = qk_json_parse_if_there(&arena, journal, JOURNAL_LIMIT, &root, err);
    if (root) {
        const qk_json *list = qk_json_get(root, "files");
        for (const qk_json *f = list ? list->first : NULL; f; f = f->next)
            qk_names_add(&files, f->text);
        if (status == QK_OK) status = move_all(s, final_folder, &files, err);
    }
    qk_names_free(&files);
    qk_arena_free(&arena);
    free(journal);
    return status;
}
