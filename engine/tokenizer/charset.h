/* Sets of code points as sorted, disjoint ranges: what a class of a regex means.
 *
 * Zero-initialise for the empty set, qk_charset_free to end.
 *
 * next: engine/tokenizer/pattern.h */
#pragma once

#include "engine/base/mem.h"
#include "engine/tokenizer/unicode.h"

typedef struct qk_charset {
    qk_range *items;
    size_t count, capacity;
} qk_charset;

void qk_charset_add(qk_charset *set, uint32_t lo, uint32_t hi);
void qk_charset_add_set(qk_charset *set, const qk_charset *other);
/* Adds a class of unicode.h; false when there is no class of this name. */
bool qk_charset_add_class(qk_charset *set, const char *name, size_t length);
void qk_charset_negate(qk_charset *set); /* over U+0000..U+10FFFF */
void qk_charset_intersect(qk_charset *set, const qk_charset *other);
/* Adds the other case of every letter as Oniguruma does: of ASCII letters the other case, U+212A
 * for k and U+017F for s. false when the set has members beyond ASCII, whose cases are not known
 * here. */
bool qk_charset_fold_case(qk_charset *set);
bool qk_charset_has(const qk_charset *set, uint32_t code);
bool qk_charset_equal(const qk_charset *a, const qk_charset *b);
void qk_charset_free(qk_charset *set);
