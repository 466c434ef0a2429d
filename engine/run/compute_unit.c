/* See compute_unit.h. */
#include "engine/run/compute_unit.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"
#include "engine/base/interrupt.h"
#include "engine/base/input.h"
#include "engine/base/log.h"
#include "engine/base/stages.h"
#include "engine/capture/capture.h"
#include "engine/capture/unit_file.h"
#include "engine/capture/unit_queue.h"
#include "engine/config/config.h"
#include "engine/forward/forward.h"
#include "engine/model/model.h"
#include "engine/output/example_texts.h"
#include "engine/output/merge.h"
#include "engine/run/dataset_commit.h"
#include "engine/run/estimate.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"
#include "engine/run/prefetch.h"
#include "engine/run/text_work.h"
#include "engine/staging/numerics.h"
#include "engine/tokenizer/tokenizer.h"

/* A unit whose rows are all handed over, until it is on the disk. The writer's while its job runs. */
typedef struct ending {
    qk_unit_writer *file; /* NULL: committed, or none */
    qk_claim claim;
    int64_t job;
} ending;

struct qk_compute {
    qk_compute_plan p;
    bool loaded;
    qk_model model;
    qk_forward *forward;
    qk_capture *capture;
    qk_unit_queue *queue; /* NULL until the model is loaded first */
    ending ending;        /* the unit before the one in work */
    qk_unit_stamp stamp;
    const qk_prefetch_unit *unit; /* that is being worked on */
    int32_t *ids, *starts;        /* one batch */
    qk_capture_example *sequences;
    size_t ids_capacity;
    double taking; /* seconds so far that the forward waited while rows were taken from it */
    qk_text_work *text_work;
    double *flops, *whole_flops; /* of each text of the unit; of all its rows in all layers */
    qk_computed done;
};

qk_compute *qk_compute_new(const qk_compute_plan *p)
{
    const qk_plan *plan = p->plan;
    const qk_capture_plan capture = qk_plan_capture(plan);
    size_t n = (size_t)plan->unit_examples;
    qk_compute *w = qk_zalloc(1, sizeof *w);
    *w = (qk_compute){
        .p = *p,
        .capture = qk_capture_new(&capture),
        .ending.claim.fd = -1,
        .starts = qk_alloc(n + 1, sizeof *w->starts),
        .sequences = qk_alloc(n, sizeof *w->sequences),
        .text_work = qk_text_work_new(plan),
        .flops = qk_alloc(n, sizeof *w->flops),
        .whole_flops = qk_alloc(n, sizeof *w->whole_flops),
    };
    return w;
}

/* ---- the model ---- */

static qk_status open_model(qk_compute *w, const qk_backend *backend, qk_error *err)
{
    const qk_plan *plan = w->p.plan;
    const qk_config *c = plan->config;
    qk_model_options options = {
        .backend = backend,
        .device = {.compute = c->model.dtype,
                   .threads = (int)c->inference.threads,
                   .isa = c->inference.isa},
        .overrides = c->model.overrides,
        .last_layer = plan->heads.last_layer,
        .last_needs = qk_plan_last_needs(plan),
        .layers_in_memory = (int)c->inference.layers_in_memory,
        .reserve = qk_estimate_reserve(plan, backend),
    };
    QK_TRY(qk_numerics_follow(w->p.staging, w->p.existing, backend, &options.device, err));
    QK_TRY(qk_model_load(&w->model, plan->model_folder, &options, err));
    w->loaded = true;
    return qk_watch_check(plan->inputs->files, err); /* they were the hashed ones */
}

static void describe_model(const qk_compute *w, const qk_backend *backend)
{
    const qk_config *c = w->p.plan->config;
    qk_info("%s: %d of %d layers, %s weights as %s, %s", c->model.name, w->model.n_layers,
            w->p.plan->spec.layers, qk_human_bytes((double)w->model.budget.bytes),
            qk_dtype_name(c->model.dtype), backend->describe(w->model.device));
    qk_arena arena = {0};
    if (w->model.budget.read_again) qk_info("%s", qk_layer_budget_text(&w->model.budget, &arena));
    qk_arena_free(&arena);
}

qk_status qk_compute_load(qk_compute *w, qk_error *err)
{
    if (w->loaded) return QK_OK;
    const char *name = w->p.plan->config->inference.backend;
    const qk_backend *backend = qk_backend_find(name);
    if (!backend)
        return qk_fail(err, QK_ERR_CONFIG, NULL,
                       "inference.backend: '%s' is not in this build; it has %s", name,
                       qk_backend_names());
    if (!w->queue) QK_TRY(qk_unit_queue_new(&w->queue, err));
    for (bool same = false; !same;) {
        qk_compute_unload(w);
        QK_TRY(open_model(w, backend, err));
        QK_TRY(qk_dataset_commit_bind(w->p.staging, w->p.identity, err));
        QK_TRY(qk_numerics_note(w->p.staging, backend, w->model.device, &same, err));
    }
    QK_TRY(qk_numerics_stamp(&w->stamp, w->p.staging, w->p.identity, err));
    describe_model(w, backend);
    w->forward = qk_forward_new(&w->model);
    if (w->done.began == 0) w->done.began = qk_now();
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

static qk_status check_unit(const qk_compute *w, qk_error *err)
{
    for (int i = 0; i < w->unit->count; i++) {
        const qk_prefetch_example *e = &w->unit->examples[i];
        if (e->error.status != QK_OK) {
            *err = e->error;
            return qk_error_prefix(err, "example %lld", (long long)e->index);
        }
        for (size_t t = 0; t < e->count; t++) {
            int32_t id = e->ids[t];
            if (id >= 0 && id < w->model.spec.V) continue;
            const char *piece = qk_tokenizer_piece(w->p.tokenizer, id);
            return qk_fail(
                err, QK_ERR_DATA, "the tokenizer belongs to another model",
                "example %lld: token %d ('%.40s') but the model's vocabulary has %d tokens",
                (long long)e->index, id, piece ? piece : "?", w->model.spec.V);
        }
    }
    return QK_OK;
}

/* ---- the forward ---- */

/* Packs examples from `first` on; returns the next one that did not fit. */
static int pack_batch(qk_compute *w, int first, qk_batch *batch)
{
    const qk_batch_limits most = qk_batch_limits_of(w->p.plan->config);
    int next = first;
    size_t T = 0;
    batch->n_seq = 0;
    w->starts[0] = 0;
    for (; next < w->unit->count && batch->n_seq < most.examples; next++) {
        qk_prefetch_example *e = &w->unit->examples[next];
        if (batch->n_seq && T + e->count > (size_t)most.tokens) break;
        if (T + e->count > w->ids_capacity) {
            w->ids_capacity = 2 * (T + e->count);
            w->ids = qk_realloc(w->ids, w->ids_capacity, sizeof *w->ids);
        }
        if (e->count) memcpy(w->ids + T, e->ids, e->count * sizeof *w->ids);
        T += e->count;
        w->sequences[batch->n_seq] = (qk_capture_example){
            .id = e->id,
            .ordinal = next,
        };
        w->starts[++batch->n_seq] = (int32_t)T;
    }
    batch->ids = w->ids;
    batch->seq_start = w->starts;
    return next;
}

/* The capture's hooks, and progress and a check for signals after every layer. */
static qk_status layer_done(void *context, int layer, qk_error *err)
{
    qk_compute *w = context;
    qk_capture_hooks inner = qk_capture_hooks_of(w->capture);
    double began = qk_now();
    QK_TRY(inner.layer_done(inner.context, layer, err));
    w->taking += qk_now() - began;
    w->done.share = (layer + 1.0) / w->model.n_layers;
    w->p.progress(w->p.context);
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

static void wanted(void *context, int layer, uint64_t *rows, uint64_t *with_lse)
{
    qk_capture_hooks inner = qk_capture_hooks_of(((qk_compute *)context)->capture);
    inner.wanted(inner.context, layer, rows, with_lse);
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
        if (qk_texts_find(w->p.texts, &e) == QK_TEXT_OTHER)
            return qk_merge_refuse_text(w->p.texts, &e, w->p.plan->split_folder, err);
        qk_unit_add_example(file, &e);
    }
    return QK_OK;
}

static double sum_of(const double *flops, int from, int to)
{
    double sum = 0;
    for (int i = from; i < to; i++) sum += flops[i];
    return sum;
}

static void begin_unit(qk_compute *w)
{
    qk_computed *d = &w->done;
    for (int i = 0; i < w->unit->count; i++) {
        const qk_prefetch_example *e = &w->unit->examples[i];
        qk_forward_work whole,
            work = qk_text_work_of(w->text_work, e->id, (int32_t)e->count, &whole);
        w->flops[i] = qk_forward_work_flops(work);
        w->whole_flops[i] = qk_forward_work_flops(whole);
    }
    d->unit_texts = w->unit->count;
    d->work_ahead = sum_of(w->flops, 0, w->unit->count);
    d->work_known += d->work_ahead;
    d->known_texts += w->unit->count;
}

static void begin_batch(qk_compute *w, int first, int next, int64_t tokens)
{
    qk_computed *d = &w->done;
    d->batch_texts = next - first;
    d->batch_tokens = tokens;
    d->batch_work = sum_of(w->flops, first, next);
    d->batch_whole = sum_of(w->whole_flops, first, next);
    d->work_ahead -= d->batch_work;
}

static void end_batch(qk_compute *w)
{
    qk_computed *d = &w->done;
    d->tokens += d->batch_tokens;
    d->examples += d->batch_texts;
    d->unit_done += d->batch_texts;
    d->work += d->batch_work;
    d->whole += d->batch_whole;
    d->batch_texts = d->batch_tokens = 0;
    d->batch_work = d->batch_whole = d->share = 0;
}

static qk_status forward_unit(qk_compute *w, qk_unit_writer *file, qk_error *err)
{
    bool slice = w->p.plan->config->inference.slice;
    qk_capture_hooks hooks = {w, pre_rope, post_rope, layer_done, slice ? wanted : NULL};
    begin_unit(w);
    for (int next = 0; next < w->unit->count;) {
        qk_batch batch;
        int before = next;
        next = pack_batch(w, next, &batch);
        qk_capture_aim(w->capture, &batch, w->sequences, file, w->queue);
        begin_batch(w, before, next, batch.seq_start[batch.n_seq]);
        if (before == 0) w->p.progress(w->p.context);
        double began = qk_now(), taken = w->taking;
        QK_TRY(qk_forward_run(w->forward, &batch, &hooks, err));
        taken = w->taking - taken;
        qk_stage_add(QK_STAGE_ROWS, taken);
        qk_stage_add(QK_STAGE_FORWARD, qk_now() - began - taken);
        end_batch(w);
    }
    return QK_OK;
}

static qk_status compute(qk_compute *w, const qk_claim *claim, qk_unit_writer **file, qk_error *err)
{
    QK_TRY(qk_compute_load(w, err));
    QK_TRY(check_unit(w, err));
    QK_TRY(qk_unit_create(file, claim->unit, claim->tmp, &w->stamp, w->p.plan->spec.d, err));
    QK_TRY(describe_examples(w, *file, err));
    QK_TRY(forward_unit(w, *file, err));
    qk_unit_queue_wait(w->queue, w->ending.job); /* one ends at a time */
    return qk_unit_queue_check(w->queue, err);
}

/* ---- its end, behind the forward ---- */

/* The writer's job. */
static qk_status commit_unit(void *context, qk_error *err)
{
    ending *e = context;
    qk_status s = qk_unit_commit(e->file, err);
    e->file = NULL;
    qk_claim_drop(&e->claim);
    return s;
}

static void hand_over(qk_compute *w, qk_unit_writer *file, qk_claim *claim)
{
    const qk_unit_job job = {.run = commit_unit, .context = &w->ending, .unit = file};
    w->ending = (ending){.file = file, .claim = *claim};
    *claim = (qk_claim){.fd = -1};
    w->ending.job = qk_unit_queue_put(w->queue, &job);
    w->done.unit_texts = w->done.unit_done = 0;
}

qk_status qk_compute_unit(qk_compute *w, const qk_prefetch_unit *unit, qk_claim *claim,
                          qk_error *err)
{
    qk_unit_writer *file = NULL;
    w->unit = unit;
    qk_status s = compute(w, claim, &file, err);
    if (s == QK_OK) {
        hand_over(w, file, claim);
        return QK_OK;
    }
    if (file) qk_unit_queue_drop(w->queue, file);
    qk_unit_abort(file);
    return s;
}

bool qk_compute_is_written(const qk_compute *w)
{
    qk_error ignored;
    return !w->queue || (qk_unit_queue_ended(w->queue, w->ending.job) &&
                         qk_unit_queue_check(w->queue, &ignored) == QK_OK);
}

qk_status qk_compute_finish(qk_compute *w, qk_error *err)
{
    if (!w->queue) return QK_OK;
    qk_unit_queue_wait(w->queue, w->ending.job);
    if (w->ending.file) qk_unit_abort(w->ending.file); /* the writer failed before it */
    w->ending.file = NULL;
    qk_claim_drop(&w->ending.claim);
    return qk_unit_queue_check(w->queue, err);
}

qk_computed qk_compute_done(const qk_compute *w)
{
    qk_computed done = w->done;
    done.rows = qk_capture_rows(w->capture);
    return done;
}

void qk_compute_free(qk_compute *w)
{
    if (!w) return;
    qk_compute_unload(w);
    qk_unit_queue_free(w->queue);
    qk_capture_free(w->capture);
    free(w->ids);
    free(w->starts);
    free(w->sequences);
    qk_text_work_free(w->text_work);
    free(w->flops);
    free(w->whole_flops);
    free(w);
}
