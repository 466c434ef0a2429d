/* See capture.h. */
#include "engine/capture/capture.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/nonfinite.h"
#include "engine/capture/unit_file.h"
#include "engine/forward/forward.h"
#include "sampler/heads.h"

/* The rows of one (layer, kind), or of one head of it when masks are per head. */
typedef struct selection {
    const int32_t *heads;
    int32_t n_heads;
    qk_kind kind;
    int32_t *tokens, *positions, *buckets, *examples;
    int32_t *rows; /* packed token rows, for the kernel */
    size_t count, capacity;
    float *vectors; /* [n_heads, count, d] */
    size_t vector_capacity;
} selection;

/* What one layer gives away, from the request until its rows have arrived; reused. */
typedef struct layer_rows {
    int layer; /* -1: free */
    selection *selections;
    qk_row_copy *copies; /* one per selection, queries first */
    size_t n, capacity;
    qk_layer_capture request;
} layer_rows;

enum { IN_FLIGHT = 2 }; /* the layer that runs and the one whose rows are written */

struct qk_capture {
    qk_capture_plan plan;
    const qk_batch *batch;
    const qk_capture_example *examples; /* [batch->n_seq] */
    qk_unit_writer *unit;
    layer_rows layers[IN_FLIGHT];
    qk_sampled_rows drawn;
    uint64_t rows;
};

qk_capture *qk_capture_new(const qk_capture_plan *plan)
{
    qk_capture *c = qk_zalloc(1, sizeof *c);
    c->plan = *plan;
    return c;
}

void qk_capture_free(qk_capture *c)
{
    if (!c) return;
    for (int i = 0; i < IN_FLIGHT; i++) {
        layer_rows *l = &c->layers[i];
        for (selection *s = l->selections; s && s < l->selections + l->capacity; s++) {
            free(s->tokens);
            free(s->positions);
            free(s->buckets);
            free(s->examples);
            free(s->rows);
            free(s->vectors);
        }
        free(l->selections);
        free(l->copies);
    }
    qk_sampled_rows_free(&c->drawn);
    free(c);
}

void qk_capture_aim(qk_capture *c, const qk_batch *batch, const qk_capture_example *examples,
                    qk_unit_writer *unit)
{
    c->batch = batch;
    c->examples = examples;
    c->unit = unit;
    for (int i = 0; i < IN_FLIGHT; i++) c->layers[i].layer = -1;
}

uint64_t qk_capture_rows(const qk_capture *c)
{
    return c->rows;
}

static layer_rows *find_layer(qk_capture *c, int layer)
{
    for (int i = 0; i < IN_FLIGHT; i++)
        if (c->layers[i].layer == layer) return &c->layers[i];
    return NULL;
}

static selection *next_selection(layer_rows *l)
{
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 2;
        l->selections = qk_realloc(l->selections, capacity, sizeof *l->selections);
        l->copies = qk_realloc(l->copies, capacity, sizeof *l->copies);
        for (size_t i = l->capacity; i < capacity; i++) l->selections[i] = (selection){0};
        l->capacity = capacity;
    }
    selection *s = &l->selections[l->n++];
    s->count = 0;
    return s;
}

/* Appends the drawn rows of sequence i. */
static void append(const qk_capture *c, selection *s, int i)
{
    int32_t start = c->batch->seq_start[i];
    size_t wanted = s->count + (size_t)c->drawn.count;
    if (wanted > s->capacity) {
        if (!s->capacity) s->capacity = 1024;
        while (s->capacity < wanted) s->capacity *= 2;
        int32_t **arrays[] = {&s->tokens, &s->positions, &s->buckets, &s->examples, &s->rows};
        for (int a = 0; a < 5; a++)
            *arrays[a] = qk_realloc(*arrays[a], s->capacity, sizeof(int32_t));
    }
    for (int32_t r = 0; r < c->drawn.count; r++) {
        size_t at = s->count++;
        s->positions[at] = c->drawn.positions[r];
        s->buckets[at] = c->drawn.buckets[r];
        s->examples[at] = c->examples[i].ordinal;
        s->rows[at] = start + c->drawn.positions[r];
        s->tokens[at] = c->batch->ids[s->rows[at]];
    }
}

/* mask_head: -1 for the mask that all heads share. */
static void select_rows(qk_capture *c, layer_rows *l, qk_kind kind, const int32_t *heads, int32_t n,
                        int32_t mask_head)
{
    selection *s = next_selection(l);
    s->heads = heads;
    s->n_heads = n;
    s->kind = kind;
    for (int i = 0; i < c->batch->n_seq; i++) {
        qk_draw draw = {
            .example_id = c->examples[i].id,
            .layer = l->layer,
            .mask_head = mask_head,
            .first_head = heads[0],
            .kind = kind,
            .n_tokens = c->batch->seq_start[i + 1] - c->batch->seq_start[i],
        };
        qk_sampler_draw(&c->plan.sampler, &draw, &c->drawn);
        append(c, s, i);
    }
    size_t floats = (size_t)n * s->count * (size_t)c->plan.d;
    if (floats > s->vector_capacity) {
        free(s->vectors);
        s->vectors = qk_alloc(floats, sizeof(float));
        s->vector_capacity = floats;
    }
}

static void select_kind(qk_capture *c, layer_rows *l, qk_kind kind, const int32_t *heads, int32_t n)
{
    if (!n) return;
    if (!c->plan.per_head_masks) {
        select_rows(c, l, kind, heads, n, -1);
        return;
    }
    for (int32_t h = 0; h < n; h++) select_rows(c, l, kind, &heads[h], 1, heads[h]);
}

static const qk_layer_capture *request(void *context, int layer)
{
    qk_capture *c = context;
    const qk_layer_heads *heads = c->plan.heads->layers, *end = heads + c->plan.heads->n_layers;
    while (heads < end && heads->layer != layer) heads++;
    if (heads == end) return NULL;
    layer_rows *l = find_layer(c, -1);
    QK_ASSERT(l);
    l->layer = layer;
    l->n = 0;
    if (c->plan.queries) select_kind(c, l, QK_KIND_Q, heads->q, heads->n_q);
    size_t n_q = l->n;
    if (c->plan.keys) select_kind(c, l, QK_KIND_K, heads->k, heads->n_k);
    for (size_t i = 0; i < l->n; i++) {
        const selection *s = &l->selections[i];
        l->copies[i] = (qk_row_copy){.rows = s->rows,
                                     .heads = s->heads,
                                     .n_rows = s->count,
                                     .n_heads = (size_t)s->n_heads,
                                     .out = s->vectors};
    }
    l->request =
        (qk_layer_capture){.q = l->copies, .n_q = n_q, .k = l->copies + n_q, .n_k = l->n - n_q};
    return &l->request;
}

/* Says where the first NaN or infinity of a selection is, if there is one. */
static qk_status check_finite(const qk_capture *c, int layer, const selection *s, qk_error *err)
{
    size_t d = (size_t)c->plan.d, n = (size_t)s->n_heads * s->count * d;
    if (!qk_nonfinite_count(s->vectors, n, QK_F32, QK_F32)) return QK_OK;
    size_t at = qk_nonfinite_first(s->vectors, n, QK_F32, QK_F32), row = at / d % s->count;
    const qk_capture_example *e = c->examples;
    while (e->ordinal != s->examples[row]) e++; /* the sequence that the row comes from */
    const char *id = e->id_text;
    return qk_fail(err, QK_ERR_DATA,
                   "numbers overflow in this model: another model.dtype, or a damaged checkpoint; "
                   "capture.allow_nonfinite: true keeps such rows",
                   "layer %d, head %d, %s: example %lld%s%.80s%s, position %d: the vector holds %s",
                   layer, s->heads[at / d / s->count], s->kind == QK_KIND_Q ? "query" : "key",
                   (long long)e->index, id ? " (id '" : "", id ? id : "", id ? "')" : "",
                   s->positions[row], isnan(s->vectors[at]) ? "NaN" : "infinity");
}

static qk_status layer_done(void *context, int layer, qk_error *err)
{
    qk_capture *c = context;
    layer_rows *l = find_layer(c, layer);
    for (size_t i = 0; l && i < l->n; i++) {
        const selection *s = &l->selections[i];
        if (!c->plan.allow_nonfinite) QK_TRY(check_finite(c, layer, s, err));
        qk_unit_rows rows = {
            .layer = layer,
            .kind = s->kind,
            .heads = s->heads,
            .n_heads = s->n_heads,
            .rows = s->count,
            .tokens = s->tokens,
            .positions = s->positions,
            .buckets = s->buckets,
            .examples = s->examples,
            .vectors = s->vectors,
        };
        QK_TRY(qk_unit_add_rows(c->unit, &rows, err));
        c->rows += s->count * (uint64_t)s->n_heads;
    }
    if (l) l->layer = -1;
    return QK_OK;
}

qk_capture_hooks qk_capture_hooks_of(qk_capture *c)
{
    return (qk_capture_hooks){
        .context = c,
        .pre_rope = c->plan.pre_rope ? request : NULL,
        .post_rope = c->plan.pre_rope ? NULL : request,
        .layer_done = layer_done,
    };
}
