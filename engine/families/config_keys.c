/* See config_keys.h. */
#include "engine/families/config_keys.h"

#include <math.h>

static bool absent(const qk_json *v)
{
    return !v || v->type == QK_JSON_T_NULL;
}

qk_status qk_key_int(const qk_spec_reader *r, const char *key, int64_t fallback, int64_t min,
                     int64_t max, int64_t *out)
{
    const qk_json *v = qk_json_get(r->config, key);
    *out = fallback;
    if (!v && fallback == QK_KEY_REQUIRED)
        return qk_fail(r->err, QK_ERR_FORMAT, "is this the config.json of a language model?",
                       "%s: '%s' is missing", r->where, key);
    if (absent(v) && fallback != QK_KEY_REQUIRED) return QK_OK;
    if (v->type != QK_JSON_T_NUMBER || !v->is_integer)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' is not an integer in range", r->where,
                       key);
    if (v->integer < min && min == 1)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' must be positive, not %lld", r->where,
                       key, (long long)v->integer);
    if (v->integer < min || v->integer > max)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' is %lld, must be from %lld to %lld",
                       r->where, key, (long long)v->integer, (long long)min, (long long)max);
    *out = v->integer;
    return QK_OK;
}

qk_status qk_key_num(const qk_spec_reader *r, const char *key, double fallback, double *out)
{
    const qk_json *v = qk_json_get(r->config, key);
    *out = fallback;
    if (absent(v)) return QK_OK;
    if (v->type != QK_JSON_T_NUMBER)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' is %s, not a number", r->where, key,
                       qk_json_type_name(v));
    if (!isfinite(v->number) || v->number <= 0)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' must be a positive number", r->where,
                       key);
    *out = v->number;
    return QK_OK;
}

qk_status qk_key_num_or_null(const qk_spec_reader *r, const char *key, double fallback, double *out)
{
    const qk_json *v = qk_json_get(r->config, key);
    return qk_key_num(r, key, v ? 0 : fallback, out);
}

qk_status qk_key_bool(const qk_spec_reader *r, const char *key, bool fallback, bool *out)
{
    const qk_json *v = qk_json_get(r->config, key);
    *out = fallback;
    if (absent(v)) return QK_OK;
    if (v->type != QK_JSON_T_BOOL)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' is %s, not true or false", r->where,
                       key, qk_json_type_name(v));
    *out = v->boolean;
    return QK_OK;
}

qk_status qk_key_int_list(const qk_spec_reader *r, const char *key, size_t n, int64_t **out)
{
    const qk_json *v = qk_json_get(r->config, key);
    *out = NULL;
    if (absent(v)) return QK_OK;
    if (v->type != QK_JSON_T_ARRAY || v->count < n)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' must be a list of %zu integers",
                       r->where, key, n);
    int64_t *list = qk_arena_alloc(r->arena, n, sizeof *list);
    const qk_json *item = v->first;
    for (size_t i = 0; i < n; i++, item = item->next) {
        if (item->type != QK_JSON_T_NUMBER || !item->is_integer)
            return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s'[%zu] is not an integer", r->where,
                           key, i);
        list[i] = item->integer;
    }
    *out = list;
    return QK_OK;
}

qk_status qk_key_layer_set(const qk_spec_reader *r, const char *key, int layers, bool *marks,
                           bool *given)
{
    const qk_json *v = qk_json_get(r->config, key);
    *given = !absent(v);
    if (!*given) return QK_OK;
    if (v->type != QK_JSON_T_ARRAY)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' is %s, not a list of layers",
                       r->where, key, qk_json_type_name(v));
    for (const qk_json *item = v->first; item; item = item->next) {
        if (item->type != QK_JSON_T_NUMBER || !item->is_integer || item->integer < 0)
            return qk_fail(r->err, QK_ERR_FORMAT, NULL, "%s: '%s' has an entry that is no layer",
                           r->where, key);
        if (item->integer < layers) marks[item->integer] = true;
    }
    return QK_OK;
}
