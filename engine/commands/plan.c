/* qkengine plan CONFIG: what a run would do, before any weights are read. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/text.h"
#include "engine/commands/cli.h"
#include "engine/config/beside.h"
#include "engine/config/config.h"
#include "engine/families/presets.h"
#include "engine/run/disk.h"
#include "engine/run/estimate.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"
#include "engine/run/push_rights.h"
#include "engine/run/results.h"
#include "engine/run/text_work.h"
#include "sampler/positions.h"

/* All that is said of a plan. */
typedef struct findings {
    qk_estimate estimate;
    qk_results results;
    qk_disk_need need;
    bool pushes;
    qk_push_outlook push;
    bool probed; /* without --no-probe, the rest: of this machine and this moment */
    qk_time_estimate time;
    qk_disk disk;
} findings;

/* ---- for programs ---- */

static void add_count(qk_json_out *o, const char *key, int64_t n)
{
    if (n < 0)
        qk_json_add_null(o, key);
    else
        qk_json_add_int(o, key, n);
}

static void add_rate(qk_json_out *o, const char *key, bool known, double rate)
{
    if (known)
        qk_json_add_num(o, key, rate);
    else
        qk_json_add_null(o, key);
}

/* What the moment decides: null with --no-probe, and where it is not known. */
static void add_probed(qk_json_out *o, const findings *f)
{
    bool measured = f->probed && f->time.measured;
    const qk_speed *speed = &f->time.speed;
    qk_json_add_str(o, "device", measured ? speed->device : NULL);
    add_rate(o, "seconds_forward", measured, f->time.seconds);
    add_rate(o, "product_flops_per_second", measured, speed->products_rate);
    add_rate(o, "attention_flops_per_second", measured && speed->attention_rate > 0,
             speed->attention_rate);
    add_count(o, "disk_free_bytes", f->probed && f->disk.folder ? (int64_t)f->disk.free : -1);
    if (f->probed && f->disk.folder)
        qk_json_add_bool(o, "data_root_writable", f->disk.writable);
    else
        qk_json_add_null(o, "data_root_writable");
    qk_json_add_str(o, "hf_account", *f->push.account ? f->push.account : NULL);
    if (f->push.known)
        qk_json_add_bool(o, "may_push", f->push.may_push);
    else
        qk_json_add_null(o, "may_push");
}

static void print_json(const qk_plan *p, const findings *f)
{
    const qk_estimate *e = &f->estimate;
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "model", p->config->model.name);
    qk_json_add_str(&o, "preset", p->preset ? p->preset->name : NULL);
    qk_json_add_int(&o, "layers", p->spec.layers);
    qk_json_add_int(&o, "last_layer", p->heads.last_layer);
    qk_json_add_int(&o, "head_dim", p->spec.d);
    qk_json_add_int(&o, "query_heads", p->heads.n_q);
    qk_json_add_int(&o, "key_heads", p->heads.n_k);
    const qk_rope *rope = &p->spec.ropes[0]; /* of the layers without a window, after overrides */
    qk_json_begin(&o, "rope", '{');
    qk_json_add_str(&o, "type", qk_rope_type_name(rope->type));
    qk_json_add_num(&o, "theta", rope->theta);
    qk_json_add_num(&o, "factor", rope->factor);
    qk_json_add_num(&o, "original", rope->original);
    qk_json_end(&o, '}');
    qk_json_add_str(&o, "split", p->split);
    add_count(&o, "examples", e->examples);
    qk_json_add_int(&o, "examples_looked_at", e->looked_at);
    qk_json_add_bool(&o, "examples_at_full_length", e->assumed);
    qk_json_add_num(&o, "tokens", e->tokens);
    qk_json_add_num(&o, "mean_tokens", e->mean_tokens);
    qk_json_add_num(&o, "longest_tokens", e->longest_tokens);
    qk_json_add_num(&o, "files", e->files);
    qk_json_add_num(&o, "rows", e->rows);
    qk_json_add_num(&o, "bytes", e->bytes);
    qk_json_add_num(&o, "flops", e->flops);
    qk_json_add_num(&o, "flops_without_slice", e->whole_flops);
    qk_json_add_int(&o, "weight_bytes", (int64_t)e->weight_bytes);
    qk_json_add_int(&o, "weight_bytes_in_memory", (int64_t)e->budget.bytes);
    qk_json_add_int(&o, "weight_bytes_read_per_batch", (int64_t)e->budget.read_again);
    qk_json_add_int(&o, "layers_in_memory", e->budget.in_memory);
    qk_json_add_int(&o, "activation_bytes", (int64_t)e->activation_bytes);
    qk_json_add_int(&o, "capture_bytes", (int64_t)e->capture_bytes);
    add_count(&o, "units", e->units);
    qk_json_add_int(&o, "unit_examples", p->unit_examples);
    add_count(&o, "batches", e->batches);
    qk_json_add_int(&o, "units_finished", f->results.finished);
    qk_json_add_bool(&o, "in_final", f->results.in_final);
    qk_json_add_num(&o, "staging_bytes", f->need.staging);
    qk_json_add_num(&o, "final_bytes", f->need.final);
    qk_json_add_num(&o, "peak_bytes", f->need.peak);
    add_probed(&o, f);
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

/* ---- for people ---- */

static void print_dataset(const qk_estimate *e)
{
    if (e->assumed && e->examples < 0)
        printf("dataset    unknown: one example of tokenizer.max_length, %.0f tokens\n", e->tokens);
    else if (e->assumed)
        printf(
            "dataset    dataset.max_samples, %lld examples, each counted at tokenizer.max_length, "
            "%.0f tokens: %s tokens at most\n",
            (long long)e->examples, e->mean_tokens, qk_human_count(e->tokens));
    else if (e->examples < 0)
        printf("dataset    %lld examples in the cache, %.1f tokens each; how many follow is not "
               "known\n",
               (long long)e->looked_at, e->mean_tokens);
    else {
        printf("dataset    %lld examples, %.1f tokens each", (long long)e->examples,
               e->mean_tokens);
        if (e->looked_at < e->examples)
            printf(" (mean of the first %lld)", (long long)e->looked_at);
        printf(", %s tokens\n", qk_human_count(e->tokens));
    }
}

/* Work units, and those that are there already. */
static void print_units(const qk_plan *p, const findings *f)
{
    const qk_estimate *e = &f->estimate;
    const qk_results *r = &f->results;
    int64_t units = r->units >= 0 && !r->is_other ? r->units : e->units;
    if (units < 0)
        printf("units      of %d examples each\n", p->unit_examples);
    else
        printf("units      %lld of at most %d examples each\n", (long long)units, p->unit_examples);
    if (r->in_final)
        printf("holds      %s: a run of these settings already; nothing is left to do where model "
               "and dataset are the same\n",
               qk_visible(p->split_folder));
    if (r->finished && r->is_other)
        printf("resumes    not: staging holds %lld unit%s of another run, which are in the way; "
               "%s\n",
               (long long)r->finished, qk_plural(r->finished), qk_visible(r->difference));
    else if (r->finished && units >= 0)
        printf("resumes    %lld of %lld units are finished\n", (long long)r->finished,
               (long long)units);
    else if (r->finished)
        printf("resumes    %lld unit%s are finished\n", (long long)r->finished,
               qk_plural(r->finished));
}

static void print_disk(const findings *f)
{
    const qk_disk_need *n = &f->need;
    printf("disk       about %s%s: %s of units in staging and %s in final, both at the end",
           qk_human_bytes(n->peak), f->estimate.examples < 0 ? " for each example" : "",
           qk_human_bytes(n->staging), qk_human_bytes(n->final));
    if (f->probed && f->disk.folder)
        printf("; %s are free in %s", qk_human_bytes((double)f->disk.free),
               qk_visible(f->disk.folder));
    printf("\n");
}

static void print_time(const findings *f)
{
    const qk_estimate *e = &f->estimate;
    const qk_time_estimate *t = &f->time;
    if (!t->measured) {
        printf("time       -: %s\n", qk_visible(*t->why.message ? t->why.message : "no tokens"));
        return;
    }
    printf("time       %s%s%s: %s (%sFLOP/s of products", t->seconds < 1 ? "" : "about ",
           t->seconds < 1 ? "less than a second" : qk_human_seconds(t->seconds),
           e->examples < 0 ? " for each example" : "", t->speed.device,
           qk_human_count(t->speed.products_rate));
    if (t->speed.attention_rate > 0)
        printf(", %sFLOP/s of attention", qk_human_count(t->speed.attention_rate));
    printf("; measured now)");
    if (e->budget.read_again && e->batches >= 0)
        printf(", and reading %s of weights for each of %lld batches",
               qk_human_bytes((double)e->budget.read_again), (long long)e->batches);
    else if (e->budget.read_again)
        printf(", and reading %s of weights for each batch",
               qk_human_bytes((double)e->budget.read_again));
    printf("\n");
}

static void print_table(qk_plan *p, const findings *f)
{
    const qk_estimate *e = &f->estimate;
    const qk_config *c = p->config;
    printf("model      %s (%s), %s\n", qk_visible(c->model.name), p->spec.family->model_type,
           qk_dtype_name(c->model.dtype));
    if (p->preset)
        printf("from       the built-in config.json of %s: the model itself cannot be had\n",
               p->preset->repository);
    static const char *const ends[] = {
        [QK_LAST_QK] = "q and k", [QK_LAST_QKV] = "q, k and v", [QK_LAST_ATTENTION] = "attention"};
    printf("runs       layers 0 to %d of %d; the last one only as far as %s\n", p->heads.last_layer,
           p->spec.layers, ends[qk_plan_last_needs(p)]);
    printf("captures   %d query and %d key heads in %d layers, %s, %s RoPE", p->heads.n_q,
           p->heads.n_k, p->heads.n_layers, qk_sampler_kind_name(c->capture.sampler.kind),
           p->heads.both_states  ? "before and after"
           : c->capture.pre_rope ? "before"
                                 : "after");
    if (p->heads.n_v) printf("; values of %d key heads", p->heads.n_v);
    printf("%s\n", c->capture.lse ? "; log-sum-exps" : "");
    print_dataset(e);
    const char *each = e->examples < 0 ? " for each example" : "";
    printf("writes     %.0f files, about %s rows%s, %s before compression\n", e->files,
           qk_human_count(e->rows), each, qk_human_bytes(e->bytes));
    printf("to         %s, split %s\n", qk_visible(p->split_folder), qk_visible(p->split));
    print_units(p, f);
    print_disk(f);
    char slice[80];
    printf("computes   %sFLOP%s%s\n", qk_human_count(e->flops), each,
           qk_slice_text(slice, sizeof slice, e->flops, e->whole_flops));
    if (f->probed) print_time(f);
    printf("memory     %s: weights %s, activations %s, captured rows %s\n",
           qk_human_bytes((double)(e->budget.bytes + e->activation_bytes + e->capture_bytes)),
           qk_human_bytes((double)e->budget.bytes), qk_human_bytes((double)e->activation_bytes),
           qk_human_bytes((double)e->capture_bytes));
    if (e->budget.read_again)
        printf("weights    %s, %s\n", qk_human_bytes((double)e->weight_bytes),
               qk_layer_budget_text(&e->budget, &p->arena));
    if (f->pushes)
        printf("pushes     to %s, branch %s: %s\n", qk_visible(c->output.hf_repo_id),
               qk_visible(c->output.hf_branch ? c->output.hf_branch : "main"),
               qk_visible(f->push.text));
}

/* The model itself, or what the program knows of it by heart when it cannot be had. */
static qk_status make_plan(qk_plan *plan, qk_inputs *inputs, const qk_config *config, qk_error *err)
{
    qk_status s = qk_inputs_open(inputs, config, QK_INPUTS_INSPECT, err);
    if (s == QK_OK) return qk_plan_make(plan, config, inputs, err);
    bool local;
    qk_error why; /* *err says it already */
    if (qk_has_folder(config->model.name, &local, &why) != QK_OK || local) return s;
    const qk_preset *preset = qk_preset_find(config->model.name);
    if (!preset) return s;
    qk_info("%s", err->message);
    qk_info("model.name: planned with the built-in config.json of %s", preset->repository);
    return qk_plan_from_preset(plan, config, preset, err);
}

/* What is on this machine, and on the Hub. */
static qk_status find(findings *f, const qk_plan *plan, qk_error *err)
{
    const qk_config *c = plan->config;
    qk_error why;
    if (qk_results_read(&f->results, plan, &why) != QK_OK)
        qk_warn("%s%s%s", why.message, *why.hint ? "; " : "", why.hint);
    f->need = qk_disk_need_of(plan, &f->estimate, &f->results);
    f->pushes = c->output.hf_repo_id && *c->output.hf_repo_id;
    if (f->pushes) QK_TRY(qk_push_outlook_make(&f->push, c, f->probed, err));
    if (!f->probed) return QK_OK;
    if (qk_disk_of(c->output.data_root, &f->disk, &why) != QK_OK) {
        qk_warn("output.data_root: %s", why.message);
        free(f->disk.folder);
        f->disk.folder = NULL;
    } else if (f->estimate.examples >= 0 || !f->disk.writable) {
        qk_disk_warn(&f->disk, &f->need, c->output.data_root);
    }
    return qk_estimate_time(plan, &f->estimate, &f->time, err);
}

static qk_status show(const qk_args *args, qk_plan *plan, qk_error *err)
{
    findings f = {.probed = !qk_has(args, "no-probe")};
    bool has_tokenizer;
    QK_TRY(qk_estimate_make(plan, qk_value_int(args, "look"), &f.estimate, err));
    QK_TRY(qk_plan_has_tokenizer(plan, &has_tokenizer, err));
    if (!has_tokenizer && plan->inputs) { /* a run of this plan would stop there */
        qk_error why;
        qk_explain_folder(plan->tokenizer_folder, QK_WANT_TOKENIZER, &why);
        qk_warn("%s; %s", why.message, why.hint);
    }
    if (f.estimate.assumed)
        qk_info("no tokenizer or no dataset here: every example counts as %lld tokens "
                "(tokenizer.max_length)",
                (long long)plan->config->tokenizer.max_length);
    qk_status s = find(&f, plan, err);
    if (s == QK_OK && qk_has(args, "json"))
        print_json(plan, &f);
    else if (s == QK_OK)
        print_table(plan, &f);
    free(f.disk.folder);
    return s;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    const char *const *settings;
    size_t n = qk_values(args, "set", &settings);
    qk_config config;
    qk_plan plan = {0};
    qk_inputs inputs = {0};
    QK_TRY(qk_config_load(&config, qk_arg(args, 0), settings, n, err));
    qk_interrupt_install();
    qk_status s = make_plan(&plan, &inputs, &config, err);
    if (s == QK_OK) {
        s = show(args, &plan, err);
        qk_plan_free(&plan);
    }
    if (s != QK_OK) qk_config_explain_paths(&config, err);
    qk_inputs_free(&inputs);
    qk_config_free(&config);
    return s;
}

static const qk_option options[] = {
    {"set", "KEY=VALUE", "change one key of the configuration; lists as 0,1 or, quoted, '[0,1]'",
     .type = QK_VALUE_SETTING, .repeated = true},
    {"look", "N", "tokenize the first N examples for the estimates", .type = QK_VALUE_INT,
     .fallback = "256", .least = 1},
    {"no-probe",
     .help = "leave out what this machine and this moment decide: the time, the free disk, and the "
             "Hub's answer"},
    QK_OPTION_JSON("for programs, on standard output"),
    {0},
};

const qk_command qk_command_plan = {
    .name = "plan",
    .arguments = {{"CONFIG.yaml", QK_VALUE_CONFIG}},
    .summary = "show what a run would do: rows, files, disk, time, peak memory",
    .details =
        "CONFIG.yaml may be written as --config CONFIG.yaml, too. Reads config.json, the tokenizer "
        "and the dataset, but no weights. A model of the Hub is "
        "asked for the first two only; of one that qkengine synth --list knows and that cannot be "
        "had, the published config.json is built in. Without tokenizer or dataset every example "
        "counts as tokenizer.max_length tokens.\n"
        "The time is that of the forward passes: the operations of the model are run on random "
        "numbers for about two seconds, on the device and with the threads of the configuration. "
        "With output.hf_repo_id the Hub is asked whose the token is and whether it may write.",
    .options = options,
    .run = run,
};
