/* Ops that touch each row once: embedding, RMS norm, the step between projection and attention,
 * gated activations. Bound by memory, so rows are simply spread over the threads.
 *
 * next: kernels/cpu/backend_cpu.c */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"

/* What an op is called with; each uses what it has. */
typedef struct rows_of {
    const qk_device *dev;
    qk_tensor y, x;
    const int32_t *ids;
    const float *w;
    float eps, scale;
    bool plus_one;
    qk_activation act;
} rows_of;

static void embed_rows(void *context, size_t begin, size_t end, int member)
{
    const rows_of *o = context;
    const qk_tensor table = o->x;
    (void)member;
    for (size_t t = begin; t < end; t++) {
        QK_ASSERT(o->ids[t] >= 0 && (size_t)o->ids[t] < table.rows);
        float *out = (float *)o->y.data + t * o->y.stride;
        for (size_t c = 0; c < o->y.cols; c++) {
            float v = qk_element(table.data, (size_t)o->ids[t] * table.stride + c, table.dtype);
            /* A table wider than the compute format is rounded, as a model converted to it is. */
            out[c] = o->scale * qk_round_to(v, o->dev->compute);
        }
    }
}

void cpu_embed(qk_device *dev, qk_tensor x, qk_tensor table, const int32_t *ids, float scale)
{
    rows_of o = {.dev = dev, .y = x, .x = table, .ids = ids, .scale = scale};
    qk_loop(dev->threads, x.rows, embed_rows, &o);
}

static void rmsnorm_rows(void *context, size_t begin, size_t end, int member)
{
    const rows_of *o = context;
    (void)member;
    for (size_t t = begin; t < end; t++)
        o->dev->isa->rmsnorm(o->y, o->x, t, o->w, o->eps, o->plus_one);
}

void cpu_rmsnorm(qk_device *dev, qk_tensor y, qk_tensor x, const float *w, float eps, bool plus_one)
{
    QK_ASSERT(x.dtype == QK_F32 && y.dtype != QK_F16 && x.cols == y.cols);
    rows_of o = {.dev = dev, .y = y, .x = x, .w = w, .eps = eps, .plus_one = plus_one};
    qk_loop(dev->threads, x.rows, rmsnorm_rows, &o);
}

static void glu_rows(void *context, size_t begin, size_t end, int member)
{
    const rows_of *o = context;
    (void)member;
    for (size_t t = begin; t < end; t++) o->dev->isa->glu(o->y, o->x, t, o->act);
}

void cpu_glu(qk_device *dev, qk_tensor y, qk_tensor g, qk_activation act)
{
    QK_ASSERT(g.cols == 2 * y.cols && g.dtype == QK_F32 && y.dtype != QK_F16);
    rows_of o = {.dev = dev, .y = y, .x = g, .act = act};
    qk_loop(dev->threads, y.rows, glu_rows, &o);
}

static void convert_rows(void *context, size_t begin, size_t end, int member)
{
    const rows_of *o = context;
    (void)member;
    for (size_t t = begin; t < end; t++)
        o->dev->isa->store(o->y, t, (const float *)o->x.data + t * o->x.stride);
}

void cpu_convert(qk_device *dev, qk_tensor y, qk_tensor x)
{
    QK_ASSERT(x.dtype == QK_F32 && y.dtype != QK_F16 && x.cols == y.cols);
    rows_of o = {.dev = dev, .y = y, .x = x};
    qk_loop(dev->threads, x.rows, convert_rows, &o);
}

static void add_to_rows(void *context, size_t begin, size_t end, int member)
{
    const rows_of *o = context;
    const qk_tensor x = o->x, y = o->y;
    (void)member;
    for (size_t t = begin; t < end; t++) {
        float *to = (float *)x.data + t * x.stride, *from = (float *)y.data + t * y.stride;
        if (o->w) o->dev->isa->norm_part(from, y.cols, o->w, o->eps, o->plus_one);
        for (size_t c = 0; c < x.cols; c++) to[c] += o->scale * from[c];
    }
}

void cpu_add(qk_device *dev, qk_tensor x, qk_tensor y, const float *w, float eps, bool plus_one,
             float scale)
{
    QK_ASSERT(x.dtype == QK_F32 && y.dtype == QK_F32 && x.cols == y.cols);
    rows_of o = {
        .dev = dev, .y = y, .x = x, .w = w, .eps = eps, .scale = scale, .plus_one = plus_one};
    qk_loop(dev->threads, x.rows, add_to_rows, &o);
}

/* ---- between projection and attention ---- */

/* The heads of one kind, each on its own or all together. */
static void norm_kind(const qk_device *dev, float *row, int heads, const float *w,
                      const qk_qkv_post *p)
{
    if (!w) return;
    size_t n = p->norm_whole ? 1 : (size_t)heads, width = (size_t)heads * (size_t)p->heads.d / n;
    for (size_t i = 0; i < n; i++)
        dev->isa->norm_part(row + i * width, width, w, p->eps, p->norm_plus_one);
}

/* (a, b) -> (a cos - b sin, b cos + a sin) for each pair. */
static void rotate(const qk_device *dev, float *head, const float *c, const float *s,
                   const qk_qkv_post *p)
{
    size_t half = (size_t)p->rotary / 2;
    if (!p->interleaved) {
        dev->isa->rotate(head, c, s, half);
        return;
    }
    for (size_t i = 0; i < half; i++) {
        float x = head[2 * i], y = head[2 * i + 1];
        head[2 * i] = x * c[i] - y * s[i];
        head[2 * i + 1] = y * c[i] + x * s[i];
    }
}

typedef struct post {
    const qk_device *dev;
    qk_tensor out, in;
    const qk_qkv_post *p;
    size_t first_row;
} post;

static void norm_rows(void *context, size_t begin, size_t end, int member)
{
    const post *o = context;
    const qk_qkv_post *p = o->p;
    size_t k = (size_t)p->heads.H * (size_t)p->heads.d;
    (void)member;
    for (size_t t = begin; t < end; t++) {
        float *row = (float *)o->in.data + t * o->in.stride;
        norm_kind(o->dev, row, p->heads.H, p->q_norm, p);
        norm_kind(o->dev, row + k, p->heads.K, p->k_norm, p);
    }
}

static void rotate_rows(void *context, size_t begin, size_t end, int member)
{
    const post *o = context;
    const qk_qkv_post *p = o->p;
    size_t d = (size_t)p->heads.d;
    int rotated = p->heads.H + p->heads.K;
    (void)member;
    for (size_t t = begin; t < end; t++) {
        float *row = (float *)o->in.data + t * o->in.stride;
        size_t position = (size_t)p->table_row[o->first_row + t];
        size_t table = position * (size_t)(p->rotary / 2);
        for (int i = 0; i < rotated && p->cos; i++)
            rotate(o->dev, row + (size_t)i * d, p->cos + table, p->sin + table, p);
        for (size_t c = 0; c < (size_t)p->heads.H * d && p->q_scale; c++)
            row[c] *= p->q_scale[position];
        if (o->out.data != o->in.data) o->dev->isa->store(o->out, t, row);
    }
}

void cpu_qkv_post(qk_device *dev, qk_tensor out, qk_tensor in, const qk_qkv_post *p,
                  size_t first_row)
{
    size_t width = qk_heads_width(p->heads);
    QK_ASSERT(in.cols == width && out.cols == width && in.dtype == QK_F32 && out.dtype != QK_F16);
    post o = {dev, out, in, p, first_row};
    if (p->q_norm || p->k_norm) qk_loop(dev->threads, in.rows, norm_rows, &o);
    if (p->capture) cpu_capture(dev, in, first_row, p->heads, p->capture, out.dtype);
    qk_loop(dev->threads, in.rows, rotate_rows, &o);
    if (p->rotated) cpu_capture(dev, out, first_row, p->heads, p->rotated, out.dtype);
}
