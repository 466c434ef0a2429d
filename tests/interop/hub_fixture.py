"""A Hub on the loopback for the tests: repositories in memory, faults on demand, a log of requests.

The servers are a module with `S` (state), `H` and `C` (request handlers of the Hub and of its storage),
`Repo` and `entry`; which file that is, is decided here alone.
"""
import hashlib
import importlib.util
import os
import pathlib
import threading
from http.server import ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("QK_SHARED", ROOT.parent / "shared"))
SERVER = SHARED / "prototype/hub-fixture/fakehub.py"

WRITE, READ = "hf_testtoken_write", "hf_testtoken_read"


def available():
    return SERVER.is_file()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, address):
        """Clients that go away are what the tests are about."""


class Hub:
    def __init__(self):
        spec = importlib.util.spec_from_file_location("fakehub", SERVER)
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        self.state = self.module.S
        self._cache_md5()
        self.servers = []
        # Another host name, too: newer clients take two ports of one host for the same origin.
        self.state.cdn = f"http://localhost:{self._serve(self.module.C)}"
        self.endpoint = f"http://127.0.0.1:{self._serve(self.module.H)}"

    def _serve(self, handler):
        server = Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return server.server_address[1]

    def _cache_md5(self):
        """The storage's ETag of an object: once per object, not once per request."""
        known, md5 = {}, hashlib.md5

        class Hashes:
            sha1, sha256 = hashlib.sha1, hashlib.sha256

            @staticmethod
            def md5(data):
                if id(data) not in known:
                    known[id(data)] = data, md5(data)   # keeps data, so that its id stays its own
                return known[id(data)][1]

        self.module.hashlib = Hashes

    def close(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()

    def add(self, type, id, files, branch="main", **properties):
        """A commit with exactly these {path: bytes}; returns its id."""
        repo = self.state.repos.get((type, id))
        if repo is None:
            repo = self.state.repos[(type, id)] = self.module.Repo(type, id, False)
        tree = {}
        for path, data in files.items():
            lfs = path.endswith(self.state.lfs_ext) or len(data) > self.state.lfs_threshold
            oid = hashlib.sha256(data).hexdigest()
            if lfs:
                self.state.objects[oid] = data
                self.module.hashlib.md5(data)
            tree[path] = self.module.entry(lfs=(oid, len(data))) if lfs else self.module.entry(data)
        repo.refs[branch] = repo.add_commit(repo.refs.get(branch), tree, "files", "")
        for k, v in properties.items():
            setattr(repo, k, v)
        return repo.refs[branch]

    def fault(self, match, **what):
        self.state.faults.append(dict(match=match, **what))

    def clear(self):
        self.state.log.clear()
        self.state.faults.clear()

    def log(self, role=None):
        return [r for r in list(self.state.log) if role in (None, r["role"])]

    def requests(self):
        """"GET hub /api/models/a/b/..." without queries."""
        return [f"{r['method']} {r['role']} {r['path'].split('?')[0]}" for r in self.log()]

    def leaks(self):
        """Requests to the storage that carried a token."""
        return [r["path"] for r in self.log("cdn") if "authorization" in {k.lower() for k in r["headers"]}]

    def env(self, home, token=READ, **more):
        """The environment of a client whose caches are in `home`."""
        keep = {k: v for k, v in os.environ.items()
                if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and k.lower() not in ("http_proxy", "https_proxy", "all_proxy")}
        keep.update(HF_ENDPOINT=self.endpoint, HF_HOME=str(home), HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1",
                    HF_HUB_DISABLE_PROGRESS_BARS="1", QKENGINE_RETRY_MS="5")
        if token:
            keep["HF_TOKEN"] = token
        keep.update(more)
        return keep
