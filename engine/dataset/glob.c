/* See glob.h. */
#include "engine/dataset/glob.h"

#include <stddef.h>
#include <string.h>

#include "engine/base/text.h"

typedef struct span {
    const char *s, *end;
} span;

static span first_component(const char *path)
{
    return (span){path, path + strcspn(path, "/")};
}

static const char *behind(span component)
{
    return *component.end ? component.end + 1 : component.end;
}

static bool is_double_star(span c)
{
    return c.end - c.s == 2 && !memcmp(c.s, "**", 2);
}

bool qk_glob_has_wildcard(const char *pattern)
{
    return strpbrk(pattern, "*?[") != NULL;
}

bool qk_glob_is_valid(const char *pattern)
{
    for (const char *p = pattern; *p;) {
        span c = first_component(p);
        for (const char *s = c.s; s + 1 < c.end; s++)
            if (!memcmp(s, "**", 2) && !is_double_star(c)) return false;
        p = behind(c);
    }
    return true;
}

/* One character. An ill-formed byte counts as one of its own, as in Python (surrogateescape). */
static size_t step(span t, uint32_t *c)
{
    size_t n = qk_utf8_decode((const uint8_t *)t.s, (size_t)(t.end - t.s), c);
    if (n) return n;
    *c = 0xDC00u + (unsigned char)*t.s;
    return 1;
}

/* A class at p.s, which points behind '['. Its end in *after, NULL when it never closes. */
static bool in_class(span p, uint32_t wanted, const char **after)
{
    bool negated = p.s < p.end && *p.s == '!', found = false;
    p.s += negated;
    for (bool first = true; p.s < p.end; first = false) {
        if (*p.s == ']' && !first) {
            *after = p.s + 1;
            return found != negated;
        }
        uint32_t low, high;
        p.s += step(p, &low);
        high = low;
        if (p.end - p.s >= 2 && p.s[0] == '-' && p.s[1] != ']') {
            p.s++;
            p.s += step(p, &high);
        }
        found |= low <= wanted && wanted <= high;
    }
    *after = NULL;
    return false;
}

/* One pattern item other than '*' against one character; both move on. */
static bool match_one(span *p, span *t)
{
    uint32_t c, literal;
    if (t->s == t->end) return false;
    size_t n = step(*t, &c);
    if (*p->s == '[') {
        const char *after;
        bool inside = in_class((span){p->s + 1, p->end}, c, &after);
        if (after) {
            p->s = after;
            t->s += n;
            return inside;
        }
    }
    if (*p->s == '?') {
        p->s++;
    } else {
        p->s += step(*p, &literal);
        if (literal != c) return false;
    }
    t->s += n;
    return true;
}

/* Within one component. The last star takes one character more whenever the rest does not fit. */
static bool match_component(span p, span t)
{
    span star = {NULL, NULL}, from = {NULL, NULL};
    for (;;) {
        if (p.s < p.end && *p.s == '*') {
            p.s++;
            star = p, from = t;
            continue;
        }
        if (p.s == p.end && t.s == t.end) return true;
        if (p.s < p.end && match_one(&p, &t)) continue;
        if (!star.s || from.s == from.end) return false;
        uint32_t c;
        from.s += step(from, &c);
        p = star, t = from;
    }
}

/* The same one level up: components are the characters and "**" the star. */
static bool match_path(const char *p, const char *t)
{
    const char *star = NULL, *from = NULL;
    for (;;) {
        span pc = first_component(p), tc = first_component(t);
        if (*p && is_double_star(pc)) {
            p = behind(pc);
            if (!*p) return *t != 0; /* at the end: whatever is below */
            star = p, from = t;
            continue;
        }
        if (!*p && !*t) return true;
        if (*p && *t && match_component(pc, tc)) {
            p = behind(pc), t = behind(tc);
            continue;
        }
        if (!star || !*from) return false;
        from = behind(first_component(from));
        p = star, t = from;
    }
}

/* Components that only a pattern which asks for them meets. */
static void count_special(const char *path, int *dots, int *underscores)
{
    *dots = *underscores = 0;
    while (*path) {
        span c = first_component(path);
        bool folder = *c.end != 0;
        *dots += *c.s == '.' && strspn(c.s, ".") < (size_t)(c.end - c.s);
        *underscores += folder && c.end - c.s >= 2 && !memcmp(c.s, "__", 2);
        path = behind(c);
    }
}

bool qk_glob_match(const char *pattern, const char *path)
{
    int dots, underscores, wanted_dots, wanted_underscores;
    if (!match_path(pattern, path)) return false;
    count_special(path, &dots, &underscores);
    if (!dots && !underscores) return true;
    count_special(pattern, &wanted_dots, &wanted_underscores);
    return dots == wanted_dots && underscores == wanted_underscores;
}
