/* What a forward pass costs, for the plan. See forward.h. */
#include "engine/families/family.h"
#include "engine/forward/activations.h"
#include "engine/forward/forward.h"

uint64_t qk_forward_bytes(const qk_spec *s, const qk_backend *backend, qk_dtype compute, uint64_t T)
{
    uint64_t act = qk_dtype_size(qk_activation_format(compute)), D = (uint64_t)s->D,
             F = qk_widest_ffn(s), chunk = qk_activation_chunk(s, backend),
             width = (uint64_t)(s->H + 2 * s->K) * (uint64_t)s->d;
    uint64_t per_token = 4 * D + act * width + 4;
    for (int i = 0; i < s->n_ropes; i++) per_token += 4 * (uint64_t)s->ropes[i].rotary;
    uint64_t per_row = act * (D + F) + 4 * (2 * F + width);
    if (qk_has_branch(s)) per_row += 4 * D;
    if (s->experts) per_row += act * D + 4 * (uint64_t)s->experts;
    return T * per_token + chunk * per_row;
}

qk_forward_work qk_forward_work_of(const qk_spec *s, int last_layer, qk_last_layer needs,
                                   double length)
{
    double D = s->D, q = (double)s->H * s->d, k = (double)s->K * s->d;
    qk_forward_work work = {0};
    int layers = last_layer < 0 ? s->layers : last_layer + 1;
    for (int l = 0; l < layers; l++) {
        const qk_layer_spec *layer = &s->layer[l];
        qk_last_layer so_far = l == last_layer ? needs : QK_LAST_WHOLE;
        if (layer->absent) continue;
        bool windowed = layer->window && layer->window < length;
        double mlp = layer->sparse ? 3 * D * s->expert_F * s->top_k + D * s->experts : 3 * D * s->F;
        work.products += 2 * length * D * (q + k);
        if (so_far >= QK_LAST_QKV) work.products += 2 * length * D * k;
        if (so_far >= QK_LAST_WHOLE) work.products += 2 * length * (q * D + mlp);
        if (so_far < QK_LAST_ATTENTION) continue;
        if (windowed)
            work.windowed += 4 * length * layer->window * q;
        else
            work.attention += 4 * length * ((length + 1) / 2) * q;
    }
    return work;
}

double qk_forward_flops(const qk_spec *s, int last_layer, qk_last_layer needs, double length)
{
    qk_forward_work work = qk_forward_work_of(s, last_layer, needs, length);
    return work.products + work.attention + work.windowed;
}
