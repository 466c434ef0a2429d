"""Shared by hub_pull.py, hub_pull_faults.py and hub_stream.py: the fixture, pulls, and what a cache must look like after them."""
import hashlib
import pathlib
import random
import sys

import common
import hub_fixture
from common import engine
from hub import cases

HUB = hub_fixture.Hub()
MODEL = "me/model"
RNG = random.Random(7)
FILES = {"config.json": b'{"a": 1}', "tokenizer.json": b"{}", "README.md": b"", "model.safetensors": RNG.randbytes(9_000_001),
         "sub/a b+#%\u00fc.bin": RNG.randbytes(1000), "sub/same.bin": b"same", "other/same2.bin": b"same"}
NEEDED = {p: FILES[p] for p in ("config.json", "tokenizer.json", "model.safetensors")}   # by a run
ALL = ["--include", "*"]
FULL = "--full" in sys.argv   # more rounds of what is random or slow
SECRETS = ("hf_testtoken", "Signature=", "Policy=", "Bearer")


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
    return engine(["pull", repo, *args, "--quiet"], **{"cwd": home, "env": env or HUB.env(home), **more})


def check_files(process, files=FILES):
    assert process.returncode == 0, process.stderr
    snapshot = pathlib.Path(process.stdout.strip())
    for path, data in files.items():
        assert (snapshot / path).read_bytes() == data, path
    return snapshot


def fresh():
    HUB.clear()


def check_no_secret(text):
    assert not any(w in text for w in SECRETS), text
    assert not HUB.leaks(), HUB.leaks()

def finish(title, suite, tests):
    """Runs those that the command line names, or all; the exit status."""
    status = common.main(title, tests)
    cases.say()
    if not common.words_asked():
        cases.keep(suite)
    return status
