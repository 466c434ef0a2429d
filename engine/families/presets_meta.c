/* Configurations of Llama 2 to 3.3 and Llama 3.2 Vision (Meta). See presets.h. */
#include "engine/families/presets.h"

/* clang-format off */
const qk_preset qk_presets_meta[] = {
    {"llama-2-7b", "meta-llama/Llama-2-7b-hf", 6738415616u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 4096,
      "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings":
      4096, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32,
      "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
      "rope_scaling": null, "tie_word_embeddings": false, "torch_dtype": "float16",
      "use_cache": true, "vocab_size": 32000})},
    {"llama-2-13b", "meta-llama/Llama-2-13b-hf", 13015864320u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 5120,
      "initializer_range": 0.02, "intermediate_size": 13824, "max_position_embeddings":
      4096, "model_type": "llama", "num_attention_heads": 40, "num_hidden_layers": 40,
      "num_key_value_heads": 40, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
      "rope_scaling": null, "tie_word_embeddings": false, "torch_dtype": "float16",
      "use_cache": true, "vocab_size": 32000})},
    {"llama-2-70b", "meta-llama/Llama-2-70b-hf", 68976648192u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 8192,
      "initializer_range": 0.02, "intermediate_size": 28672, "max_position_embeddings":
      4096, "model_type": "llama", "num_attention_heads": 64, "num_hidden_layers": 80,
      "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
      "rope_scaling": null, "tie_word_embeddings": false, "torch_dtype": "float16",
      "use_cache": true, "vocab_size": 32000})},
    {"llama-3.1-8b", "meta-llama/Llama-3.1-8B", 8030261248u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 4096,
      "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings":
      131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
      "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1,
      "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0,
      "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type":
      "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype":
      "bfloat16", "use_cache": true, "vocab_size": 128256})},
    {"llama-3.1-70b", "meta-llama/Llama-3.1-70B", 70553706496u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 8192,
      "initializer_range": 0.02, "intermediate_size": 28672, "max_position_embeddings":
      131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 64,
      "num_hidden_layers": 80, "num_key_value_heads": 8, "pretraining_tp": 1,
      "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0,
      "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type":
      "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype":
      "bfloat16", "use_cache": true, "vocab_size": 128256})},
    {"llama-3.1-405b", "meta-llama/Llama-3.1-405B", 405853388800u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 16384,
      "initializer_range": 0.02, "intermediate_size": 53248, "max_position_embeddings":
      131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 128,
      "num_hidden_layers": 126, "num_key_value_heads": 8, "pretraining_tp": 1,
      "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0,
      "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type":
      "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype":
      "bfloat16", "use_cache": true, "vocab_size": 128256})},
    {"llama-3.2-1b", "meta-llama/Llama-3.2-1B", 1235814400u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
      "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings":
      131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
      "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1,
      "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
      "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type":
      "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype":
      "bfloat16", "use_cache": true, "vocab_size": 128256})},
    {"llama-3.2-3b", "meta-llama/Llama-3.2-3B", 3212749824u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size":
      3072, "initializer_range": 0.02, "intermediate_size": 8192,
      "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
      "num_attention_heads": 24, "num_hidden_layers": 28, "num_key_value_heads": 8,
      "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0,
      "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings":
      8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": true,
      "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 128256})},
    {"llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct", 70553706496u, 1,
     QK_CONFIG({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size":
      8192, "initializer_range": 0.02, "intermediate_size": 28672,
      "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama",
      "num_attention_heads": 64, "num_hidden_layers": 80, "num_key_value_heads": 8,
      "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0,
      "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings":
      8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 128256})},
    /* Llama 3.1 8B under it, plus 8 embeddings for the image token */
    {"llama-3.2-11b-vision", "meta-llama/Llama-3.2-11B-Vision", 8030294016u, 1,
     QK_CONFIG({"architectures": ["MllamaForConditionalGeneration"], "image_token_index": 128256,
      "model_type": "mllama", "text_config": {"cross_attention_layers": [3, 8, 13, 18, 23,
      28, 33, 38], "dropout": 0, "hidden_act": "silu", "hidden_size": 4096,
      "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings":
      131072, "model_type": "mllama_text_model", "num_attention_heads": 32,
      "num_hidden_layers": 40, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
      "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta":
      500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache":
      true, "vocab_size": 128256}, "torch_dtype": "bfloat16"})},
    /* Llama 3.1 70B under it, plus 8 embeddings */
    {"llama-3.2-90b-vision", "meta-llama/Llama-3.2-90B-Vision", 70553772032u, 1,
     QK_CONFIG({"architectures": ["MllamaForConditionalGeneration"], "image_token_index": 128256,
      "model_type": "mllama", "text_config": {"cross_attention_layers": [3, 8, 13, 18, 23,
      28, 33, 38, 43, 48, 53, 58, 63, 68, 73, 78, 83, 88, 93, 98], "dropout": 0,
      "hidden_act": "silu", "hidden_size": 8192, "initializer_range": 0.02,
      "intermediate_size": 28672, "max_position_embeddings": 131072, "model_type":
      "mllama_text_model", "num_attention_heads": 64, "num_hidden_layers": 100,
      "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0,
      "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings":
      8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 128256}, "torch_dtype":
      "bfloat16"})},
    {0},
};
