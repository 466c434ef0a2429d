/* See match.h. */
#include "hub/match.h"

#include <string.h>

#include "engine/base/text.h"

/* One code point. A byte that is not UTF-8 is one of its own, as in Python (surrogateescape). */
static uint32_t take(const char **at)
{
    uint32_t c;
    size_t n = qk_utf8_decode((const uint8_t *)*at, strlen(*at), &c);
    if (!n) c = 0xDC00u + (uint8_t) * *at;
    *at += n ? n : 1;
    return c;
}

/* The ']' of a class that begins at `open`; the first of "[]" and "[!]" is a member. NULL: there is
 * none, and '[' is a letter. */
static const char *class_end(const char *open)
{
    const char *at = open + 1 + (open[1] == '!');
    return *at ? strchr(at + 1, ']') : NULL;
}

static bool in_class(const char *open, const char *end, uint32_t c)
{
    bool negated = open[1] == '!', found = false;
    for (const char *at = open + 1 + negated; at < end;) {
        uint32_t low = take(&at), high = low;
        if (at + 1 < end && *at == '-') {
            at++;
            high = take(&at);
        }
        found |= c >= low && c <= high;
    }
    return found != negated;
}

/* Behind the part of the pattern that stands for c, or NULL: it does not. */
static const char *step(const char *pattern, uint32_t c)
{
    const char *end = *pattern == '[' ? class_end(pattern) : NULL;
    if (!*pattern) return NULL;
    if (end) return in_class(pattern, end, c) ? end + 1 : NULL;
    if (*pattern == '?') return pattern + 1;
    return take(&pattern) == c ? pattern : NULL;
}

bool qk_path_matches(const char *pattern, const char *path)
{
    const char *star = NULL, *retry = NULL; /* behind the last '*', and where it ended in path */
    while (*path) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = path;
            continue;
        }
        const char *next = path, *after = step(pattern, take(&next));
        if (after) {
            pattern = after;
            path = next;
        } else if (star) {
            take(&retry);
            pattern = star;
            path = retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}
