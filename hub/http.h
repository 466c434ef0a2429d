/* One HTTP request at a time, over libcurl, by the rules of this program:
 *
 *   redirects   followed by hand: at most 5, http and https only, never https -> http; 307 and 308
 *               keep method and body, 303 becomes GET, 301 and 302 are for GET and HEAD
 *   token       only to the endpoint's own origin, and over plain http only to this machine
 *   TLS         always verified (1.2 or newer; SSL_CERT_FILE, SSL_CERT_DIR)
 *   time        10 s to connect, then inactivity; a limit in all where a request names one
 *   size        of headers and bodies bounded
 *   signals     stop a transfer and a wait
 *
 * With hub->offline every request fails before a socket exists. A qk_http is one connection cache
 * and belongs to one thread; a second thread opens its own.
 *
 * next: hub/errors.h */
#pragma once

#include "hub/endpoint.h"
#include "hub/retry.h"

typedef struct qk_http qk_http;

/* The hub is borrowed. */
qk_http *qk_http_open(const qk_hub *hub);
void qk_http_close(qk_http *http); /* NULL-safe */

typedef enum qk_http_failure {
    QK_HTTP_REPLIED,   /* none: a complete reply, whatever its status */
    QK_HTTP_NOT_SENT,  /* the server cannot be reached: nothing was asked */
    QK_HTTP_BROKEN,    /* the connection broke or went silent later: the request may have arrived */
    QK_HTTP_FORBIDDEN, /* our rules or TLS say no: trying again does not help */
    QK_HTTP_STOPPED,   /* by the sink, by a signal, by a full disk, or offline */
} qk_http_failure;

/* Zero-initialise; one reply may be used for many requests; qk_http_reply_free ends it. */
typedef struct qk_http_reply {
    long status; /* of the last hop; 0: none arrived */
    qk_http_failure failure;
    qk_buf headers;   /* of the last hop: "name\0value\0" ..., names in lower case */
    qk_buf body;      /* in memory, unless a sink took it */
    char *url;        /* of the last hop; may be signed, so show qk_url_shown of it */
    bool at_endpoint; /* the last hop was of the endpoint's origin */
    bool token_sent;  /* to the last hop */
    bool proxied;     /* a proxy is set for that URL */
    /* What the endpoint itself said on the way, "" when it did not. */
    char repo_commit[72], linked_etag[136];
} qk_http_reply;

/* The value of a header by its lower-case name, or NULL. Several lines are joined by ", ". */
const char *qk_http_header(const qk_http_reply *reply, const char *name);
void qk_http_reply_free(qk_http_reply *reply);
static inline bool qk_http_is_fine(const qk_http_reply *reply)
{
    return reply->status >= 200 && reply->status < 300;
}

/* Takes the body of a 2xx reply instead of memory. A status that is not QK_OK stops the transfer
 * and comes back from qk_http_once. */
typedef struct qk_http_sink {
    void *context;
    /* Once per 2xx reply, before its first byte and also when it has none. */
    qk_status (*begin)(void *context, const qk_http_reply *reply, qk_error *err);
    qk_status (*data)(void *context, const void *bytes, size_t n, qk_error *err);
} qk_http_sink;

typedef enum qk_http_retries {
    QK_RETRY_ALWAYS, /* the request may arrive twice: GET, HEAD, PUT of the same bytes ... */
    QK_RETRY_UNSENT, /* only when it cannot have been done: not sent, 429, 503 */
    QK_RETRY_NEVER,
} qk_http_retries;

typedef struct qk_http_request {
    const char *method; /* "GET", "HEAD", "POST", "PUT", "DELETE"; NULL: GET */
    const char *url;
    const char *const *headers; /* "Name: value" ..., NULL at the end, or NULL; no token here */
    /* A body: bytes, or body_size bytes of a file from body_offset. It is sent again from its
     * start when a redirect or a retry asks for it. */
    const void *body;
    bool body_is_file;
    int body_file;         /* descriptor, read with pread */
    const char *body_path; /* of that file, for messages */
    uint64_t body_offset, body_size;
    /* Each piece as it is sent; `at` counts from the start of the body, and 0 comes again when the
     * body is sent again. May be NULL. */
    void (*body_seen)(void *context, uint64_t at, const void *bytes, size_t n);
    void *body_context;
    bool without_token;       /* for self-authenticating URLs even when they are the endpoint's */
    bool is_file;             /* identity encoding is asked for, and required of the reply */
    size_t limit;             /* bytes of a body in memory; 0: 64 MiB */
    int seconds;              /* for the whole request; 0: no limit */
    int idle_seconds;         /* of silence; 0: hub->download_timeout */
    const qk_http_sink *sink; /* or NULL */
    qk_http_retries retries;  /* of qk_http_send */
} qk_http_request;

/* One try, redirects included. QK_OK: a complete reply of any status. Else reply->failure says what
 * happened; QK_ERR_RESUME for trouble of the network that may pass. */
qk_status qk_http_once(qk_http *http, const qk_http_request *request, qk_http_reply *reply,
                       qk_error *err);
/* With retries (retry.h). QK_OK: a complete reply whose status is not worth another try, or whose
 * kind may not be repeated; the caller looks at it. */
qk_status qk_http_send(qk_http *http, const qk_http_request *request, qk_http_reply *reply,
                       qk_error *err);
/* The loop of qk_http_send for callers that change the request between tries: waits after a
 * failure of qk_http_once (status != QK_OK) or a retryable reply, and says QK_OK when the next try
 * may begin. Otherwise the error to end with: what failed last. */
qk_status qk_http_wait(qk_http *http, qk_retry *retry, const qk_http_reply *reply, qk_status failed,
                       qk_error *err);
