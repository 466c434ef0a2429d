/* Llama 1 to 3.3, SmolLM2 and the many models of this shape (Touvron et al., 2023).
 *
 * Pre-norm, grouped queries, RoPE over the two halves of a head, SwiGLU, optional biases. */
#include "engine/families/family.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

const qk_family qk_family_llama = {
    .model_type = "llama",
    .about = "Llama 2, 3, 3.1, 3.2, 3.3; SmolLM2",
    .names = &names,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .mlp_bias = QK_BIAS_KEY,
};
