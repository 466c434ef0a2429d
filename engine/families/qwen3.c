/* Qwen 3, dense (Qwen Team, 2025): Llama's layer plus an RMS norm of each q and k head before RoPE,
 * and windows as in Qwen 2. */
#include "engine/families/windows.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_QK_NORM, QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    return qk_window_from_layer(spec, r, 28);
}

const qk_family qk_family_qwen3 = {
    .model_type = "qwen3",
    .about = "Qwen 3 from 0.6B to 32B",
    .names = &names,
    .head_dim = 128,
    .kv_heads = 32,
    .max_position = 32768,
    .qkv_bias = QK_BIAS_KEY,
    .o_bias = QK_BIAS_KEY,
    .read = read,
    .keys = (const char *const[]){"use_sliding_window", "sliding_window", "max_window_layers",
                                  "layer_types", NULL},
};
