"""The fixture of tests/hub inside this process, for what pulls: repositories are added without a request, however large,
and each test looks into the state. Faults are those of tests/hub/faults.py."""
import hashlib
import os
import pathlib
import sys
import threading
from http.server import ThreadingHTTPServer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from hub.api import HubHandler  # noqa: E402
from hub.lfs import StorageHandler  # noqa: E402
from hub.repository import Entry  # noqa: E402
from hub.server import start  # noqa: E402
from hub.state import Settings, State  # noqa: E402

WRITE, READ = "hf_testtoken_write", "hf_testtoken_read"


def serve(handler):
    """Another server of a test's own; its address and itself."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}", server


class Hub:
    def __init__(self):
        self.state = State()
        self.storage = self.state.storage = start(self.state, StorageHandler, "127.0.0.2")
        self.endpoint = start(self.state, HubHandler)

    def listen(self, **more):
        """One more address of the hub origin: start() of tests/hub/server.py."""
        return start(self.state, HubHandler, **more)

    def add(self, kind, name, files, branch="main", **properties):
        """A commit with exactly these {path: bytes}; returns its id."""
        state = self.state
        repository = state.repositories.get((kind, name)) or state.create(kind, name)
        tree = {}
        for path, data in files.items():
            large = path.endswith(state.settings.lfs_extensions) or len(data) > state.settings.lfs_threshold
            oid = hashlib.sha256(data).hexdigest() if large else None
            if large:
                state.store.objects[oid] = data
            tree[path] = Entry(lfs=(oid, len(data))) if large else Entry(data)
        repository.refs[branch] = repository.add_commit(repository.refs.get(branch), tree, "files", "")
        for k, v in properties.items():
            setattr(repository, k, v)
        return repository.refs[branch]

    def head(self, kind, name, branch="main"):
        return self.state.repositories[kind, name].refs[branch]

    def fault(self, match, **what):
        self.state.faults.append(dict(match=match, **what))

    def release(self):
        """Lets go what a fault holds."""
        self.state.release()

    def clear(self):
        """Releases; forgets faults, log and settings; repositories stay."""
        self.state.release()
        for part in (self.state.faults, self.state.log, self.state.leaks):
            part.clear()
        self.state.settings.__dict__.update(Settings().__dict__)

    def forget(self):
        """Repositories and their contents, too."""
        self.clear()
        self.state.repositories.clear()
        self.state.store.clear()

    def log(self, origin=None):
        return [r for r in list(self.state.log) if origin in (None, r["origin"])]

    def requests(self):
        """"GET hub /api/models/a/b/..." without queries."""
        return [f"{r['method']} {r['origin']} {r['path'].split('?')[0]}" for r in self.log()]

    def leaks(self):
        """Requests to the storage that carried a token."""
        return [r["path"] for r in self.state.leaks]

    def env(self, home, token=READ, **more):
        """The environment of a client whose caches are in `home`."""
        keep = {k: v for k, v in os.environ.items()
                if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) and "proxy" not in k.lower()}
        keep.update(HF_ENDPOINT=self.endpoint, HF_HOME=str(home), HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1",
                    HF_HUB_DISABLE_PROGRESS_BARS="1", QKENGINE_RETRY_MS="5")
        if token:
            keep["HF_TOKEN"] = token
        keep.update(more)
        return keep
