/* Normalizers. See normalize.h. */
#include "engine/tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>

bool qk_normalizer_add(qk_normalizer *n, qk_norm_step step)
{
    if (n->count == QK_MAX_STEPS) return false;
    n->steps[n->count++] = step;
    if (step.kind == QK_NORM_NFC && !n->nfc_table) n->nfc_table = qk_nfc_make_table();
    return true;
}

void qk_normalizer_free(qk_normalizer *n)
{
    free(n->nfc_table);
    *n = (qk_normalizer){0};
}

void qk_norm_memory_free(qk_norm_memory *m)
{
    qk_buf_free(&m->a);
    qk_buf_free(&m->b);
    qk_nfc_memory_free(&m->nfc);
}

static const uint8_t *find(const uint8_t *text, const uint8_t *end, const qk_norm_step *step)
{
    if (text == end) return NULL;
    return memmem(text, (size_t)(end - text), step->from, step->from_length);
}

/* The length of the text after Replace. */
static size_t replaced_length(const qk_norm_step *step, const uint8_t *text, size_t length)
{
    const uint8_t *end = text + length;
    size_t out = length;
    while ((text = find(text, end, step))) {
        text += step->from_length;
        out = out - step->from_length + step->to_length;
    }
    return out;
}

static void replace(const qk_norm_step *step, const uint8_t *text, size_t length, qk_buf *out)
{
    const uint8_t *end = text + length, *found;
    for (; (found = find(text, end, step)); text = found + step->from_length) {
        qk_buf_add(out, text, (size_t)(found - text));
        qk_buf_add(out, step->to, step->to_length);
    }
    qk_buf_add(out, text, (size_t)(end - text));
}

static qk_status check_length(size_t length, qk_error *err)
{
    if (length <= QK_MAX_TEXT) return QK_OK;
    return qk_fail(err, QK_ERR_DATA, "split the text", "the normalised text is longer than 1 GiB");
}

/* One step from text to `out`; *changed is false when nothing was written because the text stays.
 */
static qk_status run_step(const qk_normalizer *n, const qk_norm_step *step, qk_norm_memory *m,
                          const uint8_t *text, size_t length, qk_buf *out, bool *changed,
                          qk_error *err)
{
    qk_buf_clear(out);
    *changed = length > 0;
    if (!length) return QK_OK;
    switch (step->kind) {
    case QK_NORM_NFC:
        *changed = !qk_nfc_is_plain(n->nfc_table, text, length);
        if (*changed) qk_nfc(n->nfc_table, &m->nfc, text, length, out);
        break;
    case QK_NORM_PREPEND:
        QK_TRY(check_length(length + step->to_length, err));
        qk_buf_add(out, step->to, step->to_length);
        qk_buf_add(out, text, length);
        break;
    case QK_NORM_REPLACE:
        *changed = find(text, text + length, step) != NULL;
        if (!*changed) break;
        size_t after = replaced_length(step, text, length);
        QK_TRY(check_length(after, err));
        qk_buf_reserve(out, after + 1);
        replace(step, text, length, out);
        break;
    }
    return QK_OK;
}

qk_status qk_normalize(const qk_normalizer *n, qk_norm_memory *m, const uint8_t **text,
                       size_t *length, qk_error *err)
{
    qk_buf *out = &m->a;
    for (int i = 0; i < n->count; i++) {
        bool changed;
        QK_TRY(run_step(n, &n->steps[i], m, *text, *length, out, &changed, err));
        if (!changed) continue;
        *text = out->data;
        *length = out->size;
        out = out == &m->a ? &m->b : &m->a;
    }
    return QK_OK;
}
