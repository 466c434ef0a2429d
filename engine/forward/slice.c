/* See slice.h. Needed rows are sets of bits, one for each layer, made from the last layer down; the
 * forward then asks for the lists of one layer after another.
 *
 * next: engine/forward/cost.c */
#include "engine/forward/slice.h"

#include <stdlib.h>
#include <string.h>

#include "engine/families/family.h"
#include "engine/forward/row_set.h"

/* Moving a row costs about this part of computing it in one layer: 4 D bytes read and written
 * against 20 D^2 operations, at D = 576; less in wider models. */
enum { MOVES_WORTH_A_ROW = 32 };

/* The copies of one stage, with their rows mapped. */
typedef struct mapped {
    qk_layer_capture capture;
    qk_row_copy *copies;
    int32_t *rows;
    size_t n_copies, n_rows; /* room for so many */
} mapped;

struct qk_slice {
    qk_slice_model model;
    const qk_batch *batch;
    bool whole;
    size_t T, words;
    uint64_t *need;    /* [n_layers + 1, words] R_l */
    uint64_t *attends; /* [n_layers, words] Q_l */
    size_t need_room, token_room, seq_room;
    /* of the layer that was asked for last; n rows: */
    bool begun;
    qk_layer_rows now;
    int32_t *tokens, *index_of, *keep; /* index_of [T]: the row of a token that is there */
    int32_t *seq_start;                /* [2 n_seq + 2] */
    uint8_t *wanted;
    mapped stages[2];
};

qk_slice *qk_slice_new(void)
{
    return qk_zalloc(1, sizeof(qk_slice));
}

void qk_slice_free(qk_slice *s)
{
    if (!s) return;
    free(s->need);
    free(s->attends);
    free(s->tokens);
    free(s->index_of);
    free(s->keep);
    free(s->seq_start);
    free(s->wanted);
    for (int i = 0; i < 2; i++) {
        free(s->stages[i].copies);
        free(s->stages[i].rows);
    }
    free(s);
}

bool qk_slice_is_whole(const qk_slice *s)
{
    return s->whole;
}

static uint64_t *need_of(const qk_slice *s, int l)
{
    return s->need + (size_t)l * s->words;
}

static uint64_t *attends_of(const qk_slice *s, int l)
{
    return s->attends + (size_t)l * s->words;
}

/* ---- the plan ---- */

static void reserve(qk_slice *s)
{
    size_t layers = (size_t)s->model.n_layers + 1, n_seq = (size_t)s->batch->n_seq;
    if (layers * s->words > s->need_room) {
        s->need_room = layers * s->words;
        s->need = qk_realloc(s->need, s->need_room, sizeof *s->need);
        s->attends = qk_realloc(s->attends, s->need_room, sizeof *s->attends);
    }
    if (s->T > s->token_room) {
        int32_t **lists[] = {&s->tokens, &s->index_of, &s->keep};
        s->token_room = s->T;
        for (int i = 0; i < 3; i++) *lists[i] = qk_realloc(*lists[i], s->T, sizeof(int32_t));
        s->wanted = qk_realloc(s->wanted, s->T, 1);
    }
    if (2 * n_seq + 2 > s->seq_room) {
        s->seq_room = 2 * n_seq + 2;
        s->seq_start = qk_realloc(s->seq_start, s->seq_room, sizeof *s->seq_start);
    }
    memset(s->need, 0, layers * s->words * sizeof *s->need);
    memset(s->attends, 0, layers * s->words * sizeof *s->attends);
}

/* Of sequence i in layer l, the rows from the first key to the last query that somebody wants: first
 * .. last. False: there is no such query. */
static bool range_of(const qk_slice *s, int l, int i, size_t *first, size_t *last)
{
    size_t begin = (size_t)s->batch->seq_start[i], end = (size_t)s->batch->seq_start[i + 1];
    size_t window = (size_t)s->model.spec->layer[l].window, query;
    if (!qk_row_span(attends_of(s, l), begin, end, &query, last)) return false;
    size_t key = window && query - begin >= window ? query - begin - window + 1 : 0;
    *first = begin + key / QK_SLICE_STEP * QK_SLICE_STEP;
    return true;
}

static void plan_layer(qk_slice *s, int l, const qk_capture_hooks *hooks)
{
    uint64_t *rows = need_of(s, l), *queries = attends_of(s, l);
    const uint64_t *after = need_of(s, l + 1);
    if (s->model.spec->layer[l].absent) {
        memcpy(rows, after, s->words * sizeof *rows);
        return;
    }
    hooks->wanted(hooks->context, l, rows, queries);
    for (size_t w = 0; w < s->words; w++) queries[w] |= after[w];
    for (int i = 0; i < s->batch->n_seq; i++) {
        size_t first, last;
        if (range_of(s, l, i, &first, &last)) qk_row_add_range(rows, first, last + 1);
    }
}

void qk_slice_plan(qk_slice *s, const qk_slice_model *model, const qk_batch *batch,
                   const qk_capture_hooks *hooks)
{
    s->model = *model;
    s->batch = batch;
    s->T = (size_t)batch->seq_start[batch->n_seq];
    s->words = qk_row_words(s->T);
    s->whole = !hooks->wanted;
    s->begun = false;
    reserve(s);
    if (s->whole) {
        for (int l = 0; l <= model->n_layers; l++) qk_row_add_range(need_of(s, l), 0, s->T);
        for (int l = 0; l < model->n_layers; l++) qk_row_add_range(attends_of(s, l), 0, s->T);
        return;
    }
    for (int l = model->n_layers - 1; l >= 0; l--) plan_layer(s, l, hooks);
}

size_t qk_slice_rows(const qk_slice *s)
{
    return qk_row_count(need_of(s, 0), 0, s->T);
}

const int32_t *qk_slice_ids(qk_slice *s)
{
    size_t n = 0;
    for (size_t t = 0; t < s->T; t++)
        if (qk_row_in(need_of(s, 0), t)) s->keep[n++] = s->batch->ids[t];
    return s->keep; /* no layer has asked for it yet */
}

/* ---- how much it is ---- */

const qk_slice_model *qk_slice_model_of(const qk_slice *s)
{
    return &s->model;
}

/* The queries of sequence i. */
static void add_queries(const qk_slice *s, int l, int i, qk_slice_size *size)
{
    enum { GAP = 8 };
    size_t begin = (size_t)s->batch->seq_start[i], end = (size_t)s->batch->seq_start[i + 1];
    size_t window = (size_t)s->model.spec->layer[l].window;
    bool cut = window && window < end - begin;
    for (size_t t = begin, last = end; t < end; t++) {
        if (!qk_row_in(attends_of(s, l), t)) continue;
        size_t from = last < t && t - last <= GAP ? last + 1 : t;
        double n = (double)(t + 1 - from);
        if (cut)
            size->windowed += n * (double)window;
        else
            size->pairs += n * ((double)(from - begin) + (double)(t - begin) + 2) / 2;
        last = t;
    }
}

qk_slice_size qk_slice_size_of(const qk_slice *s, int l)
{
    qk_slice_size size = {.enter = (double)qk_row_count(need_of(s, l), 0, s->T),
                          .leave = (double)qk_row_count(need_of(s, l + 1), 0, s->T)};
    for (int i = 0; i < s->batch->n_seq; i++) add_queries(s, l, i, &size);
    return size;
}

/* ---- the lists of a layer ---- */

static void list_tokens(qk_slice *s, int l)
{
    qk_layer_rows *now = &s->now;
    size_t n = 0;
    if (s->begun)
        for (; n < now->n_keep; n++) s->tokens[n] = s->tokens[s->keep[n]];
    else
        for (size_t t = 0; t < s->T; t++)
            if (qk_row_in(need_of(s, l), t)) s->tokens[n++] = (int32_t)t;
    for (size_t i = 0; i < n; i++) s->index_of[s->tokens[i]] = (int32_t)i;
    s->begun = true;
    *now = (qk_layer_rows){.n = n, .tokens = s->tokens};
}

/* What is no part of a sequence's range becomes sequences of its own, in which nobody wants a query. */
static void list_sequences(qk_slice *s, int l)
{
    qk_layer_rows *now = &s->now;
    int32_t at = 0;
    int n = 0;
    for (int i = 0; i < s->batch->n_seq; i++) {
        size_t first, last;
        if (!range_of(s, l, i, &first, &last)) continue;
        int32_t begin = s->index_of[first], end = s->index_of[last] + 1;
        QK_ASSERT((size_t)(end - begin) == last + 1 - first);
        if (begin > at) s->seq_start[n++] = at;
        s->seq_start[n++] = begin;
        at = end;
    }
    if ((size_t)at < now->n) s->seq_start[n++] = at;
    s->seq_start[n] = (int32_t)now->n;
    now->seq_start = s->seq_start;
    now->n_seq = n;
}

static void list_queries(qk_slice *s, int l)
{
    qk_layer_rows *now = &s->now;
    size_t wanted = 0;
    for (size_t i = 0; i < now->n; i++)
        wanted += s->wanted[i] = qk_row_in(attends_of(s, l), (size_t)s->tokens[i]);
    now->attends = wanted > 0;
    now->wanted = wanted < now->n ? s->wanted : NULL;
}

static void list_kept(qk_slice *s, int l)
{
    qk_layer_rows *now = &s->now;
    size_t n = 0, in_place = 0;
    for (size_t i = 0; i < now->n; i++) {
        if (!qk_row_in(need_of(s, l + 1), (size_t)s->tokens[i])) continue;
        in_place += i == n;
        s->keep[n++] = (int32_t)i;
    }
    now->moves = in_place < n;
    if (n - in_place > MOVES_WORTH_A_ROW * (now->n - n)) {
        for (n = 0; n < now->n; n++) s->keep[n] = (int32_t)n;
        now->moves = false;
    }
    now->keep = s->keep;
    now->n_keep = n;
}

const qk_layer_rows *qk_slice_layer(qk_slice *s, int l)
{
    list_tokens(s, l);
    list_sequences(s, l);
    list_queries(s, l);
    list_kept(s, l);
    return &s->now;
}

/* ---- captured rows ---- */

static void make_room(mapped *m, const qk_layer_capture *c)
{
    const qk_row_copy *const lists[] = {c->q, c->k, c->v};
    const size_t counts[] = {c->n_q, c->n_k, c->n_v};
    size_t copies = c->n_q + c->n_k + c->n_v, rows = 0;
    for (int kind = 0; kind < 3; kind++)
        for (size_t i = 0; i < counts[kind]; i++) rows += lists[kind][i].n_rows;
    if (copies > m->n_copies) {
        m->n_copies = copies;
        m->copies = qk_realloc(m->copies, copies, sizeof *m->copies);
    }
    if (rows > m->n_rows) {
        m->n_rows = rows;
        m->rows = qk_realloc(m->rows, rows, sizeof *m->rows);
    }
}

/* n copies at `to`, their rows at *rows, which moves on. */
static const qk_row_copy *map_copies(const qk_slice *s, qk_row_copy *to, int32_t **rows,
                                     const qk_row_copy *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].rows = *rows;
        for (size_t r = 0; r < from[i].n_rows; r++) {
            int32_t token = from[i].rows[r], row = s->index_of[token];
            QK_ASSERT((size_t)row < s->now.n && s->tokens[row] == token);
            *(*rows)++ = row;
        }
    }
    return to;
}

const qk_layer_capture *qk_slice_capture(qk_slice *s, int stage, const qk_layer_capture *c)
{
    if (!c || s->now.n == s->T) return c;
    mapped *m = &s->stages[stage];
    make_room(m, c);
    int32_t *rows = m->rows;
    m->capture = *c;
    m->capture.q = map_copies(s, m->copies, &rows, c->q, c->n_q);
    m->capture.k = map_copies(s, m->copies + c->n_q, &rows, c->k, c->n_k);
    m->capture.v = map_copies(s, m->copies + c->n_q + c->n_k, &rows, c->v, c->n_v);
    return &m->capture;
}
