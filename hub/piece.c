/* See piece.h. */
#include "hub/piece.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hub/errors.h"
#include "hub/hop.h"
#include "hub/url.h"

enum { MAX_EXPIRED = 2 }; /* fresh URLs that are refused in a row */

/* The reply to one request of a file, as it comes in. */
typedef struct incoming {
    const qk_piece_source *source;
    bool ranged;    /* a Range was asked for */
    bool direct;    /* not by way of the endpoint, which names commit and digest */
    uint64_t from;  /* the first byte that was asked for */
    uint64_t most;  /* bytes that may come */
    uint64_t got;   /* that came */
    uint64_t skip;  /* of a stream */
    uint8_t *bytes; /* where they go, or NULL: */
    qk_piece_add add;
    void *context;
    bool no_ranges, wrong; /* why it was stopped */
} incoming;

/* ---- what the headers say ---- */

/* "bytes 5-9/10" */
static bool range_fits(const incoming *in, const char *text)
{
    unsigned long long first, last, total;
    int n = 0;
    if (!text || strncasecmp(text, "bytes ", 6) != 0) return false;
    if (sscanf(text + 6, "%llu-%llu/%llu%n", &first, &last, &total, &n) != 3 || text[6 + n])
        return false;
    return first == in->from && total == in->source->file->size && last >= first &&
           last - first < in->most;
}

static qk_status wrong(incoming *in, qk_error *err, const char *what)
{
    in->wrong = true;
    return qk_fail(err, QK_ERR_DATA,
                   "run the same command again; if it stays, the repository or "
                   "a proxy in between is at fault",
                   "%s: %s", in->source->file->path, what);
}

/* The endpoint's own words about commit and digest, in a redirect or with the content. */
static qk_status check_identity(incoming *in, const qk_http_reply *reply, qk_error *err)
{
    const char *commits[] = {reply->repo_commit, qk_http_header(reply, "x-repo-commit")};
    const char *etags[] = {reply->linked_etag, qk_http_header(reply, "x-linked-etag"),
                           qk_http_header(reply, "etag")};
    size_t n = reply->at_endpoint ? 2 : 1, known = 0;
    if (in->direct) return QK_OK;
    for (size_t i = 0; i < n; i++) {
        if (!commits[i] || !*commits[i]) continue;
        if (strcmp(commits[i], in->source->commit) != 0)
            return wrong(in, err, "the reply is of another commit than the listing");
        known++;
    }
    if (!known)
        return wrong(in, err, "the reply has no X-Repo-Commit: it does not come from a Hub");
    for (size_t i = 0; i < (n == 2 ? 3 : 1); i++) {
        char digest[136];
        if (!etags[i] || !*etags[i]) continue;
        const char *tag = etags[i]; /* without W/ and quotes */
        if (!strncmp(tag, "W/", 2)) tag += 2;
        tag += *tag == '"';
        snprintf(digest, sizeof digest, "%s", tag);
        size_t last = strlen(digest);
        if (last && digest[last - 1] == '"') digest[last - 1] = 0;
        /* A server's own kind of tag is no digest; X-Linked-ETag always is one. */
        bool other = i == 2 && strlen(digest) != strlen(in->source->file->digest);
        if (!other && strcasecmp(digest, in->source->file->digest) != 0)
            return wrong(in, err, "its ETag is not the digest of the listing");
    }
    return QK_OK;
}

static qk_status begin(void *context, const qk_http_reply *reply, qk_error *err)
{
    incoming *in = context;
    QK_TRY(check_identity(in, reply, err));
    const char *length = qk_http_header(reply, "content-length");
    if (in->ranged) {
        in->no_ranges =
            reply->status != 206 || !range_fits(in, qk_http_header(reply, "content-range"));
        if (in->no_ranges) return qk_fail(err, QK_ERR_DATA, NULL, "no ranges");
    } else if (reply->status != 200) {
        return wrong(in, err, "a part of it came where all was asked for");
    } else if (length && strtoull(length, NULL, 10) != in->source->file->size) {
        return wrong(in, err, "its length is not that of the listing");
    }
    return QK_OK;
}

static qk_status data(void *context, const void *bytes, size_t n, qk_error *err)
{
    incoming *in = context;
    if (n > in->most - in->got) return wrong(in, err, "more bytes came than belong to it");
    const uint8_t *b = bytes;
    if (in->bytes) memcpy(in->bytes + in->got, b, n);
    uint64_t pass = in->got < in->skip ? in->skip - in->got : 0;
    if (pass > n) pass = n;
    in->got += n;
    if (in->bytes || n == pass) return QK_OK;
    return in->add(in->context, b + pass, n - (size_t)pass, err);
}

/* ---- one request ---- */

static qk_status request(qk_http *http, incoming *in, const char *url, qk_http_reply *reply,
                         qk_error *err)
{
    char range[80];
    const char *headers[] = {in->ranged ? range : NULL, NULL};
    qk_http_sink sink = {.context = in, .begin = begin, .data = data};
    snprintf(range, sizeof range, "Range: bytes=%llu-%llu", (unsigned long long)in->from,
             (unsigned long long)(in->from + in->most - 1));
    qk_http_request q = {.url = url, .headers = headers, .is_file = true, .sink = &sink};
    return qk_http_once(http, &q, reply, err);
}

/* What went wrong since the last progress, each kind counted for itself. */
typedef struct trouble {
    qk_retry busy;    /* of the network, and of servers that say so */
    qk_retry expired; /* of signed URLs */
} trouble;

static trouble no_trouble(qk_http *http)
{
    qk_retry none = {.random = *qk_http_random(http)};
    return (trouble){none, none};
}

static void progress(trouble *t)
{
    qk_retry_progress(&t->busy);
    qk_retry_progress(&t->expired);
}

/* After a reply that did not complete the work: may the next try begin? */
static qk_piece_end again(qk_http *http, const incoming *in, trouble *t, const qk_http_reply *reply,
                          qk_status s, qk_error *err)
{
    if (in->wrong) return QK_PIECE_WRONG;
    if (in->no_ranges) return QK_PIECE_NO_RANGES;
    /* A signed URL that is no longer valid. */
    bool expired = s == QK_OK && (in->direct || !reply->at_endpoint) && reply->status >= 400 &&
                   reply->status < 500 && !qk_retry_status(reply->status);
    if (expired && in->direct) return QK_PIECE_DONE; /* ask the endpoint for a new one at once */
    if (s == QK_OK && in->ranged && reply->status == 416) return QK_PIECE_NO_RANGES;
    /* The endpoint gives a fresh URL for one that expired, but not for ever. */
    double seconds = 0;
    bool refused = expired && (t->expired.failures >= MAX_EXPIRED ||
                               !qk_retry_next(&t->expired, -1, &seconds));
    if (refused || (s == QK_OK && !expired && !qk_retry_status(reply->status))) {
        qk_reply_error(qk_http_hub(http), reply, in->source->file->path, err);
        return QK_PIECE_FAILED;
    }
    if (expired)
        return qk_retry_sleep(qk_http_hub(http), seconds, err) == QK_OK ? QK_PIECE_DONE
                                                                        : QK_PIECE_FAILED;
    if (qk_http_wait(http, &t->busy, reply, s, err) == QK_OK) return QK_PIECE_DONE;
    return QK_PIECE_FAILED;
}

qk_piece_end qk_piece_get(qk_http *http, const qk_piece_source *source, const char *direct,
                          uint64_t from, size_t n, uint8_t *bytes, char **led_to, qk_error *err)
{
    qk_http_reply reply = {0};
    trouble t = no_trouble(http);
    qk_piece_end end = QK_PIECE_DONE;
    size_t have = 0;
    *led_to = NULL;
    while (have < n && end == QK_PIECE_DONE) {
        bool whole = from == 0 && have == 0 && n == source->file->size;
        incoming in = {.source = source,
                       .ranged = !whole,
                       .direct = direct != NULL,
                       .from = from + have,
                       .most = n - have,
                       .bytes = bytes + have};
        qk_status s = request(http, &in, direct ? direct : source->url, &reply, err);
        bool complete =
            s == QK_OK && (reply.status == 200 || reply.status == 206) && in.got == in.most;
        have += (size_t)in.got;
        if (in.got) progress(&t);
        if (complete) break;
        if (s == QK_OK && reply.status < 300) {
            if (in.got) continue; /* a shorter part is progress */
            s = qk_fail(err, QK_ERR_RESUME, NULL, "%s: an empty reply", source->file->path);
            reply.failure = QK_HTTP_BROKEN;
        }
        end = again(http, &in, &t, &reply, s, err);
        direct = NULL;
    }
    if (end == QK_PIECE_DONE && !reply.at_endpoint) *led_to = qk_strdup(reply.url);
    *qk_http_random(http) = t.busy.random;
    qk_http_reply_free(&reply);
    return end;
}

qk_piece_end qk_piece_stream(qk_http *http, const qk_piece_source *source, uint64_t skip,
                             qk_piece_add add, void *context, qk_error *err)
{
    qk_http_reply reply = {0};
    trouble t = no_trouble(http);
    qk_piece_end end = QK_PIECE_DONE;
    while (skip < source->file->size && end == QK_PIECE_DONE) {
        incoming in = {.source = source,
                       .most = source->file->size,
                       .skip = skip,
                       .add = add,
                       .context = context};
        qk_status s = request(http, &in, source->url, &reply, err);
        if (in.got > skip) {
            skip = in.got;
            progress(&t);
        }
        if (s == QK_OK && reply.status == 200 && skip == source->file->size) break;
        if (s == QK_OK && reply.status == 200) { /* of unknown length, and it ended early */
            s = qk_fail(err, QK_ERR_RESUME, NULL, "%s: the reply ends early", source->file->path);
            reply.failure = QK_HTTP_BROKEN;
        }
        end = again(http, &in, &t, &reply, s, err);
    }
    *qk_http_random(http) = t.busy.random;
    qk_http_reply_free(&reply);
    return end;
}
