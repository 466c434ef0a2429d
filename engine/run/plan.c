/* See plan.h. */
#include "engine/run/plan.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/dataset/dataset.h"
#include "engine/forward/forward.h"
#include "engine/tokenizer/tokenizer.h"

/* A unit of about this many tokens is lost at most when a machine dies. */
enum { UNIT_TOKENS = 131072, MOST_UNIT_EXAMPLES = 64, UNIT_EXAMPLES_UNLIMITED = 16 };

static int unit_examples(int64_t max_length)
{
    if (max_length <= 0) return UNIT_EXAMPLES_UNLIMITED;
    int64_t n = UNIT_TOKENS / max_length;
    return n < 1 ? 1 : n > MOST_UNIT_EXAMPLES ? MOST_UNIT_EXAMPLES : (int)n;
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

static qk_status make(qk_plan *plan, qk_error *err)
{
    const qk_config *c = plan->config;
    QK_TRY(read_model(plan, err));
    QK_TRY(choose_heads(plan, err));
    bool prefix = c->output.layout == QK_LAYOUT_PREFIX;
    plan->split = "train";
    if (prefix) QK_TRY(name_split(plan, err));
    plan->unit_examples = unit_examples(c->tokenizer.max_length);
    const char *root = c->output.data_root;
    plan->staging = qk_arena_strf(&plan->arena, "%s/staging", root);
    plan->final = qk_arena_strf(&plan->arena, "%s/final", root);
    plan->split_folder =
        prefix ? qk_arena_strf(&plan->arena, "%s/%s", plan->final, plan->split) : plan->final;
    return QK_OK;
}

qk_output qk_plan_output(const qk_plan *plan)
{
    const qk_config *c = plan->config;
    return (qk_output){
        .final = plan->final,
        .split = plan->split,
        .folder = plan->split_folder,
        .prefix = c->output.layout == QK_LAYOUT_PREFIX,
        .heads = &plan->heads,
        .window = plan->window,
        .head_dim = plan->spec.d,
        .token_strings = c->capture.token_strings,
        .plain_vectors = c->output.plain_vectors,
        .ids_from_column = c->dataset.id_column != NULL,
        .unit_examples = plan->unit_examples,
    };
}

static qk_status make_or_free(qk_plan *plan, qk_error *err)
{
    qk_status s = make(plan, err);
    if (s != QK_OK) qk_plan_free(plan);
    return s;
}

qk_status qk_plan_make(qk_plan *plan, const qk_config *config, const qk_inputs *inputs,
                       qk_error *err)
{
    *plan = (qk_plan){.config = config, .inputs = inputs};
    return make_or_free(plan, err);
}

qk_status qk_plan_from_preset(qk_plan *plan, const qk_config *config, const qk_preset *preset,
                              qk_error *err)
{
    *plan = (qk_plan){.config = config, .preset = preset};
    return make_or_free(plan, err);
}

void qk_plan_free(qk_plan *plan)
{
    qk_head_plan_free(&plan->heads);
    qk_arena_free(&plan->arena);
    *plan = (qk_plan){0};
}

/* ---- estimate ---- */

typedef struct means {
    double tokens, rows, flops, longest;
    int64_t n;
} means;

static void look_at(const qk_plan *plan, int32_t tokens, means *m)
{
    m->n++;
    m->tokens += tokens;
    if (tokens > m->longest) m->longest = tokens;
    m->rows += qk_sampler_expected_rows(&plan->config->capture.sampler, tokens);
    m->flops += qk_forward_flops(&plan->spec, plan->heads.last_layer, tokens);
}

/* Of a dataset of the Hub only files in the cache are looked at: whether the next is not there. */
static bool texts_end_here(const qk_plan *plan)
{
    return plan->inputs && plan->inputs->dataset && qk_hub_dataset_lacks(plan->inputs->dataset);
}

/* Tokenizes the first `look` examples and counts the rest. *examples is -1 when that takes files
 * which are not there. */
static qk_status read_examples(const qk_plan *plan, int64_t look, means *m, int64_t *examples,
                               qk_error *err)
{
    qk_tokenizer *tok = NULL;
    qk_dataset *data = NULL;
    qk_tokens tokens = {0};
    qk_example e;
    bool more = true;
    *examples = 0;
    qk_status s = qk_tokenizer_load(&tok, plan->tokenizer_folder, err);
    const qk_dataset_remote *place = plan->inputs ? qk_inputs_place(plan->inputs) : NULL;
    if (s == QK_OK) s = qk_dataset_open_in(&data, plan->config, place, err);
    while (s == QK_OK && more) {
        s = qk_dataset_next(data, &e, &more, err);
        if (s != QK_OK && texts_end_here(plan)) {
            s = QK_OK;
            *examples = plan->config->dataset.max_samples;
            break;
        }
        if (s != QK_OK || !more) break;
        ++*examples;
        if (m->n < look) {
            s = qk_tokenizer_encode(tok, e.text, e.length, plan->config->tokenizer.max_length,
                                    &tokens, err);
            if (s == QK_OK) look_at(plan, (int32_t)tokens.count, m);
        } else if (qk_dataset_rows(data) >= 0) {
            *examples = qk_dataset_rows(data);
            break;
        }
    }
    qk_tokens_free(&tokens);
    qk_dataset_close(data);
    qk_tokenizer_free(tok);
    return s;
}

qk_status qk_plan_has_tokenizer(const qk_plan *plan, bool *has, qk_error *err)
{
    char *path = qk_path_join(plan->tokenizer_folder, "tokenizer.json");
    qk_status s = qk_has_file(path, has, err);
    free(path);
    return s;
}

static qk_status look_for_texts(const qk_plan *plan, bool *there, qk_error *err)
{
    qk_path_info data;
    QK_TRY(qk_plan_has_tokenizer(plan, there, err));
    if (plan->inputs) {
        *there &= !plan->inputs->dataset_is_missing;
        return QK_OK;
    }
    QK_TRY(qk_path_stat(plan->config->dataset.path, &data, err));
    *there &= data.type == QK_PATH_FOLDER || data.type == QK_PATH_FILE;
    return QK_OK;
}

/* Every example at full length. */
static qk_status assume_examples(const qk_plan *plan, means *m, int64_t *examples, qk_error *err)
{
    int64_t length = plan->config->tokenizer.max_length;
    if (length <= 0 || length > INT32_MAX)
        return qk_fail(err, QK_ERR_CONFIG,
                       "set it, or give the folder of a tokenizer and a dataset that is there",
                       "tokenizer.max_length is needed to size a run without its texts");
    look_at(plan, (int32_t)length, m);
    *examples = plan->config->dataset.max_samples;
    return QK_OK;
}

/* ---- memory ---- */

/* What grows neither with the model nor with the batch: merging (256 MB), pieces of files, stacks
 * of threads; on a GPU the kernels of cuBLASLt. */
enum { OTHER_ROOM = 384 << 20 };

/* Rows of one layer, all heads of it captured. */
static uint64_t capture_bytes(const qk_plan *plan, double rows)
{
    const qk_spec *s = &plan->spec;
    return (uint64_t)(rows * (s->H + s->K) * 4.0 * s->d);
}

uint64_t qk_plan_reserve(const qk_plan *plan, const qk_backend *backend)
{
    const qk_config *c = plan->config;
    int64_t most = QK_MOST_BATCH_TOKENS, length = c->tokenizer.max_length;
    if (length <= 0) length = most;
    if (length > most) most = length; /* of one example */
    int64_t n = c->inference.batch_size < most / length ? c->inference.batch_size : most / length;
    double rows = qk_sampler_expected_rows(&c->capture.sampler, (int32_t)length) * (double)n;
    return qk_forward_bytes(&plan->spec, backend, c->model.dtype, (uint64_t)(n * length)) +
           (uint64_t)backend->depth * capture_bytes(plan, rows) + OTHER_ROOM;
}

/* The device is opened for what it has free; where it cannot be, that is unknown. A run that would
 * be refused here may be meant for another machine: it is planned with the least. */
static void choose_budget(qk_plan *plan, const qk_backend *backend, qk_estimate *out)
{
    const qk_config *c = plan->config;
    qk_device_options options = {.compute = c->model.dtype, .threads = 1, .isa = c->inference.isa};
    qk_layer_budget_limits limits = {.layers = (int)c->inference.layers_in_memory,
                                     .reserve = qk_plan_reserve(plan, backend)};
    qk_device *device = NULL;
    qk_error ignored;
    if (backend->open(&options, &device, &ignored) == QK_OK) {
        limits.free = backend->free_memory(device);
        backend->close(device);
    }
    qk_model_size size;
    qk_model_size_of(&size, &plan->spec, backend, c->model.dtype, plan->heads.last_layer,
                     &plan->arena);
    out->weight_bytes = qk_model_size_all(&size);
    qk_error why;
    if (qk_layer_budget_choose(&out->budget, &size, &limits, &plan->arena, &why) == QK_OK) return;
    qk_warn("not on this machine as it is now: %s", why.message);
    limits = (qk_layer_budget_limits){.layers = QK_LAYER_BUFFERS};
    qk_layer_budget_choose(&out->budget, &size, &limits, &plan->arena, &why);
}

qk_status qk_plan_estimate(qk_plan *plan, int64_t look, qk_estimate *out, qk_error *err)
{
    means m = {0};
    bool texts;
    QK_TRY(look_for_texts(plan, &texts, err));
    *out = (qk_estimate){.assumed = !texts};
    if (!out->assumed) QK_TRY(read_examples(plan, look, &m, &out->examples, err));
    out->assumed |= !m.n && texts_end_here(plan);
    if (out->assumed) QK_TRY(assume_examples(plan, &m, &out->examples, err));
    const qk_spec *s = &plan->spec;
    double n = m.n ? (double)m.n : 1, scale = out->examples < 0 ? 1 : (double)out->examples / n;
    out->looked_at = out->assumed ? 0 : m.n;
    out->mean_tokens = m.tokens / n;
    out->longest_tokens = m.longest;
    out->files = plan->heads.n_q + plan->heads.n_k;
    out->rows = m.rows * scale * out->files;
    out->bytes = out->rows * (4.0 * s->d + 16);
    out->tokens = m.tokens * scale;
    out->flops = m.flops * scale;
    qk_dtype compute = plan->config->model.dtype;
    uint64_t batch = (uint64_t)(m.longest * (double)plan->config->inference.batch_size);
    const qk_backend *backend = qk_backend_find(plan->config->inference.backend);
    if (!backend) backend = &qk_backend_cpu;
    out->activation_bytes = qk_forward_bytes(s, backend, compute, batch);
    out->capture_bytes =
        capture_bytes(plan, m.rows / n * (double)plan->config->inference.batch_size);
    choose_budget(plan, backend, out);
    return QK_OK;
}
