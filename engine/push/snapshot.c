/* See snapshot.h. */
#include "engine/push/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/beneath.h"
#include "engine/base/log.h"
#include "formats/sealed.h"

enum { MAX_SNAPSHOT = 256 << 20 };

static bool take_digest(const qk_json *v, size_t digits, char *out)
{
    if (!v || v->type != QK_JSON_T_STRING || v->length != digits || !qk_is_digest(v->text))
        return false;
    memcpy(out, v->text, digits + 1);
    return true;
}

static void add_known(qk_push_files *files, const char *folder, const qk_json *f)
{
    const qk_json *size = qk_json_get(f, "size"), *mtime = qk_json_get(f, "mtime_ns"),
                  *git = qk_json_get(f, "git");
    qk_push_file known = {.hashed = true};
    if (qk_path_problem(f->key, f->key_length)) return;
    if (!size || !size->is_integer || size->integer < 0 || !mtime || !mtime->is_integer) return;
    if (!take_digest(qk_json_get(f, "sha256"), 64, known.sha256)) return;
    if (git && git->length && !take_digest(git, 40, known.git)) return;
    known.size = (uint64_t)size->integer;
    known.mtime = mtime->integer;
    known.name = qk_strdup(f->key);
    known.path = qk_path_join(folder, f->key);
    QK_GROW(files->items, files->count, files->capacity);
    files->items[files->count++] = known;
}

qk_status qk_push_snapshot_read(const char *state, const char *folder, qk_push_files *files,
                                qk_error *err)
{
    char *path = qk_path_join(state, "snapshot.json");
    qk_arena arena = {0};
    const qk_json *root = NULL;
    qk_status s = qk_sealed_json(&arena, path, MAX_SNAPSHOT, &root, err);
    if (s == QK_ERR_DAMAGED || s == QK_ERR_FORMAT)
        qk_warn("%s: cannot be used, all files are hashed again", path);
    const qk_json *list = qk_json_get(root, "files");
    bool named = list && list->type == QK_JSON_T_OBJECT;
    for (const qk_json *f = named ? list->first : NULL; f; f = f->next) add_known(files, folder, f);
    qk_arena_free(&arena);
    free(path);
    return s == QK_ERR_NOTFOUND || s == QK_ERR_DAMAGED || s == QK_ERR_FORMAT ? QK_OK : s;
}

qk_status qk_push_snapshot_write(const char *state, const qk_remote *remote,
                                 const qk_push_files *files, qk_error *err)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "repo_id", remote->repo);
    qk_json_add_str(&o, "branch", remote->branch);
    qk_json_add_str(&o, "sha", remote->head);
    qk_json_begin(&o, "files", '{');
    for (size_t i = 0; i < files->count; i++) {
        const qk_push_file *f = &files->items[i];
        qk_json_begin(&o, f->name, '{');
        qk_json_add_int(&o, "size", (int64_t)f->size);
        qk_json_add_int(&o, "mtime_ns", f->mtime);
        qk_json_add_str(&o, "sha256", f->sha256);
        qk_json_add_str(&o, "git", f->git);
        qk_json_end(&o, '}');
    }
    qk_json_end(&o, '}');
    qk_json_end(&o, '}');
    char *path = qk_path_join(state, "snapshot.json");
    qk_status s = qk_sealed_write(path, (const char *)o.buf.data, o.buf.size, err);
    qk_buf_free(&o.buf);
    free(path);
    return s;
}
