/* When to try again, and how long to wait first.
 *
 *   wait   1, 2, 4, 8, 8 seconds, each +-20 %; then no more
 *   429    with "RateLimit: ...;r=0;t=T": T + 1 seconds; else with a whole Retry-After: that + 1,
 *          and so for the other retryable statuses (408 500 502 503 504); 5 times, then no more
 *   sum    at most 15 minutes; a server that asks for more than 5 at once is not waited for
 *
 * Each kind of trouble has a qk_retry of its own: what is not counted together cannot end a
 * transfer that each of them alone would not have ended. Progress starts all of them again.
 *
 * QKENGINE_RETRY_MS (for tests) is how many milliseconds such a second lasts, 1000.
 *
 * next: hub/http.h */
#pragma once

#include "hub/endpoint.h"

typedef struct qk_retry {
    int failures;    /* in a row, without progress */
    int asked;       /* of those where the server said how long to wait; not among the failures */
    double waited;   /* seconds, since the last progress */
    uint64_t random; /* state of the jitter, any value */
} qk_retry;

bool qk_retry_status(long status);
/* Seconds a reply asks to wait, or -1: it does not say. Header values may be NULL. */
double qk_retry_asked(long status, const char *rate_limit, const char *retry_after);
/* Counts a failure. false: give up. *seconds is the wait before the next try. */
bool qk_retry_next(qk_retry *r, double asked, double *seconds);
/* Something was achieved: what failed before it no longer counts. */
void qk_retry_progress(qk_retry *r);
/* Sleeps; ends early with QK_ERR_RESUME when a signal arrives or the hub is stopped. */
qk_status qk_retry_sleep(const qk_hub *hub, double seconds, qk_error *err);
