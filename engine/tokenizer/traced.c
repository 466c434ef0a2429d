/* Text that remembers where it came from. See traced.h. */
#include "engine/tokenizer/traced.h"

#include <stdlib.h>
#include <string.h>

qk_view qk_view_part(qk_view view, size_t start, size_t end)
{
    /* An empty text may be at NULL, to which C adds not even 0. */
    return (qk_view){start ? view.text + start : view.text, end - start,
                     view.raw_spans ? view.raw_spans + start : NULL};
}

qk_raw_span qk_view_span(qk_view view, size_t start, size_t end)
{
    if (!view.raw_spans || start == end) return (qk_raw_span){0};
    qk_raw_span span = view.raw_spans[start];
    for (size_t i = start + 1; i < end; i++) {
        if (view.raw_spans[i].start < span.start) span.start = view.raw_spans[i].start;
        if (view.raw_spans[i].end > span.end) span.end = view.raw_spans[i].end;
    }
    return span;
}

void qk_traced_begin(qk_traced *out, qk_view like)
{
    qk_buf_clear(&out->text);
    out->traced = like.raw_spans != NULL;
}

/* Capacity for the raw spans of n more bytes. */
static qk_raw_span *reserve(qk_traced *out, size_t n)
{
    size_t needed = out->text.size + n + 1; /* never NULL: that would read as "not traced" */
    if (needed > out->capacity) {
        out->capacity = 2 * needed;
        out->raw_spans = qk_realloc(out->raw_spans, out->capacity, sizeof *out->raw_spans);
    }
    return out->raw_spans + out->text.size;
}

void qk_traced_copy(qk_traced *out, qk_view from, size_t start, size_t end)
{
    if (out->traced)
        memcpy(reserve(out, end - start), from.raw_spans + start,
               (end - start) * sizeof *out->raw_spans);
    qk_buf_add(&out->text, from.text + start, end - start);
}

void qk_traced_put(qk_traced *out, const void *bytes, size_t n, qk_raw_span raw)
{
    qk_raw_span *to = out->traced ? reserve(out, n) : NULL;
    for (size_t i = 0; to && i < n; i++) to[i] = raw;
    qk_buf_add(&out->text, bytes, n);
}

qk_view qk_traced_view(const qk_traced *out)
{
    return (qk_view){out->text.data, out->text.size, out->traced ? out->raw_spans : NULL};
}

void qk_traced_raw(qk_traced *out, const uint8_t *text, size_t length)
{
    qk_buf_clear(&out->text);
    out->traced = true;
    qk_raw_span *to = reserve(out, length);
    for (size_t i = 0; i < length;) {
        size_t end = i + 1;
        while (end < length && (text[end] & 0xC0) == 0x80) end++;
        for (size_t k = i; k < end; k++) to[k] = (qk_raw_span){(uint32_t)i, (uint32_t)end};
        i = end;
    }
    qk_buf_add(&out->text, text, length);
}

void qk_traced_free(qk_traced *out)
{
    qk_buf_free(&out->text);
    free(out->raw_spans);
    *out = (qk_traced){0};
}
