/* See activations.h. */
#include "engine/forward/activations.h"

#include <math.h>
#include <stdlib.h>

#include "engine/model/model.h"

/* Experts see only their share of a chunk, so a sparse model gets a larger one. */
enum { SPARSE_CHUNK = 4096 };

qk_dtype qk_activation_format(qk_dtype compute)
{
    return compute == QK_BF16 ? QK_BF16 : QK_F32;
}

size_t qk_activation_chunk(const qk_spec *s, const qk_backend *backend)
{
    return s->experts && backend->chunk < SPARSE_CHUNK ? SPARSE_CHUNK : backend->chunk;
}

size_t qk_widest_ffn(const qk_spec *s)
{
    bool dense = false;
    for (int l = 0; l < s->layers; l++) dense |= !s->layer[l].sparse;
    return (size_t)(dense && s->F > s->expert_F ? s->F : s->expert_F ? s->expert_F : s->F);
}

bool qk_has_branch(const qk_spec *s)
{
    return s->experts || s->residual_scale != 1 ||
           (*s->family->names)[QK_W_ATTENTION_OUT_NORM] != NULL ||
           (*s->family->names)[QK_W_MLP_OUT_NORM] != NULL;
}

static void release(qk_activations *a, qk_tensor *t)
{
    if (t->data) a->m->backend->free(a->m->device, t);
    *t = (qk_tensor){0};
}

void qk_activations_free(qk_activations *a)
{
    qk_tensor *const all[] = {&a->x,       &a->qkv,    &a->normed, &a->projected,
                              &a->gate_up, &a->gated,  &a->branch, &a->logits,
                              &a->taken,   &a->kept_x, &a->kept_o};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) release(a, all[i]);
    for (int i = 0; a->rope && i < a->m->spec.n_ropes; i++) {
        release(a, &a->rope[i].cos);
        release(a, &a->rope[i].sin);
        release(a, &a->rope[i].q_scale);
    }
    free(a->rope);
    free(a->table_row);
    free(a->layer_rows);
}

static qk_status alloc(qk_activations *a, qk_tensor *t, qk_dtype dtype, size_t rows, size_t cols,
                       qk_error *err)
{
    release(a, t);
    return a->m->backend->alloc(a->m->device, dtype, rows, cols, "activations", t, err);
}

static qk_status alloc_chunk(qk_activations *a, size_t width, qk_error *err)
{
    const qk_spec *s = &a->m->spec;
    qk_dtype act = qk_activation_format(a->m->compute);
    size_t n = a->chunk = qk_activation_chunk(s, a->m->backend), D = (size_t)s->D,
           F = qk_widest_ffn(s);
    QK_TRY(alloc(a, &a->normed, act, n, D, err));
    QK_TRY(alloc(a, &a->gate_up, QK_F32, n, 2 * F, err));
    QK_TRY(alloc(a, &a->gated, act, n, F, err));
    QK_TRY(alloc(a, &a->kept_x, QK_F32, n, D, err));
    QK_TRY(alloc(a, &a->kept_o, act, n, (size_t)s->H * (size_t)s->d, err));
    if (act != QK_F32) QK_TRY(alloc(a, &a->projected, QK_F32, n, width, err));
    if (qk_has_branch(s)) QK_TRY(alloc(a, &a->branch, QK_F32, n, D, err));
    if (!s->experts) return QK_OK;
    QK_TRY(alloc(a, &a->logits, QK_F32, n, (size_t)s->experts, err));
    return alloc(a, &a->taken, act, n, D, err);
}

qk_status qk_activations_reserve(qk_activations *a, size_t T, qk_error *err)
{
    const qk_spec *s = &a->m->spec;
    size_t width = qk_heads_width((qk_heads){s->H, s->K, s->d, true});
    if (!a->rope) a->rope = qk_zalloc((size_t)s->n_ropes, sizeof *a->rope);
    if (!a->normed.data) QK_TRY(alloc_chunk(a, width, err));
    if (T <= a->capacity) return QK_OK;
    a->capacity = 0; /* stays so when an allocation fails */
    QK_TRY(alloc(a, &a->x, QK_F32, T, (size_t)s->D, err));
    QK_TRY(alloc(a, &a->qkv, qk_activation_format(a->m->compute), T, width, err));
    a->capacity = T;
    return QK_OK;
}

/* ---- RoPE tables ---- */

static qk_status alloc_tables(qk_activations *a, size_t rows, qk_error *err)
{
    const qk_spec *s = &a->m->spec;
    for (int i = 0; i < s->n_ropes; i++) {
        size_t half = (size_t)s->ropes[i].rotary / 2;
        QK_TRY(alloc(a, &a->rope[i].cos, QK_F32, rows, half, err));
        QK_TRY(alloc(a, &a->rope[i].sin, QK_F32, rows, half, err));
        if (s->q_scale_beta > 0) QK_TRY(alloc(a, &a->rope[i].q_scale, QK_F32, rows, 1, err));
    }
    return QK_OK;
}

/* 1 + beta ln(1 + floor(p / length)), in float32 as transformers has it. */
static void fill_q_scale(qk_activations *a, qk_rope_block *r, size_t at, size_t n)
{
    const qk_spec *s = &a->m->spec;
    float *scale = qk_alloc(n, sizeof *scale);
    for (size_t p = 0; p < n; p++) {
        float turns = floorf((float)((double)p / s->q_scale_length));
        scale[p] = 1 + (float)s->q_scale_beta * logf(1 + turns);
    }
    a->m->backend->upload(a->m->device, qk_rows(r->q_scale, at, n), scale, QK_F32);
    free(scale);
}

/* Rows at .. at + n - 1 for positions 0 .. n - 1 of a sequence of `length` tokens. */
static void fill_tables(qk_activations *a, size_t at, size_t n, int64_t length)
{
    const qk_backend *b = a->m->backend;
    for (int i = 0; i < a->m->spec.n_ropes; i++) {
        const qk_rope *rope = &a->m->spec.ropes[i];
        qk_rope_block *block = &a->rope[i];
        size_t half = (size_t)rope->rotary / 2;
        float *inv_freq = qk_alloc(half, sizeof(float));
        float *c = qk_alloc(n * half, sizeof(float)), *s = qk_alloc(n * half, sizeof(float));
        qk_rope_frequencies(rope, length, inv_freq);
        qk_rope_table(rope, inv_freq, 0, n, c, s);
        b->upload(a->m->device, qk_rows(block->cos, at, n), c, QK_F32);
        b->upload(a->m->device, qk_rows(block->sin, at, n), s, QK_F32);
        if (block->q_scale.data) fill_q_scale(a, block, at, n);
        free(inv_freq);
        free(c);
        free(s);
    }
}

qk_status qk_activations_rope(qk_activations *a, const int32_t *seq_start, int n_seq, qk_error *err)
{
    const qk_spec *s = &a->m->spec;
    bool own_tables = false;
    for (int i = 0; i < s->n_ropes; i++) own_tables |= qk_rope_depends_on_length(&s->ropes[i]);
    size_t longest = 0, T = (size_t)seq_start[n_seq];
    if (T > a->tokens) {
        a->tokens = T;
        a->table_row = qk_realloc(a->table_row, T, sizeof *a->table_row);
        a->layer_rows = qk_realloc(a->layer_rows, T, sizeof *a->layer_rows);
    }
    for (int i = 0; i < n_seq; i++) {
        int32_t first = seq_start[i], n = seq_start[i + 1] - first;
        if ((size_t)n > longest) longest = (size_t)n;
        for (int32_t p = 0; p < n; p++) a->table_row[first + p] = own_tables ? first + p : p;
    }
    if (!own_tables) {
        if (longest <= a->table_rows) return QK_OK;
        QK_TRY(alloc_tables(a, longest, err));
        fill_tables(a, 0, longest, (int64_t)longest);
        a->table_rows = longest;
        return QK_OK;
    }
    QK_TRY(alloc_tables(a, T, err));
    for (int i = 0; i < n_seq; i++) {
        int32_t first = seq_start[i], n = seq_start[i + 1] - first;
        if (n) fill_tables(a, (size_t)first, (size_t)n, n);
    }
    return QK_OK;
}

const int32_t *qk_activations_table_rows(qk_activations *a, const int32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++) a->layer_rows[i] = a->table_row[tokens[i]];
    return a->layer_rows;
}
