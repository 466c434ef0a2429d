/* hub/http against servers of this file on the loopback: each connection gets the next reply of a
 * list, and what was asked is kept. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "hub/errors.h"

enum { MAX_REPLIES = 16 };

typedef struct server {
    int socket, port;
    const char *replies[MAX_REPLIES]; /* NULL: close without a word */
    int n_replies, n_asked;
    char *asked[MAX_REPLIES]; /* head and body of each request */
    pthread_t thread;
} server;

static void listen_on(server *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    *s = (server){.socket = socket(AF_INET, SOCK_STREAM, 0)};
    if (bind(s->socket, (struct sockaddr *)&address, length) || listen(s->socket, 16) ||
        getsockname(s->socket, (struct sockaddr *)&address, &length))
        abort();
    s->port = ntohs(address.sin_port);
}

/* Reads a head and the body that its Content-Length announces. */
static char *read_request(int connection)
{
    char *text = calloc(1, 1 << 20);
    size_t n = 0, need = 0;
    while (n + 1 < 1 << 20) {
        char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (end) need = (size_t)(end + 4 - text) + (length ? strtoul(length + 16, NULL, 10) : 0);
        if (end && n >= need) break;
        ssize_t got = read(connection, text + n, (1 << 20) - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
    }
    return text;
}

static void *serve(void *context)
{
    server *s = context;
    for (int i = 0; i < s->n_replies; i++) {
        int c = accept(s->socket, NULL, NULL);
        if (c < 0) break;
        s->asked[s->n_asked++] = read_request(c);
        const char *reply = s->replies[i];
        if (reply && write(c, reply, strlen(reply)) < 0) perror("write");
        shutdown(c, SHUT_WR);
        close(c);
    }
    return NULL;
}

static void add(server *s, const char *reply)
{
    s->replies[s->n_replies++] = reply;
}

static void start(server *s)
{
    pthread_create(&s->thread, NULL, serve, s);
}

static void stop(server *s)
{
    shutdown(s->socket, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->socket);
    for (int i = 0; i < s->n_asked; i++) free(s->asked[i]);
}

#define REPLY(status, headers, body)                                                               \
    "HTTP/1.1 " status "\r\nConnection: close\r\n" headers "\r\n" body
#define OK_HELLO REPLY("200 OK", "Content-Length: 5\r\nETag: \"x\"\r\n", "hello")

static qk_hub hub_at(const server *s)
{
    return (qk_hub){.endpoint = qk_strf("http://127.0.0.1:%d", s->port),
                    .token = qk_strdup("hf_secretsecret"),
                    .token_from = qk_strdup("HF_TOKEN"),
                    .download_timeout = 2};
}

typedef struct client {
    qk_hub hub;
    qk_http *http;
    qk_http_reply reply;
    qk_error err;
    char *url;
} client;

static void open_client(client *c, const server *s, const char *path)
{
    *c = (client){.hub = hub_at(s)};
    c->http = qk_http_open(&c->hub);
    c->url = qk_strf("%s%s", c->hub.endpoint, path);
}

static void close_client(client *c)
{
    qk_http_close(c->http);
    qk_http_reply_free(&c->reply);
    qk_hub_close(&c->hub);
    free(c->url);
}

static qk_status get(client *c)
{
    qk_http_request q = {.url = c->url};
    return qk_http_send(c->http, &q, &c->reply, &c->err);
}

static void test_get(void)
{
    server s;
    client c;
    listen_on(&s);
    add(&s, REPLY("200 OK", "Content-Length: 5\r\nX-Two: a\r\nx-TWO: b\r\n", "hello"));
    start(&s);
    open_client(&c, &s, "/x");
    CHECK(get(&c) == QK_OK);
    CHECK_INT(c.reply.status, 200);
    CHECK_STR(qk_buf_str(&c.reply.body), "hello");
    CHECK_STR(qk_http_header(&c.reply, "x-two"), "a, b");
    CHECK(strstr(s.asked[0], "Authorization: Bearer hf_secretsecret\r\n") != NULL);
    CHECK(!strstr(s.asked[0], "Expect:") && c.reply.token_sent);
    stop(&s);
    close_client(&c);
}

/* The token stays with the endpoint: another port is another origin. */
static void test_redirect_without_token(void)
{
    server s, other;
    client c;
    char *redirect;
    listen_on(&s);
    listen_on(&other);
    redirect = qk_strf(REPLY("302 Found",
                             "Content-Length: 3\r\nX-Repo-Commit: abc\r\nX-Linked-ETag: \"e\"\r\n"
                             "Location: http://127.0.0.1:%d/y?Signature=1\r\n",
                             "moo"),
                       other.port);
    add(&s, redirect);
    add(&other, OK_HELLO);
    start(&s);
    start(&other);
    open_client(&c, &s, "/x");
    CHECK(get(&c) == QK_OK);
    CHECK_STR(qk_buf_str(&c.reply.body), "hello");
    CHECK_STR(c.reply.repo_commit, "abc");
    CHECK_STR(c.reply.linked_etag, "\"e\"");
    CHECK(!qk_http_header(&c.reply, "x-repo-commit")); /* headers of the last reply only */
    CHECK(strstr(s.asked[0], "Authorization:") != NULL);
    CHECK(!strstr(other.asked[0], "Authorization:") && !strstr(other.asked[0], "hf_secret"));
    CHECK(!c.reply.at_endpoint && !c.reply.token_sent);
    stop(&s);
    stop(&other);
    free(redirect);
    close_client(&c);
}

static void test_redirect_loop(void)
{
    server s;
    client c;
    listen_on(&s);
    for (int i = 0; i < 6; i++)
        add(&s, REPLY("307 T", "Content-Length: 0\r\nLocation: /x\r\n", ""));
    start(&s);
    open_client(&c, &s, "/x");
    CHECK(get(&c) == QK_ERR_FORMAT);
    CHECK(strstr(c.err.message, "more than 5 redirects") != NULL);
    CHECK_INT(s.n_asked, 6);
    stop(&s);
    close_client(&c);
}

static void test_hostile_redirects(void)
{
    static const char *const replies[] = {
        REPLY("302 F", "Content-Length: 0\r\nLocation: file:///etc/passwd\r\n", ""),
        REPLY("302 F", "Content-Length: 0\r\nLocation: http://u:p@127.0.0.1/\r\n", ""),
        REPLY("302 F", "Content-Length: 0\r\n", "")};
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        server s;
        client c;
        listen_on(&s);
        add(&s, replies[i]);
        start(&s);
        open_client(&c, &s, "/x");
        CHECK_MSG(get(&c) == QK_ERR_FORMAT && c.reply.failure == QK_HTTP_FORBIDDEN, "%zu: %s", i,
                  c.err.message);
        stop(&s);
        close_client(&c);
    }
}

static void post_through(const char *first, const char *expected_method, bool with_body)
{
    server s;
    client c;
    listen_on(&s);
    add(&s, first);
    add(&s, OK_HELLO);
    start(&s);
    open_client(&c, &s, "/x");
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    qk_http_request q = {
        .method = "POST", .url = c.url, .headers = headers, .body = "{\"a\":1}", .body_size = 7};
    CHECK(qk_http_send(c.http, &q, &c.reply, &c.err) == QK_OK);
    CHECK(strstr(s.asked[0], "\r\n\r\n{\"a\":1}") != NULL);
    CHECK(!strncmp(s.asked[1], expected_method, strlen(expected_method)));
    CHECK((strstr(s.asked[1], "{\"a\":1}") != NULL) == with_body);
    stop(&s);
    close_client(&c);
}

static void test_redirect_of_post(void)
{
    post_through(REPLY("307 T", "Content-Length: 0\r\nLocation: /y\r\n", ""), "POST /y", true);
    post_through(REPLY("308 P", "Content-Length: 0\r\nLocation: /y\r\n", ""), "POST /y", true);
    post_through(REPLY("303 S", "Content-Length: 0\r\nLocation: /y\r\n", ""), "GET /y", false);
}

static void test_retries(void)
{
    server s;
    client c;
    listen_on(&s);
    add(&s, NULL);
    add(&s, REPLY("503 Busy", "Content-Length: 0\r\nRetry-After: 1\r\n", ""));
    add(&s, REPLY("200 OK", "Content-Length: 9\r\n", "trunc"));
    add(&s, OK_HELLO);
    start(&s);
    open_client(&c, &s, "/x");
    CHECK(get(&c) == QK_OK);
    CHECK_STR(qk_buf_str(&c.reply.body), "hello");
    CHECK_INT(s.n_asked, 4);
    stop(&s);
    close_client(&c);
}

static void test_retries_end(void)
{
    server s;
    client c;
    listen_on(&s);
    for (int i = 0; i < 6; i++)
        add(&s, REPLY("500 Oops", "Content-Length: 21\r\n", "{\"error\":\"hf_abcdefgh1"));
    start(&s);
    open_client(&c, &s, "/x?Signature=1");
    CHECK(get(&c) == QK_ERR_RESUME);
    CHECK_INT(s.n_asked, 6);
    CHECK(!strstr(c.err.message, "Signature") && !strstr(c.err.message, "hf_abc"));
    stop(&s);
    close_client(&c);
}

static void test_torn_headers(void)
{
    server s;
    client c;
    listen_on(&s);
    add(&s, "HTTP/1.1 200 OK\r\n");
    add(&s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nLi");
    add(&s, REPLY("200 OK", "Content-Length: 2\r\n", "{}"));
    start(&s);
    open_client(&c, &s, "/x");
    CHECK(get(&c) == QK_OK);
    CHECK_STR(qk_buf_str(&c.reply.body), "{}");
    CHECK_INT(s.n_asked, 3);
    stop(&s);
    close_client(&c);
}

static void test_no_web_address(void)
{
    static const char *const urls[] = {"file:///etc/passwd", "ftp://127.0.0.1/", "/x", "",
                                       "http://u:p@127.0.0.1/"};
    server s;
    client c;
    listen_on(&s);
    open_client(&c, &s, "/x");
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        qk_http_request q = {.url = urls[i]};
        CHECK(qk_http_send(c.http, &q, &c.reply, &c.err) == QK_ERR_FORMAT);
        CHECK_INT(c.reply.failure, QK_HTTP_FORBIDDEN);
    }
    close(s.socket);
    close_client(&c);
}

static void test_post_is_not_repeated(void)
{
    server s;
    client c;
    listen_on(&s);
    add(&s, REPLY("500 Oops", "Content-Length: 0\r\n", ""));
    add(&s, OK_HELLO);
    start(&s);
    open_client(&c, &s, "/x");
    qk_http_request q = {.method = "POST", .url = c.url, .retries = QK_RETRY_UNSENT};
    CHECK(qk_http_send(c.http, &q, &c.reply, &c.err) == QK_OK);
    CHECK_INT(c.reply.status, 500);
    CHECK_INT(s.n_asked, 1);
    stop(&s);
    close_client(&c);
}

static void test_refused(void)
{
    server s;
    client c;
    listen_on(&s);
    open_client(&c, &s, "/x");
    close(s.socket);
    CHECK(get(&c) == QK_ERR_RESUME);
    CHECK(c.reply.failure == QK_HTTP_NOT_SENT);
    CHECK_INT(qk_exit_status(c.err.status), 3);
    close_client(&c);
}

static void test_limits(void)
{
    server s;
    client c;
    listen_on(&s);
    add(&s, OK_HELLO);
    start(&s);
    open_client(&c, &s, "/x");
    qk_http_request q = {.url = c.url, .limit = 4};
    CHECK(qk_http_send(c.http, &q, &c.reply, &c.err) == QK_ERR_FORMAT);
    CHECK(strstr(c.err.message, "larger than 4 bytes") != NULL);
    stop(&s);
    close_client(&c);
}

static void test_compressed_file(void)
{
    server s;
    client c;
    listen_on(&s);
    add(&s, REPLY("200 OK", "Content-Length: 5\r\nContent-Encoding: gzip\r\n", "hello"));
    start(&s);
    open_client(&c, &s, "/x");
    qk_http_request q = {.url = c.url, .is_file = true};
    CHECK(qk_http_send(c.http, &q, &c.reply, &c.err) == QK_ERR_FORMAT);
    CHECK(strstr(s.asked[0], "Accept-Encoding: identity") != NULL);
    stop(&s);
    close_client(&c);
}

/* A server that takes the request and says nothing. */
static void test_silence(void)
{
    server s;
    client c;
    listen_on(&s);
    open_client(&c, &s, "/x");
    qk_http_request q = {.url = c.url, .seconds = 1};
    CHECK(qk_http_once(c.http, &q, &c.reply, &c.err) == QK_ERR_RESUME);
    CHECK(c.reply.failure == QK_HTTP_BROKEN);
    close(s.socket);
    close_client(&c);
}

static void test_file_body(void)
{
    server s;
    client c;
    char path[] = "/tmp/qk_http_XXXXXX";
    int fd = mkstemp(path);
    CHECK(write(fd, "0123456789", 10) == 10);
    listen_on(&s);
    add(&s, REPLY("503 Busy", "Content-Length: 0\r\n", ""));
    add(&s, OK_HELLO);
    start(&s);
    open_client(&c, &s, "/x");
    qk_http_request q = {.method = "PUT",
                         .url = c.url,
                         .body_is_file = true,
                         .body_file = fd,
                         .body_offset = 3,
                         .body_size = 4,
                         .without_token = true};
    CHECK(qk_http_send(c.http, &q, &c.reply, &c.err) == QK_OK);
    for (int i = 0; i < 2; i++) {
        CHECK(strstr(s.asked[i], "Content-Length: 4\r\n") != NULL);
        CHECK(strstr(s.asked[i], "\r\n\r\n3456") != NULL && !strstr(s.asked[i], "Authorization"));
    }
    stop(&s);
    close(fd);
    unlink(path);
    close_client(&c);
}

static void test_plain_http_token(void)
{
    qk_hub hub = {.endpoint = qk_strdup("http://hub.invalid"),
                  .token = qk_strdup("hf_secretsecret"),
                  .token_from = qk_strdup("HF_TOKEN")};
    qk_http *http = qk_http_open(&hub);
    qk_http_reply reply = {0};
    qk_error err;
    qk_http_request q = {.url = "http://hub.invalid/api/models/a/b"};
    CHECK(qk_http_send(http, &q, &reply, &err) == QK_ERR_CONFIG);
    CHECK(!strstr(err.message, "hf_secret"));
    qk_http_close(http);
    qk_http_reply_free(&reply);
    qk_hub_close(&hub);
}

static void test_offline(void)
{
    server s;
    client c;
    listen_on(&s);
    open_client(&c, &s, "/x");
    c.hub.offline = true;
    CHECK(get(&c) == QK_ERR_NOTFOUND);
    CHECK(strstr(c.err.message, "HF_HUB_OFFLINE") != NULL);
    close(s.socket);
    close_client(&c);
}

/* ---- what a reply means ---- */

static void check_problem(long status, const char *headers, const char *body, const char *url,
                          qk_problem expected, qk_status status_expected)
{
    qk_hub hub = {.token = (char *)"hf_secretsecret", .token_from = (char *)"HF_TOKEN"};
    qk_http_reply reply = {.status = status, .url = qk_strdup(url)};
    qk_error err;
    for (const char *h = headers; *h; h += strlen(h) + 1)
        qk_buf_add(&reply.headers, h, strlen(h) + 1);
    qk_buf_add_str(&reply.body, body);
    CHECK_INT(qk_reply_problem(&reply), expected);
    CHECK_INT(qk_reply_error(&hub, &reply, NULL, &err), status_expected);
    CHECK_MSG(!strstr(err.message, "hf_secret") && !strstr(err.message, "Sig="), "%s", err.message);
    qk_http_reply_free(&reply);
}

static void test_problems(void)
{
    const char *api = "https://h/api/models/a/b?Sig=1", *lfs = "https://h/a/b.git/info/lfs";
    check_problem(404, "x-error-code\0RevisionNotFound\0", "", api, QK_PROBLEM_REVISION,
                  QK_ERR_NOTFOUND);
    check_problem(404, "x-error-code\0EntryNotFound\0", "", api, QK_PROBLEM_ENTRY, QK_ERR_NOTFOUND);
    check_problem(401, "x-error-code\0GatedRepo\0", "", api, QK_PROBLEM_GATED, QK_ERR_CONFIG);
    check_problem(403, "x-error-code\0GatedRepo\0", "", api, QK_PROBLEM_GATED, QK_ERR_CONFIG);
    check_problem(403, "x-error-message\0Access to this resource is disabled.\0", "", api,
                  QK_PROBLEM_DISABLED, QK_ERR_CONFIG);
    check_problem(404, "x-error-code\0RepoNotFound\0", "", api, QK_PROBLEM_REPO, QK_ERR_NOTFOUND);
    check_problem(401, "x-error-message\0Invalid username or password.\0", "", api, QK_PROBLEM_REPO,
                  QK_ERR_NOTFOUND);
    check_problem(401, "x-error-message\0Invalid credentials in Authorization header\0", "", api,
                  QK_PROBLEM_TOKEN, QK_ERR_CONFIG);
    check_problem(401, "", "", lfs, QK_PROBLEM_TOKEN, QK_ERR_CONFIG);
    check_problem(403, "", "{\"error\":\"hf_secretsecret\"}", api, QK_PROBLEM_FORBIDDEN,
                  QK_ERR_CONFIG);
    check_problem(409, "", "", api, QK_PROBLEM_CONFLICT, QK_ERR_DATA);
    check_problem(412, "", "", api, QK_PROBLEM_CONDITION, QK_ERR_RESUME);
    check_problem(412, "", "", "https://h/api/datasets/a/b/commit/main", QK_PROBLEM_MOVED_ON,
                  QK_ERR_RESUME);
    check_problem(429, "", "<html>", api, QK_PROBLEM_RATE, QK_ERR_RESUME);
    check_problem(504, "", "<html>", api, QK_PROBLEM_TRANSIENT, QK_ERR_RESUME);
    check_problem(400, "", "{\"errors\":[{\"message\":\"m\"}]}", api, QK_PROBLEM_OTHER,
                  QK_ERR_DATA);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    signal(SIGPIPE, SIG_IGN);
    setenv("QKENGINE_RETRY_MS", "1", 1);
    RUN(test_get);
    RUN(test_redirect_without_token);
    RUN(test_redirect_loop);
    RUN(test_hostile_redirects);
    RUN(test_redirect_of_post);
    RUN(test_retries);
    RUN(test_retries_end);
    RUN(test_torn_headers);
    RUN(test_no_web_address);
    RUN(test_post_is_not_repeated);
    RUN(test_refused);
    RUN(test_limits);
    RUN(test_compressed_file);
    RUN(test_silence);
    RUN(test_file_body);
    RUN(test_plain_http_token);
    RUN(test_offline);
    RUN(test_problems);
    return test_summary("hub http");
}
