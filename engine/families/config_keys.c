/* See config_keys.h. */
#include "engine/families/config_keys.h"

#include <math.h>

static bool absent(const qk_json *v)
{
    return !v || v->type == QK_JSON_T_NULL;
}

qk_status qk_key_int(const qk_json *config, const char *key, int64_t fallback, int64_t least,
                     int64_t most, const char *where, int64_t *out, qk_error *err)
{
    const qk_json *v = qk_json_get(config, key);
    *out = fallback;
    if (!v && fallback == QK_KEY_REQUIRED)
        return qk_fail(err, QK_ERR_FORMAT, "is this the config.json of a language model?",
                       "%s: '%s' is missing", where, key);
    if (absent(v) && fallback != QK_KEY_REQUIRED) return QK_OK;
    if (v->type != QK_JSON_T_NUMBER || !v->is_integer)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: '%s' is not an integer in range", where, key);
    if (v->integer < least && least == 1)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: '%s' must be positive, not %lld", where, key,
                       (long long)v->integer);
    if (v->integer < least || v->integer > most)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: '%s' is %lld, must be from %lld to %lld",
                       where, key, (long long)v->integer, (long long)least, (long long)most);
    *out = v->integer;
    return QK_OK;
}

qk_status qk_key_num(const qk_json *config, const char *key, double fallback, const char *where,
                     double *out, qk_error *err)
{
    const qk_json *v = qk_json_get(config, key);
    *out = fallback;
    if (absent(v)) return QK_OK;
    if (v->type != QK_JSON_T_NUMBER)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: '%s' is %s, not a number", where, key,
                       qk_json_type_name(v));
    if (!isfinite(v->number) || v->number <= 0)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: '%s' must be a positive number", where, key);
    *out = v->number;
    return QK_OK;
}

qk_status qk_key_bool(const qk_json *config, const char *key, bool fallback, const char *where,
                      bool *out, qk_error *err)
{
    const qk_json *v = qk_json_get(config, key);
    *out = fallback;
    if (absent(v)) return QK_OK;
    if (v->type != QK_JSON_T_BOOL)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: '%s' is %s, not true or false", where, key,
                       qk_json_type_name(v));
    *out = v->boolean;
    return QK_OK;
}

qk_status qk_key_layer_types(const qk_json *config, int size, int *window, int layers,
                             const char *where, qk_error *err)
{
    const qk_json *types = qk_json_get(config, "layer_types");
    if (absent(types)) return QK_OK;
    /* An override may shorten the model; its list then has entries to spare. */
    if (types->type != QK_JSON_T_ARRAY || types->count < (size_t)layers)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: 'layer_types' must be a list with one entry for each of %d layers",
                       where, layers);
    const qk_json *t = types->first;
    for (int l = 0; l < layers; l++, t = t->next) {
        bool slides = qk_json_is_string(t, "sliding_attention");
        if (!slides && !qk_json_is_string(t, "full_attention"))
            return qk_fail(err, QK_ERR_UNSUPPORTED, "known: full_attention, sliding_attention",
                           "%s: layer_types[%d] '%s' is not supported", where, l,
                           t->type == QK_JSON_T_STRING ? t->text : qk_json_type_name(t));
        window[l] = slides ? size : 0;
    }
    return QK_OK;
}
