/* See hop.h. */
#include "hub/hop.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/version.h"
#include "hub/url.h"

enum {
    MAX_BODY = 64 << 20,       /* in memory, when the request names no limit */
    MAX_ERROR_BODY = 64 << 10, /* kept of a reply that is not 2xx */
    MAX_IGNORED = 1 << 20,     /* read of one, before the connection is given up */
    MAX_HEADERS = 256 << 10,   /* bytes of one reply; libcurl itself gives up at 300 kB */
    CONNECT_SECONDS = 10,
    SLOWEST = 64, /* bytes/s below which a connection counts as silent */
};

struct qk_http {
    const qk_hub *hub;
    CURL *easy;
    uint64_t random;
    char text[CURL_ERROR_SIZE]; /* libcurl's words for the last error */
    /* The hop that is being run. */
    const qk_http_request *q;
    qk_http_reply *reply;
    qk_error *err;
    uint64_t sent, ignored;
    bool begun;      /* sink->begin was called */
    bool has_head;   /* the empty line behind the headers came */
    bool err_is_set; /* *err says why the transfer was stopped */
    qk_http_failure failure;
};

/* ---- opening ---- */

static void init_curl(void)
{
    /* A connection that ends while something is sent is an error to report, not a reason to die. */
    signal(SIGPIPE, SIG_IGN);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) qk_no_memory("libcurl");
}

qk_http *qk_http_open(const qk_hub *hub)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    qk_http *h = qk_zalloc(1, sizeof *h);
    h->hub = hub;
    h->easy = curl_easy_init();
    if (!h->easy) qk_no_memory("a handle of libcurl");
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    h->random = (uint64_t)t.tv_nsec ^ (uint64_t)getpid() << 32 ^ (uintptr_t)h;
    return h;
}

void qk_http_close(qk_http *http)
{
    if (!http) return;
    curl_easy_cleanup(http->easy);
    free(http);
}

const qk_hub *qk_http_hub(const qk_http *http)
{
    return http->hub;
}

uint64_t *qk_http_random(qk_http *http)
{
    return &http->random;
}

/* ---- callbacks ---- */

/* Stops the transfer; what libcurl says about that is not shown. */
static size_t stop(qk_http *h, qk_http_failure failure)
{
    h->failure = failure;
    h->err_is_set = true;
    return 0;
}

/* 1xx replies, proxies and redirects send several blocks: only the last counts. */
static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    qk_http *h = context;
    size_t n = size * count;
    while (n && (line[n - 1] == '\n' || line[n - 1] == '\r')) n--;
    if (n >= 5 && !strncasecmp(line, "HTTP/", 5)) {
        qk_buf_clear(&h->reply->headers);
        h->has_head = false;
        return size * count;
    }
    h->has_head |= !n;
    if (h->reply->headers.size + n > MAX_HEADERS) {
        qk_fail(h->err, QK_ERR_FORMAT, NULL, "the headers of the reply never end");
        return stop(h, QK_HTTP_FORBIDDEN);
    }
    qk_http_add_header(h->reply, line, n);
    return size * count;
}

/* Before the first byte of a 2xx body. */
static bool begin_body(qk_http *h)
{
    if (h->begun) return true;
    h->begun = true;
    const char *encoding = h->q->is_file ? qk_http_header(h->reply, "content-encoding") : NULL;
    if (encoding && strcasecmp(encoding, "identity") != 0) {
        qk_fail(h->err, QK_ERR_FORMAT, NULL,
                "the server sends a file as '%.40s' although it was asked not to", encoding);
        return stop(h, QK_HTTP_FORBIDDEN) != 0;
    }
    const qk_http_sink *sink = h->q->sink;
    if (!sink || !sink->begin) return true;
    if (sink->begin(sink->context, h->reply, h->err) == QK_OK) return true;
    return stop(h, QK_HTTP_STOPPED) != 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    qk_http *h = context;
    size_t n = size * count, limit = h->q->limit ? h->q->limit : MAX_BODY;
    qk_buf *body = &h->reply->body;
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->reply->status);
    if (!qk_http_is_fine(h->reply)) {
        size_t left = body->size < MAX_ERROR_BODY ? MAX_ERROR_BODY - body->size : 0;
        qk_buf_add(body, bytes, n < left ? n : left);
        h->ignored += n;
        return h->ignored > MAX_IGNORED ? 0 : n;
    }
    if (!begin_body(h)) return 0;
    const qk_http_sink *sink = h->q->sink;
    if (sink)
        return sink->data(sink->context, bytes, n, h->err) == QK_OK ? n : stop(h, QK_HTTP_STOPPED);
    if (body->size + n > limit) {
        qk_fail(h->err, QK_ERR_FORMAT, NULL, "the reply is larger than %zu bytes", limit);
        return stop(h, QK_HTTP_FORBIDDEN);
    }
    qk_buf_add(body, bytes, n);
    return n;
}

static size_t on_send(char *out, size_t size, size_t count, void *context)
{
    qk_http *h = context;
    const qk_http_request *q = h->q;
    uint64_t left = q->body_size - h->sent;
    size_t n = size * count < left ? size * count : (size_t)left;
    if (n && q->body_is_file) {
        ssize_t got;
        do got = pread(q->body_file, out, n, (off_t)(q->body_offset + h->sent));
        while (got < 0 && errno == EINTR);
        if (got <= 0) {
            if (got < 0)
                qk_fail_errno(h->err, "cannot read", q->body_path);
            else
                qk_fail(h->err, QK_ERR_IO, "the file must not change while it is sent",
                        "%s: became shorter while it was sent", q->body_path);
            stop(h, QK_HTTP_FORBIDDEN);
            return CURL_READFUNC_ABORT;
        }
        n = (size_t)got;
    } else if (n) {
        memcpy(out, (const char *)q->body + h->sent, n);
    }
    if (n && q->body_seen) q->body_seen(q->body_context, h->sent, out, n);
    h->sent += n;
    return n;
}

static int on_seek(void *context, curl_off_t offset, int origin)
{
    qk_http *h = context;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > h->q->body_size)
        return CURL_SEEKFUNC_FAIL;
    h->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static int on_progress(void *context, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up)
{
    (void)total, (void)now, (void)up_total, (void)up;
    qk_error ignored;
    return qk_hub_check(qk_http_hub(context), &ignored) != QK_OK;
}

/* ---- one transfer ---- */

/* Proxies are for the network: this machine is reached directly. */
static bool set_proxy(qk_http *h, const char *url)
{
    static const char *const names[] = {"all_proxy", "ALL_PROXY", NULL};
    static const char *const of_https[] = {"https_proxy", "HTTPS_PROXY", NULL};
    static const char *const of_http[] = {"http_proxy", "HTTP_PROXY", NULL};
    if (qk_url_is_loopback(url)) {
        curl_easy_setopt(h->easy, CURLOPT_PROXY, "");
        return false;
    }
    bool https = qk_url_is_https(url), found = false;
    /* HTTP_PROXY in capitals is not read by libcurl (CGI scripts); this is no CGI script. */
    const char *capitals = https || getenv("http_proxy") ? NULL : getenv("HTTP_PROXY");
    if (capitals) curl_easy_setopt(h->easy, CURLOPT_PROXY, capitals);
    for (const char *const *n = names; *n; n++) found |= getenv(*n) != NULL;
    for (const char *const *n = https ? of_https : of_http; *n; n++) found |= getenv(*n) != NULL;
    return found;
}

static void set_rules(qk_http *h, const qk_hop *hop)
{
    const qk_http_request *q = h->q;
    CURL *c = h->easy;
    const char *file = getenv("SSL_CERT_FILE"), *folder = getenv("SSL_CERT_DIR");
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, hop->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (file && *file) curl_easy_setopt(c, CURLOPT_CAINFO, file);
    if (folder && *folder) curl_easy_setopt(c, CURLOPT_CAPATH, folder);
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
                     (long)(q->idle_seconds ? q->idle_seconds : h->hub->download_timeout));
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)q->seconds);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, q->is_file ? NULL : "");
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->text);
}

static void set_callbacks(qk_http *h)
{
    CURL *c = h->easy;
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
}

static void set_method(qk_http *h, const qk_hop *hop)
{
    CURL *c = h->easy;
    if (!strcmp(hop->method, "HEAD")) {
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    } else if (hop->has_body) {
        curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)h->q->body_size);
        curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(c, CURLOPT_READDATA, h);
        curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(c, CURLOPT_SEEKDATA, h);
        curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, hop->method);
    } else if (strcmp(hop->method, "GET") != 0) {
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, hop->method);
    }
}

static struct curl_slist *add(struct curl_slist *list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(list, line);
    if (!longer) qk_no_memory("a header");
    return longer;
}

static struct curl_slist *make_headers(qk_http *h, const qk_hop *hop)
{
    static const char agent[] = "User-Agent: qkengine/" QK_VERSION "; libcurl/" LIBCURL_VERSION;
    struct curl_slist *list = add(add(NULL, agent), "Expect:");
    if (h->q->is_file) list = add(list, "Accept-Encoding: identity");
    for (const char *const *line = h->q->headers; line && *line; line++) list = add(list, *line);
    if (hop->send_token) {
        char *line = qk_strf("Authorization: Bearer %s", h->hub->token);
        list = add(list, line);
        explicit_bzero(line, strlen(line));
        free(line);
    }
    return list;
}

/* ---- what went wrong ---- */

static const struct {
    CURLcode code;
    qk_http_failure failure;
    const char *hint;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, QK_HTTP_NOT_SENT, "check the network, then run it again"},
    {CURLE_COULDNT_RESOLVE_PROXY, QK_HTTP_NOT_SENT, "check the proxy of the environment"},
    {CURLE_COULDNT_CONNECT, QK_HTTP_NOT_SENT, "check the network, then run it again"},
    {CURLE_SSL_CONNECT_ERROR, QK_HTTP_NOT_SENT, "check the network, then run it again"},
    {CURLE_PROXY, QK_HTTP_NOT_SENT, "check the proxy of the environment"},
    {CURLE_PEER_FAILED_VERIFICATION, QK_HTTP_FORBIDDEN,
     "check the clock of this machine; SSL_CERT_FILE names the authorities of a private network"},
    {CURLE_SSL_CACERT_BADFILE, QK_HTTP_FORBIDDEN, "check SSL_CERT_FILE and SSL_CERT_DIR"},
    {CURLE_UNSUPPORTED_PROTOCOL, QK_HTTP_FORBIDDEN, NULL},
    {CURLE_URL_MALFORMAT, QK_HTTP_FORBIDDEN, NULL},
    {CURLE_SSL_CIPHER, QK_HTTP_FORBIDDEN, NULL},
    {CURLE_BAD_CONTENT_ENCODING, QK_HTTP_FORBIDDEN, NULL},
};

static qk_status explain(qk_http *h, CURLcode code, const char *shown)
{
    qk_http_reply *reply = h->reply;
    qk_error *err = h->err;
    reply->failure = h->failure;
    if (h->err_is_set && h->failure == QK_HTTP_STOPPED) return err->status;
    if (h->err_is_set) return qk_error_prefix(err, "%s", shown);
    if (code == CURLE_ABORTED_BY_CALLBACK && qk_hub_check(qk_http_hub(h), err) != QK_OK) {
        reply->failure = QK_HTTP_STOPPED;
        return err->status;
    }
    const char *hint = "run the same command again";
    reply->failure = QK_HTTP_BROKEN;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        if (failures[i].code != code) continue;
        reply->failure = failures[i].failure;
        hint = failures[i].hint;
    }
    bool may_pass = reply->failure != QK_HTTP_FORBIDDEN;
    return qk_fail(err, may_pass ? QK_ERR_RESUME : QK_ERR_IO, hint, "%s: %s", shown,
                   h->text[0] ? h->text : curl_easy_strerror(code));
}

static qk_status transfer(qk_http *h, const qk_hop *hop, const char *shown)
{
    struct curl_slist *headers = make_headers(h, hop);
    set_rules(h, hop);
    set_callbacks(h);
    set_method(h, hop);
    h->reply->proxied = set_proxy(h, hop->url);
    curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, headers);
    CURLcode code = curl_easy_perform(h->easy);
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &h->reply->status);
    curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, NULL);
    for (struct curl_slist *l = headers; l; l = l->next) explicit_bzero(l->data, strlen(l->data));
    curl_slist_free_all(headers);
    bool known = !qk_http_is_fine(h->reply) && h->ignored > MAX_IGNORED; /* enough of an error */
    if (code != CURLE_OK && !known) return explain(h, code, shown);
    /* libcurl takes a connection that ends within the headers for a reply without a body. */
    if (!h->has_head) {
        h->reply->failure = QK_HTTP_BROKEN;
        return qk_fail(h->err, QK_ERR_RESUME, "run the same command again",
                       "%s: the reply ends within its headers", shown);
    }
    if (qk_http_is_fine(h->reply) && !begin_body(h)) return explain(h, code, shown);
    h->reply->failure = QK_HTTP_REPLIED;
    return QK_OK;
}

qk_status qk_hop_run(qk_http *http, const qk_http_request *q, const qk_hop *hop,
                     qk_http_reply *reply, qk_error *err)
{
    char *shown = qk_url_shown(hop->url);
    http->q = q;
    http->reply = reply;
    http->err = err;
    http->sent = http->ignored = 0;
    http->begun = http->has_head = http->err_is_set = false;
    http->failure = QK_HTTP_REPLIED;
    http->text[0] = 0;
    reply->status = 0;
    reply->at_endpoint = hop->at_endpoint;
    qk_buf_clear(&reply->body);
    qk_buf_clear(&reply->headers);
    qk_status s = QK_OK;
    if (http->hub->offline) {
        reply->failure = QK_HTTP_STOPPED;
        s = qk_fail(err, QK_ERR_NOTFOUND, "unset it to use the network",
                    "HF_HUB_OFFLINE is set: %s is not asked", shown);
    } else {
        s = transfer(http, hop, shown);
    }
    free(shown);
    return s;
}
