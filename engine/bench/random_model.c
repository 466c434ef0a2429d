/* See random_model.h. */
#include "engine/bench/random_model.h"

#include <stdlib.h>
#include <string.h>

#include "engine/families/presets.h"
#include "engine/model/model.h"
#include "engine/tools/synth.h"
#include "formats/safetensors.h"

enum { MAX_VOCABULARY = 4096 };

struct qk_random_model {
    qk_model_source source;
    const char *name;
    qk_spec spec;
    qk_checkpoint checkpoint; /* in the arena */
    qk_synth_values *values;  /* of each tensor */
    qk_json_out text;
    qk_arena arena;
};

static void cut_vocabulary(qk_spec *spec)
{
    if (spec->V > MAX_VOCABULARY) spec->V = MAX_VOCABULARY;
}

static size_t elements(const qk_tensor_spec *t)
{
    return t->shape[0] * (t->n_dims == 2 ? t->shape[1] : 1);
}

static qk_status count(void *context, const qk_tensor_spec *t)
{
    size_t *n = context;
    (void)t;
    ++*n;
    return QK_OK;
}

typedef struct declaring {
    qk_random_model *r;
    qk_dtype dtype;
    const char *prefix;
} declaring;

static qk_status declare(void *context, const qk_tensor_spec *t)
{
    const declaring *d = context;
    qk_random_model *r = d->r;
    qk_st_tensor *to = &r->checkpoint.tensors[r->checkpoint.count++];
    *to = (qk_st_tensor){.name = qk_arena_strf(&r->arena, "%s%s", d->prefix, t->name),
                         .dtype = d->dtype == QK_F32   ? "F32"
                                  : d->dtype == QK_F16 ? "F16"
                                                       : "BF16",
                         .n_dims = t->n_dims,
                         .bytes = elements(t) * qk_dtype_size(d->dtype),
                         .file = r->name};
    memcpy(to->shape, t->shape, (size_t)t->n_dims * sizeof *t->shape);
    return QK_OK;
}

/* Behind the sorting, which moves tensors: the values of each one. */
static qk_status find_values(void *context, const qk_tensor_spec *t)
{
    const declaring *d = context;
    qk_random_model *r = d->r;
    const char *name = qk_arena_strf(&r->arena, "%s%s", d->prefix, t->name);
    const qk_st_tensor *at = qk_checkpoint_find(&r->checkpoint, name);
    QK_ASSERT(at);
    r->values[at - r->checkpoint.tensors] = qk_synth_values_of(&r->spec, t, 0);
    return QK_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const qk_st_tensor *)a)->name, ((const qk_st_tensor *)b)->name);
}

/* What is asked for may be a part of a tensor, which begins at its offset. */
static void fill(void *context, const qk_st_tensor *t, size_t at, size_t bytes, void *to)
{
    const qk_random_model *r = context;
    qk_dtype dtype;
    QK_ASSERT(qk_st_float_dtype(t, &dtype));
    size_t size = qk_dtype_size(dtype);
    const qk_st_tensor *whole = qk_checkpoint_find(&r->checkpoint, t->name);
    qk_synth_fill(to, dtype, &r->values[whole - r->checkpoint.tensors], (t->offset + at) / size,
                  bytes / size, 1);
}

qk_status qk_random_model_make(qk_random_model **out, const qk_preset *preset, int layers,
                               qk_dtype dtype, qk_error *err)
{
    qk_random_model *r = *out = qk_zalloc(1, sizeof *r);
    const qk_synth_options options = {.name = preset->name,
                                      .config = qk_preset_config(preset, &r->arena),
                                      .layers = layers,
                                      .dtype = dtype};
    r->name = preset->name;
    QK_TRY(qk_synth_config(&options, &r->text, &r->source.config, &r->spec, &r->arena, err));
    cut_vocabulary(&r->spec);
    size_t n = 0;
    declaring d = {r, dtype, qk_tensor_prefixes(&r->spec)[0]};
    qk_each_tensor(&r->spec, count, &n);
    r->checkpoint.tensors = qk_arena_alloc(&r->arena, n, sizeof *r->checkpoint.tensors);
    r->values = qk_arena_alloc(&r->arena, n, sizeof *r->values);
    qk_each_tensor(&r->spec, declare, &d);
    qsort(r->checkpoint.tensors, n, sizeof *r->checkpoint.tensors, by_name);
    qk_each_tensor(&r->spec, find_values, &d);
    r->source.checkpoint = &r->checkpoint;
    r->source.fill = fill;
    r->source.context = r;
    return QK_OK;
}

void qk_random_model_give(const qk_random_model *r, qk_model_options *options)
{
    options->source = &r->source;
    options->change_spec = cut_vocabulary;
}

void qk_random_model_free(qk_random_model *r)
{
    if (!r) return;
    qk_buf_free(&r->text.buf);
    qk_arena_free(&r->arena);
    free(r);
}
