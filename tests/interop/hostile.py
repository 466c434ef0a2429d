#!/usr/bin/env python3
"""Folders that came from somebody else: whatever lies in them, run, push, diff and inspect touch nothing outside, do not crash and do
not hang. Around each folder stands a canary tree that must stay as it is, to the byte, the time and the link. Each folder is tried by
the commands that read it; a refusal has status 1 and says which file it is about.

usage: hostile.py [--full | WORD...]   all folders, or those whose name has one of the words; else some of every kind
"""
import hashlib
import json
import os
import pathlib
import random
import shutil
import socket
import stat
import struct
import subprocess
import sys
import zlib

from push_common import HUB, capture, download, environment, push, pushed  # first: it sets the environment of the readers
import pyarrow.parquet as pq
from common import HANGS, engine, main, make_workspace, run, seal, seal_manifest, write_jsonl

CAUGHT = []      # (folder, command, status, what it said)
SETTINGS = ["dataset.path=rows.jsonl", "capture.layers=[0]", "capture.heads=[0]"]
KEY = "canary/home/.ssh/authorized_keys"


# ---- the canary ----

def make_canary(folder):
    for name in (KEY, "canary/README.md", "canary/data.parquet", "canary/l00h00q/data.parquet", "canary/manifest.json", "canary/lock"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"what {name} holds, and nobody's business\n")
    (folder / "canary/empty").mkdir()
    (folder / "canary/link").symlink_to("README.md")


def picture(folder):
    """Everything below, but for the folder that came from somewhere: kind, content, size, times, places."""
    out = {}
    for base, folders, files in os.walk(folder):
        if pathlib.Path(base) == folder:
            folders[:] = [f for f in folders if f not in ("out", "hub")]
        for name in [*folders, *files]:
            path = pathlib.Path(base) / name
            st = path.lstat()
            data = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            out[str(path.relative_to(folder))] = (stat.S_IFMT(st.st_mode), data, st.st_size, st.st_mtime_ns, st.st_ino)
    return out


# ---- what lies in the folders ----

NAMES = ["staging", "final", "staging/lock", "staging/identity.json", "staging/units.json", "staging/arithmetic", "staging/dataset_commit",
         "staging/builds", "staging/builds.tmp", "staging/commit.json", "staging/commit.json.tmp", "staging/merged",
         "staging/merged/README.md", "staging/merged/README.md.tmp", "staging/merged/manifest.json.tmp", "staging/merged/examples.parquet.tmp", "staging/merged/l00h00q",
         "staging/merged/l00h00q/data.parquet.tmp", "staging/unit-000000.qku", "staging/unit-000000.claim", "final/README.md",
         "final/manifest.json", "final/examples.parquet", "final/l00h00q", "final/l00h00q/data.parquet", "final/.qkengine",
         "final/.qkengine/lock", "final/.qkengine/snapshot.json", "final/.qkengine/snapshot.json.tmp", "final/.qkengine/commit.json",
         "final/.qkengine/builds", "final/.qkengine/incoming", "final/.qkengine/merged", "final/.qkengine/README.md",
         "final/.qkengine/README.md.tmp"]
FOLDERS = {"staging", "final", "staging/merged", "staging/merged/l00h00q", "final/l00h00q", "final/.qkengine", "final/.qkengine/incoming",
           "final/.qkengine/merged"}


def replace(root, name):
    path = root / "out" / name
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def link_to(target, kind):
    def plant(root, name):
        path = replace(root, name)
        goal = root / target
        if kind == "hard":
            os.link(goal, path)
        else:
            path.symlink_to(goal if kind == "absolute" else os.path.relpath(goal, path.parent))
    return plant


def pipe(root, name):
    os.mkfifo(replace(root, name))


def a_socket(root, name):
    path = replace(root, name)
    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path.name)
    os.chdir(here)


def a_folder(root, name):
    (replace(root, name) / "inner").mkdir(parents=True)


def a_file(root, name):
    replace(root, name).write_text("in the way")


def huge(root, name):
    with open(replace(root, name), "wb") as f:
        f.truncate(1 << 42)


def loop(root, name):
    path = replace(root, name)
    path.symlink_to(path.name)


def planted():
    """{name: what makes it}"""
    out = {}
    for name in NAMES:
        kinds = {"link to a folder": link_to("canary/home/.ssh", "relative"), "socket": a_socket} if name in FOLDERS else \
            {"link": link_to(KEY, "absolute"), "relative link": link_to(KEY, "relative"), "dangling link": link_to("canary/new", "absolute"),
             "second name": link_to(KEY, "hard"), "pipe": pipe, "folder": a_folder, "loop": loop}
        if name.startswith("staging/") or ".qkengine/" in name:   # a large file to be pushed is just that
            kinds.setdefault("huge", huge)
        if name in FOLDERS:
            kinds.pop("huge", None)
        if name in FOLDERS:
            kinds.update({"absolute link": link_to("canary", "absolute"), "file": a_file, "pipe": pipe, "loop": loop})
        for kind, make in kinds.items():
            out[f"{kind} as {name}"] = (lambda m, n: lambda root: m(root, n))(make, name)
    return out


SHA = hashlib.sha256(b"attacker\n").hexdigest()
PATHS = ["../" + KEY, f"../../{KEY}", "a/../../../" + KEY, "./x", "x/.", "x//y", "", ".", "..", "/etc/qk-hostile", "ABSOLUTE", "x\\y", "x\u0000y",
         "x\ny", "x\u001b[31m", "a/" * 3000 + "a", "n" * 300, "merged/../../x", "l00h00q/../../../" + KEY]
TYPES = [1, None, {}, [], True, 1e300, "x", -1, [1], [None], [{}], [[]], {"a": None}, "0" * 100000, 10**40]


def journals():
    entry = lambda name: {"name": name, "bytes": 9, "sha256": SHA}
    whole = lambda files, **more: json.dumps({"format": "qkengine commit 1", "identity": "", "files": files, **more})
    out = {f"journal of today's form {i}": json.dumps({"files": [p]}) for i, p in enumerate(PATHS)}
    out |= {f"journal path {p[:20]!r}": whole([entry(p)]) for p in PATHS}
    out |= {f"journal files {str(t)[:12]}": whole(t) for t in TYPES}
    out |= {f"journal name {str(t)[:12]}": whole([entry(t)]) for t in TYPES}
    out |= {f"journal is {str(t)[:12]}": json.dumps(t) for t in TYPES}
    out |= {"journal twice": whole([entry("b"), entry("b")]), "journal bytes": whole([{"name": "b", "bytes": -5, "sha256": SHA}]),
            "journal of others": whole([entry("b")], identity="f" * 64), "journal deep": "[" * 100000, "journal half": whole([entry("b")])[:60],
            "journal through a link": whole([entry("v/authorized_keys")]), "journal over .qkengine": whole([entry(".qkengine/lock")])}
    return out


def plant_journal(text, sealed):
    def plant(root):
        for state in ("out/staging", "out/final/.qkengine"):
            folder = root / state
            (folder / "merged/v").mkdir(parents=True, exist_ok=True)
            for name in ("merged/b", "merged/v/authorized_keys", "merged/x"):
                (folder / name).write_text("attacker\n")
            (folder / "commit.json").write_text((seal if sealed else str)(text.replace("ABSOLUTE", str(root / KEY))))
        (root / "out/final/v").symlink_to(root / "canary/home/.ssh")
        hidden = root / "out/staging/merged" / str(root / KEY).lstrip("/")
        hidden.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_text("attacker\n")
    return plant


def small_files():
    """Sealed files of the wrong type or with wild numbers."""
    out = {}
    for name in ("identity.json", "units.json", "arithmetic", "dataset_commit"):
        for text in ("", "[]", "1", "null", '"x"', "{}", '{"units": 1e9}', '{"units": -1}', '{"units": 1099511627776}', '{"units": 99999999999999999999}',
                     '{"units": [4]}', "[" * 5000, "\x00\x00", "cuda sm_90a", "../" + KEY, "a" * 100000, '{"config": []}', '{"config": {"dataset": 7}}'):
            out[f"{name} of {text[:20]!r}"] = (name, text)
    return out


def unit_file(n_examples=1, n_blocks=1, d=4, head=0, heads=1, rows=1, offset=8, text=0, identity=b"", footer_bytes=None, index=0):
    examples = struct.pack("<qqiI32sI", index, 1, 5, 0, b"", text) if n_examples else b""
    block = struct.pack("<IIiQQ", 0, ord("q"), heads, rows, offset) + bytes(8) + struct.pack("<i", head)
    footer = identity.ljust(65, b"\0") + bytes(40) + b"\0" * 3
    footer = footer[:105] + struct.pack("<III", d, n_examples, n_blocks) + examples + block
    body = b"QKUNIT03" + bytes(64)
    return body + footer + struct.pack("<QQI", len(body), len(footer) if footer_bytes is None else footer_bytes, zlib.crc32(footer)) + b"QKUNIT03"


def units():
    big = 2**63 - 1
    out = {"zeros": bytes(4096), "short": b"QKUNIT03", "marks only": b"QKUNIT03" * 20, "old": b"QKUNIT02" * 20,
           "text": b"{}\n", "footer beyond": unit_file(footer_bytes=big), "many examples": unit_file(n_examples=2**32 - 1),
           "many blocks": unit_file(n_blocks=2**32 - 1), "d of 0": unit_file(d=0), "wide": unit_file(d=2**31 - 1), "rows": unit_file(rows=big),
           "rows that wrap": unit_file(rows=2**62), "offset": unit_file(offset=big), "heads": unit_file(heads=2**31 - 1),
           "negative heads": unit_file(heads=-1), "long text": unit_file(text=2**32 - 2), "whole": unit_file(text=2**32 - 1),
           "index": unit_file(text=2**32 - 1, index=-7)}
    return out


def manifests():
    entry = {"rows": 1, "bytes": 5, "sha256": SHA}
    base = {"format": "qkengine manifest 2", "build": "", "head_dim": 4, "examples": 1, "tokens": 1, "files": {"l00h00q": entry},
            "examples_file": {"bytes": 3, "sha256": SHA}, "runs": []}
    out = {f"manifest {key} {str(t)[:12]}": {**base, key: t} for key in ("files", "runs", "examples_file", "head_dim", "format") for t in TYPES}
    out |= {f"manifest entry {str(t)[:12]}": {**base, "files": {"l00h00q": t}} for t in TYPES}
    out |= {f"manifest file {p[:20]!r}": {**base, "files": {p: entry}} for p in [*PATHS, "../canary/l00h00q", "l-1h-1q", "l00h00q/../../canary/l00h00q"]}
    out |= {f"manifest run {str(t)[:12]}": {**base, "runs": [t]} for t in TYPES}
    out |= {f"manifest identity {str(t)[:12]}": {**base, "runs": [{"fingerprint": t, "identity": t, "dataset_commit": t}]} for t in TYPES}
    return out


def plant_manifest(tree):
    def plant(root):
        for where in ("final", "final/model"):
            (root / "out" / where).mkdir(parents=True, exist_ok=True)
            (root / "out" / where / "manifest.json").write_text(seal_manifest(tree))
    return plant


def snapshots():
    known = {"size": 41, "mtime_ns": 1, "sha256": SHA, "git": "0" * 40}
    out = {f"snapshot of {p[:20]!r}": {"files": {p: known}} for p in PATHS}
    out |= {f"snapshot files {str(t)[:12]}": {"files": t} for t in TYPES}
    out |= {f"snapshot entry {str(t)[:12]}": {"files": {"README.md": t}} for t in TYPES}
    return out


def folders():
    rng = random.Random(11)
    out = planted()
    for name, text in journals().items():
        for sealed in (False, True):
            out[f"{name}, {'sealed' if sealed else 'bare'}"] = plant_journal(text, sealed)
    for name, (file, text) in small_files().items():
        out[name] = (lambda f, t: lambda root: (root / "out/staging" / f).write_text(seal(t)))(file, text)
    for name, data in units().items():
        out[f"unit: {name}"] = (lambda d: lambda root: (root / "out/staging/unit-000000.qku").write_bytes(d))(data)
    for name, tree in manifests().items():
        out[name] = plant_manifest(tree)
    for name, tree in snapshots().items():
        out[name] = (lambda t: lambda root: (replace(root, "final/.qkengine/snapshot.json")).write_text(seal(json.dumps(t))))(tree)
    for token in ("../../canary/key", "0123456789abcdef", "/etc/passwd\0\0\0\0\0", "." * 16):
        out[f"claim with {token!r}"] = (lambda t: lambda root: (root / "out/staging/unit-000000.claim").write_text(t))(token)
    for name in ("README.md", "examples.parquet", "l00h00q/data.parquet", "model/l00h00q/data.parquet"):
        def plant(root, name=name, data=rng.randbytes(3000)):
            replace(root, f"final/{name}").write_bytes(b"PAR1" + data + b"PAR1")
        out[f"garbage as {name}"] = plant
    return out


# ---- trying them ----

COMMANDS = {"run branch": ["run", "config.yaml", "--quiet", "--set", "output.layout=branch"],
            "run prefix": ["run", "config.yaml", "--quiet", "--set", "output.layout=prefix"],
            "push": ["push", "out/final", "tester/captures"],
            "inspect": ["inspect", "out/final"], "diff": ["diff", "out/final", "good/final"]}


def commands_for(name):
    if "final/" in name or "manifest" in name or "garbage" in name or name.endswith("as final"):
        return list(COMMANDS)
    if "snapshot" in name or "qkengine" in name:
        return ["push", "run branch"]
    return ["run branch", "run prefix", "push"] if "journal" in name else ["run branch", "push"]


def tried(root, name, command):
    arguments = COMMANDS[command]
    for s in SETTINGS if arguments[0] == "run" else ():
        arguments = [*arguments, "--set", s]
    try:
        done = engine(arguments, root, env=environment(QKENGINE_CACHE="off", HF_HUB_OFFLINE=""), timeout=HANGS, errors="replace")
    except subprocess.TimeoutExpired:
        raise AssertionError((name, command, "does not end")) from None
    said = done.stderr
    assert done.returncode in (0, 1, 3), (name, command, done.returncode, said)
    assert "internal error" not in said and "Sanitizer" not in said, (name, command, said)
    if done.returncode:
        assert "error: " in said, (name, command, said)
    assert all(c.isprintable() or c in "\n\t" for c in said), (name, command, said)
    CAUGHT.append((name, command, done.returncode, said))
    return done.returncode


def workspace(folder):
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", [{"id": i, "text": f"the river {i} turns " * (1 + i % 5)} for i in range(70)])
    done = run(folder, *SETTINGS, "output.data_root=good", "output.layout=branch")
    assert done.returncode == 0, done.stderr
    make_canary(folder)
    return folder


def hostile_folders(folder):
    root = workspace(folder / "w") if (folder / "w").mkdir() is None else None
    HUB.reset()
    words, every = [a for a in sys.argv[1:] if a != "--full"], folders()
    chosen = {n: p for n, p in every.items() if not words or any(w in n for w in words)}
    assert chosen, f"no folder has one of {words} in its name; there are: {', '.join(every)}"
    few = not words and "--full" not in sys.argv
    if few:   # the same ones each time: what fails fails again
        chosen = dict(random.Random(3).sample(sorted(every.items()), 45)) | {n: p for n, p in every.items() if n.startswith("link as")}
    before, refused, went = picture(root), 0, 0
    for name, plant in chosen.items():
        for command in commands_for(name)[:2 if few else None]:
            shutil.rmtree(root / "out", ignore_errors=True)
            (root / "out/staging").mkdir(parents=True)
            (root / "out/final/.qkengine").mkdir(parents=True)
            (root / "out/final/README.md").write_text("a folder\n")
            plant(root)
            before_here = picture(root)
            status = tried(root, name, command)
            after = picture(root)
            changed = sorted(k for k in before_here.keys() | after.keys() if before_here.get(k) != after.get(k))
            assert not changed, (name, command, changed)
            refused, went = refused + (status != 0), went + (status == 0)
    shutil.rmtree(root / "out", ignore_errors=True)
    after = picture(root)
    assert {k: v for k, v in after.items() if k in before} == before and len(after) == len(before)
    return f"{len(chosen)} folders, {refused} refusals, {went} went on, nothing outside was touched"


# ---- what they would give away ----

SECRET = "elsewhere"


def split_links(secret):
    """{name: what makes final/ such that a link in it leads to another run of this user}"""
    def whole(final):
        (final / "other").symlink_to(secret)

    def own(final):
        (final / "model").symlink_to(secret)

    def examples(final):
        (final / "model").mkdir()
        (final / "model/examples.parquet").symlink_to(secret / "examples.parquet")

    def rows(final):
        examples(final)
        (final / "model/l00h00q").mkdir()
        (final / "model/l00h00q/data.parquet").symlink_to(secret / "l00h00q/data.parquet")

    def head(final):
        (final / "model").mkdir()
        (final / "model/l00h00q").symlink_to(secret / "l00h00q")

    return {f.__name__: f for f in (whole, own, examples, rows, head)}


def gives_nothing_away(folder, secret):
    rows = set(pq.read_table(secret / "l00h00q/data.parquet")["example_id"].to_pylist())
    for path in folder.rglob("*"):
        if path.is_file() and not any(p.is_symlink() for p in (path, *path.parents)):
            assert SECRET.encode() not in path.read_bytes(), path
            if path.name == "data.parquet":
                assert not rows & set(pq.read_table(path)["example_id"].to_pylist()), path


def links_give_nothing_away(folder):
    """A link in final/ that leads to another run: nothing of that run gets into this one, or into what is pushed."""
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", [{"id": i, "text": f"the river {i} turns"} for i in range(4)])
    write_jsonl(folder / f"{SECRET}.jsonl", [{"id": f"{SECRET}-{i}", "text": f"the bridge {i} and its river"} for i in range(4)])
    done = run(folder, *SETTINGS[1:], f"dataset.path={SECRET}.jsonl", "dataset.id_column=id", "output.layout=prefix", "output.data_root=mine")
    assert done.returncode == 0, done.stderr
    secret, statuses = folder / "mine/final/model", []
    for name, plant in split_links(secret).items():
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "out/final").mkdir(parents=True)
        plant(folder / "out/final")
        done = run(folder, *SETTINGS, "output.layout=prefix", env=environment(QKENGINE_CACHE="off", HF_HUB_OFFLINE=""))
        assert done.returncode == 0 if name == "whole" else done.returncode == 1 and " link" in done.stderr, (name, done.stderr)
        gives_nothing_away(folder / "out", secret)
        statuses.append(done.returncode)
    HUB.reset()
    first, second = folder / "first", folder / "second"
    capture(first, 0, 4, "capture.layers=[0]", "capture.heads=[0]")
    pushed(first)
    for name in ("whole", "examples"):
        capture(second, 2, 6, "capture.layers=[0]", "capture.heads=[0]")
        if name == "examples":   # a manifest without digests of it, sealed like any other
            tree = json.loads((second / "model/manifest.json").read_text())
            del tree["examples_file"]
            (second / "model/manifest.json").write_text(seal_manifest(tree))
            (second / "model/examples.parquet").unlink()
            (second / "model/examples.parquet").symlink_to(secret / "examples.parquet")
        else:
            split_links(secret)[name](second)
        done = push(second)
        assert done.returncode == (0 if name == "whole" else 1), (name, done.stderr)
        gives_nothing_away(second, secret)
        gives_nothing_away(download(folder / f"hub-{name}"), secret)
        shutil.rmtree(second)
        statuses.append(done.returncode)
    return f"{len(statuses)} folders, {statuses.count(1)} refused"


if __name__ == "__main__":
    sys.exit(main("hostile folders", [links_give_nothing_away, hostile_folders], words=[]))  # words name folders here
