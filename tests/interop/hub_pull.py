"""Pulling: models and datasets of a Hub on the loopback, by `qkengine run`, `plan` and `pull`.

End to end, the cache shared with huggingface_hub, accounts, names, TLS and proxies. Faults: hub_pull_faults.py.
"""
import concurrent.futures
import fcntl
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request

import common
import hub_fixture
from common import CASE, HANGS, engine
from hub import tls
from hub.cases import case
from pull_common import (ALL, FILES, FULL, HUB, MODEL, NEEDED, RNG, cache_problems, check_files, check_no_secret, finish,
                         folder_files, fresh, pull)


# ---- end to end ----

def case_repos(dataset=None):
    HUB.add("model", "me/tiny", {p: f.read_bytes() for p, f in folder_files(CASE / "model").items()})
    HUB.add("dataset", "me/texts", dataset or {p: f.read_bytes() for p, f in folder_files(CASE / "dataset").items()})


def test_run_from_hub(tmp):
    """A run with names of the Hub writes what a run with folders of the same names writes, and the dataset's commit."""
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
    files, trees = [], []
    for final in (remote / "out/final", local / "out/final"):
        files.append({k: v for k, v in common.digest(final).items() if not k.endswith("manifest.json")})
        trees.append(json.loads(next(final.glob("**/manifest.json")).read_text()))
        trees[-1].pop("sha256")   # of the text before it
    assert trees[0]["runs"][0].pop("dataset_commit") == HUB.head("dataset", "me/texts")
    assert trees[0] == trees[1] and files[0] == files[1]
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


def test_repositories_that_are_no_models(tmp):
    """What is there instead, and what to do; before anything large is asked for."""
    model = {p: f.read_bytes() for p, f in folder_files(CASE / "model").items()}
    without = {p: d for p, d in model.items() if p not in ("tokenizer.json", "tokenizer_config.json")}
    cases = [({"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}, "an adapter (LoRA)"), ({"model.Q8.gguf": b"x"}, "GGUF is not supported"),
             ({"config.json": model["config.json"], "pytorch_model.bin": b"x"}, "there is no tokenizer.json"),
             ({**without, "tokenizer.model": b"x"}, "only tokenizer.model"), ({"README.md": b""}, "there is no config.json")]
    (tmp / "config.yaml").write_text((CASE / "config.yaml").read_text().replace("name: model", "name: me/no").replace("path: dataset", "path: me/texts"))
    for i, (files, words) in enumerate(cases):
        HUB.forget()
        case_repos()
        HUB.add("model", "me/no", files)
        p = common.run(tmp, env=HUB.env(tmp / f"home{i}"))
        assert p.returncode == 1 and "model.name: me/no at 'main'" in p.stderr and words in p.stderr, p.stderr
        assert not HUB.log("storage"), HUB.requests()
    HUB.add("model", "me/no", {**without, "tokenizer.model": b"x"})
    p = engine(["plan", "config.yaml", "--json"], tmp, env=HUB.env(tmp / "plan"))
    assert p.returncode == 0 and json.loads(p.stdout)["examples_at_full_length"] and "there is no tokenizer.json" in p.stderr, p.stderr
    p = pull(tmp, repo="me/no", env=HUB.env(tmp / "pull"))
    assert p.returncode == 0 and "warning: me/no at 'main': there is no tokenizer.json, only tokenizer.model" in p.stderr, p.stderr
    return f"{len(cases)} repositories"


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
    clock = other_clock(tmp)
    for env in (HUB.env(tmp, HF_HUB_OFFLINE="1"), HUB.env(tmp, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN="")):
        p = engine(args, cwd=tmp, env={**env, **clock, "QKENGINE_RETRY_MS": "1000"}, timeout=HANGS)
        assert p.returncode == 0 and json.loads(p.stdout)["preset"], p.stderr
        assert slept(clock) < 5


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
    content = [r for r in HUB.requests() if r.startswith("GET storage") or r.startswith("GET") and ("/resolve" in r)]
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
    content = [r for r in HUB.requests() if "/resolve" in r or "GET storage" in r]
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


@case(14)
def test_both_at_once(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(pull, tmp, *ALL) for _ in range(3)] + [pool.submit(python_client, SNAPSHOT % "", tmp)]
    for r in runs[:3]:
        check_files(r.result())
    assert not cache_problems(tmp)
    assert not list(tmp.glob("hub/*/blobs/*.incomplete"))


@case(14)
def test_two_processes_download_once(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    HUB.fault("^/repos/", delay=0.3, times=4)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for r in [pool.submit(pull, tmp, *ALL) for _ in range(2)]:
            check_files(r.result())
    blob = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert HUB.requests().count(f"GET storage /repos/{blob}") == 3, HUB.requests()   # pieces of 4 MB


@case(14)
def test_waiting_for_a_lock(tmp):
    """Another process holds a blob's lock: this one says so, waits, and goes on when it is free."""
    fresh()
    HUB.add("model", MODEL, FILES)
    locks = tmp / "hub/.locks/models--me--model"
    locks.mkdir(parents=True)
    with open(locks / f"{hashlib.sha256(FILES['model.safetensors']).hexdigest()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        p = subprocess.Popen([str(common.ROOT / "qkengine"), "pull", MODEL], env=HUB.env(tmp), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while "waiting for another process" not in (said := p.stderr.readline()):
            assert said and p.poll() is None, said
    assert p.wait(HANGS) == 0, p.communicate()
    assert not cache_problems(tmp)


def test_without_links(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    env = HUB.env(tmp, HF_HUB_DISABLE_SYMLINKS="1")
    snapshot = check_files(pull(tmp, *ALL, env=env))
    assert not any(p.is_symlink() for p in snapshot.rglob("*"))
    HUB.clear()
    check_files(pull(tmp, *ALL, env=env))
    assert not any("/resolve" in r for r in HUB.requests())


@case(36)
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


@case(33)
def test_offline(tmp):
    fresh()
    HUB.add("model", MODEL, FILES)
    p = pull(tmp, env=HUB.env(tmp, HF_HUB_OFFLINE="YES"))
    assert p.returncode == 1 and "HF_HUB_OFFLINE" in p.stderr and not HUB.log(), p.stderr
    check_files(pull(tmp), NEEDED)
    HUB.clear()
    p = pull(tmp, *ALL, env=HUB.env(tmp, HF_HUB_OFFLINE="1"))
    assert p.returncode == 1 and "not in the cache" in p.stderr and not HUB.log(), p.stderr
    said = []
    apart = ["unshare", "--user", "--map-root-user", "--net"]   # a network of its own, in which nothing is up
    for tool, name in ((["strace", "-f", "-e", "trace=socket", "-o", str(tmp / "calls")], "no socket (strace)"), (apart, "no network")):
        if shutil.which(tool[0]) is None or subprocess.run([*tool, "true"], capture_output=True).returncode:
            continue
        p = subprocess.run([*tool, str(common.ROOT / "qkengine"), "pull", MODEL], env=HUB.env(tmp, HF_HUB_OFFLINE="1"), capture_output=True, text=True)
        check_files(p, NEEDED)
        assert tool is apart or "socket(" not in (tmp / "calls").read_text()
        said.append(name)
    return ", ".join(said)


# ---- accounts ----

@case(31, 32, 6)
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
        ("me/gated", None, ["gated", f"page {HUB.endpoint}/me/gated, then set HF_TOKEN"]),
        ("me/gated", hub_fixture.READ, ["gated", f"ask for access on its page {HUB.endpoint}/me/gated with"]),
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


@case(22)
def test_pages(tmp):
    fresh()
    files = {f"d{i % 7}/f{i:04d}.txt": b"%d" % (i % 10) for i in range(300)}
    HUB.add("dataset", "me/many", files)
    HUB.state.settings.page = 17
    check_files(pull(tmp, "--dataset", repo="me/many"), files)
    pages = sum("/tree/" in r for r in HUB.requests())
    # A next page by a relative address, and a last page that is empty.
    sha, one = HUB.add("dataset", "me/few", {"a.txt": b"a", "b.txt": b"b"}), [{"type": "file", "path": "a.txt", "size": 1, "oid": "2e65efe2a145dda7ee51d1741299f848e5bf752e"}]
    for link in (f"/api/datasets/me/few/tree/{sha}?cursor=x", "?cursor=x", f"{HUB.endpoint}/api/datasets/me/few/tree/{sha}?cursor=x"):
        fresh()
        HUB.fault("/tree/.*cursor=", status=200, body="[]")
        HUB.fault("/tree/", status=200, body=json.dumps(one), headers={"Link": f'<https://elsewhere.test/x>; rel="prev", <{link}>; foo=bar; rel=next'})
        home = tmp / str(len(link))
        check_files(pull(home, "--dataset", repo="me/few", cwd=tmp), {"a.txt": b"a"})
        assert sum("/tree/" in r for r in HUB.requests()) == 2
    return f"{pages} pages, {len(files)} files"


@case(22)
def test_100001_files(tmp):
    fresh()
    files = {f"d{i % 97}/f{i:06d}.txt": b"" for i in range(100_000)}
    HUB.add("dataset", "me/very-many", {**files, "last.txt": b"here"})
    HUB.state.settings.page = 50_000
    check_files(pull(tmp, "--dataset", "--include", "last.txt", repo="me/very-many"), {"last.txt": b"here"})
    del HUB.state.repositories["dataset", "me/very-many"]


# ---- TLS and proxies ----

@case(7, 17, 5)
def test_tls(tmp):
    if not shutil.which("openssl"):
        return "SKIPPED: no openssl program"
    HUB.add("model", MODEL, {"config.json": b"{}"})
    (tmp / "ca").mkdir()
    tls.make(tmp / "ca")
    authority, filled = {"SSL_CERT_FILE": str(tmp / "ca/ca.pem")}, tmp / "filled"
    cases = [("good", authority, 0, []), ("good", {}, 1, ["certificate", "clock"]), ("wrong_host", authority, 1, ["certificate"]),
             ("expired", authority, 1, ["expired", "clock"]), ("future", authority, 1, ["not yet valid", "clock"])]
    for number, (name, more, code, words) in enumerate(cases):
        address = HUB.listen(scheme="https", context=tls.context(tmp / "ca", name))
        for home in (tmp / f"{number}", filled):   # what the cache holds is no answer to a server that cannot be trusted
            fresh()
            p = engine(["pull", MODEL, *ALL], cwd=tmp, env=HUB.env(home, HF_ENDPOINT=address, **more))
            assert p.returncode == code, (name, p.stderr)
            for w in words:
                assert w in p.stderr, (name, w, p.stderr)
            assert code == 0 or not HUB.log(), "nothing is said to a server that is not verified"
    fresh()   # from https to http: never, with a token or without
    HUB.fault("/revision/", status=307, headers={"Location": f"{HUB.endpoint}/api/models/{MODEL}/revision/main"}, times=9)
    address = HUB.listen(scheme="https", context=tls.context(tmp / "ca", "good"))
    p = engine(["pull", MODEL, *ALL], cwd=tmp, env=HUB.env(tmp / "down", HF_ENDPOINT=address, **authority))
    assert p.returncode == 1 and "from https to http" in p.stderr and len(HUB.log()) == 1, p.stderr
    return f"{2 * len(cases) + 1} cases"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Forwards absolute http URLs, and tunnels, to the fixture, whatever their host; asked keeps what came."""
    asked, answer, tunnel = [], None, None

    def log_message(self, *args):
        pass

    def do_GET(self):
        Proxy.asked.append((self.path, self.headers.get("Authorization")))
        if Proxy.answer:
            self.send_response(Proxy.answer[0])
            self.send_header("Content-Length", str(len(Proxy.answer[1])))
            self.end_headers()
            self.wfile.write(Proxy.answer[1])
            return
        path = self.path.split("/", 3)[3]
        base = HUB.endpoint if not path.startswith("repos/") else HUB.storage
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{base}/{path}") as r:
            body = r.read()
            self.send_response(r.status)
            for k, v in r.headers.items():
                if k.lower() in ("content-type", "x-repo-commit", "etag", "link"):
                    self.send_header(k, v)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_CONNECT(self):
        Proxy.asked.append((self.path, self.headers.get("Authorization")))
        there = socket.create_connection(("127.0.0.1", Proxy.tunnel))
        self.wfile.write(b"HTTP/1.1 200 Connected\r\nX-Repo-Commit: ../../evil\r\nETag: \"../../evil\"\r\n\r\n")
        self.wfile.flush()

        def copy(source, target):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        back = threading.Thread(target=copy, args=(there, self.connection), daemon=True)
        back.start()
        copy(self.connection, there)
        back.join()
        self.close_connection = True


@case(18)
def test_proxy(tmp):
    fresh()
    HUB.add("model", MODEL, {"config.json": b"{}"})
    proxy, server = hub_fixture.serve(Proxy)

    def through(home, endpoint="http://hub.test", token=None, **more):
        Proxy.asked.clear()
        return engine(["pull", MODEL, *ALL], cwd=tmp, env=HUB.env(tmp / home, token=token, HF_ENDPOINT=endpoint, **more))

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        check_files(through(name, **{name: proxy}), {"config.json": b"{}"})
        assert all(path.startswith("http://hub.test/") for path, _ in Proxy.asked) and Proxy.asked
    check_files(through("direct", HUB.endpoint, hub_fixture.READ, http_proxy=proxy), {"config.json": b"{}"})
    assert not Proxy.asked, "this machine is reached directly"
    p = through("t", token=hub_fixture.READ, http_proxy=proxy)
    assert p.returncode == 1 and "plain http" in p.stderr and not Proxy.asked, p.stderr
    for value in ("hub.test", ".test", "elsewhere, hub.test", "*"):
        p = through("n", http_proxy=proxy, NO_PROXY=value)
        assert p.returncode == 3 and not Proxy.asked, (value, p.stderr)
    for answer, words in (((407, b""), "407"), ((200, b"<!DOCTYPE html><html>Please log in</html>"), "not what a Hub answers")):
        Proxy.answer = answer
        p = through("http_proxy", http_proxy=proxy)
        assert p.returncode == 1 and words in p.stderr, "a proxy that says no is not a reason to use the cache"
    Proxy.answer = None
    p = through("http_proxy", http_proxy="http://127.0.0.1:9")
    assert p.returncode == 3, p.stderr
    n = 13
    if shutil.which("openssl"):   # a tunnel: what the proxy says in its reply to CONNECT is not the Hub's
        (tmp / "ca").mkdir()
        tls.make(tmp / "ca")
        address = HUB.listen(scheme="https", context=tls.context(tmp / "ca", "good"))
        Proxy.tunnel = int(address.split(":")[-1])
        p = through("tunnel", "https://hub.test", hub_fixture.READ, HTTPS_PROXY=proxy, SSL_CERT_FILE=str(tmp / "ca/ca.pem"))
        check_files(p, {"config.json": b"{}"})
        assert Proxy.asked and set(Proxy.asked) == {("hub.test:443", None)}, Proxy.asked
        n += 1
    server.shutdown()
    return f"{n} cases"


# ---- networks ----

class SixServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


@case(40)
def test_ip_versions(tmp):
    """An address of IPv6; a name that has both kinds, of which only one answers."""
    fresh()
    HUB.add("model", MODEL, {"config.json": b"{}"})
    port = HUB.endpoint.split(":")[-1]
    check_files(pull(tmp / "4", *ALL, env=HUB.env(tmp / "4", HF_ENDPOINT=f"http://localhost:{port}"), cwd=tmp), {"config.json": b"{}"})
    try:
        server = SixServer(("::1", 0), type("Six", (hub_fixture.HubHandler,), {"state": HUB.state, "scheme": "http"}))
    except OSError:
        return "SKIPPED: this machine has no IPv6"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("[::1]", "localhost"):
        fresh()
        p = pull(tmp / name, *ALL, env=HUB.env(tmp / name, HF_ENDPOINT=f"http://{name}:{server.server_port}"), cwd=tmp)
        if name == "localhost" and p.returncode == 3 and not HUB.log():
            continue   # here the name is one of IPv4 alone
        check_files(p, {"config.json": b"{}"})
    server.shutdown()


# The wall clock CLOCK_OFFSET seconds off, and the sum of what was slept, in nanoseconds, as a line of CLOCK_SLEPT
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long offset(void) { return atol(getenv("CLOCK_OFFSET")); }
static _Atomic long long slept;
int nanosleep(const struct timespec *t, struct timespec *left)
{
    static int (*real)(const struct timespec *, struct timespec *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "nanosleep");
    slept += 1000000000ll * t->tv_sec + t->tv_nsec;
    return real(t, left);
}
__attribute__((destructor)) static void tell(void)
{
    FILE *f = fopen(getenv("CLOCK_SLEPT"), "w");
    if (f) fprintf(f, "%lld", slept), fclose(f);
}
int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec += offset();
    return status;
}
time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
int gettimeofday(struct timeval *t, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}
"""


def other_clock(tmp, seconds=0):
    """The environment of a process with that clock."""
    (tmp / "clock.c").write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp / "clock.so", tmp / "clock.c", "-ldl"], check=True)
    return dict(LD_PRELOAD=str(tmp / "clock.so"), CLOCK_OFFSET=str(seconds), CLOCK_SLEPT=str(tmp / "slept"))


def slept(clock):
    """Seconds that the process which has just ended waited between tries."""
    return int(pathlib.Path(clock["CLOCK_SLEPT"]).read_text()) / 1e9


@case(17)
def test_wrong_clock(tmp):
    """A wall clock that is years off, either way, changes nothing: not waits, not retries, not the order of the pieces."""
    HUB.add("model", MODEL, FILES)
    for years in (-30, -1, 1, 30):
        fresh()
        HUB.fault("/revision/", status=429, headers={"Retry-After": "1"})
        HUB.fault("^/repos/", status=503, times=2)
        HUB.fault("^/repos/", status=403, body="<Error><Code>RequestTimeTooSkewed</Code></Error>")
        HUB.fault("", headers={"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}, times=99)
        home, clock = tmp / str(years), other_clock(tmp, years * 31_557_600)
        check_files(pull(home, *ALL, env=HUB.env(home, **clock), cwd=tmp, timeout=HANGS))
        assert slept(clock) < 5, (years, slept(clock))
    return "4 clocks"


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_") and
         (FULL or name != "test_waiting_for_a_lock")]   # that one takes 12 seconds

if __name__ == "__main__":
    sys.exit(finish("hub pull", "hub_pull", TESTS))
