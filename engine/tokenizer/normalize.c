/* Normalizers. See normalize.h. */
#include "engine/tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/space.h"

bool qk_normalizer_add(qk_normalizer *n, qk_norm_step step)
{
    if (n->count == QK_MAX_STEPS) {
        qk_pattern_free(step.pattern);
        return false;
    }
    n->steps[n->count++] = step;
    if (step.kind == QK_NORM_FORM && !n->form_tables[step.form])
        n->form_tables[step.form] = qk_form_make_table(step.form);
    return true;
}

void qk_normalizer_free(qk_normalizer *n)
{
    for (int i = 0; i < n->count; i++) qk_pattern_free(n->steps[i].pattern);
    for (int i = 0; i < 4; i++) free(n->form_tables[i]);
    *n = (qk_normalizer){0};
}

void qk_norm_memory_free(qk_norm_memory *m)
{
    qk_traced_free(&m->a);
    qk_traced_free(&m->b);
    qk_form_memory_free(&m->form);
    qk_match_memory_free(&m->match);
}

/* Whether a text that is now `length` bytes long has not grown out of all reason. */
static qk_status check_length(const qk_norm_memory *m, size_t length, qk_error *err)
{
    size_t limit = qk_work_max_length(m->length);
    if (length <= limit && length <= QK_MAX_TEXT) return QK_OK;
    return qk_fail(err, QK_ERR_DATA, "split the text, or use another tokenizer",
                   "normalizer: step %d makes more than %zu bytes of a text of %zu", m->step,
                   limit < QK_MAX_TEXT ? limit : QK_MAX_TEXT, m->length);
}

/* ---- character by character ---- */

static int by_code(const void *code, const void *lower)
{
    uint32_t a = *(const uint32_t *)code, b = ((const qk_lower *)lower)->code;
    return a < b ? -1 : a > b;
}

/* What a character becomes: 0 to 2 code points in `out`. */
static int lowercase(uint32_t code, uint32_t out[2])
{
    const qk_lower *lower = bsearch(&code, qk_lowers, qk_lower_count, sizeof *lower, by_code);
    out[0] = lower ? lower->parts[0] : code;
    out[1] = lower ? lower->parts[1] : 0;
    return out[1] ? 2 : 1;
}

static int strip_accent(uint32_t code, uint32_t out[2])
{
    out[0] = code;
    return !qk_range_has(qk_accents, qk_accent_count, code);
}

/* Source: the rules of the library's Nmt, asked for every code point. */
static int nmt(uint32_t code, uint32_t out[2])
{
    static const qk_range gone[] = {{0x01, 0x08}, {0x0B, 0x0B}, {0x0E, 0x1F},
                                    {0x7F, 0x7F}, {0x8F, 0x8F}, {0x9F, 0x9F}};
    static const qk_range spaces[] = {{0x09, 0x0A},     {0x0C, 0x0D},     {0x1680, 0x1680},
                                      {0x200B, 0x200F}, {0x2028, 0x2029}, {0x2581, 0x2581},
                                      {0xFEFF, 0xFEFF}, {0xFFFD, 0xFFFD}};
    out[0] = qk_range_has(spaces, sizeof spaces / sizeof *spaces, code) ? ' ' : code;
    return !qk_range_has(gone, sizeof gone / sizeof *gone, code);
}

typedef int (*character_map)(uint32_t code, uint32_t out[2]);

static bool map_characters(character_map map, qk_view view, qk_traced *out)
{
    size_t copied = 0;
    size_t pause = QK_WORK_CHUNK;
    for (size_t i = 0, n; i < view.length; i += n) {
        uint32_t code, to[2];
        if (i >= pause) {
            if (qk_interrupted()) return false;
            pause += QK_WORK_CHUNK;
        }
        n = qk_code_at(view.text + i, view.length - i, &code);
        int count = map(code, to);
        if (count == 1 && to[0] == code) continue;
        qk_traced_copy(out, view, copied, i);
        copied = i + n;
        for (int k = 0; k < count; k++) {
            uint8_t utf8[4];
            qk_traced_put(out, utf8, qk_utf8_encode(to[k], utf8), qk_view_span(view, i, i + n));
        }
    }
    if (!copied) return false;
    qk_traced_copy(out, view, copied, view.length);
    return true;
}

/* ---- steps ---- */

static const uint8_t *find(const uint8_t *text, const uint8_t *end, const qk_norm_step *step)
{
    if (text == end) return NULL;
    return memmem(text, (size_t)(end - text), step->from, step->from_length);
}

/* What stands for a match came from its last character, as the library has it. Matches are not
 * empty, so there is one. */
static qk_raw_span last_raw_span(qk_view view, size_t end)
{
    return qk_view_span(view, end - 1, end);
}

static qk_status replace_text(const qk_norm_step *step, qk_norm_memory *m, qk_view view,
                              qk_traced *out, bool *changed, qk_error *err)
{
    const uint8_t *end = view.text + view.length, *found = view.text;
    size_t after = view.length, done = 0;
    while ((found = find(found, end, step))) {
        found += step->from_length;
        after = after - step->from_length + step->to_length;
    }
    QK_TRY(check_length(m, after, err));
    qk_buf_reserve(&out->text, after + 1);
    while ((found = find(view.text + done, end, step))) {
        size_t at = (size_t)(found - view.text);
        qk_traced_copy(out, view, done, at);
        done = at + step->from_length;
        qk_traced_put(out, step->to, step->to_length, last_raw_span(view, done));
    }
    *changed = done > 0;
    if (*changed) qk_traced_copy(out, view, done, view.length);
    return QK_OK;
}

static qk_status replace_matches(const qk_norm_step *step, qk_norm_memory *m, qk_view view,
                                 qk_traced *out, bool *changed, qk_error *err)
{
    qk_matcher matcher;
    qk_matcher_begin(&matcher, step->pattern, &m->match, view.text, view.length);
    size_t done = 0, start, end;
    int rc;
    *changed = false;
    while ((rc = qk_matcher_next(&matcher, &start, &end)) == 1) {
        qk_traced_copy(out, view, done, start);
        qk_traced_put(out, step->to, step->to_length, last_raw_span(view, end));
        QK_TRY(check_length(m, out->text.size, err));
        done = end;
        *changed = true;
    }
    if (rc < 0) return qk_matcher_fail(&matcher, err);
    if (*changed) qk_traced_copy(out, view, done, view.length);
    return check_length(m, out->text.size, err);
}

/* One step from view to `out`; *changed is false when nothing was written because the text stays.
 */
static qk_status run_step(const qk_normalizer *n, const qk_norm_step *step, qk_norm_memory *m,
                          qk_view view, qk_traced *out, bool *changed, qk_error *err)
{
    static const character_map maps[] = {[QK_NORM_LOWERCASE] = lowercase,
                                         [QK_NORM_STRIP_ACCENTS] = strip_accent,
                                         [QK_NORM_NMT] = nmt};
    qk_traced_begin(out, view);
    switch (step->kind) {
    case QK_NORM_FORM:
        *changed = !qk_form_is_plain(n->form_tables[step->form], view.text, view.length);
        if (*changed) qk_form_apply(step->form, n->form_tables[step->form], &m->form, view, out);
        return check_length(m, out->text.size, err);
    case QK_NORM_PREPEND:
        *changed = true;
        QK_TRY(check_length(m, view.length + step->to_length, err));
        qk_traced_put(out, step->to, step->to_length, qk_view_span(view, 0, 1));
        qk_traced_copy(out, view, 0, view.length);
        return QK_OK;
    case QK_NORM_REPLACE:
        if (step->pattern) return replace_matches(step, m, view, out, changed, err);
        return replace_text(step, m, view, out, changed, err);
    default:
        *changed = map_characters(maps[step->kind], view, out);
        return check_length(m, out->text.size, err);
    }
}

qk_status qk_normalize(const qk_normalizer *n, qk_norm_memory *m, qk_view *view, qk_error *err)
{
    qk_traced *out = &m->a;
    qk_work *work = m->match.work;
    m->length = view->length;
    for (int i = 0; i < n->count && view->length; i++) {
        m->step = i;
        if (n->steps[i].kind == QK_NORM_STRIP) {
            size_t start = 0, end = view->length;
            if (n->steps[i].left) start = qk_space_behind(view->text, 0, end);
            if (n->steps[i].right) end = qk_space_before(view->text, end, start);
            *view = qk_view_part(*view, start, end);
            continue;
        }
        bool changed;
        QK_TRY(run_step(n, &n->steps[i], m, *view, out, &changed, err));
        QK_TRY(qk_interrupt_check(err));
        if (!changed) continue;
        if (work && !qk_work_take(work, out->text.size))
            return qk_fail(err, QK_ERR_DATA, "split the text, or use another tokenizer",
                           "normalizer: step %d makes too much of this text", i);
        *view = qk_traced_view(out);
        out = out == &m->a ? &m->b : &m->a;
    }
    return QK_OK;
}
