"""Starts the fixture from a test, in its own process:

    with Fixture() as hub:
        hub.fault(method="POST", match="/commit/", status=503)
        subprocess.run([...], env=hub.environment(home))
        hub.log()
"""
import json
import os
import pathlib
import subprocess
import sys
import urllib.parse
import urllib.request

TESTS = pathlib.Path(__file__).resolve().parents[1]
TOKEN, READ_TOKEN = "hf_testtoken_write", "hf_testtoken_read"


class Fixture:
    def __init__(self, folder=None, tls=None):
        command = [sys.executable, "-m", "hub.server"]
        command += ["--folder", str(folder)] if folder else []
        command += ["--tls", str(tls)] if tls else []
        self.tls = tls
        self.process = subprocess.Popen(command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addresses = json.loads(self.process.stdout.readline())
        self.url = self.addresses["hub"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.addresses["control"] + path, data=data)
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    def set(self, **settings):
        self.call("/set", settings)

    def fault(self, **fault):
        self.call("/fault", fault)

    def release(self):
        self.call("/release", {})

    def clear(self):
        self.call("/clear", {})

    def reset(self):
        self.call("/reset", {})

    def expire(self):
        self.call("/expire", {})

    def repository(self, kind, name, **what):
        self.call("/repository", {"kind": kind, "name": name, **what})

    def log(self, *more):
        """The requests so far; with arguments, "METHOD path" of those whose path contains all of them."""
        log = self.call("/log")
        if not more:
            return log
        return [f"{r['method']} {r['path']}" for r in log if all(m in r["path"] for m in more)]

    def leaks(self):
        return self.call("/leaks")

    def tree(self, name, revision="main", kind="dataset"):
        """{path: (oid, bytes, is LFS)} of a revision; None when there is no such revision."""
        query = urllib.parse.urlencode({"kind": kind, "name": name, "revision": revision})
        tree = self.call("/tree?" + query)
        return tree and {path: tuple(item) for path, item in tree.items()}

    def environment(self, home, token=TOKEN, **more):
        """For a child process: endpoint, token, caches below `home`, and nothing of the user's own settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING")) and "proxy" not in k.lower()}
        kept.update(HF_ENDPOINT=self.url, HF_HOME=str(home), HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1",
                    HF_HUB_DISABLE_PROGRESS_BARS="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
        if token:
            kept["HF_TOKEN"] = token
        kept.update(more)
        return kept
