/* GLM 4-0414 (GLM Team, 2025): GLM's layer with norms before and after attention and MLP. */
#include "engine/families/family.h"

static qk_weight_names names = {
    QK_NAMES_OUTER,
    QK_NAMES_PRE_NORM,
    [QK_W_ATTENTION_OUT_NORM] = "layers.%d.post_self_attn_layernorm.weight",
    [QK_W_MLP_OUT_NORM] = "layers.%d.post_mlp_layernorm.weight",
    QK_NAMES_ATTENTION,
    QK_NAMES_FUSED_MLP,
};

const qk_family qk_family_glm4 = {
    .model_type = "glm4",
    .about = "GLM-4-0414 9B, 32B",
    .names = &names,
    .head_dim = 128,
    .kv_heads = 2,
    .max_position = 131072,
    .eps = 1.5625e-7,
    .partial_rotary = 0.5,
    .qkv_bias = QK_BIAS_KEY_OR_TRUE,
    .interleaved = true,
};
