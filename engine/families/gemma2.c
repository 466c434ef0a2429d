/* Gemma 2 (Gemma Team, 2024): Gemma with norms before and after attention and MLP, scores capped by
 * c tanh(s / c), and a window on every other layer, the first one included. */
#include "engine/families/gemma.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_GEMMA_NORMS, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    double cap;
    qk_gemma_embedding(spec);
    QK_TRY(qk_gemma_attention_scale(spec, r));
    QK_TRY(qk_key_num_or_null(r, "attn_logit_softcapping", 50, &cap));
    spec->soft_cap = (float)cap;
    return qk_window_by_pattern(spec, r, 4096, 2);
}

const qk_family qk_family_gemma2 = {
    .model_type = "gemma2",
    .about = "Gemma 2 2B, 9B, 27B",
    .names = &names,
    .activation_key = "hidden_activation",
    .activation = "gelu_pytorch_tanh",
    .head_dim = 256,
    .kv_heads = 4,
    .max_position = 8192,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .norm_plus_one = true,
    .tied = true,
    .read = read,
    .keys = (const char *const[]){"query_pre_attn_scalar", "attn_logit_softcapping",
                                  "sliding_window", "layer_types", NULL},
};
