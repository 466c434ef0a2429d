#!/usr/bin/env python3
"""Any number of processes share a run: the same bytes as of one, whoever dies, stops, comes late or is in another folder.

usage: many_processes.py [SEED] [TEST...]
"""
import contextlib
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib

from common import HANGS, ROOT, digest, main, make_workspace, number_asked, wait_until, write_jsonl

SEED = number_asked(1)
UNITS, UNIT = 9, 16          # without tokenizer.max_length a unit is 16 examples
SMALL = ["tokenizer.max_length=null", "inference.threads=1", "inference.batch_size=4"]
SLOW = ["inference.backend=ref"]   # 0.1 to 0.2 s for each unit
PREFIX = ["output.layout=prefix"]


def fresh(folder, name="work", long=UNITS):
    """A workspace whose dataset has `long` units, the last one short."""
    (folder / name).mkdir()
    make_workspace(folder / name)
    rng = random.Random(5)
    words = (ROOT / "tests/demo/texts.jsonl").read_text(encoding="utf-8").split()
    rows = [{"id": f"doc-{i}", "text": " ".join(rng.choices(words, k=rng.randint(0, 24)))} for i in range(long * UNIT - 5)]
    write_jsonl(folder / name / "data.jsonl", rows)
    return folder / name


def start(work, *more, shard=None, root="out", env=None):
    args = [str(ROOT / "qkengine"), "run", "config.yaml", "--json"]
    for s in ["dataset.path=data.jsonl", f"output.data_root={root}", "output.layout=branch", *SMALL, *more]:
        args += ["--set", s]
    return subprocess.Popen([*args, *(["--shard", shard] if shard else [])], cwd=work, text=True, env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Ended:
    def __init__(self, process):
        try:
            out, self.err = process.communicate(timeout=HANGS)
            self.err = getattr(process, "heard", "") + self.err
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"it does not end: {process.communicate()}") from None
        self.status = process.returncode
        self.json = json.loads(out) if out.strip() else None

    def ok(self):
        assert self.status == 0, (self.status, self.err)
        return self.json


def alone(work, *more):
    """The bytes of one process, in a folder of its own."""
    root = f"alone{len(list(work.glob('alone*')))}"
    got = Ended(start(work, *more, root=root)).ok()
    assert got["merged"] and got["units_done"] == got["units"] and got["units_left"] == 0, got
    return digest(work / root / "final")


def check_final(work, reference, root="out"):
    got = digest(work / root / "final")
    changed = sorted(k for k in reference.keys() | got.keys() if reference.get(k) != got.get(k))
    assert not changed, f"{len(changed)} files differ, first {changed[:3]}"
    left = sorted(p.name for p in (work / root / "staging").iterdir())
    assert left == ["builds", "lock"], left


def units(work):
    return sorted((work / "out/staging").glob("unit-*.qku"))


def wait_for_words(process, words):
    """Until it says so; Ended() has all that it said."""
    heard = b""
    while words.encode() not in heard:
        byte = os.read(process.stderr.fileno(), 1)   # what a buffer holds, communicate() does not see
        assert byte, (process.wait(), heard)
        heard += byte
    process.heard = heard.decode()


def stopped_at_work(work, *more, finished=0):
    """A process that stands still with a claim and half a unit, and with at least so many finished ones."""
    process = start(work, *more)
    wait_until(lambda: len(units(work)) >= finished and list((work / "out/staging").glob("unit-*.tmp")), process)
    stop(process)
    return process


def stop(process):
    """Returns when it stands still, or has ended."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[0] in "TZ")


def go_on(process):
    process.send_signal(signal.SIGCONT)
    return Ended(process)


# ---- the same bytes ----

def processes_at_once(folder):
    """Started in the same instant in an empty data_root."""
    shares = []
    for layout in ([], PREFIX):
        work = fresh(folder, f"work{len(layout)}")
        reference = alone(work, *layout)
        for n in (2, 3, 3, 3):
            running = [start(work, *layout) for _ in range(n)]
            results = [Ended(p).ok() for p in running]
            check_final(work, reference)
            # Whoever came when all was done computed nothing; all others' shares add up.
            assert sum(r["merged"] for r in results) == 1, results
            assert sum(r["units_done"] for r in results) == UNITS, results
            assert sum(r["examples"] for r in results) == UNITS * UNIT - 5, results
            shares.append("+".join(str(r["units_done"]) for r in results))
            shutil.rmtree(work / "out")
    assert any("0" not in s.split("+") for s in shares), f"no two shared a run: {shares}"
    return f"units of each process: {', '.join(shares)}"


def slow_processes_share(folder):
    work = fresh(folder)
    reference = alone(work, *SLOW)
    ends = [Ended(p) for p in [start(work, *SLOW) for _ in range(3)]]
    results = [e.ok() for e in ends]
    check_final(work, reference)
    for e in ends:                        # the texts of others are named, and not as its own
        assert re.search(rf" \d/{UNITS} units  \d+/{UNITS * UNIT - 5} texts  \d+ %  .*process", e.err), e.err
        assert f"qkengine: {e.json['examples']} texts, " in e.err, e.err
    assert any(f" {UNITS}/{UNITS} units  {UNITS * UNIT - 5}/{UNITS * UNIT - 5} texts  100 %" in e.err for e in ends), [e.err for e in ends]
    assert all(r["units_done"] for r in results) and sum(r["units_done"] for r in results) == UNITS, results


def prefix_layout_twice(folder):
    """Two models' runs, then the first again: rows stay, nothing is added."""
    work = fresh(folder)
    shutil.copytree(work / "model", work / "second")
    one, two = PREFIX, [*PREFIX, "model.name=second", "capture.sampler.base_rate=3"]
    for settings in (one, two):
        Ended(start(work, *settings, root="reference")).ok()
    reference = digest(work / "reference/final")
    for settings, add in ((one, True), (two, True), (one, False), (two, False)):
        results = [Ended(p).ok() for p in [start(work, *settings) for _ in range(3)]]
        assert sum(r["merged"] for r in results) == add, results
        assert add or all(r["already_complete"] for r in results), results
    check_final(work, reference)
    # What another run has in staging is not touched by one that is complete already.
    shutil.copytree(work / "model", work / "third")   # a folder of its own: SLOW computes other bits
    third = stopped_at_work(work, *PREFIX, "model.name=third", "capture.sampler.base_rate=2", *SLOW, finished=1)
    before = {p.name for p in (work / "out/staging").iterdir()}
    assert Ended(start(work, *one)).ok()["already_complete"]
    third.kill()
    third.wait()
    assert Ended(start(work, *one)).ok()["already_complete"]
    assert {p.name for p in (work / "out/staging").iterdir()} == before


def shards_in_folders_of_their_own(folder):
    work = fresh(folder)
    reference = alone(work)
    done = [Ended(start(work, shard=f"{i}/3", root=f"shard{i}")) for i in range(3)]
    for i, d in enumerate(done):
        got = d.ok()
        assert not got["merged"] and got["units_done"] == 3 and got["units_left"] == 6, got
        assert f"shard {i}/3 is done: 3 of {UNITS} units are here" in d.err, d.err
        assert not (work / f"shard{i}/final").exists()
    for n in (3, 2):                       # all, and one machine's were lost
        for i in range(n):
            shutil.copytree(work / f"shard{i}/staging", work / "out/staging", dirs_exist_ok=True)
        got = Ended(start(work)).ok()
        assert got["merged"] and got["units_done"] == UNITS - 3 * n, got
        check_final(work, reference)
        shutil.rmtree(work / "out")
    # Nothing but the units was copied.
    (work / "out/staging").mkdir(parents=True)
    for i in range(3):
        for unit in (work / f"shard{i}/staging").glob("*.qku"):
            shutil.copy(unit, work / "out/staging")
    assert Ended(start(work)).ok()["units_done"] == 0
    check_final(work, reference)


def shards_in_one_folder(folder):
    work = fresh(folder)
    reference = alone(work)
    results = [Ended(p).ok() for p in [start(work, shard=f"{i}/4") for i in range(4)]]
    check_final(work, reference)
    assert sum(r["merged"] for r in results) == 1, results
    assert sorted(r["units_done"] for r in results) == [2, 2, 2, 3], results


def shards_of_a_launcher(folder):
    """--shard auto: rank and world of what started the process; who starts it without one is told."""
    work = fresh(folder)
    reference = alone(work)
    for rank in range(3):
        variables = ({"SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank), "SLURM_NTASKS": "3"}, {"RANK": str(rank), "WORLD_SIZE": "3"},
                     {"JOB_COMPLETION_INDEX": str(rank), "JOB_COMPLETIONS": "3"})[rank]
        done = Ended(start(work, shard="auto", env={**os.environ, **variables}))
        name = ("Slurm (SLURM_PROCID)", "torchrun (RANK)", "a Kubernetes Indexed Job (JOB_COMPLETION_INDEX)")[rank]
        assert done.ok()["units_done"] == 3 and done.err.count(f"rank {rank} of 3, from {name}; ") == 1, done.err
        assert "share a data_root need no rank" in done.err, done.err
    check_final(work, reference)
    for variables, words in (({}, "no launcher has set a rank"), ({"RANK": "1"}, "RANK is set, and WORLD_SIZE is not"),
                             ({"RANK": "1", "WORLD_SIZE": "2", "PMI_RANK": "0", "PMI_SIZE": "2"}, "MPI (PMI_RANK) says rank 0 of 2, torchrun (RANK) rank 1 of 2")):
        done = Ended(start(work, shard="auto", root="none", env={**os.environ, **variables}))
        assert done.status == 2 and words in done.err and "--shard I/N" in done.err, (done.status, done.err)
    assert not (work / "none").exists()


def units_of_others_are_passed_over(folder):
    """Parquet: small row groups, several files, ids that change type; a row that cannot be read harms its own shard only."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    work = fresh(folder)
    rows = [json.loads(line) for line in (work / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    for variant in ("one", "three", "odd ids"):
        shutil.rmtree(work / "data", ignore_errors=True)
        (work / "data").mkdir()
        cuts = [0, len(rows)] if variant == "one" else [0, 37, 90, len(rows)]
        for i, (a, b) in enumerate(zip(cuts, cuts[1:])):
            ids = [r["id"] for r in rows[a:b]]
            if variant == "odd ids":
                ids = [None] * 20 + [str(n) for n in range(a + 20, b)] if i == 0 else list(range(a, b))
            table = pa.table({"id": ids, "text": [r["text"] for r in rows[a:b]]})
            pq.write_table(table, work / f"data/part-{i}.parquet", row_group_size=7 if i == 1 else 1000)
        where = ["dataset.path=data", "dataset.split=train[3:]"]
        reference = alone(work, *where)
        for i in range(4):
            done = Ended(start(work, *where, shard=f"{i}/4", root=f"shard{i}")).ok()
            assert done["units_done"] == (3 if i == 0 else 2), done
            shutil.copytree(work / f"shard{i}/staging", work / "out/staging", dirs_exist_ok=True)
            shutil.rmtree(work / f"shard{i}")
        assert Ended(start(work, *where)).ok()["units_done"] == 0
        check_final(work, reference)
        shutil.rmtree(work / "out")
    texts = [r["text"] for r in rows]
    texts[40] = None                      # unit 2
    pq.write_table(pa.table({"id": [r["id"] for r in rows], "text": texts}), work / "nulls.parquet")
    assert Ended(start(work, "dataset.path=nulls.parquet", shard="1/2", root="odd")).ok()["units_done"] == 4
    broken = Ended(start(work, "dataset.path=nulls.parquet", shard="0/2", root="even"))
    assert broken.status == 1 and "row 40" in broken.err, broken.err


def wrong_shards(folder):
    make_workspace(folder)
    for bad in ("4/4", "5/4", "-1/4", "1", "1/", "/4", "1/0", "0/0", "a/b", "1/4/2", "1.0/4", " 1/4", "0x1/4", "1/9999999999", ""):
        done = Ended(subprocess.Popen([str(ROOT / "qkengine"), "run", "config.yaml", f"--shard={bad}"], cwd=folder, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        assert done.status == 2 and "I/N is needed" in done.err, (bad, done.status, done.err)
    assert not (folder / "out").exists()


# ---- deaths and stops ----

def killed_at_random(folder):
    work, rng, kills, resumed = fresh(folder, long=30), random.Random(SEED), 0, 0
    reference = alone(work, *SLOW)
    running = [start(work, *SLOW) for _ in range(3)]
    while kills < 8 and not (work / "out/final").exists():
        before = len(units(work))
        wait_until(lambda: len(units(work)) != before or (work / "out/final").exists())
        time.sleep(rng.uniform(0.0, 0.2))
        victim = running.pop(rng.randrange(3))
        victim.kill()
        killed = Ended(victim).status == -signal.SIGKILL
        kills += killed
        resumed += killed and bool(units(work))
        running.append(start(work, *SLOW))
    results = [Ended(p).ok() for p in running]
    assert kills >= 3 and resumed, (kills, resumed)
    if not (work / "out/final").exists():   # the last kill hit the one that others had left it to
        results = [Ended(start(work, *SLOW)).ok()]
    check_final(work, reference)
    return f"{kills} kills, {resumed} of them with finished units to resume from"


def a_dead_ones_unit_is_taken_over(folder):
    """Two are at work; one is killed when the other has passed its unit already."""
    work = fresh(folder)
    reference = alone(work, *SLOW)
    dead = stopped_at_work(work, *SLOW)
    other = start(work, *SLOW)
    wait_until(lambda: len(units(work)) >= 4, other)
    assert not (work / "out/staging/unit-000000.qku").exists()
    dead.kill()
    dead.wait()
    got = Ended(other).ok()
    assert got["merged"] and got["units_done"] == UNITS and got["examples"] == UNITS * UNIT - 5, got
    check_final(work, reference)


def a_stopped_one_keeps_its_claim(folder):
    work = fresh(folder)
    reference = alone(work, *SLOW)
    sleeper = stopped_at_work(work, *SLOW)
    others = [Ended(p) for p in [start(work, *SLOW) for _ in range(2)]]
    left = UNITS - len(units(work))
    assert 1 <= left <= 2, left        # the one at work, and the one that its prefetch has taken ahead
    what = "unit 0 is" if left == 1 else "units 0 and 1 are"
    for o in others:                   # the first of them to end may have left units to the second
        got = o.ok()
        assert not got["merged"] and not got["already_complete"] and got["units_left"] >= left, got
        assert ("its part is done" if got["units_done"] else "no work is left for this process") + ": unit" in o.err, o.err
        assert "still being worked on by others; the last to finish merges" in o.err, o.err
    assert any(f"its part is done: {what} still being worked on" in o.err for o in others), [o.err for o in others]
    assert not (work / "out/final").exists()
    got = go_on(sleeper).ok()
    assert got["merged"] and got["units_done"] == left, got
    check_final(work, reference)


def claims_are_for_the_unit_at_work(folder):
    """What a process has read ahead stays free for others: it has a claim of the unit that it computes, and of the one before until that one's file
    is there. Two processes on two units both work."""
    work = fresh(folder)
    reference = alone(work, *SLOW)
    process = stopped_at_work(work, *SLOW)
    seen = []
    while process.poll() is None and len(units(work)) < UNITS - 1:
        claims = sorted(p.name for p in (work / "out/staging").glob("*.claim"))
        written = {p.name.split(".")[0] for p in (work / "out/staging").glob("unit-*") if p.suffix in (".tmp", ".qku")}
        assert len(claims) <= 2 and sum(c.split(".")[0] not in written for c in claims) <= 1, claims
        seen += claims
        before = len(units(work))
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(units(work)) > before and list((work / "out/staging").glob("unit-*.tmp")) or process.poll() is not None)
        stop(process)
    got = go_on(process).ok()
    assert got["units_done"] == UNITS and len(set(seen)) >= UNITS // 2, (got, seen)
    check_final(work, reference)
    two = fresh(folder, "two", long=2)
    reference = alone(two, *SLOW)
    first = stopped_at_work(two, *SLOW)
    second = Ended(start(two, *SLOW))
    assert second.ok()["units_done"] == 1 and "its part is done: unit 0 is still being worked on" in second.err, (second.json, second.err)
    got = go_on(first).ok()                # what it has read ahead was another's by then
    assert got["merged"] and got["units_done"] == 1 and got["units_found"] >= 1, got
    check_final(two, reference)


def two_on_one_unit(folder):
    """A claim that a file server lost: both write the unit, and it is the same."""
    work = fresh(folder)
    reference = alone(work, *SLOW)
    sleeper = stopped_at_work(work, *SLOW)
    with open(work / "out/staging/lock", "r+") as lock:       # it holds off a merge
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise AssertionError("a process at work holds no lock")
        except BlockingIOError:
            pass
    for claim in (work / "out/staging").glob("*.claim"):
        claim.unlink()
    other = start(work, *SLOW)
    wait_until(lambda: len(units(work)) == UNITS, other)
    time.sleep(0.8)
    assert other.poll() is None and not (work / "out/final").exists()    # the sleeper may still write
    results = [go_on(sleeper).ok(), Ended(other).ok()]
    assert sum(r["merged"] for r in results) == 1 and sum(r["units_done"] for r in results) > UNITS, results
    check_final(work, reference)


def one_is_interrupted(folder):
    work = fresh(folder)
    reference = alone(work, *SLOW)
    first, second = start(work, *SLOW), start(work, *SLOW)
    wait_until(lambda: units(work), first)
    first.send_signal(signal.SIGINT)
    stopped = Ended(first)
    assert stopped.status == 3 and "run the same command again" in stopped.err, (stopped.status, stopped.err)
    got = Ended(second).ok()
    assert got["merged"], got
    check_final(work, reference)


@contextlib.contextmanager
def done_but_for_the_merge(work):
    """A process that has done all units, in a folder that this one holds with it: the lock's file, and the process."""
    (work / "out/staging").mkdir(parents=True)
    with open(work / "out/staging/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        waiting = start(work)
        wait_until(lambda: len(units(work)) == UNITS, waiting)
        yield lock, waiting


def interrupted_while_waiting(folder):
    """All is done but for the merge, and a process that holds the folder stands still."""
    work = fresh(folder)
    reference = alone(work)
    with done_but_for_the_merge(work) as (lock, waiting):
        wait_for_words(waiting, "waiting for the others to leave")
        assert waiting.poll() is None
        waiting.send_signal(signal.SIGINT)
        ended = Ended(waiting)
        assert ended.status == 3 and "waiting for the others to leave" in ended.err, (ended.status, ended.err)
        # Whoever merges or pushes is waited for as well.
        fcntl.flock(lock, fcntl.LOCK_EX)
        late = start(work)
        wait_for_words(late, "waiting for its end")
        assert late.poll() is None
    assert "waiting for its end" in (done := Ended(late)).err, done.err
    assert done.ok()["merged"] and done.json["units_done"] == 0, done.json
    check_final(work, reference)


def full_disk(folder):
    work = fresh(folder)
    reference = alone(work, "capture.sampler.type=all")
    Ended(start(work, "capture.sampler.type=all", shard="0/2", root="half")).ok()
    size = sum(p.stat().st_size for p in (work / "half/staging").iterdir())   # about half of the units fit
    (work / "out").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", work / "out"], capture_output=True).returncode:
        return "SKIPPED (no tmpfs can be mounted here)"
    try:
        for ended in [Ended(p) for p in [start(work, "capture.sampler.type=all") for _ in range(2)]]:
            assert ended.status == 3 and "the disk is full" in ended.err, (ended.status, ended.err)
        left = [p.name for p in (work / "out/staging").iterdir()]
        assert not [n for n in left if n.endswith((".tmp", ".claim"))], left
        assert units(work), left
        subprocess.run(["mount", "-o", "remount,size=64m", work / "out"], check=True)
        results = [Ended(p).ok() for p in [start(work, "capture.sampler.type=all") for _ in range(2)]]
        assert sum(r["merged"] for r in results) == 1, results
        check_final(work, reference)
    finally:
        subprocess.run(["umount", work / "out"], check=True)


# ---- the merge ----

def started_while_another_merges(folder):
    work = fresh(folder)
    reference = alone(work)
    for end in (signal.SIGCONT, signal.SIGKILL):
        merger = start(work)
        wait_until(lambda: (work / "out/staging/merged").exists(), merger)
        stop(merger)
        stands = merger.poll() is None and (work / "out/staging/merged").exists()
        late = [start(work), start(work)]
        for p in late if stands else []:
            wait_for_words(p, "another process merges or pushes here")
        assert not stands or all(p.poll() is None for p in late), "they did not wait"
        merger.send_signal(end)
        got = Ended(merger)
        results = [Ended(p) for p in late]
        merged = [r.ok()["merged"] for r in results]
        if got.status == 0:
            assert not any(merged) and all(r.json["already_complete"] for r in results), [r.json for r in results]
        else:                              # one of those who waited takes over, without computing anything
            assert sum(merged) == 1 and all(r.json["units_done"] == 0 for r in results), [r.json for r in results]
        assert not stands or all("another process merges or pushes here" in r.err for r in results), [r.err for r in results]
        check_final(work, reference)
        shutil.rmtree(work / "out")


def merged_out_of_sight(folder):
    """A network file system may show the names of final/ late: the lock says that another process has merged."""
    work = fresh(folder)
    reference = alone(work)
    with done_but_for_the_merge(work) as (lock, waiting):
        wait_for_words(waiting, "waiting for the others to leave")
        for left in (work / "out/staging").glob("*.*"):
            left.unlink()
        os.pwrite(lock.fileno(), b"01234567%08x" % zlib.crc32(b"01234567"), 0)   # a mark, as a merge leaves it
    ended = Ended(waiting)
    assert ended.ok()["already_complete"] and "another process has merged" in ended.err, (ended.json, ended.err)
    assert not (work / "out/final").exists() and not units(work)
    assert Ended(start(work)).ok()["units_done"] == UNITS     # that merge was before this one joined
    check_final(work, reference)


# ---- strangers ----

def other_settings(folder):
    work = fresh(folder)
    reference = alone(work, *SLOW)
    first = stopped_at_work(work, *SLOW)
    before = sorted(p.name for p in (work / "out/staging").iterdir())
    refused = Ended(start(work, *SLOW, "capture.sampler.base_rate=3"))
    assert refused.status == 1, (refused.status, refused.err)
    assert "a run with other settings is working here" in refused.err and "base_rate: 8" in refused.err, refused.err
    assert sorted(p.name for p in (work / "out/staging").iterdir()) == before
    assert go_on(first).ok()["merged"]
    check_final(work, reference)
    # When nobody is at work it is called an unfinished run, once a unit is finished.
    shutil.rmtree(work / "out")
    first = stopped_at_work(work, *SLOW, finished=1)
    first.kill()
    first.wait()
    refused = Ended(start(work, *SLOW, "capture.sampler.base_rate=3"))
    assert refused.status == 1 and "unfinished units of another run" in refused.err, (refused.status, refused.err)
    assert Ended(start(work, *SLOW)).ok()["merged"]
    check_final(work, reference)
    # A start that ended before binds nobody.
    shutil.rmtree(work / "out")
    first = stopped_at_work(work, *SLOW, "capture.sampler.base_rate=3")
    first.kill()
    first.wait()
    if not units(work):
        assert Ended(start(work, *SLOW)).ok()["merged"]
        check_final(work, reference)


def two_settings_in_the_same_instant(folder):
    work = fresh(folder)
    settings = [["capture.sampler.base_rate=3"], ["capture.sampler.base_rate=5"]]
    references = [alone(work, *s) for s in settings]
    for _ in range(4):
        ends = [Ended(p) for p in [start(work, *s) for s in settings]]
        winners = [i for i, e in enumerate(ends) if e.status == 0]
        assert len(winners) == 1 and ends[1 - winners[0]].status == 1, [e.err for e in ends]
        assert "base_rate" in ends[1 - winners[0]].err, ends[1 - winners[0]].err
        check_final(work, references[winners[0]])
        shutil.rmtree(work / "out")


def two_arithmetics_in_the_same_instant(folder):
    """bfloat16 with and without AMX: whoever is first decides, and the other one follows or is refused."""
    work = fresh(folder)
    ways = [["inference.isa=portable"], []]
    references = [alone(work, "model.dtype=bfloat16", *w) for w in ways]
    seen = []
    for _ in range(4):
        ends = [Ended(p) for p in [start(work, "model.dtype=bfloat16", *w) for w in ways]]
        assert ends[1].status == 0, ends[1].err
        assert ends[0].status == 0 or "the last bits would mix" in ends[0].err, ends[0].err
        seen.append(next(i for i, r in enumerate(references) if r == digest(work / "out/final")))
        assert seen[-1] == 1 or ends[0].status == 0, ends[0].err
        shutil.rmtree(work / "out")
    return "first: " + ", ".join(("portable", "the best")[i] for i in seen) + ("" if references[0] != references[1] else " (no AMX: alike)")


def foreign_units(folder):
    """A unit of another run, or of another arithmetic, is refused by name, at the start and at the merge."""
    work = fresh(folder)
    reference = alone(work)
    Ended(start(work, "capture.sampler.base_rate=3", shard="0/2", root="other")).ok()
    Ended(start(work, "inference.backend=ref", shard="0/2", root="double")).ok()
    for root, words in (("other", "belongs to another run"), ("double", "was computed with 'ref', the others with 'cpu")):
        Ended(start(work, shard="1/2")).ok()
        stranger = work / "out/staging/unit-000004.qku"
        shutil.copy(work / root / "staging" / stranger.name, stranger)
        before = sorted((work / "out/staging").iterdir())
        refused = Ended(start(work))
        assert refused.status == 1 and stranger.name in refused.err and words in refused.err, (refused.status, refused.err)
        assert sorted((work / "out/staging").iterdir()) == before and not (work / "out/final").exists()
        stranger.unlink()
        # It comes while a process is at work, which cannot see it before the merge.
        late = stopped_at_work(work)
        if not stranger.exists():
            shutil.copy(work / root / "staging" / stranger.name, stranger)
            refused = go_on(late)
            assert refused.status == 1 or (refused.status == 0 and refused.json["units_done"] > 4), (refused.status, refused.err)
            if refused.status == 1:
                assert stranger.name in refused.err and words in refused.err, refused.err
                assert not (work / "out/final").exists()
                stranger.unlink()
                Ended(start(work)).ok()
        else:
            go_on(late).ok()
        check_final(work, reference)
        shutil.rmtree(work / "out")


def old_unit(folder):
    work = fresh(folder)
    Ended(start(work, shard="0/2")).ok()
    unit = work / "out/staging/unit-000002.qku"
    unit.write_bytes(b"QKUNIT02" + unit.read_bytes()[8:-8] + b"QKUNIT02")
    refused = Ended(start(work))
    assert refused.status == 1 and unit.name in refused.err and "another version" in refused.err, (refused.status, refused.err)
    unit.unlink()
    Ended(start(work)).ok()


if __name__ == "__main__":
    sys.exit(main("many processes", [
        processes_at_once, slow_processes_share, prefix_layout_twice, shards_in_folders_of_their_own, shards_in_one_folder, shards_of_a_launcher,
        units_of_others_are_passed_over, wrong_shards, killed_at_random, a_dead_ones_unit_is_taken_over, a_stopped_one_keeps_its_claim,
        claims_are_for_the_unit_at_work, two_on_one_unit,
        one_is_interrupted, interrupted_while_waiting, full_disk, started_while_another_merges, merged_out_of_sight, other_settings,
        two_settings_in_the_same_instant, two_arithmetics_in_the_same_instant, foreign_units, old_unit]))
