/* Configurations of Gemma 1 to 3 (Google). See presets.h. */
#include "engine/families/presets.h"

/* clang-format off */
const qk_preset qk_presets_google[] = {
    {"gemma-2b", "google/gemma-2b", 2506172416u, 1,
     QK_CONFIG({"architectures": ["GemmaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "head_dim": 256, "hidden_act": "gelu",
      "hidden_activation": null, "hidden_size": 2048, "initializer_range": 0.02,
      "intermediate_size": 16384, "max_position_embeddings": 8192, "model_type": "gemma",
      "num_attention_heads": 8, "num_hidden_layers": 18, "num_key_value_heads": 1,
      "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 10000.0, "torch_dtype":
      "bfloat16", "use_cache": true, "vocab_size": 256000})},
    {"gemma-7b", "google/gemma-7b", 8537680896u, 1,
     QK_CONFIG({"architectures": ["GemmaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "head_dim": 256, "hidden_act": "gelu",
      "hidden_activation": null, "hidden_size": 3072, "initializer_range": 0.02,
      "intermediate_size": 24576, "max_position_embeddings": 8192, "model_type": "gemma",
      "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 16,
      "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 10000.0, "torch_dtype":
      "bfloat16", "use_cache": true, "vocab_size": 256000})},
    {"gemma-2-2b", "google/gemma-2-2b", 2614341888u, 1,
     QK_CONFIG({"architectures": ["Gemma2ForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "attn_logit_softcapping": 50.0, "cache_implementation":
      "hybrid", "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act":
      "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304,
      "initializer_range": 0.02, "intermediate_size": 9216, "max_position_embeddings":
      8192, "model_type": "gemma2", "num_attention_heads": 8, "num_hidden_layers": 26,
      "num_key_value_heads": 4, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
      "rope_theta": 10000.0, "sliding_window": 4096, "torch_dtype": "float32",
      "use_cache": true, "vocab_size": 256000})},
    {"gemma-2-9b", "google/gemma-2-9b", 9241705984u, 1,
     QK_CONFIG({"architectures": ["Gemma2ForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "attn_logit_softcapping": 50.0, "cache_implementation":
      "hybrid", "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act":
      "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 3584,
      "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings":
      8192, "model_type": "gemma2", "num_attention_heads": 16, "num_hidden_layers": 42,
      "num_key_value_heads": 8, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
      "rope_theta": 10000.0, "sliding_window": 4096, "torch_dtype": "float32",
      "use_cache": true, "vocab_size": 256000})},
    {"gemma-2-27b", "google/gemma-2-27b", 27227128320u, 1,
     QK_CONFIG({"architectures": ["Gemma2ForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "attn_logit_softcapping": 50.0, "cache_implementation":
      "hybrid", "final_logit_softcapping": 30.0, "head_dim": 128, "hidden_act":
      "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 4608,
      "initializer_range": 0.02, "intermediate_size": 36864, "max_position_embeddings":
      8192, "model_type": "gemma2", "num_attention_heads": 32, "num_hidden_layers": 46,
      "num_key_value_heads": 16, "query_pre_attn_scalar": 144, "rms_norm_eps": 1e-06,
      "rope_theta": 10000.0, "sliding_window": 4096, "torch_dtype": "float32",
      "use_cache": true, "vocab_size": 256000})},
    {"gemma-3-270m", "google/gemma-3-270m", 268098176u, 1,
     QK_CONFIG({"_sliding_window_pattern": 6, "architectures": ["Gemma3ForCausalLM"],
      "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": null,
      "final_logit_softcapping": null, "head_dim": 256, "hidden_activation":
      "gelu_pytorch_tanh", "hidden_size": 640, "initializer_range": 0.02,
      "intermediate_size": 2048, "layer_types": ["sliding_attention", "sliding_attention",
      "sliding_attention", "sliding_attention", "sliding_attention", "full_attention",
      "sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention",
      "sliding_attention", "full_attention", "sliding_attention", "sliding_attention",
      "sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
      "max_position_embeddings": 32768, "model_type": "gemma3_text",
      "num_attention_heads": 4, "num_hidden_layers": 18, "num_key_value_heads": 1,
      "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq":
      10000.0, "rope_scaling": null, "rope_theta": 1000000.0, "sliding_window": 512,
      "torch_dtype": "bfloat16", "use_bidirectional_attention": false, "use_cache": true,
      "vocab_size": 262144})},
    {"gemma-3-1b", "google/gemma-3-1b-pt", 999885952u, 1,
     QK_CONFIG({"architectures": ["Gemma3ForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "attn_logit_softcapping": null, "cache_implementation":
      "hybrid", "final_logit_softcapping": null, "head_dim": 256, "hidden_activation":
      "gelu_pytorch_tanh", "hidden_size": 1152, "initializer_range": 0.02,
      "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type":
      "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26,
      "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
      "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
      "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16",
      "use_cache": true, "vocab_size": 262144})},
    /* 4,300,079,472 less the vision tower's 416,866,032 and the projector's 2,950,272 */
    {"gemma-3-4b", "google/gemma-3-4b-pt", 3880263168u, 1,
     QK_CONFIG({"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999,
      "eoi_token_index": 256000, "image_token_index": 262144, "initializer_range": 0.02,
      "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": {"hidden_size":
      2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers":
      34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
      "torch_dtype": "bfloat16"})},
    /* 12,187,325,040 less the vision tower's 416,866,032 and the projector's 4,424,832 */
    {"gemma-3-12b", "google/gemma-3-12b-pt", 11766034176u, 1,
     QK_CONFIG({"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999,
      "eoi_token_index": 256000, "image_token_index": 262144, "initializer_range": 0.02,
      "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": {"hidden_size":
      3840, "intermediate_size": 15360, "model_type": "gemma3_text",
      "num_attention_heads": 16, "num_hidden_layers": 48, "num_key_value_heads": 8,
      "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
      "torch_dtype": "bfloat16"})},
    /* 27,432,406,640 less the vision tower's 416,866,032 and the projector's 6,194,304 */
    {"gemma-3-27b", "google/gemma-3-27b-pt", 27009346304u, 1,
     QK_CONFIG({"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999,
      "eoi_token_index": 256000, "image_token_index": 262144, "initializer_range": 0.02,
      "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": {"head_dim": 128,
      "hidden_size": 5376, "intermediate_size": 21504, "model_type": "gemma3_text",
      "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16,
      "query_pre_attn_scalar": 168, "rope_scaling": {"factor": 8.0, "rope_type":
      "linear"}, "sliding_window": 1024}, "torch_dtype": "bfloat16"})},
    {0},
};
