/* See capture.h. */
#include "engine/capture.h"

#include <stdlib.h>

/* The rows of one (layer, kind), or of one head of it when masks are per head. */
typedef struct selection {
    const int32_t *heads;
    int32_t n_heads;
    qk_kind kind;
    int32_t *tokens, *positions, *buckets, *examples;
    int32_t *rows; /* packed token rows, for the kernel */
    size_t count, capacity;
    float *vectors; /* [n_heads, count, d] */
    size_t vector_room;
} selection;

struct qk_capture {
    qk_capture_plan plan;
    const qk_batch *batch;
    const int64_t *ids;
    const int32_t *ordinals;
    qk_unit_writer *unit;
    selection *selections; /* of the layer that runs now; reused */
    qk_row_copy *copies;   /* one per selection, queries first */
    size_t n_selections, room;
    qk_layer_capture request;
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
    for (size_t i = 0; i < c->room; i++) {
        selection *s = &c->selections[i];
        free(s->tokens);
        free(s->positions);
        free(s->buckets);
        free(s->examples);
        free(s->rows);
        free(s->vectors);
    }
    free(c->selections);
    free(c->copies);
    qk_sampled_rows_free(&c->drawn);
    free(c);
}

void qk_capture_aim(qk_capture *c, const qk_batch *batch, const int64_t *ids,
                    const int32_t *ordinals, qk_unit_writer *unit)
{
    c->batch = batch;
    c->ids = ids;
    c->ordinals = ordinals;
    c->unit = unit;
}

uint64_t qk_capture_rows(const qk_capture *c)
{
    return c->rows;
}

static selection *next_selection(qk_capture *c)
{
    if (c->n_selections == c->room) {
        size_t room = c->room ? 2 * c->room : 2;
        c->selections = qk_realloc(c->selections, room, sizeof *c->selections);
        c->copies = qk_realloc(c->copies, room, sizeof *c->copies);
        for (size_t i = c->room; i < room; i++) c->selections[i] = (selection){0};
        c->room = room;
    }
    selection *s = &c->selections[c->n_selections++];
    s->count = 0;
    return s;
}

static void grow(selection *s, size_t wanted)
{
    if (wanted <= s->capacity) return;
    size_t capacity = s->capacity ? s->capacity : 1024;
    while (capacity < wanted) capacity *= 2;
    int32_t **arrays[] = {&s->tokens, &s->positions, &s->buckets, &s->examples, &s->rows};
    for (int i = 0; i < 5; i++) *arrays[i] = qk_realloc(*arrays[i], capacity, sizeof(int32_t));
    s->capacity = capacity;
}

/* Appends the drawn rows of sequence i. */
static void append(const qk_capture *c, selection *s, int i)
{
    int32_t start = c->batch->seq_start[i];
    grow(s, s->count + (size_t)c->drawn.count);
    for (int32_t r = 0; r < c->drawn.count; r++) {
        size_t at = s->count++;
        s->positions[at] = c->drawn.positions[r];
        s->buckets[at] = c->drawn.buckets[r];
        s->examples[at] = c->ordinals[i];
        s->rows[at] = start + c->drawn.positions[r];
        s->tokens[at] = c->batch->ids[s->rows[at]];
    }
}

/* mask_head: -1 for the mask that all heads share. */
static void select_rows(qk_capture *c, int layer, qk_kind kind, const int32_t *heads, int32_t n,
                        int32_t mask_head)
{
    selection *s = next_selection(c);
    s->heads = heads;
    s->n_heads = n;
    s->kind = kind;
    for (int i = 0; i < c->batch->n_seq; i++) {
        qk_draw draw = {
            .example_id = c->ids[i],
            .layer = layer,
            .mask_head = mask_head,
            .first_head = heads[0],
            .kind = kind,
            .n_tokens = c->batch->seq_start[i + 1] - c->batch->seq_start[i],
        };
        qk_sampler_draw(&c->plan.sampler, &draw, &c->drawn);
        append(c, s, i);
    }
    size_t floats = (size_t)n * s->count * (size_t)c->plan.d;
    if (floats > s->vector_room) {
        free(s->vectors);
        s->vectors = qk_alloc(floats, sizeof(float));
        s->vector_room = floats;
    }
}

static void select_kind(qk_capture *c, int layer, qk_kind kind, const int32_t *heads, int32_t n)
{
    if (!n) return;
    if (!c->plan.per_head_masks) {
        select_rows(c, layer, kind, heads, n, -1);
        return;
    }
    for (int32_t h = 0; h < n; h++) select_rows(c, layer, kind, &heads[h], 1, heads[h]);
}

static const qk_layer_heads *heads_of_layer(const qk_capture *c, int layer)
{
    for (int32_t i = 0; i < c->plan.heads->n_layers; i++)
        if (c->plan.heads->layers[i].layer == layer) return &c->plan.heads->layers[i];
    return NULL;
}

static const qk_layer_capture *request(void *context, int layer)
{
    qk_capture *c = context;
    c->n_selections = 0;
    const qk_layer_heads *heads = heads_of_layer(c, layer);
    if (!heads) return NULL;
    if (c->plan.queries) select_kind(c, layer, QK_KIND_Q, heads->q, heads->n_q);
    size_t n_q = c->n_selections;
    if (c->plan.keys) select_kind(c, layer, QK_KIND_K, heads->k, heads->n_k);
    for (size_t i = 0; i < c->n_selections; i++) {
        const selection *s = &c->selections[i];
        c->copies[i] = (qk_row_copy){.rows = s->rows,
                                     .heads = s->heads,
                                     .n_rows = s->count,
                                     .n_heads = (size_t)s->n_heads,
                                     .out = s->vectors};
    }
    c->request = (qk_layer_capture){
        .q = c->copies, .n_q = n_q, .k = c->copies + n_q, .n_k = c->n_selections - n_q};
    return &c->request;
}

static qk_status layer_done(void *context, int layer, qk_error *err)
{
    qk_capture *c = context;
    for (size_t i = 0; i < c->n_selections; i++) {
        const selection *s = &c->selections[i];
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
    c->n_selections = 0;
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
