/* See layer_budget.h. */
#include "engine/model/layer_budget.h"

#include "engine/base/log.h"

/* ---- sizes ---- */

/* The table keeps the checkpoint's own format, as far as config.json says which one that is. */
static uint64_t embedding_size(const qk_spec *s, qk_dtype compute)
{
    const qk_json *v = qk_json_get(s->config, "torch_dtype");
    if (!v) v = qk_json_get(s->config, "dtype");
    if (!v) v = qk_json_get(s->text, "torch_dtype");
    if (qk_json_is_string(v, "bfloat16") || qk_json_is_string(v, "float16")) return 2;
    return qk_json_is_string(v, "float32") ? 4 : qk_dtype_size(compute);
}

typedef struct weighing {
    const qk_spec *spec;
    const qk_backend *backend;
    qk_dtype compute;
    int last_layer;
    qk_last_layer needs;
    uint64_t fixed, *layer;
} weighing;

static qk_status weigh(void *context, const qk_tensor_spec *t)
{
    weighing *w = context;
    const qk_spec *s = w->spec;
    bool stops = w->last_layer >= 0, matrix = t->n_dims > 1;
    bool last = stops && t->layer == w->last_layer;
    if (stops && (t->layer > w->last_layer || t->weight == QK_W_FINAL_NORM)) return QK_OK;
    /* The last captured layer has nothing but what makes q and k, or q, k and v. */
    bool no_v = last && w->needs == QK_LAST_QK;
    if (last && t->weight != QK_W_INPUT_NORM && t->weight != QK_W_Q && t->weight != QK_W_K &&
        t->weight != QK_W_Q_NORM && t->weight != QK_W_K_NORM && t->weight != QK_W_QKV &&
        (t->weight != QK_W_V || no_v))
        return QK_OK;
    uint64_t rows = t->shape[0], size = matrix ? w->backend->weight_size[w->compute] : 4;
    if (no_v && t->weight == QK_W_QKV) rows -= (uint64_t)s->K * (uint64_t)s->d;
    if (t->weight == QK_W_EMBED) size = embedding_size(s, w->compute);
    uint64_t bytes = rows * (matrix ? t->shape[1] : 1) * size;
    if (matrix && t->layer >= 0)
        w->layer[t->layer] += bytes;
    else
        w->fixed += bytes;
    return QK_OK;
}

void qk_model_size_of(qk_model_size *size, const qk_spec *s, const qk_backend *backend,
                      qk_dtype compute, int last_layer, qk_last_layer needs, qk_arena *arena)
{
    uint64_t *layer = qk_arena_alloc(arena, (size_t)s->layers, sizeof *layer);
    weighing w = {s, backend, compute, last_layer, needs, 0, layer};
    qk_each_tensor(s, weigh, &w);
    *size = (qk_model_size){
        .layers = last_layer < 0 ? s->layers : last_layer + 1, .fixed = w.fixed, .layer = layer};
    for (int l = 0; l < size->layers; l++) size->present += layer[l] > 0;
}

/* ---- which stay ---- */

/* Layer i of those that have weights, when `stay` of them do. */
static bool stays(const qk_model_size *m, int i, int stay)
{
    return (int64_t)(i + 1) * stay / m->present > (int64_t)i * stay / m->present;
}

/* How many stay, with n in memory. */
static int staying(const qk_model_size *m, int n)
{
    return n >= m->present ? m->present : n - QK_LAYER_BUFFERS;
}

/* Bytes in memory with n layers; *again: those of the layers that are read again. */
static uint64_t in_memory(const qk_model_size *m, int n, uint64_t *again)
{
    uint64_t kept = m->fixed, largest = 0;
    *again = 0;
    for (int l = 0, i = 0; l < m->layers; l++) {
        if (!m->layer[l]) continue;
        if (stays(m, i++, staying(m, n))) {
            kept += m->layer[l];
            continue;
        }
        *again += m->layer[l];
        if (m->layer[l] > largest) largest = m->layer[l];
    }
    return kept + QK_LAYER_BUFFERS * largest;
}

uint64_t qk_model_size_all(const qk_model_size *m)
{
    uint64_t again;
    return in_memory(m, m->present, &again);
}

static qk_status too_small(const qk_model_size *m, const qk_layer_budget_limits *limits,
                           uint64_t needed, qk_error *err)
{
    return qk_fail(err, QK_ERR_CONFIG,
                   "model.dtype bfloat16 halves float32 weights; else use a machine or a GPU with "
                   "more memory",
                   "two layers of the model do not fit into memory: they and the embedding need "
                   "%s, activations of the largest batch and all else %s, and %s are free (all %d "
                   "layers: %s)",
                   qk_human_bytes((double)needed), qk_human_bytes((double)limits->reserve),
                   qk_human_bytes((double)limits->free), m->present,
                   qk_human_bytes((double)qk_model_size_all(m)));
}

qk_status qk_layer_budget_choose(qk_layer_budget *r, const qk_model_size *m,
                                 const qk_layer_budget_limits *limits, qk_arena *arena,
                                 qk_error *err)
{
    uint64_t usable = limits->free - limits->free / 16;
    uint64_t budget = usable > limits->reserve ? usable - limits->reserve : 0;
    *r = (qk_layer_budget){.present = m->present, .in_memory = limits->layers};
    if (!limits->layers || r->in_memory > m->present) r->in_memory = m->present;
    r->bytes = in_memory(m, r->in_memory, &r->read_again);
    /* The largest number within the budget, 2 at least. */
    while (limits->free && !limits->layers && r->in_memory > QK_LAYER_BUFFERS && r->bytes > budget)
        r->bytes = in_memory(m, --r->in_memory, &r->read_again);
    if (limits->free && !limits->layers && r->bytes > limits->free)
        return too_small(m, limits, r->bytes, err);
    if (limits->free && r->bytes > budget)
        qk_warn("memory may be short: weights of %d layers need %s, activations of the largest "
                "batch and all else up to %s, and %s are free; a smaller inference.batch_size or "
                "tokenizer.max_length needs less",
                r->in_memory, qk_human_bytes((double)r->bytes),
                qk_human_bytes((double)limits->reserve), qk_human_bytes((double)limits->free));
    bool *list = qk_arena_alloc(arena, (size_t)m->layers, sizeof *list);
    for (int l = 0, i = 0; l < m->layers; l++)
        list[l] = !m->layer[l] || stays(m, i++, staying(m, r->in_memory));
    r->stays = list;
    return QK_OK;
}

const char *qk_layer_budget_text(const qk_layer_budget *r, qk_arena *arena)
{
    if (!r->read_again) return "all layers stay in memory";
    return qk_arena_strf(arena,
                         "%d layers, %d in memory: the others are read again for each batch (%s); "
                         "a larger inference.batch_size shares that among more examples",
                         r->present, r->in_memory, qk_human_bytes((double)r->read_again));
}
