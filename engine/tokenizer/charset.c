/* Sets of code points. See charset.h. */
#include "engine/tokenizer/charset.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/space.h"

static int by_lo(const void *a, const void *b)
{
    uint32_t x = ((const qk_range *)a)->lo, y = ((const qk_range *)b)->lo;
    return x < y ? -1 : x > y;
}

/* Restores the order and joins ranges that touch. */
static void tidy(qk_charset *set)
{
    if (set->count < 2) return;
    qsort(set->items, set->count, sizeof *set->items, by_lo);
    size_t kept = 0;
    for (size_t i = 1; i < set->count; i++) {
        qk_range *last = &set->items[kept], r = set->items[i];
        if (r.lo > last->hi + 1)
            set->items[++kept] = r;
        else if (r.hi > last->hi)
            last->hi = r.hi;
    }
    set->count = kept + 1;
}

static void append(qk_charset *set, uint32_t lo, uint32_t hi)
{
    QK_GROW(set->items, set->count, set->capacity);
    set->items[set->count++] = (qk_range){lo, hi};
}

void qk_charset_add(qk_charset *set, uint32_t lo, uint32_t hi)
{
    append(set, lo, hi);
    tidy(set);
}

static void add_ranges(qk_charset *set, const qk_range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) append(set, ranges[i].lo, ranges[i].hi);
    tidy(set);
}

void qk_charset_add_set(qk_charset *set, const qk_charset *other)
{
    add_ranges(set, other->items, other->count);
}

bool qk_charset_add_class(qk_charset *set, const char *name, size_t length)
{
    for (size_t i = 0; i < qk_char_class_count; i++) {
        const qk_char_class *c = &qk_char_classes[i];
        if (strlen(c->name) != length || memcmp(c->name, name, length) != 0) continue;
        add_ranges(set, c->ranges, c->count);
        return true;
    }
    return false;
}

void qk_charset_negate(qk_charset *set)
{
    qk_charset out = {0};
    uint32_t next = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].lo > next) append(&out, next, set->items[i].lo - 1);
        next = set->items[i].hi + 1;
    }
    if (next <= QK_MAX_CODE_POINT) append(&out, next, QK_MAX_CODE_POINT);
    qk_charset_free(set);
    *set = out;
}

/* a and b = not (not a or not b) */
void qk_charset_intersect(qk_charset *set, const qk_charset *other)
{
    qk_charset b = {0};
    qk_charset_add_set(&b, other);
    qk_charset_negate(&b);
    qk_charset_negate(set);
    qk_charset_add_set(set, &b);
    qk_charset_negate(set);
    qk_charset_free(&b);
}

bool qk_charset_fold_case(qk_charset *set)
{
    if (set->count && set->items[set->count - 1].hi > 0x7F) return false;
    qk_charset more = {0};
    for (uint32_t c = 'a'; c <= 'z'; c++) {
        uint32_t upper = c - 'a' + 'A';
        if (!qk_charset_has(set, c) && !qk_charset_has(set, upper)) continue;
        append(&more, c, c);
        append(&more, upper, upper);
        if (c == 'k') append(&more, 0x212A, 0x212A);
        if (c == 's') append(&more, 0x17F, 0x17F);
    }
    qk_charset_add_set(set, &more);
    qk_charset_free(&more);
    return true;
}

bool qk_charset_has(const qk_charset *set, uint32_t code)
{
    return qk_range_has(set->items, set->count, code);
}

bool qk_charset_equal(const qk_charset *a, const qk_charset *b)
{
    if (a->count != b->count) return false;
    return !a->count || !memcmp(a->items, b->items, a->count * sizeof *a->items);
}

void qk_charset_free(qk_charset *set)
{
    free(set->items);
    *set = (qk_charset){0};
}
