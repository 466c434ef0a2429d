/* OLMo 3 (OLMo Team, 2025): OLMo 2's layer, three layers with a window for one without. One RoPE
 * for all layers, as in transformers 5.1. */
#include "engine/families/windows.h"

static qk_weight_names names = {
    QK_NAMES_OUTER,
    [QK_W_ATTENTION_OUT_NORM] = "layers.%d.post_attention_layernorm.weight",
    [QK_W_MLP_OUT_NORM] = "layers.%d.post_feedforward_layernorm.weight",
    QK_NAMES_ATTENTION,
    QK_NAMES_QK_NORM,
    QK_NAMES_MLP,
};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    return qk_window_by_pattern(spec, r, 4096, 4);
}

const qk_family qk_family_olmo3 = {
    .model_type = "olmo3",
    .about = "OLMo 3 7B, 32B",
    .names = &names,
    .eps = 1e-5,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .qk_norm_whole = true,
    .read = read,
    .keys = (const char *const[]){"sliding_window", "layer_types", NULL},
};
