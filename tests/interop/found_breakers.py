#!/usr/bin/env python3
"""What once lost data, gave wrong data, hung, or obeyed a folder that came from elsewhere, each with its right outcome.
Calls that fail are made to fail by tests/tools/fail_once.c.

usage: found_breakers.py
"""
import errno
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

import pyarrow.parquet as pq

import hub_fixture
from common import HANGS, ROOT, count_calls as count, digest, engine, fail_once, fails, main, make_workspace, refused, run, write_jsonl

SHIM = fail_once()
BRANCH, PREFIX = "output.layout=branch", "output.layout=prefix"


def texts(first, last, words=12):
    rng, w = random.Random(first), (ROOT / "tests/demo/texts.jsonl").read_text(encoding="utf-8").split()
    return [{"id": f"row-{i}", "text": " ".join(rng.choices(w, k=words))} for i in range(first, last)]


def workspace(folder, rows=None):
    make_workspace(folder)
    write_jsonl(folder / "a.jsonl", rows or texts(0, 20))
    return folder


def a_run(folder, *settings, **more):
    return run(folder, "dataset.path=a.jsonl", "inference.threads=1", *settings, **more)


def good(done):
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done


def other_weights(model):
    """The same tensors with other values."""
    path, rng = model / "model.safetensors", random.Random(5)
    b = bytearray(path.read_bytes())
    n, = struct.unpack("<Q", b[:8])
    for i in range(8 + n, len(b), 2):
        b[i] ^= rng.randrange(64)
    path.write_bytes(b)


def ids_of(root):
    return pq.read_table(next(root.rglob("examples.parquet"))).to_pylist()


# ---- data lost or wrong ----

def closed_descriptors(folder):
    """01: nothing that is said lands in a file that got descriptor 0, 1 or 2."""
    workspace(folder)
    good(a_run(folder, BRANCH, "output.data_root=reference"))
    for closed in ("2>&-", "0<&- 2>&-", "1>&-", "0<&- 1>&- 2>&-"):
        shutil.rmtree(folder / "out", ignore_errors=True)
        args = f"run config.yaml --set dataset.path=a.jsonl --set inference.threads=1 --set {BRANCH}"
        done = subprocess.run(["sh", "-c", f"exec {ROOT}/qkengine {args} {closed}"], cwd=folder, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, (closed, done.returncode)
        assert digest(folder / "out/final") == digest(folder / "reference/final"), closed
        assert (folder / "out/staging/lock").stat().st_size == 16, closed


def what_must_not_be_mixed(folder):
    """02: rows whose vectors mean something else do not come into a folder of `prefix` layout."""
    workspace(folder)
    shutil.copytree(folder / "model", folder / "a-b")
    shutil.copytree(folder / "model", folder / "a_b")
    other_weights(folder / "a_b")
    good(a_run(folder, PREFIX, "model.name=a-b", "capture.sampler.base_rate=1"))
    before = digest(folder / "out/final")
    shutil.copytree(folder / "a_b", folder / "elsewhere/a-b")
    for settings in (["model.name=a_b"], ["model.name=a-b", "capture.capture_pre_rope=true"], ["model.name=a-b", "model.dtype=bfloat16"],
                     ["model.name=a-b", "model.config_overrides={rope_theta: 77777.0}"]):
        refused(a_run(folder, PREFIX, *settings), "out/final")
        assert digest(folder / "out/final") == before, settings
    rows = texts(0, 20)
    rows[7]["text"] = "another text under the same id"
    write_jsonl(folder / "b.jsonl", rows)
    refused(run(folder, "dataset.path=b.jsonl", PREFIX, "model.name=a-b", "inference.threads=1", "dataset.id_column=id"))
    assert digest(folder / "out/final") == before
    # what only changes which rows there are adds rows
    good(a_run(folder, PREFIX, "model.name=a-b", "capture.sampler.base_rate=4"))
    assert digest(folder / "out/final") != before


def datasets_that_change(folder):
    """03: a dataset's file that is written to, cut off, longer or another one while a run reads it."""
    for how in ("same size", "cut off", "longer", "replaced"):
        work = folder / how.replace(" ", "-")
        work.mkdir()
        workspace(work, texts(0, 3000, 60))
        args = ["run", "config.yaml", "--quiet"]
        for s in ("dataset.path=a.jsonl", "inference.threads=1", BRANCH, "tokenizer.max_length=2000", "inference.backend=ref"):
            args += ["--set", s]
        process = subprocess.Popen([str(ROOT / "qkengine"), *args], cwd=work, stderr=subprocess.PIPE, text=True)
        while not list(work.glob("out/staging/unit-*.qku")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)
        path = work / "a.jsonl"
        if how == "same size":
            with open(path, "r+b") as f:
                f.seek(path.stat().st_size - 40)
                f.write(b"ZZZZ")
        elif how == "cut off":
            os.truncate(path, 20000)
        elif how == "longer":
            with open(path, "a") as f:
                f.write('{"id": "x", "text": "an appended row"}\n')
        else:
            write_jsonl(work / "new", texts(5, 3005, 60))
            os.replace(work / "new", path)
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=HANGS)[1]
        assert process.returncode == 1 and "a.jsonl" in said, (how, process.returncode, said)
        assert not (work / "out/final").exists(), how


def checkpoint_replaced(folder):
    """04: between its hashing and its loading, while another process holds the folder."""
    workspace(folder)
    shutil.copytree(folder / "model", folder / "other")
    other_weights(folder / "other")
    (folder / "out/staging").mkdir(parents=True)
    args = ["run", "config.yaml", "--quiet", "--set", "dataset.path=a.jsonl", "--set", BRANCH]
    with open(folder / "out/staging/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([str(ROOT / "qkengine"), *args], cwd=folder, stderr=subprocess.PIPE, text=True)
        time.sleep(1.5)   # it waits for the lock by now
        os.replace(folder / "other/model.safetensors", folder / "model/model.safetensors")
    said = process.communicate(timeout=HANGS)[1]
    if process.returncode == 0:   # then it has read the new one before it hashed
        sha = hashlib.sha256((folder / "model/model.safetensors").read_bytes()).hexdigest()
        assert sha in (folder / "out/final/manifest.json").read_text(), "the manifest names the old weights"
    else:
        assert process.returncode == 1 and "model.safetensors" in said, (process.returncode, said)


def output_inside_the_dataset(folder):
    """05: its second start would read its own output."""
    workspace(folder)
    (folder / "rows").mkdir()
    shutil.copy(folder / "a.jsonl", folder / "rows")
    for root in ("rows/out", "rows", "rows/../rows/x"):
        refused(run(folder, "dataset.path=rows", f"output.data_root={root}"), "rows")
        assert [p.name for p in (folder / "rows").iterdir()] == ["a.jsonl"]
    os.symlink(folder / "rows", folder / "link")
    refused(run(folder, "dataset.path=rows", "output.data_root=link/out"), "rows")


def rows_that_are_not_finite(folder):
    """07: activations that overflow, and weights beyond float16."""
    workspace(folder)
    path = folder / "model/model.safetensors"
    b = bytearray(path.read_bytes())
    n, = struct.unpack("<Q", b[:8])
    header = json.loads(b[8:8 + n])
    name = next(k for k in header if "layers.0.mlp.down_proj" in k)
    begin, end = (8 + n + x for x in header[name]["data_offsets"])
    size, huge = (2, b"\x40\x7f") if header[name]["dtype"] == "BF16" else (4, b"\x00\x00\x40\x7f")   # 2.55e38
    for i in range(begin, end, size):
        b[i:i + size] = huge
    path.write_bytes(b)
    for dtype, words in (("float32", ["layer 1"]), ("float16", ["down_proj"])):
        refused(a_run(folder, BRANCH, f"model.dtype={dtype}"), *words)
        assert not (folder / "out/final").exists()
        shutil.rmtree(folder / "out", ignore_errors=True)
    good(a_run(folder, BRANCH, "capture.allow_nonfinite=true"))
    assert "nonfinite" in (folder / "out/final/manifest.json").read_text()


def a_folder_that_cannot_be_listed(folder):
    """08: an error of readdir is not the end of the folder."""
    if not SHIM:
        return "SKIPPED: this system has no seccomp notifications"
    workspace(folder)
    (folder / "rows").mkdir()
    for i in range(1500):
        write_jsonl(folder / f"rows/part-{i:05}.jsonl", [{"text": f"example {i}"}])
    for args in (["inspect", "rows", "--rows", "1"], ["run", "config.yaml", "--quiet", "--set", "dataset.path=rows"]):
        refused(engine(args, folder, env=fails("getdents", 2, errno.EIO)), "rows")


def a_failing_stat_is_not_absent(folder):
    """09: a rerun in `prefix` layout takes no file for missing that it could not look at."""
    if not SHIM:
        return "SKIPPED: this system has no seccomp notifications"
    workspace(folder)
    good(a_run(folder, PREFIX))
    write_jsonl(folder / "b.jsonl", texts(20, 30))
    args = ["run", "config.yaml", "--quiet"]
    for s in ("dataset.path=b.jsonl", PREFIX, "inference.threads=1", "capture.layers=[0]"):
        args += ["--set", s]
    shutil.copytree(folder / "out", folder / "first")
    good(engine(args, folder))
    expected = digest(folder / "out/final")
    fresh = lambda: (shutil.rmtree(folder / "out"), shutil.copytree(folder / "first", folder / "out"))
    fresh()
    total, stopped = count(folder, "stat", args), 0
    for at in range(1, total + 1, max(1, total // 40)):
        fresh()
        done = engine(args, folder, env=fails("stat", at, errno.ESTALE))
        if done.returncode:
            assert "qkengine: error: " in done.stderr, (at, done.stderr)
            stopped += 1
            good(engine(args, folder))
        assert digest(folder / "out/final") == expected, (at, done.stderr)
    return f"{total} calls, {stopped} of those tried were errors"


def types_that_a_failing_read_hides(folder):
    """The types of ids come from reading ahead: a disk that fails there once must not change the ids without a word."""
    write_jsonl(folder / "a.jsonl", [{"id": i if i else 0.5, "text": "words"} for i in range(3)])
    (folder / "a.csv").write_text("id,text\n1,words\n2.0,words\nx,words\n")
    stopped = 0
    for name in ("a.jsonl", "a.csv"):
        args = ["inspect", name, "--json", "--rows", "3"]
        good(engine(args, folder))
        expected = engine(args, folder).stdout
        for at in range(1, count(folder, "pread", args) + 1):
            done = engine(args, folder, env=fails("pread", at, errno.EIO))
            if done.returncode == 0:
                assert done.stdout == expected, (name, at)
            else:
                assert os.strerror(errno.EIO) in done.stderr, (name, at, done.stderr)
                stopped += 1
    assert stopped >= 4, stopped
    return f"{stopped} reads stopped it"


def delete_stale_after_an_error(folder):
    """12: files that were not seen are not deleted on the Hub."""
    if not SHIM:
        return "SKIPPED: this system has no seccomp notifications"
    hub = hub_fixture.Hub()
    hub.state.create("dataset", "tester/captures")
    here = folder / "folder"
    (here / "l00h00q").mkdir(parents=True)
    (here / "l00h00q/data.parquet").write_bytes(b"PAR1PAR1")   # a push refuses a folder without any
    for i in range(1500):
        (here / f"part-{i:05}.txt").write_text(f"row {i}\n")
    env = hub.env(folder / "home", token=hub_fixture.WRITE)
    args = ["push", here, "tester/captures", "--delete-stale"]
    there = lambda: sum(p.startswith("part-") for p in repository.commits[repository.refs["main"]]["tree"])
    repository = hub.state.repositories["dataset", "tester/captures"]
    good(engine(args, folder, env=env))
    assert there() == 1500
    total = count(folder, "getdents", args, env)
    for at in range(1, total + 1):
        done = engine(args, folder, env=fails("getdents", at, errno.EIO, env))
        assert done.returncode == 0 or "qkengine: error: " in done.stderr, done.stderr
        assert there() == 1500, (at, there(), done.stderr)
    return f"{total} calls"


def ids_with_nul(folder):
    """14: a NUL character does not end an id."""
    workspace(folder, [{"id": i, "text": "one text of some words"} for i in ("a\0b", "a\0c", "a")])
    good(a_run(folder, BRANCH, "dataset.id_column=id"))
    assert [r["id_text"] for r in ids_of(folder / "out/final")] == ["a\0b", "a\0c", "a"]


def a_flipped_bit_in_units_json(folder):
    """15: finished units are not dropped."""
    workspace(folder, texts(0, 100))
    good(a_run(folder, BRANCH, "output.data_root=reference"))
    for i in range(2):
        good(engine(["run", "config.yaml", "--quiet", "--shard", f"{i}/2", *sum((["--set", s] for s in (
            "dataset.path=a.jsonl", "inference.threads=1", BRANCH, f"output.data_root=s{i}")), [])], folder))
    shutil.copytree(folder / "s0", folder / "out")
    for unit in (folder / "s1/staging").glob("*.qku"):
        shutil.copy(unit, folder / "out/staging")
    note = folder / "out/staging/units.json"
    digit = next(c for c in note.read_text() if c.isdigit())
    note.write_text(note.read_text().replace(digit, "0"))
    done = a_run(folder, BRANCH)
    if done.returncode:
        refused(done, "units.json")
        assert len(list((folder / "out/staging").glob("*.qku"))) >= 2, "finished units were dropped"
    else:
        assert digest(folder / "out/final") == digest(folder / "reference/final")


# ---- what starting costs, and signals ----

def sparse_checkpoint(folder, gigabytes):
    """A checkpoint with a tensor of that size which a run does not need."""
    path = folder / "model/model.safetensors"
    b = path.read_bytes()
    n, = struct.unpack("<Q", b[:8])
    header, data = json.loads(b[8:8 + n]), b[8 + n:]
    vocabulary, hidden = header["model.embed_tokens.weight"]["shape"]
    size = int(gigabytes * 1e9) // (4 * hidden) * 4 * hidden
    header["lm_head.weight"] = {"dtype": "F32", "shape": [size // (4 * hidden), hidden], "data_offsets": [len(data), len(data) + size]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
        f.truncate(8 + len(text) + len(data) + size)


def read_bytes(process):
    """What a process has read until its end."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with open(f"/proc/{process.pid}/io") as f:
        return int(next(line for line in f if line.startswith("rchar")).split()[1])


def a_signal_ends_the_hashing(folder):
    """16: SIGTERM while a checkpoint is hashed: status 3, long before its end."""
    workspace(folder)
    sparse_checkpoint(folder, 30)
    process = subprocess.Popen([str(ROOT / "qkengine"), "run", "config.yaml", "--set", "dataset.path=a.jsonl"], cwd=folder,
                               stderr=subprocess.PIPE, text=True)
    while int(open(f"/proc/{process.pid}/io").read().split()[1]) < 300e6:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    total = read_bytes(process)
    said = process.communicate()[1]
    assert process.returncode == 3, (process.returncode, said)
    assert total < 10e9, f"{total:.3g} bytes were read"


def hostile_tokenizers(folder):
    """17: a pattern just below the limit of PCRE2 at each character, and a token of 100,000 characters."""
    workspace(folder)
    base = json.loads((folder / "model/tokenizer.json").read_text())
    split = {"type": "Split", "pattern": {"Regex": "(?:a?){20}a{20}b|a"}, "behavior": "Isolated", "invert": False}
    regex = {**base, "normalizer": None, "post_processor": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        split, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}}
    vocab = [["<unk>", 0.0], *([chr(97 + i), -5.0 - i / 10] for i in range(26)), ["a" * 100000 + "b", -1.0], [" ", -3.0]]
    unigram = {**base, **dict.fromkeys(("normalizer", "post_processor", "pre_tokenizer", "decoder")), "added_tokens": [],
               "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}}
    write_jsonl(folder / "a.jsonl", [{"id": 1, "text": "a" * 100000}])
    outcomes = []
    for name, tokenizer in (("regex", regex), ("unigram", unigram)):
        shutil.copytree(folder / "model", folder / name)
        (folder / name / "tokenizer.json").write_text(json.dumps(tokenizer))
        (folder / name / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        (folder / "text").write_text("a" * 100000)
        done = engine(["tokenize", name, "text", "--count"], folder, timeout=HANGS)
        outcomes.append(f"{name}: status {done.returncode}")
        assert done.returncode in (0, 1), (name, done.returncode, done.stderr)
        if done.returncode:
            assert "qkengine: error: " in done.stderr and len(done.stderr) < 2000, done.stderr
    return ", ".join(outcomes)


def nothing_behind_max_samples(folder):
    """18: of a file of 4 GB the first rows cost the first rows."""
    workspace(folder)
    os.truncate(folder / "a.jsonl", 4_000_000_000)
    args = ["run", "config.yaml", "--quiet"]
    for s in ("dataset.path=a.jsonl", "dataset.max_samples=5", BRANCH):
        args += ["--set", s]
    process = subprocess.Popen([str(ROOT / "qkengine"), *args], cwd=folder, stderr=subprocess.PIPE, text=True)
    total = read_bytes(process)
    said = process.communicate()[1]
    assert process.returncode == 0, (process.returncode, said)
    assert total < 200e6, f"{total:.3g} bytes were read"


def merging_keeps_to_inference_threads(folder):
    """19: with inference.threads: 1 a merge starts no team of threads."""
    if not SHIM:
        return "SKIPPED: this system has no seccomp notifications"
    workspace(folder)
    settings = ["dataset.path=a.jsonl", "inference.threads=1", BRANCH]
    for i in range(2):
        good(engine(["run", "config.yaml", "--quiet", "--shard", f"{i}/2",
                     *sum((["--set", s] for s in [*settings, f"output.data_root=s{i}"]), [])], folder))
    shutil.copytree(folder / "s0", folder / "out")
    for unit in (folder / "s1/staging").glob("*.qku"):
        shutil.copy(unit, folder / "out/staging")
    args = ["run", "config.yaml", "--quiet", *sum((["--set", s] for s in settings), [])]
    started = count(folder, "clone", args)
    assert started <= 1, f"{started} threads"   # the one that reads ahead
    return f"{started} threads were started"


# ---- folders and caches that others wrote ----

def journals_of_others(folder):
    """06: staging/commit.json moves nothing over files of the user, and none makes the program crash."""
    workspace(folder)
    victim = folder / "home/key"
    victim.parent.mkdir()
    victim.write_text("own key")
    planted = folder / f"out/staging/merged{victim}"
    journals = [json.dumps({"files": [x]}) for x in (str(victim), "../../home/key", "a/../../../home/key", "", "x", ".", 1, None, {})]
    journals += ['{"files":{"a":null}}', "[]", "1", "{}", '{"files": 3}', "", "{", '{"files":["' + "a/" * 3000 + '"]}']
    for journal in journals:
        shutil.rmtree(folder / "out", ignore_errors=True)
        planted.parent.mkdir(parents=True)
        planted.write_text("attacker's key")
        (folder / "out/staging/commit.json").write_text(journal)
        done = a_run(folder, BRANCH)
        assert done.returncode in (0, 1), (journal[:80], done.returncode, done.stderr)
        assert victim.read_text() == "own key", journal
    hub = hub_fixture.Hub()
    hub.state.create("dataset", "tester/captures")
    there = folder / "pushed"
    (there / f".qkengine/merged{victim.parent}").mkdir(parents=True)
    (there / f".qkengine/merged{victim}").write_text("attacker's key")
    (there / ".qkengine/commit.json").write_text(journals[0])
    (there / "README.md").write_text("hi")
    engine(["push", there, "tester/captures"], folder, env=hub.env(folder / "hub", token=hub_fixture.WRITE))
    assert victim.read_text() == "own key"


def planted_links(folder):
    """06: what a link points at is not written to."""
    workspace(folder)
    for link in ("merged/README.md.tmp", "merged/manifest.json.tmp", "lock", "unit-000000.claim", "identity.json", "units.json", "merged/l00h00q"):
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "precious").write_text("precious content")
        (folder / "elsewhere").mkdir(exist_ok=True)
        (folder / "out/staging/merged").mkdir(parents=True)
        os.symlink(folder / ("elsewhere" if link.endswith("q") else "precious"), folder / "out/staging" / link)
        done = a_run(folder, BRANCH)
        assert done.returncode in (0, 1), (link, done.returncode, done.stderr)
        assert (folder / "precious").read_text() == "precious content", link
        assert not list((folder / "elsewhere").iterdir()), link


def caches_of_others(folder):
    """10: tables in a folder that others can write to are not used, and nothing of ours is put there."""
    workspace(folder)
    cache = folder / "cache"
    for kind in ("tokenizers", "digests", "cubins"):
        (cache / kind).mkdir(parents=True)
        (cache / kind).chmod(0o777)
    cache.chmod(0o777)
    before = sorted(cache.rglob("*"))
    good(a_run(folder, BRANCH, env={**os.environ, "QKENGINE_CACHE": str(cache)}))
    assert sorted(cache.rglob("*")) == before


def rot_in_the_hub_cache(folder):
    """13: a blob whose bytes changed is fetched again, or refused by name."""
    workspace(folder)
    hub = hub_fixture.Hub()
    hub.add("model", "me/model", {p.name: p.read_bytes() for p in (folder / "model").iterdir()})
    hub.add("dataset", "me/rows", {"train.jsonl": (folder / "a.jsonl").read_bytes()})
    env = {**hub.env(folder / "home"), "QKENGINE_CACHE": str(folder / "cache")}
    go = lambda root, **more: run(folder, "model.name=me/model", "dataset.path=me/rows", BRANCH, f"output.data_root={root}", env={**env, **more})
    good(go("reference"))
    expected = digest(folder / "reference/final")
    for k, (name, at) in enumerate((("train.jsonl", 20), ("model.safetensors", 50000), ("tokenizer.json", 200))):
        path = next((folder / "home/hub").glob(f"*/snapshots/*/{name}")).resolve()
        for offline in ("1", "0"):
            b = bytearray(path.read_bytes())
            b[at] ^= 1
            os.chmod(path, 0o644)
            path.write_bytes(b)
            done = go(f"{k}-{offline}", HF_HUB_OFFLINE=offline)
            if done.returncode == 0:
                assert digest(folder / f"{k}-{offline}/final") == expected, name
            else:
                assert offline == "1" and name in done.stderr, (name, done.returncode, done.stderr)


if __name__ == "__main__":
    sys.exit(main("found: breakers", [
        closed_descriptors, what_must_not_be_mixed, datasets_that_change, checkpoint_replaced, output_inside_the_dataset,
        rows_that_are_not_finite, a_folder_that_cannot_be_listed, a_failing_stat_is_not_absent, types_that_a_failing_read_hides, delete_stale_after_an_error,
        ids_with_nul, a_flipped_bit_in_units_json, a_signal_ends_the_hashing, hostile_tokenizers, nothing_behind_max_samples,
        merging_keeps_to_inference_threads, journals_of_others, planted_links, caches_of_others, rot_in_the_hub_cache]))
