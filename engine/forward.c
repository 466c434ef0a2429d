/* See forward.h. T tokens, D hidden, H query heads, K key heads, d head_dim, F ffn.
 *
 *   x = embed(ids)                                          [T, D]  float32
 *   for each layer:
 *     q, k, v = rope(norm_heads(rmsnorm(x) Wqkv^T))         [T, (H + 2K) d]   <- rows are captured
 *     x += attention(q, k, v) Wo^T
 *     x += (act(g) * u) Wdown^T,  g, u = rmsnorm(x) Wgu^T
 */
#include "engine/forward.h"

#include <stdlib.h>

struct qk_forward {
    const qk_model *m;
    size_t tokens;       /* of the last batch */
    size_t room;         /* tokens that x and qkv can hold */
    qk_tensor x;         /* [room, D] float32: the residual stream */
    qk_tensor qkv;       /* [room, (H + 2K) d] */
    qk_tensor normed;    /* [chunk, D] */
    qk_tensor projected; /* [chunk, (H + 2K) d] float32, when qkv has another format */
    qk_tensor gate_up;   /* [chunk, 2F] float32 */
    qk_tensor gated;     /* [chunk, F] */
    qk_tensor cos, sin;  /* [table_rows, rotary / 2] */
    size_t table_rows;   /* filled with positions 0, 1, 2 ...; 0: made for one batch */
    int32_t *table_row;  /* [room] the row of each token */
};

qk_forward *qk_forward_new(const qk_model *model)
{
    qk_forward *f = qk_zalloc(1, sizeof *f);
    f->m = model;
    return f;
}

static void release(qk_forward *f, qk_tensor *t)
{
    if (t->data) f->m->backend->free(f->m->device, t);
    *t = (qk_tensor){0};
}

void qk_forward_free(qk_forward *f)
{
    if (!f) return;
    qk_tensor *const all[] = {&f->x,       &f->qkv,   &f->normed, &f->projected,
                              &f->gate_up, &f->gated, &f->cos,    &f->sin};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) release(f, all[i]);
    free(f->table_row);
    free(f);
}

/* Activations that feed matrix products have the compute format, but float16 keeps float32. */
static qk_dtype activation_format(qk_dtype compute)
{
    return compute == QK_BF16 ? QK_BF16 : QK_F32;
}

static qk_heads heads_of(const qk_model *m, bool has_v)
{
    return (qk_heads){m->spec.H, m->spec.K, m->spec.d, has_v};
}

static qk_status alloc(qk_forward *f, qk_tensor *t, qk_dtype dtype, size_t rows, size_t cols,
                       qk_error *err)
{
    release(f, t);
    return f->m->backend->alloc(f->m->device, dtype, rows, cols, "activations", t, err);
}

/* The block for T tokens. */
static qk_status reserve(qk_forward *f, size_t T, qk_error *err)
{
    const qk_spec *s = &f->m->spec;
    qk_dtype act = activation_format(f->m->compute);
    size_t D = (size_t)s->D, F = (size_t)s->F, width = qk_heads_width(heads_of(f->m, true));
    if (!f->normed.data) {
        QK_TRY(alloc(f, &f->normed, act, QK_CHUNK, D, err));
        QK_TRY(alloc(f, &f->gate_up, QK_F32, QK_CHUNK, 2 * F, err));
        QK_TRY(alloc(f, &f->gated, act, QK_CHUNK, F, err));
        if (act != QK_F32) QK_TRY(alloc(f, &f->projected, QK_F32, QK_CHUNK, width, err));
    }
    if (T <= f->room) return QK_OK;
    f->room = 0; /* stays so when an allocation fails */
    QK_TRY(alloc(f, &f->x, QK_F32, T, D, err));
    QK_TRY(alloc(f, &f->qkv, act, T, width, err));
    f->table_row = qk_realloc(f->table_row, T, sizeof *f->table_row);
    f->room = T;
    return QK_OK;
}

static qk_status alloc_table(qk_forward *f, size_t rows, qk_error *err)
{
    size_t half = (size_t)f->m->spec.rope.rotary / 2;
    QK_TRY(alloc(f, &f->cos, QK_F32, rows, half, err));
    return alloc(f, &f->sin, QK_F32, rows, half, err);
}

/* Writes table rows for positions 0 .. n-1 of a sequence of `length` tokens, from table row `at`.
 */
static void fill_table(qk_forward *f, size_t at, size_t n, int64_t length)
{
    const qk_rope *rope = &f->m->spec.rope;
    const qk_backend *b = f->m->backend;
    size_t half = (size_t)rope->rotary / 2;
    float *inv_freq = qk_alloc(half, sizeof(float));
    float *c = qk_alloc(n * half, sizeof(float)), *s = qk_alloc(n * half, sizeof(float));
    qk_rope_frequencies(rope, length, inv_freq);
    qk_rope_table(rope, inv_freq, 0, n, c, s);
    b->upload(f->m->device, qk_rows(f->cos, at, n), c, QK_F32);
    b->upload(f->m->device, qk_rows(f->sin, at, n), s, QK_F32);
    free(inv_freq);
    free(c);
    free(s);
}

/* One table for all sequences, kept and grown; or, when the frequencies depend on the length, one
 * piece per sequence, made for this batch. */
static qk_status prepare_rope(qk_forward *f, const qk_batch *batch, qk_error *err)
{
    bool own_tables = qk_rope_depends_on_length(&f->m->spec.rope);
    size_t longest = 0, T = (size_t)batch->seq_start[batch->n_seq];
    for (int i = 0; i < batch->n_seq; i++) {
        int32_t first = batch->seq_start[i], n = batch->seq_start[i + 1] - first;
        if ((size_t)n > longest) longest = (size_t)n;
        for (int32_t p = 0; p < n; p++) f->table_row[first + p] = own_tables ? first + p : p;
    }
    if (!own_tables) {
        if (longest <= f->table_rows) return QK_OK;
        QK_TRY(alloc_table(f, longest, err));
        fill_table(f, 0, longest, (int64_t)longest);
        f->table_rows = longest;
        return QK_OK;
    }
    QK_TRY(alloc_table(f, T, err));
    for (int i = 0; i < batch->n_seq; i++) {
        int32_t first = batch->seq_start[i], n = batch->seq_start[i + 1] - first;
        if (n) fill_table(f, (size_t)first, (size_t)n, n);
    }
    return QK_OK;
}

/* q, k, v of one layer for all tokens, ready for attention. */
static void project(qk_forward *f, int l, qk_tensor x, qk_tensor qkv,
                    const qk_layer_capture *capture)
{
    const qk_model *m = f->m;
    const qk_backend *b = m->backend;
    const qk_layer *w = &m->layers[l];
    bool has_v = l < m->n_layers - 1 || !m->stops_at_qk;
    qk_qkv_post post = {
        .heads = heads_of(m, has_v),
        .q_norm = w->q_norm,
        .k_norm = w->k_norm,
        .eps = m->spec.eps,
        .cos = f->cos.data,
        .sin = f->sin.data,
        .table_row = f->table_row,
        .rotary = m->spec.rope.rotary,
        .capture = capture,
    };
    size_t width = qk_heads_width(post.heads);
    for (size_t t = 0; t < x.rows; t += QK_CHUNK) {
        size_t n = x.rows - t < QK_CHUNK ? x.rows - t : QK_CHUNK;
        qk_tensor normed = qk_rows(f->normed, 0, n), out = qk_cols(qk_rows(qkv, t, n), 0, width);
        qk_tensor raw = f->projected.data ? qk_cols(qk_rows(f->projected, 0, n), 0, width) : out;
        b->rmsnorm(m->device, normed, qk_rows(x, t, n), w->input_norm, m->spec.eps, false);
        b->matmul(m->device, raw, normed, w->qkv, w->qkv_bias, false);
        b->qkv_post(m->device, out, raw, &post, t);
    }
}

/* x += attention(q, k, v) Wo^T. The output takes the place of q. */
static void attend(qk_forward *f, int l, qk_tensor x, qk_tensor qkv, const qk_batch *batch,
                   const qk_layer_capture *capture)
{
    const qk_model *m = f->m;
    const qk_layer *w = &m->layers[l];
    qk_attention attention = {
        .heads = heads_of(m, true),
        .seq_start = batch->seq_start,
        .n_seq = batch->n_seq,
        .window = m->spec.window[l],
        .scale = m->spec.attention_scale,
        .capture = capture,
    };
    qk_tensor o = qk_cols(qkv, 0, (size_t)m->spec.H * (size_t)m->spec.d);
    m->backend->attention(m->device, o, qkv, &attention);
    m->backend->matmul(m->device, x, o, w->o, w->o_bias, true);
}

/* x += (act(g) * u) Wdown^T with g, u = rmsnorm(x) Wgu^T. (Shazeer, 2020) */
static void mlp(qk_forward *f, int l, qk_tensor x)
{
    const qk_model *m = f->m;
    const qk_backend *b = m->backend;
    const qk_layer *w = &m->layers[l];
    for (size_t t = 0; t < x.rows; t += QK_CHUNK) {
        size_t n = x.rows - t < QK_CHUNK ? x.rows - t : QK_CHUNK;
        qk_tensor rows = qk_rows(x, t, n), normed = qk_rows(f->normed, 0, n);
        qk_tensor gate_up = qk_rows(f->gate_up, 0, n), gated = qk_rows(f->gated, 0, n);
        b->rmsnorm(m->device, normed, rows, w->post_norm, m->spec.eps, false);
        b->matmul(m->device, gate_up, normed, w->gate_up, w->gate_up_bias, false);
        b->glu(m->device, gated, gate_up, m->spec.act);
        b->matmul(m->device, rows, gated, w->down, w->down_bias, true);
    }
}

static const qk_layer_capture *wanted(const qk_capture_hooks *hooks, int l,
                                      const qk_layer_capture *(*ask)(void *, int))
{
    return ask ? ask(hooks->context, l) : NULL;
}

qk_status qk_forward_run(qk_forward *f, const qk_batch *batch, const qk_capture_hooks *hooks,
                         qk_error *err)
{
    const qk_model *m = f->m;
    const qk_backend *b = m->backend;
    size_t T = (size_t)batch->seq_start[batch->n_seq];
    f->tokens = T;
    if (!T) return QK_OK;
    QK_TRY(reserve(f, T, err));
    QK_TRY(prepare_rope(f, batch, err));

    qk_tensor x = qk_rows(f->x, 0, T), qkv = qk_rows(f->qkv, 0, T);
    b->embed(m->device, x, m->embed, batch->ids, 1);
    for (int l = 0; l < m->n_layers; l++) {
        const qk_layer_capture *pre = wanted(hooks, l, hooks->pre_rope);
        const qk_layer_capture *post = wanted(hooks, l, hooks->post_rope);
        bool stops = m->stops_at_qk && l == m->n_layers - 1;
        project(f, l, x, qkv, pre);
        if (stops) {
            if (post) b->gather(m->device, qkv, heads_of(m, false), post);
        } else {
            attend(f, l, x, qkv, batch, post);
            mlp(f, l, x);
        }
        b->sync(m->device);
        if (hooks->layer_done) QK_TRY(hooks->layer_done(hooks->context, l, err));
    }
    return QK_OK;
}

void qk_forward_hidden(qk_forward *f, float *out)
{
    const qk_model *m = f->m;
    QK_ASSERT(m->final_norm);
    if (!f->tokens) return;
    qk_tensor x = qk_rows(f->x, 0, f->tokens);
    m->backend->rmsnorm(m->device, x, x, m->final_norm, m->spec.eps, false);
    m->backend->download(m->device, out, x);
}

uint64_t qk_forward_bytes(const qk_spec *s, qk_dtype compute, uint64_t T)
{
    uint64_t act = qk_dtype_size(activation_format(compute)), D = (uint64_t)s->D,
             F = (uint64_t)s->F, rotary = (uint64_t)s->rope.rotary,
             width = (uint64_t)(s->H + 2 * s->K) * (uint64_t)s->d;
    uint64_t per_token = 4 * D + act * width + 4 * rotary + 4;
    return T * per_token + QK_CHUNK * (act * (D + F) + 4 * (2 * F + width));
}

double qk_forward_flops(const qk_spec *s, int last_layer, double length)
{
    double D = s->D, q = (double)s->H * s->d, k = (double)s->K * s->d, F = s->F, total = 0;
    int layers = last_layer < 0 ? s->layers : last_layer;
    for (int l = 0; l < layers; l++) {
        double seen = s->window[l] && s->window[l] < length ? s->window[l] : (length + 1) / 2;
        total += 2 * length * (D * (q + 2 * k) + q * D + 3 * D * F) + 4 * length * seen * q;
    }
    return total + (last_layer < 0 ? 0 : 2 * length * D * (q + k));
}
