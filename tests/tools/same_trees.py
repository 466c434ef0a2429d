#!/usr/bin/env python3
"""Whether two builds of the program write the same dataset folders: what a change of the code's structure must not change.

usage: same_trees.py OLD NEW      (two programs; QK_MODEL: a folder with SmolLM2-135M, default build/smollm2, for the fifth run)

Five reference runs, each with both programs from the same inputs. Prints for each the number of files and the SHA-256 of the tree
(of the sorted lines "digest  path"), then every file that differs, and for manifest.json and README.md what differs in it.
Exit status 1 when a file differs.
"""
import difflib
import hashlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
from common import ROOT, digest, make_workspace, write_jsonl  # noqa: E402

MODEL = pathlib.Path(os.environ.get("QK_MODEL", ROOT / "build/smollm2")).resolve()
OTHER_MODEL = ROOT / "tests/data/capture/case6_truncation_and_ids/model"

SHOWN = 12   # lines of a difference


def run(program, work, *settings, shard=None, config="config.yaml"):
    args = [program, "run", config, "--quiet", *(["--shard", shard] if shard else [])]
    done = subprocess.run([*args, *(x for s in settings for x in ("--set", s))], cwd=work, capture_output=True, text=True,
                          env={**os.environ, "QKENGINE_CACHE": "off"})
    assert done.returncode == 0, done.stderr


def many_texts(work):
    """Settings for a dataset of 150 short texts, enough for several units."""
    rng, words = random.Random(5), (ROOT / "tests/demo/texts.jsonl").read_text(encoding="utf-8").split()
    write_jsonl(work / "data.jsonl", [{"id": f"doc-{i}", "text": " ".join(rng.choices(words, k=rng.randint(0, 60)))} for i in range(150)])
    return ["dataset.path=data.jsonl", "output.data_root=out"]


def demo(program, work):
    """configs/demo.yaml: one run in branch layout, with token strings"""
    (work / "tests").symlink_to(ROOT / "tests")
    run(program, work, "output.data_root=out", config=ROOT / "configs/demo.yaml")


def rerun(program, work):
    """prefix layout: 60 examples, then 150: old rows stay in front"""
    make_workspace(work)
    here = many_texts(work)
    for n in (60, 150):
        run(program, work, *here, "output.layout=prefix", "capture.per_head_masks=true", f"dataset.max_samples={n}")


def two_models(program, work):
    """two models in one folder, prefix layout"""
    make_workspace(work)
    here = many_texts(work)
    (work / "other").symlink_to(OTHER_MODEL)
    for model in ("model", "other"):
        run(program, work, *here, "output.layout=prefix", f"model.name={model}", "dataset.max_samples=40")


def shards(program, work):
    """branch layout in bfloat16, three shards one after the other"""
    make_workspace(work)
    here = many_texts(work)
    for i in range(3):
        run(program, work, *here, "output.layout=branch", "model.dtype=bfloat16", shard=f"{i}/3")


def real_model(program, work):
    """SmolLM2-135M in bfloat16, 4 texts of 512 tokens, four layers in memory"""
    text = (ROOT / "tests/demo/texts.jsonl").read_text(encoding="utf-8")
    write_jsonl(work / "documents.jsonl", [{"text": text[100 * i:]} for i in range(4)])
    (work / "config.yaml").write_text(f"""
dataset: {{path: documents.jsonl, split: train, text_column: text}}
model: {{name: {MODEL}, dtype: bfloat16}}
tokenizer: {{max_length: 512}}
inference: {{batch_size: 2, layers_in_memory: 4}}
capture: {{min_bucket_size: 16, sampler: {{type: log_uniform, base_rate: 16.0}}}}
output: {{data_root: out, layout: branch}}
""")
    run(program, work)


def show_difference(old, new, name):
    print(f"  differs: {name}")
    if name.endswith(("manifest.json", "README.md")):
        a, b = ((p / name).read_text().splitlines() if (p / name).exists() else [] for p in (old, new))
        lines = [line for line in list(difflib.unified_diff(a, b, "old", "new", n=0, lineterm=""))[2:] if line[0] != "@"]
        for line in lines[:SHOWN]:
            print(f"    {line[:160]}")
        if len(lines) > SHOWN:
            print(f"    and {len(lines) - SHOWN} more lines")


def compare(make, top):
    trees = []
    for name, program in zip(("old", "new"), sys.argv[1:3]):
        work = top / make.__name__ / name
        work.mkdir(parents=True)
        make(str(pathlib.Path(program).resolve()), work)
        trees.append(digest(work / "out/final"))
    hashes = [hashlib.sha256("".join(f"{h}  {p}\n" for p, h in sorted(t.items())).encode()).hexdigest() for t in trees]
    print(f"{make.__name__} ({make.__doc__}): {len(trees[1])} files, " +
          (f"tree {hashes[1][:16]} of both" if hashes[0] == hashes[1] else f"trees {hashes[0][:16]} and {hashes[1][:16]}"))
    different = sorted(p for p in trees[0].keys() | trees[1].keys() if trees[0].get(p) != trees[1].get(p))
    for name in different:
        show_difference(*(top / make.__name__ / n / "out/final" for n in ("old", "new")), name)
    return not different


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    makers = [demo, rerun, two_models, shards]
    if (MODEL / "model.safetensors").exists():
        makers.append(real_model)
    else:
        print(f"SKIPPED: the run of a real model: {MODEL} is absent (tests/interop/real_model.py makes it)")
    with tempfile.TemporaryDirectory() as top:
        equal = [compare(make, pathlib.Path(top)) for make in makers]
    sys.exit(0 if all(equal) else 1)


if __name__ == "__main__":
    main()
