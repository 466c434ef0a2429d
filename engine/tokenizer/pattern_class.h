/* Single characters, escapes and bracket classes of a regex, as sets of code points.
 *
 * next: engine/tokenizer/pattern_class.c */
#pragma once

#include "engine/tokenizer/charset.h"

typedef struct qk_regex_text {
    const char *begin, *at, *end; /* holds no NUL */
    const char *where;            /* for messages */
    bool caseless;                /* inside (?i: */
    qk_error *err;
    qk_status status;
} qk_regex_text;

/* "WHERE: regex byte 17: not supported: WHAT"; returns false. */
bool qk_regex_refuse(qk_regex_text *t, const char *what);
/* A literal character or an escape at t->at. *literal becomes the character when it is one and 0
 * when it is a class (which then has its cases, where they matter). */
bool qk_regex_char(qk_regex_text *t, qk_charset *set, uint32_t *literal);
/* A class at t->at, which is '['. */
bool qk_regex_class(qk_regex_text *t, qk_charset *set);
