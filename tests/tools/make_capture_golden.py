#!/usr/bin/env python3
"""Makes tests/data/kinds: queries and keys before and after RoPE, values and log-sum-exps of transformers in float64.

For each case a folder with
  golden.safetensors   input_ids, lengths, positions, and LL.q, LL.k, LL.q_pre, LL.k_pre, LL.v, LL.lse as engine/tools/verify.h has them
  meta.json            versions, seed, `model` (where the checkpoint is, from this folder), and `bf16_error`: for each layer the relative RMS
                       error of these tensors when transformers itself runs in bfloat16
  model/               a tiny checkpoint with random weights, where none of tests/data/forward has what the case is about

All numbers are those that pass through transformers' own modules: what its rotary function is given, what its attention is given, and the
scores that its softmax is given: scaled, capped and masked. Its modules compute some parts in float32 whatever the dtype of the model
(norms, cosines, softmax); while a golden is made float32 means float64 to them. Each text runs alone.

Needs torch 2.11.0, transformers 5.1.0, safetensors. usage: make_capture_golden.py [CASE...]
"""
import json
import os
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

transformers.utils.logging.disable_progress_bar()
ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/data/kinds"
LENGTHS = (56, 41)
POSITIONS = (0, 1, 2, 9, 18, 31, 40, 55)
KINDS = ("q", "k", "q_pre", "k_pre", "v", "lse")
IDS = (3, 94)   # the first and the last id in use: one printable character each, so that a test can write them as a text

BASE = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=96,
            max_position_embeddings=4096, rms_norm_eps=1e-5, hidden_act="silu", bos_token_id=1, eos_token_id=2, pad_token_id=0,
            tie_word_embeddings=True, torch_dtype="bfloat16")
CASES = {
    "llama_gqa": "tests/data/forward/llama_bf16_sharded/model",
    "qwen3_qk_norm": "tests/data/forward/qwen3/model",
    "gemma2_windows_soft_cap": dict(
        BASE, model_type="gemma2", architectures=["Gemma2ForCausalLM"], query_pre_attn_scalar=6, sliding_window=11, attn_logit_softcapping=5.0,
        final_logit_softcapping=30.0, hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh"),
    "glm4_interleaved_partial": dict(BASE, model_type="glm4", architectures=["Glm4ForCausalLM"], partial_rotary_factor=0.5, attention_bias=True),
    "smollm3_no_rope": dict(BASE, model_type="smollm3", architectures=["SmolLM3ForCausalLM"], no_rope_layers=[1, 0, 1], no_rope_layer_interval=2,
                            layer_types=["full_attention"] * 3, use_sliding_window=False, rope_theta=2000000.0),
}


def write_model(folder, raw, seed):
    """A checkpoint in the Hub's layout; its weights are exact in bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(raw, indent=1) + "\n")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    noise, tensors = torch.Generator().manual_seed(seed), {}
    for name, p in sorted(model.named_parameters()):
        x = torch.randn(p.shape, generator=noise)
        if "norm" in name:
            x = 0.2 * x + (0 if raw["model_type"].startswith("gemma") else 1)   # Gemma stores weight - 1
        elif p.ndim == 2 and "embed" not in name:
            x *= 1.4 / p.shape[1] ** 0.5
        tensors[name] = x.to(torch.bfloat16).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


class DoubleTorch:
    """The module torch, to a modelling file, where float32 is float64."""
    float32 = float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


class Recording:
    """While it is entered, {layer: {kind: tensor [heads, T, d] or [heads, T]}} of one text that runs through `model`."""

    def __init__(self, model, double):
        self.module, self.double, self.layers, self.rotated = sys.modules[type(model.model).__module__], double, {}, None
        self.true = {name: getattr(self.module, name) for name in ("torch", "apply_rotary_pos_emb", "eager_attention_forward")}
        self.softmax, self.to_float = torch.nn.functional.softmax, torch.Tensor.float

    def rotary(self, q, k, *args, **kwargs):
        self.rotated = q, k
        return self.true["apply_rotary_pos_emb"](q, k, *args, **kwargs)

    def attention(self, module, q, k, v, *args, **kwargs):
        layer = self.layers[module.layer_idx] = dict(zip(("q_pre", "k_pre"), self.rotated or (q, k)), q=q, k=k, v=v)
        self.rotated = None

        def softmax(scores, *rest, **more):
            layer["lse"] = scores.double().logsumexp(-1)
            return self.softmax(scores, *rest, **more)

        torch.nn.functional.softmax = softmax
        try:
            return self.true["eager_attention_forward"](module, q, k, v, *args, **kwargs)
        finally:
            torch.nn.functional.softmax = self.softmax

    def __enter__(self):
        self.module.apply_rotary_pos_emb, self.module.eager_attention_forward = self.rotary, self.attention
        if self.double:
            self.module.torch, torch.Tensor.float = DoubleTorch(), torch.Tensor.double
        return self

    def __exit__(self, *_):
        torch.Tensor.float = self.to_float
        for name, value in self.true.items():
            setattr(self.module, name, value)


def run(folder, ids, dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=dtype).eval()
    with torch.no_grad(), Recording(model, dtype == torch.float64) as recording:
        model.model(input_ids=ids[None], use_cache=False)
    for layer in recording.layers.values():
        assert dtype != torch.float64 or all(x.dtype == torch.float64 for x in layer.values())
        assert all(x.shape[0] == 1 and x.shape[2] == len(ids) for x in layer.values())
    return {number: {kind: layer[kind][0].double() for kind in KINDS} for number, layer in recording.layers.items()}


def make(case, source, seed):
    folder = OUT / case
    folder.mkdir(parents=True, exist_ok=True)
    model = ROOT / source if isinstance(source, str) else folder / "model"
    if not isinstance(source, str):
        write_model(model, source, seed)
    ids = torch.randint(IDS[0], IDS[1] + 1, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(seed + 1))
    tensors = {"input_ids": ids, "lengths": torch.tensor(LENGTHS), "positions": torch.tensor(POSITIONS)}
    errors = {}
    for s, length in enumerate(LENGTHS):
        ids[s, length:] = 0
        exact, rough = (run(model, ids[s, :length], dtype) for dtype in (torch.float64, torch.bfloat16))
        there = [p for p in POSITIONS if p < length]
        for number, layer in exact.items():
            for kind, x in layer.items():
                rows = tensors.setdefault(f"{number:02d}.{kind}", torch.zeros(len(LENGTHS), x.shape[0], len(POSITIONS), *x.shape[2:]))
                rows[s, :, :len(there)] = x[:, there].float()
                error = float((rough[number][kind] - x).pow(2).mean().sqrt() / x.pow(2).mean().sqrt())
                of_layer = errors.setdefault(f"{number:02d}", {})
                of_layer[kind] = max(error, of_layer.get(kind, 0))
    save_file({name: x.contiguous() for name, x in tensors.items()}, folder / "golden.safetensors")
    meta = dict(torch=torch.__version__, transformers=transformers.__version__, seed=seed, model=os.path.relpath(model, folder), bf16_error=errors)
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    print(case, {kind: f"{max(e[kind] for e in errors.values()):.1e}" for kind in KINDS}, sum(f.stat().st_size for f in folder.rglob("*.*")))


for i, (name, source) in enumerate(CASES.items()):
    if not sys.argv[1:] or name in sys.argv[1:]:
        make(name, source, 7000 + 10 * i)
