"""Pulling: models and datasets of a Hub on the loopback, by `qkengine run`, `plan` and `pull`.

End to end, the cache shared with huggingface_hub, accounts, names, TLS and proxies. Faults: hub_pull_faults.py.
"""
import concurrent.futures
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import common
import hub_fixture
from common import CASE, engine
from hub import tls
from hub.cases import case
from pull_common import (ALL, FILES, FULL, HUB, MODEL, NEEDED, RNG, cache_problems, check_files, check_no_secret, finish,
                         folder_files, fresh, pull)


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
    assert HUB.requests().count(f"GET storage /repos/{blob}") == 3, HUB.requests()   # pieces of 4 MB


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


def test_pages(tmp):
    fresh()
    files = {f"d{i % 7}/f{i:04d}.txt": b"%d" % (i % 10) for i in range(300)}
    HUB.add("dataset", "me/many", files)
    HUB.state.settings.page = 17
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


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(finish("hub pull", "hub_pull", TESTS))
