/* Every tensor that a model has, with its shape. See family.h. */
#include <stdio.h>
#include <string.h>

#include "engine/families/family.h"

typedef enum extent { NONE, V, D, F, F2, Q, K, QKV, Q_NORM, K_NORM, E, EF } extent;

static size_t size_of(const qk_spec *s, extent x)
{
    size_t q = (size_t)s->H * (size_t)s->d, k = (size_t)s->K * (size_t)s->d;
    switch (x) {
    case NONE: return 0;
    case V: return (size_t)s->V;
    case D: return (size_t)s->D;
    case F: return (size_t)s->F;
    case F2: return 2 * (size_t)s->F;
    case Q: return q;
    case K: return k;
    case QKV: return q + 2 * k;
    case Q_NORM: return s->qk_norm_whole ? q : (size_t)s->d;
    case K_NORM: return s->qk_norm_whole ? k : (size_t)s->d;
    case E: return (size_t)s->experts;
    case EF: return (size_t)s->expert_F;
    }
    return 0;
}

/* Which layers have it, and how often. */
typedef enum scope { OUTSIDE, EVERY_LAYER, DENSE_LAYER, SPARSE_LAYER, EACH_EXPERT } scope;
typedef enum bias { NO_BIAS, QKV_BIAS, O_BIAS, MLP_BIAS } bias;

static const struct {
    extent rows, cols; /* cols NONE: a vector */
    scope scope;
    bias bias;
} shapes[QK_N_WEIGHTS] = {
    [QK_W_EMBED] = {V, D, OUTSIDE, NO_BIAS},
    [QK_W_FINAL_NORM] = {D, NONE, OUTSIDE, NO_BIAS},
    [QK_W_INPUT_NORM] = {D, NONE, EVERY_LAYER, NO_BIAS},
    [QK_W_ATTENTION_OUT_NORM] = {D, NONE, EVERY_LAYER, NO_BIAS},
    [QK_W_MLP_NORM] = {D, NONE, EVERY_LAYER, NO_BIAS},
    [QK_W_MLP_OUT_NORM] = {D, NONE, EVERY_LAYER, NO_BIAS},
    [QK_W_QKV] = {QKV, D, EVERY_LAYER, QKV_BIAS},
    [QK_W_Q] = {Q, D, EVERY_LAYER, QKV_BIAS},
    [QK_W_K] = {K, D, EVERY_LAYER, QKV_BIAS},
    [QK_W_V] = {K, D, EVERY_LAYER, QKV_BIAS},
    [QK_W_Q_NORM] = {Q_NORM, NONE, EVERY_LAYER, NO_BIAS},
    [QK_W_K_NORM] = {K_NORM, NONE, EVERY_LAYER, NO_BIAS},
    [QK_W_O] = {D, Q, EVERY_LAYER, O_BIAS},
    [QK_W_GATE_UP] = {F2, D, DENSE_LAYER, MLP_BIAS},
    [QK_W_GATE] = {F, D, DENSE_LAYER, MLP_BIAS},
    [QK_W_UP] = {F, D, DENSE_LAYER, MLP_BIAS},
    [QK_W_DOWN] = {D, F, DENSE_LAYER, MLP_BIAS},
    [QK_W_ROUTER] = {E, D, SPARSE_LAYER, NO_BIAS},
    [QK_W_EXPERT_GATE] = {EF, D, EACH_EXPERT, NO_BIAS},
    [QK_W_EXPERT_UP] = {EF, D, EACH_EXPERT, NO_BIAS},
    [QK_W_EXPERT_DOWN] = {D, EF, EACH_EXPERT, NO_BIAS},
};

typedef struct visitor {
    const qk_spec *spec;
    qk_status (*visit)(void *, const qk_tensor_spec *);
    void *context;
} visitor;

/* A pattern with its "%d"s filled in, in order. */
static void make_name(char *out, size_t size, const char *pattern, int layer, int expert)
{
    int numbers[] = {layer, expert};
    size_t at = 0, n = 0;
    for (const char *p = pattern; *p && at + 12 < size; p++)
        if (p[0] == '%' && p[1] == 'd')
            at += (size_t)snprintf(out + at, size - at, "%d", numbers[n++]), p++;
        else
            out[at++] = *p;
    out[at] = 0;
}

/* The tensor and, when it has one, its bias. */
static qk_status visit_one(const visitor *v, qk_weight w, int layer, int expert)
{
    const qk_spec *s = v->spec;
    const char *pattern = (*s->family->names)[w];
    if (!pattern) return QK_OK;
    char name[256];
    make_name(name, sizeof name, pattern, layer, expert);
    qk_tensor_spec t = {.name = name,
                        .weight = w,
                        .layer = layer,
                        .expert = expert,
                        .n_dims = shapes[w].cols == NONE ? 1 : 2,
                        .shape = {size_of(s, shapes[w].rows), size_of(s, shapes[w].cols)}};
    QK_TRY(v->visit(v->context, &t));
    const bool has[] = {[QKV_BIAS] = s->qkv_bias, [O_BIAS] = s->o_bias, [MLP_BIAS] = s->mlp_bias};
    if (!has[shapes[w].bias]) return QK_OK;
    char *ending = name + strlen(name) - strlen("weight");
    memcpy(ending, "bias", sizeof "bias");
    t.bias = true;
    t.n_dims = 1;
    t.shape[1] = 0;
    return v->visit(v->context, &t);
}

static qk_status visit_layer(const visitor *v, int layer)
{
    bool sparse = v->spec->layer[layer].sparse;
    for (int i = 0; i < QK_N_WEIGHTS; i++) {
        qk_weight w = (qk_weight)i;
        scope in = shapes[w].scope;
        if (in == EVERY_LAYER || in == (sparse ? SPARSE_LAYER : DENSE_LAYER))
            QK_TRY(visit_one(v, w, layer, -1));
        for (int e = 0; in == EACH_EXPERT && sparse && e < v->spec->experts; e++)
            QK_TRY(visit_one(v, w, layer, e));
    }
    return QK_OK;
}

qk_status qk_each_tensor(const qk_spec *spec, qk_status (*visit)(void *, const qk_tensor_spec *),
                         void *context)
{
    visitor v = {spec, visit, context};
    for (int w = 0; w < QK_N_WEIGHTS; w++)
        if (shapes[w].scope == OUTSIDE) QK_TRY(visit_one(&v, (qk_weight)w, -1, -1));
    for (int l = 0; l < spec->layers; l++)
        if (!spec->layer[l].absent) QK_TRY(visit_layer(&v, l));
    return QK_OK;
}

const char *const *qk_tensor_prefixes(const qk_spec *spec)
{
    /* With the output head around it, with one for questions as some families have it, or the
     * backbone alone. */
    static const char *const plain[] = {"model.", "transformer.", "", NULL};
    /* Older files, files of transformers from 4.52 on, the model without its output head, and the
     * text model alone. */
    static const char *const wrapped[] = {"language_model.model.", "model.language_model.",
                                          "language_model.", "model.", NULL};
    return spec->wrapper ? wrapped : plain;
}
