"""qkengine push under faults: signals, SIGKILL, files that change, and each kind of failure at each kind of request.

Which edge cases each test is about: tests/hub/cases.py.
"""
import concurrent.futures
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from push_common import (FAST, HUB, REPO, ROOT, SAID, SMALL, TEMP, TOKEN, assert_holds, assert_union, capture,
                         commits, engine, environment, finish, local_tree, no_token_was_printed, push,
                         pushed, refused, requests, small)  # first: it sets the environment of the readers
from hub.cases import FAULTS, case, pair
from hub.fixture import Fixture


# ---- interruptions ----

@case(25)
def test_file_changes_while_it_is_sent(folder):
    for i, change in enumerate((b"PAR1 shorter", b"\0" * 300_000, b"\1" * 200_000)):
        HUB.reset()
        final = small(folder / f"final{i}")
        (final / "large.bin").write_bytes(b"\0" * 200_000)
        HUB.fault(method="PUT", match="/put/", delay=1.0, times=-1)
        process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.PIPE,
                                   text=True)
        while not requests("PUT", "/put/"):
            time.sleep(0.05)
        (final / "large.bin").write_bytes(change)
        error = process.communicate(timeout=60)[1]
        SAID.append(error)
        assert process.returncode == 3 and "changes while it is pushed" in error and "to go on" in error, error
        assert not requests("POST", "/commit/")
        HUB.clear()
        pushed(final)
        assert_holds(final)


@case(38, 14)
def test_signals_and_second_push(folder):
    HUB.reset()
    final = small(folder / "final")
    HUB.fault(method="PUT", match="/put/", delay=5, times=-1)
    process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO, "--branch", "b"],
                               env=environment(), stderr=subprocess.PIPE, text=True)
    time.sleep(0.8)
    refused(final, 1, "working here")
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 3 and f"to go on: qkengine push {final} {REPO} --branch b" in error, error
    assert time.monotonic() - start < 4 and not requests("POST", "/commit/b")
    HUB.clear()
    pushed(final, "--branch", "b")
    assert_holds(final, "b")
    # A run that works on the folder holds its push off.
    (folder / "staging").mkdir()
    with open(folder / "staging/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(final, 1, "another run is working here")
    pushed(final)


def test_kill_at_50_random_moments(folder):
    """SIGKILL, then a rerun: the repository is as after an undisturbed push."""
    def slow():
        HUB.reset()
        HUB.set(commit_limit=4, delay=0.002)
        HUB.fault(method="POST", match="/commit/", delay=0.05, times=-1)

    random.seed(7)
    slow()
    source = capture(folder / "source", 0, 6, "capture.layers=[0,1]")
    start = time.monotonic()
    pushed(shutil.copytree(source, folder / "undisturbed"))
    duration, want = time.monotonic() - start, HUB.tree(REPO)
    killed = partly = 0
    for i in range(50):
        slow()
        final = shutil.copytree(source, folder / f"f{i}")
        process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.DEVNULL)
        time.sleep(random.random() * duration)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        try:
            partly += 1 < len(HUB.tree(REPO)) < len(want)
        except Exception:
            pass   # killed before the repository was there
        pushed(final)
        assert HUB.tree(REPO) == want, i
        assert local_tree(final) == local_tree(source)
        shutil.rmtree(final)
    assert killed >= 30 and partly >= 3, (killed, partly)
    return f"{killed} pushes killed, {partly} of them between two commits"


@case(8, 9, 12, 16, 29)
def test_faults_while_merging(folder):
    """What comes from the branch is checked like everything else; the folder changes only as a whole."""
    faults = {"corrupt": {"corrupt": True}, "cut": {"cut": 100}, "drop": {"drop": True}, "expired": {"status": 403},
              "500": {"status": 500}, "gzip": {"gzip": True}, "html": {"html": True}}
    base, more = capture(folder / "base", 0, 4, *SMALL), capture(folder / "more", 2, 6, *SMALL)
    statuses = {}
    for name, fault in faults.items():
        for times in (1, -1):
            HUB.reset()
            pushed(base)
            HUB.clear()
            final = shutil.copytree(more, folder / "final")
            HUB.fault(origin="storage", method="GET", match="/repos/", times=times, **fault)
            first = push(final)
            assert first.returncode in (0, 1, 3) and (times == 1 or first.returncode), (name, times, first.stderr)
            if first.returncode:
                assert local_tree(final) == local_tree(more), name
                HUB.clear()
                pushed(final)
            statuses[first.returncode] = statuses.get(first.returncode, 0) + 1
            assert_union(folder / f"cache-{name}{times}", base, more)
            for r in requests("GET", "/resolve/") + requests("GET", "/tree/"):
                assert len(r["path"].split("/resolve/" if "/resolve/" in r["path"] else "/tree/")[1].split("?")[0].split("/")[0]) == 40
            shutil.rmtree(final)
    return f"{2 * len(faults)} faults, exit statuses {statuses}"


def test_kill_while_merging(folder):
    random.seed(11)
    base, more = capture(folder / "base", 0, 6), capture(folder / "more", 3, 9)
    kept = [shutil.copytree(f, folder / f"{f.name}-before") for f in (base, more)]
    HUB.reset()
    pushed(base)
    start = time.monotonic()
    pushed(shutil.copytree(more, folder / "undisturbed"))
    duration, want = time.monotonic() - start, HUB.tree(REPO)
    killed = 0
    for i in range(20):
        HUB.reset()
        pushed(base)
        final = shutil.copytree(more, folder / f"f{i}")
        process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.DEVNULL)
        time.sleep(random.random() * duration)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        pushed(final)
        assert HUB.tree(REPO) == want, i
        shutil.rmtree(final)
    assert killed >= 10
    assert_union(folder / "cache", *kept)
    return f"{killed} pushes killed"


# ---- faults at every request ----

KINDS = {
    "repository": ("GET", r"/revision/main$"), "create": ("POST", "/api/repos/create"), "main tree": ("GET", "/tree/"),
    "front page": ("POST", "/commit/main"), "branch": ("POST", "/branch/"), "branch head": ("GET", r"/revision/b$"),
    "yaml": ("POST", "/validate-yaml"), "preupload": ("POST", "/preupload/"), "batch": ("POST", "objects/batch"),
    "put": ("PUT", "/put/"), "part": ("PUT", "/part/"), "completion": ("POST", "/_lfs/complete"),
    "verify": ("POST", "/_lfs/verify"), "commit": ("POST", "/commit/b$"),
}
MERGING = {   # what is fetched when the branch has other rows
    "merged file": ("GET", r"/resolve/.*l00h00q/data.parquet"), "merged small file": ("GET", "/resolve-cache/.*manifest.json"),
    "merged large file": ("GET", "^/repos/"),
}
NO_BODY = ("put", "part", "verify")   # replies without a body end within their headers instead
STORED = ("put", "part", "merged large file")
PASSING = {   # faults after which the same push must succeed
    "refused": {"redirect": "http://127.0.0.1:9/"}, "drop": {"drop": True}, "reset": {"drop": "reset"},
    "lost reply": {"after": "drop"}, "reset in the body": {"cut": 1, "reset": True}, "truncated": {"cut": 1},
    "429 RateLimit": {"status": 429, "headers": {"RateLimit": '"api";r=0;t=1'}},
    "429 Retry-After": {"status": 429, "headers": {"Retry-After": "1"}}, "429": {"status": 429},
    "500": {"status": 500}, "503": {"status": 503}, "504": {"status": 504}, "slow loris": {"drip": 0.03},
}
ENDING = {    # faults that may end it, with a message; the next push must succeed
    "401": {"status": 401}, "403": {"status": 403}, "404": {"status": 404}, "409": {"status": 409}, "412": {"status": 412},
    "413": {"status": 413}, "html": {"html": True}, "garbage": {"status": 200, "body": "{]", "type": "application/json"},
    "loop": {"redirect": "loop", "times": -1}, "other host": {"redirect": "STORAGE/elsewhere"},
}
NO_ETAG, NOT_SIGNED, NO_DIGEST = "no ETag is read", "its URL is not signed", "no digest is read"
ZEROS = "0" * 40
EXPIRED = {"status": 403, "body": "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"}
WRONG_ETAG = {"part": {"headers": {"ETag": '"of other bytes"'}}}
WRONG_SHA = {
    "repository": {"json": {"sha": ZEROS}}, "branch head": {"json": {"sha": ZEROS}},
    "main tree": {"status": 200, "body": '[{"type":"file","path":".gitattributes","size":46,"oid":"%s"}]' % ZEROS},
    "front page": {"json": {"commitOid": ZEROS}}, "commit": {"json": {"commitOid": ZEROS}},
    "batch": {"json": {"objects": [{"oid": "0" * 64, "size": 1}]}},
    "put": {"status": 400, "body": "<Error><Code>BadDigest</Code></Error>"}, "part": {"status": 400, "body": "BadDigest"},
    "completion": {"status": 400, "body": "sha256 mismatch"}, "verify": {"status": 404, "body": "object not uploaded"},
    "merged small file": {"corrupt": True}, "merged large file": {"corrupt": True},
}


def push_cases(kind, storage):
    """{fault: what the server does}; a text: why there is no such thing."""
    cases = {**PASSING, **ENDING}
    if kind in NO_BODY:
        cases.update({"reset in the body": {"torn": 20}, "truncated": {"torn": 45}})
    cases["other host"] = {"redirect": storage + "/elsewhere"}
    cases["wrong ETag"] = WRONG_ETAG.get(kind, NO_ETAG)
    cases["wrong SHA"] = WRONG_SHA.get(kind, NO_DIGEST)
    cases["expired URL"] = EXPIRED if kind in STORED else NOT_SIGNED
    return cases


class Pushes:
    """Pushes to a fixture of its own, so that several kinds of request are tried side by side."""

    def __init__(self, hub, folder, kind):
        self.hub, self.folder, self.kind, self.said = hub, folder, kind, []

    def push(self, final, **more):
        environment = self.hub.environment(self.folder / "home", **{**FAST, **more})
        done = engine(["push", final, REPO, "--branch", "b"], self.folder, env=environment, timeout=120)
        self.said.append(done.stdout + done.stderr)
        return done

    def prepare(self, before):
        self.hub.reset()
        in_parts = self.kind in ("part", "completion")
        self.hub.set(multipart_threshold=2500 if in_parts else 1 << 62, chunk=1000)
        if before:
            done = self.push(shutil.copytree(before, self.folder / "before"))
            assert done.returncode == 0, done.stderr
            shutil.rmtree(self.folder / "before")

    def once(self, name, fault, before, source, want):
        """One push with a fault, one without; the exit status of the first."""
        self.prepare(before)
        final = shutil.copytree(source, self.folder / "final")
        method, match = {**KINDS, **MERGING}[self.kind]
        self.hub.fault(method=method, match=match, **fault)
        first = self.push(final, **({"HF_HUB_DOWNLOAD_TIMEOUT": "1"} if name == "slow loris" else {}))
        where = self.kind, name, first.returncode, first.stderr
        assert any(r.get("fault") for r in self.hub.log()), (where, "the fault was not met")
        assert not self.hub.leaks(), where
        assert first.returncode in ((0,) if name in PASSING else (0, 1, 3)), where
        assert first.returncode == 0 or "error" in first.stderr, where
        assert first.returncode != 3 or "to go on: qkengine push" in first.stderr, where
        if name.isdigit() and first.returncode:
            assert f"status {name}" in first.stderr, where
        if first.returncode:
            self.hub.clear()
            second = self.push(final)
            assert second.returncode == 0, (where, second.stderr)
        assert self.hub.tree(REPO, "b") == want, where
        history = [r for r in self.hub.log("/commit/b") if "fault" not in r]
        assert len(history) <= 4, (where, history)
        shutil.rmtree(final)
        return first.returncode


def faults_at(folder, kind, before, source):
    folder.mkdir()
    with Fixture() as hub:
        pushes, ended = Pushes(hub, folder, kind), {}
        pushes.prepare(before)
        undisturbed = shutil.copytree(source, folder / "undisturbed")
        assert pushes.push(undisturbed).returncode == 0
        want = hub.tree(REPO, "b")
        for name, fault in push_cases(kind, hub.addresses["storage"]).items():
            ended[name] = "- " + fault if isinstance(fault, str) else pushes.once(name, fault, before, source, want)
    return ended, pushes.said


def try_all(folder, kinds, before, source):
    """Records the pairs; {exit status: how many}."""
    statuses = {}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        runs = {kind: pool.submit(faults_at, folder / kind, kind, before, source) for kind in kinds}
    for kind, run in runs.items():
        ended, said = run.result()
        SAID.extend(said)
        for fault, how in ended.items():
            print("DEBUG", kind, fault, how)
            if fault in FAULTS:
                pair("push: " + kind, fault, how if isinstance(how, str) else f"status {how}" if how else "retried")
            if not isinstance(how, str):
                statuses[how] = statuses.get(how, 0) + 1
    return f"{sum(statuses.values())} faults at {len(kinds)} kinds of request; exit statuses {statuses}"


@case(8, 18, 29, 30, 38)
def test_faults_at_every_request(folder):
    source = small(folder / "source")
    (source / "big.bin").write_bytes(b"\0" * 3000)
    return try_all(folder, KINDS, None, source)


@case(8, 9, 12, 29)
def test_faults_at_every_request_of_a_merge(folder):
    before, source = capture(folder / "before", 0, 4, *SMALL), capture(folder / "source", 2, 6, *SMALL)
    return try_all(folder, MERGING, before, source)


def test_lasting_faults_end_in_time(folder):
    """A server that stays down: status 3, the command to go on, and no endless loop."""
    HUB.reset()
    final = small(folder / "final")
    for kind, (method, match) in KINDS.items():
        if kind in ("part", "completion"):
            continue
        for fault in ({"status": 503}, {"drop": True}):
            HUB.reset()
            HUB.fault(method=method, match=match, times=-1, **fault)
            done = refused(final, 3, "to go on: qkengine push", arguments=["--branch", "b"])
            assert len(HUB.log()) < 400, (kind, len(HUB.log()))
    HUB.reset()
    HUB.fault(match="/preupload/", status=429, headers={"RateLimit": '"api";r=0;t=4000'}, times=-1)
    refused(final, 3, "wait")
    assert len(requests("POST", "/preupload/")) == 1
    dead = dict(os.environ, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN=TOKEN, HF_HOME=str(TEMP / "home"), **FAST)
    done = engine(["push", final, REPO], TEMP, env=dead)
    assert done.returncode == 3 and "to go on" in done.stderr, done.stderr


@case(6)
def test_no_token_was_printed(_):
    no_token_was_printed()


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(finish("hub push faults", "hub_push_faults", TESTS))
