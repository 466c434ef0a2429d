"""Pulling under faults: each kind of failure at each kind of request, hostile servers, signals, full disks, SIGKILL.

Each fault ends with a look at the whole cache (every blob has the digest that is its name) and a rerun that must give
the identical bytes. --full: 50 SIGKILLs instead of 20, and what takes its time.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import time

import common
import hub_fixture
from common import engine
from hub.cases import case, pair
from pull_common import (ALL, FILES, FULL, HUB, MODEL, NEEDED, RNG, cache_problems, check_files, check_no_secret, finish,
                         folder_files, fresh, pull)


# ---- faults ----

KINDS = {"revision": r"/revision/", "tree": r"/tree/", "resolve": r"^/me/model/resolve/", "storage": r"^/repos/"}
PASSING = {"drop": dict(drop=True), "408": dict(status=408), "500": dict(status=500), "502": dict(status=502),
           "503": dict(status=503), "504": dict(status=504), "429": dict(status=429),
           "429 Retry-After": dict(status=429, headers={"Retry-After": "2"}),
           "429 RateLimit": dict(status=429, headers={"RateLimit": '"api";r=0;t=3'}), "silence": dict(delay=3.5)}
GARBAGE = dict(status=200, body="<html>hello</html>", headers={"Content-Type": "text/html"})


def one_fault(tmp, name, match, fault, code, words=(), extra=ALL):
    """Pulls with a fault, then without: the second must always succeed with identical bytes."""
    fresh()
    home = tmp / name.replace(" ", "_").replace("/", "_")
    home.mkdir()
    HUB.fault(match, **fault)
    p = pull(home, *extra, env=HUB.env(home, HF_HUB_DOWNLOAD_TIMEOUT="2"))
    assert p.returncode == code, (name, p.returncode, p.stderr)
    for w in words:
        assert w in p.stderr, (name, w, p.stderr)
    check_no_secret(p.stderr + p.stdout)
    assert not cache_problems(home), (name, cache_problems(home))
    if code == 0:
        check_files(p)
    fresh()
    check_files(pull(home, *extra))
    assert not cache_problems(home) and not list(home.glob("hub/*/blobs/*.incomplete")), name


def test_trouble_that_passes(tmp):
    HUB.add("model", MODEL, FILES)
    n = 0
    for kind, match in KINDS.items():
        for name, fault in PASSING.items():
            one_fault(tmp, f"{kind} {name}", match, fault, 0)
            n += 1
    return f"{n} cases"


def test_trouble_that_stays(tmp):
    HUB.add("model", MODEL, FILES)
    n = 0
    for kind, match in KINDS.items():
        for name, fault in {"drop": dict(drop=True), "503": dict(status=503), "429": dict(status=429)}.items():
            one_fault(tmp, f"{kind} {name}", match, dict(fault, times=1000), 3)
            n += 1
        one_fault(tmp, f"{kind} 429 long", match, dict(status=429, headers={"Retry-After": "7200"}, times=1000), 3, ["2h00m"])
        one_fault(tmp, f"{kind} loop", match, dict(status=302, headers={"Location": f"{HUB.endpoint}/me/model/resolve/main/config.json?/revision/&/tree/&/repos/"}, times=1000)
                  if kind != "storage" else dict(status=302, headers={"Location": "?x"}, times=1000), 1, ["more than 5 redirects"])
        n += 2
    return f"{n} cases"


def test_answers_that_say_no(tmp):
    HUB.add("model", MODEL, FILES)
    cases = [
        ("revision garbage", "/revision/", GARBAGE, 1, ["this is not what a Hub answers"]),
        ("tree garbage", "/tree/", GARBAGE, 1, ["this is not what a Hub answers"]),
        ("resolve html", "/resolve/", dict(GARBAGE, times=99), 1, ["X-Repo-Commit"]),
        ("revision no sha", "/revision/", dict(status=200, body='{"id": "me/model"}'), 1, ["no commit"]),
        ("revision bad sha", "/revision/", dict(status=200, body='{"sha": "../../x"}'), 1, ["no commit"]),
        ("tree object", "/tree/", dict(status=200, body="{}"), 1, ["the listing is an object"]),
        ("tree deep", "/tree/", dict(status=200, body="[" * 100000), 1, []),
        ("tree no digest", "/tree/", dict(status=200, body='[{"type":"file","path":"a","size":1,"oid":"../x"}]'), 1, ["no digest"]),
        ("tree negative", "/tree/", dict(status=200, body='[{"type":"file","path":"a","size":-1,"oid":"%s"}]' % ("a" * 40)), 1, ["no size"]),
        ("tree twice", "/tree/", dict(status=200, body=json.dumps([dict(type="file", path="a", size=1, oid=c * 40) for c in "ab"])), 1, ["listed twice"]),
        ("tree file and folder", "/tree/", dict(status=200, body=json.dumps([dict(type="file", path=p, size=1, oid="a" * 40) for p in ("a", "a/b")])), 1, ["a file and a folder"]),
        ("tree huge", "/tree/", dict(status=200, body=json.dumps([dict(type="file", path="a", size=1 << 50, oid="a" * 40)])), 3, ["are needed"]),
        ("tree other server", "/tree/", dict(status=200, body="[]", headers={"Link": '<http://127.0.0.1:1/x>; rel="next"'}), 1, ["another server"]),
        ("tree circle", "/tree/", dict(status=200, body="[]", headers={"Link": '<?recursive=true&expand=false>; rel="next"'}), 1, ["circle"]),
        ("tree file url", "/tree/", dict(status=200, body="[]", headers={"Link": '<file:///etc/passwd>; rel="next"'}), 1, ["no web address"]),
        ("revision 401", "/revision/", dict(status=401, headers={"X-Error-Message": "Invalid credentials in Authorization header"}), 1, ["the token is not valid", "HF_TOKEN"]),
        ("revision 403", "/revision/", dict(status=403), 1, ["access is refused"]),
        ("revision 404", "/revision/", dict(status=404, headers={"X-Error-Code": "RepoNotFound"}), 1, ["does not exist"]),
        ("tree 404", "/tree/", dict(status=404, headers={"X-Error-Code": "RevisionNotFound"}), 1, ["no such revision"]),
        ("resolve 404", "/resolve/", dict(status=404, headers={"X-Error-Code": "EntryNotFound"}), 1, ["no such file"]),
        ("resolve gated", "/resolve/", dict(status=403, headers={"X-Error-Code": "GatedRepo"}), 1, ["gated", "ask for access"]),
        ("resolve other commit", r"/resolve/.*/model.safetensors", dict(status=302, headers={"X-Repo-Commit": "0" * 40, "Location": "/x"}, times=99), 1, []),
        ("resolve to file url", "/resolve/", dict(status=302, headers={"Location": "file:///etc/passwd"}), 1, ["no web address"]),
        ("resolve without location", "/resolve/", dict(status=302), 1, ["without a Location"]),
        ("storage 403 stays", "^/repos/", dict(status=403, times=99), 1, ["status 403"]),
    ]
    for name, match, fault, code, words in cases:
        one_fault(tmp, name, match, fault, code, words)
    return f"{len(cases)} cases"


def test_contents_that_are_wrong(tmp):
    HUB.add("model", MODEL, FILES)
    storage, small = "^/repos/", "/resolve-cache/.*/tokenizer.json"
    cases = [
        ("cut", storage, dict(cut=100_000, times=2), 0, []),
        ("cut at once", storage, dict(cut=0, times=2), 0, []),
        ("cut stays", storage, dict(cut=0, times=99), 3, []),
        ("corrupt once", storage, dict(corrupt=True), 0, []),
        ("corrupt stays", storage, dict(corrupt=True, times=99), 1, ["not the one that the Hub lists"]),
        ("small corrupt once", small, dict(corrupt=True), 0, []),
        ("small corrupt stays", small, dict(corrupt=True, times=99), 1, ["not the one that the Hub lists"]),
        ("no ranges", storage, dict(ignore_range=True, times=99), 0, []),
        ("no ranges cut", storage, dict(ignore_range=True, cut=5_000_000, times=4), 0, []),
        ("416", storage, dict(status=416), 0, []),
        ("range start", storage, dict(headers={"Content-Range": "bytes 1-4194304/9000001"}), 0, []),
        ("range total", storage, dict(headers={"Content-Range": "bytes 0-4194303/9"}), 0, []),
        ("range words", storage, dict(headers={"Content-Range": "everything"}), 0, []),
        ("gzip", storage, dict(headers={"Content-Encoding": "gzip"}, times=99), 1, ["gzip"]),
        ("expired", storage, dict(status=403), 0, []),
        ("expired twice", storage, dict(status=400, times=2), 0, []),
        ("small etag", small, dict(headers={"ETag": '"%s"' % ("0" * 40)}), 0, []),
        ("small commit", small, dict(headers={"X-Repo-Commit": "0" * 40}, times=99), 1, ["another commit"]),
        ("small length", small, dict(headers={"Content-Length": "1"}, times=99), 1, []),
        ("linked etag", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", times=99, headers={"X-Repo-Commit": "SHA", "X-Linked-ETag": '"../../evil"'}), 1, ["ETag"]),
        ("weak etag", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", headers={"X-Repo-Commit": "SHA", "ETag": 'W/"9E26DFEEB6E641A33DAE4961196235BDB965B21B"'}), 0, []),
        ("direct answer", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", headers={"X-Repo-Commit": "SHA", "ETag": "9e26dfeeb6e641a33dae4961196235bdb965b21b"}), 0, []),
    ]
    sha = HUB.head("model", MODEL)
    for name, match, fault, code, words in cases:
        fault = json.loads(json.dumps(fault).replace('"SHA"', f'"{sha}"'))
        one_fault(tmp, name, match, fault, code, words)
    return f"{len(cases)} cases"


def test_cut_resumes_at_the_byte(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    HUB.fault("^/repos/", cut=1000)
    check_files(pull(tmp), NEEDED)
    ranges = [r["headers"].get("Range") for r in HUB.log("storage")]
    assert any(r and r.split("=")[1].split("-")[0] in ("1000", "4195304", "8389608") for r in ranges), ranges


# ---- hostile servers ----

def hostile_names():
    return ["../x", "a/../../x", "/etc/x", "a//b", "./a", "a/.", "..", "a\\b", "..\\x", "C:x", "a/C:/b", "a\nb", "a\x7fb", "\\\\host\\x",
            "a\x00b", "x" * 256, "/".join(["d"] * 3000), ""]


def test_hostile_names(tmp):
    HUB.add("model", MODEL, FILES)
    n = 0
    for name in hostile_names():
        fresh()
        home = tmp / f"h{n}" / "deep" / "er"
        home.mkdir(parents=True)
        before = set(folder_files(tmp))
        HUB.fault("/tree/", status=200, body=json.dumps([dict(type="file", path=name, size=4, oid="a" * 40)]))
        p = pull(home, *ALL)
        assert p.returncode == 1 and ("file name" in p.stderr), (name, p.stderr)
        assert p.stderr.isprintable() or set(p.stderr) & set(map(chr, [*range(32), 127])) == {"\n"}, p.stderr
        assert set(folder_files(tmp)) == before, name
        n += 1
    fresh()
    HUB.fault("/tree/", status=200, body='[{"type":"file","path":"a\\ud800","size":4,"oid":"%s"}]' % ("a" * 40))
    assert pull(tmp, *ALL).returncode == 1
    return f"{n + 1} names"


def test_bad_arguments(tmp):
    for repo in ("../x", "a/b/c", "a--b/c", "a/b.git", "/a", "a b"):
        assert pull(tmp, repo=repo).returncode == 1, repo
    for rev in ("../x", "/x", "a@{1}", "x.lock", "a..b"):
        assert pull(tmp, "--revision", rev).returncode == 1, rev


def test_planted_links(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    sha = HUB.head("model", MODEL)
    outside = tmp / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    repo = tmp / "hub/models--me--model"
    blob = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    for name in ("snapshot folder", "folder", "partial", "partial hard"):
        shutil.rmtree(tmp / "hub", ignore_errors=True)
        (repo / "snapshots").mkdir(parents=True)
        (repo / "blobs").mkdir()
        if name == "snapshot folder":
            (repo / "snapshots" / sha).symlink_to(outside)
        elif name == "folder":
            (repo / "snapshots" / sha).mkdir()
            (repo / "snapshots" / sha / "sub").symlink_to(outside)
        elif name == "partial":
            (repo / "blobs" / f"{blob}.qk.incomplete").symlink_to(outside / "victim")
        else:
            os.link(outside / "victim", repo / "blobs" / f"{blob}.qk.incomplete")
        p = pull(tmp, *ALL)
        assert p.returncode == 1, (name, p.stderr)
        assert (outside / "victim").read_text() == "mine" and len(list(outside.iterdir())) == 1, name
    shutil.rmtree(tmp / "hub")
    (repo / "snapshots" / sha).mkdir(parents=True)
    (repo / "snapshots" / sha / "config.json").symlink_to(outside / "victim")   # a wrong link is replaced, not written through
    check_files(pull(tmp, *ALL))
    assert (outside / "victim").read_text() == "mine"


def test_partial_files(tmp):
    """Garbage, a longer file, a good prefix: all end in the right bytes."""
    HUB.add("model", MODEL, FILES)
    data = FILES["model.safetensors"]
    blob = hashlib.sha256(data).hexdigest()
    for name, partial in {"garbage": b"x" * 5_000_000, "longer": data + b"y", "prefix": data[:6_000_000], "all": data, "empty": b""}.items():
        fresh()
        home = tmp / name
        (home / "hub/models--me--model/blobs").mkdir(parents=True)
        (home / f"hub/models--me--model/blobs/{blob}.qk.incomplete").write_bytes(partial)
        check_files(pull(home), NEEDED)
        asked = sum(1 for r in HUB.requests() if r.startswith("GET storage"))
        assert name not in ("prefix", "all") or asked == {"prefix": 1, "all": 0}[name], (name, HUB.requests())
        assert not cache_problems(home)
    return "5 cases"


def test_redirects_and_the_token(tmp):
    """The API led to another origin: followed, without the token."""
    fresh()
    HUB.add("model", MODEL, FILES)
    cdn = HUB.storage
    HUB.fault("/revision/", status=307, headers={"Location": f"{cdn}/x"}, origin="hub")
    p = pull(tmp)
    assert p.returncode == 1, p.stderr
    assert len(HUB.log("storage")) == 1 and not HUB.leaks()
    check_no_secret(p.stderr)


def test_renamed_repository(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    sha = HUB.head("model", MODEL)
    for verb in ("revision/main", f"tree/{sha}"):
        HUB.fault(f"/api/models/old/name/{verb}", status=307, headers={"Location": f"/api/models/{MODEL}/{verb}?recursive=true"}, times=99)
    HUB.fault("^/old/name/resolve/.*/config.json", status=307, headers={"Location": f"/{MODEL}/resolve/{sha}/config.json"}, times=99)
    check_files(pull(tmp, "--include", "config.json", repo="old/name"), {"config.json": FILES["config.json"]})
    token = [r for r in HUB.log() if r["path"].startswith("/api/models/me/model/revision")]
    assert token and token[0]["headers"].get("Authorization"), "the same origin keeps the token"


# ---- signals and disks ----

def test_sigint(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    HUB.fault("^/repos/", delay=30, times=99)
    p = subprocess.Popen([str(common.ROOT / "qkengine"), "pull", MODEL], env=HUB.env(tmp, HF_HUB_DOWNLOAD_TIMEOUT="60"), cwd=tmp,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    began = time.monotonic()
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=20)
    assert p.returncode == 3 and "signal" in err, (p.returncode, err)
    assert time.monotonic() - began < 3
    fresh()
    check_files(pull(tmp), NEEDED)


def test_full_disk(tmp):
    """Too small from the start, and filled by somebody else in the middle."""
    fresh()
    HUB.add("model", MODEL, FILES)
    for name, size, words in (("small", "6m", "are needed"), ("filled", "14m", "the disk is full")):
        fresh()
        disk = tmp / name
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)], capture_output=True).returncode:
            return "SKIPPED: no file system can be mounted"
        try:
            HUB.fault("^/repos/", delay=3, times=3)
            p = subprocess.Popen([str(common.ROOT / "qkengine"), "pull", MODEL], env=HUB.env(disk), stderr=subprocess.PIPE, text=True)
            if name == "filled":
                while not HUB.log("storage"):
                    time.sleep(0.01)
                with open(disk / "filler", "wb") as f:
                    f.write(bytes(10_000_000))
            assert p.wait() == 3, p.returncode
            err = p.stderr.read()
            assert words in err, err
            assert not list(disk.glob("hub/*/blobs/*.incomplete")) and not cache_problems(disk)
            if name == "filled":
                (disk / "filler").unlink()
                fresh()
                check_files(pull(disk), NEEDED)
        finally:
            subprocess.run(["umount", str(disk)])
    return "2 cases"


def test_permissions(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    old = os.umask(0o027)
    try:
        snapshot = check_files(pull(tmp, *ALL))
    finally:
        os.umask(old)
    for blob in (snapshot.parents[1] / "blobs").iterdir():
        assert stat.S_IMODE(blob.stat().st_mode) == 0o640, blob


def test_kill(tmp):
    """50 kills at random moments of a pull; each rerun completes with identical bytes and asks for no byte twice."""
    fresh()
    files = {**FILES, "model.safetensors": RNG.randbytes(40_000_000), **{f"s/{i}.bin": RNG.randbytes(2000 + i) for i in range(20)}}
    total = sum(map(len, files.values()))
    HUB.add("model", "me/big", files)
    whole, kills, late, kept = 1.0, 0, 0, 0
    while kills < 50 and late < 200:
        home = tmp / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        HUB.clear()
        p = subprocess.Popen([str(common.ROOT / "qkengine"), "pull", "me/big", *ALL, "--quiet"], env=HUB.env(home), cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(RNG.uniform(0, whole))
        p.send_signal(signal.SIGKILL)
        if p.wait() != -signal.SIGKILL:
            late += 1
            continue
        kills += 1
        assert not cache_problems(home)
        partial = sum(f.stat().st_size for f in home.glob("hub/*/blobs/*.qk.incomplete"))
        kept += partial > 0
        time.sleep(0.05)
        HUB.clear()
        began = time.monotonic()
        check_files(pull(home, *ALL, repo="me/big"), files)
        whole = max(0.3, 0.8 * whole + 0.2 * (time.monotonic() - began))
        sent = sum(int(r["reply_headers"]["Content-Length"]) for r in HUB.log("storage") if "reply_headers" in r)
        assert sent <= total - partial, "the prefix is not asked for again"
        assert not cache_problems(home) and not list(home.glob("hub/*/blobs/*.incomplete"))
    assert kills == 50, (kills, late)
    return f"50 kills before the end, {kept} left partial files that were resumed; a pull takes {whole:.1f} s"


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(finish("hub pull faults", "hub_pull_faults", TESTS))
