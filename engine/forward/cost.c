/* See cost.h. */
#include "engine/forward/cost.h"

#include "engine/families/family.h"
#include "engine/forward/activations.h"
#include "engine/forward/slice.h"
#include "engine/model/model.h"

uint64_t qk_forward_bytes(const qk_spec *s, const qk_backend *backend, qk_dtype compute, uint64_t T)
{
    uint64_t act = qk_dtype_size(qk_activation_format(compute)), D = (uint64_t)s->D,
             F = qk_widest_ffn(s), chunk = qk_activation_chunk(s, backend),
             width = (uint64_t)(s->H + 2 * s->K) * (uint64_t)s->d;
    uint64_t per_token = 4 * D + act * width + 32; /* 32: row numbers of all kinds */
    for (int i = 0; i < s->n_ropes; i++) per_token += 4 * (uint64_t)s->ropes[i].rotary;
    uint64_t per_row = act * (D + F + (uint64_t)(s->H * s->d)) + 4 * (2 * F + width + D);
    if (qk_has_branch(s)) per_row += 4 * D;
    if (s->experts) per_row += act * D + 4 * (uint64_t)s->experts;
    return T * per_token + chunk * per_row;
}

/* One layer: rows that enter it and rows that go on behind attention; pairs of a query and a key it
 * sees, of text shorter than the window or without one, and cut by it. */
typedef struct layer_rows {
    double enter, leave, pairs, windowed;
} layer_rows;

static void add_layer(qk_forward_work *work, const qk_spec *s, int l, qk_last_layer needs,
                      layer_rows rows)
{
    double D = s->D, q = (double)s->H * s->d, k = (double)s->K * s->d;
    double mlp =
        s->layer[l].sparse ? 3 * D * s->expert_F * s->top_k + D * s->experts : 3 * D * s->F;
    work->products += 2 * rows.enter * D * (q + k);
    if (needs >= QK_LAST_QKV) work->products += 2 * rows.enter * D * k;
    if (needs >= QK_LAST_WHOLE) work->products += 2 * rows.leave * (q * D + mlp);
    if (needs < QK_LAST_ATTENTION) return;
    work->attention += 4 * rows.pairs * q;
    work->windowed += 4 * rows.windowed * q;
}

qk_forward_work qk_forward_work_of(const qk_spec *s, int last_layer, qk_last_layer needs,
                                   double length)
{
    qk_forward_work work = {0};
    int layers = last_layer < 0 ? s->layers : last_layer + 1;
    for (int l = 0; l < layers; l++) {
        int window = s->layer[l].window;
        bool windowed = window && window < length;
        layer_rows rows = {length, length, windowed ? 0 : length * ((length + 1) / 2),
                           windowed ? length * window : 0};
        if (!s->layer[l].absent)
            add_layer(&work, s, l, l == last_layer ? needs : QK_LAST_WHOLE, rows);
    }
    return work;
}

qk_forward_work qk_slice_work(const qk_slice *slice)
{
    qk_forward_work work = {0};
    const qk_slice_model *m = qk_slice_model_of(slice);
    for (int l = 0; l < m->n_layers; l++) {
        qk_slice_size size = qk_slice_size_of(slice, l);
        layer_rows rows = {size.enter, size.leave, size.pairs, size.windowed};
        if (!m->spec->layer[l].absent)
            add_layer(&work, m->spec, l, qk_layer_needs(l, m->n_layers, m->last), rows);
    }
    return work;
}

double qk_forward_flops(const qk_spec *s, int last_layer, qk_last_layer needs, double length)
{
    return qk_forward_work_flops(qk_forward_work_of(s, last_layer, needs, length));
}
