#!/usr/bin/env python3
"""qkengine merge: a dataset of the units that are finished. A part of a run holds the rows that the whole one has for its texts, says what it is, and
leaves the run as it was: while others compute, through crashes, and up to a push.

usage: partial.py
"""
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from push_common import HUB, REPO, environment  # first: it sets the environment of the readers
from common import ROOT, digest, engine, fail_once, fails, count_calls, main, refused, wait_until
from many_processes import PREFIX, SLOW, UNITS, SMALL, Ended, alone, check_final, fresh, go_on, start, stop, units

import pyarrow.parquet as pq

LAYOUTS = (("branch", []), ("model", PREFIX))    # the split's folder, settings


def arguments(*more, command="merge"):
    return [command, "config.yaml", *(a for s in ["dataset.path=data.jsonl", "output.data_root=out", "output.layout=branch", *SMALL, *more] for a in ("--set", s))]


def merge(work, *more, partial=True, options=(), env=None):
    return engine([*arguments(*more), *(["--partial"] if partial else []), *options], work, env=env)


def merged(work, *more, env=None):
    """What --json says of a part."""
    done = merge(work, *more, options=["--json"], env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def started(folder, *more, shards=("1/3",)):
    """A workspace where some of the units are finished, and the bytes of the whole run."""
    work = fresh(folder)
    whole = alone(work, *more)
    for shard in shards:
        Ended(start(work, *more, shard=shard)).ok()
    return work, whole


def numbers(work):
    return [int(re.search(r"\d+", p.name).group()) for p in units(work)]


def split_of(folder, name):
    return folder if name == "branch" else folder / name


def check_part(work, name, there, of=UNITS, whole="alone0"):
    """Rows, examples and manifest of out/partial: those of the whole run for the texts of these units, in that order."""
    part, all_of_it = split_of(work / "out/partial", name), split_of(work / whole / "final", name)
    manifest, complete = (json.loads((f / "manifest.json").read_text()) for f in (part, all_of_it))
    [run], [whole_run] = manifest["runs"], complete["runs"]
    assert run.pop("partial") == {"of": of, "units": there}, manifest["runs"]
    assert run["units"] == [whole_run["units"][i] for i in there] and run["identity"] == whole_run["identity"]
    examples = [e for e in pq.read_table(all_of_it / "examples.parquet").to_pylist() if e["index"] // 16 in there]
    assert pq.read_table(part / "examples.parquet").to_pylist() == examples and len(examples) == manifest["examples"]
    stored = pq.read_table(all_of_it / "l00h00q/data.parquet")["example_id"].to_pylist()
    files = sorted(p.parent.name for p in all_of_it.glob("*/data.parquet"))
    assert files == sorted(p.parent.name for p in part.glob("*/data.parquet")) == sorted(manifest["files"]) and stored
    # in the file of ids: which of the whole run's rows belong to those texts
    wanted = {(e["id"] + 2**31) % 2**32 - 2**31 if isinstance(e["id"], int) else e["id"] for e in examples if "id" in e}
    rows = 0
    for file in files:
        have, want = (pq.read_table(f / file / "data.parquet") for f in (part, all_of_it))
        keep = [i for i, e in enumerate(want["example_id"].to_pylist()) if e in wanted]
        assert have.equals(want.take(keep)), file
        rows += len(have)
    assert rows > 0
    said = f"{len(there)} of {of} units" if of is not None else f"{len(there)} unit"
    assert f"**partial: {said}" in (work / "out/partial/README.md").read_text()
    assert not (work / "out/partial.merging").exists()
    return rows


def rows_of_the_whole(folder):
    """Both layouts, with holes, then more units; the run ends with the bytes that it has without."""
    for name, more in LAYOUTS:
        (folder / name).mkdir()
        work, whole = started(folder / name, *more)
        staging = digest(work / "out/staging")
        done = merge(work, *more, options=["--json=line"])
        assert done.returncode == 0 and done.stdout.count("\n") == 1, done
        got = json.loads(done.stdout)
        assert got["partial"] and got["units"] == UNITS and got["units_merged"] == 3 and got["folder"] == "out/partial", got
        assert f"partial: 3 of {UNITS} units" in done.stderr and "missing: units 0, 2, 3, 5 and 2 more" in done.stderr, done.stderr
        assert f'load_dataset("out/partial", "l00h00q", split="{"train" if name == "branch" else name}")' in done.stderr
        assert check_part(work, name, [1, 4, 7]) == got["rows"] and digest(work / "out/staging") == staging
        first = digest(work / "out/partial")
        assert merged(work, *more) == got and digest(work / "out/partial") == first
        Ended(start(work, *more, shard="0/3")).ok()
        merged(work, *more)
        check_part(work, name, [0, 1, 3, 4, 6, 7])
        part = digest(work / "out/partial")
        assert Ended(start(work, *more)).ok()["merged"]
        check_final(work, whole)
        assert digest(work / "out/partial") == part
        assert merged(work, *more)["already_complete"]
        assert "out/final holds this run already, all of it: no part is made" in merge(work, *more).stderr
        assert "out/final holds this run already: nothing to do" in merge(work, *more, partial=False).stderr


def without_partial(folder):
    """merge says what is missing, with status 3, and is the end of a run when nothing is; it makes no folders."""
    work = fresh(folder)
    for partial in (False, True):
        refused(merge(work, partial=partial), "out/staging: there is no such folder", "qkengine run")
    assert not (work / "out").exists()
    whole = alone(work)
    for shard in ("0/3", "1/3"):
        Ended(start(work, shard=shard)).ok()
    refused(merge(work, partial=False), f"3 of {UNITS} units are missing", "--partial", status=3)
    refused(merge(work, "capture.sampler.base_rate=3"), "holds the unfinished units of another run", "merge --partial")
    refused(engine(["run", *arguments("dataset.max_samples=20")[1:]], work), "another run", "qkengine merge --partial makes a dataset of what it has")
    assert not (work / "out/final").exists() and not (work / "out/partial").exists()
    Ended(start(work, shard="2/3")).ok()     # a shard does not merge what ... all are there now
    if not (work / "out/final").exists():
        assert merge(work, partial=False).returncode == 0
    check_final(work, whole)
    # copied together without the number of units; --partial of all is the whole
    for partial in (False, True):
        shutil.rmtree(work / "out")
        for shard in ("0/3", "1/3"):
            Ended(start(work, shard=shard)).ok()
        kept = {p.name: p.read_bytes() for p in units(work)}
        shutil.rmtree(work / "out")
        Ended(start(work, shard="2/3")).ok()
        for path, data in kept.items():
            (work / "out/staging" / path).write_bytes(data)
        done = merge(work, partial=partial, options=["--json"])
        assert done.returncode == 0 and not json.loads(done.stdout)["partial"], done.stderr
        check_final(work, whole)
        assert not (work / "out/partial").exists()


def while_others_compute(folder):
    """Before the end of the dataset was read nobody knows of how many; whoever computes goes on, and merges."""
    for name, more in LAYOUTS:
        (folder / name).mkdir()
        work = fresh(folder / name)
        (work / "data.jsonl.gz").write_bytes(gzip.compress((work / "data.jsonl").read_bytes()))   # its rows are not counted
        more = [*more, "dataset.path=data.jsonl.gz"]
        whole = alone(work, *more, *SLOW)
        process = start(work, *more, *SLOW)
        wait_until(lambda: len(units(work)) >= 2, process)
        stop(process)
        there = numbers(work)
        got = merged(work, *more)
        assert got["partial"] and got["units"] is None and got["units_merged"] == len(there) < UNITS, got
        check_part(work, name, there, of=None)
        process.send_signal(signal.SIGCONT)
        others = [merge(work, *more) for _ in range(4)]          # at any moment of the run
        assert all(d.returncode == 0 or "no unit" in d.stderr for d in others), [d.stderr for d in others]
        Ended(process).ok()
        check_final(work, whole)


def crashes(folder):
    """A merge that fails at any rename, and one that is killed: the next is as if it had not been, and staging/ is untouched."""
    work, whole = started(folder, *PREFIX)
    merged(work, *PREFIX)
    want, staging = digest(work / "out/partial"), digest(work / "out/staging")
    shutil.rmtree(work / "out/partial")
    if not fail_once():
        return "SKIPPED: the system does not let calls be watched"
    env = {**os.environ, "QKENGINE_CACHE": "off"}     # whose renames may fail
    n = count_calls(work, "rename", [*arguments(*PREFIX), "--partial", "--quiet"], env)
    step = max(1, n // 12)
    for at in [*range(1, n, step), n]:
        for before in (False, True):      # into nothing, and over an earlier part
            if not before:
                shutil.rmtree(work / "out/partial", ignore_errors=True)
            done = merge(work, *PREFIX, env=fails("rename", at, 5, env))
            assert done.returncode == 3, (at, done.stderr)
            assert digest(work / "out/staging") == staging, at
            merged(work, *PREFIX)
            assert digest(work / "out/partial") == want and not (work / "out/partial.merging").exists(), at
    for files in (1, 5, 12):
        shutil.rmtree(work / "out/partial")
        process = subprocess.Popen([str(ROOT / "qkengine"), *arguments(*PREFIX), "--partial"], cwd=work, stderr=subprocess.PIPE)
        wait_until(lambda: process.poll() is not None or len(list(work.glob("out/partial.merging/merged/**/*.parquet"))) >= files)
        process.kill()
        process.communicate()
        assert digest(work / "out/staging") == staging
        merged(work, *PREFIX)
        assert digest(work / "out/partial") == want and not (work / "out/partial.merging").exists()
    Ended(start(work, *PREFIX)).ok()
    check_final(work, whole)
    return f"{n} renames"


def what_is_in_the_way(folder):
    """A damaged unit is left out; another run's part and other files are refused; a part that is taken for final/ is no whole run."""
    work, whole = started(folder, *PREFIX)
    unit = work / "out/staging/unit-000004.qku"
    data = bytearray(unit.read_bytes())
    data[len(data) // 2] ^= 1
    unit.write_bytes(data)
    done = merge(work, *PREFIX)
    assert done.returncode == 0 and "unit-000004.qku" in done.stderr and "it is left out" in done.stderr, done.stderr
    check_part(work, "model", [1, 7])
    assert unit.read_bytes() == data
    manifest = work / "out/partial/model/manifest.json"
    other = fresh(folder, "other")
    Ended(start(other, *PREFIX, "capture.sampler.base_rate=3", shard="1/3")).ok()
    shutil.copytree(work / "out/partial", other / "out/partial")
    refused(merge(other, *PREFIX, "capture.sampler.base_rate=3"), "out/partial/model: holds something else than a part of this run", "move it away")
    (other / "out/partial/model/manifest.json").write_text("{}")
    refused(merge(other, *PREFIX, "capture.sampler.base_rate=3"), "manifest.json")
    shutil.rmtree(other / "out/partial")
    (folder / "elsewhere").mkdir()
    os.symlink(folder / "elsewhere", other / "out/partial")
    assert merge(other, *PREFIX, "capture.sampler.base_rate=3").returncode == 1 and not list((folder / "elsewhere").iterdir())
    # moved to final/, it is rows that are there: the run adds the others, and the mark goes
    shutil.copytree(work / "out/partial", work / "out/final")
    assert Ended(start(work, *PREFIX)).ok()["merged"]
    [run] = json.loads((work / "out/final/model/manifest.json").read_text())["runs"]
    assert "partial" not in run and "partial" not in (work / "out/final/README.md").read_text()
    rows = lambda f: sorted(map(str, pq.read_table(f / "model/l00h00q/data.parquet").select(["example_id", "position"]).to_pylist()))
    assert rows(work / "out/final") == rows(work / "alone0/final") and manifest.exists()
    # joined with the whole run, too
    joined = engine(["join", "out/partial", "alone0/final", "both"], work)
    assert joined.returncode == 0 and rows(work / "both") == rows(work / "alone0/final"), joined.stderr
    assert "partial" not in (work / "both/model/manifest.json").read_text()


def two_parts(folder):
    """Of two machines, joined; the card counts the units of both, each once."""
    work, _ = started(folder, *PREFIX)
    merged(work, *PREFIX)
    (work / "out/partial").rename(work / "first")
    shutil.rmtree(work / "out")
    for shard in ("0/3", "1/9"):
        Ended(start(work, *PREFIX, shard=shard)).ok()
    merged(work, *PREFIX)
    assert engine(["join", "first", "out/partial", "both"], work).returncode == 0
    assert f"**partial: 6 of {UNITS} units**" in (work / "both/README.md").read_text()
    assert len(json.loads((work / "both/model/manifest.json").read_text())["runs"]) == 2
    joined = engine(["join", "both", "alone0/final", "all"], work)
    assert joined.returncode == 0 and "partial" not in (work / "all/README.md").read_text() + (work / "all/model/manifest.json").read_text()


def pushed(folder):
    """Refused without --partial, in either layout; the whole run that comes later takes its place."""
    for name, more in LAYOUTS:
        (folder / name).mkdir()
        work, _ = started(folder / name, *more)
        merged(work, *more)
        HUB.reset()
        push = lambda path, *options: engine(["push", path, REPO, *options], work, env=environment())
        refused(push("out/partial"), "partial, 3 of 9 units of its run", "--partial")
        done = push("out/partial", "--partial")
        assert done.returncode == 0 and "partial, 3 of 9 units" in done.stderr, done.stderr
        Ended(start(work, *more)).ok()
        done = push("out/final")
        assert done.returncode == 0, done.stderr
        split = split_of(work / "out/final", name)
        assert len(pq.read_table(split / "l00h00q/data.parquet")) == len(pq.read_table(split_of(work / "alone0/final", name) / "l00h00q/data.parquet"))
        assert "partial" not in (split / "manifest.json").read_text()
        from huggingface_hub import hf_hub_download
        path = hf_hub_download(REPO, f"{'' if name == 'branch' else name + '/'}manifest.json", repo_type="dataset", token=environment()["HF_TOKEN"],
                               cache_dir=folder / name / "cache")
        assert open(path, "rb").read() == (split / "manifest.json").read_bytes()


if __name__ == "__main__":
    status = main("partial", [rows_of_the_whole, without_partial, while_others_compute, crashes, what_is_in_the_way, two_parts, pushed])
    HUB.__exit__()
    sys.exit(status)
