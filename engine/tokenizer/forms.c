/* Normalisation forms. See forms.h. */
#include "engine/tokenizer/forms.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/unicode.h"

/* Hangul syllables by arithmetic (Unicode, section 3.12). */
enum {
    HANGUL_S = 0xAC00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11A7,
    L_COUNT = 19,
    V_COUNT = 21,
    T_COUNT = 28,
    S_COUNT = L_COUNT * V_COUNT * T_COUNT
};

static bool composes(qk_form form)
{
    return form == QK_NFC || form == QK_NFKC;
}

static bool is_compat(qk_form form)
{
    return form == QK_NFKC || form == QK_NFKD;
}

uint8_t *qk_form_make_table(qk_form form)
{
    uint8_t *t = qk_zalloc(QK_MAX_CODE_POINT + 1, 1);
    for (size_t i = 0; i < qk_decomposition_count; i++)
        t[qk_decompositions[i].code] = QK_FORM_MAYBE;
    for (size_t i = 0; form == QK_NFC && i < qk_composition_count; i++)
        t[qk_compositions[i].composed] = 0; /* composes to itself again */
    for (size_t i = 0; is_compat(form) && i < qk_compat_count; i++)
        t[qk_compats[i].code] = QK_FORM_MAYBE;
    for (size_t i = 0; composes(form) && i < qk_composition_count; i++)
        t[qk_compositions[i].second] = QK_FORM_MAYBE;
    if (composes(form)) {
        memset(t + HANGUL_V, QK_FORM_MAYBE, V_COUNT);
        memset(t + HANGUL_T + 1, QK_FORM_MAYBE, T_COUNT - 1);
    } else {
        memset(t + HANGUL_S, QK_FORM_MAYBE, S_COUNT);
    }
    for (size_t i = 0; i < qk_mark_range_count; i++) {
        const qk_mark_range *r = &qk_mark_ranges[i];
        memset(t + r->lo, r->ccc, r->hi - r->lo + 1);
    }
    return t;
}

void qk_form_memory_free(qk_form_memory *m)
{
    free(m->codes);
    free(m->spare);
    *m = (qk_form_memory){0};
}

/* ---- decomposition ---- */

static void add_code(qk_form_memory *m, uint32_t code, qk_raw_span raw)
{
    QK_GROW(m->codes, m->count, m->capacity);
    m->codes[m->count++] = (struct qk_form_code){code, raw};
}

/* Tables are sorted by the code point that each entry begins with. */
static int by_code(const void *code, const void *entry)
{
    uint32_t a = *(const uint32_t *)code, b = *(const uint32_t *)entry;
    return a < b ? -1 : a > b;
}

/* Where pairs are composed, Hangul syllables stay whole: they would only be composed again. */
static void decompose(qk_form form, qk_form_memory *m, uint32_t code, qk_raw_span raw)
{
    uint32_t s = code - HANGUL_S;
    if (s < S_COUNT && !composes(form)) {
        add_code(m, HANGUL_L + s / (V_COUNT * T_COUNT), raw);
        add_code(m, HANGUL_V + s / T_COUNT % V_COUNT, raw);
        if (s % T_COUNT) add_code(m, HANGUL_T + s % T_COUNT, raw);
        return;
    }
    const qk_compat *k =
        is_compat(form) ? bsearch(&code, qk_compats, qk_compat_count, sizeof *k, by_code) : NULL;
    const qk_decomposition *d =
        k ? NULL : bsearch(&code, qk_decompositions, qk_decomposition_count, sizeof *d, by_code);
    for (int i = 0; k && i < k->count; i++) add_code(m, qk_compat_parts[k->at + i], raw);
    for (int i = 0; d && i < 4 && d->parts[i]; i++) add_code(m, d->parts[i], raw);
    if (!k && !d) add_code(m, code, raw);
}

/* ---- order ---- */

static uint8_t class_of(const uint8_t *table, uint32_t code)
{
    return table[code] == QK_FORM_MAYBE ? 0 : table[code];
}

static void sort_short(const uint8_t *table, struct qk_form_code *marks, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct qk_form_code mark = marks[i];
        size_t j = i;
        for (; j > 0 && table[marks[j - 1].code] > table[mark.code]; j--) marks[j] = marks[j - 1];
        marks[j] = mark;
    }
}

/* Counting sort: a text may be one endless run of marks. */
static void sort_long(const uint8_t *table, qk_form_memory *m, struct qk_form_code *marks, size_t n)
{
    size_t starts[257] = {0};
    if (n > m->spare_capacity) {
        m->spare = qk_realloc(m->spare, n, sizeof *m->spare);
        m->spare_capacity = n;
    }
    for (size_t i = 0; i < n; i++) starts[table[marks[i].code] + 1]++;
    for (int c = 0; c < 256; c++) starts[c + 1] += starts[c];
    for (size_t i = 0; i < n; i++) m->spare[starts[table[marks[i].code]]++] = marks[i];
    memcpy(marks, m->spare, n * sizeof *marks);
}

static void sort_marks(const uint8_t *table, qk_form_memory *m)
{
    for (size_t i = 0; i < m->count;) {
        size_t begin = i;
        while (i < m->count && class_of(table, m->codes[i].code)) i++;
        if (i - begin > 32)
            sort_long(table, m, m->codes + begin, i - begin);
        else
            sort_short(table, m->codes + begin, i - begin);
        if (i == begin) i++;
    }
}

/* ---- composition ---- */

static int by_pair(const void *x, const void *y)
{
    const qk_composition *a = x, *b = y;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->second < b->second ? -1 : a->second > b->second;
}

/* The character that a pair composes to, or 0. */
static uint32_t compose_pair(uint32_t a, uint32_t b)
{
    if (a - HANGUL_L < L_COUNT && b - HANGUL_V < V_COUNT)
        return HANGUL_S + ((a - HANGUL_L) * V_COUNT + (b - HANGUL_V)) * T_COUNT;
    if (a - HANGUL_S < S_COUNT && (a - HANGUL_S) % T_COUNT == 0 && b - HANGUL_T - 1 < T_COUNT - 1)
        return a + (b - HANGUL_T);
    const qk_composition pair = {.first = a, .second = b};
    const qk_composition *c =
        bsearch(&pair, qk_compositions, qk_composition_count, sizeof *c, by_pair);
    return c ? c->composed : 0;
}

/* A character composes with the last starter unless one between them has its class or a higher. */
static void compose(const uint8_t *table, qk_form_memory *m)
{
    size_t kept = 0, starter = SIZE_MAX;
    uint8_t last = 0; /* class of the last kept character behind the starter, 0: none */
    for (size_t i = 0; i < m->count; i++) {
        struct qk_form_code c = m->codes[i];
        uint8_t ccc = class_of(table, c.code);
        bool blocked = starter == SIZE_MAX || (last && last >= ccc);
        uint32_t joined = blocked ? 0 : compose_pair(m->codes[starter].code, c.code);
        if (joined) {
            struct qk_form_code *to = &m->codes[starter];
            to->code = joined;
            if (c.raw.end > to->raw.end) to->raw.end = c.raw.end;
            continue;
        }
        if (!ccc) starter = kept;
        last = ccc;
        m->codes[kept++] = c;
    }
    m->count = kept;
}

/* ---- stretches ---- */

bool qk_form_is_plain(const uint8_t *table, const uint8_t *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        uint32_t code;
        i += qk_code_at(text + i, length - i, &code);
        if (table[code]) return false;
    }
    return true;
}

void qk_form_apply(qk_form form, const uint8_t *table, qk_form_memory *m, qk_view view,
                   qk_traced *out)
{
    const uint8_t *text = view.text;
    size_t length = view.length, copied = 0, last_safe = 0;
    m->count = 0;
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t step = qk_code_at(text + i, length - i, &code);
        if (!table[code]) {
            last_safe = i;
            i += step;
            continue;
        }
        /* A stretch: from a safe character to the next one. */
        qk_traced_copy(out, view, copied, last_safe);
        for (i = last_safe; i < length; i += step) {
            step = qk_code_at(text + i, length - i, &code);
            if (i > last_safe && !table[code]) break;
            decompose(form, m, code, qk_view_span(view, i, i + 1));
        }
        /* Where the stretch begins with marks, what comes first keeps the start of the stretch as
         * its raw span, whatever mark that is. */
        uint32_t start = m->codes[0].raw.start;
        sort_marks(table, m);
        m->codes[0].raw.start = start;
        if (composes(form)) compose(table, m);
        for (size_t k = 0; k < m->count; k++) {
            uint8_t utf8[4];
            qk_traced_put(out, utf8, qk_utf8_encode(m->codes[k].code, utf8), m->codes[k].raw);
        }
        m->count = 0;
        copied = last_safe = i;
    }
    qk_traced_copy(out, view, copied, length);
}
