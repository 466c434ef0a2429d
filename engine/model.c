/* See model.h. Binding by name, checks, and the order of loading. */
#include "engine/model.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/model_bind.h"

struct qk_vector_list {
    qk_tensor *items;
    size_t count, capacity;
};

typedef struct loader {
    qk_model *m;
    qk_checkpoint checkpoint;
    qk_binding binding;
    const char *folder;
    qk_error *err;
} loader;

/* A float32 vector on the device from one or more tensors end to end, rounded to the compute
 * format first, as a model that was converted to it would be. */
static qk_status load_vector(loader *l, const qk_st_tensor *const *parts, size_t n_parts,
                             const float **out)
{
    const qk_backend *b = l->m->backend;
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++) n += parts[i]->shape[0];
    struct qk_vector_list *list = l->m->vectors;
    QK_GROW(list->items, list->count, list->capacity);
    qk_tensor *t = &list->items[list->count];
    QK_TRY(b->alloc(l->m->device, QK_F32, 1, n, parts[0]->name, t, l->err));
    list->count++;
    float *host = qk_alloc(n, sizeof *host), *at = host;
    qk_status s = QK_OK;
    for (size_t i = 0; i < n_parts && s == QK_OK; i++) {
        s = qk_tensor_to_floats(parts[i], l->m->compute, at, l->err);
        at += parts[i]->shape[0];
    }
    if (s == QK_OK) b->upload(l->m->device, *t, host, QK_F32);
    free(host);
    *out = t->data;
    l->m->weight_bytes += n * sizeof(float);
    return s;
}

/* One matrix on the device from one or more tensors, stacked by output rows. */
static qk_status load_matrix(loader *l, const qk_st_tensor *const *parts, size_t n_parts,
                             qk_matrix **out)
{
    const qk_backend *b = l->m->backend;
    size_t rows = 0, at = 0, in = parts[0]->shape[1];
    for (size_t i = 0; i < n_parts; i++) rows += parts[i]->shape[0];
    QK_TRY(b->matrix_new(l->m->device, rows, in, parts[0]->name, out, l->err));
    for (size_t i = 0; i < n_parts; i++) {
        const void *data;
        void *copy;
        qk_dtype dtype;
        QK_TRY(qk_tensor_open(parts[i], &data, &copy, &dtype, l->err));
        b->matrix_load(l->m->device, *out, at, parts[i]->shape[0], data, dtype);
        free(copy);
        qk_map_forget(parts[i]->data, parts[i]->bytes);
        at += parts[i]->shape[0];
    }
    l->m->weight_bytes += rows * in * qk_dtype_size(l->m->compute);
    return QK_OK;
}

static qk_status load_embedding(loader *l)
{
    const qk_st_tensor *t = l->binding.embed;
    const qk_backend *b = l->m->backend;
    const void *data;
    void *copy;
    qk_dtype dtype;
    QK_TRY(qk_tensor_open(t, &data, &copy, &dtype, l->err));
    qk_status s =
        b->alloc(l->m->device, dtype, t->shape[0], t->shape[1], t->name, &l->m->embed, l->err);
    if (s == QK_OK) b->upload(l->m->device, l->m->embed, data, dtype);
    free(copy);
    qk_map_forget(t->data, t->bytes);
    l->m->weight_bytes += t->bytes;
    return s;
}

#define MATRIX(field, ...)                                                                         \
    do {                                                                                           \
        const qk_st_tensor *parts_[] = {__VA_ARGS__};                                              \
        QK_TRY(load_matrix(l, parts_, sizeof parts_ / sizeof *parts_, &(field)));                  \
    } while (0)
#define VECTOR(field, ...)                                                                         \
    do {                                                                                           \
        const qk_st_tensor *parts_[] = {__VA_ARGS__};                                              \
        if (parts_[0]) QK_TRY(load_vector(l, parts_, sizeof parts_ / sizeof *parts_, &(field)));   \
    } while (0)

/* What makes q and k, and with `has_v` also v. */
static qk_status load_projections(loader *l, const qk_bound_layer *t, qk_layer *w, bool has_v)
{
    const qk_st_tensor *const *m = t->weight, *const *b = t->bias;
    VECTOR(w->input_norm, m[QK_W_INPUT_NORM]);
    VECTOR(w->q_norm, m[QK_W_Q_NORM]);
    VECTOR(w->k_norm, m[QK_W_K_NORM]);
    if (has_v) {
        MATRIX(w->qkv, m[QK_W_Q], m[QK_W_K], m[QK_W_V]);
        VECTOR(w->qkv_bias, b[QK_W_Q], b[QK_W_K], b[QK_W_V]);
    } else {
        MATRIX(w->qkv, m[QK_W_Q], m[QK_W_K]);
        VECTOR(w->qkv_bias, b[QK_W_Q], b[QK_W_K]);
    }
    return QK_OK;
}

static qk_status load_experts(loader *l, const qk_bound_layer *t, qk_layer *w)
{
    MATRIX(w->router, t->weight[QK_W_ROUTER]);
    w->experts = qk_arena_alloc(&l->m->arena, (size_t)l->m->spec.experts, sizeof *w->experts);
    for (int e = 0; e < l->m->spec.experts; e++) {
        MATRIX(w->experts[e].gate_up, t->experts[e].gate, t->experts[e].up);
        MATRIX(w->experts[e].down, t->experts[e].down);
    }
    return QK_OK;
}

static qk_status load_rest(loader *l, const qk_bound_layer *t, qk_layer *w)
{
    const qk_st_tensor *const *m = t->weight, *const *b = t->bias;
    MATRIX(w->o, m[QK_W_O]);
    VECTOR(w->o_bias, b[QK_W_O]);
    VECTOR(w->attention_out_norm, m[QK_W_ATTENTION_OUT_NORM]);
    VECTOR(w->mlp_norm, m[QK_W_MLP_NORM]);
    VECTOR(w->mlp_out_norm, m[QK_W_MLP_OUT_NORM]);
    if (t->experts) return load_experts(l, t, w);
    MATRIX(w->mlp.gate_up, m[QK_W_GATE], m[QK_W_UP]);
    VECTOR(w->mlp.gate_up_bias, b[QK_W_GATE], b[QK_W_UP]);
    MATRIX(w->mlp.down, m[QK_W_DOWN]);
    VECTOR(w->mlp.down_bias, b[QK_W_DOWN]);
    return QK_OK;
}

static qk_status load_weights(loader *l)
{
    qk_model *m = l->m;
    m->layers = qk_zalloc((size_t)m->n_layers, sizeof *m->layers);
    QK_TRY(load_embedding(l));
    for (int i = 0; i < m->n_layers; i++) {
        bool whole = i < m->n_layers - 1 || !m->stops_at_qk;
        if (m->spec.layer[i].absent) continue;
        qk_progress(false, "loading layer %d of %d", i + 1, m->n_layers);
        QK_TRY(load_projections(l, &l->binding.layers[i], &m->layers[i], whole));
        if (whole) QK_TRY(load_rest(l, &l->binding.layers[i], &m->layers[i]));
    }
    if (!m->stops_at_qk) VECTOR(m->final_norm, l->binding.final_norm);
    return QK_OK;
}

static qk_status load(loader *l, const qk_model_options *options)
{
    qk_model *m = l->m;
    QK_TRY(qk_spec_read(&m->spec, l->folder, options->overrides, &m->arena, l->err));
    if (options->change_spec) options->change_spec(&m->spec);
    QK_TRY(qk_checkpoint_open(&l->checkpoint, l->folder, l->err));
    for (size_t i = 0; i < l->checkpoint.files.count; i++)
        qk_names_add(&m->files, l->checkpoint.files.items[i]);
    QK_TRY(qk_bind(&l->binding, &m->spec, &l->checkpoint, &m->arena, l->folder, l->err));
    QK_ASSERT(options->last_layer < m->spec.layers);
    m->stops_at_qk = options->last_layer >= 0;
    m->n_layers = m->stops_at_qk ? options->last_layer + 1 : m->spec.layers;
    m->backend = options->backend;
    m->compute = options->device.compute;
    QK_TRY(m->backend->open(&options->device, &m->device, l->err));
    QK_TRY(load_weights(l));
    return m->backend->sync(m->device, 0, l->err);
}

qk_status qk_model_load(qk_model *model, const char *folder, const qk_model_options *options,
                        qk_error *err)
{
    *model = (qk_model){.vectors = qk_zalloc(1, sizeof *model->vectors)};
    loader l = {.m = model, .folder = folder, .err = err};
    qk_status s = load(&l, options);
    qk_checkpoint_close(&l.checkpoint);
    if (s != QK_OK) qk_model_free(model);
    return s;
}

static void free_layer(qk_model *m, qk_layer *w)
{
    m->backend->matrix_free(m->device, w->qkv);
    m->backend->matrix_free(m->device, w->o);
    m->backend->matrix_free(m->device, w->mlp.gate_up);
    m->backend->matrix_free(m->device, w->mlp.down);
    m->backend->matrix_free(m->device, w->router);
    for (int e = 0; w->experts && e < m->spec.experts; e++) {
        m->backend->matrix_free(m->device, w->experts[e].gate_up);
        m->backend->matrix_free(m->device, w->experts[e].down);
    }
}

void qk_model_free(qk_model *m)
{
    if (m->device) {
        for (int i = 0; m->layers && i < m->n_layers; i++) free_layer(m, &m->layers[i]);
        for (size_t i = 0; i < m->vectors->count; i++)
            m->backend->free(m->device, &m->vectors->items[i]);
        if (m->embed.data) m->backend->free(m->device, &m->embed);
        m->backend->close(m->device);
    }
    if (m->vectors) free(m->vectors->items);
    free(m->vectors);
    free(m->layers);
    qk_names_free(&m->files);
    qk_arena_free(&m->arena);
    *m = (qk_model){0};
}

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
    qk_dtype compute;
    int last_layer;
    uint64_t bytes;
} weighing;

/* The last captured layer has nothing but what makes q and k. */
static bool makes_q_and_k(qk_weight w)
{
    return w == QK_W_INPUT_NORM || w == QK_W_Q || w == QK_W_K || w == QK_W_Q_NORM ||
           w == QK_W_K_NORM || w == QK_W_QKV;
}

static qk_status weigh(void *context, const qk_tensor_spec *t)
{
    weighing *w = context;
    const qk_spec *s = w->spec;
    bool stops = w->last_layer >= 0;
    if (stops && (t->layer > w->last_layer || t->weight == QK_W_FINAL_NORM)) return QK_OK;
    if (stops && t->layer == w->last_layer && !makes_q_and_k(t->weight)) return QK_OK;
    uint64_t rows = t->shape[0], size = t->n_dims == 1 ? 4 : qk_dtype_size(w->compute);
    if (stops && t->layer == w->last_layer && t->weight == QK_W_QKV)
        rows -= (uint64_t)s->K * (uint64_t)s->d; /* no v */
    if (t->weight == QK_W_EMBED) size = embedding_size(s, w->compute);
    w->bytes += rows * (t->n_dims == 1 ? 1 : t->shape[1]) * size;
    return QK_OK;
}

uint64_t qk_model_weight_bytes(const qk_spec *s, qk_dtype compute, int last_layer)
{
    weighing w = {s, compute, last_layer, 0};
    qk_each_tensor(s, weigh, &w);
    return w.bytes;
}
