/* dataset.split: "train", "train[:100]", "train[50%:]", "train[-10:]+test", "all".
 *
 *   part (+ part)*     part = name [ '[' from? : to? ']' [ (closest) ] ]     name = \w+(\.\w+)*
 *
 * Bounds are row numbers, negative from the end, or whole percentages within 100, which are rounded
 * to the nearest row, halves to even; digits may be grouped: 1_000. Bounds beyond the split are
 * clipped. No spaces. Private to engine/dataset/.
 *
 * next: engine/dataset/folder.h */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_split_bound {
    bool given, percent;
    int64_t value;
} qk_split_bound;

typedef struct qk_split_part {
    char *name; /* owned */
    qk_split_bound from, to;
} qk_split_part;

typedef struct qk_split_parts {
    qk_split_part *items;
    size_t count, capacity;
} qk_split_parts;

qk_status qk_split_parse(qk_split_parts *out, const char *text, qk_error *err);
void qk_split_parts_free(qk_split_parts *parts);

/* true when the bounds cannot be known without the number of rows. */
bool qk_split_needs_count(const qk_split_part *part);
/* Rows [*begin, *end) of a split of `rows` rows. rows < 0: not known, and then not needed; *end is
 * INT64_MAX when it is open. */
void qk_split_resolve(const qk_split_part *part, int64_t rows, int64_t *begin, int64_t *end);

/* \w+(\.\w+)* of at most 200 bytes; bytes of UTF-8 beyond ASCII count as letters. */
bool qk_split_is_name(const char *text, size_t length);
