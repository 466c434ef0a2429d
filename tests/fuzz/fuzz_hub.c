/* link: -Wl,--wrap=qk_hop_run
 *
 * Everything of hub/ that reads what a server says, with a server whose replies are the input: the
 * requests are made by the real code, and qk_hop_run, the one function that touches the network, is
 * replaced by a script.
 *
 *   first byte   what is done: see `works`
 *   the rest     replies: "STATUS\nName: value\n...\n\nBODY" up to a byte 0x01, one per request;
 * behind the last one every server is out of order. Local files (the snapshot of a push, refs, kept
 * listings): the bytes.
 *
 * The token goes to the endpoint alone and into no message; names and digests that come out are
 * checked ones. */
#include "tests/fuzz/fuzz.h"

#include <pthread.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/push/snapshot.h"
#include "formats/json.h"
#include "formats/sealed.h"
#include "hub/cache.h"
#include "hub/errors.h"
#include "hub/fetch.h"
#include "hub/hop.h"
#include "hub/piece.h"
#include "hub/push.h"
#include "hub/url.h"

static char token[] = "hf_secretsecretsecret";
static qk_hub hub = {.endpoint = "https://hub.test",
                     .token = token,
                     .token_from = "a test",
                     .cache = "",
                     .download_timeout = 10};
static const char commit[] = "1111111111111111111111111111111111111111";

/* ---- the server ---- */

static struct {
    const uint8_t *at, *end;
    int requests;
    pthread_mutex_t mutex; /* uploads ask side by side */
} script = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* The next line, without its end. */
static const char *next_line(const uint8_t **at, const uint8_t *end, size_t *n)
{
    const uint8_t *line = *at, *stop = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
    *n = (size_t)((stop ? stop : end) - line);
    *at = stop ? stop + 1 : end;
    return (const char *)line;
}

static qk_status out_of_order(qk_http_reply *reply, qk_error *err)
{
    reply->status = 0;
    reply->failure = script.requests % 2 ? QK_HTTP_NOT_SENT : QK_HTTP_BROKEN;
    return qk_fail(err, QK_ERR_RESUME, NULL, "nobody answers");
}

static qk_status give_body(const qk_http_request *q, qk_http_reply *reply, const uint8_t *body,
                           size_t n, qk_error *err)
{
    if (reply->status / 100 != 2 || !q->sink) {
        qk_buf_add(&reply->body, body, n);
        return QK_OK;
    }
    reply->failure = QK_HTTP_STOPPED;
    if (q->sink->begin) QK_TRY(q->sink->begin(q->sink->context, reply, err));
    for (size_t i = 0; i < n;) { /* two pieces */
        size_t piece = i ? n - i : (n + 1) / 2;
        QK_TRY(q->sink->data(q->sink->context, body + i, piece, err));
        i += piece;
    }
    reply->failure = QK_HTTP_REPLIED;
    return QK_OK;
}

/* Bytes of a request's body are seen by those who hash them. */
static void take_body(const qk_http_request *q, const qk_hop *hop)
{
    uint8_t bytes[4096];
    for (uint64_t at = 0; hop->has_body && q->body_is_file && at < q->body_size;) {
        ssize_t n = pread(q->body_file, bytes, sizeof bytes, (off_t)(q->body_offset + at));
        if (n <= 0) return;
        if ((uint64_t)n > q->body_size - at) n = (ssize_t)(q->body_size - at);
        if (q->body_seen) q->body_seen(q->body_context, at, bytes, (size_t)n);
        at += (uint64_t)n;
    }
}

qk_status __wrap_qk_hop_run(qk_http *http, const qk_http_request *q, const qk_hop *hop,
                            qk_http_reply *reply, qk_error *err);

qk_status __wrap_qk_hop_run(qk_http *http, const qk_http_request *q, const qk_hop *hop,
                            qk_http_reply *reply, qk_error *err)
{
    (void)http;
    QK_ASSERT(!hop->send_token || qk_url_same_origin(hop->url, hub.endpoint));
    char *origin = qk_url_origin(hop->url); /* NULL: no web address */
    QK_ASSERT(origin);
    free(origin);
    pthread_mutex_lock(&script.mutex);
    QK_ASSERT(++script.requests < 100000);
    const uint8_t *at = script.at, *end = at ? memchr(at, 1, (size_t)(script.end - at)) : NULL;
    if (!end) end = script.end;
    script.at = end < script.end ? end + 1 : script.end;
    bool over = at == script.end;
    pthread_mutex_unlock(&script.mutex);
    reply->at_endpoint = hop->at_endpoint;
    qk_buf_clear(&reply->body);
    qk_buf_clear(&reply->headers);
    if (over) return out_of_order(reply, err);
    take_body(q, hop);
    size_t n;
    const char *line = next_line(&at, end, &n);
    bool digits = n >= 3;
    for (int i = 0; i < 3 && digits; i++) digits = line[i] >= '0' && line[i] <= '9';
    reply->status = 200;
    if (digits) reply->status = 100 * (line[0] - '0') + 10 * (line[1] - '0') + line[2] - '0';
    while (at < end && (line = next_line(&at, end, &n), n)) qk_http_add_header(reply, line, n);
    reply->failure = QK_HTTP_REPLIED;
    return give_body(q, reply, at, (size_t)(end - at), err);
}

/* ---- what comes out ---- */

static void check_error(qk_status s, const qk_error *err)
{
    if (s == QK_OK) return;
    QK_ASSERT(err->message[0] && err->status == s);
    QK_ASSERT(!strstr(err->message, token) && !strstr(err->hint, token));
}

static void check_listing(const qk_hub_listing *l)
{
    qk_error err;
    for (size_t i = 0; i < l->count; i++) {
        QK_ASSERT(qk_check_file_name(l->files[i].path, &err) == QK_OK);
        QK_ASSERT(qk_is_digest(l->files[i].digest) &&
                  (!*l->files[i].oid || qk_is_digest(l->files[i].oid)));
        QK_ASSERT(!i || strcmp(l->files[i - 1].path, l->files[i].path) < 0);
        QK_ASSERT(qk_hub_listing_find(l, l->files[i].path) == &l->files[i]);
    }
}

static void list(const char *text, size_t n)
{
    (void)text, (void)n;
    qk_http *http = qk_http_open(&hub);
    qk_http_reply reply = {0};
    qk_repo repo = {QK_REPO_MODEL, "me/model", "main"};
    qk_hub_listing l;
    qk_error err = {0};
    char head[72];
    qk_status s = qk_hub_commit(http, &repo, head, &reply, &err);
    if (s == QK_OK) QK_ASSERT(qk_is_commit(head));
    if (s == QK_OK) s = qk_hub_list(&l, http, &repo, head, &err);
    check_error(s, &err);
    if (s == QK_OK) {
        qk_buf kept;
        check_listing(&l);
        qk_hub_listing_json(&l, &kept);
        const char *path = fuzz_file("kept.json", kept.data, kept.size);
        qk_hub_listing again;
        QK_ASSERT(qk_hub_listing_read(&again, path, &err) == QK_OK && again.count == l.count);
        qk_hub_listing_free(&again);
        qk_hub_listing_free(&l);
        qk_buf_free(&kept);
    }
    qk_http_reply_free(&reply);
    qk_http_close(http);
}

static qk_status add_nothing(void *context, const void *bytes, size_t n, qk_error *err)
{
    (void)bytes, (void)err;
    *(uint64_t *)context += n;
    return QK_OK;
}

static void get_file(const char *text, size_t n)
{
    (void)text, (void)n;
    qk_http *http = qk_http_open(&hub);
    qk_hub_file file = {"a/b.bin", 20,
                        "2222222222222222222222222222222222222222222222222222222222222222", ""};
    char url[] = "https://hub.test/me/model/resolve/x/a/b.bin";
    qk_piece_source source = {.file = &file, .commit = commit, .url = url};
    uint8_t bytes[20];
    char *led_to;
    uint64_t streamed = 0;
    qk_error err = {0};
    for (int i = 0; i < 3; i++) { /* whole, a part, a part by a direct URL */
        qk_piece_end end = qk_piece_get(http, &source, i == 2 ? "https://cdn.test/x?sig=1" : NULL,
                                        i ? 5 : 0, i ? 7 : 20, bytes, &led_to, &err);
        check_error(end == QK_PIECE_FAILED || end == QK_PIECE_WRONG ? err.status : QK_OK, &err);
        free(led_to);
    }
    if (qk_piece_stream(http, &source, 3, add_nothing, &streamed, &err) == QK_PIECE_DONE)
        QK_ASSERT(streamed == 17);
    qk_http_close(http);
}

/* A folder with a small file, a large one, one of no bytes and a card. */
static const char *folder_to_push(void)
{
    static char folder[128];
    if (*folder) return folder;
    snprintf(folder, sizeof folder, "%s/push", fuzz_folder());
    mkdir(folder, 0700);
    fuzz_file("push/a.txt", "text", 4);
    fuzz_file("push/b.bin", "\0\1\2\3\4\5\6\7\10\11", 10);
    fuzz_file("push/empty", "", 0);
    fuzz_file("push/README.md", "# card\n", 7);
    return folder;
}

static void push(const char *text, size_t n)
{
    (void)text, (void)n;
    qk_push p;
    qk_push_files files = {0};
    qk_error err = {0};
    bool done = false;
    qk_status s = qk_push_files_scan(&files, folder_to_push(), NULL, &err);
    if (s == QK_OK) s = qk_push_files_hash(&files, &err);
    QK_ASSERT(s == QK_OK && files.count == 4);
    s = qk_push_open(&p, &hub, "me/data", "b", false, &err);
    for (int i = 0; i < 3 && s == QK_OK && !done; i++) {
        s = qk_push_list(&p, &err);
        if (s == QK_OK) check_listing(&p.remote.listing);
        if (s == QK_OK) s = qk_push_send(&p, &files, &done, &err);
    }
    check_error(s, &err);
    if (s == QK_OK) QK_ASSERT(qk_is_commit(p.remote.head));
    qk_push_close(&p);
    qk_push_files_free(&files);
}

static void fetch(const char *text, size_t n)
{
    (void)text, (void)n;
    qk_uploader lines = {.hub = &hub, .repo = "me/data", .branch = "b"};
    qk_remote remote = {.hub = &hub, .repo = "me/data", .branch = "b"};
    qk_hub_file file = {"l/data.txt", 2, "b5754e20373fdaa5331ef6e4623dbae636225e3b", ""};
    const qk_hub_file *files[] = {&file};
    qk_error err = {0};
    memcpy(remote.head, commit, sizeof commit);
    check_error(qk_fetch_files(&lines, &remote, files, 1, fuzz_folder(), &err), &err);
    qk_uploader_close(&lines);
}

static void words(const char *text, size_t n)
{
    qk_http *http = qk_http_open(&hub);
    qk_http_request q = {.url = "https://hub.test/api/models/me/model", .retries = QK_RETRY_NEVER};
    qk_http_reply reply = {0};
    qk_error err = {0};
    qk_status s = qk_http_once(http, &q, &reply, &err);
    check_error(s, &err);
    if (s == QK_OK && qk_reply_problem(&reply) != QK_PROBLEM_NONE)
        check_error(qk_reply_error(&hub, &reply, NULL, &err), &err);
    char *copy = qk_strf("%.*s", (int)n, text), *next = qk_link_next(copy),
         *shown = qk_url_shown(copy), *to;
    if (qk_url_follow(&to, "https://hub.test/a/b?c", copy, &err) == QK_OK)
        QK_ASSERT(!strncmp(to, "https://", 8));
    qk_retry_asked(429, copy, copy);
    qk_redact(copy, token);
    QK_ASSERT(!strstr(copy, token));
    free(copy);
    free(next);
    free(shown);
    free(to);
    qk_http_reply_free(&reply);
    qk_http_close(http);
}

/* ---- local state ---- */

static void snapshot(const char *text, size_t n)
{
    qk_push_files files = {0};
    qk_arena arena = {0};
    qk_error err = {0};
    const qk_json *root;
    char *path = qk_path_join(fuzz_folder(), "snapshot.json");
    if (qk_sealed_write(path, text, n, &err) != QK_OK) abort();
    free(path);
    if (qk_json_parse(&arena, text, n, "x", &root, &err) == QK_OK) { /* else a warning, each time */
        QK_ASSERT(qk_push_snapshot_read(fuzz_folder(), "/nowhere", &files, &err) == QK_OK);
        for (size_t i = 0; i < files.count; i++) {
            const qk_push_file *f = &files.items[i];
            QK_ASSERT(f->name && f->hashed && qk_is_digest(f->sha256) &&
                      (!*f->git || qk_is_digest(f->git)));
        }
        qk_push_files scanned = {0};
        QK_ASSERT(qk_push_files_scan(&scanned, folder_to_push(), &files, &err) == QK_OK);
        qk_push_files_free(&scanned);
    }
    qk_push_files_free(&files);
    qk_arena_free(&arena);
}

static void kept(const char *text, size_t n)
{
    qk_hub_listing l;
    qk_error err = {0};
    qk_status s = qk_hub_listing_read(&l, fuzz_file("tree.json", text, n), &err);
    check_error(s, &err);
    if (s != QK_OK) return;
    check_listing(&l);
    qk_hub_listing_free(&l);
}

static void ref(const char *text, size_t n)
{
    static qk_hub here;
    qk_repo repo = {QK_REPO_MODEL, "m", "main"};
    qk_cache cache;
    char head[72], path[128];
    qk_error err;
    here = hub;
    here.cache = (char *)fuzz_folder();
    snprintf(path, sizeof path, "%s/models--m", fuzz_folder());
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/models--m/refs", fuzz_folder());
    mkdir(path, 0700);
    fuzz_file("models--m/refs/main", text, n);
    qk_cache_open(&cache, &here, &repo);
    if (qk_cache_read_ref(&cache, "main", head, &err) == QK_OK && *head)
        QK_ASSERT(qk_is_commit(head));
    qk_cache_close(&cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const works[])(const char *text, size_t n) = {list,  get_file, push, fetch,
                                                                words, snapshot, kept, ref};
    if (!size || size > 1 << 16) return 0;
    qk_log_quiet(true);
    setenv("QKENGINE_RETRY_MS", "0", 1);
    script.at = data + 1, script.end = data + size, script.requests = 0;
    works[data[0] % (sizeof works / sizeof *works)]((const char *)data + 1, size - 1);
    return 0;
}
