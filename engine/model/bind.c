/* Finding and checking the tensors of a model. See bind.h. */
#include "engine/model/bind.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"

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
    bool promised = false;
    for (size_t i = 0; i < b->checkpoint->absent.count && !promised; i++)
        promised = !strcmp(b->checkpoint->absent.items[i], name);
    return qk_fail(b->err, QK_ERR_NOTFOUND,
                   promised
                       ? "the index names it, but no shard has it: download the whole model again"
                       : "the checkpoint is incomplete, or config.json belongs to another model",
                   "%s: tensor '%s' is missing (%zu tensors found; next in order: '%.120s')",
                   b->folder, name, b->checkpoint->count, near ? near : "none");
}

static qk_status check_dtype(const binder *b, const qk_st_tensor *t)
{
    qk_dtype dtype;
    if (qk_st_float_dtype(t, &dtype)) return QK_OK;
    if (qk_st_is_quantised(t))
        return qk_fail(b->err, QK_ERR_UNSUPPORTED,
                       "use the unquantised checkpoint of this model, in float32, float16 or "
                       "bfloat16",
                       "%s: tensor '%s' has dtype %s: quantised checkpoints are not supported",
                       t->file, t->name, t->dtype);
    return qk_fail(b->err, QK_ERR_UNSUPPORTED, "use a checkpoint in float32, float16 or bfloat16",
                   "%s: tensor '%s' has dtype %s", t->file, t->name, t->dtype);
}

static qk_status find(const binder *b, const qk_tensor_spec *want, const qk_st_tensor **out)
{
    const char *name = qk_arena_strf(b->arena, "%s%s", b->prefix, want->name);
    const qk_st_tensor *t = qk_checkpoint_find(b->checkpoint, name);
    /* Where a checkpoint ties the embedding to the output head, it may hold it as that. */
    bool maybe_head = want->weight == QK_W_EMBED && b->spec->tied;
    if (!t && maybe_head) t = qk_checkpoint_find(b->checkpoint, "lm_head.weight");
    if (!t && maybe_head && b->spec->wrapper)
        t = qk_checkpoint_find(b->checkpoint, "language_model.lm_head.weight");
    if (!t) return missing(b, name);
    b->used[t - b->checkpoint->tensors] = true;
    size_t bytes = (size_t)want->n_dims * sizeof *want->shape;
    if (t->n_dims != want->n_dims || memcmp(t->shape, want->shape, bytes) != 0)
        return qk_fail(b->err, QK_ERR_FORMAT, "config.json and the weights do not belong together",
                       "%s: tensor '%s' has shape %s, expected %s", t->file, t->name,
                       qk_st_shape_text(b->arena, t->shape, t->n_dims),
                       qk_st_shape_text(b->arena, want->shape, want->n_dims));
    *out = t;
    return check_dtype(b, t);
}

/* The parts of a fused tensor, in their order: rows[i] rows each, as tensors. */
static void split(const binder *b, const qk_st_tensor *t, const qk_st_tensor **slots,
                  const qk_weight *parts, const size_t *rows, size_t n)
{
    size_t row_bytes = t->bytes / t->shape[0], offset = t->offset;
    for (size_t i = 0; i < n; i++) {
        qk_st_tensor *part = qk_arena_alloc(b->arena, 1, sizeof *part);
        *part = *t;
        part->shape[0] = rows[i];
        part->offset = offset;
        part->bytes = rows[i] * row_bytes;
        offset += part->bytes;
        slots[parts[i]] = part;
    }
}

static qk_status bind_one(void *context, const qk_tensor_spec *want)
{
    static const qk_weight qkv[] = {QK_W_Q, QK_W_K, QK_W_V}, gate_up[] = {QK_W_GATE, QK_W_UP};
    const binder *b = context;
    const qk_spec *s = b->spec;
    const qk_st_tensor *t = NULL;
    QK_TRY(find(b, want, &t));
    if (want->weight == QK_W_EMBED) b->out->embed = t;
    if (want->weight == QK_W_FINAL_NORM) b->out->final_norm = t;
    if (want->layer < 0) return QK_OK;
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
    return QK_OK;
}

/* The prefix under which this checkpoint has a tensor, or NULL. */
static const char *prefix_of(const qk_spec *spec, const qk_checkpoint *c, qk_weight weight,
                             qk_arena *arena)
{
    const char *name = (*spec->family->names)[weight];
    for (const char *const *p = qk_tensor_prefixes(spec); *p; p++)
        if (qk_checkpoint_find(c, qk_arena_strf(arena, "%s%s", *p, name))) return *p;
    return NULL;
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

typedef enum leftover {
    UNUSED,      /* a prefill has no use for it: the output head, a table, a dropped layer ... */
    UNKNOWN,     /* of a part outside of the backbone, such as a head for another task */
    CONTRADICTS, /* of the backbone, which then is not the one that config.json describes */
} leftover;

/* Heads of other tasks, where the backbone's own names have no prefix to tell them apart. */
static bool is_head(const char *name)
{
    static const char *const heads[] = {"lm_head.",     "score.",   "classifier.",
                                        "qa_outputs.",  "v_head.",  "value_head.",
                                        "reward_head.", "summary.", "regression_head."};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (starts_with(name, heads[i])) return true;
    return false;
}

/* A second backbone (embed_tokens, norm, layers) under another usual prefix: which of the two is
 * meant? */
static bool is_second_backbone(const binder *b, const char *name)
{
    const char *embed = (*b->spec->family->names)[QK_W_EMBED];
    const char *norm = (*b->spec->family->names)[QK_W_FINAL_NORM];
    for (const char *const *p = qk_tensor_prefixes(b->spec); *p; p++) {
        if (!strcmp(*p, b->prefix) || !starts_with(name, *p)) continue;
        const char *rest = name + strlen(*p);
        if (starts_with(rest, "layers.") || !strncmp(rest, embed, strcspn(embed, ".") + 1) ||
            !strncmp(rest, norm, strcspn(norm, ".") + 1))
            return true;
    }
    return false;
}

static leftover judge(const binder *b, const char *name)
{
    if (strstr(name, "lm_head.weight") || strstr(name, "rotary_emb.inv_freq")) return UNUSED;
    if (of_another_part(b->spec, name)) return UNUSED;
    if (strstr(name, "lora_")) return CONTRADICTS; /* an adapter that was not merged */
    if (!starts_with(name, b->prefix)) return is_second_backbone(b, name) ? CONTRADICTS : UNKNOWN;
    if (!*b->prefix && is_head(name)) return UNKNOWN;
    name += strlen(b->prefix);
    if (!starts_with(name, "layers.")) return CONTRADICTS;
    /* Layers that an override of num_hidden_layers dropped or that do nothing without an image. */
    long layer = strtol(name + strlen("layers."), NULL, 10);
    bool unused = layer >= b->spec->layers || (layer >= 0 && b->spec->layer[layer].absent);
    return unused ? UNUSED : CONTRADICTS;
}

static qk_status check_left_over(const binder *b)
{
    const qk_checkpoint *c = b->checkpoint;
    size_t n = 0, unknown = 0;
    const char *first = NULL, *first_unknown = NULL;
    for (size_t i = 0; i < c->count; i++) {
        leftover what = b->used[i] ? UNUSED : judge(b, c->tensors[i].name);
        if (what == CONTRADICTS && !n++) first = c->tensors[i].name;
        if (what == UNKNOWN && !unknown++) first_unknown = c->tensors[i].name;
    }
    if (n)
        return qk_fail(b->err, QK_ERR_UNSUPPORTED,
                       strstr(first, "lora_")
                           ? "merge the adapter into the weights (merge_and_unload of peft)"
                           : "config.json does not describe this checkpoint: results would be "
                             "wrong",
                       "%s: %zu tensors that model_type '%s' does not use, the first is '%.200s'",
                       b->folder, n, b->spec->family->model_type, first);
    if (unknown)
        qk_warn_once(
            "%s: tensors outside of the backbone, such as heads for other tasks, are passed "
            "over: %zu, the first is '%.200s'",
            b->folder, unknown, first_unknown);
    if (c->absent.count)
        qk_warn_once("%s: tensors that the index names and no shard has, none of them needed: %zu, "
                     "the first is '%.200s'",
                     b->folder, c->absent.count, c->absent.items[0]);
    return QK_OK;
}

qk_status qk_bind(qk_binding *out, const qk_spec *spec, const qk_checkpoint *c, qk_arena *arena,
                  const char *folder, qk_error *err)
{
    /* By the embedding or, where that may be stored as the output head, by the final norm; the
     * usual one when there is neither. */
    const char *prefix = prefix_of(spec, c, QK_W_EMBED, arena);
    if (!prefix && spec->tied) prefix = prefix_of(spec, c, QK_W_FINAL_NORM, arena);
    *out = (qk_binding){0};
    binder b = {.out = out,
                .spec = spec,
                .checkpoint = c,
                .folder = folder,
                .prefix = prefix ? prefix : qk_tensor_prefixes(spec)[0],
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
