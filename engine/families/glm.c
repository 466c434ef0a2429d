/* GLM 4 9B (GLM Team, 2024): RoPE over the first half of a head, in pairs (2i, 2i + 1); biases on
 * q, k and v; gate and up in one tensor. */
#include "engine/families/family.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_FUSED_MLP};

const qk_family qk_family_glm = {
    .model_type = "glm",
    .about = "GLM-4 9B, GLM-Edge",
    .names = &names,
    .head_dim = 128,
    .kv_heads = 2,
    .max_position = 131072,
    .eps = 1.5625e-7,
    .partial_rotary = 0.5,
    .qkv_bias = QK_BIAS_KEY_OR_TRUE,
    .interleaved = true,
};
