#!/usr/bin/env python3
"""What README.md shows works: every call in the card of a run, in this repository's README.md, in the demo and on the Hub's
front page is taken out of the text and executed, for small and large models, in both layouts, here and from a Hub.

usage: card_calls.py [TEST ...]
"""
import glob
import json
import os
import pathlib
import re
import shutil
import struct
import sys
import tempfile

from push_common import HUB, REPO, SMALL, TEMP, TOKEN, capture, local_tree, pushed  # first: it sets the environment
from common import CASE, ROOT, digest, engine, main, make_workspace, run, write_jsonl

os.environ.update(HF_DATASETS_CACHE=str(TEMP / "datasets"), HF_TOKEN=TOKEN)
import datasets
import numpy as np
import pyarrow.parquet as pq
import yaml

OTHER = ROOT / "tests/data/capture/old_layout/tiny/llama-base.1"   # two layers, the case's has four
SHAPES = {"14B": (40, 40, 8), "32B": (64, 64, 8), "70B": (80, 64, 8)}   # layers, query heads, key heads
MISSING = {}   # programs that are not installed here: how many calls were left out


# ---- calls ----

def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


def count(value):
    """Rows of whatever a reader returned; None: as they come."""
    if isinstance(value, datasets.IterableDataset):
        assert next(iter(value))["vector"]
        return None
    return len(value.fetchall() if type(value).__module__.startswith(("duckdb", "_duckdb")) else value)


def expected(call, folder):
    """Rows of the files that the text of a call is about."""
    name = re.search(r"\b(l\d+h(?:\d+|\*)[qk]|l\d+h\d+|layer\d+(?:_[qk])?|all(?:_[qk])?)\b|(l\d+h\*[qk])", call)
    names = [name.group(0)] if name else ["all"]
    if "\"in\"" in call:
        names = re.findall(r"\"(l\d+h\d+[qk])\"", call)
    split = re.search(r"split=\"(\w+)\"", call)
    return sum(pq.read_metadata(p).num_rows for n in names for p in files_of(folder, n, split and split.group(1)))


def files_of(folder, name, split=None):
    """Data files behind a name, of a split where files lie in folders of splits."""
    pattern = {"all": "l*h*[qk]", "layer": f"l{name[5:].split('_')[0]}h*[qk]"}.get(re.match(r"all|layer|", name).group(0), name)
    pattern = pattern[:-4] + name[-1] if name.endswith(("_q", "_k")) else pattern if pattern[-1] in "qk]" else pattern + "[qk]"
    below = folder / split if split and (folder / split).is_dir() else folder
    found = glob.glob(str(below / pattern / "data.parquet"))
    return found or glob.glob(str(below / "*" / pattern / "data.parquet"))


def execute(block, folder, **replaced):
    """Executes a block line by line; each result has the rows of the files below the folder that its call is about."""
    place, done, skipping = {}, 0, None
    for word, value in replaced.items():
        block = block.replace(word, str(value))
    for line in filter(str.strip, block.splitlines()):
        if line.startswith("import "):
            skipping = None
        try:
            if skipping:
                MISSING[skipping] += " = " in line
                continue
            exec(line, place)
        except ModuleNotFoundError as e:
            skipping = e.name.split(".")[0]
            assert skipping in ("polars", "duckdb"), line
            MISSING.setdefault(skipping, 0)
            continue
        value = re.match(r"(\w+) = \w+[\w.]*\(", line)
        if not value:
            continue
        value, want = place[value.group(1)], expected(line, pathlib.Path(place.get("folder", folder)))
        got = count(value)
        assert want > 0 and got in (want, None), (line, got, want)
        if "head" in getattr(value, "columns", ()) and "filters" in line:
            assert set(value["head"]) == set(re.findall(r"l\d+h\d+[qk]", line)), line
        done += 1
    return done


def configs(text):
    """{name: data_files} of a card, as a YAML reader sees it."""
    return {c["config_name"]: c["data_files"] for c in yaml.load(text.split("\n---\n")[0][4:], yaml.CSafeLoader)["configs"]}


def names_that_are_told(text):
    """Names by rule in the sentence below the calls."""
    return re.findall(r"`([\w]+)`", re.search(r"^Configurations: (.*?)\. XX", text, re.M).group(1))


def check_card(final, most_files=1000):
    """Every call of final/README.md works, and the list of names is what is there; the number of calls.
    Of each sort the first and the last name are loaded, where no more files than this are behind it."""
    text = (final / "README.md").read_text()
    there = configs(text)
    files = sorted({pathlib.Path(p).parent.name for p in glob.glob(str(final / "**/l*h*/data.parquet"), recursive=True)})
    pairs, layers = sorted({f[:-1] for f in files}), sorted({f.split("h")[0][1:] for f in files})
    kinds = [k for k in "qk" if any(f[-1] == k for f in files)]
    by_rule = {"all": ["all"], "layerXX": [f"layer{n}" for n in layers], "lXXhYY": pairs}
    for k in kinds:
        by_rule[f"all_{k}"] = [f"all_{k}"]
        by_rule[f"layerXX_{k}"] = [f"layer{n}_{k}" for n in layers if any(f.startswith(f"l{n}h") and f[-1] == k for f in files)]
        by_rule[f"lXXhYY{k}"] = [f for f in files if f[-1] == k]
    told = names_that_are_told(text)
    assert set(there) == {n for rule in told for n in by_rule[rule]} and len(there) <= 3000, (len(there), told)
    if len(told) < len(by_rule):    # what is left out would not fit
        assert len(there) + len(by_rule["lXXhYY"]) > 3000, len(there)
    found = blocks(text)
    assert len(found) == 2, text
    n = execute(found[0], final, FOLDER=final)
    assert n == 3, found[0]
    n += execute(found[1], final, FOLDER=final)
    for rule in told:
        for name in {by_rule[rule][0], by_rule[rule][-1]} if len(files) <= most_files or "all" not in rule else ():
            for split, rows in datasets.load_dataset(str(final), name).items():
                assert len(rows) == sum(pq.read_metadata(p).num_rows for p in files_of(final, name, split)), (name, split)
                n += 1
    return n


# ---- runs ----

def memory():
    """Thousands of files are made here; each is flushed to the disk, where it is one."""
    shm = pathlib.Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=shm if shm.is_dir() and shutil.disk_usage(shm).free > 1 << 30 else None)


def write_model(folder, layers, heads, key_heads, d=4, hidden=8, vocabulary=600):
    """A llama of this shape, and small otherwise."""
    folder.mkdir(parents=True)
    config = {"model_type": "llama", "hidden_size": hidden, "intermediate_size": 8, "num_attention_heads": heads,
              "num_key_value_heads": key_heads, "num_hidden_layers": layers, "head_dim": d, "vocab_size": vocabulary,
              "rms_norm_eps": 1e-5, "max_position_embeddings": 512, "hidden_act": "silu", "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens": [vocabulary, hidden], "model.norm": [hidden]}
    for n in range(layers):
        shapes |= {f"model.layers.{n}.{k}": v for k, v in {
            "self_attn.q_proj": [heads * d, hidden], "self_attn.k_proj": [key_heads * d, hidden], "self_attn.v_proj": [key_heads * d, hidden],
            "self_attn.o_proj": [hidden, heads * d], "mlp.gate_proj": [8, hidden], "mlp.up_proj": [8, hidden], "mlp.down_proj": [hidden, 8],
            "input_layernorm": [hidden], "post_attention_layernorm": [hidden]}.items()}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name + ".weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    values = np.random.default_rng(0).normal(size=at // 4).astype("<f4") / 4
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + values.tobytes())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(CASE / "model" / name, folder)
    return folder


def workspace(folder, *models):
    """A folder with some texts, and copies of models under names."""
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", [{"id": i, "text": t} for i, t in enumerate(("Maps, boats and bread.", "No one looks down."))])
    for name, source in models:
        shutil.copytree(source, folder / name)
    return folder


def done(folder, *settings):
    ended = run(folder, "dataset.path=rows.jsonl", "inference.threads=1", "capture.sampler.base_rate=2.0", *settings)
    assert ended.returncode == 0, ended.stderr
    return folder / "out/final"


# ---- tests ----

def test_small_models(folder):
    """Branch layout; fewer layers, heads, kinds."""
    n = 0
    for i, settings in enumerate(([], ["capture.layers=[3]", "capture.heads=[1]"], ["capture.capture_queries=false", "capture.layers=[1,2]"],
                                  ["capture.capture_keys=false"], ["capture.head_sampling={count: 2, seed: 3}"])):
        n += check_card(done(workspace(folder / str(i)), "output.layout=branch", *settings))
    return f"{n} calls"


def test_a_folder_per_model(folder):
    """Names that YAML would take for something else; the order of the runs leaves no trace."""
    models = {"True": OTHER, "null": CASE / "model", "1e3": OTHER, "Modell-\u00fc": CASE / "model"}
    trees = []
    for i, order in enumerate((list(models), list(models)[::-1], ["1e3", "True", "Modell-\u00fc", "null"])):
        work = workspace(folder / str(i), *models.items())
        for name in order:
            final = done(work, "output.layout=prefix", f'model.name="{name}"')
        trees.append(digest(final))
        assert trees[0] == trees[-1], [k for k in trees[0] if trees[0][k] != trees[-1].get(k)]
    assert set(datasets.load_dataset(str(final), "l01h00q")) == {"True", "null", "1e3", "Modell_\u00fc"}
    return f"{check_card(final)} calls, {len(trees)} orders of {len(models)} models"


def test_rows_of_now(folder):
    """datasets keeps what it loaded by the folder's name and the card: rows of before, or of elsewhere, must not come back."""
    for layout, split in (("branch", "train"), ("prefix", "model")):
        for i, settings in enumerate((["dataset.max_samples=1"], [], ["dataset.max_samples=1", "model.dtype=bfloat16"])):
            again = i == 1 and layout == "prefix"     # a rerun that adds rows
            work = workspace(folder / layout / ("0" if again else str(i)))
            final = done(work, f"output.layout={layout}", *settings)
            for name in ("l00h00q", "layer01", "all"):
                rows = datasets.load_dataset(str(final), name, split=split)
                want = [pq.read_table(p) for p in sorted(files_of(final, name, split))]
                assert rows.data.table["vector"].to_pylist() == [v for t in want for v in t["vector"].to_pylist()], (layout, i, name)


def test_folders_that_are_no_splits(folder):
    """A folder that datasets can name no split by would make the whole card unreadable."""
    final = done(workspace(folder / "w"), "output.layout=prefix", "capture.layers=[0]")
    for name in ("a-b", "x[1]", "no data", "not ours"):
        shutil.copytree(final / "model", final / name)
    for path in (final / "no data").glob("l*/data.parquet"):
        path.unlink()
    (final / "not ours").rename(final / "other.1")
    (final / "other.1/manifest.json").unlink()
    shutil.copytree(final / "other.1/l00h00q", final / "other.1/l0h9q")   # not how files are named
    ended = run(folder / "w", "dataset.path=rows.jsonl", "output.layout=prefix", "capture.layers=[1]")
    assert ended.returncode == 0 and ended.stderr.count("README.md leaves it out") == 2, ended.stderr
    for name in ("a-b", "x[1]", "no data"):
        shutil.rmtree(final / name)
    shutil.rmtree(final / "other.1/l0h9q")
    text = (final / "README.md").read_text()
    assert {s["split"] for files in configs(text).values() for s in files} == {"model", "other.1"}, text
    return f"{check_card(final)} calls"


def test_shapes_of_large_models(folder):
    """Real numbers of layers and heads; the call for one head reads that head."""
    said = []
    for name, shape in SHAPES.items():
        with memory() as top:
            work = pathlib.Path(top)
            write_model(work / "model", *shape)
            write_jsonl(work / "rows.jsonl", [{"id": 1, "text": "Two words"}])
            (work / "config.yaml").write_text("dataset: {path: rows.jsonl}\nmodel: {name: model}\noutput: {data_root: out}\n"
                                              "capture: {sampler: {type: all}}\n")
            layout = "prefix" if name == "32B" else "branch"
            final = done(work, f"output.layout={layout}", "output.vector_encoding=plain")
            n = check_card(final)
            said.append(f"{name}: {len(configs((final / 'README.md').read_text()))} names, {n} calls")
            if name == "70B":   # the same from a Hub, which holds the first layer and the last
                HUB.reset()
                part = work / "part"
                for path in [*final.glob("l00*/data.parquet"), *final.glob("l79*/data.parquet"), final / "README.md"]:
                    (part / path.relative_to(final)).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, part / path.relative_to(final))
                pushed(part)
                block = blocks((part / "README.md").read_text())[0]
                assert execute(block, part, FOLDER=REPO) == 3
                asked = [r for r in HUB.log("data.parquet") if r.startswith("GET") and "/l00h" in r]
                assert asked, HUB.log("data.parquet")
    return ", ".join(said)


def test_from_a_hub(folder):
    """Cards of both layouts, of a branch, of two models that came one after the other; the front page of main."""
    HUB.reset()
    final = capture(folder / "branch", 0, 4, layout="branch")
    pushed(final, "--branch", "some/branch")
    block = blocks((final / "README.md").read_text())[0].replace("split=", 'revision="some/branch", split=')
    assert execute(block, final, FOLDER=REPO) == 3
    page = pathlib.Path(hub_file("README.md", "main")).read_text()
    assert execute(blocks(page)[0], final, BRANCH="some/branch") == 1, page
    HUB.reset()
    final = capture(folder / "prefix", 0, 4, layout="prefix")
    pushed(final)
    assert execute(blocks((final / "README.md").read_text())[0], final, FOLDER=REPO) == 3


def hub_file(name, revision):
    from huggingface_hub import hf_hub_download
    return hf_hub_download(REPO, name, repo_type="dataset", revision=revision, token=TOKEN)


def test_any_order_of_pushes(folder):
    """Models pushed in any order are one tree; a branch that holds what the folder holds has its README.md."""
    made = {}
    for name in ("one", "two", "three"):
        work = workspace(folder / name, (name, OTHER if name == "two" else CASE / "model"))
        made[name] = done(work, "output.layout=prefix", f"model.name={name}", "capture.heads=[0]")
    together = workspace(folder / "together", *((n, folder / n / n) for n in made))
    for name in ("two", "three", "one"):
        final = done(together, "output.layout=prefix", f"model.name={name}", "capture.heads=[0]")
    trees = []
    for order in (["one", "two", "three"], ["three", "one", "two"], ["two", "one", "one", "three", "two"], [None]):
        HUB.reset()
        for name in order:
            here = folder / f"pushed{len(trees)}{name}"
            if not here.exists():
                shutil.copytree(made[name] if name else final, here)
            before = local_tree(here)
            pushed(here)
            assert local_tree(here) == before, order     # nothing came in
        trees.append({k: v[0] for k, v in HUB.tree(REPO).items()})
        assert trees[0] == trees[-1], sorted(k for k in trees[0] if trees[0][k] != trees[-1].get(k))
    return f"{len(trees)} orders, {len(trees[0])} files"


def test_rows_that_come_in_with_a_push(folder):
    """Runs of one model meet on the branch: the folder that took rows in, and the branch, have one README.md."""
    HUB.reset()
    a, b = capture(folder / "a", 0, 4, *SMALL), capture(folder / "b", 2, 6, *SMALL)
    pushed(a)
    pushed(b)
    there = pathlib.Path(hub_file("README.md", "main")).read_bytes()
    assert there == (b / "README.md").read_bytes()
    (b / "README.md").write_text((b / "README.md").read_text() + "Words of mine.\n")
    pushed(b)       # what somebody wrote into the card is pushed as it is
    assert pathlib.Path(hub_file("README.md", "main")).read_bytes() == (b / "README.md").read_bytes()
    return f"{check_card(a)} calls"


def test_readme_of_this_repository(folder):
    """The configuration that README.md says to copy, then its calls and those of the output's README as they stand there."""
    text = "\n".join((ROOT / name).read_text() for name in ("README.md", "engine/output/README.md"))
    work = folder / "work"
    shutil.copytree(CASE / "model", work / "models/tiny")
    (work / "data/texts").mkdir(parents=True)
    write_jsonl(work / "data/texts/a.jsonl", [{"text": "Maps, boats and bread. " * n} for n in range(20, 40)])
    shutil.copy(ROOT / "configs/sample.yaml", work / "my.yaml")
    ended = run(work, config="my.yaml")
    assert ended.returncode == 0, ended.stderr
    assert check_card(work / "data/final") > 0
    before, n, left_out = os.getcwd(), 0, sum(MISSING.values())
    os.chdir(work)
    try:
        for block in blocks(text):
            n += execute(block, work / "data/final")
    finally:
        os.chdir(before)
    assert n + sum(MISSING.values()) - left_out == sum(block.count("\nrows = ") for block in blocks(text)) > 5, n
    return f"{n} calls"


def test_demo(folder):
    call = re.search(r"rows = load_dataset.*", (ROOT / "tests/demo/run.sh").read_text()).group(0)
    ended = engine(["run", "configs/demo.yaml", "--quiet", "--set", f"output.data_root={folder}/demo-output"], ROOT)
    assert ended.returncode == 0, ended.stderr
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert execute(f"from datasets import load_dataset\n{call}\n", folder / "demo-output/final") == 1
    finally:
        os.chdir(before)
    assert check_card(folder / "demo-output/final") > 0


def all_programs_are_here(folder):
    return f"SKIPPED: without {', '.join(sorted(MISSING))}, whose calls were not executed" if MISSING else None


if __name__ == "__main__":
    tests = [test_small_models, test_a_folder_per_model, test_rows_of_now, test_folders_that_are_no_splits, test_shapes_of_large_models, test_from_a_hub,
             test_any_order_of_pushes, test_rows_that_come_in_with_a_push, test_readme_of_this_repository, test_demo, all_programs_are_here]
    status = main(f"card calls, datasets {datasets.__version__}", tests)
    HUB.__exit__()
    sys.exit(status)
