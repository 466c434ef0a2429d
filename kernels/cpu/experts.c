/* Mixture of experts on the CPU: which row goes to which expert, and moving the rows there and
 * back.
 *
 *   softmax of each row's logits, its top_k largest, then a counting sort by expert:
 *
 *     row 0: experts 2 5      count   0 0 2 0 0 1 ..       starts  0 0 0 2 2 2 3 ..
 *     row 1: experts 2 7                                   rows    0 1 | 0 | ..
 *
 * so each expert multiplies one dense block of rows, and the cost follows the active parameters.
 * Experts are worked off in order, so the sums that reach a row have one order, whatever the batch.
 *
 * next: kernels/cpu/backend_cpu.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"

struct cpu_router {
    qk_routes routes;
    int32_t *starts, *rows, *chosen; /* chosen [T, top_k]: experts of each row, best first */
    float *weights, *chosen_weights;
    size_t experts, pairs; /* capacity */
};

void cpu_router_free(struct cpu_router *r)
{
    if (!r) return;
    free(r->starts);
    free(r->rows);
    free(r->chosen);
    free(r->weights);
    free(r->chosen_weights);
    free(r);
}

static struct cpu_router *reserve(qk_device *dev, size_t experts, size_t pairs)
{
    if (!dev->router) dev->router = qk_zalloc(1, sizeof *dev->router);
    struct cpu_router *r = dev->router;
    if (experts > r->experts) {
        r->starts = qk_realloc(r->starts, experts + 1, sizeof *r->starts);
        r->experts = experts;
    }
    if (pairs > r->pairs) {
        r->rows = qk_realloc(r->rows, pairs, sizeof *r->rows);
        r->chosen = qk_realloc(r->chosen, pairs, sizeof *r->chosen);
        r->weights = qk_realloc(r->weights, pairs, sizeof *r->weights);
        r->chosen_weights = qk_realloc(r->chosen_weights, pairs, sizeof *r->chosen_weights);
        r->pairs = pairs;
    }
    return r;
}

/* The top_k largest of p [n], taken out of it; the lower number first when equal. */
static void choose(float *p, size_t n, int top_k, bool renormalise, int32_t *chosen, float *weights)
{
    float sum = 0;
    for (int k = 0; k < top_k; k++) {
        size_t best = 0;
        for (size_t e = 1; e < n; e++)
            if (p[e] > p[best]) best = e;
        chosen[k] = (int32_t)best;
        sum += weights[k] = p[best];
        p[best] = -1;
    }
    for (int k = 0; k < top_k && renormalise; k++) weights[k] /= sum;
}

/* Pairs ordered by expert, and within one by row. */
static void sort_by_expert(struct cpu_router *r, size_t experts, size_t T, size_t top_k)
{
    memset(r->starts, 0, (experts + 1) * sizeof *r->starts);
    for (size_t i = 0; i < T * top_k; i++) r->starts[r->chosen[i] + 1]++;
    for (size_t e = 0; e < experts; e++) r->starts[e + 1] += r->starts[e];
    int32_t *next = qk_alloc(experts, sizeof *next);
    memcpy(next, r->starts, experts * sizeof *next);
    for (size_t i = 0; i < T * top_k; i++) {
        int32_t at = next[r->chosen[i]]++;
        r->rows[at] = (int32_t)(i / top_k);
        r->weights[at] = r->chosen_weights[i];
    }
    free(next);
}

typedef struct routing {
    const qk_device *dev;
    const struct cpu_router *r;
    qk_tensor logits;
    int top_k;
    bool renormalise;
} routing;

static void route_rows(void *context, size_t begin, size_t end, int member)
{
    const routing *o = context;
    const qk_tensor logits = o->logits;
    size_t E = logits.cols, k = (size_t)o->top_k;
    float *p = qk_alloc(E, sizeof *p);
    (void)member;
    for (size_t t = begin; t < end; t++) {
        memcpy(p, (const float *)logits.data + t * logits.stride, E * sizeof *p);
        o->dev->isa->softmax(p, E);
        choose(p, E, o->top_k, o->renormalise, o->r->chosen + t * k, o->r->chosen_weights + t * k);
    }
    free(p);
}

const qk_routes *cpu_route(qk_device *dev, qk_tensor logits, int top_k, bool renormalise)
{
    size_t E = logits.cols, T = logits.rows, k = (size_t)top_k;
    QK_ASSERT(logits.dtype == QK_F32 && top_k >= 1 && k <= E);
    struct cpu_router *r = reserve(dev, E, T * k);
    routing o = {dev, r, logits, top_k, renormalise};
    qk_loop(dev->threads, T, route_rows, &o);
    sort_by_expert(r, E, T, k);
    r->routes = (qk_routes){r->starts, r->rows, r->weights};
    return &r->routes;
}

/* ---- rows to experts and back ---- */

typedef struct moving {
    qk_tensor y, x;
    const int32_t *rows; /* of x, for each row of y */
    const float *weights;
} moving;

const int32_t *cpu_row_list(qk_device *dev, const int32_t *rows, size_t n)
{
    (void)dev;
    (void)n;
    return rows;
}

static void take_rows(void *context, size_t begin, size_t end, int member)
{
    const moving *o = context;
    size_t size = qk_dtype_size(o->x.dtype);
    (void)member;
    for (size_t i = begin; i < end; i++)
        memcpy((char *)o->y.data + i * o->y.stride * size,
               (const char *)o->x.data + (size_t)o->rows[i] * o->x.stride * size, o->x.cols * size);
}

void cpu_take_rows(qk_device *dev, qk_tensor y, qk_tensor x, const int32_t *rows)
{
    QK_ASSERT(x.dtype == y.dtype && x.cols == y.cols);
    moving o = {y, x, rows, NULL};
    qk_loop(dev->threads, y.rows, take_rows, &o);
}

static void add_rows(void *context, size_t begin, size_t end, int member)
{
    const moving *o = context;
    (void)member;
    for (size_t i = begin; i < end; i++) {
        float *to = (float *)o->x.data + (size_t)o->rows[i] * o->x.stride;
        const float *from = (const float *)o->y.data + i * o->y.stride;
        for (size_t c = 0; c < o->x.cols; c++) to[c] += o->weights[i] * from[c];
    }
}

void cpu_add_rows(qk_device *dev, qk_tensor x, qk_tensor y, const int32_t *rows,
                  const float *weights)
{
    QK_ASSERT(x.dtype == QK_F32 && y.dtype == QK_F32 && x.cols == y.cols);
    moving o = {y, x, rows, weights};
    qk_loop(dev->threads, y.rows, add_rows, &o);
}
