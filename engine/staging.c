/* See staging.h. */
#include "engine/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { SMALL_FILE = 64 << 20 };

static char *in_staging(const qk_staging *s, const char *name)
{
    return qk_path_join(s->folder, name);
}

qk_status qk_staging_open(qk_staging *s, const char *folder, qk_error *err)
{
    *s = (qk_staging){.folder = folder, .lock = -1};
    QK_TRY(qk_make_dirs(folder, err));
    char *path = in_staging(s, "lock");
    qk_status status = QK_OK;
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock < 0)
        status = qk_fail_errno(err, "cannot write", path);
    else if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
        status = errno == EWOULDBLOCK ? qk_fail(err, QK_ERR_CONFIG,
                                                "wait for it, or choose another output.data_root",
                                                "%s: another run is working here", folder)
                                      : qk_fail_errno(err, "cannot lock", path);
    free(path);
    if (status != QK_OK) qk_staging_close(s);
    return status;
}

void qk_staging_close(qk_staging *s)
{
    if (s->lock >= 0) close(s->lock);
    s->lock = -1;
}

qk_status qk_staging_bind(const qk_staging *s, const qk_identity *id, qk_arena *arena,
                          qk_error *err)
{
    char *path = in_staging(s, "identity.json");
    const qk_json *then = NULL;
    qk_status status;
    if (!qk_is_file(path)) {
        status = qk_write_file(path, id->text, strlen(id->text), err);
    } else {
        status = qk_json_parse_file(arena, path, SMALL_FILE, &then, err);
        const char *difference =
            status == QK_OK ? qk_identity_difference(then, id->tree, arena) : NULL;
        if (difference)
            status =
                qk_fail(err, QK_ERR_CONFIG,
                        "finish that run with its own settings, choose another "
                        "output.data_root, or remove the staging folder to give it up",
                        "%s: holds the unfinished units of another run; %s", s->folder, difference);
    }
    free(path);
    return status;
}

bool qk_staging_is_bound(const qk_staging *s)
{
    char *path = in_staging(s, "identity.json");
    bool bound = qk_is_file(path);
    free(path);
    return bound;
}

char *qk_staging_unit(const qk_staging *s, int64_t unit)
{
    return qk_strf("%s/unit-%06lld.qku", s->folder, (long long)unit);
}

qk_status qk_staging_units(const qk_staging *s, int64_t *units, qk_error *err)
{
    *units = -1;
    char *path = in_staging(s, "units.json");
    qk_arena arena = {0};
    const qk_json *root;
    qk_status status = QK_OK;
    if (qk_is_file(path)) {
        status = qk_json_parse_file(&arena, path, SMALL_FILE, &root, err);
        const qk_json *n = status == QK_OK ? qk_json_get(root, "units") : NULL;
        if (n && n->is_integer) *units = n->integer;
    }
    qk_arena_free(&arena);
    free(path);
    return status;
}

qk_status qk_staging_set_units(const qk_staging *s, int64_t units, qk_error *err)
{
    char *path = in_staging(s, "units.json"),
         *text = qk_strf("{\"units\": %lld}\n", (long long)units);
    qk_status status = qk_write_file(path, text, strlen(text), err);
    free(path);
    free(text);
    return status;
}

qk_status qk_staging_arithmetic(const qk_staging *s, char **name, qk_error *err)
{
    *name = NULL;
    char *path = in_staging(s, "arithmetic");
    qk_buf text = {0};
    qk_status status = qk_is_file(path) ? qk_read_file(&text, path, 100, err) : QK_OK;
    if (status == QK_OK && text.size) *name = qk_strdup(qk_buf_str(&text));
    qk_buf_free(&text);
    free(path);
    return status;
}

qk_status qk_staging_set_arithmetic(const qk_staging *s, const char *name, qk_error *err)
{
    char *path = in_staging(s, "arithmetic");
    qk_status status = qk_write_file(path, name, strlen(name), err);
    free(path);
    return status;
}

qk_status qk_staging_clear(const qk_staging *s, int64_t units, qk_error *err)
{
    /* units.json goes first: without it a half-cleared folder is an unfinished run, never a
     * finished one with units missing. dataset_commit goes before identity.json, so that it never
     * becomes that of another run. */
    static const char *const small[] = {"units.json", "dataset_commit", "identity.json",
                                        "arithmetic"};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        char *path = in_staging(s, small[i]);
        qk_status status = qk_remove_file(path, err);
        free(path);
        if (status != QK_OK) return status;
        for (int64_t u = 0; i == 0 && u < units; u++) {
            path = qk_staging_unit(s, u);
            status = qk_remove_file(path, err);
            free(path);
            if (status != QK_OK) return status;
        }
    }
    return QK_OK;
}
