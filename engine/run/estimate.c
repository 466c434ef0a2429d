/* See estimate.h. */
#include "engine/run/estimate.h"

#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/capture/capture.h"
#include "engine/config/config.h"
#include "engine/dataset/hub_dataset.h"
#include "engine/forward/forward.h"
#include "engine/model/model.h"
#include "engine/run/inputs.h"
#include "engine/run/plan.h"
#include "engine/run/text_work.h"
#include "engine/tokenizer/tokenizer.h"
#include "sampler/positions.h"

/* ---- texts ---- */

typedef struct means {
    double tokens, squares, longest; /* squares: of the tokens of each */
    double rows, layer_rows;         /* of all files; of a layer's heads */
    qk_forward_work work, whole;     /* whole: without the slice */
    int64_t n;
} means;

/* The vectors of n tokens in files of n_q query heads, n_k key heads and n_v of values. */
static double rows_of(const qk_plan *plan, int32_t tokens, int n_q, int n_k, int n_v)
{
    const qk_config *c = plan->config;
    int states = plan->heads.both_states ? 2 : 1;
    return qk_sampler_expected_rows(&c->capture.sampler, tokens) * n_q * states +
           qk_sampler_expected_rows(&c->capture.key_sampler, tokens) * (n_k * states + n_v);
}

/* The same of one layer, all heads of it captured. */
static double layer_rows(const qk_plan *plan, int32_t tokens)
{
    const qk_head_plan *h = &plan->heads;
    const qk_spec *s = &plan->spec;
    return rows_of(plan, tokens, h->n_q ? s->H : 0, h->n_k ? s->K : 0, h->n_v ? s->K : 0);
}

static void add_work(qk_forward_work *sum, qk_forward_work work)
{
    sum->products += work.products;
    sum->attention += work.attention;
    sum->windowed += work.windowed;
}

/* How many vectors a token has in a layer. */
static double layer_heads(const qk_plan *plan)
{
    const qk_head_plan *h = &plan->heads;
    const qk_spec *s = &plan->spec;
    int states = h->both_states ? 2 : 1;
    return (h->n_q ? s->H * states : 0) + (h->n_k ? s->K * states : 0) + (h->n_v ? s->K : 0);
}

/* work, whole: of its forward pass, and without the slice. */
static void count_example(const qk_plan *plan, int32_t tokens, qk_forward_work work,
                          qk_forward_work whole, means *m)
{
    m->n++;
    m->tokens += tokens;
    if (tokens > m->longest) m->longest = tokens;
    m->rows += rows_of(plan, tokens, plan->heads.n_q, plan->heads.n_k, plan->heads.n_v);
    m->layer_rows += layer_rows(plan, tokens);
    m->squares += (double)tokens * tokens;
    add_work(&m->work, work);
    add_work(&m->whole, whole);
}

/* Of a dataset of the Hub only files in the cache are looked at: whether the next is not there. */
static bool texts_end_here(const qk_plan *plan)
{
    return plan->inputs && plan->inputs->dataset && qk_hub_dataset_lacks(plan->inputs->dataset);
}

/* Tokenizes the first `look` examples and counts the rest, or has the rest counted by the dataset
 * alone: *examples is -1 where that takes files which are not there, or reading. */
static qk_status read_examples(const qk_plan *plan, const qk_tokenizer *tok, int64_t look,
                               bool count, means *m, int64_t *examples, qk_error *err)
{
    qk_dataset *data = NULL;
    qk_tokens tokens = {0};
    qk_text_work *text_work = qk_text_work_new(plan);
    qk_example e;
    bool more = true;
    *examples = 0;
    const qk_dataset_remote *remote = plan->inputs ? qk_inputs_remote(plan->inputs) : NULL;
    qk_status s = qk_dataset_open_in(&data, plan->config, remote, err);
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
            qk_forward_work whole, work = {0};
            if (s == QK_OK) work = qk_text_work_of(text_work, e.id, (int32_t)tokens.count, &whole);
            if (s == QK_OK) count_example(plan, (int32_t)tokens.count, work, whole, m);
        } else if (!count || qk_dataset_rows(data) >= 0) {
            *examples = qk_dataset_rows(data);
            break;
        }
    }
    qk_tokens_free(&tokens);
    qk_text_work_free(text_work);
    qk_dataset_close(data);
    return s;
}

/* Every example at full length, and all of its rows: which are drawn depends on the text's id. */
static qk_status assume_examples(const qk_plan *plan, means *m, int64_t *examples, qk_error *err)
{
    int64_t length = plan->config->tokenizer.max_length;
    if (length <= 0 || length > INT32_MAX)
        return qk_fail(err, QK_ERR_CONFIG,
                       "set it, or give the folder of a tokenizer and a dataset that is there",
                       "tokenizer.max_length is needed to size a run without its texts");
    qk_forward_work work = qk_forward_work_of(&plan->spec, plan->heads.last_layer,
                                              qk_plan_last_needs(plan), (double)length);
    count_example(plan, (int32_t)length, work, work, m);
    *examples = plan->config->dataset.max_samples;
    return QK_OK;
}

/* ---- memory ---- */

/* What grows neither with the model nor with the batch: merging (256 MB), pieces of files, stacks
 * of threads; on a GPU the kernels of cuBLASLt. */
enum { OTHER_BYTES = 384 << 20 };

/* Of a layer's vectors, each with its log-sum-exp, as many times as layers are on their way. */
static uint64_t capture_bytes(const qk_plan *plan, const qk_backend *backend, double vectors)
{
    double layers = backend->depth + QK_CAPTURE_BEHIND;
    return (uint64_t)(layers * vectors * 4.0 * (plan->spec.d + plan->config->capture.lse));
}

uint64_t qk_estimate_reserve(const qk_plan *plan, const qk_backend *backend)
{
    const qk_config *c = plan->config;
    int64_t max = QK_MAX_BATCH_TOKENS, length = c->tokenizer.max_length;
    if (length <= 0) length = max;
    if (length > max) max = length; /* of one example */
    int64_t tokens = length;
    double rows = layer_rows(plan, (int32_t)length);
    if (c->inference.batch_size) {
        int64_t n = c->inference.batch_size < max / length ? c->inference.batch_size : max / length;
        tokens *= n;
        rows *= (double)n;
    } else {
        double most = QK_PACKED_TOKENS * layer_heads(plan); /* of the shortest texts every token */
        if (tokens < QK_PACKED_TOKENS) tokens = QK_PACKED_TOKENS;
        if (rows < most) rows = most;
    }
    return qk_forward_bytes(&plan->spec, backend, c->model.dtype, (uint64_t)tokens) +
           capture_bytes(plan, backend, rows) + OTHER_BYTES;
}

/* The device is opened for what it has free; where it cannot be, that is unknown. A run that would
 * be refused here may be meant for another machine: it is planned with the least. */
static void choose_budget(qk_plan *plan, const qk_backend *backend, qk_estimate *out)
{
    const qk_config *c = plan->config;
    qk_device_options options = {.compute = c->model.dtype, .threads = 1, .isa = c->inference.isa};
    qk_layer_budget_limits limits = {.layers = (int)c->inference.layers_in_memory,
                                     .reserve = qk_estimate_reserve(plan, backend)};
    qk_device *device = NULL;
    qk_error ignored;
    if (backend->open(&options, &device, &ignored) == QK_OK) {
        limits.free = backend->free_memory(device);
        backend->close(device);
    }
    qk_model_size size;
    qk_model_size_of(&size, &plan->spec, backend, c->model.dtype, plan->heads.last_layer,
                     qk_plan_last_needs(plan), &plan->arena);
    out->weight_bytes = qk_model_size_all(&size);
    qk_error why;
    if (qk_layer_budget_choose(&out->budget, &size, &limits, &plan->arena, &why) == QK_OK) return;
    qk_warn("not on this machine as it is now: %s", why.message);
    limits = (qk_layer_budget_limits){.layers = QK_LAYER_BUFFERS};
    qk_layer_budget_choose(&out->budget, &size, &limits, &plan->arena, &why);
}

/* ---- units and batches ---- */

/* Mean examples that go through the forward together. */
static int64_t batch_examples(const qk_plan *plan, double mean_tokens)
{
    const qk_batch_limits limits = qk_batch_limits_of(plan->config);
    double most = (double)limits.tokens / (mean_tokens >= 1 ? mean_tokens : 1);
    int64_t batch = limits.examples < plan->unit_examples ? limits.examples : plan->unit_examples;
    if ((double)batch > most) batch = most >= 1 ? (int64_t)most : 1;
    return batch;
}

/* A unit's examples go through the forward in batches of batch_size, fewer where they are long. */
static void count_batches(const qk_plan *plan, qk_estimate *e)
{
    int64_t unit = plan->unit_examples, batch = batch_examples(plan, e->mean_tokens);
    e->batch_tokens = (double)batch * e->mean_tokens;
    e->units = e->examples < 0 ? -1 : (e->examples + unit - 1) / unit;
    e->batches = e->examples < 0 ? -1 : e->units * ((unit + batch - 1) / batch);
    if (e->examples >= 0 && e->examples < unit) e->batches = (e->examples + batch - 1) / batch;
}

/* ---- time ---- */

qk_status qk_estimate_time(const qk_plan *plan, const qk_estimate *e, qk_time_estimate *out,
                           qk_error *err)
{
    *out = (qk_time_estimate){0};
    if (!e->flops) return QK_OK;
    const qk_probe_work work = {
        .length = e->typical_tokens,
        .batch_tokens = e->batch_tokens,
        .flops = e->examples < 0 ? 0 : e->flops,
        .attention = e->work.attention > 0,
        .windowed = e->work.windowed > 0,
    };
    out->measured = qk_probe_speed(plan, &work, &out->speed, &out->why) == QK_OK;
    QK_TRY(qk_interrupt_check(err));
    const qk_speed *s = &out->speed;
    if (out->measured)
        out->seconds = e->tokens * e->products_share * s->token + e->work.attention * s->attention +
                       e->work.windowed * s->windowed;
    return QK_OK;
}

/* ---- all of it ---- */

/* The sums of all examples, by those that were looked at. */
static void sum_up(const qk_plan *plan, const means *m, qk_estimate *out)
{
    double n = m->n ? (double)m->n : 1, scale = out->examples < 0 ? 1 : (double)out->examples / n;
    out->looked_at = out->assumed ? 0 : m->n;
    out->mean_tokens = m->tokens / n;
    out->longest_tokens = m->longest;
    out->files = (double)qk_head_plan_files(&plan->heads);
    out->rows = m->rows * scale;
    out->bytes = out->rows * (4.0 * plan->spec.d + 16);
    out->tokens = m->tokens * scale;
    out->work = (qk_forward_work){m->work.products * scale, m->work.attention * scale,
                                  m->work.windowed * scale};
    out->flops = qk_forward_work_flops(out->work);
    out->whole_flops = qk_forward_work_flops(m->whole) * scale;
    out->products_share = m->whole.products > 0 ? m->work.products / m->whole.products : 0;
    out->typical_tokens = m->tokens > 0 ? m->squares / m->tokens : 0;
    count_batches(plan, out);
}

qk_status qk_estimate_start(const qk_plan *plan, const qk_tokenizer *tokenizer, int64_t examples,
                            qk_estimate *out, qk_error *err)
{
    enum { TEXTS = 32 };
    means m = {0};
    *out = (qk_estimate){0};
    QK_TRY(read_examples(plan, tokenizer, TEXTS, false, &m, &out->examples, err));
    if (examples >= 0) out->examples = examples;
    sum_up(plan, &m, out);
    return QK_OK;
}

qk_status qk_estimate_make(qk_plan *plan, int64_t look, qk_estimate *out, qk_error *err)
{
    means m = {0};
    bool texts;
    qk_path_info data;
    QK_TRY(qk_plan_has_tokenizer(plan, &texts, err));
    if (plan->inputs) {
        texts &= !plan->inputs->dataset_is_missing;
    } else {
        QK_TRY(qk_path_stat(plan->config->dataset.path, &data, err));
        texts &= data.type == QK_PATH_FOLDER || data.type == QK_PATH_FILE;
    }
    *out = (qk_estimate){.assumed = !texts};
    if (texts) {
        qk_tokenizer *tok = NULL;
        qk_status s = qk_tokenizer_load(&tok, plan->tokenizer_folder, err);
        if (s == QK_OK) s = read_examples(plan, tok, look, true, &m, &out->examples, err);
        qk_tokenizer_free(tok);
        QK_TRY(s);
    }
    out->assumed |= !m.n && texts_end_here(plan);
    if (out->assumed) QK_TRY(assume_examples(plan, &m, &out->examples, err));
    sum_up(plan, &m, out);
    qk_dtype compute = plan->config->model.dtype;
    const qk_backend *backend = qk_backend_find(plan->config->inference.backend);
    if (!backend) backend = &qk_backend_cpu;
    double n = m.n ? (double)m.n : 1, examples = (double)plan->config->inference.batch_size;
    double tokens = m.longest * examples;
    if (!examples) {
        examples = (double)batch_examples(plan, out->mean_tokens);
        tokens = examples * out->mean_tokens;
        if (tokens < m.longest) tokens = m.longest;
    }
    out->activation_bytes = qk_forward_bytes(&plan->spec, backend, compute, (uint64_t)tokens);
    out->capture_bytes = capture_bytes(plan, backend, m.layer_rows / n * examples);
    choose_budget(plan, backend, out);
    return QK_OK;
}
