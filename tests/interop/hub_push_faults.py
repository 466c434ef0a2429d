"""qkengine push under faults: signals, SIGKILL, files that change, and each kind of failure at each kind of request.
--full: 50 SIGKILLs of a merge instead of 20.

Which edge cases each test is about: tests/hub/cases.py.
"""
import concurrent.futures
import fcntl
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from push_common import (FAST, FULL, HANGS, HUB, REPO, ROOT, SAID, SMALL, TEMP, TOKEN, assert_holds, assert_union, capture,
                         commits, engine, environment, finish, local_tree, no_token_was_printed, push,
                         pushed, refused, requests, small, wait_until)  # first: it sets the environment of the readers
from hub.cases import FAULTS, case, pair
from hub.fixture import Fixture


# ---- interruptions ----

@case(25)
def test_file_changes_while_it_is_sent(folder):
    for i, change in enumerate((b"PAR1 shorter", b"\0" * 300_000, b"\1" * 200_000)):
        HUB.reset()
        final = small(folder / f"final{i}")
        (final / "large.bin").write_bytes(b"\0" * 200_000)
        HUB.fault(method="PUT", match="/put/", hold=True, times=-1)
        process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.PIPE,
                                   text=True)
        wait_until(lambda: requests("PUT", "/put/"), process)
        (final / "large.bin").write_bytes(change)
        HUB.clear()
        error = process.communicate(timeout=HANGS)[1]
        SAID.append(error)
        assert process.returncode == 3 and "changes while it is pushed" in error and "to go on" in error, error
        assert not requests("POST", "/commit/")
        HUB.clear()
        pushed(final)
        assert_holds(final)


@case(38, 30)
def test_signal_while_it_commits(folder):
    """SIGINT between the commit and its reply: nobody knows whether it was applied; the rerun does not do it twice."""
    for n, fault in enumerate(({"hold": True}, {"drip": 5})):   # not applied yet; applied, and the reply trickles for half an hour
        HUB.reset()
        final = small(folder / f"final{n}")
        HUB.fault(method="POST", match="/commit/main", **fault)
        process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO], env=environment(), stderr=subprocess.PIPE, text=True)
        wait_until(lambda: requests("POST", "/commit/main"), process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=HANGS)[1]
        SAID.append(error)
        assert process.returncode == 3 and "to go on: qkengine push" in error, error
        HUB.clear()
        wait_until(lambda: len(commits()) == 2)   # the server carries out what it was sent, whoever listens
        pushed(final)
        assert_holds(final)
        assert len(commits()) == 2, commits()


@case(40)
def test_body_is_sent_again(folder):
    """Connections that die within a body, also ones that were used before: the body is sent anew from its first byte."""
    for n, fault in enumerate(({"drop": True, "read": 100_000}, {"drop": "reset", "read": 1 << 20}, {"drop": True, "read": 1})):
        for in_parts in (False, True):
            HUB.reset()
            HUB.set(multipart_threshold=1 << 20 if in_parts else 1 << 62, chunk=1 << 20)
            final = small(folder / f"final{n}{in_parts}")
            (final / "big.bin").write_bytes(os.urandom(3 << 20))
            HUB.fault(method="PUT", match="/part/" if in_parts else "/put/", skip=1, times=2, **fault)
            pushed(final)
            assert_holds(final)
            assert sum("fault" in r for r in HUB.log()) == 2


@case(38, 14)
def test_signals_and_second_push(folder):
    HUB.reset()
    final = small(folder / "final")
    HUB.fault(method="PUT", match="/put/", hold=True, times=-1)
    process = subprocess.Popen([ROOT / "qkengine", "push", final, REPO, "--branch", "b"],
                               env=environment(), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: requests("PUT", "/put/"), process)
    refused(final, 1, "working here")
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=HANGS)[1]
    assert process.returncode == 3 and f"to go on: qkengine push {final} {REPO} --branch b" in error, error
    assert not requests("POST", "/commit/b")
    HUB.clear()
    pushed(final, "--branch", "b")
    assert_holds(final, "b")
    # A run that works on the folder holds its push off.
    (folder / "staging").mkdir()
    with open(folder / "staging/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(final, 1, "another run is working here")
    pushed(final)


@case(38)
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
    killed = partly = i = 0
    while killed < 50 and i < 150:   # those that were done before do not count
        i += 1
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
    assert killed == 50 and partly >= 3, (killed, partly)
    return f"{killed} pushes killed, {partly} of them between two commits"


def test_kill_while_merging(folder):
    random.seed(11)
    base, more = capture(folder / "base", 0, 6), capture(folder / "more", 3, 9)
    kept = [shutil.copytree(f, folder / f"{f.name}-before") for f in (base, more)]
    HUB.reset()
    pushed(base)
    start = time.monotonic()
    pushed(shutil.copytree(more, folder / "undisturbed"))
    duration, want = time.monotonic() - start, HUB.tree(REPO)
    wanted, killed, i = 50 if FULL else 20, 0, 0
    while killed < wanted and i < 3 * wanted:
        i += 1
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
    assert killed == wanted, killed
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
    "413": {"status": 413}, "html": {"html": True}, "gzip": {"gzip": True}, "garbage": {"status": 200, "body": "{]", "type": "application/json"},
    "loop": {"redirect": "loop", "times": -1},
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

ANSWERS = {"repository", "main tree", "preupload", "batch", "merged file", "merged small file"}   # without them there is no way on
WRITES = {"create", "front page", "branch"}
ENDS = {   # fault: the kinds of request at which it ends the push, with status 1 (of 412: 3); elsewhere the push goes on
    "401": ANSWERS | WRITES | {"commit"}, "403": ANSWERS | WRITES | {"commit", "branch head"},
    "404": ANSWERS | WRITES | {"commit", "branch head"}, "409": ANSWERS | {"front page", "branch head"},
    "412": ANSWERS - {"repository", "main tree"} | {"branch head"}, "413": ANSWERS | WRITES | {"branch head"},
    "html": ANSWERS - set(MERGING) | {"branch head", "part"}, "garbage": ANSWERS - set(MERGING) | {"branch head", "part"},
    "loop": {*KINDS, *MERGING}, "other host": ANSWERS - set(MERGING) | WRITES | {"commit", "branch head"},
    "wrong SHA": {"repository", "batch"}, "gzip": {"merged small file", "merged large file"},
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
        done = engine(["push", final, REPO, "--branch", "b"], self.folder, env=environment, timeout=HANGS)
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
        ends = self.kind in ENDS.get(name, ())
        assert first.returncode == (0 if not ends else 3 if name == "412" else 1), where
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
        for r in self.hub.log():   # contents by commit, never by the branch, which may move on
            if r["method"] == "GET" and "/resolve/" in r["path"]:
                assert len(r["path"].split("/resolve/")[1].split("/")[0]) == 40, r["path"]
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
            if fault in FAULTS:
                done = "retried" if fault in PASSING else "done"
                pair("push: " + kind, fault, how if isinstance(how, str) else f"status {how}" if how else done)
            if not isinstance(how, str):
                statuses[how] = statuses.get(how, 0) + 1
    return f"{sum(statuses.values())} faults at {len(kinds)} kinds of request; exit statuses {statuses}"


@case(8, 18, 29, 30, 38)
def test_faults_at_every_request(folder):
    source = small(folder / "source")
    (source / "big.bin").write_bytes(b"\0" * 3000)
    return try_all(folder, KINDS, None, source)


@case(8, 9, 12, 16, 29)
def test_faults_at_every_request_of_a_merge(folder):
    before, source = capture(folder / "before", 0, 4, *SMALL), capture(folder / "source", 2, 6, *SMALL)
    return try_all(folder, MERGING, before, source)


def test_troubles_are_counted_apart(folder):
    """What one kind of trouble has used up is still there for another."""
    before, source = capture(folder / "before", 0, 4, *SMALL), capture(folder / "source", 2, 6, *SMALL)
    blob = hashlib.sha256((before / "model/l00h00q/data.parquet").read_bytes()).hexdigest()
    (folder / "one/l00h00q").mkdir(parents=True)   # one large file, so that all refusals are of the same object
    (folder / "one/l00h00q/data.parquet").write_bytes(b"\0" * 3000)
    cases = [
        (source, before, [("^/repos/" + blob, [EXPIRED, EXPIRED, {"corrupt": True}, {"corrupt": True}])], 0),
        (source, before, [("^/repos/" + blob, [{"corrupt": True}] * 3)], 3),
        (source, before, [("^/repos/" + blob, [EXPIRED] * 3)], 1),
        (folder / "one", None, [("/put/", [EXPIRED] * 3), ("/_lfs/verify", [{"status": 404}])], 0),
        (folder / "one", None, [("/part/", [EXPIRED] * 3), ("/_lfs/complete", [{"status": 400}] * 3)], 0),
        (folder / "one", None, [("/put/", [EXPIRED] * 4)], 1),
        (folder / "one", None, [("/commit/b$", [{"status": 412}] * 3 + [{"status": 500}] * 5)], 0),
        (folder / "one", None, [("/commit/b$", [{"status": 412}] * 3 + [{"status": 500}] * 9)], 3),
    ]
    for i, (what, first, troubles, status) in enumerate(cases):
        HUB.reset()
        if first:
            pushed(shutil.copytree(first, folder / f"first{i}"), "--branch", "b")
        if troubles[0][0] == "/part/":
            HUB.set(multipart_threshold=2500, chunk=1000)
        final = shutil.copytree(what, folder / f"final{i}")
        for match, faults in troubles:
            for fault in faults:
                HUB.fault(match=match, **fault)
        done = push(final, "--branch", "b")
        assert done.returncode == status, (i, done.returncode, done.stderr)
        if not status:
            met = [r for r in HUB.log() if r.get("fault")]
            assert len(met) == sum(len(faults) for _, faults in troubles), (i, met)
            assert_holds(final, branch="b", exactly=False)
    return f"{len(cases)} cases"


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
