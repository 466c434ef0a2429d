/* Gemma 3 (Gemma Team, 2025): Gemma 2 without the cap and with norms of q and k; five layers with a
 * window for one without. Layers with a window have a RoPE of their own: base rope_local_base_freq,
 * never scaled. */
#include "engine/families/gemma.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_GEMMA_NORMS, QK_NAMES_ATTENTION,
                                QK_NAMES_QK_NORM, QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    int64_t full_every;
    qk_gemma_embedding(spec);
    QK_TRY(qk_gemma_attention_scale(spec, r));
    QK_TRY(qk_key_int(r, "sliding_window_pattern", 6, 1, 4096, &full_every));
    return qk_window_by_pattern(spec, r, 4096, (int)full_every);
}

const qk_family qk_family_gemma3_text = {
    .model_type = "gemma3_text",
    .about = "Gemma 3 270M, 1B",
    .names = &names,
    .activation_key = "hidden_activation",
    .activation = "gelu_pytorch_tanh",
    /* The published wrappers leave out what is as in the 4B model. */
    .hidden = 2304,
    .ffn = 9216,
    .layers = 26,
    .heads = 8,
    .vocab = 262208,
    .head_dim = 256,
    .kv_heads = 4,
    .max_position = 131072,
    .theta = 1000000,
    .local_theta_key = "rope_local_base_freq",
    .local_theta = 10000,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .norm_plus_one = true,
    .tied = true,
    .read = read,
    .keys = (const char *const[]){"query_pre_attn_scalar", "sliding_window", "layer_types",
                                  "sliding_window_pattern", "rope_local_base_freq", NULL},
};

const qk_family qk_family_gemma3 = {
    .model_type = "gemma3",
    .about = "Gemma 3 4B, 12B, 27B (text)",
    .text_type = "gemma3_text",
    .tied = true,
    .other_parts = (const char *const[]){"vision_tower.", "multi_modal_projector.", NULL},
};
