#!/usr/bin/env python3
"""inference.layers_in_memory: the same files whatever stays in memory, signals at any moment, damaged weights, and a
model larger than the memory that the process may have.

usage: streaming.py [SEED] [TEST...]
"""
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

from common import HANGS, ROOT, digest, engine, main, make_workspace, number_asked, run, shared, write_jsonl

SEED = number_asked(1)
# Experts, windows, norms after attention; beside the llama that the repository carries.
GOLDENS = ["mixtral", "gemma3_text", "glm4_sandwich"]


def texts(folder, n=24):
    rng = random.Random(7)
    words = (ROOT / "tests/demo/texts.jsonl").read_text(encoding="utf-8").split()
    write_jsonl(folder / "data.jsonl", [{"id": f"doc-{i}", "text": " ".join(rng.choices(words, k=rng.randint(0, 40)))} for i in range(n)])
    return ["dataset.path=data.jsonl", "output.data_root=out", "tokenizer.max_length=64"]


def finish(folder, *settings, **more):
    shutil.rmtree(folder / "out", ignore_errors=True)
    done = run(folder, *settings, **more)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return digest(folder / "out/final")


def check_all(folder, *settings):
    """All layers against two and three at a time, in batches of several and of one."""
    settings = [*texts(folder), *settings]
    for dtype in ("float32", "bfloat16"):
        for more in (["output.layout=branch"], ["output.layout=prefix", "capture.layers=[0,2]"]):
            reference = finish(folder, *settings, *more, f"model.dtype={dtype}")
            for layers, batch in ((2, 5), (3, 1)):
                got = finish(folder, *settings, *more, f"model.dtype={dtype}", f"inference.layers_in_memory={layers}", f"inference.batch_size={batch}")
                assert got == reference, (dtype, more, layers, sorted(k for k in got if got[k] != reference.get(k))[:3])
    return len(reference)


def same_bytes(folder):
    return f"{check_all(make_workspace(folder / 'llama'))} files"


def same_bytes_of_goldens(folder):
    if not shared("golden/forward").is_dir():
        return "SKIPPED: no goldens"
    made = engine(["synth", "--quiet", "--like", "smollm2-135m", "--layers", "1", folder / "bytes"], ROOT)
    assert made.returncode == 0, made.stderr
    for name in GOLDENS:
        work = make_workspace(folder / name)
        shutil.rmtree(work / "model")
        shutil.copytree(shared(f"golden/forward/{name}/model"), work / "model")
        for tokenizer in (folder / "bytes").glob("tokenizer*"):
            shutil.copy(tokenizer, work / "model")
        check_all(work)
    return ", ".join(GOLDENS)


def stopped_by_signals(folder):
    """Whenever the signal comes, the same command goes on and the files are the same."""
    rng, stopped = random.Random(SEED), 0
    work = make_workspace(folder / "work")
    settings = [*texts(work, 150), "output.layout=prefix", "inference.batch_size=3"]
    began = time.time()
    reference = finish(work, *settings, "inference.layers_in_memory=2")
    seconds = time.time() - began
    shutil.rmtree(work / "out")
    args = [ROOT / "qkengine", "run", "config.yaml", "--quiet"]
    for s in [*settings, "inference.layers_in_memory=2"]:
        args += ["--set", s]
    for attempt in range(40):
        process = subprocess.Popen(args, cwd=work, stderr=subprocess.PIPE, text=True)
        time.sleep(rng.uniform(0.01, 0.9) * seconds)
        process.send_signal(signal.SIGINT if attempt % 2 else signal.SIGTERM)
        _, err = process.communicate(timeout=HANGS)
        if process.returncode in (0, -signal.SIGINT, -signal.SIGTERM):      # it was done, or had not begun, when the signal came
            shutil.rmtree(work / "out", ignore_errors=True)
            continue
        assert process.returncode == 3 and "run the same command again" in err, (process.returncode, err)
        stopped += 1
        if stopped % 4 == 0:
            done = run(work, *settings)
            assert done.returncode == 0, done.stderr
            assert digest(work / "out/final") == reference
            shutil.rmtree(work / "out")
        if stopped == 8:
            return f"{stopped} stopped runs"
    raise AssertionError(f"only {stopped} runs were alive when the signal came")


def damage(path, name):
    """Puts a NaN into the middle of a tensor of a bfloat16 file."""
    with open(path, "r+b") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
        assert header[name]["dtype"] == "BF16", header[name]
        begin, end = header[name]["data_offsets"]
        f.seek(8 + n + (begin + end) // 4 * 2)
        f.write(b"\xc0\x7f")


def damaged_layer(folder):
    for layer in (0, 2):
        work = make_workspace(folder / str(layer))
        name = f"model.layers.{layer}.self_attn.v_proj.weight"
        damage(work / "model/model.safetensors", name)
        done = run(work, *texts(work), "inference.layers_in_memory=2")
        assert done.returncode == 1, done
        assert name in done.stderr and "NaN or infinite" in done.stderr, done.stderr
        assert not (work / "out/final").exists()
        assert not list(work.glob("out/staging/unit*")), "a unit of a damaged model"


def limited(limit):
    """For subprocess: no more private memory than this many bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def larger_than_memory(folder):
    """Weights of 689 MB in a process that may have 680 MB: two layers at a time, or as many as fit, but not all."""
    made = engine(["synth", "--quiet", "--like", "smollm2-360m", "--layers", "16", folder / "model"], ROOT)
    assert made.returncode == 0, made.stderr
    write_jsonl(folder / "texts.jsonl", [{"text": "To be, or not to be: that is the question."}, {"text": "Grüße, 世界!"}])
    (folder / "config.yaml").write_text("dataset: {path: texts.jsonl}\nmodel: {name: model}\ntokenizer: {max_length: 24}\n"
                                        "inference: {threads: 2, batch_size: 1}\noutput: {data_root: out, layout: branch}\n")
    limit, reference = 680_000_000, finish(folder, "inference.layers_in_memory=16")
    peaks = []
    for settings in (["inference.layers_in_memory=2"], []):
        plan = json.loads(engine(["plan", "config.yaml", "--json", *(x for s in settings for x in ("--set", s))], folder, preexec_fn=limited(limit)).stdout)
        few = plan["layers_in_memory"]
        assert few == 2 if settings else 2 < few < 16, plan
        assert plan["weight_bytes_in_memory"] < limit < plan["weight_bytes"], plan
        shutil.rmtree(folder / "out")
        args = ["run", "config.yaml", *(x for s in settings for x in ("--set", s))]
        process = subprocess.Popen([ROOT / "qkengine", *args], cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=limited(limit))
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        found = re.search(r"16 layers, (\d+) in memory: the others are read again for each batch", said)
        assert status == 0 and found and abs(int(found[1]) - few) <= 1, (said, few)
        assert digest(folder / "out/final") == reference, settings
        peaks.append((few, usage.ru_maxrss * 1024))
    shutil.rmtree(folder / "out")
    done = run(folder, "inference.layers_in_memory=16", preexec_fn=limited(limit))
    assert done.returncode == 1 and "memory" in done.stderr, done
    assert peaks[0][1] < 350e6 and peaks[1][1] < 680e6, peaks
    return ", ".join(f"{few} layers: peak {peak / 1e6:.0f} MB" for few, peak in peaks)


if __name__ == "__main__":
    sys.exit(main("streaming", [same_bytes, same_bytes_of_goldens, stopped_by_signals, damaged_layer, larger_than_memory]))
