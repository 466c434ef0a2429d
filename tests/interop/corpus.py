#!/usr/bin/env python3
"""The input corpus (../shared/golden/inputs) through the real program.

bad/: each of the 391 files goes to the command that would read it (inspect, plan, tokenize, run). A refusal is one error line
that names the file, exit status 1, nothing written; without sanitizers under RLIMIT_AS = 256 MB and RLIMIT_CPU = 2 seconds. Files
that may be read must give the rows that the manifest says. The same once more with the sanitizer build, without the limits.
ids.json: each cell becomes a file of one row, whose id `inspect` must show.

usage: corpus.py [SANITIZED_QKENGINE]      without it only ./qkengine is run
"""
import collections
import datetime
import decimal
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from common import CASE, HANGS, ROOT, digest, main, write_jsonl

INPUTS = pathlib.Path(os.environ.get("QK_SHARED", ROOT.parent / "shared")) / "golden/inputs"
LIMIT, SECONDS = 256 << 20, 2
ALL_ROWS = "--rows=1000000"
TOKENIZER = {"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
             "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
             "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                       "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                       "vocab": {c: i for i, c in enumerate("abcdefgh")}, "merges": []}}


def manifest(name):
    return json.loads((INPUTS / name).read_text(encoding="utf-8"))


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def call(program, args, cwd, sanitized, **more):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(program), *map(str, args)], cwd=cwd, capture_output=True, timeout=HANGS,
                          preexec_fn=None if sanitized else limited, env={**os.environ, "OMP_NUM_THREADS": "2"}, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    done.seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    done.stdout, done.stderr = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    return done


# ---- one bad file: which command, in which folder ----

def make_bench(folder):
    """A folder with a good tokenizer, a good model and a good dataset, beside which bad things are put."""
    (folder / "tok").mkdir()
    (folder / "tok/tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "text").write_text("abc")
    write_jsonl(folder / "good.jsonl", [{"text": "abcabc", "id": i} for i in range(4)])
    shutil.copytree(CASE / "model", folder / "models/tiny")     # two layers
    (folder / "data/corpus").mkdir(parents=True)
    shutil.copy(folder / "good.jsonl", folder / "data/corpus/train.jsonl")


def model_config(folder, model):
    (folder / "run.yaml").write_text(json.dumps({
        "dataset": {"path": "good.jsonl", "id_column": "id"}, "model": {"name": str(model)}, "tokenizer": {"name": "tok"},
        "capture": {"sampler": {"type": "all"}}, "output": {"data_root": "out"}}))
    return "run.yaml"


def command(entry, path, folder):
    """(arguments, what an error must name)"""
    kind = entry["open_as"]
    if kind in ("jsonl", "csv", "text", "parquet", "dataset folder"):
        return ["inspect", path, "--json", ALL_ROWS] + ["--full"] * entry.get("if_read", "").endswith(".jsonl"), path.name
    if kind == "safetensors":
        return ["inspect", path, "--json"], path.name
    if kind == "checkpoint":
        return ["run", model_config(folder, path), "--quiet"], path.name
    if kind == "config.json":
        return ["plan", model_config(folder, path)], path.name
    if kind == "run config":
        return ["plan", path], path.name
    if kind == "tokenizer.json":
        (folder / "bad-tok").mkdir(exist_ok=True)
        shutil.copy(path, folder / "bad-tok/tokenizer.json")
        return ["tokenize", "bad-tok", "text"], "tokenizer.json"
    raise AssertionError(kind)


def rows_of(stdout):
    configs = json.loads(stdout)["configs"]
    assert len(configs) == 1, list(configs)
    return next(iter(configs.values()))["rows"]


def same_rows(stdout, if_read):
    got = rows_of(stdout)
    if if_read.endswith(" rows"):       # the manifest gives their number only
        assert f"{len(got)} rows" == if_read, f"{len(got)} rows"
        return
    want = [json.loads(line) for line in (INPUTS / if_read).read_text(encoding="utf-8").splitlines()]
    assert [r["text"] for r in got] == [r["text"] for r in want], "other texts"
    assert [r["example_id"] for r in got] == [r["example_id"] for r in want], "other ids"


def judge(entry, done, name, before, folder, sanitized):
    """'read' or 'refused'; AssertionError says what is wrong."""
    assert done.returncode in (0, 1), f"exit status {done.returncode}: {done.stderr[-2000:]}"
    must = entry["must"]
    if done.returncode == 0:
        assert must != "refuse", f"was read: {done.stdout[:200]}"
        if "if_read" in entry:
            same_rows(done.stdout, entry["if_read"])
        return "read"
    assert must != "accept", f"was refused: {done.stderr}"
    errors = [line for line in done.stderr.splitlines() if line.startswith("qkengine: error: ")]
    assert len(errors) == 1 and len(errors[0]) > 40, done.stderr
    assert name in errors[0], f"does not name {name}: {errors[0]}"
    said = json.loads(done.stdout or "{}")   # of --json: the error alone
    assert set(said) <= {"error"} and ("error" not in said or f"error: {said['error']['message']}" in errors[0]), f"printed before it failed: {said}"
    if (folder / "out").exists():
        left = [p for p in (folder / "out").rglob("*") if p.is_file() and p.name != "lock"]
        assert not left, f"wrote {left}"
        shutil.rmtree(folder / "out")
    assert digest(folder) == before, "changed files"
    return "refused"


def all_bad(program, sanitized):
    def run_all(folder):
        if not INPUTS.is_dir():
            return f"SKIPPED, no {INPUTS}"
        make_bench(folder)
        counts, slowest, wrong = collections.Counter(), (0, ""), []
        says = open(ROOT / "build/corpus_messages.txt", "w")
        for key, entry in manifest("bad/manifest.json").items():
            kind, path = entry["open_as"], INPUTS / "bad" / key
            args, name = command(entry, path, folder)
            shutil.rmtree(folder / "out", ignore_errors=True)
            before = digest(folder)
            done = call(program, args, folder, sanitized)
            try:
                counts[kind, judge(entry, done, name, before, folder, sanitized)] += 1
            except AssertionError as e:
                wrong.append(f"{key}: {e}")
            slowest = max(slowest, (done.seconds, key))
            print(f"{key} [{entry['say']}]: {done.stderr.strip() or 'read'}", file=says)
        says.close()
        assert not wrong, "\n".join(wrong)
        kinds = sorted({k for k, _ in counts})
        per_kind = ", ".join(f"{k} {counts[k, 'refused']} + {counts[k, 'read']}" for k in kinds)
        return f"{sum(counts.values())} files, refused + read: {per_kind}; slowest {slowest[0]:.2f} s CPU ({slowest[1]})"
    run_all.__name__ = "bad_files_" + ("under_the_sanitizers" if sanitized else "in_256_MB")
    return run_all


# ---- ids ----

def bits(cell, size):
    return int(cell["bits"], 16).to_bytes(size, "little")


def array_of(cell):
    """A column of one row for a cell of ids.json; None: no file can hold it."""
    kind, value = cell["type"], cell.get("value")
    simple = {"null": (None, pa.int64()), "bool": (value, pa.bool_()), "timestamp[us]": (value, pa.timestamp("us")),
              "timestamp[us, UTC]": (value, pa.timestamp("us", "UTC")), "date": (cell.get("days"), pa.date32()),
              "list": ([1], pa.list_(pa.int64())), "struct": ({"a": 1}, pa.struct({"a": pa.int64()}))}
    if kind in simple:
        return pa.array([simple[kind][0]], simple[kind][1])
    if kind in ("double", "float", "half"):
        size, t = {"double": (8, pa.float64()), "float": (4, pa.float32()), "half": (2, pa.float16())}[kind]
        return pa.Array.from_buffers(t, 1, [None, pa.py_buffer(bits(cell, size))])
    if kind == "decimal":
        if cell["unscaled"] == "-0" or cell["scale"] < 0:
            return None
        number = decimal.Decimal(cell["unscaled"]).scaleb(-cell["scale"], decimal.Context(prec=60))
        return pa.array([number], pa.decimal128(38, cell["scale"]))
    if kind in ("bytes", "uuid"):
        raw = bytes.fromhex(cell["hex"])
        return pa.ExtensionArray.from_storage(pa.uuid(), pa.array([raw], pa.binary(16))) if kind == "uuid" else pa.array([raw], pa.binary())
    if kind == "string":
        return None if cell["rule"] == "unencodable" else pa.array(["".join(text_of(cell))], pa.string())
    if kind == "int" or kind.startswith(("numpy.int", "numpy.uint")):
        number = int(value)
        if not -2**63 <= number < 2**64:
            return None
        return pa.array([number], pa.int64() if number < 2**63 else pa.uint64())
    if kind == "numpy.bool":
        return pa.array([value == "True"])
    return pa.array([value]) if kind == "numpy.str_" else pa.array([float(value)])


def text_of(cell):
    if "utf16" in cell:
        return b"".join(u.to_bytes(2, "little") for u in cell["utf16"]).decode("utf-16-le")
    return cell["value"] if "value" in cell else cell["str"]


def every_id(folder):
    if not INPUTS.is_dir():
        return f"SKIPPED, no {INPUTS}"
    counts = collections.Counter()
    for i, cell in enumerate(manifest("ids.json")):
        column, path = array_of(cell), folder / f"{i}.parquet"
        if column is not None:
            pq.write_table(pa.table({"text": ["x"], "id": column}), path)
        elif cell["type"] == "int":     # no file can hold it: in JSON lines it is a float, as in `datasets`
            path = folder / f"{i}.jsonl"
            path.write_text('{"text": "x", "id": %s}\n' % cell["value"])
            number = float(cell["value"])
            fits = -2.0**63 <= number < 2.0**63
            cell = {"type": "int", "rule": "integral float" if fits else "overflow", "str": str(number), "int64": int(number)}
        else:
            counts["in no file"] += 1
            continue
        done = call(ROOT / "qkengine", ["inspect", path, "--json", "--full", "--rows=1", "--id-column=id"], folder, False)
        if cell["rule"] == "overflow" or cell["type"] in ("list", "struct"):
            assert done.returncode == 1 and path.name in done.stderr, (cell, done.stdout, done.stderr)
            counts["refused"] += 1
            continue
        assert done.returncode == 0, (cell, done.stderr)
        row = rows_of(done.stdout)[0]
        assert row["example_id"] == cell["int64"], (cell, row)
        assert row["id"] == cell["str"] or cell["type"].startswith("numpy"), (cell, row)
        counts["read"] += 1
    assert sum(counts.values()) == 165, counts
    return ", ".join(f"{n} {what}" for what, n in counts.items())


def the_limit_is_a_limit(folder):
    """RLIMIT_AS really stops a program: there is no memory for a text of 1 GB."""
    make_bench(folder)
    with open(folder / "big", "wb") as f:
        f.truncate(1 << 30)
    done = call(ROOT / "qkengine", ["tokenize", "tok", "big", "--count"], folder, False)
    assert done.returncode == 1 and "out of memory" in done.stderr and "ulimit -v" in done.stderr, done.stderr


if __name__ == "__main__":
    tests = [the_limit_is_a_limit, all_bad(ROOT / "qkengine", False), every_id]
    tests += [all_bad(pathlib.Path(p).resolve(), True) for p in sys.argv[1:] if "/" in p]
    sys.exit(main("corpus", tests))
