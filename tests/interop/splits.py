#!/usr/bin/env python3
"""What a split is called, and the lines of Python that a run ends with: both as README.md has them, in both layouts, and on a Hub.

usage: splits.py
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

from push_common import HUB, REPO, environment  # first: it sets the environment of the readers
from common import ROOT, digest, engine, main, make_workspace, refused, run, seal
from card_calls import write_model

import datasets
import pyarrow.parquet as pq

PREFIX = "output.layout=prefix"
ONE_HEAD = ["capture.layers=[0]", "capture.heads=[0]"]


def splits_of(folder):
    return sorted(p.parent.name for p in (folder / "out/final").glob("*/manifest.json"))


def lines_of(stderr):
    """The lines of Python: blocks of an import and a call."""
    return re.findall(r"^from datasets import load_dataset\nrows = load_dataset\(.*$", stderr, re.M)


def loads(folder, block, files, env=None):
    """Executes a block as it stands, in the folder where the run was; its rows are those of the files."""
    program = block + "\nprint(len(rows), sorted(rows.column_names))"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True,
                          env={**(env or os.environ), "HF_DATASETS_CACHE": str(folder / "cache"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"})
    assert done.returncode == 0, (block, done.stderr)
    tables = [pq.read_table(p) for p in files]
    assert done.stdout.strip() == f"{sum(map(len, tables))} {sorted(tables[0].column_names)}", (block, done.stdout)
    assert sum(map(len, tables)) > 0


def of_a_local_folder(folder):
    """The last part of its path, however it is written; a name of the Hub counts whole."""
    make_workspace(folder)
    shutil.copytree(folder / "model", folder / "models/tiny-1.b")
    os.symlink(folder / "models/tiny-1.b", folder / "models/link")
    (folder / "models/tiny-1.b/deeper").mkdir()
    planned = lambda name, where=folder, *more: json.loads(engine(
        ["plan", folder / "config.yaml", "--json", "--set", f"model.name={name}", "--set", f"dataset.path={folder}/dataset", *more], where).stdout)["split"]
    assert planned("models/tiny-1.b") == "models_tiny_1_b"     # as from the Hub
    for name in ("./models/tiny-1.b", "./models/tiny-1.b/", "models//tiny-1.b//", folder / "models/tiny-1.b", "models/tiny-1.b/.", "models/tiny-1.b/deeper/.."):
        assert planned(name) == "tiny_1_b", name
    assert planned("./models/link") == "link"
    assert planned(".", folder / "models/tiny-1.b") == planned("../tiny-1.b", folder / "models/tiny-1.b") == "tiny_1_b"
    assert planned("..", folder / "models/tiny-1.b/deeper") == "tiny_1_b"
    assert planned("Qwen/Qwen3-8B") == "Qwen_Qwen3_8B"
    assert planned("./models/tiny-1.b", folder, "--set", "output.split=v1.2") == "v1.2"
    assert planned("models/tiny-1.b", folder, "--set", "output.layout=branch") == "train"


def output_split(folder):
    """It names the folder; names that no reader takes, and those in branch layout, are told before the work."""
    make_workspace(folder)
    for name, words in (("a-b", ["output.split: 'a-b' cannot be the name of a split", "letters, digits and _"]), ("all", ["output.split: 'all'", "stands for all"]),
                        ("../x", ["'../x' cannot be"]), ("a..b", ["'a..b' cannot be"]), ("x" * 256, ["256 bytes", "255"])):
        refused(run(folder, PREFIX, f"output.split={name}", *ONE_HEAD), *words)
    refused(run(folder, "output.layout=branch", "output.split=mine"), "output.split 'mine'", "branch layout", "train")
    refused(run(folder, "output.hf_branch=b", "output.split=mine"), "branch layout")
    assert not (folder / "out").exists()
    for name in ("mine", "v1.2"):
        done = run(folder, PREFIX, f"output.split={name}", *ONE_HEAD)
        assert done.returncode == 0, done.stderr
    assert splits_of(folder) == ["mine", "v1.2"]
    a, b = (json.loads((folder / f"out/final/{name}/manifest.json").read_text())["runs"] for name in ("mine", "v1.2"))
    assert a == b and "split" not in a[0]["identity"]["config"]["output"]    # where rows go does not decide what they are
    assert set(datasets.load_dataset(str(folder / "out/final"), "l00h00q", cache_dir=str(folder / "cache"))) == {"mine", "v1.2"}


def two_models_of_one_name(folder):
    make_workspace(folder)
    for name in ("a", "b"):
        shutil.copytree(folder / "model", folder / name / "tiny")
    assert run(folder, PREFIX, "model.name=./a/tiny", *ONE_HEAD).returncode == 0
    before = digest(folder / "out/final")
    refused(run(folder, PREFIX, "model.name=./b/tiny", *ONE_HEAD), "out/final/tiny: holds rows of another meaning", '"./a/tiny" then, "./b/tiny" now', "output.split")
    assert digest(folder / "out/final") == before
    assert run(folder, PREFIX, "model.name=./b/tiny", "output.split=tiny_b", *ONE_HEAD).returncode == 0
    assert splits_of(folder) == ["tiny", "tiny_b"]


def earlier(folder, *settings):
    """A data_root as an earlier version has left it: the folder has the whole path in its name."""
    assert run(folder, PREFIX, "model.name=./models/tiny", *ONE_HEAD, *settings).returncode == 0
    (folder / "out/final/tiny").rename(folder / "out/final/__models_tiny")
    text = (folder / "out/final/README.md").read_text()
    text = text.replace('"tiny', '"__models_tiny').replace("| tiny |", "| __models_tiny |")
    (folder / "out/final/README.md").write_text(text)


def an_earlier_name_goes_on(folder):
    """A rerun finds its rows, a new one joins them, and a line says so; whoever names a split gets it."""
    make_workspace(folder)
    shutil.copytree(folder / "model", folder / "models/tiny")
    shutil.copytree(folder / "model", folder / "__models_tiny")
    earlier(folder, "dataset.max_samples=2")
    before = digest(folder / "out/final/__models_tiny")
    again = engine(["run", "config.yaml", *(a for s in (PREFIX, "model.name=./models/tiny", *ONE_HEAD, "dataset.max_samples=2") for a in ("--set", s))], folder)
    assert again.returncode == 0 and "already: nothing to do" in again.stderr, again.stderr
    assert again.stderr.count("by the name that an earlier version gave it") == 1, again.stderr
    assert splits_of(folder) == ["__models_tiny"] and digest(folder / "out/final/__models_tiny") == before
    [block] = lines_of(again.stderr)
    loads(folder, block, [folder / "out/final/__models_tiny/l00h00q/data.parquet"])
    assert run(folder, PREFIX, "model.name=./models/tiny", *ONE_HEAD).returncode == 0
    assert splits_of(folder) == ["__models_tiny"]
    whole = digest(folder / "out/final/__models_tiny")
    assert len(json.loads((folder / "out/final/__models_tiny/manifest.json").read_text())["runs"]) == 2
    # the same in one go, by the new name: the same files but for the order of the runs
    assert run(folder, PREFIX, "model.name=./models/tiny", "output.split=tiny", *ONE_HEAD).returncode == 0
    assert splits_of(folder) == ["__models_tiny", "tiny"]
    assert digest(folder / "out/final/tiny")["l00h00q/data.parquet"] == whole["l00h00q/data.parquet"]
    # both names are there: the own one
    assert "earlier version" not in run(folder, PREFIX, "model.name=./models/tiny", *ONE_HEAD).stderr
    assert digest(folder / "out/final/__models_tiny") == whole


def of_another_model_it_is_not(folder):
    """The folder by the old name is another model's: whose name it is now, or one that is called like that."""
    make_workspace(folder)
    shutil.copytree(folder / "model", folder / "models/tiny")
    shutil.copytree(folder / "model", folder / "__models_tiny")
    assert run(folder, PREFIX, "model.name=__models_tiny", *ONE_HEAD).returncode == 0
    before = digest(folder / "out/final/__models_tiny")
    assert run(folder, PREFIX, "model.name=./models/tiny", *ONE_HEAD).returncode == 0
    assert splits_of(folder) == ["__models_tiny", "tiny"] and digest(folder / "out/final/__models_tiny") == before


def an_earlier_run_that_died(folder):
    """Its units make a dataset by the new name; what it had begun to move into final/ by the old one is finished there, once."""
    make_workspace(folder)
    shutil.copytree(folder / "model", folder / "models/tiny")
    args = ["run", "config.yaml", "--quiet", *(a for s in (PREFIX, "model.name=./models/tiny", *ONE_HEAD) for a in ("--set", s))]
    assert engine([*args, "--shard", "1/2"], folder).returncode == 0      # no unit, or some
    assert engine(args, folder).returncode == 0 and splits_of(folder) == ["tiny"]
    # a merge by the old name that was killed among its renames: journal, files still under merged/, manifest.json among them
    out = folder / "out"
    merged = out / "staging/merged/__models_tiny"
    merged.parent.mkdir()
    (out / "final/tiny").rename(merged)
    shutil.move(out / "final/README.md", out / "staging/merged/README.md")
    names = [*(f"__models_tiny/{p.relative_to(merged)}" for p in sorted(merged.rglob("*")) if p.is_file() and p.name != "manifest.json"), "README.md",
             "__models_tiny/manifest.json"]
    listed = [{"name": n, "bytes": len(b := (out / "staging/merged" / n).read_bytes()), "sha256": hashlib.sha256(b).hexdigest()} for n in names]
    (out / "staging/commit.json").write_text(seal(json.dumps({"format": "qkengine commit 1", "identity": "", "files": listed})))
    done = engine([a for a in args if a != "--quiet"], folder)
    assert done.returncode == 0 and "already: nothing to do" in done.stderr, done.stderr
    assert splits_of(folder) == ["__models_tiny"] and "by the name that an earlier version gave it" in done.stderr, done.stderr


def lines_of_a_run(folder):
    """Each layout: what is printed works as it stands, on the first run and on one that finds all there; --quiet prints none."""
    make_workspace(folder)
    for layout, root in ((PREFIX, "out"), ("output.layout=branch", "my \"out\" \u00fc"), (PREFIX, folder / "abs")):
        settings = [a for s in (layout, f"output.data_root={json.dumps(str(root))}", *ONE_HEAD) for a in ("--set", s)]
        for _ in range(2):
            done = engine(["run", "config.yaml", *settings], folder)
            assert done.returncode == 0, done.stderr
            [block] = lines_of(done.stderr)
            assert done.stderr.endswith(block + "\n"), done.stderr
            loads(folder, block, list((folder / root / "final").rglob("l00h00q/data.parquet")))
        assert not lines_of(engine(["run", "config.yaml", "--quiet", *settings], folder).stderr)


def lines_of_many_heads(folder):
    """Where the card lists no single files, the call names one: the rule is the card's."""
    work = make_workspace(folder)
    shutil.rmtree(work / "model")
    write_model(work / "model", 60, 64, 64)
    done = engine(["run", "config.yaml", *(a for s in (PREFIX, "dataset.max_samples=1", "tokenizer.max_length=8") for a in ("--set", s))], folder)
    assert done.returncode == 0, done.stderr
    [block] = lines_of(done.stderr)
    assert 'data_files="model/l00h00q/data.parquet", split="train"' in block, block
    loads(folder, block, [folder / "out/final/model/l00h00q/data.parquet"])


def lines_behind_a_push(folder):
    """Those for the repository load the same rows from it, of a branch too."""
    make_workspace(folder)
    for layout, more in ((PREFIX, []), ("output.layout=branch", ["output.hf_branch=runs/1"])):
        HUB.reset()
        root = layout.split("=")[1]
        settings = [a for s in (layout, f"output.data_root={root}", f"output.hf_repo_id={REPO}", *more, *ONE_HEAD) for a in ("--set", s)]
        done = engine(["run", "config.yaml", *settings], folder, env=environment())
        assert done.returncode == 0, done.stderr
        local, remote = lines_of(done.stderr)
        assert f'"{REPO}"' in remote and ("revision" in remote) == bool(more), remote
        files = list((folder / root / "final").rglob("l00h00q/data.parquet"))
        loads(folder, local, files, environment())
        loads(folder, remote, files, environment())


def readme(folder):
    """README.md's own run, pasted: the commands, then its calls, and those for branch layout behind a run in that."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.search(r"^Your own run;.*\n\n((?:    .*\n)+)", text, re.M).group(1)
    commands = [line.split("#")[0].strip() for line in commands.splitlines()]
    for name in ("configs", "tests", "qkengine"):
        os.symlink(ROOT / name, folder / name)
    (folder / "Makefile").write_text("all:\n")      # it is built
    done = subprocess.run(["bash", "-e", "-c", "\n".join(commands)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
    calls = re.findall(r"^rows = (load_dataset\(.*?\))", text.split("Contents:")[0], re.M)
    [block] = lines_of(done.stderr)
    assert len(calls) == 2 and calls[0] in block, (calls, block)
    [branch] = re.findall(r"`(load_dataset\(.*?\))`", text)
    for call in calls:
        name = re.search(r'final", "(\w+)"', call).group(1)
        files = sorted((folder / "data/final/models_tiny").glob(f"{name.replace('layer', 'l')}h*/data.parquet" if name.startswith("layer") else f"{name}/data.parquet"))
        loads(folder, f"from datasets import load_dataset\nrows = {call}", files)
    shutil.rmtree(folder / "data/final")
    done = subprocess.run(["bash", "-e", "-c", commands[-1] + " --set output.layout=branch"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loads(folder, f"from datasets import load_dataset\nrows = {branch}", [folder / "data/final/l00h00q/data.parquet"])


if __name__ == "__main__":
    status = main("splits", [of_a_local_folder, output_split, two_models_of_one_name, an_earlier_name_goes_on, of_another_model_it_is_not,
                                an_earlier_run_that_died, lines_of_a_run, lines_of_many_heads, lines_behind_a_push, readme])
    HUB.__exit__()
    sys.exit(status)
