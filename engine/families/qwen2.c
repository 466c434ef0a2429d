/* Qwen 2 and 2.5 (Qwen Team, 2024): Llama's layer with biases on q, k and v, never on o. Windows,
 * when the configuration asks for them, are on the later layers. */
#include "engine/families/windows.h"

static qk_weight_names names = {QK_NAMES_OUTER, QK_NAMES_PRE_NORM, QK_NAMES_ATTENTION,
                                QK_NAMES_MLP};

static qk_status read(qk_spec *spec, const qk_spec_reader *r)
{
    return qk_window_from_layer(spec, r, 28);
}

const qk_family qk_family_qwen2 = {
    .model_type = "qwen2",
    .about = "Qwen 2 and 2.5 from 0.5B to 72B; QwQ",
    .names = &names,
    .kv_heads = 32,
    .max_position = 32768,
    .qkv_bias = QK_BIAS_ALWAYS,
    .read = read,
    .keys = (const char *const[]){"use_sliding_window", "sliding_window", "max_window_layers",
                                  "layer_types", NULL},
};
