/* See forward.h. T tokens, D hidden, H query heads, K key heads, d head_dim, F ffn.
 *
 *   x = embed(ids) scale                                    [T, D]  float32
 *   for each layer:
 *     q, k, v = rope(norm_heads(norm(x) Wqkv^T))            [T, (H + 2K) d]   <- rows are captured
 *     x += attention(q, k, v) Wo^T
 *     x += (act(g) * u) Wdown^T,  g, u = norm(x) Wgu^T      or the sum over a few experts
 *
 * The last captured layer ends where its rows are: after q and k, after q, k and v, or, when their
 * log-sum-exps are captured, after attention, which then has no output.
 *
 * What a family does otherwise (norms after attention and MLP, a scale for what they add, layers
 * without rotary embedding ...) is a knob of qk_spec or a weight that is there or not. */
#include "engine/forward/forward.h"

#include <stdlib.h>

#include "engine/forward/activations.h"
#include "engine/forward/slice.h"
#include "engine/model/model.h"

struct qk_forward {
    const qk_model *m;
    size_t tokens; /* of the last batch */
    int entered;   /* layers of it that rows have entered: 0 .. entered - 1 */
    qk_activations a;
    qk_slice *slice; /* which rows each layer has */
};

qk_forward *qk_forward_new(const qk_model *model)
{
    qk_forward *f = qk_zalloc(1, sizeof *f);
    f->m = f->a.m = model;
    f->slice = qk_slice_new();
    return f;
}

void qk_forward_free(qk_forward *f)
{
    if (!f) return;
    qk_activations_free(&f->a);
    qk_slice_free(f->slice);
    free(f);
}

static qk_last_layer needs_of(const qk_model *m, int l)
{
    return qk_layer_needs(l, m->n_layers, m->last);
}

static qk_heads heads_of(const qk_model *m, int l)
{
    return (qk_heads){m->spec.H, m->spec.K, m->spec.d, needs_of(m, l) != QK_LAST_QK};
}

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

/* normed = rmsnorm(rows), or rows as they are when the layer has no such norm. */
static void read_stream(const qk_model *m, qk_tensor normed, qk_tensor rows, const float *norm)
{
    const qk_spec *s = &m->spec;
    if (norm)
        m->backend->rmsnorm(m->device, normed, rows, norm, s->eps, s->norm_plus_one);
    else
        m->backend->convert(m->device, normed, rows);
}

/* x rows += y W^T + bias, perhaps normed and scaled on the way. */
static void add_to_stream(qk_forward *f, qk_tensor rows, qk_tensor y, const qk_matrix *w,
                          const float *bias, const float *norm)
{
    const qk_model *m = f->m;
    const qk_spec *s = &m->spec;
    if (!norm && s->residual_scale == 1) {
        m->backend->matmul(m->device, rows, y, w, bias, true);
        return;
    }
    qk_tensor branch = qk_rows(f->a.branch, 0, rows.rows);
    m->backend->matmul(m->device, branch, y, w, bias, false);
    m->backend->add(m->device, rows, branch, norm, s->eps, s->norm_plus_one, s->residual_scale);
}

/* q, k, v of the rows of one layer, ready for attention. */
static void project(qk_forward *f, int l, const qk_layer *w, const qk_layer_rows *rows,
                    qk_tensor qkv, const qk_layer_capture *capture, const qk_layer_capture *rotated)
{
    const qk_model *m = f->m;
    const qk_spec *s = &m->spec;
    const qk_rope_block *rope = s->layer[l].rope < 0 ? NULL : &f->a.rope[s->layer[l].rope];
    qk_qkv_post post = {
        .heads = heads_of(m, l),
        .q_norm = w->q_norm,
        .k_norm = w->k_norm,
        .norm_whole = s->qk_norm_whole,
        .eps = s->eps,
        .norm_plus_one = s->norm_plus_one,
        .cos = rope ? rope->cos.data : NULL,
        .sin = rope ? rope->sin.data : NULL,
        .q_scale = rope ? rope->q_scale.data : NULL,
        .table_row = qk_activations_table_rows(&f->a, rows->tokens, rows->n),
        .rotary = rope ? s->ropes[s->layer[l].rope].rotary : 0,
        .interleaved = s->interleaved,
        .capture = capture,
        .rotated = m->backend->takes_early ? rotated : NULL,
    };
    size_t width = qk_heads_width(post.heads);
    for (size_t t = 0; t < rows->n; t += f->a.chunk) {
        size_t n = at_most(rows->n - t, f->a.chunk);
        qk_tensor normed = qk_rows(f->a.normed, 0, n);
        qk_tensor out = qk_cols(qk_rows(qkv, t, n), 0, width);
        qk_tensor raw =
            f->a.projected.data ? qk_cols(qk_rows(f->a.projected, 0, n), 0, width) : out;
        read_stream(m, normed, qk_rows(f->a.x, t, n), w->input_norm);
        m->backend->matmul(m->device, raw, normed, w->qkv, w->qkv_bias, false);
        m->backend->qkv_post(m->device, out, raw, &post, t);
    }
}

/* n rows of o, of those that go on, from the t-th on; those of x then stand at rows t .. t + n - 1,
 * from where later ones are not read any more. */
static qk_tensor move_up(qk_forward *f, const qk_layer_rows *rows, qk_tensor o, size_t t, size_t n)
{
    const qk_backend *b = f->m->backend;
    qk_device *dev = f->m->device;
    const int32_t *from = b->row_list(dev, rows->keep + t, n);
    qk_tensor x = qk_rows(f->a.kept_x, 0, n), kept = qk_rows(f->a.kept_o, 0, n);
    b->take_rows(dev, x, f->a.x, from);
    b->convert(dev, qk_rows(f->a.x, t, n), x);
    b->take_rows(dev, kept, o, from);
    return kept;
}

/* x += attention(q, k, v) Wo^T for the rows that go on, or attention alone. The output takes the
 * place of q. */
static void attend(qk_forward *f, int l, const qk_layer *w, const qk_layer_rows *rows,
                   qk_tensor qkv, const qk_layer_capture *capture)
{
    const qk_model *m = f->m;
    qk_attention attention = {
        .heads = heads_of(m, l),
        .seq_start = rows->seq_start,
        .n_seq = rows->n_seq,
        .window = m->spec.layer[l].window,
        .scale = m->spec.attention_scale,
        .soft_cap = m->spec.soft_cap,
        .capture = capture,
        .wanted = rows->wanted,
        .taken = m->backend->takes_early,
    };
    qk_tensor o = qk_cols(qkv, 0, (size_t)m->spec.H * (size_t)m->spec.d);
    m->backend->attention(m->device, o, qkv, &attention);
    if (needs_of(m, l) != QK_LAST_WHOLE) return;
    size_t step = f->a.branch.data || rows->moves ? f->a.chunk : rows->n_keep;
    for (size_t t = 0; t < rows->n_keep; t += step) {
        size_t n = at_most(rows->n_keep - t, step);
        qk_tensor y = rows->moves ? move_up(f, rows, o, t, n) : qk_rows(o, t, n);
        add_to_stream(f, qk_rows(f->a.x, t, n), y, w->o, w->o_bias, w->attention_out_norm);
    }
}

/* act(g) * u with g, u = normed Wgu^T: the half of a gated MLP before its down projection.
 * (Shazeer, 2020) */
static qk_tensor gated(qk_forward *f, const qk_mlp *w, qk_tensor normed, int F)
{
    const qk_model *m = f->m;
    qk_tensor gate_up = qk_cols(qk_rows(f->a.gate_up, 0, normed.rows), 0, 2 * (size_t)F);
    qk_tensor out = qk_cols(qk_rows(f->a.gated, 0, normed.rows), 0, (size_t)F);
    m->backend->matmul(m->device, gate_up, normed, w->gate_up, w->gate_up_bias, false);
    m->backend->glu(m->device, out, gate_up, m->spec.act);
    return out;
}

/* rows += sum over the chosen experts of weight * expert(normed): each expert in turn takes its
 * rows out of the chunk and adds its results to them. */
static void mix_experts(qk_forward *f, const qk_layer *w, qk_tensor rows, qk_tensor normed)
{
    const qk_model *m = f->m;
    const qk_backend *b = m->backend;
    const qk_spec *s = &m->spec;
    qk_tensor logits = qk_rows(f->a.logits, 0, rows.rows);
    b->matmul(m->device, logits, normed, w->router, NULL, false);
    const qk_routes *r = b->route(m->device, logits, s->top_k, s->top_k_renormalised);
    for (int e = 0; e < s->experts; e++) {
        /* A token chooses an expert once, so an expert never has more rows than the chunk. */
        size_t at = (size_t)r->starts[e], n = (size_t)r->starts[e + 1] - at;
        if (!n) continue;
        qk_tensor taken = qk_rows(f->a.taken, 0, n), branch = qk_rows(f->a.branch, 0, n);
        b->take_rows(m->device, taken, normed, r->rows + at);
        qk_tensor inner = gated(f, &w->experts[e], taken, s->expert_F);
        b->matmul(m->device, branch, inner, w->experts[e].down, NULL, false);
        b->add_rows(m->device, rows, branch, r->rows + at, r->weights + at);
    }
}

/* x += mlp(norm(x)), or the experts. */
static void feed_forward(qk_forward *f, int l, const qk_layer *w, qk_tensor x)
{
    const qk_model *m = f->m;
    for (size_t t = 0; t < x.rows; t += f->a.chunk) {
        size_t n = at_most(x.rows - t, f->a.chunk);
        qk_tensor rows = qk_rows(x, t, n), normed = qk_rows(f->a.normed, 0, n);
        read_stream(m, normed, rows, w->mlp_norm);
        if (m->spec.layer[l].sparse)
            mix_experts(f, w, rows, normed);
        else
            add_to_stream(f, rows, gated(f, &w->mlp, normed, m->spec.F), w->mlp.down,
                          w->mlp.down_bias, w->mlp_out_norm);
    }
}

/* One layer, queued: its rows arrive when the device has come so far. */
static void run_layer(qk_forward *f, int l, const qk_layer *w, const qk_layer_rows *rows,
                      const qk_layer_capture *pre, const qk_layer_capture *post)
{
    const qk_model *m = f->m;
    qk_tensor qkv = qk_rows(f->a.qkv, 0, rows->n);
    project(f, l, w, rows, qkv, pre, post);
    if (needs_of(m, l) >= QK_LAST_ATTENTION && rows->attends) {
        attend(f, l, w, rows, qkv, post);
    } else if (post) {
        for (size_t i = 0; i < post->n_q; i++) QK_ASSERT(!post->q[i].lse || !post->q[i].n_rows);
        if (!m->backend->takes_early) m->backend->gather(m->device, qkv, heads_of(m, l), post);
    }
    if (needs_of(m, l) == QK_LAST_WHOLE) feed_forward(f, l, w, qk_rows(f->a.x, 0, rows->n_keep));
    m->backend->layer_end(m->device);
}

/* Asks for the rows that leave a layer, and queues it. One that no row enters has nothing to give,
 * and its weights are not waited for. */
static qk_status queue_layer(qk_forward *f, int l, const qk_capture_hooks *hooks, qk_error *err)
{
    void *c = hooks->context;
    const qk_layer *w;
    const qk_layer_rows *rows = qk_slice_layer(f->slice, l);
    const qk_layer_capture *pre = hooks->pre_rope ? hooks->pre_rope(c, l) : NULL;
    const qk_layer_capture *post = hooks->post_rope ? hooks->post_rope(c, l) : NULL;
    if (!rows->n) {
        f->m->backend->layer_end(f->m->device);
        return QK_OK;
    }
    QK_TRY(qk_model_layer(f->m, l, &w, err));
    f->entered = l + 1;
    run_layer(f, l, w, rows, qk_slice_capture(f->slice, 0, pre),
              qk_slice_capture(f->slice, 1, post));
    return QK_OK;
}

/* Waits until a layer is done that `queued` others were queued after, gives its weights back and
 * hands its rows over. */
static qk_status finish_layer(qk_forward *f, int l, int queued, const qk_capture_hooks *hooks,
                              qk_error *err)
{
    if (l < 0) return QK_OK;
    QK_TRY(f->m->backend->sync(f->m->device, queued, err));
    if (l < f->entered) qk_model_layer_done(f->m, l);
    return hooks->layer_done ? hooks->layer_done(hooks->context, l, err) : QK_OK;
}

/* Where layers can be queued, the rows of one are handed over while the next one runs. */
static qk_status run_layers(qk_forward *f, const qk_capture_hooks *hooks, qk_error *err)
{
    const qk_model *m = f->m;
    int queued = m->backend->depth - 1, last = -1;
    QK_ASSERT(queued == 0 || queued == 1);
    for (int l = 0; l < m->n_layers; l++) {
        if (m->spec.layer[l].absent) continue;
        QK_TRY(queue_layer(f, l, hooks, err));
        QK_TRY(finish_layer(f, queued ? last : l, queued, hooks, err));
        last = l;
    }
    return queued ? finish_layer(f, last, 0, hooks, err) : QK_OK;
}

qk_status qk_forward_run(qk_forward *f, const qk_batch *batch, const qk_capture_hooks *hooks,
                         qk_error *err)
{
    const qk_model *m = f->m;
    f->tokens = (size_t)batch->seq_start[batch->n_seq];
    f->entered = 0;
    if (!f->tokens) return QK_OK;
    qk_slice_plan(f->slice, &(qk_slice_model){&m->spec, m->n_layers, m->last}, batch, hooks);
    size_t n = qk_slice_rows(f->slice);
    QK_TRY(qk_activations_reserve(&f->a, n, err));
    QK_TRY(qk_activations_rope(&f->a, batch->seq_start, batch->n_seq, err));
    float scale = qk_round_to(m->spec.embed_scale, m->compute);
    const int32_t *ids = qk_slice_ids(f->slice);
    if (n) m->backend->embed(m->device, qk_rows(f->a.x, 0, n), m->embed, ids, scale);
    qk_status status = run_layers(f, hooks, err);
    qk_error ignored; /* nothing may arrive any more in memory that the caller is about to free */
    if (status != QK_OK) {
        m->backend->sync(m->device, 0, &ignored);
        qk_model_layers_drop(m);
    }
    return status;
}

qk_status qk_forward_hidden(qk_forward *f, float *out, qk_error *err)
{
    const qk_model *m = f->m;
    QK_ASSERT(m->final_norm && qk_slice_is_whole(f->slice));
    if (!f->tokens) return QK_OK;
    qk_tensor x = qk_rows(f->a.x, 0, f->tokens);
    m->backend->rmsnorm(m->device, x, x, m->final_norm, m->spec.eps, m->spec.norm_plus_one);
    m->backend->download(m->device, out, x);
    return m->backend->sync(m->device, 0, err);
}
