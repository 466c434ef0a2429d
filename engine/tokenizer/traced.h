/* Text that remembers where it came from: for every byte the span of raw bytes behind it.
 *
 * Spans are kept only when someone asked for them (qkengine tokenize --offsets, Metaspace "first");
 * otherwise `raw_spans` is NULL all the way and a step costs what copying bytes costs.
 *
 * next: engine/tokenizer/forms.h */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_raw_span {
    uint32_t start, end; /* bytes of the raw text */
} qk_raw_span;

/* Borrowed text. */
typedef struct qk_view {
    const uint8_t *text;
    size_t length;                /* bytes */
    const qk_raw_span *raw_spans; /* of each byte, or NULL */
} qk_view;

/* The text [start, end) of a view. */
qk_view qk_view_part(qk_view view, size_t start, size_t end);
/* The span behind the bytes [start, end) of a view, which are some; {0, 0} without raw spans. */
qk_raw_span qk_view_span(qk_view view, size_t start, size_t end);

/* A text being written. Zero-initialise to create. */
typedef struct qk_traced {
    qk_buf text;
    qk_raw_span *raw_spans; /* capacity of them; as many as bytes when traced */
    size_t capacity;
    bool traced;
} qk_traced;

/* Empties it; `like` says whether raw spans are kept from now on. */
void qk_traced_begin(qk_traced *out, qk_view like);
/* Appends a part of a view with its raw spans. */
void qk_traced_copy(qk_traced *out, qk_view from, size_t start, size_t end);
/* Appends bytes that all came from `raw`. */
void qk_traced_put(qk_traced *out, const void *bytes, size_t n, qk_raw_span raw);
qk_view qk_traced_view(const qk_traced *out);
/* Writes a raw text in which every character comes from itself. */
void qk_traced_raw(qk_traced *out, const uint8_t *text, size_t length);
void qk_traced_free(qk_traced *out);
