#!/usr/bin/env python3
"""What may lie in one folder: in prefix layout rows of one meaning and one text behind an id; a data_root that is apart
from the dataset; merging that keeps to inference.threads. (A push: tests/interop/hub_push.py.)"""
import json
import os
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
from common import ROOT, digest, engine, main, make_workspace, run, seal_manifest, write_jsonl

SMALL = ["output.layout=prefix", "capture.heads=[0]", "capture.layers=[0]", "dataset.path=rows.jsonl", "capture.sampler.base_rate=2.0"]

# What the keys of a run's identity do, said a second time (engine/output/compatibility.c): a new key belongs here, too.
DECIDES = ["config.model.name", "config.model.dtype", "config.capture.capture_pre_rope", "model_config", "model_files", "tokenizer_files"]
SELECTS = ["engine", "config.dataset.path", "config.dataset.name", "config.dataset.split", "config.dataset.text_column",
           "config.dataset.id_column", "config.dataset.max_samples", "config.model.revision", "config.model.config_overrides",
           "config.tokenizer.name", "config.tokenizer.max_length", "config.capture.capture_queries", "config.capture.capture_keys",
           "config.capture.layers", "config.capture.heads", "config.capture.head_sampling", "config.capture.full_attention_only",
           "config.capture.sampler.type", "config.capture.sampler.base_rate", "config.capture.min_bucket_size",
           "config.capture.max_rows_per_batch", "config.capture.capture_token_strings", "config.capture.per_head_masks",
           "config.output.layout", "config.output.vector_encoding", "dataset_files", "heads"]


def rows(n=6, words=20, first=0):
    text = "the river turns twice before it finds the sea and nobody on the bridge looks down".split()
    return [{"id": f"row-{i}", "text": " ".join(text[(i * k + k) % len(text)] for k in range(words + i))} for i in range(first, first + n)]


def workspace(folder, n=6):
    make_workspace(folder)
    write_jsonl(folder / "rows.jsonl", rows(n))
    return folder


def done(folder, *settings):
    """The rows that were added."""
    ended = engine(["run", "config.yaml", "--quiet", "--json", *sum((["--set", s] for s in [*SMALL, *settings]), [])], folder)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["rows_added"]


def refused(folder, *settings, words):
    """Exit status 1 that says all the words; final/ stays as it is."""
    before = digest(folder / "out/final")
    ended = run(folder, *SMALL, *settings)
    assert ended.returncode == 1, (settings, ended.returncode, ended.stderr)
    for word in words:
        assert word in ended.stderr, (word, ended.stderr)
    assert digest(folder / "out/final") == before, settings
    return ended.stderr


def rows_of(path):
    table = pq.read_table(path)
    return {(e, p): tuple(v) for e, p, v in zip(*(table[c].to_pylist() for c in ("example_id", "position", "vector")))}


def read_manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def write_manifest(folder, manifest):
    (folder / "manifest.json").write_text(seal_manifest(manifest))


# ---- meaning ----

def keys_of(tree, listed, path=""):
    """Every key, down to those that are listed."""
    for name, value in tree.items():
        below = f"{path}.{name}" if path else name
        if below in listed or not isinstance(value, dict):
            yield below
        else:
            yield from keys_of(value, listed, below)


def each_key_of_an_identity(folder):
    """The folder's manifest says something else under one key after the other; then a run comes."""
    work = workspace(folder)
    done(work)
    split = work / "out/final/model"
    manifest = read_manifest(split)
    found = set(keys_of(manifest["runs"][0]["identity"], DECIDES + SELECTS))
    assert found == set(DECIDES + SELECTS), f"keys without a test: {found ^ set(DECIDES + SELECTS)}"
    shutil.copytree(work / "out/final", work / "kept")
    for key in DECIDES + SELECTS:
        other = json.loads(json.dumps(manifest))
        other["runs"][0]["fingerprint"] = "0" * 64
        at = other["runs"][0]["identity"]
        *parents, last = key.split(".")
        for name in parents:
            at = at[name]
        at[last] = {**at[last], "rope_theta": 7} if last == "model_config" else "something else"
        write_manifest(split, other)
        if key in DECIDES:
            refused(work, words=[key, "then", "now", "another output.data_root"])
        else:
            assert done(work) == 0, key
            assert len(read_manifest(split)["runs"]) == 2, key
        shutil.rmtree(work / "out/final")
        shutil.copytree(work / "kept", work / "out/final")
        # A key that only one of the two versions knows is no difference.
        del at[last]
        write_manifest(split, other)
        assert done(work) == 0, key
        shutil.rmtree(work / "out/final")
        shutil.copytree(work / "kept", work / "out/final")
    return f"{len(DECIDES)} decide, {len(SELECTS)} select"


def flip_weights(path):
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(data)


def edit_json(path, **keys):
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def other_meaning(folder):
    """What changes vectors or rows, as a user changes it."""
    work = workspace(folder)
    shutil.copytree(work / "model", work / "a-b")
    shutil.copytree(work / "model", work / "a_b")
    assert done(work, "model.name=a-b") > 0
    refused(work, "model.name=a_b", words=["config.model.name", '"a-b" then, "a_b" now', "out/final/a_b"])
    same = ["model.name=a-b", "capture.sampler.base_rate=1.0"]
    refused(work, *same, "model.dtype=bfloat16", words=["config.model.dtype", "float32", "bfloat16"])
    refused(work, *same, "inference.autocast_dtype=float16", words=["config.model.dtype", "float32", "float16"])
    refused(work, *same, "capture.capture_pre_rope=true", words=["config.capture.capture_pre_rope"])
    refused(work, *same, "model.config_overrides={rope_theta: 12345.0}", words=["model_config", "12345"])
    refused(work, *same, "inference.backend=ref", words=["computed with 'cpu', these with 'ref'"])
    kept = (work / "a-b/model.safetensors").read_bytes()
    flip_weights(work / "a-b/model.safetensors")
    refused(work, *same, words=["model_files.0.sha256"])
    (work / "a-b/model.safetensors").write_bytes(kept)
    edit_json(work / "a-b/tokenizer_config.json", model_max_length=77)
    refused(work, *same, words=["tokenizer_files.1.sha256"])
    shutil.copy(work / "model/tokenizer_config.json", work / "a-b/tokenizer_config.json")
    assert done(work, *same) == 0   # a lower rate takes some of the same rows
    (work / "a-b/tokenizer_config.json").unlink()
    edit_json(work / "a-b/config.json", tokenizer_class="PreTrainedTokenizerFast")   # the class that is named no longer
    refused(work, "model.name=a-b", "capture.sampler.base_rate=3.0", words=["another output.data_root"])


def same_meaning(folder):
    """What selects rows adds rows; old ones stay, and the card lists the runs."""
    work = workspace(folder)
    write_jsonl(work / "more.jsonl", rows(4, first=6))
    done(work, "dataset.max_samples=3")
    split, runs = work / "out/final/model", 1
    for settings in (["dataset.max_samples=5"], ["dataset.path=more.jsonl"], ["capture.sampler.base_rate=5.0"], ["capture.sampler.type=uniform"],
                     ["capture.min_bucket_size=8"], ["capture.per_head_masks=true"], ["capture.max_rows_per_batch=4"], ["capture.layers=[1]"],
                     ["capture.heads=[1]"], ["capture.capture_keys=false", "capture.sampler.type=all"], ["tokenizer.max_length=400"],
                     ["output.vector_encoding=plain", "capture.sampler.base_rate=2.5"], ["inference.isa=portable", "capture.sampler.base_rate=2.25"],
                     ["dataset.split=train[:2]"], ["model.config_overrides={use_cache: true}", "capture.sampler.base_rate=2.125"]):
        before = {p.parent.name: rows_of(p) for p in split.rglob("l*/data.parquet")}
        done(work, *settings)
        runs += 1
        for name, old in before.items():
            assert old.items() <= rows_of(split / name / "data.parquet").items(), (settings, name)
    manifest, card = read_manifest(split), (work / "out/final/README.md").read_text()
    assert len(manifest["runs"]) == runs and all(r["arithmetic"] == "cpu" for r in manifest["runs"])
    for r in manifest["runs"]:
        assert f"| model | {r['fingerprint'][:12]} |" in card, card
    assert "more.jsonl (train) | log_uniform, base_rate 2, min_bucket_size 4 | 96 | 2 | 4 |" in card, card
    first = digest(work / "out/final")
    assert done(work, "dataset.max_samples=3") == 0
    assert digest(work / "out/final") == first
    return f"{runs} runs"


def arithmetic_of_the_folder(folder):
    work = workspace(folder)
    done(work)
    split = work / "out/final/model"
    manifest = read_manifest(split)
    manifest["runs"][0]["arithmetic"] = "cuda sm_90a"
    write_manifest(split, manifest)
    said = refused(work, "dataset.max_samples=4", words=["out/final/model: its rows were computed with 'cuda sm_90a', these with 'cpu'"])
    assert "inference.backend" in said and not list((work / "out/staging").glob("unit*")), said
    del manifest["runs"][0]["arithmetic"]       # of an earlier version
    write_manifest(split, manifest)
    assert done(work, "dataset.max_samples=4") == 0


def mixed_by_an_earlier_version(folder):
    """A manifest whose runs differ in meaning: a run that is there is still complete, another one is refused."""
    work = workspace(folder)
    done(work)
    split = work / "out/final/model"
    manifest = read_manifest(split)
    other = json.loads(json.dumps(manifest["runs"][0]))
    other["fingerprint"] = "1" * 64
    other["identity"]["config"]["model"]["dtype"] = "bfloat16"
    manifest["runs"].append(other)
    write_manifest(split, manifest)
    assert done(work) == 0
    refused(work, "dataset.max_samples=3", words=["config.model.dtype", '"bfloat16" then, "float32" now'])


# ---- staging of another run ----

def units_say_whose_they_are(folder):
    """Where identity.json is damaged or gone, another run is refused by the units and leaves everything as it is; the first one goes on."""
    def shard(work, *settings):
        return engine(["run", "config.yaml", "--quiet", "--shard", "0/2", *sum((["--set", s] for s in [*SMALL, *settings]), [])], work)
    for i, harm in enumerate(("damaged", "gone", "version")):
        work = workspace(folder / str(i), n=200)
        done(work, "output.data_root=fresh")
        assert shard(work).returncode == 0
        staging = work / "out/staging"
        identity, unit = staging / "identity.json", staging / "unit-000000.qku"
        kept = unit.read_bytes()
        identity.write_bytes(identity.read_bytes().replace(b"cpu", b"gpu") + b"x") if harm != "gone" else identity.unlink()
        if harm == "version":
            unit.write_bytes(kept.replace(b"QKUNIT03", b"QKUNIT02"))
        before = digest(staging)
        ended = run(work, *SMALL, "capture.sampler.base_rate=3.0")
        words = ["another version (QKUNIT02)", "the version of this program that began it"] if harm == "version" else ["unit-000000.qku", "belongs to another run"]
        assert ended.returncode == 1 and all(w in ended.stderr for w in words), ended.stderr
        assert digest(staging) == before, harm
        unit.write_bytes(kept)
        done(work)
        assert digest(work / "out/final") == digest(work / "fresh/final"), harm


# ---- one text behind an id ----

def sha_of(work, example):
    table = pq.read_table(work / "out/final/model/examples.parquet")
    return table["sha256"][example].as_py()[:16]


def other_text_under_an_id(folder):
    work = workspace(folder)
    done(work)
    texts = rows()
    texts[4]["text"] = "quite another text"
    write_jsonl(work / "changed.jsonl", texts[3:])
    said = refused(work, "dataset.path=changed.jsonl", words=[
        "('row-4') stands for two texts", f"example 4 of out/final/model (SHA-256 of its tokens {sha_of(work, 4)}...)",
        "and example 1 of this run (", "dataset.id_column"])
    assert said.count("...)") == 2, said
    assert not list((work / "out/staging").glob("unit-*.qku")), "found before anything is computed"
    shutil.rmtree(work / "out/staging")         # gives the refused run up
    write_jsonl(work / "same.jsonl", texts[:4])
    done(work, "dataset.path=same.jsonl", "capture.sampler.base_rate=4.0")
    # Row numbers are ids as well.
    work = workspace(folder / "numbers")
    write_jsonl(work / "other.jsonl", rows(first=3))
    done(work, "dataset.id_column=null")
    refused(work, "dataset.id_column=null", "dataset.path=other.jsonl", words=["the id 0 stands for two texts", "example 0 of out/final/model", "and example 0 of this run"])
    shutil.rmtree(work / "out/staging")
    assert done(work, "dataset.id_column=null", "dataset.max_samples=2", "capture.layers=[1]") > 0


def another_max_length(folder):
    """It is another text only where it cuts."""
    work = workspace(folder)
    done(work)
    longest = max(pq.read_table(work / "out/final/model/examples.parquet")["tokens"].to_pylist())
    assert done(work, f"tokenizer.max_length={longest}") == 0
    refused(work, f"tokenizer.max_length={longest - 1}", words=["stands for two texts"])


def text_that_changed_under_other_shards(folder):
    """The merge looks at units of all processes, whoever computed them."""
    work = workspace(folder, n=70)
    texts = rows(70)
    done(work, "dataset.max_samples=66")
    texts[65]["text"] = "quite another text"
    write_jsonl(work / "changed.jsonl", texts)
    (work / "out/staging").rename(work / "aside")
    for shard in range(2):                      # computed where final/ is not to be seen
        args = sum((["--set", s] for s in [*SMALL, "dataset.path=changed.jsonl", f"output.data_root=shard{shard}"]), [])
        ended = engine(["run", "config.yaml", "--quiet", "--shard", f"{shard}/2", *args], work)
        assert ended.returncode == 0, ended.stderr
        shutil.copytree(work / f"shard{shard}/staging", work / "out/staging", dirs_exist_ok=True)
    assert len(list((work / "out/staging").glob("unit-*.qku"))) == 2
    refused(work, "dataset.path=changed.jsonl", words=["('row-65') stands for two texts", "example 65 of out/final/model", "and example 65 of this run"])
    assert len(list((work / "out/staging").glob("unit-*.qku"))) == 2


def two_texts_in_one_run(folder):
    """The older reference keeps both, and a row at a position once: said, not refused."""
    work = workspace(folder)
    texts = rows(4)
    texts[3]["id"] = texts[1]["id"]
    texts.append(texts[0])                      # the same text twice is nothing to speak of
    write_jsonl(work / "rows.jsonl", texts)
    ended = run(work, *SMALL)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("stands for two texts") == 1 and "example 1 of this run" in ended.stderr and "example 3 of this run" in ended.stderr, ended.stderr
    assert pq.read_table(work / "out/final/model/examples.parquet")["index"].to_pylist() == [0, 1, 2, 3]
    assert done(work, "capture.sampler.base_rate=3.0") >= 0     # both are known by now
    third = [{"id": texts[1]["id"], "text": "a third text"}]
    write_jsonl(work / "third.jsonl", third)
    refused(work, "dataset.path=third.jsonl", words=["stands for two texts", "example 1 of out/final/model"])


# ---- data_root and the dataset ----

def data_root_in_the_dataset(folder):
    work = workspace(folder)
    texts = work / "texts"
    texts.mkdir()
    shutil.copy(work / "rows.jsonl", texts / "rows.jsonl")
    (work / "link").symlink_to("texts")
    (work / "way").mkdir()
    (work / "way/in").symlink_to("../texts")
    (work / "linked").mkdir()
    (work / "linked/final").symlink_to("../texts")
    before = digest(work)
    for root, dataset in (("texts", "texts"), ("texts/out", "texts"), ("texts/a/b/../c", "texts/"), ("link/out", "texts"), ("texts/out", "link"),
                          ("way/in/out", "texts"), (str(texts / "out"), "texts"), ("nowhere/../texts/out", "./texts"), ("linked", "texts"), ("texts/out", ".")):
        for command in ("run", "plan"):
            args = sum((["--set", s] for s in ["output.layout=prefix", f"output.data_root={root}", f"dataset.path={dataset}"]), [])
            ended = engine([command, "config.yaml", *args], work)
            assert ended.returncode == 1, (command, root, dataset, ended.stderr)
            assert f"output.data_root '{root}'" in ended.stderr and f"dataset.path '{dataset}'" in ended.stderr, ended.stderr
            assert "its own output" in ended.stderr, ended.stderr
            assert digest(work) == before, (command, root, dataset)
    # Reading what an earlier run wrote is fine elsewhere; not where this one writes.
    assert done(work) > 0
    for dataset in ("out/final/model/examples.parquet", "out/final", "out/final/model", "out/staging"):
        ended = run(work, *SMALL, f"dataset.path={dataset}", "dataset.text_column=sha256")
        assert ended.returncode == 1 and "its own output" in ended.stderr, (dataset, ended.stderr)
    (work / "out/texts").mkdir()
    shutil.copy(work / "rows.jsonl", work / "out/texts")
    assert done(work, "dataset.path=out/texts", "capture.layers=[1]") > 0
    assert done(work, "dataset.path=texts", "output.data_root=texts2", "capture.layers=[1]") > 0


# ---- threads ----

SHIM = r"""
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "engine/base/team.h"
static atomic_int loops, wide;
static void look(int threads)
{
    loops++;
    if ((threads ? threads : qk_threads(NULL)) > atoi(getenv("LIMIT"))) wide++;
}
#define LOOP(type, name, body_type) \
    type __real_##name(int threads, size_t n, body_type *body, void *context LAST); \
    type __wrap_##name(int threads, size_t n, body_type *body, void *context LAST) \
    { \
        look(threads); \
        return __real_##name(threads, n, body, context PASSED); \
    }
#define LAST
#define PASSED
LOOP(void, qk_loop, qk_loop_body)
LOOP(void, qk_loop_each, qk_loop_body)
#undef LAST
#undef PASSED
#define LAST , qk_error *err
#define PASSED , err
LOOP(qk_status, qk_loop_try, qk_loop_step)
__attribute__((destructor)) static void report(void)
{
    FILE *out = fopen(getenv("REPORT"), "w");
    fprintf(out, "%d %d", loops, wide);
    fclose(out);
}
"""


def watched_program(folder):
    """The program, linked once more so that it reports its parallel loops; None where there is no compiler."""
    build = (ROOT / "qkengine").resolve().parent
    (folder / "shim.c").write_text(SHIM)
    wrap = [f"-Wl,--wrap={name}" for name in ("qk_loop", "qk_loop_each", "qk_loop_try")]
    libraries = subprocess.run(["make", "-s", "print-libs"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    command = [os.environ.get("CC", "cc"), f"-I{ROOT}", "-o", "watched", "shim.c", build / "engine" / "main.o", build / "libqkengine.a", *wrap, *libraries]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return None if built.returncode else folder / "watched"


def threads_are_followed(folder):
    """Every parallel loop of a run and its merge is of inference.threads threads; they are few."""
    work = workspace(folder, n=70)
    program = watched_program(work)
    if not program:
        return "SKIPPED: no compiler for a shim"
    args = sum((["--set", s] for s in [*SMALL, "capture.layers=null", "capture.heads=null", "inference.threads=1"]), [])
    env = {**os.environ, "REPORT": str(work / "report"), "LIMIT": "1", "OMP_NUM_THREADS": "3"}

    def loops(*more):
        ended = subprocess.run([program, "run", "config.yaml", "--quiet", *args, *more], cwd=work, env=env, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return map(int, (work / "report").read_text().split())
    for shard in range(2):
        all_, wide = loops("--shard", f"{shard}/2", "--set", f"output.data_root=shard{shard}")
        assert all_ and wide == 0, f"{wide} of {all_} loops of a run were wider than inference.threads"
        shutil.copytree(work / f"shard{shard}/staging", work / "out/staging", dirs_exist_ok=True)
    all_, wide = loops()
    layers, units = 4, 2
    assert all_ and wide == 0, f"{wide} of {all_} loops of a merge were wider than inference.threads"
    assert all_ < layers * (units + 2) + 20, f"{all_} loops for {units} units and {layers} layers"
    return f"{all_} loops in a merge of {units} units"


if __name__ == "__main__":
    sys.exit(main("mixing", [each_key_of_an_identity, other_meaning, same_meaning, arithmetic_of_the_folder, mixed_by_an_earlier_version, units_say_whose_they_are,
                             other_text_under_an_id, another_max_length, text_that_changed_under_other_shards, two_texts_in_one_run,
                             data_root_in_the_dataset, threads_are_followed]))
