/* Unicode data as the tokenizers library (0.22.1) has it, in two versions: regex classes are of
 * Unicode 16.0, normalisation is of Unicode 9.0, where younger code points are inert.
 * The tables are generated (tests/tools/gen_unicode.py), sorted by code point.
 *
 * next: engine/tokenizer/charset.h, engine/tokenizer/forms.h */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"
#include "engine/base/text.h"

enum { QK_MAX_CODE_POINT = 0x10FFFF };

typedef struct qk_range {
    uint32_t lo, hi; /* inclusive */
} qk_range;

typedef struct qk_char_class {
    const char *name; /* a general category or script ("L", "Nd", "Han"), or "s", "d", "w" */
    const qk_range *ranges;
    size_t count;
} qk_char_class;

extern const qk_char_class qk_char_classes[];
extern const size_t qk_char_class_count;

/* Marks with a non-zero canonical combining class. */
typedef struct qk_mark_range {
    uint32_t lo, hi;
    uint8_t ccc;
} qk_mark_range;

extern const qk_mark_range *const qk_mark_ranges;
extern const size_t qk_mark_range_count;

/* Full canonical decompositions, without Hangul syllables; unused parts are 0. */
typedef struct qk_decomposition {
    uint32_t code, parts[4];
} qk_decomposition;

extern const qk_decomposition *const qk_decompositions;
extern const size_t qk_decomposition_count;

/* Pairs that compose, sorted by (first, second). */
typedef struct qk_composition {
    uint32_t first, second, composed;
} qk_composition;

extern const qk_composition *const qk_compositions;
extern const size_t qk_composition_count;

/* Full compatibility decompositions that differ from the canonical ones:
 * qk_compat_parts[at..at + count). */
typedef struct qk_compat {
    uint32_t code;
    uint16_t at, count;
} qk_compat;

extern const uint32_t *const qk_compat_parts;
extern const qk_compat *const qk_compats;
extern const size_t qk_compat_count;

/* Lower case of single characters (Unicode 16.0, no context); an unused second part is 0. */
typedef struct qk_lower {
    uint32_t code, parts[2];
} qk_lower;

extern const qk_lower *const qk_lowers;
extern const size_t qk_lower_count;

/* What the pre-tokenizer Punctuation cuts at, and what the normalizer StripAccents removes. */
extern const qk_range *const qk_punctuations, *const qk_accents;
extern const size_t qk_punctuation_count, qk_accent_count;

/* The character at text[0..n), n > 0, of text that is known to be UTF-8; returns its length. */
static inline size_t qk_code_at(const uint8_t *text, size_t n, uint32_t *code)
{
    *code = text[0];
    if (text[0] < 0x80) return 1;
    size_t length = qk_utf8_decode(text, n, code);
    QK_ASSERT(length > 0);
    return length;
}
