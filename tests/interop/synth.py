#!/usr/bin/env python3
"""qkengine synth and what is built on it: checkpoints of real shapes open everywhere, run, and are the same bytes
each time; qkengine plan sizes the production configurations without a download.

usage: synth.py
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml
from safetensors import safe_open

from common import ROOT, digest, engine, main, write_jsonl

# One small preset of each family that has presets, and how many layers show what is special about it. The smallest
# Mixtral (1.5 B parameters in one layer, 3 GB) is too large for a test; qwen3_moe stands for experts.
FAMILIES = {
    "llama": ("smollm2-135m", 2), "mllama": ("llama-3.2-11b-vision", 1), "mistral": ("mistral-7b-v0.1", 1),
    "ministral3": ("ministral-3-3b", 1), "qwen2": ("qwen2.5-0.5b", 2), "qwen3": ("qwen3-0.6b", 2),
    "qwen3_moe": ("qwen3-30b-a3b", 1), "gemma": ("gemma-2b", 1), "gemma2": ("gemma-2-2b", 2),
    "gemma3_text": ("gemma-3-270m", 4), "gemma3": ("gemma-3-4b", 1), "glm": ("glm-4-9b", 1),
    "glm4": ("glm-4-9b-0414", 1), "smollm3": ("smollm3-3b", 4), "phi3": ("phi-3-mini-4k", 1),
    "olmo2": ("olmo-2-1b", 1), "granite": ("granite-3.3-2b", 2), "mistral3": None, "mixtral": None, "ministral": None,
    "mllama_text_model": None, "olmo3": None,
}


def synth(folder, like, *more):
    done = engine(["synth", "--quiet", "--like", like, *more, folder], ROOT)
    assert done.returncode == 0, done.stderr
    return folder


def write_config(folder, model, **tokenizer):
    write_jsonl(folder / "texts.jsonl", [{"text": "To be, or not to be: that is the question."}, {"text": "Grüße, 世界!"}])
    config = {"dataset": {"path": "texts.jsonl"}, "model": {"name": str(model), "dtype": "bfloat16"},
              "tokenizer": {"max_length": 24, **tokenizer}, "capture": {"sampler": {"type": "all"}},
              "output": {"data_root": "out", "layout": "branch"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def run_here(folder, model):
    """Runs `model` over two texts; returns the run's summary."""
    write_config(folder, model)
    done = engine(["run", "config.yaml", "--quiet", "--json"], folder)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


def expected_of_qwen3(config):
    """Names and shapes, from the published model code: written here by hand, not read from the engine."""
    D, F, H, K, d = (config[k] for k in ("hidden_size", "intermediate_size", "num_attention_heads",
                                         "num_key_value_heads", "head_dim"))
    out = {"model.embed_tokens.weight": [config["vocab_size"], D], "model.norm.weight": [D]}
    for n in range(config["num_hidden_layers"]):
        layer = {"input_layernorm": [D], "post_attention_layernorm": [D], "self_attn.q_norm": [d], "self_attn.k_norm": [d],
                 "self_attn.q_proj": [H * d, D], "self_attn.k_proj": [K * d, D], "self_attn.v_proj": [K * d, D],
                 "self_attn.o_proj": [D, H * d], "mlp.gate_proj": [F, D], "mlp.up_proj": [F, D], "mlp.down_proj": [D, F]}
        out.update({f"model.layers.{n}.{k}.weight": v for k, v in layer.items()})
    return out


def tensors_are_those_of_the_model(folder):
    model = synth(folder / "model", "qwen3-0.6b", "--layers", "2")
    config = json.loads((model / "config.json").read_text())
    assert config["num_hidden_layers"] == 2 and config["torch_dtype"] == "bfloat16"
    with safe_open(model / "model.safetensors", "np") as f:
        got = {k: f.get_slice(k).get_shape() for k in f.keys()}
        dtypes = {f.get_slice(k).get_dtype() for k in f.keys()}
        assert f.metadata() == {"format": "pt"}
    assert got == expected_of_qwen3(config), sorted(got.keys() ^ expected_of_qwen3(config).keys())
    assert dtypes == {"BF16"}, dtypes
    return f"{len(got)} tensors"


def transformers_loads_it(folder):
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        return "SKIPPED: transformers is not installed here"
    for like, layers in (("qwen3-0.6b", "2"), ("gemma-3-270m", "4")):
        model = synth(folder / like, like, "--layers", layers)
        loaded, info = AutoModel.from_pretrained(model, dtype=torch.float32, output_loading_info=True)
        assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        ids = AutoTokenizer.from_pretrained(model)("Grüße\n", return_tensors="pt").input_ids
        assert ids[0].tolist() == list("Grüße\n".encode())
        assert torch.isfinite(loaded(input_ids=ids).last_hidden_state).all()
        shutil.rmtree(model)


def values_are_sane(folder):
    """Layers keep the size of activations: queries of the last layer are neither tiny nor huge."""
    import pyarrow.parquet
    model = synth(folder / "model", "smollm2-135m")
    run_here(folder, model)
    for head in ("l00h00q", "l29h08q", "l29h02k"):
        vectors = pyarrow.parquet.read_table(folder / f"out/final/{head}/data.parquet")["vector"].combine_chunks()
        flat = vectors.values.to_numpy()
        assert 0.3 < flat.std() < 3, (head, flat.std())


def same_bytes(folder):
    for dtype in ("bfloat16", "float16", "float32"):
        args = ("smollm2-135m", "--layers", "1", "--dtype", dtype)
        first = digest(synth(folder / f"{dtype}-1", *args, "--threads", "1"))
        assert first == digest(synth(folder / f"{dtype}-2", *args, "--threads", "2"))
        assert first == digest(synth(folder / f"{dtype}-3", *args))
        other = digest(synth(folder / f"{dtype}-4", *args, "--seed", "1"))
        assert {k for k in first if first[k] != other[k]} == {"model.safetensors"}
    # A shorter model is the beginning of the longer one.
    longer = synth(folder / "longer", "smollm2-135m", "--layers", "2", "--dtype", "float32") / "model.safetensors"
    with safe_open(longer, "np") as a, safe_open(folder / "float32-1/model.safetensors", "np") as b:
        for k in b.keys():
            assert (a.get_tensor(k) == b.get_tensor(k)).all(), k


def in_memory():
    """Where a gigabyte is written fastest: memory, if there is enough."""
    shm = pathlib.Path("/dev/shm")
    return shm if shm.is_dir() and shutil.disk_usage(shm).free > 6e9 else None


def every_family_runs(_):
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        return run_families(pathlib.Path(folder))


def run_families(folder):
    listed = engine(["families"], ROOT).stdout.split("\n")[1:]
    known = {line.split()[0] for line in listed if line}
    assert known == FAMILIES.keys(), known ^ FAMILIES.keys()
    for family, choice in FAMILIES.items():
        if not choice:
            continue
        work = folder / family
        work.mkdir()
        like, layers = choice
        model = synth(work / "model", like, "--layers", str(layers))
        assert json.loads((model / "config.json").read_text())["model_type"] in (family, "mistral3")
        result = run_here(work, model)
        assert result["files"] > 0 and result["rows"] > 0 and result["examples"] == 2, result
        shutil.rmtree(work)
    left_out = [k for k, v in FAMILIES.items() if not v]
    return f"{len(FAMILIES) - len(left_out)} families; not on their own: {', '.join(left_out)}"


def refusals(folder):
    for args, status, said in (
            (["--like", "qwen3-06b", "x"], 1, "did you mean 'qwen3-0.6b'?"),
            (["--like", "Qwen/Qwen3-0.6", "x"], 1, "did you mean 'Qwen/Qwen3-0.6B'?"),
            (["x"], 2, "--like NAME is missing"),
            (["--like", "qwen3-0.6b"], 2, "a folder is missing"),
            (["--like", "qwen3-0.6b", "--layers", "29", "x"], 2, "has 28 layers"),
            (["--like", "qwen3-0.6b", "--dtype", "bfloat", "x"], 2, "did you mean 'bfloat16'?")):
        done = engine(["synth", *args], folder)
        assert done.returncode == status and said in done.stderr, (args, done.returncode, done.stderr)
    assert not (folder / "x").exists()
    synth(folder / "x", "smollm2-135m", "--layers", "1")
    before = digest(folder / "x")
    done = engine(["synth", "--like", "smollm2-135m", "--layers", "1", "x"], folder)
    assert done.returncode == 1 and "not empty" in done.stderr and digest(folder / "x") == before, done.stderr


def full_disk_leaves_no_weights(folder):
    """A limit on the size of files stands for a full disk: an error, and no model.safetensors."""
    command = f"ulimit -f 20000; trap '' XFSZ; exec '{ROOT}/qkengine' synth --quiet --like smollm2-135m --layers 1 x"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True)
    assert done.returncode in (1, 3) and "model.safetensors" in done.stderr, (done.returncode, done.stderr)
    assert list((folder / "x").iterdir()) == [], list((folder / "x").iterdir())


def the_list(folder):
    lines = engine(["synth", "--list"], folder).stdout.rstrip("\n").split("\n")
    row = next(line.split() for line in lines if line.startswith("qwen3-8b "))
    assert row == ["qwen3-8b", "Qwen/Qwen3-8B", "8190735360", "36", "32", "8", "128"], row
    return f"{len(lines) - 1} models"


def published():
    return {r[1]: int(r[2]) for r in (line.split() for line in engine(["synth", "--list"], ROOT).stdout.split("\n")[1:]) if r}


# hidden, ffn, query heads, output head of its own; 8 key heads of 128 and 151936 tokens in all.
QWEN3 = {"qwen3-0.6b": (1024, 3072, 16, False), "qwen3-1.7b": (2048, 6144, 16, False), "qwen3-4b": (2560, 9728, 32, False),
         "qwen3-8b": (4096, 12288, 32, True), "qwen3-14b": (5120, 17408, 40, True), "qwen3-32b": (5120, 25600, 64, True)}


def weights(preset, count, layers, last):
    """Bytes of weights that a bfloat16 run to layer `last` holds, from the published number of parameters: all but the
    output head, the final norm, later layers, and what layer `last` has behind q and k. Norms take four bytes."""
    D, F, H, own_head = QWEN3[preset]
    q, k = H * 128, 8 * 128
    norms = 2 * D + 2 * 128
    layer = q * D + 2 * k * D + D * q + 3 * D * F + norms
    behind = k * D + D * q + 3 * D * F + D
    held = count - own_head * 151936 * D - D - (layers - 1 - last) * layer - behind
    return 2 * held + 2 * (last * norms + D + 2 * 128)


def production_configurations(folder):
    """Sized without model, tokenizer and texts; weights as published; YaRN did not lose rope_theta."""
    configs = sorted((ROOT / "configs").glob("qwen3-*.yaml"))
    assert len(configs) == 6, configs
    parameters = published()
    for path in configs:
        written = yaml.safe_load(path.read_text())
        name = written["model"]["name"]
        done = engine(["plan", path, "--json", "--no-probe"], folder)
        assert done.returncode == 0 and "built-in config.json" in done.stderr, done.stderr
        plan = json.loads(done.stdout)
        assert name.lower() == "qwen/" + plan["preset"] and path.stem == plan["preset"], plan["preset"]
        expected = weights(plan["preset"], parameters[name], plan["layers"], plan["last_layer"])
        assert plan["weight_bytes"] == expected, (name, plan["weight_bytes"], expected)
        assert plan["examples"] == written["dataset"]["max_samples"] and plan["examples_at_full_length"]
        assert plan["longest_tokens"] == 131072 and plan["tokens"] == 131072 * plan["examples"]
        assert plan["files"] == plan["query_heads"] + plan["key_heads"] <= 700
        # log_uniform at rate 1: one row of each of the buckets [0, 128), [128, 256), ... [65536, 131072).
        assert abs(plan["rows"] / (plan["examples"] * plan["files"] * 11) - 1) < 0.01, plan["rows"]
        assert plan["rope"] == {"type": "yarn", "theta": 1000000, "factor": 4, "original": 32768}, plan["rope"]
        assert engine(["run", path], folder).returncode == 1, "run needs a real model"
    return f"{len(configs)} configurations"


def plan_of_one_example(folder):
    args = ["plan", ROOT / "configs/qwen3-8b.yaml", "--json"]
    many = json.loads(engine(args, folder).stdout)
    one = json.loads(engine([*args, "--set", "dataset.max_samples=null"], folder).stdout)
    assert one["examples"] is None and one["tokens"] == 131072
    for key in ("rows", "bytes", "flops"):
        assert abs(many[key] / one[key] - 500) < 1e-6, key
    for key in ("weight_bytes", "activation_bytes", "capture_bytes", "files"):
        assert many[key] == one[key], key
    said = engine(["plan", ROOT / "configs/qwen3-8b.yaml", "--set", "dataset.max_samples=null"], folder)
    assert "for each example" in said.stdout, said.stdout
    short = engine([*args, "--set", "model.name=qwen3-8b"], folder)
    assert json.loads(short.stdout)["preset"] == "qwen3-8b", short.stderr
    none = engine([*args, "--set", "tokenizer.max_length=null"], folder)
    assert none.returncode == 1 and "tokenizer.max_length" in none.stderr
    unknown = engine([*args, "--set", "model.name=Qwen/Qwen9"], folder)
    assert unknown.returncode == 1 and "Qwen/Qwen9 at 'main' is not in the cache" in unknown.stderr, unknown.stderr
    unknown = engine([*args, "--set", "model.name=./Qwen9"], folder)
    assert unknown.returncode == 1 and "no folder './Qwen9'" in unknown.stderr, unknown.stderr


if __name__ == "__main__":
    sys.exit(main("synth", [tensors_are_those_of_the_model, transformers_loads_it, values_are_sane, same_bytes,
                            every_family_runs, refusals, full_disk_leaves_no_weights, the_list,
                            production_configurations, plan_of_one_example]))
