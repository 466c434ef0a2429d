/* Redirects and the rule of the token. One hop is in hop.c, retries are in send.c. See http.h. */
#include "hub/http.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/hop.h"
#include "hub/url.h"

enum { MAX_HOPS = 5 };

const char *qk_http_header(const qk_http_reply *reply, const char *name)
{
    const char *at = (const char *)reply->headers.data;
    const char *end = at ? at + reply->headers.size : NULL;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (!strcmp(at, name)) return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

void qk_http_add_header(qk_http_reply *reply, const char *line, size_t n)
{
    qk_buf *all = &reply->headers;
    const char *colon = memchr(line, ':', n), *end = line + n;
    if (!colon || memchr(line, 0, n)) return;
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t')) value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t')) end--;
    size_t size = (size_t)(end - value);
    char *name = qk_strndup(line, (size_t)(colon - line));
    for (char *c = name; *c; c++) *c = (char)tolower((unsigned char)*c);
    const char *before = qk_http_header(reply, name);
    if (before) { /* under the same name: its value, a comma, and this one */
        size_t at = (size_t)(before - (const char *)all->data) + strlen(before);
        qk_buf_reserve(all, size + 2);
        memmove(all->data + at + 2 + size, all->data + at, all->size - at);
        memcpy(all->data + at, ", ", 2);
        memcpy(all->data + at + 2, value, size);
        all->size += size + 2;
    } else {
        qk_buf_add(all, name, strlen(name) + 1);
        qk_buf_add(all, value, size);
        qk_buf_add_byte(all, 0);
    }
    free(name);
}

void qk_http_reply_free(qk_http_reply *reply)
{
    qk_buf_free(&reply->headers);
    qk_buf_free(&reply->body);
    free(reply->url);
    *reply = (qk_http_reply){0};
}

/* The token may go to this URL at all, and safely. */
static qk_status choose_token(const qk_hub *hub, const qk_http_request *q, qk_hop *hop,
                              qk_error *err)
{
    hop->at_endpoint = qk_url_same_origin(hub->endpoint, hop->url);
    hop->send_token = hop->at_endpoint && hub->token && !q->without_token;
    if (!hop->send_token || qk_url_is_https(hop->url) || qk_url_is_loopback(hop->url)) return QK_OK;
    return qk_fail(err, QK_ERR_CONFIG, "use https in HF_ENDPOINT, or no token",
                   "the token is not sent to %s: plain http can be read by others", hub->endpoint);
}

/* Turns the hop into the one that the reply leads to. */
static qk_status follow(const qk_http_request *q, qk_hop *hop, const qk_http_reply *reply,
                        qk_error *err)
{
    const char *location = qk_http_header(reply, "location");
    bool reads = !strcmp(hop->method, "GET") || !strcmp(hop->method, "HEAD");
    if (!location)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "status %ld without a Location", reply->status);
    if (reply->status == 303 && !reads) {
        hop->method = "GET";
        hop->has_body = false;
    } else if (!reads && reply->status < 307) {
        return qk_fail(err, QK_ERR_FORMAT, NULL, "status %ld in answer to %s", reply->status,
                       q->method);
    }
    char *to;
    QK_TRY(qk_url_follow(&to, hop->url, location, err));
    free(hop->url);
    hop->url = to;
    return QK_OK;
}

static qk_status refuse(qk_http_reply *reply, const char *url, qk_error *err)
{
    char *shown = qk_url_shown(url);
    reply->failure = QK_HTTP_FORBIDDEN;
    qk_error_prefix(err, "%s", shown);
    free(shown);
    return err->status;
}

static qk_status all_hops(qk_http *http, const qk_http_request *q, qk_hop *hop,
                          qk_http_reply *reply, qk_error *err)
{
    const qk_hub *hub = qk_http_hub(http);
    char *origin = qk_url_origin(q->url); /* addresses of uploads come from a server, too */
    bool is_web = origin != NULL;
    free(origin);
    if (!is_web) {
        qk_fail(err, QK_ERR_FORMAT, NULL, "this is no web address");
        return refuse(reply, q->url, err);
    }
    for (int hops = 0;; hops++) {
        if (choose_token(hub, q, hop, err) != QK_OK) {
            reply->failure = QK_HTTP_FORBIDDEN;
            return err->status;
        }
        QK_TRY(qk_hop_run(http, q, hop, reply, err));
        if (hop->at_endpoint) { /* of a file: in its redirect, not in the reply of the storage */
            const char *commit = qk_http_header(reply, "x-repo-commit");
            const char *etag = qk_http_header(reply, "x-linked-etag");
            if (commit) snprintf(reply->repo_commit, sizeof reply->repo_commit, "%s", commit);
            if (etag) snprintf(reply->linked_etag, sizeof reply->linked_etag, "%s", etag);
        }
        long status = reply->status;
        bool leads_on = (status >= 301 && status <= 303) || status == 307 || status == 308;
        if (!leads_on) return QK_OK;
        if (hops == MAX_HOPS) {
            qk_fail(err, QK_ERR_FORMAT, NULL, "more than %d redirects", MAX_HOPS);
            return refuse(reply, q->url, err);
        }
        if (follow(q, hop, reply, err) != QK_OK) return refuse(reply, q->url, err);
    }
}

qk_status qk_http_once(qk_http *http, const qk_http_request *request, qk_http_reply *reply,
                       qk_error *err)
{
    qk_buf_clear(&reply->headers);
    qk_buf_clear(&reply->body);
    free(reply->url);
    *reply = (qk_http_reply){.headers = reply->headers, .body = reply->body};
    const char *method = request->method ? request->method : "GET";
    qk_hop hop = {.method = method,
                  .url = qk_strdup(request->url),
                  .has_body = request->body || request->body_is_file || !strcmp(method, "POST") ||
                              !strcmp(method, "PUT")};
    qk_status s = all_hops(http, request, &hop, reply, err);
    reply->url = hop.url;
    reply->token_sent = hop.send_token;
    /* Text of the server and of libcurl may quote what was sent. */
    if (s != QK_OK) qk_redact(err->message, qk_http_hub(http)->token);
    return s;
}
