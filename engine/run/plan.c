/* See plan.h. */
#include "engine/run/plan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/capture/capture.h"
#include "engine/config/config.h"
#include "engine/families/presets.h"
#include "engine/output/final_folder.h"
#include "engine/output/layout.h"
#include "engine/output/manifest.h"
#include "engine/run/describe_attention.h"
#include "engine/run/inputs.h"
#include "hub/names.h"

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

/* "models/tiny/" -> "tiny"; "." and ".." are called as what they lead to. */
static const char *folder_name(qk_arena *arena, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    const char *name = qk_path_name(qk_arena_strndup(arena, path, n));
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) return name;
    char *real = realpath(path, NULL);
    name = real ? qk_arena_strf(arena, "%s", qk_path_name(real)) : path;
    free(real);
    return name;
}

static bool can_be_split(const char *name)
{
    return qk_is_split_name(name) && strlen(name) <= NAME_MAX;
}

static void use_split(qk_plan *plan, const char *name)
{
    plan->split = name;
    plan->split_folder =
        plan->prefix ? qk_arena_strf(&plan->arena, "%s/%s", plan->final, name) : plan->final;
}

/* Prefix layout: the folder of the model. One that nobody could make or load is told before the
 * work, not behind it. */
static qk_status name_split(qk_plan *plan, qk_error *err)
{
    const char *model = plan->config->model.name, *given = plan->config->output.split;
    const char *whole = qk_split_name(&plan->arena, model), *name = given ? given : whole;
    qk_path_info info;
    QK_TRY(qk_path_stat(model, &info, err));
    /* "Qwen/Qwen3-8B" is one split, from a folder of that name and from the Hub. */
    if (!given && info.type == QK_PATH_FOLDER && !qk_looks_like_repo(model)) {
        const char *own = qk_split_name(&plan->arena, folder_name(&plan->arena, model));
        if (can_be_split(own)) name = own; /* "./all" is no folder all */
        if (strcmp(name, whole) != 0 && can_be_split(whole)) plan->old_split = whole;
    }
    plan->own_split = name;
    use_split(plan, name);
    if (can_be_split(name)) return QK_OK;
    const char *key = given ? "output.split" : "model.name";
    if (strlen(name) > NAME_MAX)
        return qk_fail(err, QK_ERR_CONFIG,
                       given ? "give a shorter one" : "set output.split to a shorter name",
                       "%s: its %zu bytes become the name of a folder, which has at most %d", key,
                       strlen(name), NAME_MAX);
    if (!strcmp(name, "all"))
        return qk_fail(err, QK_ERR_CONFIG,
                       given ? "give another one"
                             : "set output.split, write it as ./all, or use output.layout: branch",
                       "%s: '%s' cannot be the name of a split: it stands for all of them", key,
                       given ? given : model);
    return qk_fail(err, QK_ERR_CONFIG,
                   "a split is called by letters, digits and _, with single points between",
                   "%s: '%s' cannot be the name of a split", key, given ? given : model);
}

/* Whether final/<split> holds rows of the model of that very name. */
static qk_status holds_model(const qk_plan *plan, const char *split, bool *holds, qk_error *err)
{
    char *folder = qk_path_join(plan->final, split);
    qk_arena arena = {0};
    const qk_json *manifest = NULL;
    bool is_split;
    *holds = false;
    qk_status s = qk_final_is_split(plan->final, split, &is_split, err);
    if (s == QK_OK && is_split) s = qk_manifest_read(folder, &arena, &manifest, err);
    const qk_json *runs = qk_json_get(manifest, "runs");
    for (const qk_json *r = runs ? runs->first : NULL; r && !*holds; r = r->next) {
        const qk_json *config = qk_json_get(qk_json_get(r, "identity"), "config");
        *holds = qk_json_is_string(qk_json_get(qk_json_get(config, "model"), "name"),
                                   plan->config->model.name);
    }
    qk_arena_free(&arena);
    free(folder);
    return s;
}

qk_status qk_plan_find_split(qk_plan *plan, qk_error *err)
{
    bool then, now;
    if (!plan->old_split) return QK_OK;
    QK_TRY(holds_model(plan, plan->old_split, &then, err));
    QK_TRY(holds_model(plan, plan->own_split, &now, err));
    const char *name = then && !now ? plan->old_split : plan->own_split;
    if (name == plan->split) return QK_OK;
    use_split(plan, name);
    if (name == plan->old_split)
        qk_info("%s holds rows of this model, by the name that an earlier version gave it: they "
                "stay there, and new ones join them (output.split: %s begins a folder of its own)",
                plan->split_folder, plan->own_split);
    return QK_OK;
}

static qk_status make_parts(qk_plan *plan, qk_error *err)
{
    const qk_config *c = plan->config;
    QK_TRY(read_model(plan, err));
    QK_TRY(choose_heads(plan, err));
    plan->attention = qk_describe_attention(&plan->spec, &plan->arena);
    plan->prefix = c->output.layout == QK_LAYOUT_PREFIX;
    plan->unit_examples = unit_examples(c->tokenizer.max_length);
    plan->final = qk_arena_strf(&plan->arena, "%s/final", c->output.data_root);
    use_split(plan, "train");
    if (plan->prefix) QK_TRY(name_split(plan, err));
    return qk_plan_find_split(plan, err);
}

static qk_status make(qk_plan *plan, qk_error *err)
{
    qk_status s = make_parts(plan, err);
    if (s != QK_OK) qk_plan_free(plan);
    return s;
}

qk_capture_plan qk_plan_capture(const qk_plan *plan)
{
    const qk_config *c = plan->config;
    const qk_backend *backend = qk_backend_find(c->inference.backend);
    return (qk_capture_plan){
        .heads = &plan->heads,
        .sampler = c->capture.sampler,
        .key_sampler = c->capture.key_sampler,
        .per_head_masks = c->capture.per_head_masks,
        .pre_rope = c->capture.pre_rope,
        .lse = c->capture.lse,
        .allow_nonfinite = c->capture.allow_nonfinite,
        .buffers = (backend ? backend->depth : 1) + QK_CAPTURE_BEHIND,
        .d = plan->spec.d,
    };
}

qk_output qk_plan_output(const qk_plan *plan)
{
    const qk_config *c = plan->config;
    const qk_listed *queries = c->capture.queries ? c->capture.sampler.listed : NULL;
    const bool keys = c->capture.keys || c->capture.values;
    const qk_listed *of_keys = keys ? c->capture.key_sampler.listed : NULL;
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
        .listed = {queries, of_keys == queries ? NULL : of_keys},
    };
}

qk_batch_limits qk_batch_limits_of(const qk_config *config)
{
    int64_t n = config->inference.batch_size;
    return n ? (qk_batch_limits){n, QK_MAX_BATCH_TOKENS}
             : (qk_batch_limits){INT32_MAX, QK_PACKED_TOKENS};
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

qk_status qk_plan_has_tokenizer(const qk_plan *plan, bool *has, qk_error *err)
{
    char *path = qk_path_join(plan->tokenizer_folder, "tokenizer.json");
    qk_status s = qk_has_file(path, has, err);
    free(path);
    return s;
}
