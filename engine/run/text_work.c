/* See text_work.h. */
#include "engine/run/text_work.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/capture/capture.h"
#include "engine/config/config.h"
#include "engine/forward/slice.h"
#include "engine/run/plan.h"

struct qk_text_work {
    const qk_plan *plan;
    qk_slice_model model;
    qk_capture *capture;
    qk_slice *slice;
};

qk_last_layer qk_plan_last_needs(const qk_plan *plan)
{
    const qk_layer_heads *last = &plan->heads.layers[plan->heads.n_layers - 1];
    if (last->n_q && plan->config->capture.lse) return QK_LAST_ATTENTION;
    return last->n_v ? QK_LAST_QKV : QK_LAST_QK;
}

qk_text_work *qk_text_work_new(const qk_plan *plan)
{
    qk_text_work *w = qk_zalloc(1, sizeof *w);
    const qk_capture_plan capture = qk_plan_capture(plan);
    *w = (qk_text_work){
        .plan = plan,
        .model = {&plan->spec, plan->heads.last_layer + 1, qk_plan_last_needs(plan)},
        .capture = qk_capture_new(&capture),
        .slice = qk_slice_new(),
    };
    return w;
}

void qk_text_work_free(qk_text_work *w)
{
    if (!w) return;
    qk_capture_free(w->capture);
    qk_slice_free(w->slice);
    free(w);
}

qk_forward_work qk_text_work_of(qk_text_work *w, int64_t id, int32_t tokens, qk_forward_work *whole)
{
    qk_forward_work all =
        qk_forward_work_of(&w->plan->spec, w->plan->heads.last_layer, w->model.last, tokens);
    if (whole) *whole = all;
    if (!w->plan->config->inference.slice) return all;
    const int32_t starts[] = {0, tokens};
    const qk_batch batch = {.seq_start = starts, .n_seq = 1};
    const qk_capture_example example = {.id = id};
    qk_capture_aim(w->capture, &batch, &example, NULL, NULL);
    const qk_capture_hooks hooks = qk_capture_hooks_of(w->capture);
    qk_slice_plan(w->slice, &w->model, &batch, &hooks);
    return qk_slice_work(w->slice);
}

const char *qk_slice_text(char *out, size_t size, double flops, double whole_flops)
{
    double skipped = whole_flops > 0 ? 100 * (1 - flops / whole_flops) : 0;
    *out = 0;
    if (skipped >= 1) snprintf(out, size, "; slice: %.0f %% of the operations skipped", skipped);
    return out;
}
