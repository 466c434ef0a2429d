"""The control port: what a test asks of the fixture. JSON in, JSON out.

    POST /set         {setting: value, ...}
    POST /fault       one fault, or a list of them (faults.py)
    POST /release     let go what a fault holds
    POST /clear       release, and forget faults, log and leaks
    POST /reset       forget everything: settings, repositories and stored objects too
    POST /repository  {"kind", "name", "set": {...}, "rename": new name, "plant": [hostile paths]}
    POST /expire      all signed URLs issued so far stop working
    GET  /log, /leaks, /tree?kind=&name=&revision=
"""
import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from .repository import Entry
from .state import Settings


class ControlHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        with self.state.lock:
            if url.path == "/tree":
                commit = self.state.repositories[query["kind"], query["name"]].find(query["revision"])
                out = commit and {p: [e.content_oid(), e.size, bool(e.lfs)] for p, e in commit["tree"].items()}
            else:
                out = [dict(r) for r in getattr(self.state, {"/log": "log", "/leaks": "leaks"}[url.path])]
        self.reply(out)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with self.state.lock:
            getattr(self, "do_" + urlsplit(self.path).path[1:])(body)
        self.reply({})

    def do_set(self, body):
        for name, value in body.items():
            if not hasattr(self.state.settings, name):
                raise KeyError(name)
            setattr(self.state.settings, name, value)

    def do_fault(self, body):
        self.state.faults.extend(body if isinstance(body, list) else [body])

    def do_release(self, _):
        self.state.release()

    def do_clear(self, _):
        self.state.release()
        for part in (self.state.faults, self.state.log, self.state.leaks):
            part.clear()

    def do_reset(self, _):
        self.do_clear(_)
        self.state.settings.__dict__.update(Settings().__dict__)
        self.state.repositories.clear()
        self.state.renames.clear()
        self.state.uploads.clear()
        self.state.store.clear()

    def do_expire(self, _):
        self.state.signatures.clear()

    def do_repository(self, body):
        repository = self.state.repositories[body["kind"], body["name"]]
        for name, value in body.get("set", {}).items():
            setattr(repository, name, value)
        for path in body.get("plant", []):
            repository.find("main")["tree"][path] = Entry(b"evil")
        if "rename" in body:
            self.state.rename(body["kind"], body["name"], body["rename"])

    def reply(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
