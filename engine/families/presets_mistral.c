/* Configurations of Mistral, Ministral 3 and Mixtral (Mistral AI). See presets.h. */
#include "engine/families/presets.h"

/* clang-format off */
const qk_preset qk_presets_mistral[] = {
    {"mistral-7b-v0.1", "mistralai/Mistral-7B-v0.1", 7241732096u, 1,
     QK_CONFIG({"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "hidden_act":
      "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
      "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads":
      32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
      "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32000})},
    {"mistral-7b-v0.3", "mistralai/Mistral-7B-v0.3", 7248023552u, 1,
     QK_CONFIG({"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "hidden_act":
      "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
      "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads":
      32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000.0, "sliding_window": null, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32768})},
    {"mistral-nemo-12b", "mistralai/Mistral-Nemo-Base-2407", 12247782400u, 1,
     QK_CONFIG({"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "head_dim": 128,
      "hidden_act": "silu", "hidden_size": 5120, "initializer_range": 0.02,
      "intermediate_size": 14336, "max_position_embeddings": 131072, "model_type":
      "mistral", "num_attention_heads": 32, "num_hidden_layers": 40,
      "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
      "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
      "use_cache": true, "vocab_size": 131072})},
    {"mistral-small-24b", "mistralai/Mistral-Small-24B-Base-2501", 23572403200u, 1,
     QK_CONFIG({"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "head_dim": 128,
      "hidden_act": "silu", "hidden_size": 5120, "initializer_range": 0.02,
      "intermediate_size": 32768, "max_position_embeddings": 32768, "model_type":
      "mistral", "num_attention_heads": 32, "num_hidden_layers": 40,
      "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 100000000.0,
      "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
      "use_cache": true, "vocab_size": 131072})},
    /* 24,011,361,280 less the vision tower's 403,305,472 and the projector's 35,652,608 */
    {"mistral-small-3.1-24b", "mistralai/Mistral-Small-3.1-24B-Base-2503", 23572403200u, 1,
     QK_CONFIG({"architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10,
      "model_type": "mistral3", "spatial_merge_size": 2, "text_config":
      {"attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size":
      5120, "initializer_range": 0.02, "intermediate_size": 32768,
      "max_position_embeddings": 131072, "model_type": "mistral", "num_attention_heads":
      32, "num_hidden_layers": 40, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000000.0, "sliding_window": null, "use_cache": true, "vocab_size":
      131072}, "torch_dtype": "bfloat16"})},
    /* its card: 3.4B, and 0.4B of vision */
    {"ministral-3-3b", "mistralai/Ministral-3-3B-Base-2512", 3400000000u, 100000000,
     QK_CONFIG({"architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10,
      "model_type": "mistral3", "spatial_merge_size": 2, "text_config":
      {"attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size":
      3072, "initializer_range": 0.02, "intermediate_size": 9216,
      "max_position_embeddings": 262144, "model_type": "ministral3",
      "num_attention_heads": 32, "num_hidden_layers": 26, "num_key_value_heads": 8,
      "rms_norm_eps": 1e-05, "rope_parameters": {"beta_fast": 32.0, "beta_slow": 1.0,
      "factor": 16.0, "llama_4_scaling_beta": 0.1, "mscale": 1.0, "mscale_all_dim": 1.0,
      "original_max_position_embeddings": 16384, "rope_theta": 1000000.0, "rope_type":
      "yarn", "type": "yarn"}, "sliding_window": null, "tie_word_embeddings": true,
      "use_cache": true, "vocab_size": 131072}, "torch_dtype": "bfloat16"})},
    /* its card: 8.4B, and 0.4B of vision */
    {"ministral-3-8b", "mistralai/Ministral-3-8B-Base-2512", 8400000000u, 100000000,
     QK_CONFIG({"architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10,
      "model_type": "mistral3", "spatial_merge_size": 2, "text_config":
      {"attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size":
      4096, "initializer_range": 0.02, "intermediate_size": 14336,
      "max_position_embeddings": 262144, "model_type": "ministral3",
      "num_attention_heads": 32, "num_hidden_layers": 34, "num_key_value_heads": 8,
      "rms_norm_eps": 1e-05, "rope_parameters": {"beta_fast": 32.0, "beta_slow": 1.0,
      "factor": 16.0, "llama_4_scaling_beta": 0.1, "mscale": 1.0, "mscale_all_dim": 1.0,
      "original_max_position_embeddings": 16384, "rope_theta": 1000000.0, "rope_type":
      "yarn", "type": "yarn"}, "sliding_window": null, "tie_word_embeddings": false,
      "use_cache": true, "vocab_size": 131072}, "torch_dtype": "bfloat16"})},
    /* its card: 13.5B, and 0.4B of vision */
    {"ministral-3-14b", "mistralai/Ministral-3-14B-Base-2512", 13500000000u, 100000000,
     QK_CONFIG({"architectures": ["Mistral3ForConditionalGeneration"], "image_token_index": 10,
      "model_type": "mistral3", "spatial_merge_size": 2, "text_config":
      {"attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size":
      5120, "initializer_range": 0.02, "intermediate_size": 16384,
      "max_position_embeddings": 262144, "model_type": "ministral3",
      "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
      "rms_norm_eps": 1e-05, "rope_parameters": {"beta_fast": 32.0, "beta_slow": 1.0,
      "factor": 16.0, "llama_4_scaling_beta": 0.1, "mscale": 1.0, "mscale_all_dim": 1.0,
      "original_max_position_embeddings": 16384, "rope_theta": 1000000000.0, "rope_type":
      "yarn", "type": "yarn"}, "sliding_window": null, "tie_word_embeddings": false,
      "use_cache": true, "vocab_size": 131072}, "torch_dtype": "bfloat16"})},
    {"mixtral-8x7b", "mistralai/Mixtral-8x7B-v0.1", 46702792704u, 1,
     QK_CONFIG({"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "hidden_act":
      "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
      "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads":
      32, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8,
      "num_local_experts": 8, "output_router_logits": false, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": null,
      "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
      "vocab_size": 32000})},
    {"mixtral-8x22b", "mistralai/Mixtral-8x22B-v0.1", 140620634112u, 1,
     QK_CONFIG({"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "hidden_act":
      "silu", "hidden_size": 6144, "initializer_range": 0.02, "intermediate_size": 16384,
      "max_position_embeddings": 65536, "model_type": "mixtral", "num_attention_heads":
      48, "num_experts_per_tok": 2, "num_hidden_layers": 56, "num_key_value_heads": 8,
      "num_local_experts": 8, "output_router_logits": false, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null,
      "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
      "vocab_size": 32000})},
    {0},
};
