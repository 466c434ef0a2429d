/* Text that remembers where it came from. See traced.h. */
#include "engine/tokenizer/traced.h"

#include <stdlib.h>
#include <string.h>

qk_view qk_view_part(qk_view view, size_t start, size_t end)
{
    /* An empty text may be at NULL, to which C adds not even 0. */
    return (qk_view){start ? view.text + start : view.text, end - start,
                     view.origins ? view.origins + start : NULL};
}

qk_origin qk_view_span(qk_view view, size_t start, size_t end)
{
    if (!view.origins || start == end) return (qk_origin){0};
    qk_origin span = view.origins[start];
    for (size_t i = start + 1; i < end; i++) {
        if (view.origins[i].start < span.start) span.start = view.origins[i].start;
        if (view.origins[i].end > span.end) span.end = view.origins[i].end;
    }
    return span;
}

void qk_traced_begin(qk_traced *out, qk_view like)
{
    qk_buf_clear(&out->text);
    out->traced = like.origins != NULL;
}

/* Capacity for the origins of n more bytes. */
static qk_origin *reserve(qk_traced *out, size_t n)
{
    size_t needed = out->text.size + n + 1; /* never NULL: that would read as "not traced" */
    if (needed > out->capacity) {
        out->capacity = 2 * needed;
        out->origins = qk_realloc(out->origins, out->capacity, sizeof *out->origins);
    }
    return out->origins + out->text.size;
}

void qk_traced_copy(qk_traced *out, qk_view from, size_t start, size_t end)
{
    if (out->traced)
        memcpy(reserve(out, end - start), from.origins + start,
               (end - start) * sizeof *out->origins);
    qk_buf_add(&out->text, from.text + start, end - start);
}

void qk_traced_put(qk_traced *out, const void *bytes, size_t n, qk_origin origin)
{
    qk_origin *to = out->traced ? reserve(out, n) : NULL;
    for (size_t i = 0; to && i < n; i++) to[i] = origin;
    qk_buf_add(&out->text, bytes, n);
}

qk_view qk_traced_view(const qk_traced *out)
{
    return (qk_view){out->text.data, out->text.size, out->traced ? out->origins : NULL};
}

void qk_traced_raw(qk_traced *out, const uint8_t *text, size_t length)
{
    qk_buf_clear(&out->text);
    out->traced = true;
    qk_origin *to = reserve(out, length);
    for (size_t i = 0; i < length;) {
        size_t end = i + 1;
        while (end < length && (text[end] & 0xC0) == 0x80) end++;
        for (size_t k = i; k < end; k++) to[k] = (qk_origin){(uint32_t)i, (uint32_t)end};
        i = end;
    }
    qk_buf_add(&out->text, text, length);
}

void qk_traced_free(qk_traced *out)
{
    qk_buf_free(&out->text);
    free(out->origins);
    *out = (qk_traced){0};
}
