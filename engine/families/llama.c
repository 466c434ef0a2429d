/* Llama 1 to 3.3, SmolLM2 and the many models of this shape (Touvron et al., 2023).
 *
 * Pre-norm, grouped queries, RoPE over the two halves of a head, SwiGLU, optional biases. */
#include "engine/families/family.h"

static const qk_weight_names names = {
    .embed = "model.embed_tokens.weight",
    .final_norm = "model.norm.weight",
    .input_norm = "model.layers.%d.input_layernorm.weight",
    .post_norm = "model.layers.%d.post_attention_layernorm.weight",
    .q = "model.layers.%d.self_attn.q_proj",
    .k = "model.layers.%d.self_attn.k_proj",
    .v = "model.layers.%d.self_attn.v_proj",
    .o = "model.layers.%d.self_attn.o_proj",
    .gate = "model.layers.%d.mlp.gate_proj",
    .up = "model.layers.%d.mlp.up_proj",
    .down = "model.layers.%d.mlp.down_proj",
};

const qk_family qk_family_llama = {
    .model_type = "llama",
    .about = "Llama 2, 3, 3.1, 3.2, 3.3; SmolLM2",
    .names = &names,
    .mlp_bias_key = true,
};
