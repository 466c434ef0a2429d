/* Tries until a request is answered for good. See http.h and retry.h. */
#include <stdio.h>

#include "engine/base/log.h"
#include "hub/errors.h"
#include "hub/hop.h"

static bool failure_may_pass(const qk_http_reply *reply)
{
    return reply->failure == QK_HTTP_NOT_SENT || reply->failure == QK_HTTP_BROKEN;
}

static qk_status give_up(qk_http *http, const qk_http_reply *reply, qk_status failed, double asked,
                         qk_error *err)
{
    if (failed != QK_OK) return failed;
    qk_reply_error(qk_http_hub(http), reply, NULL, err);
    if (asked > 0)
        snprintf(err->hint, sizeof err->hint,
                 "the server asks to wait %s; run the same command again after that",
                 qk_human_seconds(asked));
    return err->status;
}

qk_status qk_http_wait(qk_http *http, qk_retry *retry, const qk_http_reply *reply, qk_status failed,
                       qk_error *err)
{
    if (failed != QK_OK && !failure_may_pass(reply)) return failed;
    if (qk_http_hub(http)->impatient && reply->failure == QK_HTTP_NOT_SENT) return failed;
    double asked = failed != QK_OK
                       ? -1
                       : qk_retry_asked(reply->status, qk_http_header(reply, "ratelimit"),
                                        qk_http_header(reply, "retry-after"));
    double seconds;
    if (!qk_retry_next(retry, asked, &seconds)) return give_up(http, reply, failed, asked, err);
    if (seconds >= 10)
        qk_info("the server is busy (status %ld): waiting %s", reply->status,
                qk_human_seconds(seconds));
    return qk_retry_sleep(qk_http_hub(http), seconds, err);
}

/* Whether the request may be sent again after this outcome. */
static bool may_repeat(const qk_http_request *q, const qk_http_reply *reply, qk_status s)
{
    if (q->retries == QK_RETRY_NEVER) return false;
    if (s != QK_OK && !failure_may_pass(reply)) return false;
    if (s == QK_OK && !qk_retry_status(reply->status)) return false;
    if (q->retries == QK_RETRY_ALWAYS) return true;
    if (s != QK_OK) return reply->failure == QK_HTTP_NOT_SENT;
    return reply->status == 429 || reply->status == 503;
}

qk_status qk_http_send(qk_http *http, const qk_http_request *request, qk_http_reply *reply,
                       qk_error *err)
{
    qk_retry retry = {.random = *qk_http_random(http)};
    for (;;) {
        qk_status s = qk_http_once(http, request, reply, err);
        if (!may_repeat(request, reply, s)) {
            *qk_http_random(http) = retry.random;
            return s;
        }
        QK_TRY(qk_http_wait(http, &retry, reply, s, err));
    }
}
