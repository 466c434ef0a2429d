/* See fetch.h. */
#include "hub/fetch.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "hub/errors.h"
#include "hub/oid.h"

enum { TRIES = 3 };

typedef struct fetching {
    const qk_remote_file *file;
    const char *path;
    qk_writer out;
    qk_hasher *hash;
    qk_buf small; /* all of a small file: its hash begins with its size */
    uint64_t size;
} fetching;

static qk_status begin(void *context, const qk_http_reply *reply, qk_error *err)
{
    (void)reply;
    fetching *f = context;
    if (f->out.file) qk_writer_abort(&f->out);
    qk_hasher_reset(f->hash);
    qk_buf_clear(&f->small);
    f->size = 0;
    return qk_writer_open(&f->out, f->path, err);
}

static qk_status data(void *context, const void *bytes, size_t n, qk_error *err)
{
    fetching *f = context;
    f->size += n;
    if (f->size > f->file->size)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: longer than the listing says", f->file->name);
    qk_writer_add(&f->out, bytes, n);
    if (f->file->large)
        qk_hasher_add(f->hash, bytes, n);
    else
        qk_buf_add(&f->small, bytes, n);
    return QK_OK;
}

static bool is_right(const fetching *f)
{
    char hex[65];
    if (f->file->large)
        qk_hasher_hex(f->hash, hex);
    else
        qk_git_blob_hex(f->small.data, f->small.size, hex);
    return f->size == f->file->size && !strcmp(hex, f->file->oid);
}

static qk_status try_once(qk_http *http, const qk_remote *r, fetching *f, bool *right,
                          qk_error *err)
{
    char *url = qk_hub_resolve_url(r->hub, QK_REPO_DATASET, r->repo, r->head, f->file->name);
    qk_http_sink sink = {f, begin, data};
    qk_http_request q = {.url = url, .is_file = true, .sink = &sink};
    qk_http_reply reply = {0};
    qk_status s = qk_http_send(http, &q, &reply, err);
    if (s == QK_OK && qk_reply_problem(&reply) != QK_PROBLEM_NONE)
        s = qk_reply_error(r->hub, &reply, f->file->name, err);
    *right = s == QK_OK && is_right(f);
    if (*right)
        s = qk_writer_commit(&f->out, err);
    else if (f->out.file)
        qk_writer_abort(&f->out);
    qk_http_reply_free(&reply);
    free(url);
    return s;
}

static qk_status fetch(qk_http *http, const qk_remote *r, const qk_remote_file *file,
                       const char *folder, qk_error *err)
{
    if (!file->large && file->size > QK_PUSH_SMALL)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: too large for a small file", file->name);
    char *path = qk_path_join(folder, file->name), *parent = qk_strdup(path);
    *strrchr(parent, '/') = 0;
    fetching f = {.file = file, .path = path, .hash = qk_hasher_new()};
    qk_status s = qk_make_dirs(parent, err);
    bool right = false;
    for (int i = 0; i < TRIES && s == QK_OK && !right; i++) s = try_once(http, r, &f, &right, err);
    if (s == QK_OK && !right)
        s = qk_fail(err, QK_ERR_RESUME, "run the same command again",
                    "%s: the bytes that arrive are not those of the listing", file->name);
    qk_hasher_free(f.hash);
    qk_buf_free(&f.small);
    free(parent);
    free(path);
    return s;
}

qk_status qk_fetch_files(qk_uploader *lines, const qk_remote *remote,
                         const qk_remote_file *const *files, size_t n, const char *folder,
                         qk_error *err)
{
    qk_status result = QK_OK;
#pragma omp parallel for schedule(dynamic, 1) num_threads(QK_UPLOAD_THREADS)
    for (size_t i = 0; i < n; i++) {
        qk_error own = {0};
        qk_http *http = qk_uploader_line(lines, omp_get_thread_num());
        qk_status s = fetch(http, remote, files[i], folder, &own);
        if (s == QK_OK) continue;
#pragma omp critical(fetch)
        {
            result = s;
            *err = own;
        }
    }
    return result;
}
