/* See fetch.h. */
#include "hub/fetch.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/team.h"
#include "hub/errors.h"
#include "hub/oid.h"

/* Of one file: signed URLs that are refused, and contents that are not those of the listing. */
enum { MAX_EXPIRED = 2, MAX_WRONG = 2 };

typedef struct fetching {
    const qk_hub_file *file;
    const char *path;
    qk_writer out;
    qk_hash *digest; /* of what has arrived */
    uint64_t size;
} fetching;

static void drop(fetching *f)
{
    if (f->out.file) qk_writer_abort(&f->out);
    qk_hash_free(f->digest);
    f->digest = NULL;
    f->size = 0;
}

static qk_status begin(void *context, const qk_http_reply *reply, qk_error *err)
{
    (void)reply;
    fetching *f = context;
    drop(f);
    f->digest = qk_oid_begin(f->file);
    return qk_writer_open(&f->out, f->path, err);
}

static qk_status data(void *context, const void *bytes, size_t n, qk_error *err)
{
    fetching *f = context;
    f->size += n;
    if (f->size > f->file->size)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: longer than the listing says", f->file->path);
    qk_writer_add(&f->out, bytes, n);
    qk_hash_add(f->digest, bytes, n);
    return QK_OK;
}

/* QK_OK and not *right: other bytes came. *expired: the storage no longer takes the signed URL. */
static qk_status try_once(qk_http *http, const qk_remote *r, fetching *f, bool *right,
                          bool *expired, qk_error *err)
{
    char *url = qk_hub_resolve_url(r->hub, QK_REPO_DATASET, r->repo, r->head, f->file->path);
    qk_http_sink sink = {f, begin, data};
    qk_http_request q = {.url = url, .is_file = true, .sink = &sink};
    qk_http_reply reply = {0};
    qk_status s = qk_http_send(http, &q, &reply, err);
    *expired = s == QK_OK && !reply.at_endpoint && reply.status / 100 == 4;
    if (s == QK_OK && qk_reply_problem(&reply) != QK_PROBLEM_NONE)
        s = qk_reply_error(r->hub, &reply, f->file->path, err);
    *right = s == QK_OK && f->size == f->file->size && f->digest && qk_oid_is(f->digest, f->file);
    if (*right) s = qk_writer_commit(&f->out, err);
    drop(f);
    qk_http_reply_free(&reply);
    free(url);
    return s;
}

static qk_status fetch(qk_http *http, const qk_remote *r, const qk_hub_file *file,
                       const char *folder, qk_error *err)
{
    char *path = qk_path_join(folder, file->path), *parent = qk_strdup(path);
    *strrchr(parent, '/') = 0;
    fetching f = {.file = file, .path = path};
    qk_status s = qk_make_dirs(parent, err);
    bool right = false;
    int expiries = 0, wrongs = 0;
    for (bool again = s == QK_OK; again;) {
        bool expired = false;
        s = try_once(http, r, &f, &right, &expired, err);
        again = expired ? ++expiries <= MAX_EXPIRED : s == QK_OK && !right && ++wrongs <= MAX_WRONG;
    }
    if (s == QK_OK && !right)
        s = qk_fail(err, QK_ERR_RESUME, "run the same command again",
                    "%s: the bytes that arrive are not those of the listing", file->path);
    free(parent);
    free(path);
    return s;
}

typedef struct fetching_all {
    qk_uploader *lines;
    const qk_remote *remote;
    const qk_hub_file *const *files;
    const char *folder;
} fetching_all;

static qk_status fetch_item(void *context, size_t i, int member, qk_error *err)
{
    const fetching_all *f = context;
    return fetch(qk_uploader_line(f->lines, member), f->remote, f->files[i], f->folder, err);
}

qk_status qk_fetch_files(qk_uploader *lines, const qk_remote *remote,
                         const qk_hub_file *const *files, size_t n, const char *folder,
                         qk_error *err)
{
    fetching_all f = {lines, remote, files, folder};
    QK_TRY(qk_team_start(QK_UPLOAD_THREADS, err));
    return qk_loop_try(QK_UPLOAD_THREADS, n, fetch_item, &f, err);
}
