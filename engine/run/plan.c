/* See plan.h. */
#include "engine/run/plan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/config/config.h"
#include "engine/families/presets.h"
#include "engine/output/layout.h"
#include "engine/run/describe_attention.h"
#include "engine/run/inputs.h"

/* A unit of about this many tokens is lost at most when a machine dies. */
enum { UNIT_TOKENS = 131072, MAX_UNIT_EXAMPLES = 64, UNIT_EXAMPLES_UNLIMITED = 16 };

static int unit_examples(int64_t max_length)
{
    if (max_length <= 0) return UNIT_EXAMPLES_UNLIMITED;
    int64_t n = UNIT_TOKENS / max_length;
    return n < 1 ? 1 : n > MAX_UNIT_EXAMPLES ? MAX_UNIT_EXAMPLES : (int)n;
}

static qk_status choose_heads(qk_plan *plan, qk_error *err)
{
    const qk_config *c = plan->config;
    const qk_spec *s = &plan->spec;
    bool *sliding = qk_arena_alloc(&plan->arena, (size_t)s->layers, sizeof *sliding);
    bool *absent = qk_arena_alloc(&plan->arena, (size_t)s->layers, sizeof *absent);
    int *window = qk_arena_alloc(&plan->arena, (size_t)s->layers, sizeof *window);
    for (int l = 0; l < s->layers; l++) {
        window[l] = s->layer[l].window;
        sliding[l] = window[l] > 0;
        absent[l] = s->layer[l].absent;
    }
    plan->window = window;
    qk_head_model model = {s->layers, s->H, s->K, sliding, absent};
    qk_head_choice choice = {
        .layers = c->capture.layers.items,
        .n_layers = c->capture.layers.count,
        .heads = c->capture.heads.items,
        .n_heads = c->capture.heads.count,
        .capture_queries = c->capture.queries,
        .capture_keys = c->capture.keys,
        .capture_values = c->capture.values,
        .both_states = c->capture.both_states,
        .full_attention_only = c->capture.full_attention_only,
        .sample = c->capture.sample_heads,
        .sample_count = c->capture.head_count,
        .sample_seed = c->capture.head_seed.words,
    };
    return qk_head_plan_make(&plan->heads, &model, &choice, err);
}

/* Fills plan->spec. */
static qk_status read_model(qk_plan *plan, qk_error *err)
{
    const qk_config *c = plan->config;
    if (plan->preset) {
        plan->model_folder = c->model.name;
        plan->tokenizer_folder = c->tokenizer.name ? c->tokenizer.name : c->model.name;
        return qk_spec_from(&plan->spec, qk_preset_config(plan->preset, &plan->arena),
                            c->model.overrides, plan->preset->name, &plan->arena, err);
    }
    plan->model_folder = plan->inputs->model;
    plan->tokenizer_folder = plan->inputs->tokenizer;
    return qk_spec_read(&plan->spec, plan->model_folder, c->model.overrides, &plan->arena, err);
}

/* Prefix layout: the folder of the model. One that nobody could make or load is told before the
 * work, not behind it. */
static qk_status name_split(qk_plan *plan, qk_error *err)
{
    const char *model = plan->config->model.name;
    plan->split = qk_split_name(&plan->arena, model);
    size_t n = strlen(plan->split);
    if (n > NAME_MAX)
        return qk_fail(
            err, QK_ERR_CONFIG,
            "name it by a shorter path, such as a link to it, or use output.layout: "
            "branch",
            "model.name: its %zu bytes become the name of a folder, which has at most %d", n,
            NAME_MAX);
    if (!qk_is_split_name(plan->split))
        return qk_fail(err, QK_ERR_CONFIG, "write it as ./all, or use output.layout: branch",
                       "model.name: '%s' cannot be the name of a split: it stands for all of them",
                       model);
    return QK_OK;
}

static qk_status make_parts(qk_plan *plan, qk_error *err)
{
    const qk_config *c = plan->config;
    QK_TRY(read_model(plan, err));
    QK_TRY(choose_heads(plan, err));
    plan->attention = qk_describe_attention(&plan->spec, &plan->arena);
    plan->prefix = c->output.layout == QK_LAYOUT_PREFIX;
    plan->split = "train";
    if (plan->prefix) QK_TRY(name_split(plan, err));
    plan->unit_examples = unit_examples(c->tokenizer.max_length);
    plan->final = qk_arena_strf(&plan->arena, "%s/final", c->output.data_root);
    plan->split_folder =
        plan->prefix ? qk_arena_strf(&plan->arena, "%s/%s", plan->final, plan->split) : plan->final;
    return QK_OK;
}

static qk_status make(qk_plan *plan, qk_error *err)
{
    qk_status s = make_parts(plan, err);
    if (s != QK_OK) qk_plan_free(plan);
    return s;
}

qk_output qk_plan_output(const qk_plan *plan)
{
    const qk_config *c = plan->config;
    return (qk_output){
        .final = plan->final,
        .split = plan->split,
        .folder = plan->split_folder,
        .prefix = plan->prefix,
        .heads = &plan->heads,
        .window = plan->window,
        .head_dim = plan->spec.d,
        .token_strings = c->capture.token_strings,
        .token_ids = c->capture.token_ids,
        .lse = c->capture.lse,
        .head_columns = c->capture.head_columns,
        .attention = plan->attention,
        .plain_vectors = c->output.plain_vectors,
        .ids_from_column = c->dataset.id_column != NULL,
        .unit_examples = plan->unit_examples,
    };
}

qk_status qk_plan_make(qk_plan *plan, const qk_config *config, const qk_inputs *inputs,
                       qk_error *err)
{
    *plan = (qk_plan){.config = config, .inputs = inputs};
    return make(plan, err);
}

qk_status qk_plan_from_preset(qk_plan *plan, const qk_config *config, const qk_preset *preset,
                              qk_error *err)
{
    *plan = (qk_plan){.config = config, .preset = preset};
    return make(plan, err);
}

void qk_plan_free(qk_plan *plan)
{
    qk_head_plan_free(&plan->heads);
    qk_arena_free(&plan->arena);
    *plan = (qk_plan){0};
}

qk_last_layer qk_plan_last_needs(const qk_plan *plan)
{
    const qk_layer_heads *last = &plan->heads.layers[plan->heads.n_layers - 1];
    if (last->n_q && plan->config->capture.lse) return QK_LAST_ATTENTION;
    return last->n_v ? QK_LAST_QKV : QK_LAST_QK;
}

qk_status qk_plan_has_tokenizer(const qk_plan *plan, bool *has, qk_error *err)
{
    char *path = qk_path_join(plan->tokenizer_folder, "tokenizer.json");
    qk_status s = qk_has_file(path, has, err);
    free(path);
    return s;
}
