/* Finding and checking the tensors of a model. See model_bind.h. */
#include "engine/model_bind.h"

#include <stdlib.h>
#include <string.h>

typedef struct binder {
    qk_binding *out;
    const qk_spec *spec;
    const qk_checkpoint *checkpoint;
    const char *folder, *prefix;
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

static qk_status find(const binder *b, const qk_tensor_spec *want, const qk_st_tensor **out)
{
    const char *name = qk_arena_strf(b->arena, "%s%s", b->prefix, want->name);
    const qk_st_tensor *t = qk_checkpoint_find(b->checkpoint, name);
    if (!t) return missing(b, name);
    b->used[t - b->checkpoint->tensors] = true;
    size_t bytes = (size_t)want->n_dims * sizeof *want->shape;
    if (t->n_dims != want->n_dims || memcmp(t->shape, want->shape, bytes) != 0)
        return qk_fail(b->err, QK_ERR_FORMAT, "config.json and the weights do not belong together",
                       "%s: tensor '%s' has shape %s, expected %s", t->file, name,
                       qk_st_shape_text(b->arena, t->shape, t->n_dims),
                       qk_st_shape_text(b->arena, want->shape, want->n_dims));
    qk_dtype dtype;
    if (!qk_st_float_dtype(t, &dtype))
        return qk_fail(b->err, QK_ERR_UNSUPPORTED,
                       "use a checkpoint in float32, float16 or bfloat16",
                       "%s: tensor '%s' has dtype %s", t->file, name, t->dtype);
    *out = t;
    return QK_OK;
}

/* Rows first .. first + rows - 1 of a tensor, as a tensor. */
static const qk_st_tensor *rows_of(const binder *b, const qk_st_tensor *t, size_t first,
                                   size_t rows)
{
    qk_st_tensor *part = qk_arena_alloc(b->arena, 1, sizeof *part);
    size_t row_bytes = t->bytes / t->shape[0];
    *part = *t;
    part->shape[0] = rows;
    part->offset = t->offset + first * row_bytes;
    part->bytes = rows * row_bytes;
    return part;
}

/* The parts of a fused tensor, in their order. */
static void split(const binder *b, const qk_st_tensor *t, const qk_st_tensor **slots,
                  const qk_weight *parts, const size_t *rows, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; at += rows[i++]) slots[parts[i]] = rows_of(b, t, at, rows[i]);
}

static void bind_in_layer(const binder *b, const qk_tensor_spec *want, const qk_st_tensor *t)
{
    static const qk_weight qkv[] = {QK_W_Q, QK_W_K, QK_W_V}, gate_up[] = {QK_W_GATE, QK_W_UP};
    const qk_spec *s = b->spec;
    qk_bound_layer *l = &b->out->layers[want->layer];
    const qk_st_tensor **slots = want->bias ? l->bias : l->weight;
    size_t q = (size_t)(s->H * s->d), k = (size_t)(s->K * s->d), F = (size_t)s->F;
    if (want->expert >= 0) {
        qk_bound_expert *e = &l->experts[want->expert];
        *(want->weight == QK_W_EXPERT_GATE ? &e->gate
          : want->weight == QK_W_EXPERT_UP ? &e->up
                                           : &e->down) = t;
    } else if (want->weight == QK_W_QKV) {
        split(b, t, slots, qkv, (size_t[]){q, k, k}, 3);
    } else if (want->weight == QK_W_GATE_UP) {
        split(b, t, slots, gate_up, (size_t[]){F, F}, 2);
    } else {
        slots[want->weight] = t;
    }
}

static qk_status bind_one(void *context, const qk_tensor_spec *want)
{
    const binder *b = context;
    const qk_st_tensor *t = NULL;
    QK_TRY(find(b, want, &t));
    if (want->weight == QK_W_EMBED)
        b->out->embed = t;
    else if (want->weight == QK_W_FINAL_NORM)
        b->out->final_norm = t;
    else
        bind_in_layer(b, want, t);
    return QK_OK;
}

/* The prefix under which this checkpoint has the embedding; the usual one when none has. */
static const char *find_prefix(const qk_spec *spec, const qk_checkpoint *c, qk_arena *arena)
{
    const char *const *prefixes = qk_tensor_prefixes(spec);
    for (size_t i = 0; prefixes[i]; i++)
        if (qk_checkpoint_find(
                c, qk_arena_strf(arena, "%s%s", prefixes[i], (*spec->family->names)[QK_W_EMBED])))
            return prefixes[i];
    return prefixes[0];
}

static bool starts_with(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

/* The vision tower of a wrapper, which newer files keep under "model." too. */
static bool of_another_part(const qk_spec *spec, const char *name)
{
    if (!spec->wrapper) return false;
    for (const char *const *part = spec->wrapper->other_parts; *part; part++)
        if (starts_with(name, *part) ||
            (starts_with(name, "model.") && starts_with(name + strlen("model."), *part)))
            return true;
    return false;
}

/* Tensors that a prefill has no use for: the output head, tables that old files stored, layers that
 * an override of num_hidden_layers dropped or that do nothing without an image. */
static bool may_be_left(const binder *b, const char *name)
{
    if (strstr(name, "lm_head.weight") || strstr(name, "rotary_emb.inv_freq")) return true;
    if (of_another_part(b->spec, name)) return true;
    if (!starts_with(name, b->prefix)) return false;
    name += strlen(b->prefix);
    if (!starts_with(name, "layers.")) return false;
    int layer = atoi(name + strlen("layers."));
    return layer >= b->spec->layers || (layer >= 0 && b->spec->layer[layer].absent);
}

static qk_status check_left_over(const binder *b)
{
    size_t n = 0;
    const char *first = NULL;
    for (size_t i = 0; i < b->checkpoint->count; i++) {
        const char *name = b->checkpoint->tensors[i].name;
        if (b->used[i] || may_be_left(b, name)) continue;
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
    binder b = {.out = out,
                .spec = spec,
                .checkpoint = c,
                .folder = folder,
                .prefix = find_prefix(spec, c, arena),
                .used = qk_arena_alloc(arena, c->count, sizeof(bool)),
                .arena = arena,
                .err = err};
    out->layers = qk_arena_alloc(arena, (size_t)spec->layers, sizeof *out->layers);
    for (int l = 0; l < spec->layers; l++)
        if (spec->layer[l].sparse)
            out->layers[l].experts =
                qk_arena_alloc(arena, (size_t)spec->experts, sizeof(qk_bound_expert));
    QK_TRY(qk_each_tensor(spec, bind_one, &b));
    return check_left_over(&b);
}
