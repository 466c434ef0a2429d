/* See url.h. */
#include "hub/url.h"

#include <curl/curl.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- parts of a URL ---- */

static CURLU *parse(const char *url)
{
    CURLU *u = curl_url();
    if (u && curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK) return u;
    curl_url_cleanup(u);
    return NULL;
}

/* Fills text[capacity]; empty when there is no such part or it does not fit. */
static void part(CURLU *u, CURLUPart which, char *text, size_t capacity)
{
    char *value = NULL;
    text[0] = 0;
    if (curl_url_get(u, which, &value, CURLU_DEFAULT_PORT) == CURLUE_OK && strlen(value) < capacity)
        strcpy(text, value);
    curl_free(value);
    for (char *c = text; *c; c++) *c = (char)tolower((unsigned char)*c);
}

char *qk_url_origin(const char *url)
{
    char scheme[16], host[512], port[16];
    CURLU *u = parse(url);
    if (!u) return NULL;
    part(u, CURLUPART_SCHEME, scheme, sizeof scheme);
    part(u, CURLUPART_HOST, host, sizeof host);
    part(u, CURLUPART_PORT, port, sizeof port);
    curl_url_cleanup(u);
    bool ok = (!strcmp(scheme, "http") || !strcmp(scheme, "https")) && host[0] && port[0];
    return ok ? qk_strf("%s://%s:%s", scheme, host, port) : NULL;
}

bool qk_url_same_origin(const char *a, const char *b)
{
    char *x = qk_url_origin(a), *y = qk_url_origin(b);
    bool same = x && y && !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

bool qk_url_is_loopback(const char *url)
{
    char host[512];
    CURLU *u = parse(url);
    if (!u) return false;
    part(u, CURLUPART_HOST, host, sizeof host);
    curl_url_cleanup(u);
    /* Only digits and dots behind 127, so that 127.evil.com is none. */
    bool four = !strncmp(host, "127.", 4) && !host[strspn(host, "0123456789.")];
    return four || !strcmp(host, "[::1]") || !strcmp(host, "localhost");
}

bool qk_url_is_https(const char *url)
{
    return !strncasecmp(url, "https://", 8);
}

qk_status qk_url_follow(char **out, const char *base, const char *location, qk_error *err)
{
    char *to = NULL;
    *out = NULL;
    CURLU *u = parse(base);
    bool ok = u && curl_url_set(u, CURLUPART_URL, location, CURLU_DISALLOW_USER) == CURLUE_OK;
    if (ok) curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    ok = ok && curl_url_get(u, CURLUPART_URL, &to, 0) == CURLUE_OK;
    char *origin = ok ? qk_url_origin(to) : NULL;
    bool downgrade = origin && qk_url_is_https(base) && !qk_url_is_https(to);
    if (origin && !downgrade) *out = qk_strdup(to);
    free(origin);
    curl_free(to);
    curl_url_cleanup(u);
    if (*out) return QK_OK;
    char *shown = qk_url_shown(location);
    qk_fail(err, QK_ERR_FORMAT, NULL, "%s '%.200s'",
            downgrade ? "the server leads from https to http:"
                      : "the server leads to something that is no web address:",
            shown);
    free(shown);
    return err->status;
}

/* ---- for messages ---- */

char *qk_url_shown(const char *url)
{
    size_t n = strcspn(url, "?#");
    char *shown = qk_strf("%.*s", (int)n, url);
    char *host = strstr(shown, "://"), *at = host ? strchr(host + 3, '@') : NULL;
    char *slash = host ? strchr(host + 3, '/') : NULL;
    if (at && (!slash || at < slash)) memmove(host + 3, at + 1, strlen(at));
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c < 0x20) *c = '?';
    return shown;
}

/* text[from, from + n) becomes "***"; returns what follows it. n >= 3. */
static char *blot(char *from, size_t n)
{
    if (n < 3) return from + n;
    memcpy(from, "***", 3);
    memmove(from + 3, from + n, strlen(from + n) + 1);
    return from + 3;
}

static size_t secret_length(const char *at)
{
    static const char *const prefixes[] = {"hf_", "api_org_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t n = strlen(prefixes[i]), m = n;
        if (strncmp(at, prefixes[i], n) != 0) continue;
        while (isalnum((unsigned char)at[m])) m++;
        if (m >= n + 8) return m;
    }
    return 0;
}

static char *redact_words(char *at, const char *token)
{
    size_t known =
        token && strlen(token) >= 4 && !strncmp(at, token, strlen(token)) ? strlen(token) : 0;
    size_t n = known ? known : secret_length(at);
    if (n) return blot(at, n);
    if (!strncasecmp(at, "bearer ", 7)) return blot(at + 7, strcspn(at + 7, " \t\r\n\"'"));
    if (!strncasecmp(at, "authorization:", 14)) return blot(at + 14, strcspn(at + 14, "\r\n"));
    return NULL;
}

void qk_redact(char *text, const char *token)
{
    for (char *at = text; *at;) {
        char *next = redact_words(at, token);
        bool is_url = !next && (!strncasecmp(at, "http://", 7) || !strncasecmp(at, "https://", 8));
        char *query = is_url ? at + strcspn(at, "? \t\r\n\"'<>") : at;
        if (*query == '?' && is_url) blot(query + 1, strcspn(query + 1, " \t\r\n\"'<>"));
        at = next ? next : at + 1;
    }
}

/* ---- Link ---- */

static bool rel_is_next(const char *parameters, size_t n)
{
    bool quoted = false;
    for (size_t i = 0; i + 3 < n; i++) {
        if (parameters[i] == '"') quoted = !quoted;
        if (quoted || strncasecmp(parameters + i, "rel", 3) != 0) continue;
        if (i && (isalnum((unsigned char)parameters[i - 1]) || parameters[i - 1] == '-')) continue;
        const char *v = parameters + i + 3, *end = parameters + n;
        while (v < end && *v == ' ') v++;
        if (v == end || *v != '=') continue;
        do v++;
        while (v < end && (*v == ' ' || *v == '"'));
        if (end - v < 4 || strncasecmp(v, "next", 4) != 0) continue;
        if (end - v == 4 || !isalnum((unsigned char)v[4])) return true;
    }
    return false;
}

/* Items are "<url>; name=value; ..." between commas; commas inside <> belong to the URL. */
char *qk_link_next(const char *link)
{
    while ((link = strchr(link, '<'))) {
        const char *close = strchr(link, '>');
        if (!close) return NULL;
        const char *end = close;
        for (bool quoted = false; *end && (quoted || *end != ','); end++)
            if (*end == '"') quoted = !quoted;
        if (rel_is_next(close + 1, (size_t)(end - close - 1)))
            return qk_strf("%.*s", (int)(close - link - 1), link + 1);
        link = end;
    }
    return NULL;
}
