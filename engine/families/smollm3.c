/* SmolLM 3 (Hugging Face, 2025): Llama's layer; every fourth layer has no rotary embedding.
 * Windows, when asked for, are on those. */
#include "engine/families/windows.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    bool use, given;
    int size;
    int64_t interval, *has_rope;
    QK_TRY(qk_key_int(r, "no_rope_layer_interval", 4, 1, 4096, &interval));
    /* It says 1 for a layer WITH rotary embedding. */
    QK_TRY(qk_key_int_list(r, "no_rope_layers", (size_t)spec->layers, &has_rope));
    for (int l = 0; l < spec->layers; l++) {
        bool turns = has_rope ? has_rope[l] != 0 : (l + 1) % interval != 0;
        spec->layer[l].rope = turns ? 0 : -1;
    }
    QK_TRY(qk_key_bool(r, "use_sliding_window", false, &use));
    QK_TRY(qk_window_size(r, 0, &size));
    if (!use) size = 0;
    QK_TRY(qk_window_by_type(spec, r, size, &given));
    for (int l = 0; !given && l < spec->layers; l++)
        spec->layer[l].window = spec->layer[l].rope < 0 ? size : 0;
    return QK_OK;
}

const qk_family qk_family_smollm3 = {
    .model_type = "smollm3",
    .about = "SmolLM3 3B",
    .names = &names,
    .tied = true,
    .kv_heads = 4,
    .max_position = 32768,
    .theta = 2000000,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .mlp_bias = QK_BIAS_KEY,
    .read = read,
    .keys = (const char *const[]){"no_rope_layers", "no_rope_layer_interval", "use_sliding_window",
                                  "sliding_window", "layer_types", NULL},
};
