#!/usr/bin/env python3
"""One system call fails (tests/tools/fail_once.c): afterwards stands either the undisturbed result, or a clear error that
says what the system said, and then the next start gives the undisturbed result. No crash, no half-written file under a final
name, no row lost.

usage: failing_calls.py [--full | --every] [--call NAME] [SEED] [WORD...]
       a sample of the calls; --full: each call once, with one of the errors it can have; --every: with all of them;
       WORD: only scenarios with one of the words in their names
"""
import concurrent.futures
import errno
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import common
import hub_fixture
from common import ROOT, digest, make_workspace, write_jsonl

SHIM = common.fail_once()
READS = ["EIO", "EINTR", "ESTALE"]
ERRORS = {   # what each call may say; EINTR only where a signal can interrupt it
    "openat": ["EIO", "EACCES", "EMFILE", "ENOSPC", "ESTALE", "EINTR", "ELOOP"],
    "stat": ["EIO", "EACCES", "ESTALE"],
    "read": READS,
    "pread": READS,
    "write": ["EIO", "ENOSPC", "EINTR", "EDQUOT", "ESTALE", "EFBIG"],
    "pwrite": ["EIO", "ENOSPC", "EINTR"],
    "fsync": ["EIO", "ENOSPC", "EINTR", "ESTALE"],
    "rename": ["EIO", "ENOSPC", "EACCES", "ESTALE"],
    "link": ["EIO", "ENOSPC", "EACCES", "EPERM", "ESTALE"],
    "mkdir": ["EIO", "ENOSPC", "EACCES"],
    "unlink": ["EIO", "EACCES", "ESTALE"],
    "getdents": ["EIO", "ESTALE", "EACCES"],
    "mmap": ["ENOMEM", "EACCES", "ENODEV"],
    "munmap": ["ENOMEM", "EINVAL"],
    "ftruncate": ["EIO", "ENOSPC", "EINTR"],
    "flock": ["EIO", "EINTR", "ENOLCK"],
    "close": ["EIO", "EINTR", "ENOSPC"],
    "getrandom": ["EAGAIN", "ENOSYS", "EINTR"],
}
# A write that fails for want of space, or of a server, is no fault of the input: the same command goes on.
RESUMED = {"write", "pwrite", "fsync"}
# How an error is worded where strerror's words are not: engine/base/error.c, links where none may be, memory.
SAID = {"ENOSPC": ["the disk is full"], "EDQUOT": ["the quota is used up"], "ENOMEM": ["memory", "a thread does not start"],
        "ELOOP": ["is a link or no folder", "no regular file but a link", "a link or a file stands where"]}
SMALL = ["capture.layers=[0,1]", "tokenizer.max_length=40", "inference.threads=1", "output.data_root=out"]
EACH_PER_CALL = 3   # in a sample


def texts(first, last):
    words = "the river turns twice before it finds the sea and nobody on the bridge looks down".split()
    return [{"id": f"row-{i}", "text": " ".join(words[(i * k + k) % len(words)] for k in range(8 + i % 7))} for i in range(first, last)]


def run_args(*more):
    return ["run", "config.yaml", "--quiet", *(a for s in [*SMALL, *more] for a in ("--set", s))]


def must(folder, args, **more):
    done = common.engine(args, folder, timeout=common.HANGS, **more)
    assert done.returncode == 0, (args, done.returncode, done.stderr)


# ---- what is disturbed ----

class Run:
    """The output of a run; `before` prepares what is there already."""
    shared = False   # whether cases share something beside their folder

    def __init__(self, name, *settings, before=None):
        self.name, self.settings, self.before = name, settings, before

    def prepare(self, folder):
        make_workspace(folder)
        write_jsonl(folder / "a.jsonl", texts(0, 40))
        write_jsonl(folder / "b.jsonl", texts(40, 60))
        if self.before:
            self.before(folder)

    def command(self, folder):
        return run_args(*self.settings), None

    def state(self, folder):
        return digest(folder / "out/final") if (folder / "out/final").exists() else {}

    def leftovers(self, folder):
        return [p.name for p in (folder / "out/staging").iterdir() if p.name not in ("builds", "lock")]


def first_part(folder):
    must(folder, run_args("output.layout=prefix", "dataset.path=a.jsonl"))


def shards(folder):
    """The units of two shards in one staging folder, unmerged; and what a killed process left beside them."""
    for i in range(2):
        must(folder, [*run_args("output.layout=branch", "dataset.path=a.jsonl", f"output.data_root=s{i}"), "--shard", f"{i}/2"])
    shutil.copytree(folder / "s0", folder / "out")
    for unit in (folder / "s1/staging").glob("unit-*.qku"):
        shutil.copy(unit, folder / "out/staging")


class Pull:
    """A model and a dataset of the Hub into an empty cache, by a run."""
    shared = True

    def __init__(self, hub):
        self.name, self.hub = "pull", hub

    def prepare(self, folder):
        make_workspace(folder)
        write_jsonl(folder / "rows.jsonl", texts(0, 12))
        self.hub.add("model", "me/model", {p.name: p.read_bytes() for p in (folder / "model").iterdir()})
        self.hub.add("dataset", "me/rows", {"train.jsonl": (folder / "rows.jsonl").read_bytes()})

    def command(self, folder):
        return run_args("output.layout=branch", "dataset.path=me/rows", "model.name=me/model"), self.hub.env(folder / "home")

    def state(self, folder):
        files = {}
        for path in sorted((folder / "home/hub").glob("*/snapshots/*/*")):
            files[path.name] = path.read_bytes() if path.exists() else None
        return {**(digest(folder / "out/final") if (folder / "out/final").exists() else {}), "cache": files}

    def leftovers(self, folder):
        return [p.name for p in (folder / "out/staging").iterdir() if p.name not in ("builds", "lock")]


class Push:
    """A final/ folder to a branch of its own."""
    shared = True

    def __init__(self, hub):
        self.name, self.hub, self.number = "push", hub, 0

    def prepare(self, folder):
        make_workspace(folder)
        write_jsonl(folder / "a.jsonl", texts(0, 12))
        must(folder, run_args("output.layout=prefix", "dataset.path=a.jsonl"))

    def repo(self, folder):
        return "tester/" + folder.name

    def command(self, folder):
        if ("dataset", self.repo(folder)) not in self.hub.state.repositories:
            self.hub.state.create("dataset", self.repo(folder))
        return ["push", "out/final", self.repo(folder)], self.hub.env(folder / "home", token=hub_fixture.WRITE)

    def state(self, folder):
        repository = self.hub.state.repositories[("dataset", self.repo(folder))]
        tree = repository.commits[repository.refs["main"]]["tree"]
        return {path: entry.content_oid() for path, entry in sorted(tree.items())}

    def leftovers(self, folder):
        return []


# ---- one case ----

def call_engine(scenario, folder, fault=None):
    args, env = scenario.command(folder)
    env = dict(env or os.environ)
    if fault:
        call, at, error, report = fault
        env.update(LD_PRELOAD=str(SHIM), FAIL_CALL=call, FAIL_AT=str(at), FAIL_ERRNO=str(getattr(errno, error or "EIO")),
                   FAIL_COUNT=str(report or "/dev/null"), FAIL_ABOVE="1" if call in ("write", "close") else "0")
    try:
        return subprocess.run([str(ROOT / "qkengine"), *args], cwd=folder, env=env, capture_output=True, text=True, errors="replace", timeout=common.HANGS)
    except subprocess.TimeoutExpired as e:
        return subprocess.CompletedProcess(args, "hangs", e.stdout or "", str(e.stderr))


def count_calls(scenario, template, call):
    with tempfile.TemporaryDirectory() as top:
        folder, report = pathlib.Path(top) / f"count-{call}", pathlib.Path(top) / "count"
        shutil.copytree(template, folder, symlinks=True)
        done = call_engine(scenario, folder, (call, 0, None, report))
        assert done.returncode == 0, (call, done.stderr)
        common.wait_until(lambda: report.exists() and report.read_text().endswith("\n"))
        return int(report.read_text())


def says_why(stderr, error):
    line = next(line for line in stderr.splitlines() if "qkengine: error: " in line)
    return any(words in line for words in [os.strerror(getattr(errno, error)), *SAID.get(error, [])])


def judge(scenario, template, expected, call, at, error):
    """None, or what is wrong; and whether the call's failure was an error."""
    with tempfile.TemporaryDirectory() as top:
        folder = pathlib.Path(top) / f"{scenario.name}-{call}-{at}-{error}".lower().replace("_", "-")
        shutil.copytree(template, folder, symlinks=True)
        before = scenario.state(folder) if isinstance(scenario, Run) else {}
        done = call_engine(scenario, folder, (call, at, error, None))
        if done.returncode == 0:
            if scenario.state(folder) != expected:
                return f"status 0, and the result differs; it said: {done.stderr[-300:]}", False
            return None, False
        # glibc itself ends a program that cannot give the stack of a finished thread back.
        ended_by_library = call == "munmap" and done.returncode == -signal.SIGABRT
        if done.returncode not in (1, 3) and not ended_by_library:
            return f"status {done.returncode}: {done.stderr[-300:]}", True
        if "qkengine: error: " not in done.stderr and not ended_by_library:
            return f"status {done.returncode} without a message: {done.stderr[-300:]}", True
        if not ended_by_library and not says_why(done.stderr, error):
            return f"the error does not say {error}: {done.stderr[-300:]}", True
        if call in RESUMED and done.returncode != 3:
            return f"status {done.returncode}, should be 3: {done.stderr[-300:]}", True
        if isinstance(scenario, Run):
            half = {k for k, v in scenario.state(folder).items() if v not in (before.get(k), expected.get(k))}
            if half:
                return f"under a final name, neither old nor new: {sorted(half)[:3]}", True
        again = call_engine(scenario, folder)
        if again.returncode != 0:
            return f"the next start ends with {again.returncode}: {again.stderr[-300:]} (first: {done.stderr[-200:]})", True
        if scenario.state(folder) != expected:
            return f"the next start gives another result (first: {done.stderr[-300:]})", True
        if scenario.leftovers(folder):
            return f"left in staging: {scenario.leftovers(folder)[:3]} (first: {done.stderr[-200:]})", True
        return None, True


def cases_of(counts, rng, mode):
    for call, n in counts.items():
        errors = ERRORS[call]
        if mode == "every":
            yield from ((call, at, e) for at in range(1, n + 1) for e in errors)
        else:
            shift = rng.randrange(len(errors))
            picked = range(1, n + 1) if mode == "full" else sorted(rng.sample(range(1, n + 1), min(n, EACH_PER_CALL)))
            yield from ((call, at, errors[(at + shift) % len(errors)]) for at in picked)


def sweep(scenario, template, mode, rng, only_call, workers):
    folder = template.parent / "expected-one"
    shutil.copytree(template, folder, symlinks=True)
    done = call_engine(scenario, folder)
    assert done.returncode == 0, done.stderr
    expected = scenario.state(folder)
    counts = {c: count_calls(scenario, template, c) for c in ERRORS if only_call in (None, c)}
    cases = list(cases_of(counts, rng, mode))
    wrong = errors = 0
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for case, (problem, failed) in zip(cases, pool.map(lambda c: judge(scenario, template, expected, *c), cases)):
            errors += failed
            if problem:
                wrong += 1
                print(f"FAIL {scenario.name}: {case[0]} number {case[1]} says {case[2]}: {problem}")
    print(f"ok   {scenario.name}: {len(cases)} failing calls of {sum(counts.values())}: {len(cases) - errors} without effect, "
          f"{errors} with an error and a good next start" if not wrong else
          f"{scenario.name}: {wrong} of {len(cases)} failing calls", flush=True)
    return len(cases) - wrong, wrong


def main():
    args = sys.argv[1:]
    option = lambda name: args[args.index(name) + 1] if name in args else None
    mode = "every" if "--every" in args else "full" if "--full" in args else "sample"
    words = [w for w in common.words_asked() if w != option("--call")]
    if not SHIM:
        print("SKIPPED: this system has no seccomp notifications\nfailing calls: 0 passed, 0 failed, 1 skipped")
        return 0
    hub = hub_fixture.Hub()
    scenarios = [
        Run("run in branch layout", "output.layout=branch", "dataset.path=a.jsonl"),
        Run("run in prefix layout", "output.layout=prefix", "dataset.path=a.jsonl"),
        Run("rerun with new rows", "output.layout=prefix", "dataset.path=b.jsonl", before=first_part),
        Run("merge of shards", "output.layout=branch", "dataset.path=a.jsonl", before=shards),
        Pull(hub), Push(hub)]
    wanted = [s for s in scenarios if not words or any(w in s.name for w in words)]
    if not wanted:
        print(f"no scenario has one of {words} in its name; there are: {', '.join(s.name for s in scenarios)}")
        return 2
    passed = failed = 0
    for scenario in wanted:
        with tempfile.TemporaryDirectory() as top:
            template = pathlib.Path(top) / "template"
            template.mkdir()
            scenario.prepare(template)
            good, bad = sweep(scenario, template, mode, random.Random(common.number_asked(1)), option("--call"), 2)
            passed, failed = passed + good, failed + bad
    print(f"failing calls: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
