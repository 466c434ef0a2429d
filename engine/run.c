/* See run.h. */
#include "engine/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arithmetic.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/capture.h"
#include "engine/commit.h"
#include "engine/diff.h"
#include "engine/feed.h"
#include "engine/merge.h"
#include "engine/sha256.h"

typedef struct runner {
    const qk_config *config;
    qk_run_result *result;
    qk_error *err;
    qk_inputs inputs;
    qk_plan plan;
    qk_staging staging;
    qk_arena arena;
    qk_identity identity;
    const qk_json *old_manifest;
    qk_dataset *dataset;
    qk_tokenizer *tokenizer;
    qk_model model; /* loaded when the first unfinished unit turns up */
    bool model_loaded;
    qk_forward *forward;
    qk_capture *capture;
    qk_feed *feed;
    const qk_feed_unit *unit;         /* that is being worked on */
    int32_t *ids, *starts, *ordinals; /* one batch */
    int64_t *example_ids;
    size_t ids_room;
    int64_t rows; /* of the dataset, or -1 */
    int64_t examples_seen;
    double started, forward_started;
} runner;

/* ---- checking one unit ---- */

static qk_status check_ids(const runner *r, const qk_feed_example *w)
{
    for (size_t i = 0; i < w->count; i++) {
        int32_t id = w->ids[i];
        if (id >= 0 && id < r->model.spec.V) continue;
        const char *piece = qk_tokenizer_piece(r->tokenizer, id);
        return qk_fail(r->err, QK_ERR_DATA, "the tokenizer belongs to another model",
                       "example %lld: token %d ('%.40s') but the model's vocabulary has %d tokens",
                       (long long)w->index, id, piece ? piece : "?", r->model.spec.V);
    }
    return QK_OK;
}

static qk_status check_unit(const runner *r)
{
    for (int i = 0; i < r->unit->count; i++) {
        const qk_feed_example *w = &r->unit->examples[i];
        if (w->error.status != QK_OK) {
            *r->err = w->error;
            return qk_error_prefix(r->err, "example %lld", (long long)w->index);
        }
        QK_TRY(check_ids(r, w));
    }
    return QK_OK;
}

/* ---- running one unit ---- */

/* Packs examples from `first` on; returns the next one that did not fit. */
static int pack_batch(runner *r, int first, qk_batch *batch)
{
    int next = first, most = (int)r->config->inference.batch_size;
    size_t T = 0;
    batch->n_seq = 0;
    r->starts[0] = 0;
    for (; next < r->unit->count && batch->n_seq < most; next++) {
        const qk_feed_example *t = &r->unit->examples[next];
        if (batch->n_seq && T + t->count > QK_MOST_BATCH_TOKENS) break;
        if (T + t->count > r->ids_room) {
            r->ids_room = 2 * (T + t->count);
            r->ids = qk_realloc(r->ids, r->ids_room, sizeof *r->ids);
        }
        if (t->count) memcpy(r->ids + T, t->ids, t->count * sizeof *r->ids);
        T += t->count;
        r->ordinals[batch->n_seq] = next;
        r->example_ids[batch->n_seq] = t->id;
        r->starts[++batch->n_seq] = (int32_t)T;
    }
    batch->ids = r->ids;
    batch->seq_start = r->starts;
    return next;
}

/* The capture's hooks, with a look at signals after every layer. */
static qk_status layer_done(void *context, int layer, qk_error *err)
{
    runner *r = context;
    qk_capture_hooks inner = qk_capture_hooks_of(r->capture);
    QK_TRY(inner.layer_done(inner.context, layer, err));
    return qk_interrupt_check(err);
}

static const qk_layer_capture *pre_rope(void *context, int layer)
{
    qk_capture_hooks inner = qk_capture_hooks_of(((runner *)context)->capture);
    return inner.pre_rope ? inner.pre_rope(inner.context, layer) : NULL;
}

static const qk_layer_capture *post_rope(void *context, int layer)
{
    qk_capture_hooks inner = qk_capture_hooks_of(((runner *)context)->capture);
    return inner.post_rope ? inner.post_rope(inner.context, layer) : NULL;
}

static void show_progress(const runner *r, int64_t unit, bool done)
{
    const qk_run_result *res = r->result;
    double seconds = qk_now() - r->forward_started;
    double rate = seconds > 0 ? (double)res->tokens / seconds : 0;
    int64_t total = r->rows;
    char left[64] = "";
    if (total > 0 && res->examples > 0 && !done) {
        double remaining = (double)(total - r->examples_seen) * seconds / (double)res->examples;
        snprintf(left, sizeof left, ", %s left", qk_human_seconds(remaining));
    }
    qk_progress(done, "unit %lld: %lld%s%s examples, %s tokens, %.0f tokens/s, %s rows%s",
                (long long)unit, (long long)r->examples_seen, total > 0 ? " of " : "",
                total > 0 ? qk_human_count((double)total) : "", qk_human_count((double)res->tokens),
                rate, qk_human_count((double)qk_capture_rows(r->capture)), left);
}

static void describe_examples(const runner *r, qk_unit_writer *unit)
{
    for (int i = 0; i < r->unit->count; i++) {
        qk_feed_example *w = &r->unit->examples[i];
        qk_unit_example e = {
            .index = w->index,
            .id = w->id,
            .id_text = w->has_id_text ? qk_buf_str(&w->id_text) : NULL,
            .tokens = (int32_t)w->count,
            .truncated = w->truncated,
        };
        qk_sha256(w->ids, w->count * sizeof(int32_t), e.sha256);
        qk_unit_add_example(unit, &e);
    }
}

static qk_status forward_unit(runner *r, int64_t number, qk_unit_writer *unit)
{
    qk_capture_hooks hooks = {r, pre_rope, post_rope, layer_done};
    for (int next = 0; next < r->unit->count;) {
        qk_batch batch;
        int before = next;
        next = pack_batch(r, next, &batch);
        qk_capture_aim(r->capture, &batch, r->example_ids, r->ordinals, unit);
        QK_TRY(qk_forward_run(r->forward, &batch, &hooks, r->err));
        r->result->tokens += batch.seq_start[batch.n_seq];
        r->result->examples += next - before;
        r->examples_seen += next - before;
        show_progress(r, number, false);
    }
    describe_examples(r, unit);
    return QK_OK;
}

static qk_status load_model(runner *r)
{
    if (r->model_loaded) return QK_OK;
    const qk_config *c = r->config;
    const qk_backend *backend = qk_backend_find(c->inference.backend);
    if (!backend)
        return qk_fail(r->err, QK_ERR_CONFIG, NULL,
                       "inference.backend: '%s' is not in this build; it has %s",
                       c->inference.backend, qk_backend_names());
    qk_model_options options = {
        .backend = backend,
        .device = {.compute = c->model.dtype,
                   .threads = (int)c->inference.threads,
                   .isa = c->inference.isa},
        .overrides = c->model.overrides,
        .last_layer = r->plan.heads.last_layer,
        .layers_in_memory = (int)c->inference.layers_in_memory,
        .room = qk_plan_room(&r->plan, backend),
    };
    QK_TRY(qk_arithmetic_follow(&r->staging, backend, &options.device, r->err));
    QK_TRY(qk_model_load(&r->model, r->plan.model_folder, &options, r->err));
    r->model_loaded = true;
    QK_TRY(qk_arithmetic_note(&r->staging, backend, r->model.device, r->err));
    r->forward = qk_forward_new(&r->model);
    qk_info("%s: %d of %d layers, %s weights as %s, %s", c->model.name, r->model.n_layers,
            r->plan.spec.layers, qk_human_bytes((double)r->model.residence.bytes),
            qk_dtype_name(c->model.dtype), backend->describe(r->model.device));
    if (r->model.residence.read_again)
        qk_info("%s", qk_residence_text(&r->model.residence, &r->arena));
    r->forward_started = qk_now();
    return QK_OK;
}

static qk_status do_unit(runner *r, int64_t number)
{
    char *path = qk_staging_unit(&r->staging, number);
    qk_status s = QK_OK;
    if (!r->unit->wanted) {
        r->result->units_found++;
        r->examples_seen += r->unit->count;
        free(path);
        return QK_OK;
    }
    qk_unit_writer *unit = NULL;
    s = load_model(r);
    if (s == QK_OK) s = check_unit(r);
    if (s == QK_OK) s = qk_unit_create(&unit, path, r->plan.spec.d, r->err);
    if (s == QK_OK) s = forward_unit(r, number, unit);
    if (s == QK_OK)
        s = qk_unit_commit(unit, r->err);
    else
        qk_unit_abort(unit);
    free(path);
    return s;
}

static bool wants_unit(const void *context, int64_t number)
{
    const runner *r = context;
    char *path = qk_staging_unit(&r->staging, number);
    bool done = qk_is_file(path);
    free(path);
    return !done;
}

static void start_feed(runner *r)
{
    qk_feed_plan plan = {
        .dataset = r->dataset,
        .tokenizer = r->tokenizer,
        .max_length = r->config->tokenizer.max_length,
        .unit_examples = r->plan.unit_examples,
        .threads = (int)r->config->inference.threads,
        .wants = wants_unit,
        .context = r,
    };
    r->rows = qk_dataset_rows(r->dataset);
    r->feed = qk_feed_new(&plan);
}

static qk_status forward_all(runner *r, int64_t *units)
{
    bool more = true;
    start_feed(r);
    for (*units = 0; more; ++*units) {
        QK_TRY(qk_interrupt_check(r->err));
        r->unit = qk_feed_next(r->feed);
        if (r->unit->error.status != QK_OK) {
            *r->err = r->unit->error;
            return r->err->status;
        }
        more = r->unit->more;
        if (!r->unit->count) break;
        QK_TRY(do_unit(r, *units));
    }
    if (r->model_loaded) show_progress(r, *units, true);
    r->result->seconds_forward = r->model_loaded ? qk_now() - r->forward_started : 0;
    return qk_staging_set_units(&r->staging, *units, r->err);
}

/* ---- the run ---- */

static void prepare_capture(runner *r)
{
    const qk_config *c = r->config;
    qk_capture_plan plan = {
        .heads = &r->plan.heads,
        .sampler = c->capture.sampler,
        .queries = c->capture.queries,
        .keys = c->capture.keys,
        .per_head_masks = c->capture.per_head_masks,
        .pre_rope = c->capture.pre_rope,
        .d = r->plan.spec.d,
    };
    r->capture = qk_capture_new(&plan);
    size_t n = (size_t)r->plan.unit_examples;
    r->starts = qk_alloc(n + 1, sizeof *r->starts);
    r->ordinals = qk_alloc(n, sizeof *r->ordinals);
    r->example_ids = qk_alloc(n, sizeof *r->example_ids);
}

/* Data files without a manifest are somebody else's: they are not overwritten. */
static qk_status refuse_foreign_files(runner *r)
{
    qk_names files = {0};
    if (!qk_is_dir(r->plan.final)) return QK_OK;
    qk_error ignored;
    qk_status found = qk_find_data_files(r->plan.final, &files, &ignored);
    qk_names_free(&files);
    if (found != QK_OK) return QK_OK;
    return qk_fail(r->err, QK_ERR_CONFIG, "choose another output.data_root, or move the files away",
                   "%s: holds data files but no manifest.json: another program wrote them",
                   r->plan.final);
}

/* In branch layout final/ belongs to one run. */
static qk_status check_final(runner *r)
{
    QK_TRY(qk_manifest_read(r->plan.split_folder, &r->arena, &r->old_manifest, r->err));
    if (r->config->output.layout == QK_LAYOUT_PREFIX) return QK_OK;
    if (!r->old_manifest) return refuse_foreign_files(r);
    const qk_json *runs = qk_json_get(r->old_manifest, "runs");
    const qk_json *then = runs && runs->first ? qk_json_get(runs->first, "identity") : NULL;
    const char *difference = qk_identity_difference(then, r->identity.tree, &r->arena);
    if (!difference) return QK_OK;
    return qk_fail(
        r->err, QK_ERR_CONFIG,
        "choose another output.data_root or hf_branch: a branch holds one set of options",
        "%s: was written with other settings; %s", r->plan.final, difference);
}

static qk_status merge(runner *r, int64_t units)
{
    qk_merge_result merged;
    QK_TRY(qk_merge(&r->plan, &r->staging, &r->identity, r->old_manifest, units, r->tokenizer,
                    &merged, r->err));
    r->result->rows_final = merged.rows;
    r->result->rows_added = merged.rows_added;
    r->result->files = merged.files;
    return qk_staging_clear(&r->staging, units, r->err);
}

static qk_status open_inputs(runner *r)
{
    QK_TRY(qk_tokenizer_load(&r->tokenizer, r->plan.tokenizer_folder, r->err));
    if (qk_tokenizer_vocab_size(r->tokenizer) > (size_t)r->plan.spec.V)
        qk_warn("%s has %zu tokens, the model %d: a text that uses the others is an error",
                r->plan.tokenizer_folder, qk_tokenizer_vocab_size(r->tokenizer), r->plan.spec.V);
    QK_TRY(qk_dataset_open_in(&r->dataset, r->config, qk_inputs_place(&r->inputs), r->err));
    return qk_identity_make(&r->identity, &r->plan, qk_dataset_files(r->dataset), &r->arena,
                            r->err);
}

static qk_status run(runner *r)
{
    QK_TRY(qk_inputs_open(&r->inputs, r->config, QK_INPUTS_RUN, r->err));
    QK_TRY(qk_plan_make(&r->plan, r->config, &r->inputs, r->err));
    snprintf(r->result->final_folder, sizeof r->result->final_folder, "%s", r->plan.final);
    QK_TRY(open_inputs(r));
    QK_TRY(qk_staging_open(&r->staging, r->plan.staging, r->err));
    QK_TRY(qk_commit_recover(&r->staging, r->plan.final, r->err));
    QK_TRY(check_final(r));
    int64_t units;
    QK_TRY(qk_staging_units(&r->staging, &units, r->err));
    if (qk_manifest_is_complete(r->old_manifest, &r->identity, r->plan.split_folder)) {
        r->result->already_complete = true;
        return qk_staging_clear(&r->staging, units, r->err);
    }
    /* A checkpoint that cannot be loaded leaves nothing behind. */
    if (units < 0 && !qk_staging_is_bound(&r->staging)) QK_TRY(load_model(r));
    QK_TRY(qk_staging_bind(&r->staging, &r->identity, &r->arena, r->err));
    if (units < 0) {
        prepare_capture(r);
        QK_TRY(forward_all(r, &units));
    }
    r->result->units = units;
    return merge(r, units);
}

static void free_runner(runner *r)
{
    qk_feed_free(r->feed); /* first: its thread uses dataset and tokenizer */
    free(r->ids);
    free(r->starts);
    free(r->ordinals);
    free(r->example_ids);
    qk_capture_free(r->capture);
    qk_forward_free(r->forward);
    if (r->model_loaded) qk_model_free(&r->model);
    qk_dataset_close(r->dataset);
    qk_tokenizer_free(r->tokenizer);
    qk_staging_close(&r->staging);
    qk_plan_free(&r->plan);
    qk_inputs_free(&r->inputs);
    qk_arena_free(&r->arena);
}

qk_status qk_run(const qk_config *config, qk_run_result *result, qk_error *err)
{
    *result = (qk_run_result){0};
    runner r = {.config = config, .result = result, .err = err, .staging = {.lock = -1}};
    r.started = qk_now();
    qk_interrupt_install();
    qk_status s = run(&r);
    result->seconds_total = qk_now() - r.started;
    free_runner(&r);
    return s;
}
