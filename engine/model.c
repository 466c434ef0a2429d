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
    VECTOR(w->input_norm, t->input_norm);
    VECTOR(w->q_norm, t->q_norm);
    VECTOR(w->k_norm, t->k_norm);
    if (has_v) {
        MATRIX(w->qkv, t->q, t->k, t->v);
        VECTOR(w->qkv_bias, t->q_bias, t->k_bias, t->v_bias);
    } else {
        MATRIX(w->qkv, t->q, t->k);
        VECTOR(w->qkv_bias, t->q_bias, t->k_bias);
    }
    return QK_OK;
}

static qk_status load_rest(loader *l, const qk_bound_layer *t, qk_layer *w)
{
    MATRIX(w->o, t->o);
    VECTOR(w->o_bias, t->o_bias);
    VECTOR(w->post_norm, t->post_norm);
    MATRIX(w->gate_up, t->gate, t->up);
    VECTOR(w->gate_up_bias, t->gate_bias, t->up_bias);
    MATRIX(w->down, t->down);
    VECTOR(w->down_bias, t->down_bias);
    return QK_OK;
}

static qk_status load_weights(loader *l)
{
    qk_model *m = l->m;
    m->layers = qk_zalloc((size_t)m->n_layers, sizeof *m->layers);
    QK_TRY(load_embedding(l));
    for (int i = 0; i < m->n_layers; i++) {
        bool whole = i < m->n_layers - 1 || !m->stops_at_qk;
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
    return load_weights(l);
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
    m->backend->matrix_free(m->device, w->gate_up);
    m->backend->matrix_free(m->device, w->down);
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
    if (qk_json_is_string(v, "bfloat16") || qk_json_is_string(v, "float16")) return 2;
    return qk_json_is_string(v, "float32") ? 4 : qk_dtype_size(compute);
}

uint64_t qk_model_weight_bytes(const qk_spec *s, qk_dtype compute, int last_layer)
{
    uint64_t D = (uint64_t)s->D, q = (uint64_t)s->H * (uint64_t)s->d,
             k = (uint64_t)s->K * (uint64_t)s->d, F = (uint64_t)s->F;
    uint64_t whole = D * (q + 2 * k) + q * D + 3 * D * F, projections = D * (q + k);
    uint64_t layers = (uint64_t)(last_layer < 0 ? s->layers : last_layer);
    uint64_t matrices = layers * whole + (last_layer < 0 ? 0 : projections);
    return matrices * qk_dtype_size(compute) + (uint64_t)s->V * D * embedding_size(s, compute);
}
