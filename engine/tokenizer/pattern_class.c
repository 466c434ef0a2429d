/* Single characters, escapes and bracket classes of a regex. See pattern_class.h. */
#include "engine/tokenizer/pattern_class.h"

#include <string.h>

#include "engine/base/text.h"

enum { MAX_NESTING = 16 };

bool qk_regex_refuse(qk_regex_text *t, const char *what)
{
    if (t->status == QK_OK)
        t->status = qk_fail(t->err, QK_ERR_UNSUPPORTED,
                            "open an issue with this tokenizer.json, or tokenize elsewhere",
                            "%s: regex byte %zu: not supported: %s", t->where,
                            (size_t)(t->at - t->begin), what);
    return false;
}

/* Behind \x or \u. */
static bool parse_code(qk_regex_text *t, bool is_u, uint32_t *out)
{
    bool braces = !is_u && t->at < t->end && *t->at == '{';
    if (braces) t->at++;
    int n = 0, max_digits = braces ? 6 : is_u ? 4 : 2;
    for (*out = 0; n < max_digits && t->at < t->end; n++, t->at++) {
        const char *digits = "0123456789abcdef", *d = strchr(digits, *t->at | 32);
        if (!d || *t->at < '0') break;
        *out = *out << 4 | (uint32_t)(d - digits);
    }
    bool ok = braces ? n > 0 && t->at < t->end && *t->at == '}' : n == (is_u ? 4 : 2);
    if (braces && ok) t->at++;
    if (ok && !braces && !is_u && *out > 0x7F) ok = false; /* a raw byte in Oniguruma */
    if (!ok || *out > QK_MAX_CODE_POINT) return qk_regex_refuse(t, "this code point escape");
    return true;
}

/* Behind \p or \P: {Name} or {^Name}. */
static bool parse_property(qk_regex_text *t, bool negate, qk_charset *set)
{
    const char *close =
        t->at < t->end && *t->at == '{' ? memchr(t->at, '}', (size_t)(t->end - t->at)) : NULL;
    if (!close) return qk_regex_refuse(t, "\\p without {name}");
    const char *name = t->at + 1;
    if (name < close && *name == '^') name++, negate = !negate;
    if ((size_t)(close - name) < 1 || strchr("sdw", *name) ||
        !qk_charset_add_class(set, name, (size_t)(close - name)))
        return qk_regex_refuse(t, "this \\p{name}");
    if (negate) qk_charset_negate(set);
    t->at = close + 1;
    return true;
}

/* Behind a backslash. */
static bool parse_escape(qk_regex_text *t, qk_charset *set, uint32_t *literal)
{
    static const char names[] = "nrtfvae";
    static const char values[] = "\n\r\t\f\v\a\x1B";
    if (t->at == t->end) return qk_regex_refuse(t, "a backslash at the end");
    char c = *t->at++;
    char lower = (char)(c | 32);
    if (lower == 'p') return parse_property(t, c == 'P', set);
    if (lower == 's' || lower == 'd' || lower == 'w') {
        qk_charset_add_class(set, &lower, 1);
        if (c != lower) qk_charset_negate(set);
        return true;
    }
    const char *name = strchr(names, c);
    if (c == 'x' || c == 'u') {
        if (!parse_code(t, c == 'u', literal)) return false;
    } else if (name) {
        *literal = (uint8_t)values[name - names];
    } else if (c > ' ' && c < 127 && !(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9')) {
        *literal = (uint8_t)c;
    } else {
        t->at--;
        return qk_regex_refuse(t, "this escape");
    }
    if (*literal == 0) return qk_regex_refuse(t, "a NUL character");
    qk_charset_add(set, *literal, *literal);
    return true;
}

bool qk_regex_char(qk_regex_text *t, qk_charset *set, uint32_t *literal)
{
    *literal = 0;
    if (*t->at == '\\') {
        t->at++;
        return parse_escape(t, set, literal);
    }
    if (*t->at == '.') {
        t->at++;
        qk_charset_add(set, '\n', '\n');
        qk_charset_negate(set);
        return true;
    }
    t->at += qk_utf8_decode((const uint8_t *)t->at, (size_t)(t->end - t->at), literal);
    qk_charset_add(set, *literal, *literal);
    return true;
}

/* ---- [...] ---- */

static bool parse_class(qk_regex_text *t, qk_charset *set, int depth);

static bool at_text(const qk_regex_text *t, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(t->end - t->at) >= n && !memcmp(t->at, text, n);
}

/* A character of a class: here '.' and '$' are themselves. `set` is empty. */
static bool class_char(qk_regex_text *t, qk_charset *set, uint32_t *literal)
{
    if (at_text(t, "\\w") || at_text(t, "\\W")) {
        /* without superscript digits and fractions, which \w has elsewhere */
        qk_charset numbers = {0};
        qk_charset_add(&numbers, 0xB2, 0xB3);
        qk_charset_add(&numbers, 0xB9, 0xB9);
        qk_charset_add(&numbers, 0xBC, 0xBE);
        qk_charset_negate(&numbers);
        qk_charset_add_class(set, "w", 1);
        qk_charset_intersect(set, &numbers);
        if (t->at[1] == 'W') qk_charset_negate(set);
        qk_charset_free(&numbers);
        *literal = 0;
        t->at += 2;
        return true;
    }
    if (*t->at != '.') return qk_regex_char(t, set, literal);
    t->at++;
    *literal = '.';
    qk_charset_add(set, '.', '.');
    return true;
}

/* One member: a character, a range, an escape, a nested class. */
static bool parse_member(qk_regex_text *t, qk_charset *set, int depth)
{
    if (at_text(t, "[:")) return qk_regex_refuse(t, "a POSIX bracket");
    if (*t->at == '[') return parse_class(t, set, depth + 1);
    uint32_t lo, hi;
    if (!class_char(t, set, &lo)) return false;
    if (!at_text(t, "-") || at_text(t, "-]") || at_text(t, "-&&")) return true;
    t->at++;
    if (t->at == t->end || !lo || *t->at == '[') return qk_regex_refuse(t, "this range");
    qk_charset last = {0};
    bool ok = class_char(t, &last, &hi);
    if (ok && (!hi || hi < lo)) ok = qk_regex_refuse(t, "this range");
    if (ok) qk_charset_add(set, lo, hi);
    qk_charset_free(&last);
    return ok;
}

/* Members up to ']' or "&&"; their cases are added where case does not matter. */
static bool parse_members(qk_regex_text *t, qk_charset *set, int depth)
{
    const char *begin = t->at;
    while (t->at < t->end && *t->at != ']' && !at_text(t, "&&")) {
        qk_charset one = {0};
        bool ok = parse_member(t, &one, depth);
        if (ok) qk_charset_add_set(set, &one);
        qk_charset_free(&one);
        if (!ok) return false;
    }
    if (t->at == t->end) return qk_regex_refuse(t, "a class without its ']'");
    if (t->at == begin) return qk_regex_refuse(t, "an empty class");
    if (t->caseless && !qk_charset_fold_case(set))
        return qk_regex_refuse(t, "a class beyond ASCII without case");
    return true;
}

static bool parse_class(qk_regex_text *t, qk_charset *set, int depth)
{
    if (depth > MAX_NESTING) return qk_regex_refuse(t, "classes nested too deep");
    t->at++;
    bool negate = t->at < t->end && *t->at == '^';
    if (negate) t->at++;
    if (!parse_members(t, set, depth)) return false;
    while (at_text(t, "&&")) {
        t->at += 2;
        qk_charset right = {0};
        bool ok = parse_members(t, &right, depth);
        if (ok) qk_charset_intersect(set, &right);
        qk_charset_free(&right);
        if (!ok) return false;
    }
    t->at++;
    if (negate) qk_charset_negate(set);
    return true;
}

bool qk_regex_class(qk_regex_text *t, qk_charset *set)
{
    return parse_class(t, set, 0);
}
