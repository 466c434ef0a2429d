/* Written by tests/interop/forward_golden.py --write. See golden_results.h. */
#include "engine/families/golden_results.h"

#include <stddef.h>

/* clang-format off */
const qk_golden_result qk_golden_results[] = {
    {"gemma", "gemma", 2.3e-07, 6.0e-06, 2.8e-03, 5.5e-03},
    {"gemma2", "gemma2_softcap", 2.0e-07, 8.0e-06, 2.6e-03, 6.0e-03},
    {"gemma3_text", "gemma3_text", 2.6e-07, 1.4e-05, 2.8e-03, 7.5e-03},
    {"gemma3", "gemma3_vision_wrapper", 1.8e-07, 6.0e-06, 2.6e-03, 5.5e-03},
    {"glm4", "glm4_sandwich", 6.3e-07, 6.0e-06, 6.2e-03, 1.2e-02},
    {"glm", "glm_interleaved_partial", 6.9e-07, 6.0e-06, 7.9e-03, 1.2e-02},
    {"granite", "granite_multipliers", 1.1e-07, 6.0e-06, 2.4e-03, 5.2e-03},
    {"llama", "llama2", 8.0e-07, 6.0e-06, 8.9e-03, 1.5e-02},
    {"llama", "llama3_1", 7.9e-07, 6.0e-06, 8.6e-03, 1.4e-02},
    {"llama", "llama3_2_tied_head_dim", 9.0e-07, 6.0e-06, 8.7e-03, 1.6e-02},
    {"llama", "llama_bf16_sharded", 6.9e-07, 6.0e-06, 8.1e-03, 1.4e-02},
    {"llama", "llama_dynamic_ntk", 7.5e-07, 6.0e-06, 7.4e-03, 1.4e-02},
    {"llama", "llama_linear_bias", 5.8e-07, 6.0e-06, 7.4e-03, 1.2e-02},
    {"ministral3", "ministral3_yarn_q_scale", 7.3e-07, 6.0e-06, 8.4e-03, 1.5e-02},
    {"ministral", "ministral_mixed_windows", 9.2e-07, 8.0e-06, 1.1e-02, 1.9e-02},
    {"mistral3", "mistral3_vision_wrapper", 8.1e-07, 6.0e-06, 8.9e-03, 1.7e-02},
    {"mistral", "mistral_nemo_head_dim", 7.5e-07, 6.0e-06, 7.6e-03, 1.4e-02},
    {"mistral", "mistral_v0_1_window", 8.0e-07, 6.0e-06, 9.1e-03, 1.5e-02},
    {"mixtral", "mixtral", 7.8e-07, 6.0e-06, 8.0e-03, 1.3e-02},
    {"mllama", "mllama_text", 6.8e-07, 1.0e-05, 8.1e-03, 1.5e-02},
    {"olmo2", "olmo2_full_width_qk_norm", 4.3e-07, 6.0e-06, 4.7e-03, 7.3e-03},
    {"olmo3", "olmo3_windows", 5.6e-07, 1.0e-05, 6.0e-03, 1.1e-02},
    {"phi3", "phi3_fused", 6.9e-07, 6.0e-06, 8.4e-03, 1.4e-02},
    {"phi3", "phi3_longrope", 7.7e-07, 6.0e-06, 9.3e-03, 1.9e-02},
    {"qwen2", "qwen2_bias", 7.7e-07, 6.0e-06, 7.3e-03, 1.3e-02},
    {"qwen2", "qwen2_window_from_layer", 8.3e-07, 8.0e-06, 9.7e-03, 1.7e-02},
    {"qwen3", "qwen3", 6.2e-07, 6.0e-06, 5.5e-03, 1.1e-02},
    {"qwen3_moe", "qwen3_moe", 5.4e-07, 6.0e-06, 5.8e-03, 1.2e-02},
    {"qwen3", "qwen3_yarn", 6.3e-07, 6.0e-06, 6.9e-03, 1.2e-02},
    {"smollm3", "smollm3_nope_layers", 1.2e-06, 1.0e-05, 1.1e-02, 2.2e-02},
    {NULL, NULL, 0, 0, 0, 0},
};
/* clang-format on */
