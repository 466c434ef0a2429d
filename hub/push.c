/* See push.h. */
#include "hub/push.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/text.h"
#include "formats/json.h"
#include "hub/commit_body.h"
#include "hub/errors.h"
#include "hub/lfs.h"
#include "hub/oid.h"
#include "hub/url.h"

/* A server works on a commit in silence; this many times what is too long elsewhere: 3 minutes. */
enum { COMMIT_PATIENCE = 18 };

static const char *const json_headers[] = {"Content-Type: application/json", NULL};
static const char *const commit_headers[] = {"Content-Type: application/x-ndjson", NULL};

/* One operation of a commit. */
typedef struct change {
    const qk_push_file *file; /* NULL: a deletion */
    const char *name;
    int rank;
    bool large, ignored;
} change;

typedef struct changes {
    change *items;
    size_t count, capacity;
    bool has_card; /* README.md is among them */
} changes;

static qk_http *line_of(qk_push *p)
{
    return qk_uploader_line(&p->uploader, 0);
}

qk_status qk_push_open(qk_push *p, const qk_hub *hub, const char *repo, const char *branch,
                       bool is_private, qk_error *err)
{
    branch = branch ? branch : "main";
    *p = (qk_push){
        .uploader = {.hub = hub, .repo = repo, .branch = branch},
        .remote = {.hub = hub, .repo = repo, .branch = branch},
        .message = "Update dataset",
        .part_files = QK_PUSH_PART_FILES,
        .fresh = true,
    };
    return qk_remote_prepare(&p->remote, line_of(p), is_private, err);
}

qk_status qk_push_list(qk_push *p, qk_error *err)
{
    if (!p->fresh) QK_TRY(qk_remote_update(&p->remote, line_of(p), err));
    p->fresh = false;
    return qk_remote_list(&p->remote, line_of(p), err);
}

void qk_push_close(qk_push *p)
{
    qk_remote_free(&p->remote);
    qk_uploader_close(&p->uploader);
}

/* ---- what differs ---- */

/* Indexes come after what they index. */
static int rank_of(const char *name)
{
    static const char *const later[] = {"examples.parquet", "manifest.json", "README.md"};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (!strcmp(qk_path_name(name), later[i])) return (int)i + 1;
    return 0;
}

static void add_change(changes *c, change one)
{
    QK_GROW(c->items, c->count, c->capacity);
    c->items[c->count++] = one;
}

static int by_rank(const void *a, const void *b)
{
    const change *x = a, *y = b;
    return x->rank != y->rank ? x->rank - y->rank : strcmp(x->name, y->name);
}

static void find_changes(const qk_push *p, const qk_push_files *files, changes *c)
{
    for (size_t i = 0; i < files->count; i++) {
        const qk_push_file *f = &files->items[i];
        if (qk_push_file_is(f, qk_hub_listing_find(&p->remote.listing, f->name))) continue;
        add_change(c, (change){.file = f, .name = f->name, .rank = rank_of(f->name)});
        c->has_card |= !strcmp(f->name, "README.md");
    }
    for (size_t i = 0; p->delete_stale && i < p->remote.listing.count; i++) {
        const char *name = p->remote.listing.files[i].path;
        if (strcmp(name, ".gitattributes") && !qk_push_files_find(files, name))
            add_change(c, (change){.name = name, .rank = 9});
    }
    if (c->count) qsort(c->items, c->count, sizeof *c->items, by_rank);
}

/* ---- questions before the upload ---- */

static qk_status post_json(qk_push *p, const char *url, qk_buf *body, qk_http_reply *reply,
                           qk_error *err)
{
    qk_http_request q = {.method = "POST",
                         .url = url,
                         .headers = json_headers,
                         .body = body->data,
                         .body_size = body->size,
                         .seconds = 60};
    qk_status s = qk_http_send(line_of(p), &q, reply, err);
    qk_buf_free(body);
    return s;
}

/* The whole of a small file that is still the one that was hashed. */
static qk_status read_small(const qk_push_file *f, qk_buf *out, qk_error *err)
{
    char git[41];
    QK_TRY(qk_read_file(out, f->path, QK_PUSH_SMALL, err));
    qk_git_hex(out->data, out->size, git);
    if (out->size == f->size && !strcmp(git, f->git)) return QK_OK;
    return qk_fail(err, QK_ERR_RESUME, "wait until nothing writes to it",
                   "%s: changes while it is pushed", f->path);
}

/* The Hub checks the front matter of README.md; a server without this question is fine too. */
static qk_status check_card(qk_push *p, const qk_push_file *card, qk_error *err)
{
    qk_buf text = {0};
    qk_status s = read_small(card, &text, err);
    if (s == QK_OK && qk_utf8_check(text.data, text.size) != text.size)
        s = qk_fail(err, QK_ERR_DATA, NULL, "%s: not UTF-8", card->path);
    if (s != QK_OK) {
        qk_buf_free(&text);
        return s;
    }
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_strn(&o, "content", (const char *)text.data, text.size);
    qk_json_add_str(&o, "repoType", "dataset");
    qk_json_end(&o, '}');
    qk_buf_free(&text);
    char *url = qk_strf("%s/api/validate-yaml", p->remote.hub->endpoint);
    qk_http_reply reply = {0};
    s = post_json(p, url, &o.buf, &reply, err);
    if (s == QK_OK && reply.status == 400)
        s = qk_reply_error(p->remote.hub, &reply, card->path, err);
    qk_http_reply_free(&reply);
    free(url);
    return s;
}

static qk_status add_sample(qk_json_out *o, const qk_push_file *f, qk_error *err)
{
    uint8_t head[512];
    int fd;
    QK_TRY(qk_push_file_open(f, &fd, err));
    size_t n = f->size < sizeof head ? (size_t)f->size : sizeof head;
    size_t got;
    qk_status s = qk_read_at_start(fd, head, n, &got, f->path, err);
    close(fd);
    if (s != QK_OK) return s;
    if (got != n)
        return qk_fail(err, QK_ERR_RESUME, NULL, "%s: changes while it is pushed", f->path);
    qk_buf sample = {0};
    qk_base64_add(&sample, head, n);
    qk_json_begin(o, NULL, '{');
    qk_json_add_str(o, "path", f->name);
    qk_json_add_strn(o, "sample", (const char *)sample.data, sample.size);
    qk_json_add_int(o, "size", (int64_t)f->size);
    qk_json_end(o, '}');
    qk_buf_free(&sample);
    return QK_OK;
}

/* What the server says of each file: large or small, wanted or ignored. */
static qk_status read_modes(change *items, size_t n, size_t asked, const qk_buf *body,
                            qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *root;
    qk_status s =
        qk_json_parse(&arena, (const char *)body->data, body->size, "preupload", &root, err);
    const qk_json *list = s == QK_OK ? qk_json_get(root, "files") : NULL;
    size_t answered = 0;
    for (const qk_json *f = list ? list->first : NULL; f; f = f->next) {
        const qk_json *path = qk_json_get(f, "path"), *mode = qk_json_get(f, "uploadMode");
        const qk_json *ignore = qk_json_get(f, "shouldIgnore");
        bool lfs = qk_json_is_string(mode, "lfs"), regular = qk_json_is_string(mode, "regular");
        if (!path || path->type != QK_JSON_T_STRING || !(lfs || regular)) continue;
        change *c = items;
        while (c < items + n && !(c->file && !strcmp(c->name, path->text))) c++;
        if (c == items + n) continue;
        c->large = c->file->size && (lfs || !*c->file->git);
        c->ignored = ignore && ignore->type == QK_JSON_T_BOOL && ignore->boolean;
        answered++;
    }
    if (s == QK_OK && answered != asked)
        s = qk_fail(err, QK_ERR_FORMAT, "the server does not speak the Hub's protocol",
                    "preupload: answers for %zu of %zu files", answered, asked);
    qk_arena_free(&arena);
    return s;
}

static qk_status ask_modes(qk_push *p, const qk_push_files *files, change *items, size_t n,
                           qk_error *err)
{
    qk_json_out o = {.compact = true};
    size_t asked = 0;
    qk_json_begin(&o, NULL, '{');
    qk_json_begin(&o, "files", '[');
    qk_status s = QK_OK;
    for (size_t i = 0; i < n && s == QK_OK; i++) {
        if (!items[i].file) continue;
        s = add_sample(&o, items[i].file, err);
        asked++;
    }
    qk_json_end(&o, ']');
    const qk_push_file *ignore = qk_push_files_find(files, ".gitignore");
    qk_buf patterns = {0};
    if (s == QK_OK && ignore) s = read_small(ignore, &patterns, err);
    if (s == QK_OK && ignore)
        qk_json_add_strn(&o, "gitIgnore", (const char *)patterns.data, patterns.size);
    qk_buf_free(&patterns);
    if (s != QK_OK || !asked) {
        qk_buf_free(&o.buf);
        return s;
    }
    qk_json_end(&o, '}');
    char *url = qk_hub_api_at(p->remote.hub, QK_REPO_DATASET, p->remote.repo, "preupload",
                              p->remote.branch);
    qk_http_reply reply = {0};
    s = post_json(p, url, &o.buf, &reply, err);
    if (s == QK_OK && !qk_http_is_fine(&reply))
        s = qk_reply_error(p->remote.hub, &reply, p->remote.repo, err);
    if (s == QK_OK) s = read_modes(items, n, asked, &reply.body, err);
    if (s != QK_OK) qk_redact(err->message, p->remote.hub->token); /* it may quote the server */
    qk_http_reply_free(&reply);
    free(url);
    return s;
}

/* ---- one part ---- */

static int by_content(const void *a, const void *b)
{
    const qk_push_file *const *x = a, *const *y = b;
    return strcmp((*x)->sha256, (*y)->sha256);
}

/* The same content under several names is sent once. */
static qk_status upload_part(qk_push *p, const change *items, size_t n, qk_error *err)
{
    const qk_push_file **large = qk_alloc(n, sizeof *large);
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < n; i++)
        if (items[i].file && items[i].large && !items[i].ignored) large[count++] = items[i].file;
    if (count) qsort(large, count, sizeof *large, by_content);
    for (size_t i = 0; i < count; i++)
        if (!kept || strcmp(large[kept - 1]->sha256, large[i]->sha256)) large[kept++] = large[i];
    qk_status s = kept ? qk_upload_files(&p->uploader, large, kept, err) : QK_OK;
    free(large);
    return s;
}

/* QK_OK: the commit was not applied, or nobody knows; the branch has to be looked at. Smaller ones
 * may pass where one was too large, or too slow twice. */
static qk_status judge_failure(qk_push *p, qk_status failed, const qk_http_reply *reply,
                               size_t operations, qk_error *err)
{
    if (failed != QK_OK && reply->failure != QK_HTTP_BROKEN) return failed;
    if (failed == QK_OK) qk_reply_error(p->remote.hub, reply, p->remote.repo, err);
    long status = failed == QK_OK ? reply->status : 0;
    bool moved = p->moved = status == 409 || status == 412;
    bool slow = !status || status == 408 || status >= 500, large = status == 413 && operations > 1;
    if (qk_interrupted() || !(moved || slow || large)) return err->status;
    bool again = slow && p->was_slow;
    p->was_slow = slow;
    if ((large || again) && operations > 1) p->part_files = (operations + 1) / 2;
    return QK_OK;
}

/* Sends a commit. *done = false: it may or may not have been applied; look again. */
static qk_status send_commit(qk_push *p, const qk_buf *body, size_t operations, bool *done,
                             qk_error *err)
{
    *done = false;
    char *url =
        qk_hub_api_at(p->remote.hub, QK_REPO_DATASET, p->remote.repo, "commit", p->remote.branch);
    int seconds = COMMIT_PATIENCE * p->remote.hub->download_timeout;
    qk_http_request q = {.method = "POST",
                         .url = url,
                         .headers = commit_headers,
                         .body = body->data,
                         .body_size = body->size,
                         .seconds = seconds,
                         .idle_seconds = seconds,
                         .retries = QK_RETRY_UNSENT};
    qk_http_reply reply = {0};
    qk_status s = qk_http_send(line_of(p), &q, &reply, err);
    if (s == QK_OK && qk_http_is_fine(&reply))
        *done = qk_commit_read(&reply, p->remote.head, err) == QK_OK;
    else
        s = judge_failure(p, s, &reply, operations, err);
    qk_http_reply_free(&reply);
    free(url);
    return s;
}

/* How many of the changes make the next commit. */
static size_t part_size(const qk_push *p, const change *items, size_t n)
{
    uint64_t bytes = 0;
    size_t most = p->part_files, i = 0;
    for (; i < n && i < most; i++) {
        if (items[i].file && *items[i].file->git && items[i].file->size <= QK_PUSH_PART_BYTES)
            bytes += strstr(items[i].name, ".parquet") ? 0 : items[i].file->size;
        if (i && bytes > QK_PUSH_PART_BYTES) break;
    }
    return i;
}

static qk_status send_part(qk_push *p, const qk_push_files *files, change *items, size_t n,
                           bool *done, qk_error *err)
{
    QK_TRY(ask_modes(p, files, items, n, err));
    QK_TRY(upload_part(p, items, n, err));
    QK_TRY(qk_interrupt_check(err));
    qk_buf body = {0};
    qk_status s = QK_OK;
    size_t operations = 0, deleted = 0;
    qk_commit_add_header(&body, p->message, p->remote.head);
    for (size_t i = 0; i < n && s == QK_OK; i++) {
        const qk_push_file *f = items[i].file;
        if (items[i].ignored) continue;
        if (!f) {
            qk_commit_add_deletion(&body, items[i].name);
        } else if (items[i].large) {
            qk_commit_add_lfs(&body, f->name, f->sha256, f->size);
        } else {
            qk_buf bytes = {0};
            s = read_small(f, &bytes, err);
            if (s == QK_OK) qk_commit_add_file(&body, f->name, bytes.data, bytes.size);
            qk_buf_free(&bytes);
        }
        operations++;
        deleted += !f;
    }
    if (s == QK_OK && operations) s = send_commit(p, &body, operations, done, err);
    if (s == QK_OK && operations && *done) {
        p->commits++;
        p->files_sent += operations - deleted;
        p->files_deleted += deleted;
    }
    qk_buf_free(&body);
    return s;
}

static void show_sent(const qk_push *p, size_t files, size_t total)
{
    qk_progress_line line = {0};
    qk_progress_add(&line, 3, "pushing");
    qk_progress_add_count(&line, 1, (int64_t)files, (int64_t)total, "changed file");
    qk_progress_add_share(&line, 2, (double)files, (double)total);
    qk_progress_add(&line, 4, "%s sent", qk_human_bytes((double)p->uploader.bytes_sent));
    if (files == total)
        qk_progress_end(&line);
    else if (qk_progress_due())
        qk_progress_show(&line);
}

qk_status qk_push_send(qk_push *p, const qk_push_files *files, bool *done, qk_error *err)
{
    changes c = {0};
    *done = true;
    p->moved = false;
    find_changes(p, files, &c);
    qk_status s = c.has_card ? check_card(p, qk_push_files_find(files, "README.md"), err) : QK_OK;
    for (size_t at = 0; at < c.count && s == QK_OK && *done;) {
        size_t n = part_size(p, c.items + at, c.count - at);
        s = send_part(p, files, c.items + at, n, done, err);
        at += n;
        if (s == QK_OK && *done) show_sent(p, at, c.count);
    }
    free(c.items);
    return s;
}
