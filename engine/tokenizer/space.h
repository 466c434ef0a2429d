/* White space and words as the tokenizers library's own code (not its regexes) sees them.
 *
 * next: engine/tokenizer/added.h, engine/tokenizer/normalize.h */
#pragma once

#include <stdbool.h>

#include "engine/tokenizer/unicode.h"

bool qk_range_has(const qk_range *ranges, size_t count, uint32_t code);
/* Whether a character is of a class of unicode.h. */
bool qk_class_has(const char *name, uint32_t code);
/* Where the white space that ends at `end` begins, not before `floor`. text: well-formed UTF-8. */
size_t qk_space_before(const uint8_t *text, size_t end, size_t floor);
/* Where the white space that begins at `from` ends. */
size_t qk_space_behind(const uint8_t *text, size_t from, size_t length);
/* Whether a word character ends at `end` > 0, or begins at `from` < length. */
bool qk_word_before(const uint8_t *text, size_t end);
bool qk_word_behind(const uint8_t *text, size_t from, size_t length);
