/* See windows.h. */
#include "engine/families/windows.h"

qk_status qk_window_size(const qk_spec_reader *r, int fallback, int *size)
{
    const qk_json *v = qk_json_get(r->config, "sliding_window");
    int64_t n;
    QK_TRY(qk_key_int(r, "sliding_window", v ? 0 : fallback, 1, INT32_MAX, &n));
    *size = (int)n;
    return QK_OK;
}

qk_status qk_window_by_type(qk_spec *spec, const qk_spec_reader *r, int size, bool *given)
{
    const qk_json *types = qk_json_get(r->config, "layer_types");
    *given = types && types->type != QK_JSON_T_NULL;
    if (!*given) return QK_OK;
    /* An override may shorten the model; its list then has entries to spare. */
    if (types->type != QK_JSON_T_ARRAY || types->count < (size_t)spec->layers)
        return qk_fail(r->err, QK_ERR_FORMAT, NULL,
                       "%s: 'layer_types' must be a list with one entry for each of %d layers",
                       r->where, spec->layers);
    const qk_json *t = types->first;
    for (int l = 0; l < spec->layers; l++, t = t->next) {
        bool slides = qk_json_is_string(t, "sliding_attention");
        if (!slides && !qk_json_is_string(t, "full_attention"))
            return qk_fail(r->err, QK_ERR_UNSUPPORTED, "known: full_attention, sliding_attention",
                           "%s: layer_types[%d] '%s' is not supported", r->where, l,
                           t->type == QK_JSON_T_STRING ? t->text : qk_json_type_name(t));
        if (slides && !size)
            return qk_fail(r->err, QK_ERR_FORMAT, "set sliding_window, or use_sliding_window",
                           "%s: layer_types[%d] is 'sliding_attention', but there is no window",
                           r->where, l);
        spec->layer[l].window = slides ? size : 0;
    }
    return QK_OK;
}

qk_status qk_window_every_layer(qk_spec *spec, const qk_spec_reader *r, int fallback)
{
    int size;
    QK_TRY(qk_window_size(r, fallback, &size));
    for (int l = 0; l < spec->layers; l++) spec->layer[l].window = size;
    return QK_OK;
}

qk_status qk_window_by_pattern(qk_spec *spec, const qk_spec_reader *r, int fallback, int full_every)
{
    int size;
    bool given;
    QK_TRY(qk_window_size(r, fallback, &size));
    QK_TRY(qk_window_by_type(spec, r, size, &given));
    for (int l = 0; !given && l < spec->layers; l++)
        spec->layer[l].window = (l + 1) % full_every ? size : 0;
    return QK_OK;
}

qk_status qk_window_from_layer(qk_spec *spec, const qk_spec_reader *r, int first)
{
    bool use, given;
    int size;
    int64_t from;
    QK_TRY(qk_key_bool(r, "use_sliding_window", false, &use));
    QK_TRY(qk_window_size(r, 4096, &size));
    QK_TRY(qk_key_int(r, "max_window_layers", first, 0, INT32_MAX, &from));
    if (!use) size = 0;
    QK_TRY(qk_window_by_type(spec, r, size, &given));
    for (int l = 0; !given && l < spec->layers; l++) spec->layer[l].window = l >= from ? size : 0;
    return QK_OK;
}
