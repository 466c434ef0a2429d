/* OLMo 2 (OLMo Team, 2024): no norm before attention and MLP but one after each; one norm over all
 * q heads together, one over all k heads. */
#include "engine/families/family.h"

static qk_weight_names names = {
    QK_NAMES_OUTER,
    [QK_W_ATTENTION_OUT_NORM] = "layers.%d.post_attention_layernorm.weight",
    [QK_W_MLP_OUT_NORM] = "layers.%d.post_feedforward_layernorm.weight",
    QK_NAMES_ATTENTION,
    QK_NAMES_QK_NORM,
    QK_NAMES_MLP,
};

const qk_family qk_family_olmo2 = {
    .model_type = "olmo2",
    .about = "OLMo 2 1B, 7B, 13B, 32B",
    .names = &names,
    .eps = 1e-5,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .qk_norm_whole = true,
};
