#!/usr/bin/env python3
"""What runs and pushes leave, where it once was not so: README.md that speaks of the rows beside it after every crash and in any order of
runs and pushes, splits without rows, models whose name can be no split, and which build ./qkengine is.

usage: found_output.py [TEST ...]
"""
import errno
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys

from card_calls import OTHER, done, files_of, workspace  # first: it sets the environment
from push_common import HUB, REPO, SMALL, TOKEN, capture, download, environment, local_tree, push, pushed, rows_of, texts
from common import CASE, ROOT, engine, fail_once, fails, main, make_workspace, refused, run, write_jsonl
import datasets
import pyarrow.parquet as pq

ONE_HEAD = ["output.layout=prefix", "capture.layers=[0]", "capture.heads=[0]", "inference.threads=1"]


def place(name):
    layer, head, kind = re.fullmatch(r"l(\d+)h(\d+)([qk])", name).groups()
    return int(layer), int(head), kind == "k"


def check_readme(folder):
    """The digest, the table and the list of runs are those of the manifests, and these of the files."""
    manifests = {p.parent.name: json.loads(p.read_text()) for p in folder.glob("*/manifest.json")}
    text = (folder / "README.md").read_text()
    files = sorted((place(name), split, name, f) for split, m in manifests.items() for name, f in m["files"].items())
    lines = "".join(f"{split}/{name} {f['rows']} {f['sha256']}\n" for _, split, name, f in files)
    assert f'description: "sha256 {hashlib.sha256(lines.encode()).hexdigest()}"' in text
    for split, m in manifests.items():
        for name, f in m["files"].items():
            assert hashlib.sha256((folder / split / name / "data.parquet").read_bytes()).hexdigest() == f["sha256"], (split, name)
        rows = sum(f["rows"] for f in m["files"].values())
        assert re.search(rf"^\| {split} \|.*\| {m['examples']} \| {m['tokens']} \| {len(m['files'])} \| {rows} \|$", text, re.M), split
        for r in m["runs"] if len(m["runs"]) > 1 else ():
            assert f"| {split} | {r['fingerprint'][:12]} |" in text, split


def models(folder, names):
    make_workspace(folder)
    for name, source in names.items():
        shutil.copytree(source, folder / name)
    return folder


def part(folder, person, model, data, *settings):
    ended = run(folder, f"model.name={model}", f"dataset.path={data}", "output.layout=prefix", "capture.layers=[0]", "inference.threads=1",
                f"output.data_root={person}", *settings)
    assert ended.returncode == 0, ended.stderr
    return folder / person / "final"


def test_push_that_dies_while_rows_come_in(folder):
    """README.md comes in with them: the push that goes on finds nothing to merge any more."""
    if not fail_once():
        return "SKIPPED: no seccomp"
    base, more = capture(folder / "base", 0, 4, *SMALL), capture(folder / "more", 2, 6, *SMALL)
    HUB.reset()
    pushed(base)
    want = local_tree(pushed_copy(more, folder / "undisturbed"))
    for at in range(1, 60):
        HUB.reset()
        pushed(base)
        here = shutil.copytree(more, folder / str(at))
        ended = engine(["push", here, REPO], folder, env=fails("rename", at, errno.EIO, environment()))
        if ended.returncode == 0:
            assert at > 10
            return f"{at - 1} moments"
        pushed(here)
        got = local_tree(here)
        assert got == want, (at, [k for k in want if got.get(k) != want[k]])
        check_readme(here)
        assert HUB.tree(REPO)["README.md"][0] in got["README.md"], at
    raise AssertionError("it never ends")


def pushed_copy(source, folder):
    shutil.copytree(source, folder)
    pushed(folder)
    return folder


def test_runs_that_bring_no_rows(folder):
    """The same rows under another dataset's name: files stay, but the runs are two."""
    models(folder, {"a": CASE / "model"})
    for name in ("x.jsonl", "y.jsonl"):
        write_jsonl(folder / name, texts(0, 6))
    HUB.reset()
    pushed(part(folder, "one", "a", "x.jsonl"))
    final = part(folder, "two", "a", "y.jsonl")
    pushed(final)
    check_readme(final)
    assert "| a | " in (final / "README.md").read_text().split("Rows come from these runs")[1]


def test_the_second_split_is_refused(folder):
    """Rows of the first one are in the folder then, and its README.md says so."""
    models(folder, {"a": CASE / "model", "b": CASE / "model"})
    for i in range(2):
        write_jsonl(folder / f"{i}.jsonl", texts(i * 5, i * 5 + 8))
    HUB.reset()
    part(folder, "p", "a", "0.jsonl")
    pushed(part(folder, "p", "b", "0.jsonl", "model.dtype=bfloat16"))
    part(folder, "q", "a", "1.jsonl")
    final = part(folder, "q", "b", "1.jsonl")
    refused(push(final), "rows of another meaning", "model.dtype")
    check_readme(final)


def test_three_people(folder):
    """Runs and pushes of three folders in any order: each README.md is right after each step, nothing is lost, and it comes to rest."""
    names = {"one": CASE / "model", "two": OTHER, "l01h00k": OTHER}
    models(folder, names)
    for i in range(4):
        write_jsonl(folder / f"{i}.jsonl", texts(i * 5, i * 5 + 8))
    for seed in range(3):
        rng = random.Random(seed)
        HUB.reset()
        finals = [folder / f"{seed}-{i}/final" for i in range(3)]
        for _ in range(9):
            final = rng.choice(finals)
            if rng.random() < 0.6 or not final.exists():
                part(folder, final.parent.name, rng.choice(list(names)), f"{rng.randrange(4)}.jsonl", f"capture.heads={rng.choice(['[0]', '[1]', 'null'])}")
            else:
                pushed(final)
            check_readme(final)
        finals = [f for f in finals if f.exists()]
        for final in 2 * finals:
            pushed(final)
            check_readme(final)
        tree = HUB.tree(REPO)
        for final in finals:
            pushed(final)
            assert HUB.tree(REPO) == tree
        there = download(folder / f"download{seed}")
        check_readme(there)
        for final in finals:
            for path in final.rglob("l*/data.parquet"):
                assert rows_of(path).items() <= rows_of(there / path.relative_to(final)).items(), path


def test_manifests_of_others(folder):
    """A folder of somebody else's on the branch, with a manifest.json that is none: no reason to stop. In one's own it is, by name."""
    from huggingface_hub import HfApi
    hub = HfApi(token=TOKEN)
    for i, text in enumerate((b'{"name": "an application"}', b"no JSON", b'{"format": "qkengine manifest 2", "files": {}, "runs": []}')):
        HUB.reset()
        final = capture(folder / str(i), 0, 4, *SMALL)
        pushed(final)
        for split in ("other", "all"):
            for name in ("l00h00q/data.parquet", "manifest.json"):
                data = text if name == "manifest.json" else (final / "model" / name).read_bytes()
                hub.upload_file(path_or_fileobj=data, path_in_repo=f"{split}/{name}", repo_id=REPO, repo_type="dataset")
        before = HUB.tree(REPO)
        assert f"{REPO}, branch main: " in pushed(final).stderr
        tree = HUB.tree(REPO)
        assert {k for k in tree if tree[k] != before.get(k)} == {"README.md"} and set(tree) == set(before)
        rows = datasets.load_dataset(REPO, "l00h00q")
        assert {s: len(r) for s, r in rows.items()} == dict.fromkeys(("model", "other"), len(rows_of(final / "model/l00h00q/data.parquet")))
        hub.upload_file(path_or_fileobj=text, path_in_repo="model/manifest.json", repo_id=REPO, repo_type="dataset")
        refused(push(final), f"{REPO}, branch main: ", "model/manifest.json", "another --branch")


def test_a_split_without_rows(folder):
    """datasets loads nothing of a name where one of its splits has no row."""
    work = workspace(folder / "w", ("m2", CASE / "model"))
    done(work, *ONE_HEAD)
    ended = run(work, "dataset.path=rows.jsonl", "model.name=m2", "capture.sampler.base_rate=0.00001", *ONE_HEAD)
    assert ended.returncode == 0 and "no row was kept" in ended.stderr, ended.stderr
    final = work / "out/final"
    for name in ("l00h00q", "layer00_k", "all"):
        there = datasets.load_dataset(str(final), name)
        assert {s: len(r) for s, r in there.items()} == {"model": sum(pq.read_metadata(p).num_rows for p in files_of(final, name))}, name
    assert "| m2 | m2 |" in (final / "README.md").read_text()
    final = done(work, *ONE_HEAD, "model.name=m2", "capture.sampler.base_rate=3.0")   # now it has some
    assert set(datasets.load_dataset(str(final), "l00h00q")) == {"m2", "model"}


def test_models_that_can_be_no_split(folder):
    """Told before the work: a folder name that is too long, and `all`, which a reader takes for every split."""
    work = workspace(folder / "w", ("all", CASE / "model"))
    deep = work / ("x" * 250) / ("y" * 20)
    shutil.copytree(CASE / "model", deep)
    settings = ["dataset.path=rows.jsonl", *ONE_HEAD]
    refused(run(work, *settings, f"output.split={'x' * 271}"), "output.split", "271 bytes", "shorter")
    refused(run(work, *settings, "model.name=all"), "model.name: 'all'", "./all", "branch")
    assert not (work / "out").exists()
    os.symlink(deep, work / "short")    # what the hints say works
    for name in ("short", "./all", deep.relative_to(work)):
        assert run(work, *settings, f"model.name={name}").returncode == 0, name
    assert run(work, *settings, "model.name=all", "output.layout=branch", "output.data_root=b").returncode == 0
    final = work / "out/final"
    shutil.copytree(final / "short", final / "all")
    ended = run(work, *settings, "model.name=model")
    assert ended.returncode == 0 and "final/all: is no name of a split" in ended.stderr, ended.stderr
    assert set(datasets.load_dataset(str(final), "l00h00q")) == {"short", "__all", "model", "y" * 20}


def test_which_build_is_here(folder):
    """A variant that was never built is built, and ./qkengine becomes it, however new the one that is here."""
    said = subprocess.run(["make", "-n", "SAN=1", "B=build/none"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "LINK    build/none/qkengine" in said and "ln -sf build/none/qkengine qkengine" in said, said[-500:]


if __name__ == "__main__":
    tests = [test_push_that_dies_while_rows_come_in, test_runs_that_bring_no_rows, test_the_second_split_is_refused, test_three_people,
             test_manifests_of_others, test_a_split_without_rows, test_models_that_can_be_no_split, test_which_build_is_here]
    status = main("found output", tests)
    HUB.__exit__()
    sys.exit(status)
