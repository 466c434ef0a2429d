/* Finding and checking the tensors of a model. See model_bind.h. */
#include "engine/model_bind.h"

#include <stdlib.h>
#include <string.h>

typedef struct binder {
    const qk_spec *spec;
    const qk_checkpoint *checkpoint;
    const char *folder;
    bool *used; /* [checkpoint->count] */
    qk_arena *arena;
    qk_error *err;
} binder;

static qk_status missing(const binder *b, const char *name)
{
    /* The tensor that comes next in name order is often the misspelt or half-renamed one. */
    const char *near = NULL;
    for (size_t i = 0; i < b->checkpoint->count && !near; i++)
        if (strcmp(b->checkpoint->tensors[i].name, name) > 0) near = b->checkpoint->tensors[i].name;
    return qk_fail(b->err, QK_ERR_NOTFOUND,
                   "the checkpoint is incomplete, or config.json belongs to another model",
                   "%s: tensor '%s' is missing (%zu tensors found; next in order: '%.120s')",
                   b->folder, name, b->checkpoint->count, near ? near : "none");
}

static qk_status find(const binder *b, const char *name, const size_t *shape, int n_dims,
                      const qk_st_tensor **out)
{
    const qk_st_tensor *t = qk_checkpoint_find(b->checkpoint, name);
    if (!t) return missing(b, name);
    b->used[t - b->checkpoint->tensors] = true;
    if (t->n_dims != n_dims || memcmp(t->shape, shape, (size_t)n_dims * sizeof *shape) != 0)
        return qk_fail(b->err, QK_ERR_FORMAT, "config.json and the weights do not belong together",
                       "%s: tensor '%s' has shape %s, expected %s", t->file, name,
                       qk_st_shape_text(b->arena, t->shape, t->n_dims),
                       qk_st_shape_text(b->arena, shape, n_dims));
    qk_dtype dtype;
    if (!qk_st_float_dtype(t, &dtype))
        return qk_fail(b->err, QK_ERR_UNSUPPORTED,
                       "use a checkpoint in float32, float16 or bfloat16",
                       "%s: tensor '%s' has dtype %s", t->file, name, t->dtype);
    *out = t;
    return QK_OK;
}

static qk_status find_vector(const binder *b, int layer, const char *pattern, int n,
                             const qk_st_tensor **out)
{
    if (!pattern) return QK_OK;
    size_t shape = (size_t)n;
    const char *text = qk_arena_strndup(b->arena, pattern, strlen(pattern));
    const char *mark = strstr(text, "%d");
    const char *name =
        !mark ? text
              : qk_arena_strf(b->arena, "%.*s%d%s", (int)(mark - text), text, layer, mark + 2);
    return find(b, name, &shape, 1, out);
}

/* A linear layer: `pattern`.weight [out, in] and, with a bias, `pattern`.bias [out]. */
static qk_status find_linear(const binder *b, int layer, const char *pattern, int out, int in,
                             bool has_bias, const qk_st_tensor **weight, const qk_st_tensor **bias)
{
    const char *mark = strstr(pattern, "%d");
    const char *base =
        qk_arena_strf(b->arena, "%.*s%d%s", (int)(mark - pattern), pattern, layer, mark + 2);
    size_t shape[2] = {(size_t)out, (size_t)in};
    QK_TRY(find(b, qk_arena_strf(b->arena, "%s.weight", base), shape, 2, weight));
    if (!has_bias) return QK_OK;
    return find(b, qk_arena_strf(b->arena, "%s.bias", base), shape, 1, bias);
}

static qk_status bind_layer(const binder *b, int i, qk_bound_layer *t)
{
    const qk_spec *s = b->spec;
    const qk_weight_names *n = s->family->names;
    int q = s->H * s->d, k = s->K * s->d;
    QK_TRY(find_vector(b, i, n->input_norm, s->D, &t->input_norm));
    QK_TRY(find_vector(b, i, n->post_norm, s->D, &t->post_norm));
    QK_TRY(find_vector(b, i, n->q_norm, s->d, &t->q_norm));
    QK_TRY(find_vector(b, i, n->k_norm, s->d, &t->k_norm));
    QK_TRY(find_linear(b, i, n->q, q, s->D, s->qkv_bias, &t->q, &t->q_bias));
    QK_TRY(find_linear(b, i, n->k, k, s->D, s->qkv_bias, &t->k, &t->k_bias));
    QK_TRY(find_linear(b, i, n->v, k, s->D, s->qkv_bias, &t->v, &t->v_bias));
    QK_TRY(find_linear(b, i, n->o, s->D, q, s->o_bias, &t->o, &t->o_bias));
    QK_TRY(find_linear(b, i, n->gate, s->F, s->D, s->mlp_bias, &t->gate, &t->gate_bias));
    QK_TRY(find_linear(b, i, n->up, s->F, s->D, s->mlp_bias, &t->up, &t->up_bias));
    return find_linear(b, i, n->down, s->D, s->F, s->mlp_bias, &t->down, &t->down_bias);
}

/* Tensors that a prefill has no use for: the output head, tables that old files stored, and layers
 * that an override of num_hidden_layers dropped. */
static bool may_be_left(const qk_spec *spec, const char *name)
{
    if (!strcmp(name, "lm_head.weight") || strstr(name, "rotary_emb.inv_freq")) return true;
    const char *layer = strstr(name, "layers.");
    return layer && atoi(layer + strlen("layers.")) >= spec->layers;
}

static qk_status check_left_over(const binder *b)
{
    size_t n = 0;
    const char *first = NULL;
    for (size_t i = 0; i < b->checkpoint->count; i++) {
        const char *name = b->checkpoint->tensors[i].name;
        if (b->used[i] || may_be_left(b->spec, name)) continue;
        if (!n++) first = name;
    }
    if (!n) return QK_OK;
    return qk_fail(b->err, QK_ERR_UNSUPPORTED,
                   "config.json does not describe this checkpoint: results would be wrong",
                   "%s: %zu tensors that model_type '%s' does not use, the first is '%.200s'",
                   b->folder, n, b->spec->family->model_type, first);
}

qk_status qk_bind(qk_binding *out, const qk_spec *spec, const qk_checkpoint *c, qk_arena *arena,
                  const char *folder, qk_error *err)
{
    *out = (qk_binding){0};
    binder b = {spec, c, folder, qk_arena_alloc(arena, c->count, sizeof(bool)), arena, err};
    size_t table[2] = {(size_t)spec->V, (size_t)spec->D};
    QK_TRY(find(&b, spec->family->names->embed, table, 2, &out->embed));
    QK_TRY(find_vector(&b, 0, spec->family->names->final_norm, spec->D, &out->final_norm));
    out->layers = qk_arena_alloc(arena, (size_t)spec->layers, sizeof *out->layers);
    for (int i = 0; i < spec->layers; i++) QK_TRY(bind_layer(&b, i, &out->layers[i]));
    return check_left_over(&b);
}

/* ---- values ---- */

/* Values whose exponent is all ones: infinities and NaNs. */
static size_t count_bad(const void *data, size_t n, qk_dtype dtype)
{
    size_t bad = 0;
    if (dtype == QK_F32) {
        const uint32_t *v = data;
#pragma omp parallel for reduction(+ : bad) schedule(static)
        for (size_t i = 0; i < n; i++) bad += (v[i] & 0x7F800000) == 0x7F800000;
    } else {
        const uint16_t *v = data;
        uint16_t mask = dtype == QK_BF16 ? 0x7F80 : 0x7C00;
#pragma omp parallel for reduction(+ : bad) schedule(static)
        for (size_t i = 0; i < n; i++) bad += (v[i] & mask) == mask;
    }
    return bad;
}

qk_status qk_tensor_open(const qk_st_tensor *t, const void **data, void **copy, qk_dtype *dtype,
                         qk_error *err)
{
    QK_ASSERT(qk_st_float_dtype(t, dtype));
    *data = t->data;
    *copy = NULL;
    if ((uintptr_t)t->data % qk_dtype_size(*dtype)) {
        QK_TRY(qk_try_alloc(copy, t->bytes, 1, t->name, err));
        *data = memcpy(*copy, t->data, t->bytes);
    }
    size_t bad = count_bad(*data, t->bytes / qk_dtype_size(*dtype), *dtype);
    if (!bad) return QK_OK;
    free(*copy);
    *copy = NULL;
    return qk_fail(err, QK_ERR_DATA, "the checkpoint is damaged: download it again",
                   "%s: tensor '%s' has %zu values that are NaN or infinite", t->file, t->name,
                   bad);
}

static float widen(const void *data, size_t i, qk_dtype dtype)
{
    if (dtype == QK_F32) return ((const float *)data)[i];
    uint16_t h = ((const uint16_t *)data)[i];
    return dtype == QK_BF16 ? qk_bf16_to_f32(h) : qk_f16_to_f32(h);
}

qk_status qk_tensor_to_floats(const qk_st_tensor *t, qk_dtype compute, float *out, qk_error *err)
{
    const void *data;
    void *copy;
    qk_dtype dtype;
    QK_TRY(qk_tensor_open(t, &data, &copy, &dtype, err));
    for (size_t i = 0; i < t->bytes / qk_dtype_size(dtype); i++) {
        out[i] = widen(data, i, dtype);
        if (compute == QK_BF16) out[i] = qk_bf16_to_f32(qk_f32_to_bf16(out[i]));
    }
    free(copy);
    return QK_OK;
}
