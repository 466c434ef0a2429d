#!/usr/bin/env python3
"""`qkengine status`: what it says of runs at work, killed, finished and damaged; it writes and locks nothing.

usage: status.py [TEST...]
"""
import contextlib
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from common import HANGS, ROOT, count_calls, digest, engine, fail_once, main, refused, seal, wait_until
from many_processes import SLOW, UNIT, UNITS, Ended, alone, check_final, fresh, go_on, start, stop, stopped_at_work, units


def status(work, *more, root="out"):
    done = engine(["status", root, "--json", *more], work, timeout=HANGS)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


def said(work, root="out"):
    done = engine(["status", root], work, timeout=HANGS)
    assert done.returncode == 0 and done.stdout.isprintable() or "\n" in done.stdout, done
    return done.stdout


def holder_of(pid):
    """The line of a claim, as a process of that number would have written it."""
    boot = open("/proc/sys/kernel/random/boot_id").read().strip()
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return {"host": socket.gethostname(), "pid": pid, "since": time.time() - 100,
            "machine": f"{boot} {os.readlink('/proc/self/ns/pid')}", "started": int(fields[19])}


def claim(work, unit, **holder):
    """A claim that says so; nobody holds its lock."""
    token = f"{unit:016x}"
    line = json.dumps({"claim": token, **holder_of(os.getpid()), **holder})
    (work / f"out/staging/unit-{unit:06d}.claim").write_text(f"{token}{token}{line}\n")


def half(work, *more):
    """A run with every other unit done, and nobody at work; returns the numbers of those that are."""
    got = Ended(start(work, *more, shard="0/2")).ok()
    assert got["units_left"] == UNITS // 2, got
    return list(range(0, UNITS, 2))


@contextlib.contextmanager
def environment(**more):
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# ---- at work ----

def two_at_work(folder):
    work = fresh(folder)
    reference = alone(work, *SLOW)
    with environment(SLURM_JOB_ID="71", SLURM_STEP_ID="0", SLURM_PROCID="1", SLURM_NTASKS="4", SLURM_LOCALID="1"):
        first = stopped_at_work(work, *SLOW, finished=1)
    before = {w["unit"] for w in status(work)["workers"]}
    second = start(work, *SLOW)
    wait_until(lambda: {w["unit"] for w in status(work)["workers"]} - before, second)
    stop(second)
    got = status(work)
    assert second.poll() is None, "it was through before it was stopped"
    assert got["units_done"] == len(units(work)) and got["units_in_work"] == len(got["workers"]) >= 2, got
    assert {w["pid"] for w in got["workers"]} == {first.pid, second.pid}, got
    for w in got["workers"]:
        mine = w["pid"] == first.pid
        assert w["host"] == socket.gethostname() and w["state"] == "stopped" and time.time() - w["since"] < HANGS, w
        assert (w["job"], w["rank"], w["world"]) == (("71", 1, 4) if mine else (None, None, None)), w
    assert got["state"] == "stopped" and got["seconds_left"] is None and got["model"] == "model", got
    text = said(work)
    assert f"{socket.gethostname()}[{first.pid}]" in text and " 1/4 " in text and text.count("STALLED: the process is stopped") == len(got["workers"]), text
    assert "no process is at work" in text, text
    second.send_signal(signal.SIGCONT)
    wait_until(lambda: any(w["pid"] == second.pid and w["state"] == "working" for w in status(work)["workers"]), second)
    first.kill()
    first.wait()
    gone = [w for w in status(work)["workers"] if w["pid"] == first.pid]
    assert gone and all(w["state"] == "gone" for w in gone), gone
    got = Ended(second).ok()
    assert got["merged"], got
    check_final(work, reference)
    assert status(work)["state"] == "finished"


def killed(folder):
    """Nobody has counted the rows of a packed file."""
    work = fresh(folder)
    (work / "data.jsonl.gz").write_bytes(gzip.compress((work / "data.jsonl").read_bytes()))
    process = stopped_at_work(work, *SLOW, "dataset.path=data.jsonl.gz", finished=1)
    process.kill()
    process.wait()
    got = status(work)
    assert got["state"] == "stopped" and got["units_in_work"] == 0 and got["units_done"] == len(units(work)), got
    assert got["workers"] and all(w["state"] == "gone" and w["pid"] == process.pid for w in got["workers"]), got
    text = said(work)
    assert "STALLED: the process is gone; the next one takes the unit" in text and "no process is at work" in text, text
    assert got["units"] is None and got["units_waiting"] is None and "of a number that is not known yet" in text, (got, text)


def how_many_there_are(folder):
    """Of a dataset whose rows are counted, from the first unit on; of another one when it has been read to its end."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    work = fresh(folder)
    rows = [json.loads(line) for line in (work / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    pq.write_table(pa.Table.from_pylist(rows), work / "data.parquet")
    for more in (["dataset.path=data.parquet"], ["dataset.path=data.jsonl"], [f"dataset.max_samples={len(rows)}"]):
        reference = alone(work, *SLOW, *more)
        process = stopped_at_work(work, *SLOW, *more, finished=1)
        got = status(work)
        assert got["units"] == UNITS and got["units_waiting"] == UNITS - got["units_done"] - 1, got
        assert f" of {UNITS} units done" in said(work), said(work)
        assert go_on(process).ok()["merged"]
        check_final(work, reference)
        shutil.rmtree(work / "out")


def who_it_is(folder):
    """A process of this number that began at another time, another machine of this name, another container: never taken for the holder."""
    work = fresh(folder)
    done = half(work)
    (work / "out/staging/unit-000003.claim").write_text("0123456789abcdef" * 2)       # of an older version
    claim(work, 1)
    claim(work, 5, started=1)
    claim(work, 7, machine="another boot pid:[4026531836]", host="node7", pid=1, job="12_3", rank=3, world=8)
    claim(work, 8)                                                                     # of a unit that is finished
    ended = subprocess.Popen(["true"])
    ended.wait()
    claim(work, 9, host="nobody", pid=ended.pid)
    got = status(work)
    states = {w["unit"]: (w["state"], w["host"], w["rank"]) for w in got["workers"]}
    here = socket.gethostname()
    assert states == {1: ("working", here, None), 3: ("elsewhere", None, None), 5: ("gone", here, None), 7: ("elsewhere", "node7", 3),
                      9: ("gone", "nobody", None)}, states
    assert got["state"] == "working" and got["units_in_work"] == 3 and got["units_waiting"] == UNITS - len(done) - 3, got
    assert "12_3" in said(work) and "3/8" in said(work), said(work)


def rates(folder):
    """Of the newest units by the times of their files, not across a pause."""
    import pyarrow.parquet as pq
    work = fresh(folder)
    done = half(work)
    claim(work, 1)
    for i, unit in enumerate(done):
        os.utime(work / f"out/staging/unit-{unit:06d}.qku", (2e9, 1e9 + 10 * i))
    got = status(work)
    left = UNITS - len(done)
    assert got["rates_of_units"] == len(done) - 1 and abs(got["units_per_second"] - 0.1) < 1e-9 and got["newest"] == 1e9 + 10 * (len(done) - 1), got
    assert abs(got["seconds_left"] - 10 * left) < 1e-6, got
    assert f"ETA {10 * left}s" in said(work) and "6.00 units/min" in said(work), said(work)
    tokens = got["tokens_per_second"]
    os.utime(work / f"out/staging/unit-{done[0]:06d}.qku", (2e9, 1e6))                 # half a year before
    got = status(work)
    assert got["rates_of_units"] == len(done) - 2 and abs(got["units_per_second"] - 0.1) < 1e-9, got
    for unit in done:                                                                  # the same moment: no rate to tell
        os.utime(work / f"out/staging/unit-{unit:06d}.qku", (2e9, 1e9))
    got = status(work)
    assert got["units_per_second"] is None and got["tokens_per_second"] is None and got["seconds_left"] is None, got
    Ended(start(work)).ok()
    lengths = pq.read_table(work / "out/final/examples.parquet")["tokens"].to_pylist()
    of_newest = sum(sum(lengths[unit * UNIT:(unit + 1) * UNIT]) for unit in done[1:])
    assert abs(tokens - of_newest / (10 * (len(done) - 1))) < 1e-9, (tokens, of_newest)
    assert status(work)["splits"][0]["tokens"] == sum(lengths)


def many_units(folder):
    """10,000 units: all are counted, some are read."""
    work = fresh(folder)
    unit = work / f"out/staging/unit-{half(work)[0]:06d}.qku"
    (work / "big/staging").mkdir(parents=True)
    (work / "big/staging/units.json").write_text(seal('{"units": 12000}'))
    for i in range(10000):
        path = work / f"big/staging/unit-{i:06d}.qku"
        os.link(unit, path) if i % 1000 == 0 else path.touch()
        os.utime(path, (1e9, 1e9 + i))
    began = time.monotonic()
    got = status(work, root="big")
    seconds = time.monotonic() - began
    assert got["units_done"] == 10000 and got["units_waiting"] == 2000 and got["units"] == 12000, got
    assert got["units_per_second"] == 1 and got["tokens_per_second"] is None, got
    return f"{seconds:.3f} s"


# ---- the end ----

def finished(folder):
    work = fresh(folder)
    rows = sum(1 for _ in open(work / "data.jsonl"))
    for layout, name in (("branch", "train"), ("prefix", "model")):
        root = f"of-{layout}"
        result = Ended(start(work, f"output.layout={layout}", root=root)).ok()
        got = status(work, root=root)
        assert got["state"] == "finished" and not got["workers"] and got["units_done"] == 0 and not got["problems"], got
        assert [s["name"] for s in got["splits"]] == [name], got
        split = got["splits"][0]
        assert split["rows"] == result["rows"] and split["files"] == result["files"] and split["runs"] == 1 and split["examples"] == rows, (split, result)
        text = said(work, root)
        assert "finished: nothing is left to do" in text and f"final: {name}: " in text and f"of {rows} texts" in text, text
        shutil.rmtree(work / root / "staging")             # pulled from somewhere
        assert status(work, root=root)["state"] == "finished"
    shutil.copytree(work / "model", work / "second")       # another model beside it: at work, and what is there
    half(work)
    assert status(work)["splits"] == []
    Ended(start(work, "output.layout=prefix", "model.name=second", root="of-prefix", shard="1/2")).ok()
    got = status(work, root="of-prefix")
    assert got["state"] == "stopped" and [s["name"] for s in got["splits"]] == ["model"] and got["model"] == "second", got


def unmerged(folder):
    work = fresh(folder)
    for i in range(2):
        Ended(start(work, shard=f"{i}/2", root=f"shard{i}")).ok()
        shutil.copytree(work / f"shard{i}/staging", work / "out/staging", dirs_exist_ok=True)
    got = status(work)
    assert got["state"] == "unmerged" and got["units_done"] == got["units"] == UNITS and got["units_waiting"] == 0, got
    assert "all units are done" in said(work) and "(100 %)" in said(work), said(work)


# ---- watching ----

def watch(work, *more):
    return subprocess.Popen([str(ROOT / "qkengine"), "status", "out", "--watch", "1", *more], cwd=work, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def watched_to_the_end(folder):
    work = fresh(folder)
    half(work)
    watching = [watch(work, "--json"), watch(work)]
    lines = [watching[0].stdout.readline(), watching[0].stdout.readline()]
    assert all(json.loads(line)["units_done"] == 5 for line in lines), lines
    Ended(start(work)).ok()
    rest, err = watching[0].communicate(timeout=HANGS)
    assert watching[0].returncode == 0 and not err, (watching[0].returncode, err)
    assert json.loads(rest.splitlines()[-1])["state"] == "finished", rest
    text, err = watching[1].communicate(timeout=HANGS)
    assert watching[1].returncode == 0 and "5 of 9 units done" in text and "finished: nothing is left to do" in text and not err, (text, err)
    assert "\x1b" not in text, text
    # It is finished already: once, and through.
    done = engine(["status", "out", "--watch", "1"], work, timeout=HANGS)
    assert done.returncode == 0 and done.stdout.count("finished") == 1, done


def watching_is_interrupted(folder):
    work = fresh(folder)
    half(work)
    for how in (signal.SIGINT, signal.SIGTERM):
        watching = watch(work, "--json")
        assert json.loads(watching.stdout.readline())["state"] == "stopped"
        watching.send_signal(how)
        _, err = watching.communicate(timeout=HANGS)
        assert watching.returncode == -how and not err, (watching.returncode, err)
    watching = watch(work, "--json")                       # nobody reads on
    watching.stdout.readline()
    watching.stdout.close()
    assert watching.wait(timeout=HANGS) == -signal.SIGPIPE
    one, line = (engine(["status", "out", option], work) for option in ("--json", "--json=line"))
    assert json.loads(one.stdout)["units_done"] == json.loads(line.stdout)["units_done"] == 5 and line.stdout.count("\n") == 1, (one, line)
    gone = engine(["status", "gone", "--watch", "1", "--json"], work)
    assert gone.returncode == 1 and gone.stdout.count("\n") == 1 and "error" in json.loads(gone.stdout), gone
    for bad in ("0", "x", "-1", "100000"):
        refused(engine(["status", "out", "--watch", bad], work), "--watch", status=2)


# ---- nothing is touched ----

def reads_only(folder):
    work = fresh(folder)
    half(work)
    process = stopped_at_work(work)
    listing = lambda: sorted((str(p), p.lstat().st_ino, p.lstat().st_mtime_ns, p.lstat().st_ctime_ns) for p in (work / "out").rglob("*"))
    before = listing(), digest(work / "out")
    assert status(work)["workers"]
    assert (listing(), digest(work / "out")) == before
    process.kill()
    process.wait()
    before = digest(work / "out")
    os.chmod(work / "out/staging", 0o555)
    assert status(work)["state"] == "stopped"
    os.chmod(work / "out/staging", 0o755)
    assert digest(work / "out") == before
    if not fail_once():
        return "locks are not watched here"
    for call in ("flock", "mkdir", "rename", "unlink", "fsync", "link", "pwrite"):
        assert count_calls(work, call, ["status", "out"]) == 0, call


# ---- folders that are no run's, or damaged ----

def other_folders(folder):
    work = fresh(folder)
    (work / "empty").mkdir()
    for path, words in (("empty", "no run was started here"), ("nothing", "nothing: cannot open the folder: No such file"),
                        ("config.yaml", "config.yaml: is a file, and no folder of a run"), ("model", "no run was started here")):
        refused(engine(["status", path], work), words)
        refused(engine(["status", path, "--json"], work), words)
    Ended(start(work)).ok()
    for inside in ("out/final", "out/staging/", "out/final/l00h00q"):
        refused(engine(["status", inside], work), "no run was started here", "output.data_root")
    (work / "begun/staging").mkdir(parents=True)
    (work / "begun/staging/lock").touch()
    got = status(work, root="begun")
    assert got["state"] == "starting" and got["units_done"] == 0, got
    assert "no unit is finished yet" in said(work, "begun")
    (work / "foreign/final").mkdir(parents=True)
    (work / "foreign/final/notes.txt").write_text("of somebody else")
    refused(engine(["status", "foreign"], work), "none called final with a dataset")


def hostile_claims(folder):
    work = fresh(folder)
    half(work)
    token = "0123456789abcdef"
    line = {"claim": token, **holder_of(os.getpid())}
    texts = [b"", b"\n", token.encode(), os.urandom(32), os.urandom(5000), b"\0" * 100, token.encode() * 2 + b"{", (token * 2).encode() + b"[" * 4000 + b"\n"]
    evil = "w\x1b]0;title\x07\u202e\nqkengine: all is well"
    for change in ({"claim": "f" * 16}, {"claim": 5}, {"pid": "1"}, {"pid": -1}, {"pid": 2**40}, {"pid": 2**70}, {"host": evil}, {"host": 7}, {"host": "h" * 2000}, {"job": evil},
                   {"rank": -5, "world": 2**62}, {"since": "x"}, {"since": 1e300}, {"since": -1}, {"machine": None}, {"started": 1.5}, {"host": "a\0b"}):
        texts.append((token * 2 + json.dumps({**line, **change}) + "\n").encode())
    path = work / "out/staging/unit-000001.claim"
    for text in texts:
        path.write_bytes(text)
        got = status(work)
        assert got["units_done"] == 5 and [w["unit"] for w in got["workers"]] == [1], (text, got)
        out = said(work)
        assert all(c.isprintable() for line in out.splitlines() for c in line) and "qkengine: all is well" not in out.splitlines(), out
    path.unlink()
    for plant in (lambda: path.mkdir(), lambda: os.mkfifo(path), lambda: path.symlink_to("/etc/passwd"), lambda: path.symlink_to("nowhere")):
        plant()
        got = status_with_problems(work)
        assert not got["workers"] and any("unit-000001.claim" in p for p in got["problems"]), got
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def status_with_problems(work):
    done = engine(["status", "out", "--json"], work, timeout=HANGS)
    assert done.returncode == 0, (done.returncode, done.stderr)
    got = json.loads(done.stdout)
    assert got["problems"], got
    text = engine(["status", "out"], work, timeout=HANGS)
    assert text.returncode == 0 and all(f"warning: {p}" in text.stderr for p in got["problems"]), (text.stderr, got)
    return got


def hostile_staging(folder):
    work = fresh(folder)
    half(work)
    staging = work / "out/staging"
    keep = {n: (staging / n).read_bytes() for n in ("units.json", "identity.json")}
    for name, text in (("units.json", "{}"), ("units.json", seal('{"units": -4}')), ("units.json", seal("[]")), ("identity.json", "{}"), ("identity.json", "")):
        (staging / name).write_text(text)
        got = status_with_problems(work)
        assert any(name in p for p in got["problems"]) and got["units_done"] == 5, (name, got)
        assert (got["units"] is None) == (name == "units.json") and (got["model"] is None) == (name == "identity.json"), got
        (staging / name).write_bytes(keep[name])
    (staging / "units.json").write_text(seal('{"units": 2}'))      # fewer than there are
    got = status(work)
    assert got["state"] == "unmerged" and got["units_waiting"] == 0, got
    (staging / "units.json").write_bytes(keep["units.json"])
    unit = staging / "unit-000002.qku"
    whole = unit.read_bytes()
    unit.write_bytes(whole[:100])
    got = status(work)                                     # counted by its name; of its tokens nothing is known
    assert got["units_done"] == 5 and got["tokens_per_second"] is None, got
    for plant in (lambda: os.mkfifo(unit), lambda: unit.symlink_to("/dev/zero"), lambda: unit.mkdir()):
        unit.unlink()
        plant()
        got = status_with_problems(work)
        assert got["units_done"] == 4 and any(unit.name in p for p in got["problems"]), got
    unit.rmdir()
    for name in ("unit-x.qku", "unit-0000001.claim.bak", "unit-00001.claim", "unit-9999999999999999999.qku", "-rf", "unit-000001.claims"):
        (staging / name).write_bytes(b"x")
    assert status(work)["units_done"] == 4 and not status(work)["workers"]
    for name in ("staging", "final"):
        moved = work / f"moved-{name}"
        (work / "out" / name).rename(moved) if (work / "out" / name).exists() else moved.mkdir()
        (work / "out" / name).symlink_to(moved)
        refused(engine(["status", "out"], work, timeout=HANGS), f"out/{name}: is a link")
        (work / "out" / name).unlink()
        if name == "staging":
            moved.rename(work / "out/staging")
    final = work / "out/final"
    final.mkdir()
    for text in ("", "{}", '{"files": {"l00h00q": {"rows": 9223372036854775807, "bytes": 1}, "l00h01q": {"rows": 9223372036854775807, "bytes": 1}}, "runs": []}'):
        (final / "manifest.json").write_text(text)
        assert any("manifest.json" in p for p in status_with_problems(work)["problems"])
    (final / "manifest.json").unlink()
    os.mkfifo(final / "manifest.json")
    assert any("manifest.json" in p for p in status_with_problems(work)["problems"])


if __name__ == "__main__":
    sys.exit(main("status", [
        two_at_work, killed, how_many_there_are, who_it_is, rates, many_units, finished, unmerged, watched_to_the_end, watching_is_interrupted, reads_only, other_folders,
        hostile_claims, hostile_staging]))
