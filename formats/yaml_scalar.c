/* What a plain YAML scalar means: the patterns of PyYAML 6 (yaml/resolver.py), read by hand.
 *
 *   null   ~ | null | Null | NULL | empty
 *   bool   yes no true false on off, in lower case, Capitalised or UPPER CASE
 *   int    [-+]? ( 0b[01_]+ | 0[0-7_]+ | 0 | [1-9][0-9_]* | 0x[0-9a-fA-F_]+ | [1-9][0-9_]*(:N)+ )
 *   float  [-+]? [0-9][0-9_]* . [0-9_]* ([eE][-+][0-9]+)?  |  .[0-9][0-9_]* ([eE][-+][0-9]+)?
 *          [-+]? [0-9][0-9_]* (:N)+ . [0-9_]*  |  [-+]? .inf  |  .nan         N = [0-5]?[0-9]
 *   date   YYYY-MM-DD, or with a time
 *
 * Underscores fall out; a:b:c counts in sixties. See yaml.h. */
#include "formats/yaml.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"

/* A scalar being matched: s..end. Each skip_* moves s over what fits, perhaps nothing. */
typedef struct scan {
    const char *s, *end;
} scan;

static bool at_end(const scan *c)
{
    return c->s == c->end;
}

static bool take(scan *c, char wanted)
{
    if (at_end(c) || *c->s != wanted) return false;
    c->s++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip_sign(scan *c)
{
    if (!at_end(c) && (*c->s == '-' || *c->s == '+')) c->s++;
}

/* Characters of `set` and underscores; returns how many. */
static size_t skip_set(scan *c, const char *set)
{
    const char *begin = c->s;
    while (!at_end(c) && *c->s && (*c->s == '_' || strchr(set, *c->s))) c->s++;
    return (size_t)(c->s - begin);
}

static size_t skip_digits(scan *c)
{
    const char *begin = c->s;
    while (!at_end(c) && is_digit(*c->s)) c->s++;
    return (size_t)(c->s - begin);
}

/* (:[0-5]?[0-9])+ */
static bool skip_sixties(scan *c)
{
    bool any = false;
    while (c->end - c->s >= 2 && *c->s == ':' && is_digit(c->s[1])) {
        bool two = c->end - c->s >= 3 && is_digit(c->s[2]) && c->s[1] <= '5';
        c->s += two ? 3 : 2;
        any = true;
    }
    return any;
}

static bool is_word(const qk_yaml *v, const char *lower)
{
    size_t n = strlen(lower), upper = 0;
    if (v->length != n) return false;
    for (size_t i = 0; i < n; i++) {
        if (tolower((unsigned char)v->text[i]) != lower[i]) return false;
        upper += v->text[i] != lower[i];
    }
    size_t letters = n - (lower[0] == '.');
    const char first = v->text[n - letters];
    return upper == 0 || upper == letters || (upper == 1 && isupper((unsigned char)first));
}

static bool is_int(const qk_yaml *v)
{
    static const char decimal[] = "0123456789";
    scan c = {v->text, v->text + v->length};
    skip_sign(&c);
    if (at_end(&c) || !is_digit(*c.s)) return false;
    if (*c.s != '0') {
        skip_set(&c, decimal);
        skip_sixties(&c);
        return at_end(&c);
    }
    c.s++;
    if (at_end(&c)) return true;
    if (take(&c, 'b')) return skip_set(&c, "01") && at_end(&c);
    if (take(&c, 'x')) return skip_set(&c, "0123456789abcdefABCDEF") && at_end(&c);
    return skip_set(&c, "01234567") && at_end(&c);
}

static bool is_float(const qk_yaml *v)
{
    scan c = {v->text, v->text + v->length};
    bool has_sign = v->length && (*c.s == '-' || *c.s == '+');
    skip_sign(&c);
    bool sixties = false;
    if (!at_end(&c) && is_digit(*c.s)) {
        skip_set(&c, "0123456789");
        sixties = skip_sixties(&c);
        if (!take(&c, '.')) return false;
        skip_set(&c, "0123456789");
    } else {
        if (has_sign || !take(&c, '.') || at_end(&c) || !is_digit(*c.s)) return false;
        skip_set(&c, "0123456789");
    }
    if (at_end(&c)) return true;
    if (sixties || !(take(&c, 'e') || take(&c, 'E'))) return false;
    if (at_end(&c) || (*c.s != '-' && *c.s != '+')) return false;
    c.s++;
    return skip_digits(&c) && at_end(&c);
}

static bool skip_date_part(scan *c, size_t min, size_t max)
{
    const char *begin = c->s;
    while (!at_end(c) && is_digit(*c->s) && (size_t)(c->s - begin) < max) c->s++;
    return (size_t)(c->s - begin) >= min;
}

static void skip_blanks(scan *c)
{
    while (take(c, ' ') || take(c, '\t')) continue;
}

static bool is_date(const qk_yaml *v)
{
    scan c = {v->text, v->text + v->length};
    if (!skip_date_part(&c, 4, 4) || !take(&c, '-')) return false;
    const char *month = c.s;
    if (!skip_date_part(&c, 1, 2) || !take(&c, '-')) return false;
    if (!skip_date_part(&c, 1, 2)) return false;
    if (at_end(&c)) return c.s - month == 5; /* a bare date has two digits everywhere */
    if (!take(&c, 'T') && !take(&c, 't')) {
        const char *blank = c.s;
        skip_blanks(&c);
        if (c.s == blank) return false;
    }
    if (!skip_date_part(&c, 1, 2) || !take(&c, ':') || !skip_date_part(&c, 2, 2)) return false;
    if (!take(&c, ':') || !skip_date_part(&c, 2, 2)) return false;
    if (take(&c, '.')) skip_digits(&c);
    if (at_end(&c)) return true;
    skip_blanks(&c);
    if (take(&c, 'Z')) return at_end(&c);
    if (!take(&c, '-') && !take(&c, '+')) return false;
    if (!skip_date_part(&c, 1, 2)) return false;
    if (take(&c, ':') && !skip_date_part(&c, 2, 2)) return false;
    return at_end(&c);
}

/* A number being added up: exact while it fits, and as a double. */
typedef struct sum {
    uint64_t exact;
    bool overflow;
    double real;
} sum;

static void scale_and_add(sum *a, uint64_t factor, const sum *more)
{
    a->overflow |= more->overflow || __builtin_mul_overflow(a->exact, factor, &a->exact) ||
                   __builtin_add_overflow(a->exact, more->exact, &a->exact);
    a->real = a->real * (double)factor + more->real;
}

/* Digits in `base` up to the end of v; a ':' starts the next sixtieth. false without any digit. */
static bool add_digits(const qk_yaml *v, const char *s, unsigned base, sum *total)
{
    sum part = {0};
    bool any = false;
    for (; s < v->text + v->length; s++) {
        if (*s == '_') continue;
        if (*s == ':') {
            scale_and_add(total, 60, &part);
            part = (sum){0};
            continue;
        }
        int c = tolower((unsigned char)*s);
        unsigned digit = (unsigned)(c >= 'a' ? c - 'a' + 10 : c - '0');
        scale_and_add(&part, base, &(sum){.exact = digit, .real = digit});
        any = true;
    }
    scale_and_add(total, 60, &part);
    return any;
}

/* Decimal digits with or without a fraction and an exponent; underscores fall out. */
static double plain_number(const char *s, size_t n)
{
    char *copy = qk_alloc(n + 1, 1);
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] != '_') copy[used++] = s[i];
    bool is_integer;
    int64_t integer;
    double value = qk_json_number(copy, used, &is_integer, &integer);
    free(copy);
    return value;
}

static bool set_int(qk_yaml *v)
{
    const char *s = v->text;
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    size_t left = v->length - (size_t)(s - v->text);
    unsigned base = *s != '0' || left == 1 ? 10 : s[1] == 'b' ? 2 : s[1] == 'x' ? 16 : 8;
    if (base == 2 || base == 16) s += 2;
    sum total = {0};
    if (!add_digits(v, s, base, &total)) return false;
    uint64_t largest = (uint64_t)INT64_MAX + negative;
    v->type = QK_YAML_INT;
    v->fits = !total.overflow && total.exact <= largest;
    if (v->fits) v->integer = (int64_t)(negative ? 0 - total.exact : total.exact);
    if (base == 10 && !memchr(s, ':', left)) /* correctly rounded however long */
        total.real = plain_number(s, left);
    v->number = v->fits ? (double)v->integer : negative ? -total.real : total.real;
    return true;
}

static void set_float(qk_yaml *v)
{
    const char *s = v->text, *end = v->text + v->length;
    double sign = *s == '-' ? -1 : 1, total = 0;
    if (*s == '-' || *s == '+') s++;
    for (const char *colon; (colon = memchr(s, ':', (size_t)(end - s))); s = colon + 1)
        total = (total + plain_number(s, (size_t)(colon - s))) * 60;
    v->type = QK_YAML_FLOAT;
    v->number = sign * (total + plain_number(s, (size_t)(end - s)));
}

static bool set_named_float(qk_yaml *v)
{
    qk_yaml unsigned_part = *v;
    bool negative = v->length && v->text[0] == '-';
    if (negative || (v->length && v->text[0] == '+')) unsigned_part.text++, unsigned_part.length--;
    if (is_word(&unsigned_part, ".inf"))
        v->number = negative ? -INFINITY : INFINITY;
    else if (v->length == 4 && (!memcmp(v->text, ".nan", 4) || !memcmp(v->text, ".NaN", 4) ||
                                !memcmp(v->text, ".NAN", 4)))
        v->number = NAN;
    else
        return false;
    v->type = QK_YAML_FLOAT;
    return true;
}

bool qk_yaml_resolve(qk_yaml *v)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
    v->type = QK_YAML_STRING;
    if (!v->plain) return true;
    if (v->length == 0 || is_word(v, "~") || is_word(v, "null")) {
        v->type = QK_YAML_NULL;
        return true;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is_word(v, words[i])) {
            v->type = QK_YAML_BOOL;
            v->boolean = i % 2;
            return true;
        }
    if (set_named_float(v)) return true;
    if (is_float(v)) {
        set_float(v);
        return true;
    }
    if (is_int(v)) return set_int(v);
    if (is_date(v)) v->type = QK_YAML_DATE;
    return !(v->length == 1 && *v->text == '=') && !(v->length == 2 && !memcmp(v->text, "<<", 2));
}
