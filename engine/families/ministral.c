/* Ministral 8B (Mistral AI, 2024): Mistral's layer, windows on the layers that layer_types names,
 * or on all. */
#include "engine/families/windows.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    int size;
    bool given;
    QK_TRY(qk_window_every_layer(spec, r, 4096));
    QK_TRY(qk_window_size(r, 4096, &size));
    return qk_window_by_type(spec, r, size, &given);
}

const qk_family qk_family_ministral = {
    .model_type = "ministral",
    .about = "Ministral 8B",
    .names = &names,
    .kv_heads = 8,
    .max_position = 131072,
    .read = read,
    .keys = (const char *const[]){"sliding_window", "layer_types", NULL},
};
