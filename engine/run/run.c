/* See run.h. */
#include "engine/run/run.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/output/compatibility.h"
#include "engine/output/dataset_card.h"
#include "engine/output/example_texts.h"
#include "engine/output/final_folder.h"
#include "engine/output/manifest.h"
#include "engine/output/merge.h"
#include "engine/run/compute_unit.h"
#include "engine/run/dataset_commit.h"
#include "engine/run/identify.h"
#include "engine/run/plan.h"
#include "engine/staging/publish.h"

typedef struct runner {
    const qk_config *config;
    qk_shard shard;
    qk_run_result *result;
    qk_error *err;
    qk_inputs inputs;
    qk_plan plan;
    qk_staging staging;
    qk_arena arena;
    qk_identity identity;
    const qk_json *old_manifest;
    qk_texts texts;      /* prefix layout: of final/ */
    char last_merge[17]; /* in this folder, when this process joined the others */
    qk_dataset *dataset;
    qk_tokenizer *tokenizer;
    qk_compute work;
    qk_prefetch *prefetch;
    qk_claim claims[QK_PREFETCH_UNITS]; /* unit n's lies in claims[n % QK_PREFETCH_UNITS] */
    int64_t stop;                       /* units from here on are not taken */
    qk_units finished;                  /* when the pass began */
    int64_t unit;                       /* that is being worked on */
    int64_t rows;                       /* of the dataset, or -1 */
    int64_t dropped;                    /* units that were found to be damaged */
    int64_t seen, others; /* examples passed; by other processes since this one works */
    int64_t left;         /* examples of units to be done, by whomever */
    double started;
} runner;

static bool is_prefix(const runner *r)
{
    return r->config->output.layout == QK_LAYOUT_PREFIX;
}

/* ---- progress ---- */

static bool is_in_shard(const runner *r, int64_t unit)
{
    return unit % r->shard.of == r->shard.index;
}

static int64_t unit_size(const runner *r, int64_t unit)
{
    int64_t size = r->plan.unit_examples, behind = r->rows - unit * size;
    return behind < size ? behind : size;
}

/* What this shard still needs, of a dataset whose length is known. */
static void count_left(runner *r)
{
    r->left = 0;
    for (int64_t u = 0; u * r->plan.unit_examples < r->rows && u < r->stop; u++)
        if (is_in_shard(r, u) && !qk_units_has(&r->finished, u)) r->left += unit_size(r, u);
}

static void print_progress(const runner *r, bool done)
{
    const qk_compute *w = &r->work;
    double seconds = qk_now() - w->began, rate = seconds > 0 ? (double)w->tokens / seconds : 0;
    char time_left[64] = "", here[64] = "";
    /* Those who share the work go on at the pace of all together. */
    if (r->rows > 0 && w->examples > 0 && !done)
        snprintf(time_left, sizeof time_left, ", %s left",
                 qk_human_seconds((double)r->left * seconds / (double)(w->examples + r->others)));
    if (r->seen != w->examples)
        snprintf(here, sizeof here, ", %lld of them here", (long long)w->examples);
    qk_progress(done, "unit %lld: %lld%s%s examples%s, %s tokens, %.0f tokens/s, %s rows%s",
                (long long)r->unit, (long long)r->seen, r->rows > 0 ? " of " : "",
                r->rows > 0 ? qk_human_count((double)r->rows) : "", here,
                qk_human_count((double)w->tokens), rate, qk_human_count((double)qk_compute_rows(w)),
                time_left);
}

static void show_batch(void *context)
{
    runner *r = context;
    int64_t before = r->result->examples;
    r->result->examples = r->work.examples;
    r->result->tokens = r->work.tokens;
    r->seen += r->work.examples - before;
    r->left -= r->work.examples - before;
    print_progress(r, false);
}

/* ---- one pass over the dataset ---- */

static qk_status wants_unit(void *context, int64_t number, bool *wanted, qk_error *err)
{
    runner *r = context;
    qk_claim_state state;
    *wanted = false;
    if (number >= r->stop || !is_in_shard(r, number)) return QK_OK;
    if (qk_units_has(&r->finished, number)) return QK_OK;
    QK_TRY(qk_claim_take(&r->claims[number % QK_PREFETCH_UNITS], &r->staging, number, &state, err));
    *wanted = state == QK_CLAIM_MINE;
    return QK_OK;
}

static qk_status open_dataset(runner *r)
{
    QK_TRY(qk_dataset_open_in(&r->dataset, r->config, qk_inputs_place(&r->inputs), r->err));
    qk_dataset_watch(r->dataset, r->inputs.rows);
    return QK_OK;
}

static qk_status start_pass(runner *r, int64_t stop)
{
    QK_TRY(qk_dataset_begin(r->dataset, r->err));
    qk_units_free(&r->finished);
    QK_TRY(qk_staging_finished(&r->staging, &r->finished, r->err));
    r->stop = stop;
    r->rows = qk_dataset_rows(r->dataset);
    count_left(r);
    qk_prefetch_plan plan = {
        .dataset = r->dataset,
        .tokenizer = r->tokenizer,
        .max_length = r->config->tokenizer.max_length,
        .unit_examples = r->plan.unit_examples,
        .threads = (int)r->config->inference.threads,
        .wants = wants_unit,
        .context = r,
    };
    return qk_prefetch_new(&r->prefetch, &plan, r->err);
}

/* Claims that the prefetch took ahead are given back. The dataset stays the one of the identity. */
static void end_pass(runner *r)
{
    qk_prefetch_free(r->prefetch); /* first: its thread uses the dataset, and claims */
    r->prefetch = NULL;
    for (int i = 0; i < QK_PREFETCH_UNITS; i++) qk_claim_drop(&r->claims[i]);
    qk_dataset_rewind(r->dataset);
}

static qk_status do_unit(runner *r, const qk_prefetch_unit *unit)
{
    if (!unit->wanted) {
        bool by_others = is_in_shard(r, r->unit) && !qk_units_has(&r->finished, r->unit);
        r->result->units_found++;
        r->seen += unit->count;
        if (by_others) r->left -= unit->count;
        if (by_others && r->work.began > 0) r->others += unit->count;
        return QK_OK;
    }
    qk_claim *claim = &r->claims[r->unit % QK_PREFETCH_UNITS];
    qk_status s = qk_compute_unit(&r->work, unit, claim, r->err);
    qk_claim_drop(claim);
    r->result->units_done += s == QK_OK;
    return s;
}

static qk_status next_unit(runner *r, bool *more)
{
    QK_TRY(qk_interrupt_check(r->err));
    const qk_prefetch_unit *unit;
    QK_TRY(qk_prefetch_next(r->prefetch, &unit, r->err));
    *more = unit->more;
    if (!unit->count) return QK_OK;
    QK_TRY(do_unit(r, unit));
    r->unit++;
    return QK_OK;
}

/* Units below `stop`, or all of them: then their number is noted. */
static qk_status pass(runner *r, int64_t stop)
{
    bool more = true;
    r->seen = r->work.examples;
    r->unit = 0;
    qk_status s = start_pass(r, stop);
    while (s == QK_OK && more && r->unit < stop) s = next_unit(r, &more);
    if (s != QK_OK) qk_inputs_stop(&r->inputs); /* the prefetch may wait for a file */
    end_pass(r);
    if (s != QK_OK) return s;
    if (r->work.began > 0) {
        print_progress(r, true);
        r->result->seconds_forward = qk_now() - r->work.began;
    }
    return more ? QK_OK : qk_staging_set_units(&r->staging, r->unit, r->err);
}

/* ---- final/ ---- */

/* Data files without a manifest are another program's. In branch layout they would be overwritten;
 * in prefix layout rows are added to those of the older reference, whose meaning no file tells. */
static qk_status check_foreign_files(runner *r)
{
    qk_names files = {0};
    bool there;
    QK_TRY(qk_has_folder(r->plan.split_folder, &there, r->err));
    if (!there) return QK_OK;
    qk_status found = qk_find_data_files(r->plan.split_folder, &files, r->err);
    qk_names_free(&files);
    if (found != QK_OK) return found == QK_ERR_NOTFOUND ? QK_OK : found;
    if (is_prefix(r)) {
        qk_warn_once("%s: holds data files but no manifest.json: rows are added to them, though "
                     "nothing says whether they come from the same weights and settings",
                     r->plan.split_folder);
        return QK_OK;
    }
    return qk_fail(r->err, QK_ERR_CONFIG, "choose another output.data_root, or move the files away",
                   "%s: holds data files but no manifest.json: another program wrote them",
                   r->plan.split_folder);
}

/* One card and one push cover a folder of one layout. */
static qk_status refuse_branch_layout(runner *r)
{
    char *path = qk_path_join(r->plan.final, "manifest.json");
    bool there;
    qk_status s = qk_has_file(path, &there, r->err);
    if (there)
        s = qk_fail(r->err, QK_ERR_CONFIG,
                    "choose another output.data_root, or output.layout: branch",
                    "%s: holds one run at its root, this one would put a folder per model there",
                    r->plan.final);
    free(path);
    return s;
}

/* In prefix layout rows of both commits are fine, but hardly what was meant. */
static void warn_of_other_commits(runner *r)
{
    const qk_json *runs = qk_json_get(r->old_manifest, "runs");
    for (const qk_json *run = runs ? runs->first : NULL; run; run = run->next) {
        const char *commit = qk_dataset_commit_of(run);
        const char *difference =
            qk_identity_difference(qk_json_get(run, "identity"), r->identity.tree, &r->arena);
        if (!qk_dataset_commit_has_moved(&r->identity, commit, difference)) continue;
        qk_warn("%s holds rows of the dataset's commit %s, and gets those of %s, where it is now; "
                "dataset.revision: %s stays with the first",
                r->plan.split_folder, commit, r->identity.dataset_commit, commit);
    }
}

/* In prefix layout a split folder takes the rows of several runs, of one meaning. */
static qk_status check_meaning(runner *r)
{
    const char *difference = qk_compatibility_new_run(r->old_manifest, &r->identity, &r->arena);
    if (!difference) return QK_OK;
    return qk_fail(r->err, QK_ERR_CONFIG,
                   "choose another output.data_root: one folder holds vectors of one model, "
                   "computed in one way",
                   "%s: holds rows of another meaning; %s", r->plan.split_folder, difference);
}

/* In branch layout final/ belongs to one run. */
static qk_status check_final(runner *r)
{
    QK_TRY(qk_final_look(r->plan.final, is_prefix(r) ? r->plan.split : NULL, r->err));
    if (is_prefix(r)) QK_TRY(refuse_branch_layout(r));
    QK_TRY(qk_manifest_read(r->plan.split_folder, &r->arena, &r->old_manifest, r->err));
    if (!r->old_manifest) return check_foreign_files(r);
    if (is_prefix(r)) return check_meaning(r);
    const qk_json *runs = qk_json_get(r->old_manifest, "runs"), *first = runs ? runs->first : NULL;
    const qk_json *then = first ? qk_json_get(first, "identity") : NULL;
    const char *difference = qk_identity_difference(then, r->identity.tree, &r->arena);
    if (!difference) return QK_OK;
    if (qk_dataset_commit_has_moved(&r->identity, qk_dataset_commit_of(first), difference))
        return qk_dataset_commit_refuse(&r->identity, qk_dataset_commit_of(first), r->plan.final,
                                        r->err);
    return qk_fail(
        r->err, QK_ERR_CONFIG,
        "choose another output.data_root or hf_branch: a branch holds one set of options",
        "%s: was written with other settings; %s", r->plan.final, difference);
}

/* What computed the rows that this run adds to. */
static qk_numerics_there rows_there(const runner *r)
{
    return (qk_numerics_there){is_prefix(r) ? qk_manifest_arithmetic(r->old_manifest) : NULL,
                               r->plan.split_folder};
}

/* The texts of final/ are known before anything is computed, so that another one under one of their
 * ids ends the run at its unit. The merge looks again: at the units of all processes. */
static qk_status read_texts(runner *r)
{
    if (!is_prefix(r)) return QK_OK;
    char *path = qk_path_join(r->plan.split_folder, "examples.parquet");
    bool there;
    qk_status s = qk_has_file(path, &there, r->err);
    if (s == QK_OK && there) s = qk_texts_read(&r->texts, path, r->err);
    free(path);
    return s;
}

static qk_status check_text(void *context, const qk_unit_example *e, qk_error *err)
{
    const runner *r = context;
    if (qk_texts_look(&r->texts, e) != QK_TEXT_OTHER) return QK_OK;
    return qk_merge_refuse_text(&r->texts, e, r->plan.split_folder, err);
}

static qk_status is_complete(const runner *r, bool *complete)
{
    return qk_manifest_is_complete(r->old_manifest, &r->identity, r->plan.split_folder, complete,
                                   r->err);
}

/* What is said to be complete is: every byte that the manifest vouches for is read. */
static qk_status check_whole(const runner *r)
{
    if (qk_manifest_is_sealed(r->old_manifest)) qk_card_look(r->plan.final);
    return qk_manifest_check(r->old_manifest, r->plan.split_folder, r->err);
}

/* The same without holding anything: manifest.json is renamed last. */
static qk_status has_become_complete(const runner *r, bool *complete)
{
    qk_arena arena = {0};
    const qk_json *manifest;
    *complete = false;
    qk_status s = qk_manifest_read(r->plan.split_folder, &arena, &manifest, r->err);
    if (s == QK_OK)
        s = qk_manifest_is_complete(manifest, &r->identity, r->plan.split_folder, complete, r->err);
    qk_arena_free(&arena);
    return s;
}

/* A unit that was found to be damaged is done again; no more of them than there are units, so a
 * disk that damages all it is given ends this. Held alone, with the merge's error. */
static qk_status drop_damaged(runner *r, int64_t unit)
{
    if (unit < 0 || r->dropped == r->result->units) return r->err->status;
    char *path = qk_staging_unit(&r->staging, unit);
    qk_warn("%s; it is computed again", r->err->message);
    qk_status s = qk_remove_file(path, r->err);
    free(path);
    r->dropped++;
    return s == QK_OK ? qk_publish_clean(&r->staging, r->err) : s;
}

/* *done stays false when units must be computed again. */
static qk_status merge(runner *r, int64_t units, bool *done)
{
    qk_merge_result merged;
    qk_numerics_there there = rows_there(r);
    QK_TRY(qk_numerics_check_there(&r->staging, &there, r->err));
    qk_texts_free(&r->texts); /* the merge has its own */
    const qk_output output = qk_plan_output(&r->plan);
    if (qk_merge(&output, &r->staging, &r->identity, r->old_manifest, units, r->tokenizer, &merged,
                 r->err) != QK_OK)
        return drop_damaged(r, merged.damaged);
    *done = true;
    r->result->rows_final = merged.rows;
    r->result->rows_added = merged.rows_added;
    r->result->files = merged.files;
    r->result->outcome = QK_RUN_MERGED;
    QK_TRY(qk_staging_note_merge(&r->staging, r->err));
    return qk_staging_clear(&r->staging, r->err);
}

/* ---- with others in the folder ---- */

/* Waits a moment, longer each time; says once why. */
static qk_status pause_for_others(runner *r, double *waited, const char *why)
{
    enum { FIRST_MS = 20, MOST_MS = 500 };
    double ms = FIRST_MS + *waited * 100, message_at = 1;
    if (ms > MOST_MS) ms = MOST_MS;
    if (*waited < message_at && *waited + ms / 1e3 >= message_at)
        qk_info("%s: %s", r->plan.staging, why);
    *waited += ms / 1e3;
    usleep((useconds_t)(ms * 1e3));
    return qk_interrupt_check(r->err);
}

/* What identity.json says; *known is false where it is damaged or gone. */
static qk_status ask_identity(const runner *r, bool *known, bool *ours)
{
    QK_TRY(qk_staging_is_bound(&r->staging, known, r->err));
    qk_status s = qk_staging_is_of(&r->staging, &r->identity, ours, r->err);
    if (s == QK_ERR_DAMAGED) *known = false;
    return s == QK_ERR_DAMAGED ? QK_OK : s;
}

/* Units say themselves whose they are: those of another run or version are an error. */
static qk_status check_owner(const runner *r)
{
    qk_units finished;
    QK_TRY(qk_staging_finished(&r->staging, &finished, r->err));
    qk_status s = qk_numerics_check_run(&r->staging, &r->identity, &finished, r->err);
    qk_units_free(&finished);
    return s;
}

/* The unfinished work of another run stays as it is, to the last leftover. */
static qk_status is_foreign(const runner *r, bool *foreign)
{
    bool known, ours;
    QK_TRY(ask_identity(r, &known, &ours));
    qk_status s = known ? QK_OK : check_owner(r);
    *foreign = known ? !ours : s == QK_ERR_DATA || s == QK_ERR_FORMAT;
    return *foreign ? QK_OK : s;
}

/* Held alone: a start that ended before its first unit was there binds nobody. */
static qk_status clear_without_units(runner *r)
{
    qk_units finished;
    QK_TRY(qk_staging_finished(&r->staging, &finished, r->err));
    bool none = !finished.count;
    qk_units_free(&finished);
    return none ? qk_staging_clear(&r->staging, r->err) : QK_OK;
}

/* Held alone: completes what a process that died had begun. */
static qk_status tidy(runner *r)
{
    bool foreign, complete, known, ours;
    QK_TRY(qk_publish_recover(&r->staging, r->plan.final, r->err));
    QK_TRY(clear_without_units(r));
    QK_TRY(is_foreign(r, &foreign));
    if (!foreign) QK_TRY(qk_publish_clean(&r->staging, r->err));
    if (!foreign) QK_TRY(qk_staging_mend(&r->staging, r->err));
    QK_TRY(check_final(r));
    QK_TRY(is_complete(r, &complete));
    QK_TRY(ask_identity(r, &known, &ours));
    if (!complete || !known || !ours) return QK_OK;
    QK_TRY(check_whole(r)); /* as long as it is not, the units are all there is */
    return qk_staging_clear(&r->staging, r->err);
}

/* Holds the folder with all others that work on this run. *complete: there is nothing to do. */
static qk_status enter(runner *r, bool *complete)
{
    double waited = 0;
    for (*complete = false;;) {
        bool held, pending;
        QK_TRY(qk_staging_hold(&r->staging, QK_HOLD_ALONE, &held, r->err));
        if (held) QK_TRY(tidy(r));
        QK_TRY(qk_staging_hold(&r->staging, QK_HOLD_SHARED, &held, r->err));
        QK_TRY(qk_publish_is_pending(&r->staging, &pending, r->err));
        if (held && !pending) {
            QK_TRY(check_final(r));
            QK_TRY(is_complete(r, complete));
            if (*complete) QK_TRY(check_whole(r));
            return qk_staging_last_merge(&r->staging, r->last_merge, r->err);
        }
        qk_staging_release(&r->staging);
        QK_TRY(has_become_complete(r, complete));
        if (*complete) {
            r->result->outcome = QK_RUN_MERGED_BY_OTHER;
            return QK_OK;
        }
        QK_TRY(pause_for_others(r, &waited,
                                "another process merges or pushes here; waiting for its end"));
    }
}

/* All units are there: holds the folder alone, unless another process is first. */
static qk_status hold_alone(runner *r, bool *complete)
{
    double waited = 0;
    for (bool held;;) {
        QK_TRY(qk_staging_hold(&r->staging, QK_HOLD_ALONE, &held, r->err));
        *complete = false;
        if (!held) QK_TRY(has_become_complete(r, complete));
        if (held || *complete) return QK_OK;
        QK_TRY(pause_for_others(r, &waited,
                                "all units are done; waiting for the others to leave the folder"));
    }
}

/* *done is false when units are missing after all. */
static qk_status finish(runner *r, int64_t units, bool *done)
{
    qk_left left;
    char last_merge[17];
    qk_compute_unload(&r->work);
    r->result->outcome = QK_RUN_MERGED_BY_OTHER;
    QK_TRY(hold_alone(r, done));
    if (*done) return QK_OK;
    /* While all units of this run were there, a merge could only be its own. */
    QK_TRY(qk_staging_last_merge(&r->staging, last_merge, r->err));
    *done = *last_merge && strcmp(last_merge, r->last_merge) != 0;
    if (*done) return QK_OK;
    QK_TRY(tidy(r));
    QK_TRY(is_complete(r, done));
    if (*done) return QK_OK;
    QK_TRY(qk_dataset_commit_bind(&r->staging, &r->identity, r->err));
    QK_TRY(qk_claims_left(&left, &r->staging, (qk_shard){0, 1}, units, r->err));
    bool all = left.missing == 0;
    qk_left_free(&left);
    if (all) QK_TRY(merge(r, units, done));
    return all && *done ? QK_OK : enter(r, done);
}

/* "3", "3 and 5", "3, 5, 6, 7 and 12 more" */
static void list_units(const qk_units *units, char *out, size_t room)
{
    enum { MOST = 4 };
    size_t n = units->count, named = n > MOST ? MOST : n, at = 0;
    *out = 0;
    for (size_t i = 0; i < named; i++)
        at += (size_t)snprintf(out + at, room - at, "%s%lld",
                               i == 0       ? ""
                               : i + 1 == n ? " and "
                                            : ", ",
                               (long long)units->items[i]);
    if (n > named) snprintf(out + at, room - at, " and %zu more", n - named);
}

/* What is left of all units. *stop: the end of another pass; 0 when this process has done its part.
 */
static qk_status look(runner *r, int64_t units, int64_t *stop)
{
    qk_left left;
    QK_TRY(qk_claims_left(&left, &r->staging, r->shard, units, r->err));
    r->result->units = units;
    r->result->units_left = left.missing;
    list_units(&left.busy, r->result->busy, sizeof r->result->busy);
    *stop = left.last_free + 1;
    qk_left_free(&left);
    return QK_OK;
}

/* Passes until nothing is left that this process could do. */
static qk_status work(runner *r)
{
    int64_t units, stop;
    for (bool done = false; !done;) {
        QK_TRY(qk_staging_units(&r->staging, &units, r->err));
        if (units < 0) {
            QK_TRY(pass(r, INT64_MAX));
            continue;
        }
        QK_TRY(look(r, units, &stop));
        if (stop) {
            QK_TRY(pass(r, stop));
        } else if (r->result->units_left) {
            r->result->outcome = QK_RUN_PART;
            return QK_OK;
        } else {
            QK_TRY(finish(r, units, &done));
        }
    }
    r->result->units_left = 0;
    return QK_OK;
}

/* ---- the run ---- */

static qk_status open_inputs(runner *r)
{
    QK_TRY(qk_tokenizer_load(&r->tokenizer, r->plan.tokenizer_folder, r->err));
    if (qk_tokenizer_vocab_size(r->tokenizer) > (size_t)r->plan.spec.V)
        qk_warn("%s has %zu tokens, the model %d: a text that uses the others is an error",
                r->plan.tokenizer_folder, qk_tokenizer_vocab_size(r->tokenizer), r->plan.spec.V);
    QK_TRY(open_dataset(r));
    return qk_identity_make(&r->identity, &r->plan, r->dataset, &r->arena, r->err);
}

/* Makes the folder this run's, and looks at the units that are there. */
static qk_status begin(runner *r)
{
    QK_TRY(qk_staging_finished(&r->staging, &r->finished, r->err));
    QK_TRY(read_texts(r));
    r->work = (qk_compute){.plan = &r->plan,
                           .tokenizer = r->tokenizer,
                           .staging = &r->staging,
                           .identity = &r->identity,
                           .there = rows_there(r),
                           .example = check_text,
                           .progress = show_batch,
                           .context = r};
    /* Texts that are not there or a checkpoint that cannot be loaded leave nothing behind. */
    bool bound, known, ours;
    QK_TRY(ask_identity(r, &known, &ours));
    if (!known) QK_TRY(check_owner(r)); /* before it is made this run's */
    QK_TRY(qk_staging_is_bound(&r->staging, &bound, r->err));
    if (!r->finished.count && !bound) {
        QK_TRY(qk_dataset_begin(r->dataset, r->err));
        QK_TRY(qk_compute_load(&r->work, r->err));
    } else {
        QK_TRY(qk_dataset_commit_bind(&r->staging, &r->identity, r->err));
        QK_TRY(qk_numerics_check_there(&r->staging, &r->work.there, r->err));
    }
    return qk_numerics_check_units(&r->staging, &r->identity, &r->finished, r->err);
}

static qk_status run(runner *r)
{
    bool complete;
    QK_TRY(qk_inputs_open(&r->inputs, r->config, QK_INPUTS_RUN, r->err));
    QK_TRY(qk_plan_make(&r->plan, r->config, &r->inputs, r->err));
    snprintf(r->result->final_folder, sizeof r->result->final_folder, "%s", r->plan.final);
    QK_TRY(open_inputs(r));
    QK_TRY(qk_staging_open(&r->staging, r->plan.staging, r->err));
    r->result->outcome = QK_RUN_ALREADY_THERE;
    QK_TRY(enter(r, &complete));
    if (complete) return QK_OK;
    warn_of_other_commits(r);
    QK_TRY(begin(r));
    return work(r);
}

static void free_runner(runner *r)
{
    end_pass(r);
    qk_dataset_close(r->dataset);
    qk_compute_free(&r->work);
    qk_units_free(&r->finished);
    qk_texts_free(&r->texts);
    qk_tokenizer_free(r->tokenizer);
    qk_staging_close(&r->staging);
    qk_plan_free(&r->plan);
    qk_inputs_free(&r->inputs);
    qk_arena_free(&r->arena);
}

qk_status qk_run(const qk_config *config, qk_shard shard, qk_run_result *result, qk_error *err)
{
    *result = (qk_run_result){.held = {.lock = -1}};
    runner r = {
        .config = config, .shard = shard, .result = result, .err = err, .staging = {.lock = -1}};
    for (int i = 0; i < QK_PREFETCH_UNITS; i++) r.claims[i].fd = -1;
    r.started = qk_now();
    /* Whatever this thread does with several: hashing, angles, merging, and the push after it.
     * Other threads are told. */
    if (config->inference.threads) omp_set_num_threads((int)config->inference.threads);
    qk_status s = run(&r);
    result->seconds_total = qk_now() - r.started;
    if (s == QK_OK && result->outcome == QK_RUN_MERGED) {
        result->held.lock = r.staging.lock;
        r.staging.lock = -1;
    }
    free_runner(&r);
    return s;
}
