/* See compute_unit.h. */
#include "engine/run/compute_unit.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/run/dataset_commit.h"

/* ---- the model ---- */

static qk_status open_model(qk_compute *w, const qk_backend *backend, qk_error *err)
{
    const qk_config *c = w->plan->config;
    qk_model_options options = {
        .backend = backend,
        .device = {.compute = c->model.dtype,
                   .threads = (int)c->inference.threads,
                   .isa = c->inference.isa},
        .overrides = c->model.overrides,
        .last_layer = w->plan->heads.last_layer,
        .layers_in_memory = (int)c->inference.layers_in_memory,
        .reserve = qk_plan_reserve(w->plan, backend),
    };
    QK_TRY(qk_numerics_follow(w->staging, &w->there, backend, &options.device, err));
    QK_TRY(qk_model_load(&w->model, w->plan->model_folder, &options, err));
    w->loaded = true;
    return qk_watch_check(w->plan->inputs->files, err); /* they were the hashed ones */
}

static void prepare_capture(qk_compute *w)
{
    const qk_config *c = w->plan->config;
    qk_capture_plan plan = {
        .heads = &w->plan->heads,
        .sampler = c->capture.sampler,
        .queries = c->capture.queries,
        .keys = c->capture.keys,
        .per_head_masks = c->capture.per_head_masks,
        .pre_rope = c->capture.pre_rope,
        .allow_nonfinite = c->capture.allow_nonfinite,
        .d = w->plan->spec.d,
    };
    w->capture = qk_capture_new(&plan);
    size_t n = (size_t)w->plan->unit_examples;
    w->starts = qk_alloc(n + 1, sizeof *w->starts);
    w->sequences = qk_alloc(n, sizeof *w->sequences);
}

static void describe_model(const qk_compute *w, const qk_backend *backend)
{
    const qk_config *c = w->plan->config;
    qk_info("%s: %d of %d layers, %s weights as %s, %s", c->model.name, w->model.n_layers,
            w->plan->spec.layers, qk_human_bytes((double)w->model.budget.bytes),
            qk_dtype_name(c->model.dtype), backend->describe(w->model.device));
    qk_arena arena = {0};
    if (w->model.budget.read_again) qk_info("%s", qk_layer_budget_text(&w->model.budget, &arena));
    qk_arena_free(&arena);
}

qk_status qk_compute_load(qk_compute *w, qk_error *err)
{
    if (w->loaded) return QK_OK;
    const char *name = w->plan->config->inference.backend;
    const qk_backend *backend = qk_backend_find(name);
    if (!backend)
        return qk_fail(err, QK_ERR_CONFIG, NULL,
                       "inference.backend: '%s' is not in this build; it has %s", name,
                       qk_backend_names());
    for (bool same = false; !same;) {
        qk_compute_unload(w);
        QK_TRY(open_model(w, backend, err));
        QK_TRY(qk_dataset_commit_bind(w->staging, w->identity, err));
        QK_TRY(qk_numerics_note(w->staging, backend, w->model.device, &same, err));
    }
    QK_TRY(qk_numerics_stamp(&w->stamp, w->staging, w->identity, err));
    describe_model(w, backend);
    w->forward = qk_forward_new(&w->model);
    if (!w->capture) prepare_capture(w);
    if (w->began == 0) w->began = qk_now();
    return QK_OK;
}

void qk_compute_unload(qk_compute *w)
{
    qk_forward_free(w->forward);
    w->forward = NULL;
    if (w->loaded) qk_model_free(&w->model);
    w->loaded = false;
}

/* ---- checking a unit ---- */

static qk_status check_ids(const qk_compute *w, const qk_prefetch_example *e, qk_error *err)
{
    for (size_t i = 0; i < e->count; i++) {
        int32_t id = e->ids[i];
        if (id >= 0 && id < w->model.spec.V) continue;
        const char *piece = qk_tokenizer_piece(w->tokenizer, id);
        return qk_fail(err, QK_ERR_DATA, "the tokenizer belongs to another model",
                       "example %lld: token %d ('%.40s') but the model's vocabulary has %d tokens",
                       (long long)e->index, id, piece ? piece : "?", w->model.spec.V);
    }
    return QK_OK;
}

static qk_status check_unit(const qk_compute *w, qk_error *err)
{
    for (int i = 0; i < w->unit->count; i++) {
        const qk_prefetch_example *e = &w->unit->examples[i];
        if (e->error.status != QK_OK) {
            *err = e->error;
            return qk_error_prefix(err, "example %lld", (long long)e->index);
        }
        QK_TRY(check_ids(w, e, err));
    }
    return QK_OK;
}

/* ---- the forward ---- */

/* Packs examples from `first` on; returns the next one that did not fit. */
static int pack_batch(qk_compute *w, int first, qk_batch *batch)
{
    int next = first, most = (int)w->plan->config->inference.batch_size;
    size_t T = 0;
    batch->n_seq = 0;
    w->starts[0] = 0;
    for (; next < w->unit->count && batch->n_seq < most; next++) {
        qk_prefetch_example *e = &w->unit->examples[next];
        if (batch->n_seq && T + e->count > QK_MOST_BATCH_TOKENS) break;
        if (T + e->count > w->ids_room) {
            w->ids_room = 2 * (T + e->count);
            w->ids = qk_realloc(w->ids, w->ids_room, sizeof *w->ids);
        }
        if (e->count) memcpy(w->ids + T, e->ids, e->count * sizeof *w->ids);
        T += e->count;
        w->sequences[batch->n_seq] = (qk_capture_example){
            .id = e->id,
            .ordinal = next,
            .index = e->index,
            .id_text = e->has_id_text ? qk_buf_str(&e->id_text) : NULL,
        };
        w->starts[++batch->n_seq] = (int32_t)T;
    }
    batch->ids = w->ids;
    batch->seq_start = w->starts;
    return next;
}

/* The capture's hooks, with a look at signals after every layer. */
static qk_status layer_done(void *context, int layer, qk_error *err)
{
    qk_capture_hooks inner = qk_capture_hooks_of(((qk_compute *)context)->capture);
    QK_TRY(inner.layer_done(inner.context, layer, err));
    return qk_interrupt_check(err);
}

static const qk_layer_capture *pre_rope(void *context, int layer)
{
    qk_capture_hooks inner = qk_capture_hooks_of(((qk_compute *)context)->capture);
    return inner.pre_rope ? inner.pre_rope(inner.context, layer) : NULL;
}

static const qk_layer_capture *post_rope(void *context, int layer)
{
    qk_capture_hooks inner = qk_capture_hooks_of(((qk_compute *)context)->capture);
    return inner.post_rope ? inner.post_rope(inner.context, layer) : NULL;
}

static qk_status describe_examples(const qk_compute *w, qk_unit_writer *file, qk_error *err)
{
    for (int i = 0; i < w->unit->count; i++) {
        qk_prefetch_example *f = &w->unit->examples[i];
        qk_unit_example e = {
            .index = f->index,
            .id = f->id,
            .id_text = f->has_id_text ? qk_buf_str(&f->id_text) : NULL,
            .id_length = f->id_text.size,
            .tokens = (int32_t)f->count,
            .truncated = f->truncated,
        };
        qk_sha256(f->ids, f->count * sizeof(int32_t), e.sha256);
        QK_TRY(w->example(w->context, &e, err));
        qk_unit_add_example(file, &e);
    }
    return QK_OK;
}

static qk_status forward_unit(qk_compute *w, qk_unit_writer *file, qk_error *err)
{
    qk_capture_hooks hooks = {w, pre_rope, post_rope, layer_done};
    QK_TRY(describe_examples(w, file, err));
    for (int next = 0; next < w->unit->count;) {
        qk_batch batch;
        int before = next;
        next = pack_batch(w, next, &batch);
        qk_capture_aim(w->capture, &batch, w->sequences, file);
        QK_TRY(qk_forward_run(w->forward, &batch, &hooks, err));
        w->tokens += batch.seq_start[batch.n_seq];
        w->examples += next - before;
        w->progress(w->context);
    }
    return QK_OK;
}

qk_status qk_compute_unit(qk_compute *w, const qk_prefetch_unit *unit, const qk_claim *claim,
                          qk_error *err)
{
    qk_unit_writer *file = NULL;
    QK_TRY(qk_compute_load(w, err));
    w->unit = unit;
    QK_TRY(check_unit(w, err));
    QK_TRY(qk_unit_create(&file, claim->unit, claim->tmp, &w->stamp, w->plan->spec.d, err));
    qk_status s = forward_unit(w, file, err);
    if (s == QK_OK) return qk_unit_commit(file, err);
    qk_unit_abort(file);
    return s;
}

uint64_t qk_compute_rows(const qk_compute *w)
{
    return w->capture ? qk_capture_rows(w->capture) : 0;
}

void qk_compute_free(qk_compute *w)
{
    qk_compute_unload(w);
    qk_capture_free(w->capture);
    free(w->ids);
    free(w->starts);
    free(w->sequences);
}
