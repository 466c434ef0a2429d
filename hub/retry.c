/* See retry.h. */
#include "hub/retry.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/log.h"

enum { MAX_ASKED = 301, MAX_WAIT = 15 * 60 };

static const double pauses[] = {1, 2, 4, 8, 8};

bool qk_retry_status(long status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
           status == 504;
}

/* A whole number of seconds and nothing else; -1 otherwise. */
static double whole(const char *text)
{
    text += strspn(text, " \t");
    size_t n = strspn(text, "0123456789");
    if (!n || n > 9 || text[n + strspn(text + n, " \t")]) return -1;
    return strtod(text, NULL);
}

/* The number behind `name=` in "api";r=0;t=55; -1: absent. */
static double parameter(const char *text, char name)
{
    for (const char *s = strchr(text, ';'); s; s = strchr(s, ';')) {
        s += 1 + strspn(s + 1, " \t");
        if (*s != name) continue;
        s += 1 + strspn(s + 1, " \t");
        if (*s != '=') continue;
        s += 1 + strspn(s + 1, " \t");
        if (isdigit((unsigned char)*s)) return strtod(s, NULL);
    }
    return -1;
}

double qk_retry_asked(long status, const char *rate_limit, const char *retry_after)
{
    if (status == 429 && rate_limit && parameter(rate_limit, 'r') == 0) {
        double t = parameter(rate_limit, 't');
        if (t >= 0) return t + 1;
    }
    double after = retry_after && qk_retry_status(status) ? whole(retry_after) : -1;
    return after >= 0 ? after + 1 : -1;
}

/* [0, 1): a step of xorshift64*. */
static double uniform(uint64_t *state)
{
    uint64_t x = *state ? *state : 0x9E3779B97F4A7C15u;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (double)((x * 0x2545F4914F6CDD1Du) >> 11) * 0x1p-53;
}

bool qk_retry_next(qk_retry *r, double asked, double *seconds)
{
    int *count = asked >= 0 ? &r->asked : &r->failures;
    if (*count >= (int)(sizeof pauses / sizeof *pauses)) return false;
    double u = uniform(&r->random);
    /* Never earlier than a server asked, and not everybody at that very moment. */
    *seconds = asked >= 0 ? asked * (1 + 0.1 * u) : pauses[r->failures] * (0.8 + 0.4 * u);
    if (asked > MAX_ASKED || r->waited + *seconds > MAX_WAIT) return false;
    ++*count;
    r->waited += *seconds;
    return true;
}

void qk_retry_progress(qk_retry *r)
{
    r->failures = r->asked = 0;
    r->waited = 0;
}

qk_status qk_retry_sleep(const qk_hub *hub, double seconds, qk_error *err)
{
    const char *ms = getenv("QKENGINE_RETRY_MS");
    double end = qk_now() + seconds * (ms ? strtod(ms, NULL) / 1000 : 1);
    for (double left; (left = end - qk_now()) > 0;) {
        QK_TRY(qk_hub_check(hub, err));
        if (left > 0.1) left = 0.1;
        struct timespec t = {.tv_nsec = (long)(left * 1e9)};
        nanosleep(&t, NULL);
    }
    return qk_hub_check(hub, err);
}
