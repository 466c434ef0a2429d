/* Qwen 3, dense (Qwen Team, 2025): Llama's layer plus an RMS norm of each q and k head before RoPE,
 * and sliding windows on some layers when the configuration asks for them. */
#include "engine/families/family.h"

#include "engine/families/config_keys.h"

static const qk_weight_names names = {
    .embed = "model.embed_tokens.weight",
    .final_norm = "model.norm.weight",
    .input_norm = "model.layers.%d.input_layernorm.weight",
    .post_norm = "model.layers.%d.post_attention_layernorm.weight",
    .q = "model.layers.%d.self_attn.q_proj",
    .k = "model.layers.%d.self_attn.k_proj",
    .v = "model.layers.%d.self_attn.v_proj",
    .o = "model.layers.%d.self_attn.o_proj",
    .q_norm = "model.layers.%d.self_attn.q_norm.weight",
    .k_norm = "model.layers.%d.self_attn.k_norm.weight",
    .gate = "model.layers.%d.mlp.gate_proj",
    .up = "model.layers.%d.mlp.up_proj",
    .down = "model.layers.%d.mlp.down_proj",
};

/* sliding_window counts only with use_sliding_window. Which layers slide: layer_types, or, when it
 * is absent, those from max_window_layers on. */
static qk_status read_windows(const qk_json *config, int *window, int layers, const char *where,
                              qk_error *err)
{
    bool use;
    int64_t size, first;
    QK_TRY(qk_key_bool(config, "use_sliding_window", false, where, &use, err));
    QK_TRY(qk_key_int(config, "sliding_window", 4096, 0, INT32_MAX, where, &size, err));
    QK_TRY(qk_key_int(config, "max_window_layers", 28, 0, INT32_MAX, where, &first, err));
    for (int l = 0; l < layers; l++) window[l] = use && l >= first ? (int)size : 0;
    return qk_key_layer_types(config, use ? (int)size : 0, window, layers, where, err);
}

const qk_family qk_family_qwen3 = {
    .model_type = "qwen3",
    .about = "Qwen 3 from 0.6B to 32B",
    .names = &names,
    .default_head_dim = 128,
    .default_kv_heads = 32,
    .read_windows = read_windows,
};
