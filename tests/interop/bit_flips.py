#!/usr/bin/env python3
"""Single bits that turn by themselves, in staging/, final/ and .qkengine/, before a resume, the end of a merge that died, a rerun, a rerun
that adds rows, a merge of shards and a push. Afterwards either the command says what is damaged, or the result is the undisturbed one.

usage: bit_flips.py [--full] [--seed N]   200 flips, or some 50
"""
import errno
import json
import pathlib
import random
import shutil
import sys

from push_common import HUB, REPO, environment, local_tree  # first: it sets the environment of the readers
from common import HANGS, count_calls, digest, engine, fail_once, fails, main, make_workspace, run, write_jsonl

FULL = "--full" in sys.argv
SEED = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 20261130
EACH = 34 if FULL else 8   # flips in each of six situations
SMALL = ["dataset.path=rows.jsonl", "capture.layers=[0, 1]", "capture.heads=[0]"]
WORDS = ("damaged", "changed", "not as it was written", "cannot be used", "missing", "JSON", "byte", "no manifest", "another program", "not a manifest",
         "another version", "has no ", "belongs to another run")


def rows(first, last):
    return [{"id": f"row {i}", "text": f"the river {i} turns twice " * (1 + i % 6)} for i in range(first, last)]


def workspace(folder):
    folder.mkdir()
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", rows(0, 200))
    write_jsonl(folder / "more.jsonl", rows(150, 260))
    return folder


def shard(work, which, root):
    args = ["run", "config.yaml", "--quiet", "--shard", which]
    for s in [*SMALL, f"output.data_root={root}", "output.layout=branch"]:
        args += ["--set", s]
    done = engine(args, work)
    assert done.returncode == 0, done.stderr


def ran(work, root, layout, *more):
    return run(work, *SMALL, f"output.data_root={root}", f"output.layout={layout}", *more)


def good(done):
    assert done.returncode == 0, done.stderr
    return done


def flip(rng, *folders):
    """Turns one bit of one file, and says which."""
    files = [p for f in folders for p in sorted(f.rglob("*")) if p.is_file() and not p.is_symlink() and p.stat().st_size]
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return path, at


def judge(done, path, at, same):
    """found or harmless; anything else fails."""
    where = f"{path}, byte {at}: status {done.returncode}: {done.stderr}"
    assert done.returncode in (0, 1, 3) and "internal error" not in done.stderr, where
    said = any(w in done.stderr for w in WORDS)
    if done.returncode:
        assert said, where
        return "found"
    if not same():
        assert said and path.name == "README.md" and path.name in done.stderr, where   # a card that somebody may have written into
        return "found"
    return "found" if said else "harmless"


def counted(counts, text):
    counts[text] = counts.get(text, 0) + 1


def many(folder, situation, prepare, places, act, want, compare):
    """prepare() once; then for each flip a copy of what it made."""
    rng, counts, by_file = random.Random(f"{SEED} {situation}"), {}, {}
    work = workspace(folder / "work")
    prepare(work)
    kept = folder / "kept"
    shutil.copytree(work / "out", kept, symlinks=True)
    for _ in range(EACH):
        shutil.rmtree(work / "out")
        shutil.copytree(kept, work / "out", symlinks=True)
        path, at = flip(rng, *[work / "out" / p for p in places])
        verdict = judge(act(work), path, at, lambda: compare(work) == want(work))
        counted(counts, verdict)
        counted(by_file, path.name if not path.name.startswith("unit-") else "unit")
    return f"{counts.get('found', 0)} found, {counts.get('harmless', 0)} harmless, in {', '.join(f'{n} {k}' for k, n in sorted(by_file.items()))}"


_references = {}


def reference(work, layout, *more):
    key = (layout, *more)
    if key not in _references:
        shutil.rmtree(work / "good", ignore_errors=True)
        good(ran(work, "good", layout))
        if more:
            good(ran(work, "good", layout, *more))
        _references[key] = digest(work / "good/final")
    return _references[key]


def final(work):
    return digest(work / "out/final")


# ---- the six situations ----

def resume(folder):
    return many(folder, "resume", lambda w: shard(w, "0/2", "out"), ["staging"], lambda w: ran(w, "out", "branch"),
                lambda w: reference(w, "branch"), final)


def merge_of_shards(folder):
    def prepare(work):
        for i in range(2):
            shard(work, f"{i}/2", f"shard{i}")
        shutil.copytree(work / "shard0", work / "out")
        for unit in (work / "shard1/staging").glob("*.qku"):
            shutil.copy(unit, work / "out/staging" / unit.name)
    return many(folder, "shards", prepare, ["staging"], lambda w: ran(w, "out", "branch"), lambda w: reference(w, "branch"), final)


def died_while_it_moved(folder):
    """What is left of a merge that died among its renames: the journal, files moved and not moved, the units."""
    if not fail_once():
        return "SKIPPED: this system has no seccomp notifications"
    args = ["run", "config.yaml", "--quiet", *(a for s in [*SMALL, "output.data_root=out", "output.layout=prefix"] for a in ("--set", s))]
    renames = count_calls(workspace(folder / "counted"), "rename", args)

    def prepare(work):
        done = engine(args, work, env=fails("rename", renames - 3, errno.EIO))   # of those that move files into final/
        assert done.returncode == 3 and (work / "out/staging/commit.json").exists(), done.stderr
        assert list((work / "out/final").rglob("data.parquet")) and list((work / "out/staging/merged").rglob("data.parquet"))
    return many(folder, "moved", prepare, ["staging", "staging/merged", "final"], lambda w: ran(w, "out", "prefix"),
                lambda w: reference(w, "prefix"), final)


def rerun(folder):
    return many(folder, "rerun", lambda w: good(ran(w, "out", "branch")), ["final", "staging"], lambda w: ran(w, "out", "branch"),
                lambda w: reference(w, "branch"), final)


def rerun_that_adds(folder):
    more = "dataset.path=more.jsonl"
    return many(folder, "adds", lambda w: good(ran(w, "out", "prefix")), ["final"], lambda w: ran(w, "out", "prefix", more),
                lambda w: reference(w, "prefix", more), final)


def push(folder):
    """Of a folder that was pushed once, to a branch that is empty again; then once more, which finds nothing to do."""
    def pushed(work):
        HUB.reset()
        done = engine(["push", "out/final", REPO], work, env=environment(), timeout=HANGS)
        if done.returncode:
            return done
        again = engine(["push", "out/final", REPO], work, env=environment(), timeout=HANGS)
        again.stderr = done.stderr + again.stderr
        return again

    def prepare(work):
        good(ran(work, "out", "prefix"))
        good(pushed(work))

    def there(work):
        return {name: oids for name, oids in HUB.tree(REPO).items() if name != ".gitattributes"}

    def wanted(work):
        if "tree" not in _references:
            shutil.rmtree(work / "good", ignore_errors=True)
            good(ran(work, "good", "prefix"))
            _references["tree"] = local_tree(work / "good/final")
        return {name: _references["tree"][name] for name in _references["tree"]}

    def alike(work):
        have, want = there(work), wanted(work)
        return have.keys() == want.keys() and all(have[n][0] in want[n] for n in have)
    return many(folder, "push", prepare, ["final", "final/.qkengine"], pushed, lambda w: True, alike)


if __name__ == "__main__":
    sys.exit(main(f"bit flips, seed {SEED}", [resume, merge_of_shards, died_while_it_moved, rerun, rerun_that_adds, push]))
