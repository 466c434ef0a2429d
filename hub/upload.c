/* See upload.h. */
#include "hub/upload.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/interrupt.h"
#include "engine/base/progress.h"
#include "engine/base/team.h"
#include "hub/errors.h"
#include "hub/lfs.h"
#include "hub/oid.h"
#include "hub/url.h"

/* How often each step of an object is refused before it fails: its URL may have expired, and a new
 * batch gives fresh ones. */
enum { MAX_REFUSALS = 4 };

static const char *const lfs_headers[] = {"Accept: application/vnd.git-lfs+json",
                                          "Content-Type: application/vnd.git-lfs+json", NULL};

qk_http *qk_uploader_line(qk_uploader *u, int thread)
{
    if (!u->lines[thread]) u->lines[thread] = qk_http_open(u->hub);
    return u->lines[thread];
}

void qk_uploader_close(qk_uploader *u)
{
    for (int i = 0; i < QK_UPLOAD_THREADS; i++) qk_http_close(u->lines[i]);
    *u = (qk_uploader){0};
}

/* ---- one object ---- */

typedef enum step { NO_STEP, PUT, COMPLETE, VERIFY, N_STEPS } step;

typedef struct sending {
    qk_uploader *u;
    qk_http *http;
    const qk_push_file *file;
    int fd;
    qk_hash *before, *now; /* of the bytes before this request's body, and of all sent */
    step refused;          /* where the server said no: a fresh URL may help */
    qk_http_reply reply;
    qk_error *err;
} sending;

static void see(void *context, uint64_t at, const void *bytes, size_t n)
{
    sending *s = context;
    if (at == 0) qk_hash_copy(s->now, s->before);
    qk_hash_add(s->now, bytes, n);
}

static qk_status request(sending *s, step now, const qk_http_request *q)
{
    QK_TRY(qk_http_send(s->http, q, &s->reply, s->err));
    if (qk_http_is_fine(&s->reply)) return QK_OK;
    s->refused = now;
    return qk_reply_error(s->u->hub, &s->reply, s->file->name, s->err);
}

static qk_status put(sending *s, const char *url, uint64_t offset, uint64_t size)
{
    qk_http_request q = {
        .method = "PUT",
        .url = url,
        .body_is_file = true,
        .body_file = s->fd,
        .body_path = s->file->path,
        .body_offset = offset,
        .body_size = size,
        .body_seen = see,
        .body_context = s,
        .without_token = true,
    };
    QK_TRY(request(s, PUT, &q));
    qk_hash_copy(s->before, s->now);
    return QK_OK;
}

static qk_status post(sending *s, step now, const char *href, qk_buf *body)
{
    char *url = qk_hub_fix_url(s->u->hub, href);
    qk_http_request q = {
        .method = "POST",
        .url = url,
        .headers = lfs_headers,
        .body = body->data,
        .body_size = body->size,
        .without_token = now == COMPLETE,
        .seconds = 120,
    };
    qk_status status = request(s, now, &q);
    qk_buf_free(body);
    free(url);
    return status;
}

static qk_status put_in_parts(sending *s, const qk_lfs_action *a)
{
    char **etags = qk_zalloc(a->n_parts, sizeof *etags);
    qk_status status = QK_OK;
    for (size_t i = 0; i < a->n_parts && status == QK_OK; i++) {
        uint64_t offset = i * a->chunk, left = s->file->size - offset;
        char *url = qk_hub_fix_url(s->u->hub, a->parts[i]);
        status = put(s, url, offset, left < a->chunk ? left : a->chunk);
        free(url);
        const char *etag = status == QK_OK ? qk_http_header(&s->reply, "etag") : NULL;
        if (etag && *etag)
            etags[i] = qk_strdup(etag);
        else if (status == QK_OK)
            status = qk_fail(s->err, QK_ERR_FORMAT, NULL, "%s: the storage gave part %zu no ETag",
                             s->file->name, i + 1);
    }
    if (status == QK_OK) {
        qk_buf body;
        qk_lfs_complete_body(&body, s->file->sha256, etags, a->n_parts);
        status = post(s, COMPLETE, a->upload, &body);
    }
    for (size_t i = 0; i < a->n_parts; i++) free(etags[i]);
    free(etags);
    return status;
}

static qk_status send_object(sending *s, const qk_lfs_action *a)
{
    QK_TRY(qk_push_file_open(s->file, &s->fd, s->err));
    qk_hash_reset(s->before);
    qk_hash_reset(s->now);
    qk_status status;
    if (a->chunk) {
        status = put_in_parts(s, a);
    } else {
        char *url = qk_hub_fix_url(s->u->hub, a->upload);
        status = put(s, url, 0, s->file->size);
        free(url);
    }
    /* A file that has changed is the better reason for a request that failed. */
    qk_error changed;
    if (qk_push_file_check(s->file, s->fd, &changed) != QK_OK) {
        *s->err = changed;
        s->refused = NO_STEP;
        status = changed.status;
    }
    char sent[65];
    qk_hash_hex(s->now, sent);
    if (status == QK_OK && strcmp(sent, s->file->sha256) != 0)
        status = qk_fail(s->err, QK_ERR_RESUME, "wait until nothing writes to it",
                         "%s: changes while it is pushed", s->file->path);
    if (status == QK_OK && a->verify) {
        qk_buf body = {0};
        qk_lfs_verify_body(&body, s->file->sha256, s->file->size);
        status = post(s, VERIFY, a->verify, &body);
    }
    close(s->fd);
    return status;
}

/* ---- the batch ---- */

static qk_status ask(qk_uploader *u, qk_http *http, const qk_push_file *const *files, size_t n,
                     qk_lfs_action *actions, qk_arena *arena, qk_error *err)
{
    qk_lfs_object *objects = qk_alloc(n, sizeof *objects);
    for (size_t i = 0; i < n; i++) objects[i] = (qk_lfs_object){files[i]->sha256, files[i]->size};
    qk_buf body = {0};
    qk_lfs_batch_body(&body, objects, n, u->branch);
    char *url = qk_strf("%s/datasets/%s.git/info/lfs/objects/batch", u->hub->endpoint, u->repo);
    qk_http_request q = {.method = "POST",
                         .url = url,
                         .headers = lfs_headers,
                         .body = body.data,
                         .body_size = body.size,
                         .seconds = 60};
    qk_http_reply reply = {0};
    qk_status s = qk_http_send(http, &q, &reply, err);
    if (s == QK_OK && !qk_http_is_fine(&reply)) s = qk_reply_error(u->hub, &reply, u->repo, err);
    if (s == QK_OK) s = qk_lfs_batch_parse(actions, objects, n, &reply.body, arena, err);
    if (s != QK_OK) qk_redact(err->message, u->hub->token); /* it may quote the server */
    qk_http_reply_free(&reply);
    qk_buf_free(&body);
    free(objects);
    free(url);
    return s;
}

/* Sends one object; one that is refused gets fresh URLs, which may also say that it is stored. */
static qk_status send_until_stored(qk_uploader *u, int thread, const qk_push_file *file,
                                   const qk_lfs_action *first, qk_error *err)
{
    QK_TRY(qk_interrupt_check(err));
    sending s = {.u = u,
                 .http = qk_uploader_line(u, thread),
                 .file = file,
                 .before = qk_hash_sha256(),
                 .now = qk_hash_sha256(),
                 .err = err};
    qk_arena arena = {0};
    qk_lfs_action action = *first;
    qk_status status = QK_OK;
    for (int refusals[N_STEPS] = {0}; action.upload;) {
        s.refused = NO_STEP;
        status = send_object(&s, &action);
        if (status == QK_OK || !s.refused || ++refusals[s.refused] == MAX_REFUSALS) break;
        status = ask(u, s.http, &file, 1, &action, &arena, err);
        if (status != QK_OK) break;
    }
    qk_arena_free(&arena);
    qk_http_reply_free(&s.reply);
    qk_hash_free(s.before);
    qk_hash_free(s.now);
    return status;
}

typedef struct upload {
    qk_uploader *u;
    const qk_push_file *const *files;
    const qk_lfs_action *actions;
    size_t wanted;
    atomic_size_t sent;
    atomic_uint_fast64_t bytes_sent;
    atomic_bool stop; /* after the first failure */
} upload;

static qk_status upload_item(void *context, size_t i, int member, qk_error *err)
{
    upload *all = context;
    if (all->stop || !all->actions[i].upload) return QK_OK;
    qk_status s = send_until_stored(all->u, member, all->files[i], &all->actions[i], err);
    if (s == QK_OK)
        all->bytes_sent += all->files[i]->size;
    else
        all->stop = true;
    qk_progress_of("uploading this part", (double)(atomic_fetch_add(&all->sent, 1) + 1),
                   (double)all->wanted, "file");
    return s;
}

qk_status qk_upload_files(qk_uploader *u, const qk_push_file *const *files, size_t n, qk_error *err)
{
    QK_ASSERT(n <= QK_LFS_MAX_OBJECTS);
    QK_TRY(qk_team_start(QK_UPLOAD_THREADS, err));
    qk_arena arena = {0};
    qk_lfs_action *actions = qk_zalloc(n, sizeof *actions);
    qk_status s = ask(u, qk_uploader_line(u, 0), files, n, actions, &arena, err);
    upload all = {.u = u, .files = files, .actions = actions};
    for (size_t i = 0; i < n; i++) all.wanted += actions[i].upload != NULL;
    if (s == QK_OK) s = qk_loop_try(QK_UPLOAD_THREADS, n, upload_item, &all, err);
    u->bytes_sent += all.bytes_sent;
    free(actions);
    qk_arena_free(&arena);
    return s;
}
