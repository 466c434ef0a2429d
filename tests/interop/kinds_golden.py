#!/usr/bin/env python3
"""qkengine verify on tests/data/kinds: values, both RoPE states and log-sum-exps against transformers in float64 (tests/tools/make_capture_golden.py)."""
import json
import sys

from common import ROOT, engine, main

CASES = sorted(p for p in (ROOT / "tests/data/kinds").iterdir() if p.is_dir())
KINDS = {"q", "k", "q_pre", "k_pre", "v", "lse"}


def check(options):
    worst = {kind: 0 for kind in KINDS}
    for case in CASES:
        model = case / json.loads((case / "meta.json").read_text())["model"]
        done = engine(["verify", model, case / "golden.safetensors", "--json", *options], ROOT)
        assert done.returncode == 0, (case.name, done.stdout, done.stderr)
        result = json.loads(done.stdout)
        layers = json.loads((model / "config.json").read_text())["num_hidden_layers"]
        assert set(result["tensors"]) == {f"{n:02d}.{kind}" for n in range(layers) for kind in KINDS}, (case.name, result["tensors"].keys())
        assert result["same_bits"] and all(t["judged"] for t in result["tensors"].values()), case.name
        for name, t in result["tensors"].items():
            kind = name.split(".")[1]
            worst[kind] = max(worst[kind], t["rms"])
    return f"{len(CASES)} cases; largest relative RMS error " + ", ".join(f"{kind} {worst[kind]:.1e}" for kind in sorted(KINDS))


def float32(folder):
    return check(["--dtype", "float32"])


def naive_in_double(folder):
    return check(["--backend", "ref"])


def bfloat16(folder):
    return check(["--dtype", "bfloat16"])


if __name__ == "__main__":
    sys.exit(main("kinds goldens", [float32, naive_in_double, bfloat16]))
