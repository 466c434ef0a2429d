"""Pulling under faults: each kind of failure at each kind of request, hostile servers, signals, full disks, SIGKILL.

Each fault ends with a check of the whole cache (every blob has the digest that is its name) and a rerun that must give
the identical bytes. --full: 50 SIGKILLs instead of 20, and what takes its time.
"""
import concurrent.futures
import errno
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
from common import HANGS, wait_until
from hub.cases import FAULTS, case, pair
from pull_common import (ALL, FILES, FULL, HUB, MODEL, NEEDED, RNG, cache_problems, check_files, check_no_secret, finish,
                         folder_files, fresh, pull)


# ---- each fault at each kind of request ----

SMALL = {"config.json": b'{"a": 1}', "model.safetensors": RNG.randbytes(100_001), "tokenizer.json": b"{}"}
REQUESTS = {"revision": r"/revision/", "listing": r"/tree/[^?]*\?recursive=true&expand=false$", "next page": r"/tree/.*cursor=",
            "file": r"^/me/small/resolve/.*model.safetensors", "small file": r"/resolve-cache/.*config.json", "large file": r"^/repos/"}
CONTENTS = ("file", "small file", "large file")   # these are asked for once more when what comes is wrong
PASSING = {
    "refused": dict(redirect="http://127.0.0.1:9/"), "reset in the body": dict(cut=5, reset=True), "truncated": dict(cut=5),
    "429": dict(status=429), "429 Retry-After": dict(status=429, headers={"Retry-After": "2"}),
    "429 RateLimit": dict(status=429, headers={"RateLimit": '"api";r=0;t=3'}),
    "500": dict(status=500), "503": dict(status=503), "504": dict(status=504), "slow loris": dict(drip=0.03),
    "drop": dict(drop=True), "reset": dict(drop="reset"), "408": dict(status=408), "502": dict(status=502), "silence": dict(hold=True),
    "torn headers": dict(torn=20),
}
NO_ETAG, NOT_SIGNED = "no ETag is read", "its URL is not signed"


def wrong_listing(paths):
    return json.dumps([dict(type="file", path=p, size=len(SMALL[p]), oid="0" * 40) for p in paths])


def fault_cases(hub, kind):
    """{fault: (what the server does, exit status, words of the message)}; a text: why there is no such thing."""
    content, stored = kind in CONTENTS, kind == "large file"
    cases = {name: (fault, 0, []) for name, fault in PASSING.items()}
    for status in (401, 403, 404, 409, 412):
        code = 0 if stored else 3 if status == 412 else 1
        words = ["condition"] if status == 412 else []
        cases[str(status)] = dict(status=status), code, [f"status {status}", *words] if code else []
    cases["other host"] = dict(redirect=hub.storage + "/elsewhere"), 0 if content else 1, [] if content else ["status 403"]
    cases["loop"] = dict(redirect="loop", times=-1), 1, ["more than 5 redirects"]
    cases["garbage"] = dict(status=200, body="{]"), 0 if content else 1, [] if content else ["not what a Hub answers"]
    cases["expired URL"] = (dict(status=403, body="<Error><Code>AccessDenied</Code></Error>"), 0, []) if stored else NOT_SIGNED
    cases["wrong ETag"] = {"file": (dict(headers={"X-Linked-ETag": '"%s"' % ("0" * 64)}), 0, []),
                           "small file": (dict(headers={"ETag": '"%s"' % ("0" * 40)}), 0, []),
                           "large file": "the storage's ETag is of its own kind, no digest"}.get(kind, NO_ETAG)
    cases["wrong SHA"] = {
        "revision": (dict(json={"sha": "0" * 40}), 1, ["no such revision"]),
        "listing": (dict(status=200, body=wrong_listing(SMALL)), 1, ["ETag is not the digest"]),
        "next page": (dict(status=200, body=wrong_listing(["tokenizer.json"])), 1, ["ETag is not the digest"]),
        "file": (dict(headers={"X-Repo-Commit": "0" * 40}), 0, []),
    }.get(kind, (dict(corrupt=True), 0, []))
    return cases


def faults_at(tmp, kind):
    hub, ended = hub_fixture.Hub(), {}
    hub.add("model", "me/small", SMALL)
    for name, what in fault_cases(hub, kind).items():
        if isinstance(what, str):
            ended[name] = "- " + what
            continue
        fault, code, words = what
        home = tmp / f"{kind} {name}"
        home.mkdir()
        hub.clear()
        hub.state.settings.page = 2
        hub.fault(REQUESTS[kind], **fault)
        p = pull(home, *ALL, repo="me/small", env=hub.env(home, HF_HUB_DOWNLOAD_TIMEOUT="1"))
        assert any("fault" in r for r in hub.log()), (kind, name, "the fault was not met")
        assert p.returncode == code, (kind, name, p.returncode, p.stderr)
        assert all(w in p.stderr for w in words), (kind, name, p.stderr)
        check_no_secret(p.stderr + p.stdout)
        assert not hub.leaks() and not cache_problems(home), (kind, name)
        if code == 0:
            check_files(p, SMALL)
        hub.clear()
        check_files(pull(home, *ALL, repo="me/small", env=hub.env(home)), SMALL)
        assert not cache_problems(home) and not list(home.glob("hub/*/blobs/*.incomplete")), (kind, name)
        ended[name] = f"status {code}" if code else "retried"
    return ended


@case(5, 6, 8, 9, 19, 29)
def test_faults_at_every_request(tmp):
    """Each passes after another try, or ends with its status and message; the next run finishes."""
    with concurrent.futures.ThreadPoolExecutor(len(REQUESTS)) as pool:
        runs = {kind: pool.submit(faults_at, tmp, kind) for kind in REQUESTS}
    statuses, n = {}, 0
    for kind, run in runs.items():
        for fault, how in run.result().items():
            if fault in FAULTS:
                pair("pull: " + kind, fault, how)
            if how[0] != "-":
                statuses[how], n = statuses.get(how, 0) + 1, n + 1
    return f"{n} faults at {len(REQUESTS)} kinds of request: {statuses}"


# ---- faults that stay, and wrong answers ----

KINDS = {"revision": r"/revision/", "tree": r"/tree/", "resolve": r"^/me/model/resolve/", "storage": r"^/repos/"}
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


@case(2, 19, 20, 22, 23, 31, 32)
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
        ("tree 65 MB", "/tree/", dict(status=200, body="[" + " " * (65 << 20) + "]"), 1, ["larger than"]),
        ("revision twice", "/revision/", dict(status=200, body='{"sha": "%s", "sha": "%s"}' % ("a" * 40, "b" * 40)), 1, ["twice"]),
        ("tree number", "/tree/", dict(status=200, body='[{"type":"file","path":"a","size":9007199254740993000000,"oid":"%s"}]' % ("a" * 40)), 1, ["no size"]),
        ("tree fraction", "/tree/", dict(status=200, body='[{"type":"file","path":"a","size":1.5,"oid":"%s"}]' % ("a" * 40)), 1, ["no size"]),
        ("tree NUL", "/tree/", dict(status=200, body='[{"type":"file","path":"a","size":1,"oid":"%s\\u0000"}]' % ("a" * 39)), 1, ["no digest"]),
        ("tree of tree", "/tree/", dict(status=200, body='[[{"type":"file"}], 7, null, "x", {"type":"file"}]'), 1, ["without a path"]),
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
        *[(f"resolve to {i}", "/resolve/", dict(status=302, headers={"Location": where}), 1, ["no web address"])
          for i, where in enumerate(["file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:alert(1)", "gopher://127.0.0.1/", "http://u:p@127.0.0.1/",
                                     "http://", "data:,x", "http://a b/", "dict://127.0.0.1:11211/"])],
        ("resolve without location", "/resolve/", dict(status=302), 1, ["without a Location"]),
        ("storage 403 stays", "^/repos/", dict(status=403, times=99), 1, ["status 403"]),
    ]
    for name, match, fault, code, words in cases:
        one_fault(tmp, name, match, fault, code, words)
    return f"{len(cases)} cases"


@case(2, 8, 9, 11, 12, 29, 35)
def test_contents_that_are_wrong(tmp):
    HUB.add("model", MODEL, FILES)
    storage, small = "^/repos/", "/resolve-cache/.*/tokenizer.json"
    large = storage + hashlib.sha256(FILES["model.safetensors"]).hexdigest()
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
        ("range of parts", storage, dict(headers={"Content-Range": None, "Content-Type": "multipart/byteranges; boundary=x"}), 0, []),
        ("chunks", storage, dict(chunked=True, times=99), 0, []),
        ("chunks cut", storage, dict(chunked=True, cut=100_000, times=2), 0, []),
        ("no length, no ranges", storage, dict(ignore_range=True, headers={"Content-Length": None, "Connection": "close"}, times=99), 0, []),
        ("longer than it is", storage, dict(extra=1, times=99), 1, ["more bytes came"]),
        ("longer, no ranges", storage, dict(extra=5000, ignore_range=True, times=99), 1, ["more bytes came"]),
        ("small longer", small, dict(extra=3, times=99), 1, ["more bytes came"]),
        ("no length and short", large, dict(extra=1, cut=1000, times=2), 0, []),
        ("length of the redirect", "/resolve/.*safetensors", dict(headers={"X-Linked-Size": "1"}, times=99), 0, []),
        ("gzip", storage, dict(headers={"Content-Encoding": "gzip"}, times=99), 1, ["gzip"]),
        ("small gzip", small, dict(gzip=True, times=99), 1, ["gzip"]),
        ("expired", storage, dict(status=403), 0, []),
        ("expired twice", storage, dict(status=400, times=2), 0, []),
        ("small etag", small, dict(headers={"ETag": '"%s"' % ("0" * 40)}), 0, []),
        ("small commit", small, dict(headers={"X-Repo-Commit": "0" * 40}, times=99), 1, ["another commit"]),
        ("small length", small, dict(headers={"Content-Length": "1"}, times=99), 1, []),
        ("linked etag", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", times=99, headers={"X-Repo-Commit": "SHA", "X-Linked-ETag": '"../../evil"'}), 1, ["ETag"]),
        ("commit", "/resolve/.*/tokenizer.json", dict(headers={"X-Repo-Commit": "../../../../evil"}, times=99), 1, ["another commit"]),
        ("linked etag first", "/resolve-cache/.*/tokenizer.json", dict(headers={"ETag": '"of-its-own-kind"'}, times=99), 0, []),
        ("weak etag", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", headers={"X-Repo-Commit": "SHA", "ETag": 'W/"9E26DFEEB6E641A33DAE4961196235BDB965B21B"'}), 0, []),
        ("direct answer", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", headers={"X-Repo-Commit": "SHA", "ETag": "9e26dfeeb6e641a33dae4961196235bdb965b21b"}), 0, []),
    ]
    sha = HUB.head("model", MODEL)
    for name, match, fault, code, words in cases:
        fault = json.loads(json.dumps(fault).replace('"SHA"', f'"{sha}"'))
        one_fault(tmp, name, match, fault, code, words)
    return f"{len(cases)} cases"


@case(10)
def test_cut_resumes_at_the_byte(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    HUB.fault("^/repos/", cut=1000)
    check_files(pull(tmp), NEEDED)
    ranges = [r["headers"].get("Range") for r in HUB.log("storage")]
    assert any(r and r.split("=")[1].split("-")[0] in ("1000", "4195304", "8389608") for r in ranges), ranges


def test_troubles_are_counted_apart(tmp):
    """A busy server, signed URLs that expire and rates that are limited: none uses up another's tries."""
    busy, expired, limited = dict(status=503), dict(status=403), dict(status=429, headers={"Retry-After": "1"})
    cases = [([(busy, 2), (expired, 1)], 0), ([(expired, 2), (busy, 1)], 0), ([(busy, 5), (expired, 2)], 0), ([(expired, 2), (busy, 5)], 0),
             ([(busy, 1), (expired, 1)] * 2, 0), ([(limited, 5), (busy, 5), (expired, 2)], 0), ([(busy, 3), (limited, 3), (busy, 2)], 0),
             ([(expired, 3)], 1), ([(busy, 2), (expired, 3)], 1), ([(busy, 6)], 3), ([(expired, 2), (busy, 6)], 3), ([(limited, 6)], 3)]
    hub = hub_fixture.Hub()
    hub.add("model", "me/small", SMALL)
    for streamed in (False, True):   # in parts, or as one reply of a server that gives none
        for i, (faults, code) in enumerate(cases):
            home = tmp / f"{i}{streamed}"
            home.mkdir()
            hub.clear()
            for fault, times in faults:
                hub.fault("^/repos/", times=times, **fault)
            if streamed:
                hub.fault("^/repos/", times=99, ignore_range=True)
            p = pull(home, *ALL, repo="me/small", env=hub.env(home))
            assert p.returncode == code, (faults, p.returncode, p.stderr)
            if code == 0:
                check_files(p, SMALL)
            assert sum("status" in r.get("fault", {}) for r in hub.log()) >= sum(times for _, times in faults), faults
    # Bytes that an earlier run left may be wrong, and after that the network once, too.
    fresh()
    HUB.add("model", MODEL, FILES)
    blob = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    (tmp / "hub/models--me--model/blobs").mkdir(parents=True)
    (tmp / f"hub/models--me--model/blobs/{blob}.qk.incomplete").write_bytes(b"x" * 1_000_000)
    HUB.fault("^/repos/", corrupt=True)
    HUB.fault("^/repos/", corrupt=True, skip=3)
    check_files(pull(tmp), NEEDED)
    return f"{2 * len(cases)} cases"


# ---- hostile servers ----

def hostile_names():
    return ["../x", "a/../../x", "/etc/x", "a//b", "./a", "a/.", "..", "a\\b", "..\\x", "C:x", "a/C:/b", "a\nb", "a\x7fb", "\\\\host\\x",
            "a\x00b", "x" * 256, "/".join(["d"] * 3000), ""]


@case(1, 20)
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


@case(2)
def test_bad_arguments(tmp):
    for repo in ("../x", "a/b/c", "a--b/c", "a/b.git", "/a", "a b"):
        assert pull(tmp, repo=repo).returncode == 1, repo
    for rev in ("../x", "/x", "a@{1}", "x.lock", "a..b"):
        assert pull(tmp, "--revision", rev).returncode == 1, rev


@case(3)
def test_planted_links(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    sha = HUB.head("model", MODEL)
    outside = tmp / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    repo = tmp / "hub/models--me--model"
    blob = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    for name in ("snapshot folder", "folder", "partial", "partial hard", "blobs"):
        shutil.rmtree(tmp / "hub", ignore_errors=True)
        (repo / "snapshots").mkdir(parents=True)
        if name == "blobs":
            (repo / "blobs").symlink_to(outside)
        else:
            (repo / "blobs").mkdir()
        if name == "blobs":
            pass
        elif name == "snapshot folder":
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
    (repo / "blobs").mkdir()
    (repo / "blobs" / blob).symlink_to(outside / "victim")
    (repo / "refs").mkdir()
    (repo / "refs/main").symlink_to(outside / "victim")
    check_files(pull(tmp, *ALL))
    assert (outside / "victim").read_text() == "mine" and (repo / "refs/main").read_text() == sha
    assert not (repo / "refs/main").is_symlink() and not (repo / "blobs" / blob).is_symlink()


@case(10)
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


@case(5, 6)
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


@case(5, 19)
def test_other_ports_and_hosts(tmp):
    """The same host at another port, and an address without a scheme: other origins, so no token goes there."""
    HUB.add("model", MODEL, FILES)
    other, storage = HUB.listen(), HUB.storage.split(":", 1)[1]
    for kind in ("revision/", "tree/"):
        for where in (other, storage, other.replace("127.0.0.1", "localhost")):
            fresh()
            HUB.fault(f"/api/models/{MODEL}/{kind}.*$", status=307, headers={"Location": f"{where}/api/elsewhere"}, times=1)
            assert pull(tmp).returncode == 1
            there = [r for r in HUB.log() if r["path"] == "/api/elsewhere"]
            assert there and not any("Authorization" in r["headers"] for r in there), (kind, where, HUB.log())
            assert "Authorization" in HUB.log()[0]["headers"]
    fresh()   # a Hub that moved its API to another origin: what needs no token works
    HUB.fault("/revision/", status=307, headers={"Location": f"{other}/api/models/{MODEL}/revision/main?other"}, times=1)
    check_files(pull(tmp), NEEDED)
    assert not any("Authorization" in r["headers"] for r in HUB.log() if r["path"].endswith("?other"))
    return "7 cases"


@case(21)
def test_long_headers(tmp):
    HUB.add("model", MODEL, {"config.json": b"{}", "model.safetensors": FILES["model.safetensors"]})
    sha = HUB.head("model", MODEL)
    signature = HUB.state.sign()
    oid = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    long = f"{HUB.storage}/repos/{oid}?Signature={signature}&Policy=" + "x" * 40_000
    links = ", ".join(f'<http://elsewhere.test/{i}{"y" * 500}>; rel="first"' for i in range(120))
    cases = [("location", "/resolve/.*safetensors", dict(status=302, times=99, headers={"Location": long, "X-Repo-Commit": sha}), 0, ""),
             ("link", "/tree/", dict(headers={"Link": links}), 0, ""),
             ("many", "/revision/", dict(headers={f"X-{i}": "z" * 900 for i in range(150)}), 0, ""),
             ("endless", "/revision/", dict(headers={f"X-{i}": "z" * 50_000 for i in range(99)}, times=99), 1, "header")]
    for name, match, fault, code, words in cases:
        fresh()
        HUB.fault(match, **fault)
        p = pull(tmp / name, *ALL, cwd=tmp)
        assert p.returncode == code and words in p.stderr, (name, p.returncode, p.stderr[:2000])
        check_no_secret(p.stderr)
        if not code:
            check_files(p, {"config.json": b"{}", "model.safetensors": FILES["model.safetensors"]})
    return f"{len(cases)} cases"


@case(23, 24)
def test_names_that_are_alike(tmp):
    """Case, Unicode form, dots at the end: different files; and files of zero bytes, small and large ones."""
    fresh()
    files = {"A.txt": b"1", "a.txt": b"2", "\u00e9.txt": b"3", "e\u0301.txt": b"4", "dot.": b"5", "dot": b"6", "dot..": b"7", " blank ": b"8",
             "sub/A": b"9", "Sub/A": b"10", "-rf": b"11", "~": b"12", "empty.txt": b"", "empty.bin": b"", "x/empty.bin": b"", "%41.txt": b"13",
             "a?b&c=d#e": b"14", "\U0001f600": b"15"}
    HUB.add("dataset", "me/alike", files)
    snapshot = check_files(pull(tmp, "--dataset", repo="me/alike"), files)
    assert {p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file()} == set(files)
    assert not cache_problems(tmp)
    empty, zero = hashlib.sha256(b"").hexdigest(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    for partial in (b"", b"too long"):   # what an earlier run left of a file that has no bytes
        home = tmp / f"home{len(partial)}"
        for name in (empty, zero):
            (home / "hub/datasets--me--alike/blobs").mkdir(parents=True, exist_ok=True)
            (home / f"hub/datasets--me--alike/blobs/{name}.qk.incomplete").write_bytes(partial)
        check_files(pull(home, "--dataset", repo="me/alike", cwd=tmp), files)
        assert not cache_problems(home) and not list(home.glob("hub/*/blobs/*.incomplete"))
    return f"{len(files)} names"


@case(16)
def test_repository_changes_meanwhile(tmp):
    """A commit arrives between listing and download, or between two pages: everything comes from the commit that was first."""
    HUB.add("model", MODEL, FILES)
    for n, match in enumerate(("/resolve/", "^/repos/", "/tree/", "/tree/.*cursor=")):
        fresh()
        HUB.state.settings.page = 3
        first = HUB.add("model", MODEL, FILES)
        HUB.fault(match, hold=True)
        home = tmp / str(n)
        process = subprocess.Popen([str(common.ROOT / "qkengine"), "pull", MODEL, *ALL, "--quiet"], env=HUB.env(home), stdout=subprocess.PIPE, text=True)
        wait_until(lambda: any("fault" in r for r in HUB.log()), process)
        HUB.add("model", MODEL, {p: b"new " + d for p, d in FILES.items()})
        HUB.release()
        out, _ = process.communicate(timeout=HANGS)
        assert process.returncode == 0
        snapshot = pathlib.Path(out.strip())
        assert snapshot.name == first and all((snapshot / p).read_bytes() == d for p, d in FILES.items())
        assert (snapshot.parents[1] / "refs/main").read_text() == first
        commits = {r["path"].split("/tree/" if "/tree/" in r["path"] else "/resolve/")[1].split("?")[0].split("/")[0]
                   for r in HUB.log("hub") if "/tree/" in r["path"] or "/resolve/" in r["path"]}
        assert commits == {first}, commits
        again = check_files(pull(home, *ALL, cwd=tmp), {p: b"new " + d for p, d in FILES.items()})
        assert again.name != first and not cache_problems(home)
    return "4 moments"


@case(41, 35)
def test_server_that_is_not_the_hub(tmp):
    """Files without redirects, commits of 64 digits, no .gitattributes, canonical addresses in its replies."""
    fresh()
    HUB.add("model", "me/lake", FILES)
    repository = HUB.state.repositories["model", "me/lake"]
    long = "ab" * 32
    repository.commits[long] = {**repository.commits[repository.refs["main"]], "id": long}
    repository.refs["main"] = long
    HUB.state.settings.direct, HUB.state.settings.page = True, 3
    HUB.fault("/tree/[^?]*.recursive=true&expand=false$", times=1,
              headers={"Link": f'<https://huggingface.co/api/models/me/lake/tree/{long}?recursive=true&expand=false&cursor=Mw==>; rel="next"'})
    snapshot = check_files(pull(tmp, *ALL, repo="me/lake"), FILES)
    assert snapshot.name == long and not HUB.log("storage") and not cache_problems(tmp)


@case(34)
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

@case(38)
def test_sigint(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    HUB.fault("^/repos/", hold=True, times=99)
    p = subprocess.Popen([str(common.ROOT / "qkengine"), "pull", MODEL], env=HUB.env(tmp, HF_HUB_DOWNLOAD_TIMEOUT=str(2 * HANGS)), cwd=tmp,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: HUB.log("storage"), p)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=HANGS)
    assert p.returncode == 3 and "signal" in err, (p.returncode, err)
    fresh()
    check_files(pull(tmp), NEEDED)


@case(13)
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
            HUB.fault("^/repos/", hold=True, times=3)
            p = subprocess.Popen([str(common.ROOT / "qkengine"), "pull", MODEL], env=HUB.env(disk), stderr=subprocess.PIPE, text=True)
            if name == "filled":
                wait_until(lambda: HUB.log("storage"), p)
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


DISK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int fails(const char *what)
{
    if (strcmp(getenv("DISK_FAILS"), what)) return 0;
    errno = atoi(getenv("DISK_ERRNO"));
    return 1;
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pwrite");
    return at > 5000000 && fails("write") ? -1 : real(fd, bytes, n, at);
}
int fsync(int fd)
{
    static int (*real)(int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fsync");
    return fails("fsync") ? -1 : real(fd);
}
int renameat(int from, const char *old, int to, const char *new)
{
    static int (*real)(int, const char *, int, const char *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "renameat");
    return fails("rename") ? -1 : real(from, old, to, new);
}
int symlinkat(const char *target, int to, const char *new)
{
    static int (*real)(const char *, int, const char *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "symlinkat");
    return fails("link") ? -1 : real(target, to, new);
}
"""


@case(13)
def test_disk_that_refuses(tmp):
    """No space, or no quota, at each kind of write; and too little of it from the start."""
    HUB.add("model", MODEL, FILES)
    (tmp / "disk.c").write_text(DISK)
    if subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp / "disk.so", tmp / "disk.c", "-ldl"], capture_output=True).returncode:
        return "SKIPPED: no C compiler"
    for what in ("write", "fsync", "rename", "link"):
        for code in (errno.ENOSPC, errno.EDQUOT):
            fresh()
            home = tmp / f"{what} {code}"
            env = HUB.env(home, LD_PRELOAD=str(tmp / "disk.so"), DISK_FAILS=what, DISK_ERRNO=str(code))
            p = pull(home, *ALL, env=env, cwd=tmp)
            assert p.returncode == 3 and ("disk is full" in p.stderr or "quota is used up" in p.stderr), (what, code, p.returncode, p.stderr)
            assert not cache_problems(home)
            if what in ("write", "fsync"):   # what was written would only be in the way
                large = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
                assert not (home / f"hub/models--me--model/blobs/{large}.qk.incomplete").exists(), what
            check_files(pull(home, *ALL, cwd=tmp))
            assert not cache_problems(home) and not list(home.glob("hub/*/blobs/*.incomplete"))
    fresh()
    HUB.fault("/tree/", status=200, body=json.dumps([dict(type="file", path=p, size=1 << 49, oid=c * 40) for p, c in ("aa", "bb")]))
    p = pull(tmp / "huge", *ALL, cwd=tmp)
    assert p.returncode == 3 and "are needed" in p.stderr and not HUB.log("storage"), p.stderr
    return "9 cases"


@case(37)
def test_permissions(tmp):
    """Files and folders as the umask says; locks that a group may share; the group of a folder is inherited."""
    fresh()
    HUB.add("model", MODEL, FILES)
    for umask, blob_mode, lock_mode in ((0o027, 0o640, 0o640), (0o002, 0o664, 0o664), (0o077, 0o600, 0o600)):
        home = tmp / oct(umask)
        home.mkdir()
        os.chmod(home, 0o2770)
        old = os.umask(umask)
        try:
            snapshot = check_files(pull(home, *ALL))
        finally:
            os.umask(old)
        for blob in (snapshot.parents[1] / "blobs").iterdir():
            assert stat.S_IMODE(blob.stat().st_mode) == blob_mode, blob
        for lock in home.glob("hub/.locks/*/*.lock"):
            assert stat.S_IMODE(lock.stat().st_mode) == lock_mode, lock
        for folder in (p for p in home.rglob("*") if p.is_dir() and not p.is_symlink()):
            assert folder.stat().st_mode & stat.S_ISGID, folder
    return "3 masks"


@case(10)
def test_kill(tmp):
    """Kills at random moments of a pull; each rerun completes with identical bytes and asks for no byte twice."""
    fresh()
    files = {**FILES, "model.safetensors": RNG.randbytes(40_000_000), **{f"s/{i}.bin": RNG.randbytes(2000 + i) for i in range(20)}}
    total = sum(map(len, files.values()))
    HUB.add("model", "me/big", files)
    whole, kills, late, kept = 1.0, 0, 0, 0
    wanted = 50 if FULL else 20
    while kills < wanted and late < 200:
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
    assert kills == wanted, (kills, late)
    return f"{kills} kills before the end, {kept} left partial files that were resumed; a pull takes {whole:.1f} s"


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(finish("hub pull faults", "hub_pull_faults", TESTS))
