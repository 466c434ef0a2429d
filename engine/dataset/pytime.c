/* See pytime.h. */
#include "engine/dataset/pytime.h"

#include <stdio.h>
#include <time.h>

static const int64_t day_us = INT64_C(86400000000);

int64_t qk_floor_div(int64_t value, int64_t unit, int64_t *rest)
{
    int64_t left = value % unit;
    if (rest) *rest = left < 0 ? left + unit : left;
    return value / unit - (left < 0);
}

bool qk_pytime_date(char out[QK_PYTIME_SIZE], int64_t days)
{
    if (days < -719162 || days > 2932896) return false; /* years 1 to 9999 */
    time_t seconds = days * 86400;
    struct tm t;
    gmtime_r(&seconds, &t);
    int y = t.tm_year + 1900, m = t.tm_mon + 1, d = t.tm_mday;
    const int digits[] = {y / 1000, y / 100 % 10, y / 10 % 10, y % 10, 0,
                          m / 10,   m % 10,       0,           d / 10, d % 10};
    for (int i = 0; i < 10; i++) out[i] = (char)('0' + digits[i]); /* ids of whole files: fast */
    out[4] = out[7] = '-';
    out[10] = 0;
    return true;
}

bool qk_pytime_clock(char out[QK_PYTIME_SIZE], int64_t us)
{
    if (us < 0 || us >= day_us) return false;
    int seconds = (int)(us / 1000000), fraction = (int)(us % 1000000);
    int n = snprintf(out, QK_PYTIME_SIZE, "%02d:%02d:%02d", seconds / 3600, seconds / 60 % 60,
                     seconds % 60);
    if (fraction) snprintf(out + n, QK_PYTIME_SIZE - (size_t)n, ".%06d", fraction);
    return true;
}

bool qk_pytime_stamp(char out[QK_PYTIME_SIZE], int64_t us, bool utc)
{
    char date[QK_PYTIME_SIZE], clock[QK_PYTIME_SIZE];
    int64_t rest, days = qk_floor_div(us, day_us, &rest);
    if (!qk_pytime_date(date, days) || !qk_pytime_clock(clock, rest)) return false;
    snprintf(out, QK_PYTIME_SIZE, "%.10s %.15s%s", date, clock, utc ? "+00:00" : "");
    return true;
}

/* ---- reading ---- */

typedef struct cursor {
    const char *s, *end;
} cursor;

/* Exactly `digits` digits, at most `max`. */
static bool number(cursor *c, int digits, int max, int *out)
{
    if (c->end - c->s < digits) return false;
    *out = 0;
    for (int i = 0; i < digits; i++, c->s++) {
        if (*c->s < '0' || *c->s > '9') return false;
        *out = *out * 10 + (*c->s - '0');
    }
    return *out <= max;
}

static bool take(cursor *c, char wanted)
{
    if (c->s == c->end || *c->s != wanted) return false;
    c->s++;
    return true;
}

static bool read_zone(cursor *c, int *seconds)
{
    int sign = take(c, '+') ? 1 : take(c, '-') ? -1 : 0, hours, minutes = 0;
    *seconds = 0;
    if (!sign) return take(c, 'Z') && c->s == c->end;
    if (!number(c, 2, 23, &hours)) return false;
    if (c->s < c->end) {
        take(c, ':');
        if (!number(c, 2, 59, &minutes)) return false;
    }
    *seconds = sign * (hours * 3600 + minutes * 60);
    return c->s == c->end;
}

bool qk_pytime_parse(const char *text, size_t length, int64_t *seconds)
{
    cursor c = {text, text + length};
    int year, month, day, part[3] = {0, 0, 0}, zone = 0;
    static const int max[3] = {23, 59, 59};
    if (!number(&c, 4, 9999, &year) || !take(&c, '-') || !number(&c, 2, 12, &month) ||
        !take(&c, '-') || !number(&c, 2, 31, &day) || year < 1 || month < 1 || day < 1)
        return false;
    struct tm t = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    time_t midnight = timegm(&t);
    if (t.tm_mon != month - 1) return false; /* 30 February comes back as 1 or 2 March */
    if (c.s < c.end) {
        if (!take(&c, ' ') && !take(&c, 'T')) return false;
        for (int i = 0; i < 3; i++) {
            if (i && !take(&c, ':')) break;
            if (!number(&c, 2, max[i], &part[i])) return false;
        }
        if (c.s < c.end && !read_zone(&c, &zone)) return false;
    }
    *seconds = midnight + part[0] * 3600 + part[1] * 60 + part[2] - zone;
    return true;
}
