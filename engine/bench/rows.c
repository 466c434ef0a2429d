/* See rows.h. */
#include "engine/bench/rows.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/forward/forward.h"
#include "sampler/heads.h"
#include "sampler/positions.h"

enum { IN_FLIGHT = 2, SIDES = 2 }; /* layers at a time; queries, keys */

typedef struct layer {
    int32_t *rows[SIDES];
    qk_row_copy copies[SIDES];
    qk_layer_capture request;
    bool taken;
} layer;

struct qk_bench_rows {
    layer *layers; /* [n_layers], by number */
    int32_t n_layers;
    float *out[IN_FLIGHT][SIDES];
    int turn; /* whose `out` the last layer has */
    uint64_t count;
};

static void draw(layer *l, const qk_layer_heads *heads, const qk_sampler *sampler, int32_t tokens)
{
    const qk_kind kinds[SIDES] = {QK_KIND_Q, QK_KIND_K};
    qk_sampled_rows drawn = {0};
    for (int side = 0; side < SIDES; side++) {
        const int32_t *of = side ? heads->k : heads->q;
        const qk_draw what = {.layer = heads->layer,
                              .mask_head = -1,
                              .first_head = of[0],
                              .kind = kinds[side],
                              .n_tokens = tokens};
        qk_sampler_draw(sampler, &what, &drawn);
        size_t n = (size_t)drawn.count;
        l->rows[side] = qk_alloc(n + 1, sizeof *l->rows[side]);
        if (n) memcpy(l->rows[side], drawn.positions, n * sizeof *drawn.positions);
        l->copies[side] = (qk_row_copy){.rows = l->rows[side],
                                        .heads = of,
                                        .n_rows = n,
                                        .n_heads = (size_t)(side ? heads->n_k : heads->n_q)};
    }
    l->request = (qk_layer_capture){.q = &l->copies[0], .k = &l->copies[1], .n_q = 1, .n_k = 1};
    l->taken = true;
    qk_sampled_rows_free(&drawn);
}

qk_bench_rows *qk_bench_rows_new(const qk_head_plan *heads, const qk_sampler *sampler, int d,
                                 int32_t tokens)
{
    qk_bench_rows *r = qk_zalloc(1, sizeof *r);
    size_t most[SIDES] = {0};
    r->n_layers = heads->last_layer + 1;
    r->layers = qk_zalloc((size_t)r->n_layers, sizeof *r->layers);
    for (int32_t i = 0; i < heads->n_layers; i++) {
        layer *l = &r->layers[heads->layers[i].layer];
        draw(l, &heads->layers[i], sampler, tokens);
        for (int side = 0; side < SIDES; side++) {
            size_t n = l->copies[side].n_rows * l->copies[side].n_heads;
            r->count += n;
            if (n > most[side]) most[side] = n;
        }
    }
    for (int i = 0; i < IN_FLIGHT; i++)
        for (int side = 0; side < SIDES; side++) {
            size_t n = most[side] * (size_t)d;
            r->out[i][side] = qk_alloc(n + 1, sizeof(float));
            memset(r->out[i][side], 0, n * sizeof(float)); /* its pages are there */
        }
    return r;
}

void qk_bench_rows_free(qk_bench_rows *r)
{
    if (!r) return;
    for (int side = 0; side < SIDES; side++) {
        for (int32_t l = 0; l < r->n_layers; l++) free(r->layers[l].rows[side]);
        for (int i = 0; i < IN_FLIGHT; i++) free(r->out[i][side]);
    }
    free(r->layers);
    free(r);
}

static const qk_layer_capture *want(void *context, int l)
{
    qk_bench_rows *r = context;
    if (l >= r->n_layers || !r->layers[l].taken) return NULL;
    r->turn = (r->turn + 1) % IN_FLIGHT;
    for (int side = 0; side < SIDES; side++) r->layers[l].copies[side].out = r->out[r->turn][side];
    return &r->layers[l].request;
}

static qk_status drop(void *context, int l, qk_error *err)
{
    (void)context, (void)l;
    return qk_interrupt_check(err);
}

qk_capture_hooks qk_bench_rows_hooks(qk_bench_rows *r)
{
    return (qk_capture_hooks){.context = r, .post_rope = want, .layer_done = drop};
}

uint64_t qk_bench_rows_count(const qk_bench_rows *r)
{
    return r->count;
}

/* ---- a pass of its own ---- */

static const qk_backend *inner;

static void gather_then_attend(qk_device *dev, qk_tensor o, qk_tensor qkv, const qk_attention *p)
{
    qk_attention plain = *p;
    plain.capture = NULL;
    if (p->capture) inner->gather(dev, qkv, p->heads, p->capture);
    inner->attention(dev, o, qkv, &plain);
}

const qk_backend *qk_bench_gathering(const qk_backend *backend)
{
    static qk_backend outer;
    inner = backend;
    outer = *backend;
    outer.attention = gather_then_attend;
    return &outer;
}
