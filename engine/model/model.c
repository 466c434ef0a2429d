/* See model.h. The order of loading, and what stays of it. */
#include "engine/model/model.h"

#include <stdlib.h>

#include "engine/base/interrupt.h"
#include "engine/base/progress.h"
#include "engine/model/bind.h"
#include "engine/model/layer_stream.h"
#include "engine/model/weights.h"

/* The checkpoint is kept while layers are read from it. */
struct qk_model_own {
    qk_checkpoint checkpoint;
    qk_binding binding;
    qk_tensor *vectors; /* on the device; `layers` points into them */
    size_t n_vectors, capacity;
    qk_layer_stream *layers; /* NULL when all stay */
};

typedef struct loader {
    qk_model *m;
    struct qk_model_own *own;
    qk_weight_reader reader;
    qk_error *err;
} loader;

static qk_status load_vector(loader *l, const qk_st_tensor *const *parts, size_t n_parts,
                             const float **out)
{
    struct qk_model_own *own = l->own;
    QK_GROW(own->vectors, own->n_vectors, own->capacity);
    qk_tensor *t = &own->vectors[own->n_vectors];
    *t = (qk_tensor){0};
    qk_status s = qk_weights_vector(&l->reader, parts, n_parts, t, l->err);
    if (t->data) own->n_vectors++;
    *out = t->data;
    return s;
}

#define VECTOR(field, ...)                                                                         \
    do {                                                                                           \
        const qk_st_tensor *parts_[] = {__VA_ARGS__};                                              \
        if (parts_[0]) QK_TRY(load_vector(l, parts_, sizeof parts_ / sizeof *parts_, &(field)));   \
    } while (0)

/* Norms and biases of one layer. */
static qk_status load_vectors(loader *l, const qk_bound_layer *t, qk_layer *w, qk_last_layer needs)
{
    const qk_st_tensor *const *m = t->weight, *const *b = t->bias;
    VECTOR(w->input_norm, m[QK_W_INPUT_NORM]);
    VECTOR(w->q_norm, m[QK_W_Q_NORM]);
    VECTOR(w->k_norm, m[QK_W_K_NORM]);
    if (needs == QK_LAST_QK) {
        VECTOR(w->qkv_bias, b[QK_W_Q], b[QK_W_K]);
        return QK_OK;
    }
    VECTOR(w->qkv_bias, b[QK_W_Q], b[QK_W_K], b[QK_W_V]);
    if (needs != QK_LAST_WHOLE) return QK_OK;
    VECTOR(w->o_bias, b[QK_W_O]);
    VECTOR(w->attention_out_norm, m[QK_W_ATTENTION_OUT_NORM]);
    VECTOR(w->mlp_norm, m[QK_W_MLP_NORM]);
    VECTOR(w->mlp_out_norm, m[QK_W_MLP_OUT_NORM]);
    if (t->experts) return QK_OK;
    VECTOR(w->mlp.gate_up_bias, b[QK_W_GATE], b[QK_W_UP]);
    VECTOR(w->mlp.down_bias, b[QK_W_DOWN]);
    return QK_OK;
}

static qk_status load_weights(loader *l)
{
    qk_model *m = l->m;
    m->layers = qk_zalloc((size_t)m->n_layers, sizeof *m->layers);
    qk_progress_of("loading weights", 0, m->n_layers, "layer");
    QK_TRY(qk_weights_table(&l->reader, l->own->binding.embed, &m->embed, l->err));
    for (int i = 0; i < m->n_layers; i++) {
        const qk_bound_layer *bound = &l->own->binding.layers[i];
        qk_last_layer needs = qk_layer_needs(i, m->n_layers, m->last);
        if (m->spec.layer[i].absent) continue;
        QK_TRY(qk_interrupt_check(l->err));
        qk_progress_of("loading weights", i, m->n_layers, "layer");
        QK_TRY(load_vectors(l, bound, &m->layers[i], needs));
        if (m->budget.stays[i])
            QK_TRY(
                qk_weights_layer(&l->reader, bound, m->spec.experts, needs, &m->layers[i], l->err));
    }
    if (m->last == QK_LAST_WHOLE) VECTOR(m->final_norm, l->own->binding.final_norm);
    return QK_OK;
}

static qk_status start_reading(loader *l, const qk_device_options *device)
{
    qk_model *m = l->m;
    qk_layer_stream_plan plan = {.backend = m->backend,
                                 .device = *device,
                                 .spec = &m->spec,
                                 .checkpoint = &l->own->checkpoint,
                                 .bound = l->own->binding.layers,
                                 .layers = m->layers,
                                 .stays = m->budget.stays,
                                 .n_layers = m->n_layers,
                                 .last = m->last};
    return qk_layer_stream_new(&l->own->layers, &plan, l->err);
}

static qk_status load(loader *l, const char *folder, const qk_model_options *options)
{
    qk_model *m = l->m;
    struct qk_model_own *own = l->own;
    const qk_model_source *source = options->source;
    if (source)
        QK_TRY(
            qk_spec_from(&m->spec, source->config, options->overrides, folder, &m->arena, l->err));
    else
        QK_TRY(qk_spec_read(&m->spec, folder, options->overrides, &m->arena, l->err));
    if (options->change_spec) options->change_spec(&m->spec);
    if (!source) QK_TRY(qk_checkpoint_open(&own->checkpoint, folder, l->err));
    for (size_t i = 0; i < own->checkpoint.files.count; i++)
        qk_names_add(&m->files, own->checkpoint.files.items[i]);
    const qk_checkpoint *checkpoint = source ? source->checkpoint : &own->checkpoint;
    QK_TRY(qk_bind(&own->binding, &m->spec, checkpoint, &m->arena, folder, l->err));
    QK_ASSERT(options->last_layer < m->spec.layers);
    QK_ASSERT(options->last_layer < 0 || options->last_needs != QK_LAST_WHOLE);
    bool whole = options->last_layer < 0;
    m->last = whole ? QK_LAST_WHOLE : options->last_needs;
    m->n_layers = whole ? m->spec.layers : options->last_layer + 1;
    m->backend = options->backend;
    m->compute = options->device.compute;
    QK_TRY(m->backend->open(&options->device, &m->device, l->err));
    qk_model_size size;
    qk_model_size_of(&size, &m->spec, m->backend, m->compute, options->last_layer, m->last,
                     &m->arena);
    qk_layer_budget_limits limits = {.layers = options->layers_in_memory,
                                     .free = m->backend->free_memory(m->device),
                                     .reserve = options->reserve};
    QK_TRY(qk_layer_budget_choose(&m->budget, &size, &limits, &m->arena, l->err));
    if (source && m->budget.read_again)
        return qk_fail(l->err, QK_ERR_IO, "fewer layers (--layers), or a model in a folder",
                       "%s: the weights do not fit into memory, and there is no file to read them "
                       "from again",
                       folder);
    l->reader = (qk_weight_reader){.checkpoint = checkpoint,
                                   .source = source,
                                   .backend = m->backend,
                                   .device = m->device,
                                   .compute = m->compute,
                                   .threads = options->device.threads};
    QK_TRY(load_weights(l));
    QK_TRY(m->backend->sync(m->device, 0, l->err));
    if (m->budget.read_again) QK_TRY(start_reading(l, &options->device));
    return QK_OK;
}

qk_status qk_model_load(qk_model *model, const char *folder, const qk_model_options *options,
                        qk_error *err)
{
    struct qk_model_own *own = qk_zalloc(1, sizeof *own);
    *model = (qk_model){.own = own};
    loader l = {.m = model, .own = own, .err = err};
    qk_status s = load(&l, folder, options);
    qk_weight_reader_free(&l.reader);
    if (!own->layers) qk_checkpoint_close(&own->checkpoint);
    if (s != QK_OK) qk_model_free(model);
    return s;
}

void qk_model_free(qk_model *m)
{
    struct qk_model_own *own = m->own;
    if (m->device) {
        qk_layer_stream_free(own->layers);
        for (int i = 0; m->layers && i < m->n_layers; i++)
            qk_weights_layer_free(m->backend, m->device, &m->layers[i]);
        for (size_t i = 0; i < own->n_vectors; i++) m->backend->free(m->device, &own->vectors[i]);
        if (m->embed.data) m->backend->free(m->device, &m->embed);
        m->backend->close(m->device);
    }
    if (own) {
        qk_checkpoint_close(&own->checkpoint);
        free(own->vectors);
    }
    free(own);
    free(m->layers);
    qk_names_free(&m->files);
    qk_arena_free(&m->arena);
    *m = (qk_model){0};
}

/* ---- layers, for the forward ---- */

qk_status qk_model_layer(const qk_model *m, int l, const qk_layer **out, qk_error *err)
{
    *out = &m->layers[l];
    return m->own->layers ? qk_layer_stream_get(m->own->layers, l, out, err) : QK_OK;
}

void qk_model_layer_done(const qk_model *m, int l)
{
    if (m->own->layers) qk_layer_stream_done(m->own->layers, l);
}

void qk_model_layers_drop(const qk_model *m)
{
    if (m->own->layers) qk_layer_stream_drop(m->own->layers);
}
