#!/usr/bin/env python3
"""Contents of the shared cache that are no longer what their names say: a disk that rots, or another user who wrote there.

Before its first use a file is read whole and compared; with the Hub a wrong one is fetched again, without it is an error.
"""
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import time

import common
from common import CASE
from pull_common import ALL, FILES, HUB, MODEL, NEEDED, cache_problems, check_files, finish, folder_files, fresh, pull

OLD = 3   # seconds after which a file counts as settled, and its digest is noted


def flip(path, at=0):
    """One bit, as a disk does it or somebody with a right to write; size and name stay."""
    path = pathlib.Path(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1
    os.chmod(path, 0o644)
    path.write_bytes(data)


def repository(home, kind="models", name="me--model"):
    return pathlib.Path(home) / f"hub/{kind}--{name}"


def snapshot_file(home, file, **more):
    return next(repository(home, **more).glob("snapshots/*")) / file


def environment(home, **more):
    return HUB.env(home, QKENGINE_CACHE=str(home / "notes"), **more)


def notes(home):
    return {p.name: p.read_text().split() for p in (home / "notes/digests").glob("*")} if (home / "notes/digests").exists() else {}


def test_each_kind_of_file(tmp):
    """Large and small, links and copies: fetched again with the Hub, named without it."""
    fresh()
    HUB.add("model", MODEL, FILES)
    n = 0
    for more in ({}, {"HF_HUB_DISABLE_SYMLINKS": "1"}):
        home = tmp / f"home{len(more)}"
        home.mkdir()
        check_files(pull(home, *ALL, env=environment(home, **more)))
        for name in ("model.safetensors", "config.json", "sub/a b+#%\u00fc.bin"):
            path = snapshot_file(home, name)
            flip(path.resolve(), 5)
            p = pull(home, *ALL, env=environment(home, HF_HUB_OFFLINE="1", **more))
            assert p.returncode == 1 and "damaged" in p.stderr and str(path) in p.stderr and "remove that file" in p.stderr, p.stderr
            HUB.clear()
            p = pull(home, *ALL, env=environment(home, **more))
            check_files(p)
            assert f"'{name}' in the cache is damaged" in p.stderr and p.stderr.count("warning") == 1, p.stderr
            assert not cache_problems(home) and not list(home.glob("hub/*/blobs/*.incomplete"))
            HUB.clear()
            check_files(pull(home, *ALL, env=environment(home, **more)))
            assert not any("/resolve" in r for r in HUB.requests()), HUB.requests()
            n += 1
    return f"{n} files"


def test_run(tmp):
    """A run after a flipped bit in its dataset and one in its weights writes what it wrote before."""
    fresh()
    HUB.add("model", "me/tiny", {p: f.read_bytes() for p, f in folder_files(CASE / "model").items()})
    HUB.add("dataset", "me/texts", {p: f.read_bytes() for p, f in folder_files(CASE / "dataset").items()})
    (tmp / "config.yaml").write_text((CASE / "config.yaml").read_text().replace("name: model", "name: me/tiny").replace("path: dataset", "path: me/texts"))
    good = common.run(tmp, "output.data_root=good", env=environment(tmp))
    assert good.returncode == 0, good.stderr
    for kind, name, file in (("datasets", "me--texts", "train.parquet"), ("models", "me--tiny", "model.safetensors"), ("models", "me--tiny", "tokenizer.json")):
        flip(snapshot_file(tmp, file, kind=kind, name=name).resolve(), 4000)
        offline = common.run(tmp, f"output.data_root=off-{file}", env=environment(tmp, HF_HUB_OFFLINE="1"))
        assert offline.returncode == 1 and "damaged" in offline.stderr and file in offline.stderr, offline.stderr
        again = common.run(tmp, f"output.data_root={file}", env=environment(tmp))
        assert again.returncode == 0 and "damaged" in again.stderr, again.stderr
        assert common.digest(tmp / file / "final") == common.digest(tmp / "good/final"), file
        assert not cache_problems(tmp)


def test_blob_of_another_commit(tmp):
    """A blob that an older snapshot left is looked at before a new snapshot links to it."""
    fresh()
    HUB.add("model", MODEL, FILES)
    check_files(pull(tmp, *ALL, env=environment(tmp)))
    HUB.add("model", MODEL, {**FILES, "README.md": b"new"})
    blob = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    flip(repository(tmp) / "blobs" / blob)
    check_files(pull(tmp, *ALL, env=environment(tmp)), {**FILES, "README.md": b"new"})
    assert not cache_problems(tmp)


def test_a_cache_of_others(tmp):
    """Without our listing, as huggingface_hub leaves it: blobs are checked by their names, copies cannot be."""
    fresh()
    HUB.add("model", MODEL, FILES)
    check_files(pull(tmp, env=environment(tmp)), NEEDED)
    for tree in repository(tmp).glob("trees/*"):
        tree.unlink()
    offline = environment(tmp, HF_HUB_OFFLINE="1")
    check_files(pull(tmp, env=offline), NEEDED)
    flip(snapshot_file(tmp, "tokenizer.json").resolve())
    p = pull(tmp, env=offline)
    assert p.returncode == 1 and "'tokenizer.json' in the cache is damaged" in p.stderr, p.stderr


def test_a_listing_of_others(tmp):
    """Where others may write, the kept listing and a content that fits it may both be theirs: the Hub is asked, and its answer kept."""
    fresh()
    HUB.add("model", MODEL, FILES)
    check_files(pull(tmp, *ALL, env=environment(tmp)))
    repo, path = repository(tmp), snapshot_file(tmp, "model.safetensors")
    listing, blob = next(repo.glob("trees/*.json")), path.resolve()
    right, forged = listing.read_text(), bytes(b ^ 1 for b in blob.read_bytes())
    name = hashlib.sha256(forged).hexdigest()
    others = [(listing, 0o666), (listing.parent, 0o777)]
    for victim, mode in others:
        (repo / "blobs" / name).write_bytes(forged)
        listing.write_text(right.replace(blob.name, name))
        path.unlink()
        path.symlink_to(f"../../blobs/{name}")
        os.chmod(victim, mode)
        check_files(pull(tmp, *ALL, env=environment(tmp)))
        assert path.resolve() == blob and blob.name in listing.read_text() and name not in listing.read_text()
        os.chmod(listing, 0o644)
        os.chmod(listing.parent, 0o755)
        HUB.clear()
        check_files(pull(tmp, *ALL, env=environment(tmp)))
        assert not [r for r in HUB.requests() if "/tree/" in r], HUB.requests()
    return f"{len(others)} places"


def test_files_are_read_once(tmp):
    """What was read whole is noted, for as long as nothing about the file changes."""
    fresh()
    HUB.add("model", MODEL, FILES)
    env = environment(tmp)
    snapshot = check_files(pull(tmp, env=env), NEEDED)
    time.sleep(OLD)
    check_files(pull(tmp, env=env), NEEDED)
    kept = notes(tmp)
    sha, git = hashlib.sha256(FILES["model.safetensors"]).hexdigest(), hashlib.sha1(b"blob 2\0{}").hexdigest()
    assert sorted(n[3] for n in kept.values()) == sorted([sha, git, hashlib.sha1(b'blob 8\0{"a": 1}').hexdigest()]), kept
    blob = (snapshot / "model.safetensors").resolve()
    note = tmp / "notes/digests" / next(k for k, v in kept.items() if v[3] == sha)
    strace = ["strace", "-f", "-e", "trace=pread64", "-y", "-o", str(tmp / "trace"), str(common.ROOT / "qkengine"), "pull", MODEL, "--quiet"]
    done = subprocess.run(strace, env=env, cwd=tmp, capture_output=True, text=True)
    assert done.returncode == 0 and blob.name not in (tmp / "trace").read_text(), done.stderr
    wrong = note.read_text().replace(sha, "0" * 64)   # a note is believed: it lies where nobody else can write
    note.write_text(wrong)
    assert pull(tmp, env=dict(env, HF_HUB_OFFLINE="1")).returncode == 1
    assert pull(tmp, env=dict(env, HF_HUB_OFFLINE="1", QKENGINE_CACHE="off")).returncode == 0
    os.utime(blob)   # another time of change: it is read again
    check_files(pull(tmp, env=dict(env, HF_HUB_OFFLINE="1")), NEEDED)


def test_two_processes(tmp):
    """Both find the same wrong blob: one takes it away, both end with the right one."""
    fresh()
    HUB.add("model", MODEL, FILES)
    check_files(pull(tmp, *ALL, env=environment(tmp)))
    for _ in range(3):
        flip(snapshot_file(tmp, "model.safetensors").resolve(), 77)
        both = [subprocess.Popen([common.ROOT / "qkengine", "pull", MODEL, *ALL], env=environment(tmp), cwd=tmp, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True) for _ in range(4)]
        said = [p.communicate(timeout=common.HANGS) for p in both]
        assert all(p.returncode == 0 for p in both), said
        assert not cache_problems(tmp)
    return "3 rounds of 4 processes"


def test_no_right_to_replace_it(tmp):
    """A read-only cache of somebody else with a wrong blob: an error, not a use of it."""
    fresh()
    if os.getuid() != 0:
        return "SKIPPED: needs another user"
    HUB.add("model", MODEL, FILES)
    check_files(pull(tmp, *ALL, env=environment(tmp)))
    flip(snapshot_file(tmp, "model.safetensors").resolve())
    os.chmod(tmp, 0o755)
    try:
        p = subprocess.run([str(common.ROOT / "qkengine"), "pull", MODEL, *ALL], env=HUB.env(tmp, QKENGINE_CACHE="off"), cwd="/", capture_output=True,
                           text=True, user=65534, group=65534)
    except PermissionError:
        return "SKIPPED: another user cannot reach the program"
    assert p.returncode == 1 and "damaged" in p.stderr and re.search("ermission", p.stderr), (p.returncode, p.stderr)


def test_signal(tmp):
    """Ctrl-C ends the reading of a large file at once, with status 3."""
    fresh()
    HUB.add("model", "me/large", {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": bytes(1 << 20) * 300})
    env = environment(tmp)
    assert pull(tmp, repo="me/large", env=env).returncode == 0
    p = subprocess.Popen([common.ROOT / "qkengine", "pull", "me/large"], env=dict(env, HF_HUB_OFFLINE="1"), cwd=tmp, stderr=subprocess.PIPE, text=True)
    time.sleep(0.1)
    p.send_signal(2)
    said = p.communicate(timeout=common.HANGS)
    assert p.returncode in (0, 3), said   # 0: it was faster


TESTS = [test for name, test in globals().copy().items() if name.startswith("test_")]

if __name__ == "__main__":
    sys.exit(finish("hub rot", "hub_rot", TESTS))
