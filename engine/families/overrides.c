/* See overrides.h. */
#include "engine/families/overrides.h"

#include <string.h>

#include "engine/base/log.h"

/* Where a model has a RoPE for each, rope_parameters holds objects under these names. */
static const char *const layer_types[] = {"full_attention", "sliding_attention"};

static qk_json *copy_node(qk_arena *arena, const qk_json *v)
{
    qk_json *copy = qk_arena_alloc(arena, 1, sizeof *copy);
    *copy = *v;
    copy->first = copy->next = NULL;
    qk_json **tail = &copy->first;
    for (const qk_json *m = v->first; m; m = m->next) {
        *tail = copy_node(arena, m);
        tail = &(*tail)->next;
    }
    return copy;
}

static qk_json *new_object(qk_arena *arena)
{
    qk_json *v = qk_arena_alloc(arena, 1, sizeof *v);
    v->type = QK_JSON_T_OBJECT;
    return v;
}

static qk_json *detach(qk_json *object, const char *key)
{
    for (qk_json **link = &object->first; *link; link = &(*link)->next)
        if (!strcmp((*link)->key, key)) {
            qk_json *found = *link;
            *link = found->next;
            found->next = NULL;
            object->count--;
            return found;
        }
    return NULL;
}

/* Replaces or appends; value must belong to nobody. */
static void set(qk_json *object, const char *key, qk_json *value)
{
    value->key = key;
    value->key_length = strlen(key);
    for (qk_json **link = &object->first;; link = &(*link)->next) {
        if (!*link) {
            *link = value;
            value->next = NULL;
            object->count++;
            return;
        }
        if (!strcmp((*link)->key, key)) {
            value->next = (*link)->next;
            *link = value;
            return;
        }
    }
}

static void merge_into(qk_arena *arena, qk_json *target, const qk_json *changes)
{
    for (const qk_json *m = changes->first; m; m = m->next) {
        qk_json *old = (qk_json *)qk_json_get(target, m->key);
        if (old && old->type == QK_JSON_T_OBJECT && m->type == QK_JSON_T_OBJECT)
            merge_into(arena, old, m);
        else
            set(target, m->key, copy_node(arena, m));
    }
}

static bool is_null(const qk_json *v)
{
    return !v || v->type == QK_JSON_T_NULL;
}

static bool same_value(const qk_json *a, const qk_json *b)
{
    if (is_null(a) || is_null(b)) return is_null(a) && is_null(b);
    qk_json_out x = {.compact = true}, y = {.compact = true};
    qk_json_add_tree(&x, NULL, a);
    qk_json_add_tree(&y, NULL, b);
    bool same = !strcmp(qk_buf_str(&x.buf), qk_buf_str(&y.buf));
    qk_buf_free(&x.buf);
    qk_buf_free(&y.buf);
    return same;
}

/* What transformers 5.1 does not read in a file's rope_parameters goes: all of it when there is
 * a rope_scaling; objects by layer type when the model has one RoPE; everything else when it has
 * two. A warning names what would have meant something else. */
static void drop_unread(qk_json *config, const qk_json *scaling, qk_rope_kinds kinds,
                        const char *where)
{
    qk_json *parameters = (qk_json *)qk_json_get(config, "rope_parameters");
    bool replaced = kinds == QK_ROPE_ONE && !is_null(scaling) && scaling->count;
    qk_buf names = {0};
    for (qk_json **link = &parameters->first; *link;) {
        const qk_json *v = *link;
        bool by_type = !strcmp(v->key, layer_types[0]) || !strcmp(v->key, layer_types[1]);
        if (by_type ? kinds == QK_ROPE_BY_LAYER_TYPE : kinds == QK_ROPE_ONE && !replaced) {
            link = &(*link)->next;
            continue;
        }
        const qk_json *instead = replaced ? qk_json_get(scaling, v->key) : NULL;
        if (!instead && !strcmp(v->key, "rope_theta")) instead = qk_json_get(config, v->key);
        if (!is_null(v) && !same_value(v, instead))
            qk_buf_addf(&names, "%s'%.60s'", names.size ? ", " : "", v->key);
        *link = v->next;
        parameters->count--;
    }
    if (names.size)
        qk_warn_once("%s: %s of rope_parameters: passed over, as transformers 5.1 does: %s", where,
                     qk_buf_str(&names),
                     replaced               ? "rope_scaling replaces all of it"
                     : kinds == QK_ROPE_ONE ? "this model has one RoPE for all layers"
                                            : "this model has a RoPE for each layer type");
    qk_buf_free(&names);
}

static void rename_type(qk_json *parameters)
{
    qk_json *type = detach(parameters, "type");
    if (type && !qk_json_get(parameters, "rope_type")) set(parameters, "rope_type", type);
}

static qk_status check_rope_objects(const qk_json *config, const char *where, qk_error *err)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    for (int i = 0; i < 2; i++) {
        const qk_json *v = qk_json_get(config, keys[i]);
        if (!is_null(v) && v->type != QK_JSON_T_OBJECT)
            return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: '%s' is %s, not an object", where,
                           keys[i], qk_json_type_name(v));
    }
    return QK_OK;
}

/* Moves the older RoPE keys of one object into its rope_parameters. */
static void fold_rope(qk_arena *arena, qk_json *config)
{
    qk_json *scaling = detach(config, "rope_scaling");
    qk_json *parameters = (qk_json *)qk_json_get(config, "rope_parameters");
    if (is_null(parameters)) set(config, "rope_parameters", parameters = new_object(arena));
    /* With parameters by layer type, flat keys mean the layers without a window. */
    qk_json *full = (qk_json *)qk_json_get(parameters, "full_attention");
    qk_json *local = (qk_json *)qk_json_get(parameters, "sliding_attention");
    bool by_type = full && full->type == QK_JSON_T_OBJECT;
    qk_json *target = by_type ? full : parameters;
    if (!is_null(scaling)) merge_into(arena, target, scaling);
    rename_type(target);
    if (local && local->type == QK_JSON_T_OBJECT) rename_type(local);
    static const char *const moved[] = {"rope_theta", "partial_rotary_factor"};
    for (int i = 0; i < 2; i++) {
        qk_json *v = detach(config, moved[i]);
        if (!is_null(v) && !qk_json_get(target, moved[i])) set(target, moved[i], v);
    }
}

/* `rope_scaling: null` leaves the base and the part of a head that turns, of every layer type. */
static void take_scaling_away(qk_arena *arena, qk_json *target)
{
    qk_json *parameters = (qk_json *)qk_json_get(target, "rope_parameters");
    qk_json *full = (qk_json *)qk_json_get(parameters, "full_attention");
    qk_json *local = detach(parameters, "sliding_attention");
    static const char *const kept[] = {"rope_theta", "partial_rotary_factor"};
    qk_json *bare = new_object(arena);
    for (int i = 0; i < 2; i++) {
        qk_json *v = detach(full ? full : parameters, kept[i]);
        if (v) set(bare, kept[i], v);
    }
    if (local) set(bare, "sliding_attention", local);
    set(target, "rope_parameters", bare);
}

/* Where a model has parameters by layer type, flat changes mean its layers without a window. */
static void aim_at_full_attention(qk_arena *arena, const qk_json *target, qk_json *changes)
{
    if (!qk_json_get(qk_json_get(target, "rope_parameters"), "full_attention")) return;
    qk_json *flat = detach(changes, "rope_parameters"), *by_type = new_object(arena);
    if (!flat) return;
    for (int i = 0; i < 2; i++) {
        qk_json *own = detach(flat, layer_types[i]);
        if (own) set(by_type, layer_types[i], own);
    }
    qk_json *full = (qk_json *)qk_json_get(by_type, "full_attention");
    if (full)
        merge_into(arena, full, flat);
    else if (flat->count)
        set(by_type, "full_attention", flat);
    set(changes, "rope_parameters", by_type);
}

/* Overrides do what they say, or are refused. changes: the caller's own copy. */
static qk_status apply(qk_arena *arena, qk_json *target, qk_json *changes, qk_rope_kinds kinds,
                       qk_error *err)
{
    const qk_json *scaling = qk_json_get(changes, "rope_scaling");
    const qk_json *parameters = qk_json_get(changes, "rope_parameters");
    QK_TRY(check_rope_objects(changes, "model.config_overrides", err));
    for (int i = 0; i < 2 && kinds == QK_ROPE_ONE; i++)
        if (!is_null(qk_json_get(parameters, layer_types[i])))
            return qk_fail(err, QK_ERR_CONFIG, "give its keys without the layer type",
                           "model.config_overrides: rope_parameters has '%s', but this model has "
                           "one RoPE for all layers",
                           layer_types[i]);
    if (scaling && scaling->type == QK_JSON_T_NULL) take_scaling_away(arena, target);
    fold_rope(arena, changes);
    aim_at_full_attention(arena, target, changes);
    merge_into(arena, target, changes);
    return QK_OK;
}

qk_status qk_config_merge(qk_arena *arena, const qk_json *config, const qk_json *overrides,
                          const char *text_key, qk_rope_kinds kinds, const char *where,
                          const qk_json **out, qk_error *err)
{
    qk_json *merged = copy_node(arena, config);
    qk_json *text = text_key ? (qk_json *)qk_json_get(merged, text_key) : merged;
    QK_TRY(check_rope_objects(text, where, err));
    const qk_json *scaling = qk_json_get(text, "rope_scaling");
    if (!is_null(qk_json_get(text, "rope_parameters"))) drop_unread(text, scaling, kinds, where);
    fold_rope(arena, text);
    if (!is_null(overrides)) {
        qk_json *changes = copy_node(arena, overrides);
        qk_json *inner = text_key ? detach(changes, text_key) : NULL;
        QK_TRY(apply(arena, text, changes, kinds, err));
        if (!is_null(inner) && inner->type != QK_JSON_T_OBJECT)
            return qk_fail(err, QK_ERR_CONFIG, NULL, "model.config_overrides.%s is %s, not a map",
                           text_key, qk_json_type_name(inner));
        if (!is_null(inner)) QK_TRY(apply(arena, text, inner, kinds, err));
    }
    /* Scaling keys without a type say nothing about how to scale. */
    const qk_json *p = qk_json_get(text, "rope_parameters"), *type = qk_json_get(p, "rope_type");
    if (!type) type = qk_json_get(qk_json_get(p, "full_attention"), "rope_type");
    if (qk_json_get(p, "factor") && (!type || qk_json_is_string(type, "default")))
        return qk_fail(err, QK_ERR_CONFIG, "add rope_type: yarn (or linear, dynamic, llama3)",
                       "%s: rope_scaling has a factor but no rope_type: it would have no effect",
                       where);
    *out = merged;
    return QK_OK;
}

const qk_json *qk_config_overlay(qk_arena *arena, const qk_json *base, const qk_json *top)
{
    qk_json *both = copy_node(arena, base);
    if (top) merge_into(arena, both, top);
    return both;
}
