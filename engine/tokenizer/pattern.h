/* Regexes of tokenizer.json (Oniguruma, Ruby syntax) on kinds of characters.
 *
 * A pattern tells apart only a few kinds of characters: "letter", "digit", "the letter s". So all
 * code points are sorted into at most 255 kinds such that every class and literal of the pattern is
 * a union of kinds; a text becomes one byte per character (its kind), and the pattern a program for
 * bytes. That is as fast for Chinese as for English. Regexes of many models have a scanner instead,
 * which needs no kinds.
 *
 * next: engine/tokenizer/pattern_scan.h, engine/tokenizer/pattern_parse.h,
 * engine/tokenizer/pattern_program.h, engine/tokenizer/pretokenize.h */
#pragma once

#include "engine/base/mem.h"
#include "engine/tokenizer/pattern_program.h"
#include "engine/tokenizer/pattern_scan.h"

typedef struct qk_pattern qk_pattern; /* immutable: threads may share one */

/* regex: UTF-8. `where` names it in errors ("tokenizer.json: pre_tokenizer.pattern"). What is not
 * understood exactly is refused (QK_ERR_UNSUPPORTED) with its byte offset. */
qk_status qk_pattern_compile(qk_pattern **out, const char *regex, size_t length, const char *where,
                             qk_error *err);
/* A pattern that finds exactly this text, which is not empty. */
qk_status qk_pattern_compile_text(qk_pattern **out, const char *text, size_t length,
                                  const char *where, qk_error *err);
void qk_pattern_free(qk_pattern *pattern); /* NULL-safe */
/* The scanner that does the same; NULL when there is none. Its matches leave no gaps. */
qk_scan qk_pattern_scanner(const qk_pattern *pattern);
/* Whether it might match no character at all. */
bool qk_pattern_may_be_empty(const qk_pattern *pattern);

/* Working memory of one thread, for any pattern. Zero-initialise to create. */
typedef struct qk_match_memory {
    qk_buf kinds;
    qk_machine_memory machine;
    qk_work *work; /* steps left for a text, borrowed; NULL: `own`, renewed by qk_matcher_begin */
    qk_work own;
} qk_match_memory;
void qk_match_memory_free(qk_match_memory *memory);

/* All matches in a text, from left to right, as Oniguruma's find_iter gives them: an empty match
 * right behind the last match is passed over. */
typedef struct qk_matcher {
    const qk_pattern *pattern;
    qk_match_memory *memory;
    const uint8_t *text;
    size_t bytes;
    size_t count;          /* characters */
    size_t from, last_end; /* characters; last_end is SIZE_MAX before the first match */
    size_t at, at_byte;    /* a character and its byte offset, at or before the last match's end */
    qk_machine_result result; /* of the last search */
} qk_matcher;

/* text: well-formed UTF-8, borrowed. One matcher at a time may use `memory`. */
void qk_matcher_begin(qk_matcher *m, const qk_pattern *pattern, qk_match_memory *memory,
                      const uint8_t *text, size_t bytes);
/* 1: text[*start..*end) is the next match; 0: no more; -1: given up, see qk_matcher_fail. */
int qk_matcher_next(qk_matcher *m, size_t *start, size_t *end);
/* Why it was given up: a signal (QK_ERR_RESUME), or the work or memory that the pattern, which is
 * named, would need. */
qk_status qk_matcher_fail(const qk_matcher *m, qk_error *err);
