#!/usr/bin/env python3
"""What transformers takes for granted when config.json is silent: tests/data/families/defaults.json, which
tests/test_family_defaults.c compares with the tables of engine/families.

For each model_type a model is built from a configuration with nothing but sizes, and its modules are asked: biases,
head_dim, windows, scales, activation, rotary frequencies.  usage: make_family_defaults.py OUT   (transformers 5.1.0, torch)
"""
import json
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModel
from transformers.models.mllama.configuration_mllama import MllamaTextConfig
from transformers.models.mllama.modeling_mllama import MllamaTextModel

SIZES = dict(hidden_size=256, num_hidden_layers=13, num_attention_heads=32, vocab_size=40, intermediate_size=48)
MORE = {"ministral": {"head_dim": 8}}   # its class fails without
TYPES = ["llama", "mllama_text_model", "mistral", "ministral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma", "gemma2",
         "gemma3_text", "glm", "glm4", "smollm3", "phi3", "olmo2", "olmo3", "granite"]


def build(model_type, sizes):
    mllama = model_type == "mllama_text_model"
    config = MllamaTextConfig(**sizes) if mllama else AutoConfig.for_model(model_type, **sizes)
    config.pad_token_id = None
    config._attn_implementation = "eager"
    with torch.device("meta"):
        return MllamaTextModel(config) if mllama else AutoModel.from_config(config)


def first_self_attention(model):
    return next(layer for layer in model.layers if hasattr(layer, "self_attn"))


def thetas(config):
    p = config.rope_parameters
    if "full_attention" in p:
        return [p["full_attention"]["rope_theta"], p["sliding_attention"]["rope_theta"]]
    return [p["rope_theta"]]


def window(layer, config):
    attention = layer.self_attn
    own = getattr(attention, "sliding_window", "silent")
    if own == "silent":     # the mask is made for all layers alike
        own = getattr(config, "sliding_window", None)
    return own or 0


def describe(model_type, sizes):
    model = build(model_type, sizes)
    config, layer = model.config, first_self_attention(model)
    attention, mlp = layer.self_attn, getattr(layer, "mlp", None)
    q = getattr(attention, "q_proj", None) or attention.qkv_proj
    experts = getattr(mlp, "experts", None)
    dense = mlp if experts is None else None
    norm = model.norm
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    partial = (config.rope_parameters.get("full_attention") or config.rope_parameters).get("partial_rotary_factor", 1.0)
    return {
        "head_dim": attention.head_dim,
        "kv_heads": config.num_key_value_heads,
        "eps": eps,
        "max_position": config.max_position_embeddings,
        "thetas": thetas(config),
        "rotary": int(attention.head_dim * partial),
        "activation": getattr(config, "hidden_activation", None) or config.hidden_act,
        "qkv_bias": q.bias is not None,
        "o_bias": attention.o_proj.bias is not None,
        "mlp_bias": dense is not None and dense.down_proj.bias is not None,
        "tied": bool(getattr(config, "tie_word_embeddings", False)),
        "attention_scale": attention.scaling,
        "soft_cap": (getattr(config, "attn_logit_softcapping", None) or 0) if model_type == "gemma2" else 0,
        "windows": [window(l, config) if hasattr(l, "self_attn") else 0 for l in model.layers],
        "rope": [bool(getattr(l.self_attn, "use_rope", True)) if hasattr(l, "self_attn") else True for l in model.layers],
        "absent": [not hasattr(l, "self_attn") for l in model.layers],
        "experts": experts.num_experts if experts is not None else 0,
        "top_k": config.num_experts_per_tok if experts is not None else 0,
        "expert_ffn": experts.intermediate_dim if experts is not None else 0,
        "renormalised": bool(getattr(config, "norm_topk_prob", True)) if experts is not None else False,
        "embedding_rows": model.embed_tokens.weight.shape[0],
        "residual_scale": getattr(layer, "residual_multiplier", 1.0),
    }


def main():
    cases = {}
    for model_type in TYPES:
        sizes = dict(SIZES, **MORE.get(model_type, {}))
        cases[model_type] = {"config": dict(sizes, model_type=model_type), "want": describe(model_type, sizes)}
    out = {"transformers": transformers.__version__, "cases": cases}
    with open(sys.argv[1], "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
