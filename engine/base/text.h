/* Small helpers on text: nearest known word for error messages, UTF-8. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The candidate with the fewest single-character edits from `word`, or NULL when even the best one
 * changes more than half of it. Candidates end with NULL. */
const char *qk_nearest(const char *word, const char *const *candidates);

/* "3", "3 and 5", "3, 5, 6, 7 and 12 more": in the order of the numbers. 128 bytes are enough. */
void qk_list_numbers(char *out, size_t capacity, const int64_t *numbers, size_t n);

/* The text as one line that a terminal shows and does not obey: control characters (C0, DEL, C1),
 * bytes that are not UTF-8, marks that turn the direction of writing and separators of lines are
 * written as \n, \x1b, \u202e. For what files and servers bring along: names of tensors, columns,
 * files. A fresh string; the caller frees. */
char *qk_visible_copy(const char *text);
/* The same for an argument of printf: valid until the eighth later call in the same thread. */
const char *qk_visible(const char *text);
/* Whether a code point is shown as it is there. */
bool qk_is_shown(uint32_t code_point);

/* Decodes one code point of well-formed UTF-8 at text[0..n); returns its length in bytes (1..4), or
 * 0 when the bytes are not UTF-8 (overlong forms, surrogates and values above U+10FFFF included).
 */
size_t qk_utf8_decode(const uint8_t *text, size_t n, uint32_t *code_point);
/* Writes 1..4 bytes; returns how many. */
size_t qk_utf8_encode(uint32_t code_point, uint8_t out[4]);
/* Offset of the first byte that is not well-formed UTF-8, or n. */
size_t qk_utf8_check(const uint8_t *text, size_t n);
