/* Pre-tokenizers. See pretokenize.h. */
#include "engine/tokenizer/pretokenize.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/bpe.h"

bool qk_pretokenizer_add(qk_pretokenizer *pre, qk_pre_step step)
{
    if (pre->count == QK_MAX_STEPS) {
        qk_pattern_free(step.pattern);
        return false;
    }
    pre->steps[pre->count++] = step;
    return true;
}

void qk_pretokenizer_free(qk_pretokenizer *pre)
{
    for (int i = 0; i < pre->count; i++) qk_pattern_free(pre->steps[i].pattern);
    *pre = (qk_pretokenizer){0};
}

void qk_pre_memory_free(qk_pre_memory *m)
{
    free(m->pieces.items);
    free(m->spare.items);
    free(m->cuts);
    qk_traced_free(&m->a);
    qk_traced_free(&m->b);
    qk_match_memory_free(&m->match);
    *m = (qk_pre_memory){0};
}

static void add_piece(qk_piece_list *list, uint32_t start, uint32_t end)
{
    if (start == end) return;
    QK_GROW(list->items, list->count, list->capacity);
    list->items[list->count++] = (qk_piece){start, end};
}

/* ---- Split ---- */

static void add_cut(qk_pre_memory *m, size_t start, size_t end, bool match)
{
    QK_GROW(m->cuts, m->cut_count, m->cut_capacity);
    m->cuts[m->cut_count++] = (struct qk_cut){{(uint32_t)start, (uint32_t)end}, match};
}

/* Matches and the text between them, in order. */
static qk_status find_cuts(const qk_pre_step *step, qk_pre_memory *m, qk_piece piece, qk_error *err)
{
    const uint8_t *text = m->view.text + piece.start;
    size_t length = piece.end - piece.start, done = 0, start, end;
    m->cut_count = 0;
    qk_matcher matcher;
    qk_matcher_begin(&matcher, step->pattern, &m->match, text, length);
    int rc;
    while ((rc = qk_matcher_next(&matcher, &start, &end)) == 1) {
        if (m->cut_count % QK_WORK_CHUNK == 1) QK_TRY(qk_interrupt_check(err));
        if (start > done) add_cut(m, piece.start + done, piece.start + start, step->invert);
        add_cut(m, piece.start + start, piece.start + end, !step->invert);
        done = end;
    }
    if (done < length) add_cut(m, piece.start + done, piece.end, step->invert);
    return rc == 0 ? QK_OK : qk_matcher_fail(&matcher, err);
}

/* Joins each match with its neighbour. Going backwards, "next" is "previous". */
static void join_matches(qk_pre_memory *m, bool with_next)
{
    size_t n = m->cut_count, kept = 0;
    bool previous = false;
    for (size_t k = 0; k < n; k++) {
        struct qk_cut cut = m->cuts[with_next ? n - 1 - k : k];
        struct qk_cut *last = !kept ? NULL : &m->cuts[with_next ? n - kept : kept - 1];
        bool join = cut.match && !previous && last;
        previous = cut.match;
        if (join && with_next)
            last->piece.start = cut.piece.start;
        else if (join)
            last->piece.end = cut.piece.end;
        else {
            kept++;
            m->cuts[with_next ? n - kept : kept - 1] = cut;
        }
    }
    if (with_next && kept) memmove(m->cuts, m->cuts + n - kept, kept * sizeof *m->cuts);
    m->cut_count = kept;
}

static void join_runs(qk_pre_memory *m)
{
    size_t kept = 0;
    for (size_t k = 0; k < m->cut_count; k++) {
        if (kept && m->cuts[kept - 1].match == m->cuts[k].match)
            m->cuts[kept - 1].piece.end = m->cuts[k].piece.end;
        else
            m->cuts[kept++] = m->cuts[k];
    }
    m->cut_count = kept;
}

static qk_status split_piece(const qk_pre_step *step, qk_pre_memory *m, qk_piece piece,
                             qk_error *err)
{
    qk_scan scan = qk_pattern_scanner(step->pattern);
    if (scan && step->behavior == QK_SPLIT_ISOLATED) {
        /* A scanner leaves nothing between its matches, so that no cut has to be judged. */
        const uint8_t *text = m->view.text + piece.start;
        uint32_t length = piece.end - piece.start;
        for (uint32_t at = 0, end; at < length; at = end) {
            end = (uint32_t)scan(text, length, at);
            if (m->spare.count % QK_WORK_CHUNK == 1 && qk_interrupted()) return QK_OK;
            add_piece(&m->spare, piece.start + at, piece.start + end);
        }
        return QK_OK;
    }
    QK_TRY(find_cuts(step, m, piece, err));
    if (step->behavior == QK_SPLIT_MERGED_WITH_PREVIOUS) join_matches(m, false);
    if (step->behavior == QK_SPLIT_MERGED_WITH_NEXT) join_matches(m, true);
    if (step->behavior == QK_SPLIT_CONTIGUOUS) join_runs(m);
    for (size_t i = 0; i < m->cut_count; i++)
        if (!(step->behavior == QK_SPLIT_REMOVED && m->cuts[i].match))
            add_piece(&m->spare, m->cuts[i].piece.start, m->cuts[i].piece.end);
    return QK_OK;
}

/* ---- steps that change the text ---- */

static void add_metaspaced(const qk_pre_step *step, qk_traced *out, qk_view piece, bool first)
{
    const uint8_t *text = piece.text;
    size_t n = strlen(step->replacement), done = 0;
    bool begins = text[0] == ' ' || (piece.length >= n && memcmp(text, step->replacement, n) == 0);
    bool prepend =
        step->prepend == QK_PREPEND_ALWAYS || (step->prepend == QK_PREPEND_FIRST && first);
    if (prepend && !begins) qk_traced_put(out, step->replacement, n, qk_view_span(piece, 0, 1));
    for (const uint8_t *at; (at = memchr(text + done, ' ', piece.length - done));) {
        size_t i = (size_t)(at - text);
        qk_traced_copy(out, piece, done, i);
        qk_traced_put(out, step->replacement, n, qk_view_span(piece, i, i + 1));
        done = i + 1;
    }
    qk_traced_copy(out, piece, done, piece.length);
}

void qk_traced_spell(qk_traced *out, qk_view piece)
{
    for (size_t i = 0; i < piece.length; i++) {
        uint8_t utf8[4];
        qk_traced_put(out, utf8, qk_byte_level_character(piece.text[i], utf8),
                      qk_view_span(piece, i, i + 1));
    }
}

static qk_status rewrite(const qk_pretokenizer *pre, const qk_pre_step *step, qk_pre_memory *m,
                         bool at_start, qk_error *err)
{
    qk_traced *out = m->view.text == m->a.text.data ? &m->b : &m->a;
    size_t limit = qk_work_max_length(m->length);
    qk_traced_begin(out, m->view);
    for (size_t i = 0; i < m->pieces.count; i++) {
        qk_piece p = m->pieces.items[i];
        qk_view piece = qk_view_part(m->view, p.start, p.end);
        size_t start = out->text.size;
        if (step->kind == QK_PRE_PREFIX) {
            if (piece.text[0] != ' ') qk_traced_put(out, " ", 1, qk_view_span(piece, 0, 1));
            qk_traced_copy(out, piece, 0, piece.length);
        } else if (step->kind == QK_PRE_SPELL) {
            qk_traced_spell(out, piece);
        } else {
            /* whether it begins where the raw text does */
            bool first = piece.raw_spans ? piece.raw_spans->start == 0 : at_start && !p.start;
            add_metaspaced(step, out, piece, first);
        }
        if (out->text.size > limit || out->text.size >= UINT32_MAX)
            return qk_fail(err, QK_ERR_DATA, "split the text, or use another tokenizer",
                           "pre_tokenizer: step %d makes more than %zu bytes of a text of %zu",
                           (int)(step - pre->steps), limit, m->length);
        if (i % QK_WORK_CHUNK == 1) QK_TRY(qk_interrupt_check(err));
        add_piece(&m->spare, (uint32_t)start, (uint32_t)out->text.size);
    }
    m->view = qk_traced_view(out);
    return QK_OK;
}

qk_status qk_pretokenize(const qk_pretokenizer *pre, qk_pre_memory *m, qk_view view, bool at_start,
                         qk_error *err)
{
    m->view = view;
    m->length = view.length;
    m->pieces.count = 0;
    add_piece(&m->pieces, 0, (uint32_t)view.length);
    for (int s = 0; s < pre->count; s++) {
        const qk_pre_step *step = &pre->steps[s];
        m->spare.count = 0;
        if (step->kind != QK_PRE_SPLIT) QK_TRY(rewrite(pre, step, m, at_start, err));
        for (size_t i = 0; step->kind == QK_PRE_SPLIT && i < m->pieces.count; i++)
            QK_TRY(split_piece(step, m, m->pieces.items[i], err));
        qk_piece_list swap = m->pieces;
        m->pieces = m->spare;
        m->spare = swap;
    }
    return QK_OK;
}
