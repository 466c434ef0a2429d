#!/usr/bin/env python3
"""qkengine join A B OUT: what a rerun over both would have written, byte for byte; refusals; damage; kills. (A push that
meets a newer branch is the same join: hub_push.py.)"""
import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pyarrow.parquet as pq
from common import ROOT, digest, engine, fail_once, fails, main, make_workspace, refused, seal_manifest, write_jsonl

WORDS = "the river turns twice before it finds the sea and nobody on the bridge looks down".split()


def row(i, of=None, id=None):
    return {"id": id if id is not None else f"row-{i}", "text": " ".join(WORDS[(i * k + k) % len(WORDS)] for k in range(20 + i % 40)) + (of or "")}


def rows(first, last):
    return [row(i) for i in range(first, last)]


def work_in(folder):
    folder.mkdir(parents=True)
    make_workspace(folder)
    for name in ("model2", "model3"):
        shutil.copytree(folder / "model", folder / name)
    return folder


def run(work, data, *settings, layout="prefix"):
    """One run into work/out/final, which may have rows; that folder."""
    write_jsonl(work / "rows.jsonl", data)
    args = ["run", "config.yaml", "--quiet"]
    for s in [f"output.layout={layout}", "dataset.path=rows.jsonl", *settings]:
        args += ["--set", s]
    done = engine(args, work)
    assert done.returncode == 0, done.stderr
    return work / "out/final"


def both(folder, a, b):
    """final/ of the runs a and of the runs b, and of all of them in one folder. A run is (rows, settings...)."""
    work, apart = work_in(folder / "one"), []
    for name, runs in (("a", a), ("b", b)):
        for each in runs:
            run(work, *each)
        shutil.move(work / "out/final", folder / name)
        apart.append(folder / name)
    for each in a + b:
        run(work, *each)
    return *apart, work / "out/final"


def join(a, b, out, *arguments, **more):
    return engine(["join", a, b, out, "--quiet", *arguments], out.parent, timeout=60, **more)


def joined(a, b, out):
    before = digest(a), digest(b)
    done = join(a, b, out, "--json")
    assert done.returncode == 0 and not done.stderr, (done.returncode, done.stderr)
    assert (digest(a), digest(b)) == before
    assert not out.with_name(out.name + ".joining").exists()
    said, tables = json.loads(done.stdout), list(out.rglob("data.parquet"))
    assert said["files"] == len(tables) and said["rows"] == sum(pq.read_metadata(t).num_rows for t in tables), said
    return digest(out)


def rejected(a, b, out, *words, left=()):
    """Exit status 1 that says the words; there is no OUT, and nothing beside it."""
    refused(join(a, b, out), *words)
    names = {p.name for p in out.parent.iterdir()}
    assert out.name not in names - set(left) and out.name + ".joining" not in names, names


# ---- what comes out ----

def two_parts_of_a_dataset(folder):
    a, b, rerun = both(folder, [(rows(0, 24),)], [(rows(24, 60),)])
    assert joined(a, b, folder / "out") == digest(rerun)
    back = joined(b, a, folder / "back")
    assert set(back) == set(digest(rerun)) and back != digest(rerun)


def rows_that_both_have(folder):
    a, b, rerun = both(folder, [(rows(0, 30), "capture.sampler.base_rate=2.0")], [(rows(20, 50), "capture.sampler.base_rate=4.0")])
    assert joined(a, b, folder / "out") == digest(rerun)
    n = {f: sum(pq.read_metadata(t).num_rows for t in f.rglob("data.parquet")) for f in (a, b, folder / "out")}
    assert max(n[a], n[b]) < n[folder / "out"] < n[a] + n[b], n
    return f"{n[a]} and {n[b]} rows are {n[folder / 'out']}"


def other_heads_and_models(folder):
    other = (rows(0, 6), "model.name=model2")
    a, b, rerun = both(folder, [(rows(0, 12), "capture.layers=[0]"), other], [(rows(8, 20), "capture.heads=[0]"), (rows(3, 9), "model.name=model3")])
    assert joined(a, b, folder / "out") == digest(rerun)
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["README.md", "model", "model2", "model3"]


def strings_and_plain_vectors(folder):
    """A column that one of the two has stays; the encoding is that of what came last."""
    a, b, rerun = both(folder, [(rows(0, 9), "capture.capture_token_strings=false")], [(rows(5, 14), "capture.capture_token_strings=true", "output.vector_encoding=plain")])
    assert joined(a, b, folder / "out") == digest(rerun)
    a, b, rerun = both(folder / "back", [(rows(0, 9), "capture.capture_token_strings=true")], [(rows(5, 14), "capture.capture_token_strings=false")])
    assert joined(a, b, folder / "back/out") == digest(rerun)


def ids_that_share_32_bits(folder):
    data = [row(i, id=i % 5 + (i // 5 << 32)) for i in range(40)]
    a, b, rerun = both(folder, [(data[:24],)], [(data[16:],)])
    assert joined(a, b, folder / "out") == digest(rerun)
    metadata = pq.read_metadata(next((folder / "out").rglob("data.parquet"))).metadata
    assert b"qkengine.shared_ids" in metadata
    # A file that only one of them has is written anew with the ids that tell its rows apart.
    apart = [(data[:5], "capture.layers=[0]")], [(data[5:10], "capture.layers=[1]", "capture.heads=[0]")]
    a, b, rerun = both(folder / "other", *apart)
    assert joined(a, b, folder / "other/out") == digest(rerun)
    for table in rerun.rglob("data.parquet"):
        assert b"qkengine.shared_ids" in pq.read_metadata(table).metadata, table
    # So the next run knows whose rows are there, and none of its own is taken for one of them.
    again = (data[5:10], "capture.layers=[0]")
    a, b, rerun = both(folder / "again", apart[0] + apart[1], [again])
    assert joined(a, b, folder / "again/out") == digest(rerun)
    whole = run(work_in(folder / "whole"), data[:10], "capture.layers=[0]")
    for table in whole.rglob("data.parquet"):
        assert pq.read_metadata(table).num_rows == pq.read_metadata(rerun / table.relative_to(whole)).num_rows, table
    # A column of the run comes into no file that it has nothing for.
    strings = (data[5:10], "capture.layers=[1]", "capture.capture_token_strings=true")
    _, _, rerun = both(folder / "strings", [(*apart[0][0], "capture.capture_token_strings=false")], [strings])
    for table in rerun.rglob("data.parquet"):
        assert ("token_str" in pq.read_schema(table).names) == ("l01" in table.parent.name), table


def rows_of_another_program(folder):
    """A run that adds its rows to files without a manifest: who has that run lacks those rows nevertheless."""
    work = work_in(folder / "one")
    shutil.move(run(work, rows(5, 9)), folder / "a")
    final = run(work, rows(0, 7))
    (final / "model/manifest.json").unlink()
    (final / "model/examples.parquet").unlink()
    b = run(work, rows(5, 9))
    joined(folder / "a", b, folder / "ab")
    joined(b, folder / "a", folder / "ba")
    for table in b.rglob("data.parquet"):
        kept = [{tuple(r.values()) for r in pq.read_table(f / table.relative_to(b), columns=["bucket", "example_id", "position"]).to_pylist()}
                for f in (folder / "ab", folder / "ba", b, folder / "a")]
        assert kept[0] == kept[1] == kept[2] > kept[3], table


def laws(folder):
    """join(A, A) = A; join(A, part of A) = A; (A B) C = A (B C), byte for byte."""
    work = work_in(folder / "one")
    finals = []
    for i, (data, *settings) in enumerate([(rows(0, 12),), (rows(8, 20), "capture.sampler.base_rate=3.0"), (rows(2, 26), "capture.layers=[1]")]):
        shutil.move(run(work, data, *settings), folder / f"f{i}")
        finals.append(folder / f"f{i}")
    a, b, c = finals
    assert joined(a, a, folder / "aa") == digest(a)
    ab = joined(a, b, folder / "ab")
    joined(b, c, folder / "bc")
    for part in (a, b):
        assert joined(folder / "ab", part, folder / f"ab-{part.name}") == ab
    assert joined(folder / "ab", c, folder / "ab-c") == joined(a, folder / "bc", folder / "a-bc")
    # A run that goes on in what was joined finds its rows there.
    (folder / "two").mkdir()
    two = work_in(folder / "two/work")
    (two / "out").mkdir()
    joined(a, b, two / "out/final")
    assert digest(run(two, rows(0, 12))) == ab, "the run was there"
    empty = folder / "empty"
    empty.mkdir()
    assert joined(a, b, empty) == ab


def branch_layout(folder):
    work = work_in(folder / "one")
    shutil.move(run(work, rows(0, 6), layout="branch"), folder / "a")
    shutil.copytree(folder / "a", folder / "b")
    assert joined(folder / "a", folder / "b", folder / "out") == digest(folder / "a")
    shutil.move(run(work, rows(0, 6), "capture.sampler.base_rate=3.0", layout="branch"), folder / "c")
    rejected(folder / "a", folder / "c", folder / "no", "holds a run with other settings", "config.capture.sampler.base_rate")
    run(work, rows(0, 6))
    rejected(folder / "a", work / "out/final", folder / "no", "one run at its root", "one folder per model")
    rejected(work / "out/final", folder / "a", folder / "no", "one run at its root", "one folder per model")
    shutil.copytree(work / "out/final/model", folder / "b/model")
    rejected(folder / "a", folder / "b", folder / "no", "a folder per model as well (model)")


# ---- what is refused ----

def refusals(folder):
    work = work_in(folder / "one")
    shutil.move(run(work, rows(0, 6)), folder / "a")
    a, out = folder / "a", folder / "out"
    shutil.move(run(work, rows(4, 9)), folder / "six")
    shutil.move(run(work, rows(4, 9), "model.dtype=bfloat16"), folder / "bf16")
    rejected(a, folder / "bf16", out, "model holds rows of another meaning there than in", "config.model.dtype", "folders of their own")
    shutil.move(run(work, [row(3, of=" again")]), folder / "text")
    rejected(a, folder / "text", out, "stands for two texts", "row-3", str(a), str(folder / "text"), "folders of their own")
    rejected(a, folder / "none", out, "none: no such folder")
    rejected(folder / "none", a, out, "none: no such folder")
    (folder / "empty").mkdir()
    rejected(a, folder / "empty", out, "empty: holds no dataset", "final/ folder")
    before = digest(a)
    (a / "model/sub").mkdir()
    (folder / "other").symlink_to("a/model")
    for inside in (a / "new", a / "model/sub/far/new", folder / "other/new", folder / "other/sub/../new"):
        refused(engine(["join", a, a, inside], folder), "would lie in", "new folder")
        refused(engine(["join", folder / "none", a, inside], folder), "would lie in", "new folder")
        assert not (a / "model/sub/far").exists() and not list(a.rglob("new*"))
    (a / "model/sub").rmdir()
    (folder / "other").unlink()
    for name in ("", ".", "..", "/", "a/..", "new/."):
        refused(engine(["join", a, a, name], folder), f"'{name}': is no name of a folder")
    shutil.copytree(a, folder / "new.joining/merged/a")
    for kept in (folder / "new.joining/merged", folder / "new.joining/merged/a"):
        refused(join(a, kept, folder / "new"), "would be made in", "new.joining")
        assert digest(folder / "new.joining/merged/a") == before == digest(a)
    shutil.rmtree(folder / "new.joining")
    for head_dim in (0, -1, 2**31, 2**40, 2**40 + 16, "16"):
        for name in ("left", "right"):
            shutil.copytree(a if name == "left" else folder / "six", folder / name)
            path = folder / name / "model/manifest.json"
            path.write_text(seal_manifest({**json.loads(path.read_text()), "head_dim": head_dim}))
        rejected(folder / "left", folder / "right", out, "right/model/manifest.json: head_dim is no length of a vector")
        rejected(folder / "left", folder / "six", out, "left/model/manifest.json: head_dim is no length of a vector")
        shutil.rmtree(folder / "left")
        shutil.rmtree(folder / "right")
    shutil.copytree(a, folder / "bare")
    (folder / "bare/model/manifest.json").unlink()
    rejected(a, folder / "bare", out, "bare/model: holds data files and no manifest.json")
    for name, make in {"full": lambda p: shutil.copytree(a, p), "file": lambda p: p.write_text("mine"), "link": lambda p: p.symlink_to("a"),
                       "nowhere": lambda p: p.symlink_to("gone")}.items():
        make(folder / name)
        before = digest(folder / name) if name != "file" else "mine"
        rejected(a, a, folder / name, f"{name}: is there already", left=[name])
        assert (digest(folder / name) if name != "file" else (folder / name).read_text()) == before
    for args in ([], [a], [a, a], [a, a, out, out]):
        refused(engine(["join", *args], folder), "usage: qkengine join A B OUT", status=2)


def a_run_at_work(folder):
    final = run(work_in(folder / "one"), rows(0, 4))
    with open(final.parent / "staging/lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        rejected(final, final, folder / "out", "another run is working here")
    assert joined(final, final, folder / "out") == digest(final)


def damage(folder):
    final = run(work_in(folder / "one"), rows(0, 6))
    good, bad = folder / "good", folder / "bad"
    shutil.copytree(final, good)
    random.seed(3)
    checked = 0
    for name in [n for n in digest(good) if n != "README.md"]:
        shutil.copytree(good, bad)
        data = bytearray((bad / name).read_bytes())
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        (bad / name).write_bytes(data)
        rejected(good, bad, folder / "out", name)
        rejected(bad, good, folder / "out", name)
        checked += 1
        if name != "model/manifest.json":
            (bad / name).unlink()
            rejected(good, bad, folder / "out", name)
        shutil.rmtree(bad)
    return f"{checked} files"


def links(folder):
    """Rows of a file elsewhere on the disk come in by no name."""
    final = run(work_in(folder / "one"), rows(0, 4))
    good = folder / "good"
    shutil.copytree(final, good)
    for name in ("model", "model/manifest.json", "model/examples.parquet", "model/l00h00q", "model/l00h00q/data.parquet"):
        bad = folder / "bad"
        shutil.copytree(good, bad)
        shutil.move(bad / name, folder / "elsewhere")
        (bad / name).symlink_to(folder / "elsewhere")
        rejected(good, bad, folder / "out", "bad/" + name, "link")
        rejected(bad, good, folder / "out", "bad/" + name, "link")
        shutil.rmtree(bad)
        shutil.rmtree(folder / "elsewhere") if (folder / "elsewhere").is_dir() else (folder / "elsewhere").unlink()
    # The folder of the work is no link either, and what else lies there stays.
    (folder / "there").mkdir()
    (folder / "out.joining").symlink_to("there")
    refused(join(good, good, folder / "out"), "out.joining", "link")
    assert not list((folder / "there").iterdir())
    (folder / "out.joining").unlink()
    (folder / "out.joining/merged/model").mkdir(parents=True)
    (folder / "out.joining/merged/model/mine").write_text("mine")   # not into OUT with the rest
    refused(join(good, good, folder / "out"), "out.joining/merged: holds files that no join has left there")
    assert digest(folder / "out.joining/merged").keys() == {"model/mine"} and not (folder / "out").exists()
    (folder / "out.joining/merged/model/mine").unlink()
    (folder / "out.joining/mine").write_text("mine")
    assert join(good, good, folder / "out").returncode == 0
    assert digest(folder / "out") == digest(good) and os.listdir(folder / "out.joining") == ["mine"]


# ---- interruptions ----

def pieces(folder):
    work = work_in(folder / "one")
    shutil.move(run(work, rows(0, 60), "capture.sampler.base_rate=9.0"), folder / "a")
    shutil.move(run(work, rows(40, 99), "capture.sampler.base_rate=9.0"), folder / "b")
    start = time.monotonic()
    return folder / "a", folder / "b", joined(folder / "a", folder / "b", folder / "want"), time.monotonic() - start


def kills(folder):
    a, b, want, duration = pieces(folder)
    random.seed(7)
    killed = whole = begun = 0
    out, work = folder / "out", folder / "out.joining"
    while killed < 30:
        process = subprocess.Popen([ROOT / "qkengine", "join", a, b, out, "--quiet"], stderr=subprocess.DEVNULL)
        time.sleep(random.random() * duration * 1.2)
        process.kill()
        if process.wait() == -signal.SIGKILL:
            killed += 1
        if out.exists():
            whole += 1
            assert digest(out) == want
            shutil.rmtree(out)
        elif work.exists():
            begun += 1
            if begun % 3 == 0:   # else the next one finds it
                assert joined(a, b, out) == want
                shutil.rmtree(out)
    assert begun >= 5, begun
    assert joined(a, b, out) == want
    return f"{killed} kills, {begun} left work behind, {whole} came too late"


def signals(folder):
    """The end that a signal asks for is tidy: status 3, nothing is left."""
    a, b, want, duration = pieces(folder)
    stopped = 0
    for i in range(8):
        out = folder / f"out{i}"
        process = subprocess.Popen([ROOT / "qkengine", "join", a, b, out, "--quiet"], stderr=subprocess.DEVNULL)
        time.sleep(duration * (0.3 + i / 12))
        process.terminate()
        status = process.wait()
        assert status in (0, 3, -signal.SIGTERM), status
        assert out.exists() == (status == 0)
        if status == 3:
            stopped += 1
            assert not (folder / f"out{i}.joining").exists()
        elif status == 0:
            assert digest(out) == want
    return f"{stopped} of 8 stopped on the way"


def calls_that_fail(folder):
    if not fail_once():
        return "SKIPPED: this system lets no program watch another one"
    a, b, want, _ = pieces(folder)
    failed = 0
    for call, error, steps in (("rename", errno.EIO, range(1, 36, 2)), ("fsync", errno.EIO, range(1, 99, 9)), ("openat", errno.EMFILE, range(1, 300, 31)),
                               ("write", errno.ENOSPC, range(1, 60, 9)), ("stat", errno.EACCES, range(1, 300, 31))):
        for at in steps:
            out = folder / "out"
            done = join(a, b, out, env=fails(call, at, error))
            assert done.returncode in (0, 1, 3), (call, at, done.stderr)
            if done.returncode:
                failed += 1
                assert "error" in done.stderr, (call, at, done.stderr)
                if out.exists():   # the last step is done, and flushing the folder failed
                    assert digest(out) == want, (call, at)
            else:
                assert digest(out) == want, (call, at)
            shutil.rmtree(out, ignore_errors=True)
            if (folder / "out.joining").exists():
                assert join(a, b, out).returncode == 0 and digest(out) == want, (call, at)
                assert not (folder / "out.joining").exists()
                shutil.rmtree(out)
    return f"{failed} calls"


def two_at_once(folder):
    a, b, want, _ = pieces(folder)
    for _ in range(3):
        out = folder / "out"
        both = [subprocess.Popen([ROOT / "qkengine", "join", a, b, out, "--quiet"], stderr=subprocess.PIPE, text=True) for _ in range(3)]
        ended = [(p.communicate()[1], p.returncode) for p in both]
        assert sorted(status for _, status in ended) == [0, 1, 1], ended
        assert all(not status or "is there already" in said for said, status in ended), ended
        assert digest(out) == want and not (folder / "out.joining").exists()
        shutil.rmtree(out)


if __name__ == "__main__":
    raise SystemExit(main("join", [two_parts_of_a_dataset, rows_that_both_have, rows_of_another_program, other_heads_and_models, strings_and_plain_vectors,
                                   ids_that_share_32_bits, laws, branch_layout, refusals, a_run_at_work, damage, links, kills, signals,
                                   calls_that_fail, two_at_once]))
