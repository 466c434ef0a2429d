/* See split.h. */
#include "engine/dataset/split.h"

#include <stdlib.h>
#include <string.h>

bool qk_split_is_name(const char *text, size_t length)
{
    if (length == 0 || length > 200 || text[0] == '.' || text[length - 1] == '.') return false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool is_word = c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                       (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
        if (!is_word && (c != '.' || text[i - 1] == '.')) return false;
    }
    return true;
}

/* A bound at *s: [-]digits[%], or nothing. A '_' may stand between two digits, as in Python. */
static bool read_bound(const char **s, qk_split_bound *out)
{
    const char *p = *s;
    bool negative = *p == '-';
    p += negative;
    if (*p < '0' || *p > '9') return !negative;
    for (; (*p >= '0' && *p <= '9') || (*p == '_' && p[1] >= '0' && p[1] <= '9'); p++)
        if (*p != '_' && (__builtin_mul_overflow(out->value, 10, &out->value) ||
                          __builtin_add_overflow(out->value, *p - '0', &out->value)))
            return false;
    if (negative) out->value = -out->value;
    out->given = true;
    out->percent = *p == '%';
    *s = p + out->percent;
    return true;
}

static qk_status fail(const char *text, const char *what, qk_error *err)
{
    return qk_fail(err, QK_ERR_CONFIG,
                   "write train, train[:100], train[25%:75%] or train+test, without spaces",
                   "dataset.split '%.200s': %s", text, what);
}

static qk_status read_part(const char *text, const char **s, qk_split_part *part, qk_error *err)
{
    size_t n = strcspn(*s, "[+(");
    if (!qk_split_is_name(*s, n)) return fail(text, "not the name of a split", err);
    part->name = qk_alloc(n + 1, 1);
    memcpy(part->name, *s, n);
    part->name[n] = 0;
    *s += n;
    if (**s != '[') return QK_OK;
    ++*s;
    if (!read_bound(s, &part->from) || *(*s)++ != ':' || !read_bound(s, &part->to) || **s != ']')
        return fail(text, "a slice is [from:to] with whole numbers or percentages", err);
    ++*s;
    const qk_split_bound *from = &part->from, *to = &part->to;
    if (from->given && to->given && from->percent != to->percent)
        return fail(text, "one bound is a percentage, the other is not", err);
    if ((from->percent && llabs(from->value) > 100) || (to->percent && llabs(to->value) > 100))
        return fail(text, "percentages must lie within 100", err);
    if (**s != '(') return QK_OK;
    if (!(from->percent || to->percent) || strncmp(*s, "(closest)", 9) != 0)
        return fail(text, "of the ways of rounding, only (closest) behind percentages is supported",
                    err);
    *s += 9;
    return QK_OK;
}

qk_status qk_split_parse(qk_split_parts *out, const char *text, qk_error *err)
{
    const char *at = text;
    qk_status s = QK_OK;
    for (*out = (qk_split_parts){0};; at++) {
        QK_GROW(out->items, out->count, out->capacity);
        out->items[out->count] = (qk_split_part){0};
        s = read_part(text, &at, &out->items[out->count++], err);
        if (s == QK_OK && *at && *at != '+') s = fail(text, "not the name of a split", err);
        if (s != QK_OK || !*at) break;
    }
    if (s != QK_OK) qk_split_parts_free(out);
    return s;
}

void qk_split_parts_free(qk_split_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) free(parts->items[i].name);
    free(parts->items);
    *parts = (qk_split_parts){0};
}

bool qk_split_needs_count(const qk_split_part *part)
{
    return part->from.percent || part->to.percent || (part->from.given && part->from.value < 0) ||
           (part->to.given && part->to.value < 0);
}

/* percent * rows / 100 to the nearest integer, halves to even. */
static int64_t percent_of(int64_t percent, int64_t rows)
{
    bool negative = percent < 0;
    __int128 scaled = (__int128)(negative ? -percent : percent) * rows;
    int64_t whole = (int64_t)(scaled / 100), rest = (int64_t)(scaled % 100);
    whole += rest > 50 || (rest == 50 && whole % 2);
    return negative ? -whole : whole;
}

static int64_t to_row(const qk_split_bound *bound, int64_t rows, int64_t open)
{
    if (!bound->given) return open;
    int64_t row = bound->percent ? percent_of(bound->value, rows) : bound->value;
    if (rows < 0) return row;
    if (row < 0) row += rows;
    return row < 0 ? 0 : row > rows ? rows : row;
}

void qk_split_resolve(const qk_split_part *part, int64_t rows, int64_t *begin, int64_t *end)
{
    *begin = to_row(&part->from, rows, 0);
    *end = to_row(&part->to, rows, rows < 0 ? INT64_MAX : rows);
}
