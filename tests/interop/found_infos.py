#!/usr/bin/env python3
"""Types and choices that somebody else's folder says in an unusual place, against `datasets`: the same ids, or a refusal that names it."""
import json
import shutil
import sys

import common       # first: it quiets `datasets`
import datasets
import pyarrow.parquet as pq
from common import engine, main, make_workspace, refused, run, write_jsonl

datasets.logging.set_verbosity(datasets.logging.CRITICAL)

TEXT = {"dtype": "string", "id": None, "_type": "Value"}


def value(dtype):
    return {"dtype": dtype, "id": None, "_type": "Value"}


def infos(folder, types):
    """dataset_infos.json as push_to_hub wrote it in 2022: {configuration: type of the ids, or None}."""
    told = {name: {"description": "", "features": {"id": t, "text": TEXT} if t else None, "dataset_size": 1} for name, t in types.items()}
    (folder / "dataset_infos.json").write_text(json.dumps(told))


def theirs(folder, name=None):
    try:
        rows = datasets.load_dataset(str(folder), name, split="train", cache_dir=str(folder.parent / "cache"))
        return [str(r["id"]) for r in rows]
    except Exception as e:
        return e
    finally:
        shutil.rmtree(folder.parent / "cache", ignore_errors=True)


def ours(folder, *flags):
    done = engine(["inspect", folder, "--json", "--full", "--rows=1000", "--id-column=id", *flags], folder)
    assert done.returncode in (0, 1), done.stderr
    if done.returncode:
        return done.stderr
    said = json.loads(done.stdout)
    return [r["id"] for r in (said["configs"].get(said["default"]) or next(iter(said["configs"].values())))["rows"]]


def old_infos(folder):
    """dataset_infos.json gives types; one configuration in it is the default one, and the card's dataset_info replaces it."""
    label = {"num_classes": 9, "names": list("abcdefghi"), "id": None, "_type": "ClassLabel"}
    card = '---\nconfigs:\n- {config_name: b, data_files: a.jsonl}\n- {config_name: c, data_files: a.jsonl, default: true}\n---\n'
    plain = '---\ndataset_info:\n  features:\n  - {name: id, dtype: string}\n  - {name: text, dtype: string}\n---\n'
    cases = [({"user--name": value(t)}, None, None) for t in ("string", "float64", "int8", "timestamp[s]", "double", "float", "date32", "bool")]
    cases += [({"user--name": label}, None, None), ({"user--name": None}, None, None), ({"default": value("string"), "b": value("bool")}, None, None),
              ({"a": value("string"), "b": value("bool")}, None, None), ({"b": value("float64"), "c": value("string")}, card, None),
              ({"b": value("float64"), "c": value("string")}, card, "b"), ({"b": value("string")}, card, "b"), ({"b": value("float64")}, plain, None), ({}, None, None)]
    for n, (types, text, name) in enumerate(cases):
        place = folder / str(n)
        place.mkdir()
        write_jsonl(place / "a.jsonl", [{"id": 7, "text": "x"}])
        infos(place, types)
        if text:
            (place / "README.md").write_text(text)
        them, us = theirs(place, name), ours(place, *([f"--config={name}"] if name else []))
        if isinstance(them, Exception):
            assert "no date32, as dataset_infos.json has it" in us, (types, them, us)
        else:
            assert them == us, (types, text, name, them, us)


def odd_infos(folder):
    """Of one that cannot be used the name is said, where ids are asked for."""
    write_jsonl(folder / "a.jsonl", [{"id": 7, "text": "x"}])
    for text, word in (("{", "dataset_infos.json: byte 1"), ("[]", "dataset_infos.json: must be an object, not an array"),
                       (json.dumps({"x": {"features": {"id": {"_type": "Image"}, "text": TEXT}}}), "dataset_infos.json: features of 'id': ids of the type 'Image'"),
                       (json.dumps({"x": {"features": {"id": value("list"), "text": TEXT}}}), "ids of the type 'list' are not supported")):
        (folder / "dataset_infos.json").write_text(text)
        refused(engine(["inspect", folder, "--rows=2", "--id-column=id"], folder), word)


def a_run_of_another_type(folder):
    """What the file says is part of what is run."""
    make_workspace(folder)
    shutil.rmtree(folder / "dataset")
    (folder / "dataset").mkdir()
    write_jsonl(folder / "dataset/a.jsonl", [{"id": 7, "text": "hello there"}])
    settings = ["dataset.path=dataset", "dataset.name=null", "dataset.split=train", "dataset.text_column=text", "dataset.id_column=id", "output.data_root=out",
                "capture.min_bucket_size=1", "capture.sampler.type=all"]
    kept = []
    for dtype in ("int64", "string"):
        infos(folder / "dataset", {"user--name": value(dtype)})
        done = run(folder, *settings)
        assert done.returncode == 0, done.stderr
        kept.append({i for p in (folder / "out/final").rglob("examples.parquet") for i in pq.read_table(p)["id"].to_pylist()})
        shutil.rmtree(folder / "out")
    assert kept[0] == {7} and 7 not in kept[1], kept


def maps_that_contradict(folder):
    """A merge key with a list of maps: PyYAML has changed which one wins, so what they say differently is refused where it is used."""
    for name in ("a", "b"):
        (folder / "ds" / name).mkdir(parents=True)
        write_jsonl(folder / "ds" / name / "x.jsonl", [{"id": name, "text": name}])
    two = "s: &s {%s}\nt: &t {%s}\n"
    config = "configs:\n- config_name: x\n  <<: [*s, *t]\n"
    cases = ((two % ("data_dir: a", "data_dir: a") + config, ["a"]), (two % ("data_dir: a", "default: true") + config, ["a"]),
             (two % ("data_dir: a", "data_dir: b") + config, "data_dir must be a text"), (two % ("data_dir: ''", "data_dir: b") + config, "data_dir must be a text"),
             (two % ("data_dir: a", "data_dir: b") + config + "  data_dir: b\n", ["b"]),
             (two % ("data_dir: a", "data_dir: b") + config.replace("<<: [*s, *t]", "<<: *s\n  <<: *t"), ["b"]),
             (two % ("x: 1", "x: 2") + "z:\n  <<: [*s, *t]\nconfigs:\n- {config_name: x, data_dir: a}\n", ["a"]),
             (two % ("features: [{name: id, dtype: string}]", "features: []") + "dataset_info:\n  config_name: x\n  <<: [*s, *t]\n"
              "configs:\n- {config_name: x, data_dir: a}\n", "features must be a list"))
    for card, said in cases:
        (folder / "ds/README.md").write_text(f"---\n{card}---\n")
        us = ours(folder / "ds")
        assert us == said if isinstance(said, list) else said in us, (card, us)
        if isinstance(said, list) and "features" not in card:
            assert theirs(folder / "ds") == said, (card, theirs(folder / "ds"))


if __name__ == "__main__":
    sys.exit(main("found: types and choices of a folder", [old_infos, odd_infos, a_run_of_another_type, maps_that_contradict]))
