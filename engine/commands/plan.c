/* qkengine plan CONFIG: what a run would do, before any weights are read. */
#include "engine/run/estimate.h"

#include <stdio.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/commands/cli.h"
#include "engine/config/beside.h"
#include "engine/config/config.h"
#include "engine/families/presets.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"

static void print_json(const qk_plan *p, const qk_estimate *e)
{
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
    if (e->examples < 0)
        qk_json_add_null(&o, "examples");
    else
        qk_json_add_int(&o, "examples", e->examples);
    qk_json_add_int(&o, "examples_looked_at", e->looked_at);
    qk_json_add_bool(&o, "examples_at_full_length", e->assumed);
    qk_json_add_num(&o, "tokens", e->tokens);
    qk_json_add_num(&o, "mean_tokens", e->mean_tokens);
    qk_json_add_num(&o, "longest_tokens", e->longest_tokens);
    qk_json_add_num(&o, "files", e->files);
    qk_json_add_num(&o, "rows", e->rows);
    qk_json_add_num(&o, "bytes", e->bytes);
    qk_json_add_num(&o, "flops", e->flops);
    qk_json_add_int(&o, "weight_bytes", (int64_t)e->weight_bytes);
    qk_json_add_int(&o, "weight_bytes_in_memory", (int64_t)e->budget.bytes);
    qk_json_add_int(&o, "weight_bytes_read_per_batch", (int64_t)e->budget.read_again);
    qk_json_add_int(&o, "layers_in_memory", e->budget.in_memory);
    qk_json_add_int(&o, "activation_bytes", (int64_t)e->activation_bytes);
    qk_json_add_int(&o, "capture_bytes", (int64_t)e->capture_bytes);
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

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

static void print_table(qk_plan *p, const qk_estimate *e)
{
    const qk_config *c = p->config;
    printf("model      %s (%s), %s\n", qk_visible(c->model.name), p->spec.family->model_type,
           qk_dtype_name(c->model.dtype));
    if (p->preset)
        printf("from       the built-in config.json of %s: the model itself cannot be had\n",
               p->preset->repository);
    printf("runs       layers 0 to %d of %d; the last one only as far as q and k\n",
           p->heads.last_layer, p->spec.layers);
    printf("captures   %d query and %d key heads in %d layers, %s, %s RoPE\n", p->heads.n_q,
           p->heads.n_k, p->heads.n_layers, qk_sampler_kind_name(c->capture.sampler.kind),
           c->capture.pre_rope ? "before" : "after");
    print_dataset(e);
    const char *each = e->examples < 0 ? " for each example" : "";
    printf("writes     %.0f files, about %s rows%s, %s before compression\n", e->files,
           qk_human_count(e->rows), each, qk_human_bytes(e->bytes));
    printf("to         %s, split %s\n", qk_visible(p->split_folder), qk_visible(p->split));
    printf("computes   %sFLOP%s\n", qk_human_count(e->flops), each);
    printf("memory     %s: weights %s, activations %s, captured rows %s\n",
           qk_human_bytes((double)(e->budget.bytes + e->activation_bytes + e->capture_bytes)),
           qk_human_bytes((double)e->budget.bytes), qk_human_bytes((double)e->activation_bytes),
           qk_human_bytes((double)e->capture_bytes));
    if (e->budget.read_again)
        printf("weights    %s, %s\n", qk_human_bytes((double)e->weight_bytes),
               qk_layer_budget_text(&e->budget, &p->arena));
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

static qk_status show(const qk_args *args, qk_plan *plan, qk_error *err)
{
    qk_estimate estimate;
    bool has_tokenizer;
    QK_TRY(qk_estimate_make(plan, qk_value_int(args, "look"), &estimate, err));
    QK_TRY(qk_plan_has_tokenizer(plan, &has_tokenizer, err));
    if (!has_tokenizer && plan->inputs) { /* a run of this plan would stop there */
        qk_error why;
        qk_explain_folder(plan->tokenizer_folder, QK_WANT_TOKENIZER, &why);
        qk_warn("%s; %s", why.message, why.hint);
    }
    if (estimate.assumed)
        qk_info("no tokenizer or no dataset here: every example counts as %lld tokens "
                "(tokenizer.max_length)",
                (long long)plan->config->tokenizer.max_length);
    if (qk_has(args, "json"))
        print_json(plan, &estimate);
    else
        print_table(plan, &estimate);
    return QK_OK;
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
    QK_OPTION_JSON("for programs, on standard output"),
    {0},
};

const qk_command qk_command_plan = {
    .name = "plan",
    .arguments = {{"CONFIG.yaml", QK_VALUE_CONFIG}},
    .summary = "show what a run would do: rows, files, bytes, FLOPs, peak memory",
    .details =
        "CONFIG.yaml may be written as --config CONFIG.yaml, too. Reads config.json, the tokenizer "
        "and the dataset, but no weights. A model of the Hub is "
        "asked for the first two only; of one that qkengine synth --list knows and that cannot be "
        "had, the published config.json is built in. Without tokenizer or dataset every example "
        "counts as tokenizer.max_length tokens.",
    .options = options,
    .run = run,
};
