/* The parser of Oniguruma's Ruby syntax, in its dialect of tokenizers:
 *
 *   a|b  (a) (?:a) (?i:a) (?>a) (?=a) (?!a) (?<=a) (?<!a)  . $ \A \z
 *   * + ? {n,m}, each with ? (lazy); *+ ++ ?+ are possessive, but {n,m}+ repeats the group
 *   \p{L} \P{L} \p{^L} \s \S \d \D \w \W \n \r \t \f \v \a \e \xHH \x{H..} \uHHHH
 *   [a-z\s] [^..] with nested [..] and intersection &&
 *
 * Everything else is refused. The result is text for pattern_program.c: of the syntax above the
 * groups, quantifiers, '|', \A and \z, and a byte 0x80 + n for one character of sets[n].
 *
 * next: engine/tokenizer/pattern.c */
#pragma once

#include "engine/tokenizer/charset.h"

enum { QK_PATTERN_SETS = 128 };

typedef struct qk_pattern_program {
    qk_buf code;
    qk_charset sets[QK_PATTERN_SETS];
    int count;
} qk_pattern_program;

/* Free the program in any case. */
qk_status qk_pattern_parse(qk_pattern_program *out, const char *regex, size_t length,
                           const char *where, qk_error *err);
/* Appends one character of `set`, which is taken over. false when there are too many sets. */
bool qk_pattern_add_set(qk_pattern_program *program, qk_charset *set);
void qk_pattern_program_free(qk_pattern_program *program);
