"""Pulling: models and datasets of a Hub on the loopback, by `qkengine run`, `plan` and `pull`.

End to end, the cache shared with huggingface_hub, faults at every kind of request, hostile servers, SIGKILL at
random moments. Each fault case ends with a look at the whole cache (every blob has the digest that is its name)
and a rerun that must give the identical bytes.
"""
import concurrent.futures
import hashlib
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time

import common
import hub_fixture
from common import CASE, engine

HUB = None
MODEL = "me/model"
RNG = random.Random(7)
FILES = {"config.json": b'{"a": 1}', "tokenizer.json": b"{}", "README.md": b"", "model.safetensors": RNG.randbytes(9_000_001),
         "sub/a b+#%\u00fc.bin": RNG.randbytes(1000), "sub/same.bin": b"same", "other/same2.bin": b"same"}
NEEDED = {p: FILES[p] for p in ("config.json", "tokenizer.json", "model.safetensors")}   # by a run
ALL = ["--include", "*"]
GATE_WORDS = ("hf_testtoken",)


def folder_files(folder):
    return {p.relative_to(folder).as_posix(): p for p in sorted(pathlib.Path(folder).rglob("*")) if p.is_file()}


def cache_problems(home):
    """Blobs whose content is not their name, links that lead nowhere, temporary files other than ours."""
    out = []
    for blob in pathlib.Path(home).glob("hub/*/blobs/*"):
        data = blob.read_bytes()
        if blob.name.endswith(".qk.incomplete"):
            continue
        own = hashlib.sha256(data).hexdigest() if len(blob.name) == 64 else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        if own != blob.name:
            out.append(f"{blob.name} has other bytes")
    for link in pathlib.Path(home).glob("hub/*/snapshots/**/*"):
        if link.is_symlink() and not link.exists():
            out.append(f"{link} is broken")
    return out


def pull(home, *args, repo=MODEL, env=None, **more):
    return engine(["pull", repo, *args, "--quiet"], cwd=home, env=env or HUB.env(home), **more)


def check_files(process, files=FILES):
    assert process.returncode == 0, process.stderr
    snapshot = pathlib.Path(process.stdout.strip())
    for path, data in files.items():
        assert (snapshot / path).read_bytes() == data, path
    return snapshot


def fresh():
    HUB.clear()
    HUB.state.page = 1000


def check_no_secret(text):
    assert not any(w in text for w in GATE_WORDS), text
    assert "Signature=" not in text and "Policy=" not in text, text
    assert not HUB.leaks(), HUB.leaks()


# ---- end to end ----

def case_repos(dataset=None):
    HUB.add("model", "me/tiny", {p: f.read_bytes() for p, f in folder_files(CASE / "model").items()})
    HUB.add("dataset", "me/texts", dataset or {p: f.read_bytes() for p, f in folder_files(CASE / "dataset").items()})


def test_run_from_hub(tmp):
    """A run with names of the Hub writes what a run with folders of the same names writes."""
    fresh()
    case_repos()
    remote, local = tmp / "remote", tmp / "local"
    for w in (remote, local):
        w.mkdir()
        text = (CASE / "config.yaml").read_text().replace("name: model", "name: me/tiny").replace("path: dataset", "path: me/texts")
        (w / "config.yaml").write_text(text)
    shutil.copytree(CASE / "model", local / "me/tiny")
    shutil.copytree(CASE / "dataset", local / "me/texts")
    p = common.run(remote, env=HUB.env(tmp / "home"))
    assert p.returncode == 0, p.stderr
    assert common.run(local, env=HUB.env(tmp / "home", HF_HUB_OFFLINE="1")).returncode == 0
    assert common.digest(remote / "out/final") == common.digest(local / "out/final")
    fresh()
    again = common.run(remote, env=HUB.env(tmp / "home", HF_HUB_OFFLINE="1"))
    assert again.returncode == 0 and not HUB.log(), (again.stderr, HUB.requests())
    return f"{len(common.digest(local / 'out/final'))} identical files"


def test_run_pulls_only_what_it_needs(tmp):
    fresh()
    shard = RNG.randbytes(1000)
    model = {p: f.read_bytes() for p, f in folder_files(CASE / "model").items()}
    HUB.add("model", "me/tiny2", {**model, "pytorch_model.bin": shard, "onnx/model.onnx": shard, "model.fp16.safetensors": shard})
    rows = (CASE / "dataset/train.parquet").read_bytes()
    card = b"---\nconfigs:\n- config_name: en\n  data_files:\n  - {split: train, path: en/train.parquet}\n  - {split: test, path: en/test.parquet}\n- config_name: fr\n  data_files: fr/*.parquet\n---\n"
    HUB.add("dataset", "me/texts2", {"README.md": card, "en/train.parquet": rows, "en/test.parquet": b"PAR1 not read", "fr/a.parquet": b"PAR1 not read"})
    shutil.copy(CASE / "config.yaml", tmp / "config.yaml")
    p = common.run(tmp, "model.name=me/tiny2", "dataset.path=me/texts2", "dataset.name=en", env=HUB.env(tmp / "home"))
    assert p.returncode == 0, p.stderr
    asked = {r.split("/resolve/")[1].split("/", 1)[1] for r in HUB.requests() if "/resolve/" in r}
    assert asked == {*model, "README.md", "en/train.parquet"}, asked
    return f"{len(asked)} of 11 files"


def test_sharded_model(tmp):
    fresh()
    shards = {f"model-{i:05d}-of-00003.safetensors": RNG.randbytes(100 + i) for i in range(1, 4)}
    index = {"weight_map": {f"t{i}": name for i, name in enumerate(sorted(shards) * 2)}}
    files = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(), **shards}
    HUB.add("model", "me/shards", {**files, "model-00009-of-00009.safetensors": b"no part of it"})
    snapshot = check_files(pull(tmp, repo="me/shards"), files)
    assert not (snapshot / "model-00009-of-00009.safetensors").exists()


def test_plan_pulls_no_weights(tmp):
    fresh()
    case_repos()
    shutil.copy(CASE / "config.yaml", tmp / "config.yaml")
    args = ["plan", "config.yaml", "--json", "--set", "model.name=me/tiny", "--set", "dataset.path=me/texts", "--set", "dataset.max_samples=7"]
    p = engine(args, cwd=tmp, env=HUB.env(tmp / "home"))
    assert p.returncode == 0, p.stderr
    assert json.loads(p.stdout)["examples"] == 7 and json.loads(p.stdout)["examples_at_full_length"]
    assert not any("safetensors" in r or "parquet" in r for r in HUB.requests()), HUB.requests()
    assert pull(tmp / "home", "--dataset", repo="me/texts").returncode == 0
    p = engine(args, cwd=tmp, env=HUB.env(tmp / "home"))
    assert not json.loads(p.stdout)["examples_at_full_length"], p.stdout


def test_plan_with_preset_offline(tmp):
    fresh()
    shutil.copy(CASE / "config.yaml", tmp / "config.yaml")
    args = ["plan", "config.yaml", "--json", "--set", "model.name=Qwen/Qwen3-0.6B"]
    for env in (HUB.env(tmp, HF_HUB_OFFLINE="1"), HUB.env(tmp, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN="")):
        began = time.monotonic()
        p = engine(args, cwd=tmp, env={**env, "QKENGINE_RETRY_MS": "1000"})
        assert p.returncode == 0 and json.loads(p.stdout)["preset"], p.stderr
        assert time.monotonic() - began < 5


def test_revision(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    sha = HUB.add("model", MODEL, {"config.json": b"other"}, branch="b/1")
    snapshot = check_files(pull(tmp, "--revision", "b/1", *ALL), {"config.json": b"other"})
    assert snapshot.name == sha and (snapshot.parents[1] / "refs/b/1").read_text() == sha
    HUB.clear()
    check_files(pull(tmp, "--revision", sha, *ALL), {"config.json": b"other"})
    assert not HUB.log(), "a commit that is in the cache needs no request"


# ---- the cache and huggingface_hub ----

def python_client(code, home, **env):
    p = subprocess.run([sys.executable, "-c", code], env=HUB.env(home, **env), capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    return p.stdout.strip()


SNAPSHOT = "import huggingface_hub as h; print(h.snapshot_download('me/model'%s))"


def test_python_uses_our_cache(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    ours = check_files(pull(tmp, *ALL))
    HUB.clear()
    assert python_client(SNAPSHOT % "", tmp) == str(ours)
    content = [r for r in HUB.requests() if r.startswith("GET cdn") or r.startswith("GET") and ("/resolve" in r)]
    assert not content, content
    HUB.clear()
    assert python_client(SNAPSHOT % ", local_files_only=True", tmp, HF_HUB_OFFLINE="1") == str(ours)
    assert not HUB.log()
    said = python_client("import huggingface_hub as h; i=h.scan_cache_dir(); print(len(i.warnings), [ (r.repo_id, r.nb_files, sorted(r.refs)) for r in i.repos], h.__version__)", tmp)
    assert said.startswith(f"0 [('me/model', {len(set(FILES.values()))}, ['main'])]"), said
    return said


def test_we_use_pythons_cache(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    theirs = python_client(SNAPSHOT % "", tmp)
    HUB.clear()
    assert str(check_files(pull(tmp, *ALL))) == theirs
    content = [r for r in HUB.requests() if "/resolve" in r or "GET cdn" in r]
    assert not content, content
    HUB.clear()
    assert pull(tmp, *ALL, env=HUB.env(tmp, HF_HUB_OFFLINE="1")).returncode == 0 and not HUB.log()


def test_offline_with_pythons_cache_alone(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    theirs = python_client(SNAPSHOT % "", tmp)
    HUB.clear()
    p = pull(tmp, *ALL, env=HUB.env(tmp, HF_HUB_OFFLINE="1"))
    assert str(check_files(p)) == theirs and not HUB.log()


def test_both_at_once(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(pull, tmp, *ALL) for _ in range(3)] + [pool.submit(python_client, SNAPSHOT % "", tmp)]
    for r in runs[:3]:
        check_files(r.result())
    assert not cache_problems(tmp)
    assert not list(tmp.glob("hub/*/blobs/*.incomplete"))


def test_two_processes_download_once(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    HUB.fault("^/repos/", delay=0.3, times=4)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for r in [pool.submit(pull, tmp, *ALL) for _ in range(2)]:
            check_files(r.result())
    blob = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert HUB.requests().count(f"GET cdn /repos/{blob}") == 3, HUB.requests()   # pieces of 4 MB


def test_without_links(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    env = HUB.env(tmp, HF_HUB_DISABLE_SYMLINKS="1")
    snapshot = check_files(pull(tmp, *ALL, env=env))
    assert not any(p.is_symlink() for p in snapshot.rglob("*"))
    HUB.clear()
    check_files(pull(tmp, *ALL, env=env))
    assert not any("/resolve" in r for r in HUB.requests())


def test_read_only_cache(tmp):
    fresh()
    if os.getuid() != 0:
        nobody = {}
    else:
        nobody = {"user": 65534, "group": 65534}
    HUB.add("model", MODEL, FILES)
    env = HUB.env(tmp)
    check_files(pull(tmp, *ALL))
    os.chmod(tmp, 0o755)
    for path in [tmp, *tmp.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            os.chmod(path, 0o555)
    try:
        p = subprocess.run([str(common.ROOT / "qkengine"), "pull", MODEL, *ALL], env=env, cwd="/", capture_output=True, text=True, **nobody)
        check_files(p)
        HUB.add("model", MODEL, {"new.bin": b"x"})
        p = subprocess.run([str(common.ROOT / "qkengine"), "pull", MODEL, *ALL], env=env, cwd="/", capture_output=True, text=True, **nobody)
        assert p.returncode == 1 and "ermission" in p.stderr, (p.returncode, p.stderr)
    except PermissionError:
        return "SKIPPED: another user cannot reach the program"
    finally:
        for path in [tmp, *tmp.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                os.chmod(path, 0o755)


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
        ("cut", storage, dict(cut_after=100_000, times=2), 0, []),
        ("cut at once", storage, dict(cut_after=0, times=2), 0, []),
        ("cut stays", storage, dict(cut_after=0, times=99), 3, []),
        ("corrupt once", storage, dict(corrupt=True), 0, []),
        ("corrupt stays", storage, dict(corrupt=True, times=99), 1, ["not the one that the Hub lists"]),
        ("small corrupt once", small, dict(corrupt=True), 0, []),
        ("small corrupt stays", small, dict(corrupt=True, times=99), 1, ["not the one that the Hub lists"]),
        ("no ranges", storage, dict(norange=True, times=99), 0, []),
        ("no ranges cut", storage, dict(norange=True, cut_after=5_000_000, times=4), 0, []),
        ("416", storage, dict(status=416), 0, []),
        ("range start", storage, dict(headers_override={"Content-Range": "bytes 1-4194304/9000001"}), 0, []),
        ("range total", storage, dict(headers_override={"Content-Range": "bytes 0-4194303/9"}), 0, []),
        ("range words", storage, dict(headers_override={"Content-Range": "everything"}), 0, []),
        ("gzip", storage, dict(headers_override={"Content-Encoding": "gzip"}, times=99), 1, ["gzip"]),
        ("expired", storage, dict(status=403), 0, []),
        ("expired twice", storage, dict(status=400, times=2), 0, []),
        ("small etag", small, dict(headers_override={"ETag": '"%s"' % ("0" * 40)}), 0, []),
        ("small commit", small, dict(headers_override={"X-Repo-Commit": "0" * 40}, times=99), 1, ["another commit"]),
        ("small length", small, dict(headers_override={"Content-Length": "1"}, times=99), 1, []),
        ("linked etag", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", times=99, headers={"X-Repo-Commit": "SHA", "X-Linked-ETag": '"../../evil"'}), 1, ["ETag"]),
        ("weak etag", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", headers={"X-Repo-Commit": "SHA", "ETag": 'W/"9E26DFEEB6E641A33DAE4961196235BDB965B21B"'}), 0, []),
        ("direct answer", "/resolve/.*/tokenizer.json", dict(status=200, body="{}", headers={"X-Repo-Commit": "SHA", "ETag": "9e26dfeeb6e641a33dae4961196235bdb965b21b"}), 0, []),
    ]
    sha = HUB.state.repos[("model", MODEL)].refs["main"]
    for name, match, fault, code, words in cases:
        fault = json.loads(json.dumps(fault).replace('"SHA"', f'"{sha}"'))
        one_fault(tmp, name, match, fault, code, words)
    return f"{len(cases)} cases"


def test_cut_resumes_at_the_byte(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    HUB.fault("^/repos/", cut_after=1000)
    check_files(pull(tmp), NEEDED)
    ranges = [r["headers"].get("Range") for r in HUB.log("cdn")]
    assert any(r and r.split("=")[1].split("-")[0] in ("1000", "4195304", "8389608") for r in ranges), ranges


def test_refused(tmp):
    fresh()
    p = pull(tmp, env=HUB.env(tmp, HF_ENDPOINT="http://127.0.0.1:9"))
    assert p.returncode == 3 and "run it again" in p.stderr, p.stderr
    check_no_secret(p.stderr)


def test_unreachable_hub_and_a_full_cache(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    check_files(pull(tmp, *ALL))
    p = pull(tmp, *ALL, env=HUB.env(tmp, HF_ENDPOINT="http://127.0.0.1:9"))
    check_files(p)
    assert "using what the cache has" in p.stderr
    p = pull(tmp, "--revision", "elsewhere", env=HUB.env(tmp, HF_ENDPOINT="http://127.0.0.1:9"))
    assert p.returncode == 3, p.stderr


def test_offline(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    p = pull(tmp, env=HUB.env(tmp, HF_HUB_OFFLINE="YES"))
    assert p.returncode == 1 and "HF_HUB_OFFLINE" in p.stderr and not HUB.log(), p.stderr
    check_files(pull(tmp), NEEDED)
    HUB.clear()
    p = pull(tmp, *ALL, env=HUB.env(tmp, HF_HUB_OFFLINE="1"))
    assert p.returncode == 1 and "not in the cache" in p.stderr and not HUB.log(), p.stderr
    if shutil.which("strace"):
        p = subprocess.run(["strace", "-f", "-e", "trace=socket", "-o", str(tmp / "calls"), str(common.ROOT / "qkengine"), "pull", MODEL],
                           env=HUB.env(tmp, HF_HUB_OFFLINE="1"), capture_output=True, text=True)
        if p.returncode == 0:
            assert "socket(" not in (tmp / "calls").read_text()
            return "no socket (strace)"


# ---- accounts ----

def test_accounts(tmp):
    fresh()
    HUB.add("model", "me/private", {"config.json": b"{}"}, private=True)
    HUB.add("model", "me/gated", {"config.json": b"{}"}, gated=True)
    HUB.add("model", "me/off", {"config.json": b"{}"}, disabled=True)
    HUB.add("model", "me/open", {"config.json": b"{}"})
    cases = [
        ("me/private", None, ["does not exist, or is private", "set HF_TOKEN"]),
        ("me/absent", None, ["does not exist, or is private", "set HF_TOKEN"]),
        ("me/absent", hub_fixture.READ, ["does not exist, or is private", "the token is from HF_TOKEN"]),
        ("me/open", "hf_wrongwrongwrong", ["the token is not valid", "the token is from HF_TOKEN"]),
        ("me/gated", None, ["gated", "set HF_TOKEN"]),
        ("me/gated", hub_fixture.READ, ["gated", "ask for access"]),
        ("me/off", hub_fixture.READ, ["is disabled"]),
    ]
    for repo, token, words in cases:
        p = pull(tmp, *ALL, repo=repo, env=HUB.env(tmp, token=token))
        assert p.returncode == 1, (repo, p.stderr)
        for w in words:
            assert w in p.stderr, (repo, token, w, p.stderr)
        check_no_secret(p.stderr)
        assert "hf_wrong" not in p.stderr
    for repo, token in (("me/private", hub_fixture.READ), ("me/gated", hub_fixture.WRITE)):
        check_files(pull(tmp, *ALL, repo=repo, env=HUB.env(tmp, token=token)), {"config.json": b"{}"})
    p = pull(tmp, *ALL, "--revision", "nowhere", repo="me/open")
    assert p.returncode == 1 and "nowhere" in p.stderr and "no such revision" in p.stderr, p.stderr
    return f"{len(cases) + 3} cases"


def test_token_sources(tmp):
    fresh()
    HUB.add("model", "me/private", {"config.json": b"{}"}, private=True)
    home = tmp / "home"
    home.mkdir()
    (home / "token").write_text(hub_fixture.READ + "\n")
    p = engine(["pull", "me/private", *ALL], cwd=tmp, env=HUB.env(home, token=None))
    assert p.returncode == 0, p.stderr
    (home / "token").unlink()
    (tmp / ".env").write_text(f"HF_TOKEN={hub_fixture.READ}\nHF_ENDPOINT=http://127.0.0.1:9\n")
    p = engine(["pull", "me/private", *ALL], cwd=tmp, env=HUB.env(home, token=None))
    assert p.returncode == 0, p.stderr
    p = engine(["pull", "me/private", *ALL], cwd=tmp, env=HUB.env(home, token="hf_wrongwrong"))
    assert p.returncode == 1 and "not valid" in p.stderr, ".env does not override"


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
    sha = HUB.state.repos[("model", MODEL)].refs["main"]
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
        asked = sum(1 for r in HUB.requests() if r.startswith("GET cdn"))
        assert name not in ("prefix", "all") or asked == {"prefix": 1, "all": 0}[name], (name, HUB.requests())
        assert not cache_problems(home)
    return "5 cases"


def test_redirects_and_the_token(tmp):
    """The API led to another origin: followed, without the token."""
    fresh()
    HUB.add("model", MODEL, FILES)
    cdn = HUB.state.cdn
    HUB.fault("/revision/", status=307, headers={"Location": f"{cdn}/x"}, role="hub")
    p = pull(tmp)
    assert p.returncode == 1, p.stderr
    assert len(HUB.log("cdn")) == 1 and not HUB.leaks()
    check_no_secret(p.stderr)


def test_renamed_repository(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    sha = HUB.state.repos[("model", MODEL)].refs["main"]
    for verb in ("revision/main", f"tree/{sha}"):
        HUB.fault(f"/api/models/old/name/{verb}", status=307, headers={"Location": f"/api/models/{MODEL}/{verb}?recursive=true"}, times=99)
    HUB.fault("^/old/name/resolve/.*/config.json", status=307, headers={"Location": f"/{MODEL}/resolve/{sha}/config.json"}, times=99)
    check_files(pull(tmp, "--include", "config.json", repo="old/name"), {"config.json": FILES["config.json"]})
    token = [r for r in HUB.log() if r["path"].startswith("/api/models/me/model/revision")]
    assert token and token[0]["headers"].get("Authorization"), "the same origin keeps the token"


def test_pages(tmp):
    fresh()
    files = {f"d{i % 7}/f{i:04d}.txt": b"%d" % (i % 10) for i in range(300)}
    HUB.add("dataset", "me/many", files)
    HUB.state.page = 17
    check_files(pull(tmp, "--dataset", repo="me/many"), files)
    pages = sum("/tree/" in r for r in HUB.requests())
    fresh()
    return f"{pages} pages, {len(files)} files"


# ---- TLS and proxies ----

def make_certificates(tmp):
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=tmp, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=test authority")
    for name, san, days in (("good", "IP:127.0.0.1", "30"), ("other", "DNS:elsewhere.test", "30"), ("expired", "IP:127.0.0.1", "-1")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (tmp / f"{name}.ext").write_text(f"subjectAltName={san}\n")
        args = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-extfile", f"{name}.ext"]
        if days == "-1":
            (tmp / "db").write_text("")
            (tmp / "serial").write_text("05\n")
            (tmp / "ca.cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=db\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
            openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", f"{name}.pem",
                    "-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-extfile", f"{name}.ext", "-notext")
        else:
            openssl(*args, "-days", days)


def test_tls(tmp):
    if not shutil.which("openssl"):
        return "SKIPPED: no openssl program"
    fresh()
    HUB.add("model", MODEL, {"config.json": b"{}"})
    make_certificates(tmp)
    for name, authority, code, words in (("good", True, 0, []), ("good", False, 1, ["certificate"]), ("other", True, 1, ["127.0.0.1"]), ("expired", True, 1, ["expired", "clock"])):
        server = hub_fixture.Server(("127.0.0.1", 0), HUB.module.H)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp / f"{name}.pem", tmp / f"{name}.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = HUB.env(tmp / name, HF_ENDPOINT=f"https://127.0.0.1:{server.server_address[1]}")
        if authority:
            env["SSL_CERT_FILE"] = str(tmp / "ca.pem")
        HUB.clear()
        p = engine(["pull", MODEL, *ALL], cwd=tmp, env=env)
        server.shutdown()
        assert p.returncode == code, (name, p.stderr)
        for w in words:
            assert w in p.stderr, (name, w, p.stderr)
        assert code == 0 or not HUB.log(), "nothing is said to a server that is not verified"
    return "4 cases"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Forwards absolute http URLs to the fixture, whatever their host; asked keeps what came."""
    asked, answer = [], None

    def log_message(self, *args):
        pass

    def do_GET(self):
        import urllib.request
        Proxy.asked.append((self.path, self.headers.get("Authorization")))
        if Proxy.answer:
            self.send_response(Proxy.answer)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = self.path.split("/", 3)[3]
        base = HUB.endpoint if not path.startswith("repos/") else HUB.state.cdn
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{base}/{path}") as r:
            body = r.read()
            self.send_response(r.status)
            for k, v in r.headers.items():
                if k.lower() in ("content-type", "x-repo-commit", "etag", "link"):
                    self.send_header(k, v)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


def test_proxy(tmp):
    fresh()
    HUB.add("model", MODEL, {"config.json": b"{}"})
    server = hub_fixture.Server(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = f"http://127.0.0.1:{server.server_address[1]}"
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        Proxy.asked.clear()
        env = HUB.env(tmp / name, token=None, HF_ENDPOINT="http://hub.test", **{name: proxy})
        check_files(engine(["pull", MODEL, *ALL], cwd=tmp, env=env), {"config.json": b"{}"})
        assert all(path.startswith("http://hub.test/") for path, _ in Proxy.asked) and Proxy.asked
    Proxy.asked.clear()
    env = HUB.env(tmp / "direct", http_proxy=proxy)
    check_files(engine(["pull", MODEL, *ALL], cwd=tmp, env=env), {"config.json": b"{}"})
    assert not Proxy.asked, "this machine is reached directly"
    p = engine(["pull", MODEL, *ALL], cwd=tmp, env=HUB.env(tmp / "t", HF_ENDPOINT="http://hub.test", http_proxy=proxy))
    assert p.returncode == 1 and "plain http" in p.stderr and not Proxy.asked, p.stderr
    p = engine(["pull", MODEL, *ALL], cwd=tmp, env=HUB.env(tmp / "n", token=None, HF_ENDPOINT="http://hub.test", http_proxy=proxy, NO_PROXY="hub.test"))
    assert p.returncode == 3 and not Proxy.asked, p.stderr
    Proxy.answer = 407
    env = HUB.env(tmp / "http_proxy", token=None, HF_ENDPOINT="http://hub.test", http_proxy=proxy)
    p = engine(["pull", MODEL, *ALL], cwd=tmp, env=env)
    assert p.returncode == 1 and "407" in p.stderr, "a proxy that says no is not a reason to use the cache"
    p = engine(["pull", MODEL, *ALL], cwd=tmp, env={**env, "http_proxy": "http://127.0.0.1:9"})
    Proxy.answer = None
    server.shutdown()
    assert p.returncode == 3, p.stderr
    return "8 cases"


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
                while not HUB.log("cdn"):
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
        sent = sum(int(r["resp_headers"]["Content-Length"]) for r in HUB.log("cdn") if "resp_headers" in r)
        assert sent <= total - partial, "the prefix is not asked for again"
        assert not cache_problems(home) and not list(home.glob("hub/*/blobs/*.incomplete"))
    assert kills == 50, (kills, late)
    return f"50 kills before the end, {kept} left partial files that were resumed; a pull takes {whole:.1f} s"


def main():
    global HUB
    if not hub_fixture.available():
        print(f"SKIPPED: no server fixture at {hub_fixture.SERVER}")
        print("hub pull: 0 passed, 0 failed, 1 skipped")
        return 0
    HUB = hub_fixture.Hub()
    chosen = sys.argv[1:]
    tests = [f for name, f in globals().items() if name.startswith("test_") and (not chosen or name in chosen)]
    try:
        return common.main("hub pull", tests)
    finally:
        HUB.close()


if __name__ == "__main__":
    sys.exit(main())
