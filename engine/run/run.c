/* See run.h. */
#include "engine/run/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/stages.h"
#include "engine/base/team.h"
#include "engine/base/text.h"
#include "engine/config/config.h"
#include "engine/dataset/hub_dataset.h"
#include "engine/output/example_texts.h"
#include "engine/output/merge.h"
#include "engine/run/compute_unit.h"
#include "engine/run/dataset_commit.h"
#include "engine/run/disk.h"
#include "engine/run/existing.h"
#include "engine/run/identify.h"
#include "engine/run/inputs.h"
#include "engine/run/partial.h"
#include "engine/run/pass.h"
#include "engine/run/plan.h"
#include "engine/run/push_rights.h"
#include "engine/run/sharing.h"
#include "engine/run/timings.h"
#include "engine/staging/numerics.h"
#include "engine/staging/publish.h"
#include "engine/tokenizer/tokenizer.h"

typedef struct runner {
    qk_run_result *result;
    qk_error *err;
    qk_inputs inputs;
    qk_plan plan;
    qk_staging *staging;
    qk_arena arena; /* of the identity */
    qk_identity identity;
    qk_existing existing;
    qk_sharing sharing;
    qk_texts texts; /* prefix layout: of final/ */
    qk_dataset *dataset;
    qk_tokenizer *tokenizer;
    qk_compute *compute;
    qk_pass pass;
    int64_t dropped; /* units that were found to be damaged */
} runner;

/* ---- the end: merging ---- */

/* A unit that was found to be damaged is done again; no more of them than there are units, so a
 * disk that damages all it is given ends this. Held alone, with the merge's error. */
static qk_status drop_damaged(runner *r, int64_t unit)
{
    if (unit < 0 || r->dropped == r->result->units) return r->err->status;
    char *path = qk_staging_unit(r->staging, unit);
    qk_warn("%s; it is computed again", r->err->message);
    qk_status s = qk_remove_file(path, r->err);
    free(path);
    r->dropped++;
    return s == QK_OK ? qk_publish_clean(r->staging, r->err) : s;
}

/* *done stays false when units must be computed again. */
static qk_status merge(runner *r, bool *done)
{
    qk_merge_result merged;
    QK_TRY(qk_numerics_check_existing(r->staging, &r->existing.rows, r->err));
    qk_texts_free(&r->texts); /* the merge has its own */
    const qk_output output = qk_plan_output(&r->plan);
    const qk_merge_job job = {.out = &output,
                              .staging = r->staging,
                              .work = r->staging,
                              .id = &r->identity,
                              .old = r->existing.manifest,
                              .units = r->result->units,
                              .tokenizer = r->tokenizer};
    double began = qk_now();
    qk_status s = qk_merge(&job, &merged, r->err);
    qk_stage_add(QK_STAGE_MERGE, qk_now() - began);
    if (s != QK_OK) return drop_damaged(r, merged.damaged);
    *done = true;
    r->result->rows_final = merged.rows;
    r->result->rows_added = merged.rows_added;
    r->result->files = merged.files;
    r->result->outcome = QK_RUN_MERGED;
    QK_TRY(qk_staging_note_merge(r->staging, r->err));
    return qk_staging_clear(r->staging, r->err);
}

/* *done is false when units are missing after all. */
static qk_status finish(runner *r, bool *done)
{
    qk_left left;
    qk_compute_unload(r->compute);
    r->result->outcome = QK_RUN_MERGED_BY_OTHER;
    QK_TRY(qk_sharing_hold_alone(&r->sharing, done, r->err));
    if (*done) return QK_OK;
    QK_TRY(qk_claims_left(&left, r->staging, r->pass.shard, r->result->units, r->err));
    bool all = left.missing == 0;
    qk_left_free(&left);
    if (all) QK_TRY(merge(r, done));
    if (*done) return QK_OK;
    qk_entry entry;
    QK_TRY(qk_sharing_enter(&r->sharing, &entry, r->err));
    *done = entry != QK_ENTRY_WORK;
    return QK_OK;
}

/* ---- passes ---- */

/* Passes until nothing is left that this process could do. */
static qk_status work(runner *r)
{
    qk_run_result *result = r->result;
    for (bool done = false; !done;) {
        int64_t units;
        QK_TRY(qk_staging_units(r->staging, &units, r->err));
        if (units < 0) {
            QK_TRY(qk_pass_run(&r->pass, INT64_MAX, r->err));
            continue;
        }
        qk_left left;
        QK_TRY(qk_claims_left(&left, r->staging, r->pass.shard, units, r->err));
        result->units = units;
        result->units_left = left.missing;
        qk_list_numbers(result->busy, sizeof result->busy, left.busy.items, left.busy.count);
        int64_t stop = left.last_free + 1; /* 0: nothing that this process could do */
        qk_left_free(&left);
        if (stop) {
            QK_TRY(qk_pass_run(&r->pass, stop, r->err));
        } else if (result->units_left) {
            result->outcome = QK_RUN_UNFINISHED;
            return QK_OK;
        } else {
            qk_pass_tell_there(&r->pass, units, units);
            QK_TRY(finish(r, &done));
        }
    }
    result->units_left = 0;
    return QK_OK;
}

/* ---- the beginning ---- */

static qk_status open_inputs(runner *r, const qk_config *config)
{
    QK_TRY(qk_inputs_open(&r->inputs, config, QK_INPUTS_RUN, r->err));
    QK_TRY(qk_plan_make(&r->plan, config, &r->inputs, r->err));
    QK_TRY(qk_tokenizer_load(&r->tokenizer, r->plan.tokenizer_folder, r->err));
    if (qk_tokenizer_vocab_size(r->tokenizer) > (size_t)r->plan.spec.V)
        qk_warn("%s has %zu tokens, the model %d: a text that uses the others is an error",
                r->plan.tokenizer_folder, qk_tokenizer_vocab_size(r->tokenizer), r->plan.spec.V);
    QK_TRY(qk_dataset_open_in(&r->dataset, config, qk_inputs_remote(&r->inputs), r->err));
    qk_dataset_watch(r->dataset, r->inputs.rows);
    return qk_identity_make(&r->identity, &r->plan, r->dataset, &r->arena, r->err);
}

/* The texts of final/ are known before anything is computed, so that another one under one of their
 * ids ends the run at its unit. The merge checks again: the units of all processes. */
static qk_status read_texts(runner *r)
{
    if (!r->plan.prefix) return QK_OK;
    char *path = qk_path_join(r->plan.split_folder, "examples.parquet");
    bool there;
    qk_status s = qk_has_file(path, &there, r->err);
    if (s == QK_OK && there) s = qk_texts_read(&r->texts, path, r->err);
    free(path);
    return s;
}

/* Makes the folder this run's, and inspects the units that are there. Texts that are not there or a
 * checkpoint that cannot be loaded leave nothing behind. */
static qk_status bind_folder(runner *r, const qk_units *finished)
{
    bool bound;
    QK_TRY(qk_sharing_check_owner(&r->sharing, &bound, r->err)); /* before it is made this run's */
    if (!finished->count && !bound) {
        QK_TRY(qk_dataset_begin(r->dataset, r->err));
        QK_TRY(qk_compute_load(r->compute, r->err));
    } else {
        QK_TRY(qk_dataset_commit_bind(r->staging, &r->identity, r->err));
        QK_TRY(qk_numerics_check_existing(r->staging, &r->existing.rows, r->err));
    }
    return qk_numerics_check_units(r->staging, &r->identity, finished, r->err);
}

static qk_status begin(runner *r)
{
    qk_units finished;
    QK_TRY(qk_staging_finished(r->staging, &finished, r->err));
    qk_status s = read_texts(r);
    qk_compute_plan plan = {
        .plan = &r->plan,
        .tokenizer = r->tokenizer,
        .staging = r->staging,
        .identity = &r->identity,
        .existing = &r->existing.rows,
        .texts = &r->texts,
        .progress = qk_pass_show,
        .context = &r->pass,
    };
    r->pass.compute = r->compute = qk_compute_new(&plan);
    if (s == QK_OK) s = bind_folder(r, &finished);
    qk_units_free(&finished);
    return s;
}

/* ---- merging without computing ---- */

/* Units of the run: noted once the dataset was read to its end, or by the rows that it says it has;
 * else -1. */
static qk_status count_units(runner *r, int64_t *all)
{
    const int64_t size = r->plan.unit_examples;
    QK_TRY(qk_staging_units(r->staging, all, r->err));
    if (*all >= 0) return QK_OK;
    int64_t rows = r->pass.rows_known;
    if (rows < 0 && !r->inputs.dataset) {
        QK_TRY(qk_dataset_begin(r->dataset, r->err));
        rows = qk_dataset_rows(r->dataset);
        qk_dataset_rewind(r->dataset);
    }
    if (rows >= 0) *all = (rows + size - 1) / size;
    return QK_OK;
}

/* The units that a part lacks; where it is not known how many there are, those before its last. */
static void name_missing(qk_run_result *result, const qk_units *part)
{
    int64_t end = result->units < 0 ? part->items[part->count - 1] : result->units;
    qk_units missing = {0};
    for (int64_t i = 0; i < end; i++) {
        if (qk_units_has(part, i)) continue;
        QK_GROW(missing.items, missing.count, missing.capacity);
        missing.items[missing.count++] = i;
    }
    qk_list_numbers(result->missing, sizeof result->missing, missing.items, missing.count);
    qk_units_free(&missing);
}

static qk_status merge_part(runner *r, qk_units *finished)
{
    qk_run_result *result = r->result;
    const qk_merge_job job = {.staging = r->staging,
                              .id = &r->identity,
                              .units = result->units,
                              .tokenizer = r->tokenizer};
    qk_merge_result merged;
    char *folder;
    double began = qk_now();
    qk_status s = qk_partial_make(&r->plan, &job, finished, &merged, &folder, r->err);
    qk_stage_add(QK_STAGE_MERGE, qk_now() - began);
    snprintf(result->final_folder, sizeof result->final_folder, "%s", folder);
    free(folder);
    if (s != QK_OK) return s;
    result->units_merged = (int64_t)finished->count;
    name_missing(result, finished);
    result->rows_final = result->rows_added = merged.rows;
    result->files = merged.files;
    result->outcome = QK_RUN_MERGED_PART;
    return QK_OK;
}

/* What is there becomes a dataset, as far as the goal allows. */
static qk_status merge_finished(runner *r, qk_run_goal goal, bool *done)
{
    qk_run_result *result = r->result;
    qk_units finished;
    QK_TRY(count_units(r, &result->units));
    QK_TRY(qk_staging_finished(r->staging, &finished, r->err));
    int64_t all = result->units, there = 0;
    for (size_t i = 0; i < finished.count; i++) there += all < 0 || finished.items[i] < all;
    result->units_found = there;
    result->units_left = all < 0 ? -1 : all - there;
    qk_status s = QK_OK;
    *done = true;
    if (!there)
        s = qk_fail(r->err, QK_ERR_NOTFOUND, "qkengine run computes them",
                    "%s: no unit of this run is finished", r->staging->folder);
    else if (all >= 0 && there >= all)
        *done = false;
    else if (goal == QK_RUN_PART)
        s = merge_part(r, &finished);
    else
        result->outcome = QK_RUN_UNFINISHED;
    qk_units_free(&finished);
    if (s != QK_OK || *done) return s;
    QK_TRY(qk_staging_set_units(r->staging, all, r->err)); /* of units that were copied together */
    return finish(r, done);
}

/* Whoever only merges makes no folder, and loads no weights. */
static qk_status check_there(runner *r)
{
    bool there;
    QK_TRY(qk_has_folder(r->staging->folder, &there, r->err));
    if (there) return QK_OK;
    return qk_fail(r->err, QK_ERR_NOTFOUND, "qkengine run computes them",
                   "%s: there is no such folder, and so no unit of this run", r->staging->folder);
}

static qk_status merge_only(runner *r, qk_run_goal goal)
{
    qk_units finished;
    QK_TRY(qk_staging_finished(r->staging, &finished, r->err));
    size_t there = finished.count;
    qk_units_free(&finished);
    if (there) QK_TRY(begin(r)); /* that they are this run's */
    qk_status s = QK_OK;
    for (bool done = false; s == QK_OK && !done;) s = merge_finished(r, goal, &done);
    return s;
}

/* ---- the run ---- */

/* A start that takes a part of a local dataset has counted its rows. */
static int64_t rows_known(const qk_identity *identity)
{
    const qk_json *rows = qk_json_get(identity->tree, "dataset_rows");
    const qk_json *n = qk_json_get(rows, "rows");
    return n && n->is_integer ? n->integer : -1;
}

static qk_status run(runner *r, const qk_config *config, const qk_run_options *options)
{
    qk_entry entry;
    bool computes = options->goal == QK_RUN_WHOLE;
    if (computes) QK_TRY(qk_check_push_rights(config, options->shard.of > 1, r->err));
    QK_TRY(open_inputs(r, config));
    if (!computes) QK_TRY(check_there(r));
    snprintf(r->result->final_folder, sizeof r->result->final_folder, "%s", r->plan.final);
    QK_TRY(qk_staging_open(r->staging, r->staging->folder, r->err));
    r->existing = (qk_existing){.plan = &r->plan, .identity = &r->identity};
    r->sharing =
        (qk_sharing){.staging = r->staging, .existing = &r->existing, .identity = &r->identity};
    r->pass = (qk_pass){
        .plan = &r->plan,
        .shard = options->shard,
        .staging = r->staging,
        .inputs = &r->inputs,
        .dataset = r->dataset,
        .tokenizer = r->tokenizer,
        .rows_known = rows_known(&r->identity),
    };
    QK_TRY(qk_sharing_enter(&r->sharing, &entry, r->err));
    r->result->outcome = entry == QK_ENTRY_COMPLETE ? QK_RUN_ALREADY_THERE : QK_RUN_MERGED_BY_OTHER;
    snprintf(r->result->split, sizeof r->result->split, "%s", r->plan.split);
    if (entry != QK_ENTRY_WORK) return QK_OK;
    if (!computes) return merge_only(r, options->goal);
    qk_existing_warn_of_commits(&r->existing);
    qk_check_disk(&r->plan, r->tokenizer, r->pass.rows_known);
    QK_TRY(begin(r));
    qk_status s = work(r);
    const qk_computed computed = qk_compute_done(r->compute);
    r->result->examples = computed.examples;
    r->result->tokens = computed.tokens;
    r->result->units_done = r->pass.units_done;
    r->result->units_found = r->pass.units_found;
    r->result->seconds_forward = r->pass.seconds;
    r->result->flops = computed.work;
    r->result->whole_flops = computed.whole;
    return s;
}

/* Of a process that has done something. */
static void note_timings(const qk_config *config, qk_run_result *result)
{
    qk_timings t = {.merged =
                        result->outcome == QK_RUN_MERGED || result->outcome == QK_RUN_MERGED_PART,
                    .units = result->units_done,
                    .examples = result->examples,
                    .tokens = result->tokens,
                    .seconds = result->seconds_total};
    for (int i = 0; i < QK_STAGES; i++)
        t.stages[i] = result->stages[i] = qk_stage_seconds((qk_stage)i);
    if (t.units || t.merged) qk_timings_note(config->output.data_root, &t);
}

qk_status qk_run(const qk_config *config, const qk_run_options *options, qk_staging *staging,
                 qk_run_result *result, qk_error *err)
{
    double started = qk_now();
    *result = (qk_run_result){0};
    qk_stages_reset();
    runner r = {.result = result, .err = err, .staging = staging};
    if (config->inference.threads)
        qk_threads_set((int)config->inference.threads, "inference.threads");
    qk_status s = run(&r, config, options);
    result->seconds_total = qk_now() - started;
    if (s == QK_OK) note_timings(config, result);
    if (s == QK_OK) qk_interrupt_keeps("%s", "");
    if (s != QK_OK || result->outcome != QK_RUN_MERGED) qk_staging_close(staging);
    qk_compute_free(r.compute);
    qk_dataset_close(r.dataset);
    qk_tokenizer_free(r.tokenizer);
    qk_texts_free(&r.texts);
    qk_existing_free(&r.existing);
    qk_plan_free(&r.plan);
    qk_inputs_free(&r.inputs);
    qk_arena_free(&r.arena);
    return s;
}
