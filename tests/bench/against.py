#!/usr/bin/env python3
"""Speed of two builds of this program, in turn, on the same work: what a change of the code's structure must not cost.

usage: against.py OLD NEW [ROUNDS]     two source trees with ./qkengine built, default 7 rounds

  prefill     SmolLM2-135M (build/smollm2), 3 texts of 512 tokens: tokens/s from the first text to the last captured row
  tokenize    `qkengine tokenize` of 40 MB of text, to ids: processor seconds
  parquet     inputs of Parquet: reading the text column of a file of 200 MB: processor seconds
  merge       a rerun in prefix layout that adds nothing new to 400,000 rows: processor seconds of the whole command
  push        1,280 files of 40 kB to the fixture of tests/hub: processor seconds
  pull        a model of 300 MB from it: processor seconds

Each round starts one process of each program, the order changing from round to round. Printed: the medians, and the median of the
rounds' ratios with the middle half of them. Less than 1 in the last column: NEW is faster.
"""
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/interop")]
from common import make_workspace, write_jsonl  # noqa: E402

MODEL = ROOT / "build/smollm2"
ENVIRONMENT = {**os.environ, "QKENGINE_CACHE": "off"}


def seconds(program, args, cwd, env=ENVIRONMENT):
    """Processor seconds of one process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([program, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def demo_text():
    return " ".join(json.loads(line)["text"] for line in (ROOT / "tests/demo/texts.jsonl").open(encoding="utf-8"))


def prefill(work):
    text = demo_text() * 6
    write_jsonl(work / "documents.jsonl", [{"text": text[100 * i:]} for i in range(3)])
    (work / "config.yaml").write_text(f"""
dataset: {{path: documents.jsonl, split: train, text_column: text}}
model: {{name: {MODEL}, dtype: bfloat16}}
tokenizer: {{max_length: 512}}
inference: {{batch_size: 1}}
capture: {{min_bucket_size: 128, sampler: {{type: log_uniform, base_rate: 4.0}}}}
""")

    def once(program, number):
        said = json.loads(seconds(program, ["run", "config.yaml", "--quiet", "--json", "--set", f"output.data_root=out{number}"], work)[1])
        return said["seconds_forward"] / said["tokens"]
    return once, "s per token"


def tokenize(work):
    (work / "text.txt").write_text((demo_text() + "\n") * (40_000_000 // len(demo_text())))
    return (lambda program, number: seconds(program, ["tokenize", MODEL, "text.txt", "--count"], work)[0]), "s"


def merge(work):
    make_workspace(work)
    text = demo_text()
    write_jsonl(work / "data.jsonl", [{"id": f"d{i}", "text": text[i % 997:i % 997 + 300]} for i in range(2500)])
    args = ["run", "config.yaml", "--quiet", "--set", "dataset.path=data.jsonl", "--set", "output.layout=prefix"]

    def once(program, number):
        root = f"output.data_root=out{number}"
        seconds(program, [*args, "--set", root], work)
        return seconds(program, [*args, "--set", root, "--set", "dataset.max_samples=2000"], work)[0]
    return once, "s"


def push(work):
    from hub.fixture import TOKEN, Fixture
    fixture = Fixture()
    for i in range(1280):
        path = work / f"final/l{i // 40:02}h{i % 40 // 2:02}{'qk'[i % 2]}/data.parquet"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"PAR1" + os.urandom(40_000 - 8) + b"PAR1")

    def once(program, number):
        fixture.reset()
        shutil.rmtree(work / "final/.qkengine", ignore_errors=True)
        environment = fixture.environment(work / "home", HF_TOKEN=TOKEN)
        return seconds(program, ["push", "final", "tester/bench", "--quiet"], work, environment)[0]
    return once, "s"


def pull(work):
    import hub_fixture
    fixture = hub_fixture.Hub()
    fixture.add("model", "me/model", {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": os.urandom(300_000_000)})

    def once(program, number):
        with tempfile.TemporaryDirectory() as home:
            return seconds(program, ["pull", "me/model", "--include", "*", "--quiet"], work, fixture.env(home))[0]
    return once, "s"


def parquet(work):
    import pyarrow as pa
    import pyarrow.parquet as pq
    words, rng = demo_text().split(), random.Random(1)
    pool = " ".join(rng.choices(words, k=2_000_000))
    texts = [pool[(k := rng.randrange(len(pool) - 4000)):k + rng.randrange(200, 4000)] for _ in range(95_000)]
    pq.write_table(pa.table({"text": texts}), work / "texts.parquet", compression="zstd", row_group_size=10_000)
    return (lambda program, number: seconds(program, ["inspect", "texts.parquet", "--rows", len(texts)], work)[0]), "s"


def middle_half(values):
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def compare(work_load, programs, rounds):
    with tempfile.TemporaryDirectory() as work:
        once, unit = work_load(pathlib.Path(work))
        times = ([], [])
        for n in range(rounds + 1):
            for i in (0, 1) if n % 2 else (1, 0):
                took = once(programs[i], f"{n}-{i}")
                if n:   # the first round fills the system's cache
                    times[i].append(took)
    ratios = [b / a for a, b in zip(*times)]
    low, high = middle_half(ratios)
    print(f"{work_load.__name__:9} old {statistics.median(times[0]):9.4f}  new {statistics.median(times[1]):9.4f} {unit:12}"
          f" ratio {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})", flush=True)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    programs = [str(pathlib.Path(tree).resolve() / "qkengine") for tree in sys.argv[1:3]]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {rounds} rounds")
    for work_load in (prefill, tokenize, parquet, merge, push, pull):
        if work_load is prefill or work_load is tokenize:
            if not (MODEL / "model.safetensors").exists():
                print(f"SKIPPED: {work_load.__name__}: {MODEL} is absent (tests/interop/real_model.py makes it)")
                continue
        compare(work_load, programs, rounds)


if __name__ == "__main__":
    main()
