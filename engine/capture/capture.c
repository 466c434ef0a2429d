/* See capture.h. */
#include "engine/capture/capture.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/nonfinite.h"
#include "engine/capture/unit_file.h"
#include "engine/capture/unit_queue.h"
#include "engine/forward/forward.h"
#include "engine/forward/row_set.h"
#include "sampler/heads.h"

/* Where a layer gives its rows away. */
typedef enum stage { BEFORE_ROPE, AFTER_ROPE, STAGES } stage;

/* The kinds in the order in which the lists of qk_layer_capture follow each other. */
static const struct source {
    qk_kind kind;
    stage stage;       /* after RoPE: of queries and keys before it in a run of that state alone */
    const char *title; /* for messages */
} sources[QK_KINDS] = {
    {QK_KIND_Q, AFTER_ROPE, "query"}, {QK_KIND_Q_PRE, BEFORE_ROPE, "query before RoPE"},
    {QK_KIND_K, AFTER_ROPE, "key"},   {QK_KIND_K_PRE, BEFORE_ROPE, "key before RoPE"},
    {QK_KIND_V, AFTER_ROPE, "value"},
};

/* The rows of one (layer, kind), or of one head of it when masks are per head. */
typedef struct selection {
    const struct source *source;
    const int32_t *heads;
    int32_t n_heads;
    int32_t *tokens, *positions, *buckets, *examples;
    int32_t *rows; /* packed token rows, for the kernel */
    size_t count, capacity;
    float *vectors; /* [n_heads, count, d] */
    float *lse;     /* [n_heads, count], behind the vectors, or NULL */
    size_t float_capacity;
} selection;

/* What one layer gives away at one stage, from the request until its rows have arrived; reused. */
typedef struct stage_rows {
    selection *selections;
    qk_row_copy *copies; /* one per selection */
    size_t n, capacity;
    qk_layer_capture request;
} stage_rows;

/* The rows of one layer: taken by the forward, then the writer's until its job has ended. */
typedef struct layer_rows {
    int layer;
    bool taking; /* from the first request to layer_done */
    int64_t job; /* that wrote them last; 0: none yet */
    const qk_capture_plan *plan;
    qk_unit_writer *unit;
    stage_rows stages[STAGES];
} layer_rows;

struct qk_capture {
    qk_capture_plan plan;
    bool takes[STAGES];
    const qk_batch *batch;
    const qk_capture_example *examples; /* [batch->n_seq] */
    qk_unit_writer *unit;
    qk_unit_queue *queue;
    layer_rows *layers; /* [plan.buffers] */
    qk_sampled_rows drawn;
    uint64_t rows;
};

/* Values have no state before RoPE. */
static stage stage_of(const qk_capture *c, const struct source *from)
{
    return c->plan.pre_rope && from->kind != QK_KIND_V ? BEFORE_ROPE : from->stage;
}

qk_capture *qk_capture_new(const qk_capture_plan *plan)
{
    qk_capture *c = qk_zalloc(1, sizeof *c);
    c->plan = *plan;
    c->layers = qk_zalloc((size_t)plan->buffers, sizeof *c->layers);
    for (int i = 0; i < QK_KINDS; i++)
        for (int32_t l = 0; l < plan->heads->n_layers; l++) {
            const int32_t *heads;
            if (qk_head_plan_heads(plan->heads, &plan->heads->layers[l], sources[i].kind, &heads))
                c->takes[stage_of(c, &sources[i])] = true;
        }
    return c;
}

static void free_stage(stage_rows *r)
{
    for (selection *s = r->selections; s && s < r->selections + r->capacity; s++) {
        free(s->tokens);
        free(s->positions);
        free(s->buckets);
        free(s->examples);
        free(s->rows);
        free(s->vectors);
    }
    free(r->selections);
    free(r->copies);
}

void qk_capture_free(qk_capture *c)
{
    if (!c) return;
    for (int i = 0; i < c->plan.buffers; i++)
        for (int k = 0; k < STAGES; k++) free_stage(&c->layers[i].stages[k]);
    free(c->layers);
    qk_sampled_rows_free(&c->drawn);
    free(c);
}

void qk_capture_aim(qk_capture *c, const qk_batch *batch, const qk_capture_example *examples,
                    qk_unit_writer *unit, qk_unit_queue *queue)
{
    c->batch = batch;
    c->examples = examples;
    c->unit = unit;
    c->queue = queue;
    for (int i = 0; i < c->plan.buffers; i++) c->layers[i].taking = false;
}

uint64_t qk_capture_rows(const qk_capture *c)
{
    return c->rows;
}

static layer_rows *find_layer(qk_capture *c, int layer)
{
    for (int i = 0; i < c->plan.buffers; i++)
        if (c->layers[i].taking && c->layers[i].layer == layer) return &c->layers[i];
    return NULL;
}

/* Buffers for the rows of a layer: of those that the forward does not fill, the ones that were handed
 * over first. Where they are not written yet, the forward waits here. */
static layer_rows *begin_layer(qk_capture *c, int layer)
{
    layer_rows *first = NULL;
    for (layer_rows *l = c->layers; l < c->layers + c->plan.buffers; l++)
        if (!l->taking && (!first || l->job < first->job)) first = l;
    QK_ASSERT(first);
    qk_unit_queue_wait(c->queue, first->job);
    first->taking = true;
    first->layer = layer;
    first->plan = &c->plan;
    first->unit = c->unit;
    for (int i = 0; i < STAGES; i++) first->stages[i].n = 0;
    return first;
}

static selection *next_selection(stage_rows *r)
{
    if (r->n == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 4;
        r->selections = qk_realloc(r->selections, capacity, sizeof *r->selections);
        r->copies = qk_realloc(r->copies, capacity, sizeof *r->copies);
        for (size_t i = r->capacity; i < capacity; i++) r->selections[i] = (selection){0};
        r->capacity = capacity;
    }
    selection *s = &r->selections[r->n++];
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

static void reserve_floats(const qk_capture *c, selection *s)
{
    bool lse = c->plan.lse && s->source->kind == QK_KIND_Q;
    size_t rows = (size_t)s->n_heads * s->count, vectors = rows * (size_t)c->plan.d;
    size_t floats = vectors + (lse ? rows : 0);
    if (floats > s->float_capacity) {
        free(s->vectors);
        s->vectors = qk_alloc(floats, sizeof(float));
        s->float_capacity = floats;
    }
    s->lse = lse && rows ? s->vectors + vectors : NULL;
}

/* The rows of sequence i. mask_head: -1 for the mask that all heads share. */
static void draw_rows(qk_capture *c, int layer, qk_kind kind, int32_t first_head, int32_t mask_head,
                      int i)
{
    qk_kind drawn_as = qk_kind_drawn_as(kind);
    qk_draw draw = {
        .example_id = c->examples[i].id,
        .layer = layer,
        .mask_head = mask_head,
        .first_head = first_head,
        .kind = drawn_as,
        .n_tokens = c->batch->seq_start[i + 1] - c->batch->seq_start[i],
    };
    qk_sampler_draw(drawn_as == QK_KIND_Q ? &c->plan.sampler : &c->plan.key_sampler, &draw,
                    &c->drawn);
}

static void select_rows(qk_capture *c, int layer, stage_rows *r, const struct source *from,
                        const int32_t *heads, int32_t n, int32_t mask_head)
{
    selection *s = next_selection(r);
    s->source = from;
    s->heads = heads;
    s->n_heads = n;
    for (int i = 0; i < c->batch->n_seq; i++) {
        draw_rows(c, layer, from->kind, heads[0], mask_head, i);
        append(c, s, i);
    }
    reserve_floats(c, s);
}

static const qk_layer_heads *find_heads(const qk_capture *c, int layer)
{
    const qk_layer_heads *heads = c->plan.heads->layers, *end = heads + c->plan.heads->n_layers;
    while (heads < end && heads->layer != layer) heads++;
    return heads < end ? heads : NULL;
}

static const qk_layer_capture *request(qk_capture *c, int layer, stage at)
{
    const qk_layer_heads *of_layer = find_heads(c, layer);
    if (!of_layer) return NULL;
    layer_rows *l = find_layer(c, layer);
    if (!l) l = begin_layer(c, layer);
    stage_rows *r = &l->stages[at];
    size_t ends[QK_KINDS]; /* where the selections of each source end */
    for (int i = 0; i < QK_KINDS; i++) {
        const int32_t *heads;
        const struct source *from = &sources[i];
        int32_t n = stage_of(c, from) == at
                        ? qk_head_plan_heads(c->plan.heads, of_layer, from->kind, &heads)
                        : 0;
        if (n && !c->plan.per_head_masks) select_rows(c, layer, r, from, heads, n, -1);
        for (int32_t h = 0; h < n && c->plan.per_head_masks; h++)
            select_rows(c, layer, r, from, &heads[h], 1, heads[h]);
        ends[i] = r->n;
    }
    for (size_t i = 0; i < r->n; i++) {
        const selection *s = &r->selections[i];
        r->copies[i] = (qk_row_copy){.rows = s->rows,
                                     .heads = s->heads,
                                     .n_rows = s->count,
                                     .n_heads = (size_t)s->n_heads,
                                     .out = s->vectors,
                                     .lse = s->lse};
    }
    size_t q = ends[1], k = ends[3]; /* behind both states */
    r->request = (qk_layer_capture){.q = r->copies,
                                    .n_q = q,
                                    .k = r->copies + q,
                                    .n_k = k - q,
                                    .v = r->copies + k,
                                    .n_v = r->n - k};
    return r->n ? &r->request : NULL;
}

static const qk_layer_capture *before_rope(void *context, int layer)
{
    return request(context, layer, BEFORE_ROPE);
}

static const qk_layer_capture *after_rope(void *context, int layer)
{
    return request(context, layer, AFTER_ROPE);
}

static void add_wanted(qk_capture *c, int layer, qk_kind kind, int32_t first_head,
                       int32_t mask_head, uint64_t *rows, uint64_t *with_lse)
{
    for (int i = 0; i < c->batch->n_seq; i++) {
        size_t start = (size_t)c->batch->seq_start[i];
        draw_rows(c, layer, kind, first_head, mask_head, i);
        for (int32_t r = 0; r < c->drawn.count; r++) {
            size_t row = start + (size_t)c->drawn.positions[r];
            qk_row_add(rows, row);
            if (c->plan.lse && kind == QK_KIND_Q) qk_row_add(with_lse, row);
        }
    }
}

/* The same rows as the requests of both stages, ahead of the pass. Drawing them twice takes a few
 * microseconds for a thousand tokens. */
static void wanted(void *context, int layer, uint64_t *rows, uint64_t *with_lse)
{
    qk_capture *c = context;
    const qk_layer_heads *of_layer = find_heads(c, layer);
    for (int i = 0; of_layer && i < QK_KINDS; i++) {
        const int32_t *heads;
        qk_kind kind = sources[i].kind;
        int32_t n = qk_head_plan_heads(c->plan.heads, of_layer, kind, &heads);
        if (n && !c->plan.per_head_masks) add_wanted(c, layer, kind, heads[0], -1, rows, with_lse);
        for (int32_t h = 0; h < n && c->plan.per_head_masks; h++)
            add_wanted(c, layer, kind, heads[h], heads[h], rows, with_lse);
    }
}

/* Says where the first NaN or infinity is, if there is one, of a selection's floats that are `width`
 * to a row. */
static qk_status check_finite(const layer_rows *l, const selection *s, const float *floats,
                              size_t width, const char *what, qk_error *err)
{
    size_t n = (size_t)s->n_heads * s->count * width;
    if (!qk_nonfinite_count(floats, n, QK_F32, QK_F32)) return QK_OK;
    size_t at = qk_nonfinite_first(floats, n, QK_F32, QK_F32), row = at / width % s->count;
    qk_arena arena = {0};
    qk_unit_example e; /* that the row comes from */
    qk_unit_example_of(l->unit, s->examples[row], &arena, &e);
    const char *id = e.id_text;
    qk_status status =
        qk_fail(err, QK_ERR_DATA,
                "numbers overflow in this model: another model.dtype, or a damaged checkpoint; "
                "capture.allow_nonfinite: true keeps such rows",
                "layer %d, head %d, %s: example %lld%s%.80s%s, position %d: the %s %s", l->layer,
                s->heads[at / width / s->count], s->source->title, (long long)e.index,
                id ? " (id '" : "", id ? id : "", id ? "')" : "", s->positions[row], what,
                isnan(floats[at]) ? "NaN" : "infinity");
    qk_arena_free(&arena);
    return status;
}

static qk_status write_selection(const layer_rows *l, const selection *s, qk_error *err)
{
    if (!l->plan->allow_nonfinite) {
        QK_TRY(check_finite(l, s, s->vectors, (size_t)l->plan->d, "vector holds", err));
        if (s->lse) QK_TRY(check_finite(l, s, s->lse, 1, "log-sum-exp is", err));
    }
    qk_unit_rows rows = {
        .layer = l->layer,
        .kind = s->source->kind,
        .heads = s->heads,
        .n_heads = s->n_heads,
        .rows = s->count,
        .tokens = s->tokens,
        .positions = s->positions,
        .buckets = s->buckets,
        .examples = s->examples,
        .vectors = s->vectors,
        .lse = s->lse,
    };
    return qk_unit_add_rows(l->unit, &rows, err);
}

/* The writer's job. */
static qk_status write_layer(void *context, qk_error *err)
{
    const layer_rows *l = context;
    for (int k = 0; k < STAGES; k++)
        for (size_t i = 0; i < l->stages[k].n; i++)
            QK_TRY(write_selection(l, &l->stages[k].selections[i], err));
    return QK_OK;
}

static qk_status layer_done(void *context, int layer, qk_error *err)
{
    qk_capture *c = context;
    layer_rows *l = find_layer(c, layer);
    for (int k = 0; l && k < STAGES; k++)
        for (size_t i = 0; i < l->stages[k].n; i++) {
            const selection *s = &l->stages[k].selections[i];
            c->rows += s->count * (uint64_t)s->n_heads;
        }
    if (l) {
        const qk_unit_job job = {.run = write_layer, .context = l, .unit = l->unit};
        l->job = qk_unit_queue_put(c->queue, &job);
        l->taking = false;
    }
    return qk_unit_queue_check(c->queue, err);
}

qk_capture_hooks qk_capture_hooks_of(qk_capture *c)
{
    return (qk_capture_hooks){
        .context = c,
        .pre_rope = c->takes[BEFORE_ROPE] ? before_rope : NULL,
        .post_rope = c->takes[AFTER_ROPE] ? after_rope : NULL,
        .layer_done = layer_done,
        .wanted = wanted,
    };
}
