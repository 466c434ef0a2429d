#!/usr/bin/env python3
"""Mistakes of the first hour: what one types, the exit status, and the first line of what is said. Each line of the table is a whole
command in one workspace. --table prints it with the line below each message, which says what to do.

usage: mistakes.py [--table]
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

from common import engine, main, make_workspace, write_jsonl

WHOLE = "dataset: {path: dataset}\nmodel: {name: model}\noutput: {data_root: new}\n"
FILES = {
    "empty.yaml": "",
    "list.yaml": "- dataset\n- model\n",
    "flat.yaml": "dataset:\npath: dataset\nmodel:\nname: model\noutput:\ndata_root: new\n",
    "half.yaml": WHOLE + "capture:\n  layers: [0]\nheads: [0]\n",
    "nested.yaml": WHOLE + "capture:\n  sampler:\n  type: all\n",
    "tab.yaml": "dataset:\n\tpath: dataset\n",
    "typo.yaml": WHOLE.replace("path:", "paht:"),
    "section.yaml": WHOLE + "samplers:\n  type: all\n",
    "missing.yaml": "dataset: {path: dataset}\nmodel: {name: model}\n",
    "twice.yaml": WHOLE + "model: {name: other}\n",
    "colon.yaml": WHOLE.replace("dataset}", "dataset, split: train: all}"),
    "bracket.yaml": WHOLE + "capture: {layers: [0, 1}\n",
    "hollow.yaml": WHOLE + "capture:\n",
    "config.json": json.dumps({"model_type": "llama"}),
}

LISTED = {
    "negative.jsonl": '{"id": 1, "positions": [-1]}\n',
    "huge.jsonl": '{"id": 1, "positions": [67108864]}\n',
    "twice.jsonl": '{"id": 1, "positions": [1]}\n{"id": 1, "positions": [2]}\n',
    "nothing.jsonl": "",
    "pairs.csv": "id,position\n1,2\n",
    "array.json": '[{"id": 1, "positions": [1]}]\n',
    "pretty.json": '{\n  "id": 1,\n  "positions": [1]\n}\n',
    "words.jsonl": '{"id": "doc-1", "positions": [1]}\n',
}
LIST = "run config.yaml --set dataset.id_column=null --set output.data_root=new --set capture.sampler.base_rate=null --set capture.sampler.positions="
AT = "capture.sampler.positions: "

# what is typed, exit status, the first line
TABLE = [
    ("config.yaml", 2, "unknown command 'config.yaml'"),
    ("run config.yml", 1, "config.yml: cannot open: No such file or directory"),
    ("run --config", 2, "a file is missing behind --config"),
    ("run config.yaml again.yaml", 2, "one argument too many: again.yaml"),
    ("run -q config.yaml", 2, "unknown option -q"),
    ("run config.yaml --verbose", 2, "unknown option --verbose"),
    ("run config.yaml --set", 2, "a value is missing behind --set"),
    ("run config.yaml --set capture.layers", 2, "--set capture.layers: no key and value"),
    ("run config.yaml --set layers=0,1", 2, "--set layers: unknown section 'layers'"),
    ("run config.yaml --set capture.layer=0", 2, "--set capture.layer: unknown key 'capture.layer'"),
    ("run config.yaml --set capture.layers=all", 2, "--set capture.layers: 'capture.layers' must be a list of integers, not the text 'all'"),
    ("run config.yaml --set capture.heads=7", 1, "capture.heads: there is no query head 7; the model has query heads 0 to 3"),
    ("run config.yaml --set capture.sampler=uniform", 2, "--set capture.sampler: 'capture.sampler' must be a map"),
    ("run config.yaml --set capture.sampler.type=random", 2, "--set capture.sampler.type: 'capture.sampler.type' must be one of log_uniform, uniform, all, not the text 'random'"),
    ("run config.yaml --set capture.capture_queries=false --set capture.capture_keys=false", 1, "config.yaml: nothing to capture: both queries and keys are off"),
    ("run config.yaml --set model.dtype=fp8", 2, "--set model.dtype: 'model.dtype' must be one of float32, float16, bfloat16, not the text 'fp8'"),
    ("run config.yaml --set inference.batch_size=0", 2, "--set inference.batch_size: 'inference.batch_size' must be positive, not 0"),
    ("run config.yaml --set inference.batch_size=1e1", 2, "--set inference.batch_size: 'inference.batch_size' must be an integer, not the text '1e1'"),
    ("run config.yaml --set inference.threads=many", 2, "--set inference.threads: 'inference.threads' must be an integer, not the text 'many'"),
    ("run config.yaml --backend gpu", 2, "--backend 'gpu' is not known"),
    ("run config.yaml --shard 4/4", 2, "--shard 4/4: I/N is needed, two whole numbers with 0 <= I < N"),
    ("run config.yaml --shard 1", 2, "--shard 1: I/N is needed, two whole numbers with 0 <= I < N"),
    ("run empty.yaml", 1, "empty.yaml: the configuration is empty"),
    ("run list.yaml", 1, "list.yaml:1:1: the top level must be a map of sections"),
    ("run flat.yaml", 1, "flat.yaml:2:1: unknown section 'path': it is a key of 'dataset' that is not indented"),
    ("run half.yaml", 1, "half.yaml:6:1: unknown section 'heads': it is a key of 'capture' that is not indented"),
    ("run nested.yaml", 1, "nested.yaml:6:3: unknown key 'capture.type'"),
    ("run tab.yaml", 1, "tab.yaml:2:1: a tab in the indentation"),
    ("run typo.yaml", 1, "typo.yaml:1:11: unknown key 'dataset.paht'"),
    ("run section.yaml", 1, "section.yaml:4:1: unknown section 'samplers'"),
    ("run missing.yaml", 1, "missing.yaml: section 'output' is missing"),
    ("run twice.yaml", 1, "twice.yaml:4:1: 'model' is given twice"),
    ("run colon.yaml", 1, "colon.yaml:1:10: the list or map that begins here is not closed"),
    ("run bracket.yaml", 1, "bracket.yaml:4:19: the list or map that begins here is not closed"),
    ("run hollow.yaml", 1, "hollow.yaml:4:9: section 'capture' is empty"),
    ("run model", 1, "model: not a regular file"),
    ("run config.json", 1, "config.json:1:2: unknown section 'model_type'"),
    ("run image.png", 1, "image.png:1:1: not valid UTF-8"),
    ("run config.yaml --set model.name=modle", 1, "model.name: there is no folder 'modle'"),
    ("run config.yaml --set model.name=models/tny", 1, "model.name: there is no 'tny' in the folder 'models', and on the Hub: models/tny at 'main' is not in the cache (hf/hub): HF_HUB_OFFLINE is set"),
    ("run config.yaml --set model.name=./modle", 1, "model.name: there is no folder './modle'"),
    ("run config.yaml --set model.name=~/model", 2, "--set model.name: 'model.name' begins with '~', which only a shell expands"),
    ("run config.yaml --set model.name=smollm2", 1, "model.name: there is no folder 'smollm2'"),
    ("run config.yaml --set model.name=qwen3-8b", 1, "model.name: there is no folder 'qwen3-8b'"),
    ("run config.yaml --set model.name=someone/model", 1, "model.name: someone/model at 'main' is not in the cache (hf/hub): HF_HUB_OFFLINE is set"),
    ("run config.yaml --set model.name=model/config.json", 1, "model.name: model/config.json: a file, not the folder of a model"),
    ("run config.yaml --set model.name=empty", 1, "empty: the folder is empty"),
    ("run config.yaml --set model.name=bare --set output.data_root=new", 1, "bare: there is no tokenizer.json"),
    ("run config.yaml --set dataset.path=dataste", 1, "dataste: there is no such file or folder"),
    ("run config.yaml --set dataset.path=data/trian.jsonl", 1, "there is no 'trian.jsonl' in the folder 'data', and on the Hub: dataset.path: data/trian.jsonl at 'main' is not in the cache (hf/hub): HF_HUB_OFFLINE is set"),
    ("run config.yaml --set dataset.path=/nowhere/texts", 1, "/nowhere/texts: there is no such file or folder"),
    ("run config.yaml --set dataset.path=someone/texts", 1, "dataset.path: someone/texts at 'main' is not in the cache (hf/hub): HF_HUB_OFFLINE is set"),
    ("run config.yaml --set dataset.path=empty", 1, "empty: no data files"),
    ("run config.yaml --set dataset.path=image.png", 1, "image.png: no data files (.parquet, .jsonl, .json, .csv, .tsv or .txt)"),
    ("run config.yaml --set dataset.path=bodies.jsonl --set dataset.id_column=null --set output.data_root=new", 1, "bodies.jsonl: there is no column 'text'; the columns are body"),
    ("run config.yaml --set dataset.path=numbers.jsonl --set dataset.id_column=null --set output.data_root=new", 1, "numbers.jsonl: byte 10 (line 1, column 11): 'text' is a number, not a string"),
    ("run config.yaml --set dataset.split=train[:10", 1, "dataset.split 'train[:10': a slice is [from:to] with whole numbers or percentages"),
    ("run config.yaml --set output.data_root='~/out'", 2, "--set output.data_root: 'output.data_root' begins with '~', which only a shell expands"),
    ("run config.yaml --set output.data_root=config.json", 1, "config.json: cannot make the folder: Not a directory"),
    ("run config.yaml --set output.data_root=dataset", 1, "config.yaml: output.data_root 'dataset' lies inside dataset.path 'dataset': the run would read its own output"),
    ("run config.yaml --set output.layout=branch", 1, "out/final: holds a folder per model, this run would put its files at the root"),
    ("plan nowhere.yaml", 1, "nowhere.yaml: cannot open: No such file or directory"),
    ("plan config.yaml --look 0", 2, "--look 0: a whole number from 1 is needed"),
    ("inspect nowhere", 1, "nowhere: there is no such file or folder"),
    ("inspect config.yaml", 1, "config.yaml: is a configuration, and no data"),
    ("inspect empty", 1, "empty: no data files"),
    ("push out someone/rows", 1, "out: holds no dataset; did you mean 'out/final'?"),
    ("push notes someone/rows", 1, "notes: holds no dataset"),
    ("push nowhere someone/rows", 1, "nowhere: no such folder"),
    ("push out/final rows", 1, "rows: no owner in the name"),
    ("pull smollm2", 1, "smollm2 at 'main' is not in the cache (hf/hub): HF_HUB_OFFLINE is set"),
    ("pull someone/model", 1, "someone/model at 'main' is not in the cache (hf/hub): HF_HUB_OFFLINE is set"),
    ("synth --like smollm2 new/model", 1, "several built-in configurations begin with 'smollm2'"),
    ("synth --like smolm3 new/model", 1, "no built-in configuration is called 'smolm3'"),
    ("synth new/model", 2, "--like NAME is missing"),
    ("synth --like smollm3 model", 1, "model: the folder is not empty"),
    ("diff out out/final", 1, "out: holds no l*h*/data.parquet"),
    ("diff out/final notes", 1, "notes: holds no l*h*/data.parquet"),
    ("join out/final out/final out", 1, "out: is there already, and is no empty folder"),
    ("tokenize modle numbers.jsonl", 1, "modle: cannot list the folder: No such file or directory"),
    ("tokenize model nowhere.txt", 1, "nowhere.txt: cannot open: No such file or directory"),
    ("-v", 2, "unknown command '-v'"),
    ("run config.yaml --set capture.rope=before", 2, "--set capture.rope: 'capture.rope' must be one of pre, post, not the text 'before'"),
    ("run config.yaml --set capture.rope=[]", 2, "--set capture.rope: 'capture.rope' must not be an empty list"),
    ("run config.yaml --set capture.rope=true", 2, "--set capture.rope: 'capture.rope' must be a list of words, not the boolean true"),
    ("run config.yaml --set capture.rope=pre --set capture.capture_lse=true", 2, "--set capture.capture_lse: 'capture.capture_lse' is a column of queries after the rotary embedding, and only those before it are captured"),
    ("run config.yaml --set capture.capture_values=1", 2, "--set capture.capture_values: 'capture.capture_values' must be true or false, not the number 1"),
    ("run config.yaml --set capture.sampler.first=-1", 2, "--set capture.sampler.first: 'capture.sampler.first' must not be negative, but is -1"),
    ("run config.yaml --set capture.sampler.first=1000 --set capture.max_rows_per_batch=4", 2, "--set capture.sampler.first: 'first' is 1000, more than the 4 rows of capture.max_rows_per_batch"),
    ("run config.yaml --set capture.sampler.queries=all", 2, "--set capture.sampler.queries: 'capture.sampler.queries' must be a map"),
    ("run config.yaml --set output.split=a/b", 1, "output.split: 'a/b' cannot be the name of a split"),
    ("run config.yaml --set output.split=x --set output.layout=branch", 1, "config.yaml: output.split 'x': in branch layout the split is always train"),
    ("merge config.yaml --partial --set output.data_root=void", 1, "void/staging: there is no such folder, and so no unit of this run"),
    ("plan config.yaml --no-probe=1", 2, "no value belongs to --no-probe"),
    ("status out/final", 1, "out/final: no run was started here: it has no folder staging and none called final with a dataset"),
    ("status config.yaml", 1, "config.yaml: is a file, and no folder of a run"),
    (LIST + "word.jsonl", 1, AT + "word.jsonl: cannot open: No such file or directory"),
    (LIST + "notes", 1, AT + "notes: not a regular file"),
    (LIST + "[0,5]", 2, "--set capture.sampler.positions: 'capture.sampler.positions' must be a string, not a list"),
    (LIST + "negative.jsonl", 1, AT + "negative.jsonl: byte 26 (line 1, column 27): -1 is no position: they are integers from 0 to 67108863"),
    (LIST + "huge.jsonl", 1, AT + "huge.jsonl: byte 32 (line 1, column 33): 67108864 is no position: they are integers from 0 to 67108863"),
    (LIST + "twice.jsonl", 1, AT + "twice.jsonl: lines 1 and 2 are of one example"),
    (LIST + "nothing.jsonl", 1, AT + "nothing.jsonl: names no positions"),
    (LIST + "pairs.csv", 1, AT + "pairs.csv: byte 0 (line 1, column 1): a value is expected here"),
    (LIST + "array.json", 1, AT + "array.json: byte 1 (line 1, column 2): a line must be a map"),
    (LIST + "pretty.json", 1, AT + "pretty.json: byte 1 (line 1, column 2): the text ends too early"),
    (LIST + "words.jsonl", 1, AT + "words.jsonl: not all ids are integers, but without dataset.id_column they are row numbers"),
    ("run config.yaml --set capture.sampler.positions=words.jsonl --set capture.sampler.base_rate=2.0", 2, "--set capture.sampler.base_rate: 'capture.sampler.base_rate' has no effect: positions are listed, not drawn"),
    ("run config.yaml --set capture.sampler.first=99999999999", 2, "--set capture.sampler.first: 'capture.sampler.first' is out of range: 99999999999 is not in 0 .. 67108864"),
    ("run config.yaml --set output.split=a..b", 1, "output.split: 'a..b' cannot be the name of a split"),
    ("join out/final nowhere both", 1, "nowhere: no such folder"),
    ("run config.yaml --set inference.threads=-2", 2, "--set inference.threads: 'inference.threads' must not be negative, but is -2"),
]

# commands with --json: what fails, exit status, the word for it
FAILING = {
    "run": [("nowhere.yaml", 1, "not_found"), ("config.yaml --shard 4/4", 2, "usage"), ("typo.yaml", 1, "config")],
    "plan": [("nowhere.yaml", 1, "not_found"), ("config.yaml --look 0", 2, "usage")],
    "bench": [("--like nothing", 1, "not_found"), ("nowhere", 1, "not_found"), ("--tokens 0", 2, "usage")],
    "inspect": [("nowhere", 1, "not_found"), ("", 2, "usage")],
    "diff": [("out/final nowhere", 1, "not_found"), ("out/final", 2, "usage")],
    "verify": [("model nowhere", 1, "not_found"), ("model", 2, "usage")],
    "tokenize": [("modle", 1, "not_found"), ("model --lines --jsonl", 2, "usage")],
    "status": [("nowhere", 1, "not_found"), ("out --watch 0", 2, "usage")],
    "push": [("nowhere someone/rows", 1, "not_found"), ("out/final rows", 1, "config")],
    "join": [("out/final nowhere both", 1, "not_found"), ("out/final", 2, "usage")],
    "merge": [("nowhere.yaml", 1, "not_found"), ("config.yaml again.yaml", 2, "usage"), ("config.yaml --set output.data_root=new", 1, "not_found")],
}

HINTS = {
    "run config.yml": "did you mean 'config.yaml'?",
    "plan missing.yml": "did you mean 'missing.yaml'?",
    "run model": "give a configuration; configs/sample.yaml is one",
    "run section.yaml": "did you mean 'capture.sampler'?",
    "run config.yaml --set zzz.type=all": "qkengine help config lists all keys",
    "run config.yaml --set capture.zzzzzzzzzzzz=1": "qkengine help config lists all keys",
    "run colon.yaml": "close it with ] or }; a text with ': ' in it stands in quotes",
    "run config.yaml --backend gpu": "known: auto, cpu, ref, cuda",
    "run config.yaml --set inference.backend=gpu": "known: auto, cpu, ref, cuda",
    "run config.yaml --set dataset.path=empty": "give a folder of .parquet, .jsonl, .json, .csv, .tsv or .txt files",
    "run config.yaml --set capture.sampler.first=1000 --set capture.max_rows_per_batch=4": "raise capture.max_rows_per_batch, or lower 'first'",
    "run config.yaml --set model.name=bare": "set tokenizer.name to a model that has a tokenizer.json, and the same tokenizer",
    "inspect config.yaml": "qkengine plan says what a run of it would do",
    "push nowhere someone/rows": "give the final/ folder of a run",
    "join out/final nowhere both": "give the final/ folder of a run",
    LIST + "word.jsonl": "did you mean 'words.jsonl'?",
    LIST + "lists/all.jsonl": "write the path of a file; from the working folder, where it is relative",
    LIST + "pairs.csv": 'a line is {"id": 7, "positions": [0, 5, 17]}, the id as in dataset.id_column, or the row number; without id it is for all others',
    LIST + "words.jsonl": "set dataset.id_column, or write row numbers",
    "run config.yaml --set model.dtype=fp8": "known: float32, float16, bfloat16, fp32, fp16, half, bf16",
    "synth --like smolm3 new/model": "did you mean 'smollm3-3b'? qkengine synth --list prints them all",
    "inspect nowhere": "give a folder or a file that is here: a model, a tokenizer.json, a Parquet file, final/ of a run or a dataset; "
                       "or OWNER/NAME of a dataset on the Hub",
    "inspect data/trian.jsonl": "did you mean 'data/train.jsonl'?",
    "inspect config.yml": "did you mean 'config.yaml'?",
    "run sub/paths.yaml": "sub/texts.jsonl is there: paths are relative to the folder that you are in",
    "plan sub/paths.yaml": "sub/texts.jsonl is there: paths are relative to the folder that you are in",
    "run sub/paths.yaml --set dataset.path=dataset --set model.name=own": "sub/own is there: paths are relative to the folder that you are in",
    "run sub/paths.yaml --set dataset.path=dataset --set tokenizer.name=own": "sub/own is there: paths are relative to the folder that you are in",
    "merge sub/paths.yaml --set dataset.path=dataset": "sub/results is there: paths are relative to the folder that you are in",
    "config.yaml": "write qkengine run config.yaml, or plan",
    "run flat.yaml": "indent it, and what else belongs to 'dataset', below line 1",
    "run config.yaml --set capture.sampler=uniform": "set its keys: --set capture.sampler.KEY=VALUE",
    "run config.yaml --set model.name=models/tny": "did you mean 'models/tiny'?",
    "run config.yaml --set model.name=qwen3-8b": "did you mean 'Qwen/Qwen3-8B', of the Hub?",
    "run config.yaml --set model.name=~/model": "write /home/me/model",
    "run config.yaml --set dataset.path=data/trian.jsonl": "did you mean 'data/train.jsonl'?",
    "run config.yaml --set output.layout=branch": "choose another output.data_root, or output.layout: prefix",
    "synth --like smollm2 new/model": "write one of: smollm2-135m, smollm2-360m, smollm2-1.7b",
}


def workspace(folder):
    make_workspace(folder)
    for name, text in {**FILES, **LISTED}.items():
        (folder / name).write_text(text)
    for name in ("models/tiny", "notes", "empty"):
        (folder / name).mkdir(parents=True)
    (folder / "notes/README.md").write_text("# notes\n")
    write_jsonl(folder / "numbers.jsonl", [{"text": 1}, {"text": 2}])
    write_jsonl(folder / "bodies.jsonl", [{"body": "a text"}])
    (folder / "data").mkdir()
    write_jsonl(folder / "data/train.jsonl", [{"text": "a text"}])
    (folder / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    (folder / "bare").mkdir()
    shutil.copy(folder / "model/config.json", folder / "bare")
    (folder / "sub/results/final").mkdir(parents=True)
    (folder / "sub/own").mkdir()
    write_jsonl(folder / "sub/texts.jsonl", [{"text": "a text"}])
    (folder / "sub/paths.yaml").write_text("dataset: {path: texts.jsonl}\nmodel: {name: model}\noutput: {data_root: results}\n")
    assert engine(["run", "config.yaml", "--quiet"], folder).returncode == 0
    return folder


def said(folder, command):
    """Status, message and hint of a command line, with a token but no network."""
    env = {**{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))},
           "HF_HUB_OFFLINE": "1", "HF_HOME": "hf", "HF_TOKEN": "hf_abcdefghijkl", "HOME": "/home/me", "QKENGINE_CACHE": "off"}
    done = engine(shlex.split(command), folder, env=env)
    lines = [line.removeprefix("qkengine: ") for line in done.stderr.splitlines() if not line.startswith("qkengine: version")]
    at = next((i for i, line in enumerate(lines) if line.startswith("error: ")), None)
    if at is None:
        return done.returncode, (lines or done.stdout.splitlines() or [""])[0], ""
    return done.returncode, lines[at].removeprefix("error: "), lines[at + 1].strip() if at + 1 < len(lines) else ""


def mistakes(folder):
    """Every line of the table; nothing was made by any of them."""
    workspace(folder)
    before = sorted(folder.rglob("*"))
    wrong = []
    for command, status, message in TABLE:
        got = said(folder, command)
        if got[:2] != (status, message):
            wrong.append(f"{command}\n  {got}\n  {(status, message)}")
    assert not wrong, "\n".join(wrong)
    made = [p for p in sorted(folder.rglob("*")) if p not in before and "new" not in p.parts]
    assert not made, made
    assert not list(folder.glob("new/final/*")), list(folder.glob("new/final/*"))
    return f"{len(TABLE)} mistakes"


def hints(folder):
    """What is said to do, where it is more than a usage."""
    workspace(folder)
    for command, hint in HINTS.items():
        assert said(folder, command)[2] == hint, (command, said(folder, command))


def results_beside_the_configuration(folder):
    """A run that begins another data_root than the one beside its configuration says so."""
    workspace(folder)
    said = engine(["run", "sub/paths.yaml", "--quiet", "--set", "dataset.path=numbers.jsonl"], folder).stderr
    assert "output.data_root: 'results' is begun in the folder that you are in; there are results in sub/results, too" in said, said
    assert "begun in" not in engine(["run", "config.yaml"], folder).stderr


def what_has_no_effect(folder):
    """Keys for kinds that are not captured, and a word twice: a warning each, in plan as in run; none where the key is read."""
    make_workspace(folder)
    off = {"queries": "capture.capture_queries=false", "keys": "capture.capture_keys=false"}
    for said, *settings in (
            ("'capture.sampler.queries' has no effect: queries are not captured", "capture.sampler.queries.first=1", off["queries"]),
            ("'capture.sampler.keys' has no effect: neither keys nor values are captured", "capture.sampler.keys.first=1", off["keys"]),
            ("'capture.rope' has no effect", "capture.rope=post", "capture.capture_values=true", *off.values()),
            ("'first' of capture.sampler has no effect where type is all", "capture.sampler.type=all", "capture.sampler.first=1"),
            ("'first' of capture.sampler has no effect where type is all", "capture.sampler.keys.type=all", "capture.sampler.first=1"),
            ("'capture.rope' holds pre twice", "capture.rope=pre,pre")):
        done = engine(["plan", "config.yaml", "--no-probe", *(w for s in settings for w in ("--set", s))], folder)
        assert done.returncode == 0 and done.stderr.count(said) == 1, (settings, done)
    for settings in (["capture.sampler.queries.first=1"], ["capture.rope=pre,post", off["keys"]],
                     ["capture.sampler.keys.first=1", "capture.capture_values=true", off["keys"]],
                     ["capture.sampler.type=all", "capture.sampler.first=1", "capture.max_rows_per_batch=4"],
                     ["capture.sampler.first=1", "capture.sampler.keys.type=all", "capture.sampler.keys.first=0"]):
        done = engine(["plan", "config.yaml", "--no-probe", *(w for s in settings for w in ("--set", s))], folder)
        assert done.returncode == 0 and "no effect" not in done.stderr and "twice" not in done.stderr, (settings, done)


def failures_as_json(folder):
    """Every command that takes --json gives an object on failure, too, indented or on one line, wherever the option stands."""
    workspace(folder)
    names = re.findall(r"^  ([a-z]+) +\S", engine(["help"], folder).stdout.split("qkengine help COMMAND")[0], re.M)
    takes = {n for n in names if re.search(r"^  --json\[=line\]", engine(["help", n], folder).stdout, re.M)}
    assert takes == set(FAILING), takes ^ set(FAILING)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "HF_TOKEN": "hf_abcdefghijkl"}
    for name, cases in FAILING.items():
        for words, status, word in [*cases, ("--bogus", 2, "usage")]:
            for option in ("--json", "--json=line"):
                for order in ([name, option, *words.split()], [name, *words.split(), option]):
                    done = engine(order, folder, env=env)
                    error = json.loads(done.stdout)["error"]
                    assert done.returncode == status == error["exit_status"] and error["status"] == word, (order, done)
                    assert f"error: {error['message']}" in done.stderr and (not error["hint"] or error["hint"] in done.stderr), (order, done)
                    assert set(error) == {"message", "hint", "status", "exit_status"}
                    assert option == "--json" or done.stdout.count("\n") == 1, (order, done.stdout)
                    assert done.stdout.count("\n") > 1 or option != "--json" or name == "tokenize", (order, done.stdout)
            assert engine([name, *words.split()], folder, env=env).stdout == "", (name, words)
    # what went well is the same object on one line
    for command in ("plan config.yaml --no-probe", "inspect model", "inspect out/final", "inspect dataset", "diff out/final out/final"):
        tree, line = (engine([*command.split(), option], folder) for option in ("--json", "--json=line"))
        assert tree.returncode == line.returncode == 0 and json.loads(tree.stdout) == json.loads(line.stdout) and line.stdout.count("\n") == 1, command
    assert "known: line" in engine(["plan", "config.yaml", "--json=lines"], folder).stderr
    # the run is done, its push is not: one object says both
    done = engine(["run", "config.yaml", "--json", "--set", "output.hf_repo_id=someone/rows"], folder, env=env)
    both = json.loads(done.stdout)
    assert done.returncode == both["error"]["exit_status"] == 3 and both["final"] == "out/final" and both["already_complete"], done
    return f"{len(takes)} commands"


def the_table_ends_with_its_reader(folder):
    """--table in a pipe that is closed early."""
    done = subprocess.run(f"'{sys.executable}' '{__file__}' --table | head -1", shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("$ qkengine ") and not done.stderr, done


def a_model_is_shown(folder):
    """inspect of a model: its heads, a line for each kind of layer, and whether it can run."""
    make_workspace(folder)
    spec = json.loads(engine(["inspect", "model", "--json"], folder).stdout)
    config = json.loads((folder / "model/config.json").read_text())
    assert spec["can_run"] and spec["layers"] == config["num_hidden_layers"] == len(spec["layer"]), spec
    assert (spec["query_heads"], spec["key_heads"]) == (config["num_attention_heads"], config["num_key_value_heads"])
    text = engine(["inspect", "model"], folder).stdout
    assert f"{spec['layers']} layers from 0 on: full attention, RoPE " in text and "can run: yes" in text, text
    config["model_type"] = "lama"
    (folder / "model/config.json").write_text(json.dumps(config))
    text = engine(["inspect", "model"], folder).stdout
    assert "can run: no; model/config.json: model_type 'lama' is not supported" in text and "tensors in 1 files" in text, text
    assert json.loads(engine(["inspect", "model", "--json"], folder).stdout)["can_run"] is False


def as_it_may_be_written(folder):
    """--config and lists without brackets mean what the other spellings do."""
    make_workspace(folder)
    plans = [engine(["plan", *args, "--json", "--no-probe"], folder) for args in (
        ["config.yaml", "--set", "capture.layers=[0,2]"], ["--config", "config.yaml", "--set", "capture.layers=0,2"],
        ["--set=capture.layers=2,0", "--config=config.yaml"])]
    assert all(p.returncode == 0 and p.stdout == plans[0].stdout for p in plans), plans
    assert engine(["-V"], folder).stdout == engine(["--version"], folder).stdout != ""


def no_finished_work_is_in_the_way(folder):
    """A start with other settings is refused only where units of the first are finished, or rows in final/."""
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", [{"id": i, "text": f"the river {i} turns " * (1 + i % 7)} for i in range(300)])
    rows = ["--set", "dataset.path=rows.jsonl"]
    first = engine(["run", "config.yaml", *rows, "--set", "dataset.text_column=txt"], folder)
    assert first.returncode == 1
    other = engine(["run", "config.yaml", *rows, "--shard", "0/2", "--set", "model.dtype=bfloat16"], folder)
    assert other.returncode == 0, other.stderr
    units = sorted((folder / "out/staging").glob("unit-*.qku"))
    done = engine(["run", "config.yaml", *rows], folder)
    assert units and done.returncode == 1 and "holds the unfinished units of another run" in done.stderr, done.stderr
    for unit in units:
        unit.unlink()
    done = engine(["run", "config.yaml", *rows], folder)
    assert done.returncode == 0, done.stderr


def show_table():
    with tempfile.TemporaryDirectory() as folder:
        folder = workspace(pathlib.Path(folder))
        for command, *_ in TABLE:
            status, message, hint = said(folder, command)
            print(f"$ qkengine {command}\n{status}  {message}" + (f"\n   {hint}" if hint else "") + "\n")


if __name__ == "__main__":
    if "--table" in sys.argv:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)   # as any program in a pipe that its reader leaves
        show_table()
        sys.exit(0)
    sys.exit(main("mistakes", [mistakes, hints, what_has_no_effect, results_beside_the_configuration, failures_as_json, the_table_ends_with_its_reader, a_model_is_shown, as_it_may_be_written, no_finished_work_is_in_the_way]))
