/* Mistral 7B, Nemo, Small (Jiang et al., 2023): Llama's layer; version 0.1 with one window on every
 * layer. */
#include "engine/families/windows.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    return qk_window_every_layer(spec, r, 4096);
}

const qk_family qk_family_mistral = {
    .model_type = "mistral",
    .about = "Mistral 7B, Nemo, Small",
    .names = &names,
    .kv_heads = 8,
    .max_position = 131072,
    .read = read,
    .keys = (const char *const[]){"sliding_window", NULL},
};
