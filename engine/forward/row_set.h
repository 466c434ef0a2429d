/* A set of the rows of a batch: row r is bit r % 64 of word r / 64. The caller owns the words, as
 * many as qk_row_words says.
 *
 * next: engine/forward/slice.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline size_t qk_row_words(size_t rows)
{
    return (rows + 63) / 64;
}

static inline bool qk_row_in(const uint64_t *set, size_t row)
{
    return set[row / 64] >> row % 64 & 1;
}

static inline void qk_row_add(uint64_t *set, size_t row)
{
    set[row / 64] |= (uint64_t)1 << row % 64;
}

/* The bits of word w that are rows begin .. end - 1. */
static inline uint64_t qk_row_mask(size_t w, size_t begin, size_t end)
{
    uint64_t mask = ~(uint64_t)0;
    if (64 * w < begin) mask &= begin - 64 * w < 64 ? ~(uint64_t)0 << (begin - 64 * w) : 0;
    if (64 * w + 64 > end) mask &= end > 64 * w ? ~(uint64_t)0 >> (64 * w + 64 - end) : 0;
    return mask;
}

/* Rows begin .. end - 1. */
static inline void qk_row_add_range(uint64_t *set, size_t begin, size_t end)
{
    for (size_t w = begin / 64; begin < end && w <= (end - 1) / 64; w++)
        set[w] |= qk_row_mask(w, begin, end);
}

/* How many of rows begin .. end - 1 are in the set. */
static inline size_t qk_row_count(const uint64_t *set, size_t begin, size_t end)
{
    size_t n = 0;
    for (size_t w = begin / 64; begin < end && w <= (end - 1) / 64; w++)
        n += (size_t)__builtin_popcountll(set[w] & qk_row_mask(w, begin, end));
    return n;
}

/* The first and the last of rows begin .. end - 1 that are in the set; false: none is. */
static inline bool qk_row_span(const uint64_t *set, size_t begin, size_t end, size_t *first,
                               size_t *last)
{
    bool found = false;
    for (size_t w = begin / 64; begin < end && w <= (end - 1) / 64; w++) {
        uint64_t bits = set[w] & qk_row_mask(w, begin, end);
        if (!bits) continue;
        if (!found) *first = 64 * w + (size_t)__builtin_ctzll(bits);
        *last = 64 * w + 63 - (size_t)__builtin_clzll(bits);
        found = true;
    }
    return found;
}
