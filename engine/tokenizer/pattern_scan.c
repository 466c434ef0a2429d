/* Scanners for known regexes. See pattern_scan.h. */
#include "engine/tokenizer/pattern_scan.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/tokenizer/unicode.h"

/* ---- classes of characters ---- */

enum { OTHER, LETTER, NUMBER, SPACE, NEWLINE }; /* NEWLINE: \r and \n, which are \s, too */

static uint8_t classes[QK_MAX_CODE_POINT + 1];
static pthread_once_t classes_once = PTHREAD_ONCE_INIT;

static void fill_class(const char *name, uint8_t value)
{
    for (size_t i = 0; i < qk_char_class_count; i++) {
        const qk_char_class *c = &qk_char_classes[i];
        if (strcmp(c->name, name) != 0) continue;
        for (size_t k = 0; k < c->count; k++)
            memset(classes + c->ranges[k].lo, value, c->ranges[k].hi - c->ranges[k].lo + 1);
        return;
    }
    qk_fatal("no character class %s", name);
}

static void fill_classes(void)
{
    fill_class("L", LETTER);
    fill_class("N", NUMBER);
    fill_class("s", SPACE);
    classes['\r'] = classes['\n'] = NEWLINE;
}

/* The character at *p, which moves behind it. */
static inline uint8_t next_class(const uint8_t **p)
{
    const uint8_t *s = *p;
    if (s[0] < 0x80) {
        *p = s + 1;
        return classes[s[0]];
    }
    if (s[0] < 0xE0) {
        *p = s + 2;
        return classes[(s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu)];
    }
    if (s[0] < 0xF0) {
        *p = s + 3;
        return classes[(s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu)];
    }
    *p = s + 4;
    return classes[(s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 |
                   (s[3] & 0x3Fu)];
}

/* Behind the characters of a class, `max` of them at most. */
static inline const uint8_t *skip(const uint8_t *p, const uint8_t *end, uint8_t class, size_t max)
{
    while (p < end && max-- > 0) {
        const uint8_t *next = p;
        if (next_class(&next) != class) break;
        p = next;
    }
    return p;
}

static inline bool is_at(const uint8_t *p, const uint8_t *end, uint8_t class)
{
    return p < end && next_class(&p) == class;
}

/* ---- parts of the regexes ---- */

/* 's|'t|'re|'ve|'m|'ll|'d at p, where ' stands: bytes of the match, or 0. */
static size_t contraction(const uint8_t *p, const uint8_t *end, bool caseless)
{
    if (end - p < 2) return 0;
    uint8_t fold = caseless ? 0x20 : 0, a = p[1] | fold, b = end - p > 2 ? p[2] | fold : 0;
    if (caseless && p[1] == 0xC5 && p[2] == 0xBF) return 3; /* U+017F folds to s */
    if (p[1] >= 0x80) return 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
}

/* \s+(?!\S)|\s+ : white space from p on, whose last character stays with a word that follows it. */
static const uint8_t *spaces(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *last = p;
    for (const uint8_t *at = p; at < end;) {
        const uint8_t *next = at;
        if (next_class(&next) < SPACE) return last > p ? last : at;
        last = at;
        at = next;
    }
    return end;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ : up to the last line break of the white space, if there is one. */
static const uint8_t *lines(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *broken = NULL;
    for (const uint8_t *at = p; at < end;) {
        uint8_t class = next_class(&at);
        if (class == NEWLINE) broken = at;
        if (class < SPACE) break;
    }
    return broken ? broken : spaces(p, end);
}

/* ---- the regexes ---- */

static size_t scan_gpt2(const uint8_t *text, size_t length, size_t at)
{
    const uint8_t *p = text + at, *end = text + length, *word = p + (*p == ' ');
    size_t n = *p == '\'' ? contraction(p, end, false) : 0;
    if (n) return at + n;
    for (uint8_t class = OTHER; class <= NUMBER; class ++)
        if (is_at(word, end, class)) return (size_t)(skip(word, end, class, SIZE_MAX) - text);
    return (size_t)(spaces(p, end) - text);
}

static inline size_t scan_cl100k(const uint8_t *text, size_t length, size_t at, size_t digits)
{
    const uint8_t *p = text + at, *end = text + length, *next = p;
    if (*p == '\'') {
        size_t n = contraction(p, end, true);
        if (n) return at + n;
    }
    uint8_t class = next_class(&next);
    if (class == LETTER) return (size_t)(skip(next, end, LETTER, SIZE_MAX) - text);
    if (class == NUMBER) return (size_t)(skip(next, end, NUMBER, digits - 1) - text);
    if (class != NEWLINE && is_at(next, end, LETTER))
        return (size_t)(skip(next, end, LETTER, SIZE_MAX) - text);
    if (class == OTHER || (*p == ' ' && is_at(next, end, OTHER)))
        return (size_t)(skip(skip(next, end, OTHER, SIZE_MAX), end, NEWLINE, SIZE_MAX) - text);
    return (size_t)(lines(p, end) - text);
}

static size_t scan_cl100k_3(const uint8_t *text, size_t length, size_t at)
{
    return scan_cl100k(text, length, at, 3);
}

static size_t scan_cl100k_1(const uint8_t *text, size_t length, size_t at)
{
    return scan_cl100k(text, length, at, 1);
}

#define CL100K(digits)                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits                     \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

qk_scan qk_scan_find(const char *regex, size_t length)
{
    static const struct {
        const char *regex;
        qk_scan scan;
    } known[] = {
        {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
         scan_gpt2},
        {CL100K("{1,3}"), scan_cl100k_3},
        {CL100K(""), scan_cl100k_1},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].regex) == length && !memcmp(known[i].regex, regex, length)) {
            pthread_once(&classes_once, fill_classes);
            return known[i].scan;
        }
    return NULL;
}
