#!/usr/bin/env python3
"""Cards that other people write, against `datasets` itself: generated ones with odd keys, paths, types and options give the same rows and ids
under both, or are refused; a refusal of what `datasets` reads has to name one of a few reasons. Where only `datasets` refuses (mostly for a
part that is not used), the rows are those of a plain card that says the same.

usage: cards.py [--full] [--seed=N] [--only=N]
"""
import collections
import json
import logging
import posixpath
import random
import shutil
import sys

import common       # first: it quiets `datasets`
import datasets
from common import engine, main, write_jsonl

datasets.logging.set_verbosity(datasets.logging.CRITICAL)
datasets.disable_progress_bars()
logging.disable(logging.WARNING)   # of huggingface_hub, about cards

FULL = "--full" in sys.argv
SEED = int(next((a[7:] for a in sys.argv if a.startswith("--seed=")), 1))
ONLY = next((int(a[7:]) for a in sys.argv if a.startswith("--only=")), None)
NEXT = int(datasets.__version__.split(".")[0]) >= 5

# What we refuse though `datasets` reads rows, by a word of the message.
NAMED = ["the reader option", "leaves the folder", "takes this file, but it is not", "between its fields", "a data_dir with wildcards", "matches nothing: ",
         "what stands before a '.' or '..' is no folder with files"]

UNUSED = [
    "extra_gated_fields:\n  yes: agree\n  2024-05-06: a date\n  ~: nothing\n  1.5: a float\n  0x10: hex",
    "labels:\n  0: negative\n  1: positive",
    "x-base: &base\n  license: mit\n  0: zero\nx-more:\n  <<: *base\n  other: 1",
    "x-two:\n  <<: [{a: 1}, {a: 2, b: 3}]\n  b: 4",
    "x-tags: !!str 12\nx-set: !!set {a, b}\nx-bytes: !!binary aGVsbG8=\nx-int: !!int \"5\"\nx-float: !!float 3",
    "x-omap: !!omap [a: 1, b: 2]\nx-pairs: !!pairs [a: 1, a: 2]",
    "x-twice: 1\nx-twice: 2",
    "size_categories:\n- 1K<n<10K\nlanguage:\n- no\n- en",
    "x-time: 2024-05-06 10:11:12\nx-sixties: 1:30\nx-octal: 010\nx-inf: -.inf",
    "? complex\n: value",
    "x-block: |\n  text: with\n   --- a rule\n  and: more",
    "x-deep: " + "[" * 40 + "]" * 40,
    "x-null:\nx-empty: ''\nx-tilde: ~",
    "x-flow: {a: [1, 2, {b: c}], 'd e': \"\\u00e9\"}",
]
# What a safe loader refuses, in a part that is not used.
BROKEN = [
    "x-unknown: !custom {a: 1}",
    "x-seq-key:\n  ? [1, 2]\n  : pair",
    "x-value: =",
    "7: a key that is no text, at the top",
    "x-date: 2024-13-45",
]
FENCES = [("---\n", "\n---\n"), ("\n\n---\n", "\n---\n"), ("  ---\n", "\n---\n"), ("---\r\n", "\r\n---\r\n"), ("---\n\n", "\n\n---\n"),
          ("---\n", "\n---"), ("---\n", "\n--- \n"), ("--- \n", "\n---\n"), ("\ufeff---\n", "\n---\n"), ("# no card\n---\n", "\n---\n"),
          ("---\n", "\n----\n"), ("---\n", "\n...\n---\n")]
if NEXT:   # its huggingface_hub sees these as we do not
    FENCES = [f for f in FENCES if f[0][0] != "\ufeff" and f != ("---\n", "\n--- \n")]


class Case:
    """A folder, what its card is meant to say (`plain`), and what it says (`configs`, as a tree whose texts are YAML)."""

    def __init__(self, rng, folder):
        self.rng, self.folder = rng, folder
        self.ending = rng.choice([".jsonl"] * 4 + [".csv", ".txt", ".json", ".tsv"])
        self.rows = {}
        names = ["a", "data/a", "data/b", "data/en/c", "fr/d", "data/train-x", "data/test-y", "en/train-00000-of-00001", ".../g"]
        for name in rng.sample(names[:5], 5) + rng.sample(names[5:], rng.randrange(0, 3)):
            self.write(name + self.ending)
        self.tag, self.info, self.has_configs = [], None, True

    def write(self, name):
        path, n = self.folder / name, self.rng.randrange(1, 4)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"id": 10 * len(self.rows) + i, "text": f"{name} {i}"} for i in range(n)]
        self.rows[name] = [r["text"] for r in rows]
        tab = "\t" if ".tsv" in name else ","
        if ".jsonl" in name or ".ndjson" in name:
            write_jsonl(path, rows)
        elif ".json" in name:
            path.write_text(json.dumps(rows))
        elif ".txt" in name:
            path.write_text("".join(r["text"] + "\n" for r in rows))
        else:
            path.write_text(f"id{tab}text\n" + "".join(f"{r['id']}{tab}{r['text']}\n" for r in rows))

    def odd(self, p, chance=0.6):
        """The same path, written in another way; sometimes a path that means something else."""
        rng = self.rng
        if rng.random() > chance:
            return p
        self.tag.append("path")
        ways = [lambda: "./" + p, lambda: "././" + p, lambda: "data/../" + p, lambda: "data/en/../../" + p, lambda: "fr/.././" + p,
                lambda: "fr//..//" + p, lambda: ".//" + p if "/" in p else p]
        if "*" not in p and "?" not in p and "[" not in p or rng.random() < 0.1:   # beside a wildcard these match nothing
            ways += [lambda: p.replace("/", "//", 1), lambda: p.replace("/", "/./", 1), lambda: p + "/", lambda: p.replace("/", "//") + "//"]
        wrong = [lambda: "nosuch/../" + p, lambda: "../x/" + p, lambda: "data/../../" + p, lambda: "/" + p, lambda: "*/../" + p,
                 lambda: p + "/.", lambda: "hf://datasets/x/y/" + p, lambda: "~/" + p, lambda: p.upper(), lambda: "", lambda: "**x/" + p]
        return rng.choice(wrong if rng.random() < 0.04 else ways)()

    def files(self):
        """data_files as it is meant, and as it is written."""
        rng, e = self.rng, self.ending
        one = [f"a{e}", f"data/a{e}", f"data/en/c{e}", f"fr/d{e}"]
        many = [f"data/*{e}", "data/*", f"**/*{e}", "fr/**", f"data/[ab]{e}", f"data/?{e}", f"*/*{e}", "data/**"]
        pick = lambda: rng.choice(one + many)
        kind = rng.random()
        if kind < 0.3:
            p = pick()
            return p, self.odd(p)
        if kind < 0.5:
            ps = [pick() for _ in range(rng.randrange(1, 4))]
            return ps, [self.odd(p) for p in ps]
        splits = rng.sample(["train", "test", "dev_1", "a.b"], rng.randrange(1, 3))
        meant, said = [], []
        for s in splits:
            ps = [pick() for _ in range(rng.randrange(1, 3))] if rng.random() < 0.4 else pick()
            meant.append({"split": s, "path": ps})
            said.append({"split": s, "path": [self.odd(p) for p in ps] if isinstance(ps, list) else self.odd(ps)})
        return meant, said


class Raw(str):
    """YAML as it stands."""


def flow(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k if isinstance(k, Raw) else json.dumps(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return json.dumps(value)


def block(value, indent=""):
    """Of a list of maps: the form that people write."""
    lines = []
    for one in value:
        first = "- "
        for k, v in one.items():
            key = k if isinstance(k, Raw) else k if k.replace("_", "").isalnum() else json.dumps(k)
            if isinstance(v, list) and v and all(isinstance(x, dict) and x for x in v):
                lines.append(f"{indent}{first}{key}:\n{block(v, indent + '  ')}")
            else:
                text = v if isinstance(v, str) and not isinstance(v, Raw) and v.replace("/", "").replace("_", "").isalpha() and \
                    v not in ("no", "yes", "on", "off", "y", "n", "true", "false", "null") else flow(v)
                lines.append(f"{indent}{first}{key}: {text}")
            first = "  "
        if not one:
            lines.append(f"{indent}- {{}}")
    return "\n".join(lines)


OPTIONS = {".jsonl": [("field", "data"), ("field", None), ("chunksize", 10485760), ("encoding", "utf-8"), ("encoding_errors", "strict"),
                      ("features", None), ("block_size", 100), ("newlines_in_values", True), ("use_threads", False), ("sep", ";")],
           ".csv": [("sep", ","), ("sep", ";"), ("delimiter", ","), ("delimiter", None), ("header", "infer"), ("header", 0), ("skiprows", 1),
                    ("nrows", 1), ("quoting", 0), ("quotechar", '"'), ("escapechar", "\\"), ("decimal", "."), ("thousands", ","),
                    ("keep_default_na", False), ("skip_blank_lines", True), ("encoding", "utf-8"), ("names", ["text", "id"]), ("chunksize", 10000),
                    ("usecols", ["text"]), ("index_col", 0), ("on_bad_lines", "skip"), ("memory_map", False), ("column_names", None), ("field", "x")],
           ".txt": [("keep_linebreaks", False), ("keep_linebreaks", True), ("sample_by", "line"), ("sample_by", "document"), ("encoding", "utf8"),
                    ("chunksize", 10485760), ("sample_by", "paragraph")]}
OPTIONS[".json"] = OPTIONS[".jsonl"]
OPTIONS[".tsv"] = [("sep", "\t"), ("sep", ","), ("delimiter", "\t"), ("skiprows", 1), ("header", "infer"), ("decimal", ".")]
IGNORED = [("language", "en"), ("Sep", ";"), ("columns_names", [1]), ("citation", None), ("x", {"a": [1]}), ("features_", 1)]
DIRS = ["data", "data", "data/en", "fr", "./data", "data/", "./fr/", "data/../fr", "data/./en", "data//en", ".", "./", "", "data/en/..", None, False,
        "data/en/../../fr"]
BAD_DIRS = ["data//", "nosuch", "nosuch/../data", "..", "../x", "/data", "dat*", 5, ["data"], "data/../.."]


def strange_value(case, config):
    """Puts a value of a wrong or odd type somewhere."""
    rng = case.rng
    way = rng.randrange(13)
    case.tag.append(f"value{way}")
    if way == 0:
        config["config_name"] = rng.choice([1, True, None, Raw("2024-01-01"), 1.5, ["a"], Raw("!!str 12"), "a/b", "", Raw("*none")])
    elif way <= 3:
        config["default"] = rng.choice([True, False, "false", "", 1, 0, "no", Raw("no"), Raw("yes"), [0], [], None, Raw("!!set {}"), 0.0])
    elif way == 4:
        config["data_files"] = rng.choice([None, [], "", {"train": "a" + case.ending}, 5, True, [5], [None], [["a"]], [{"split": "train"}]])
    elif way == 5 and isinstance(config.get("data_files"), list) and config["data_files"] and isinstance(config["data_files"][0], dict):
        entry = config["data_files"][0]
        what = rng.randrange(5)
        if what == 0:
            entry["split"] = rng.choice([1, True, None, "a b", "tr-ain", "", "é", Raw("!!str 1")])
        elif what == 1:
            entry["path"] = rng.choice([5, None, [], [5], {"a": 1}, [["a"]], [None]])
        elif what == 2:
            entry[rng.choice(["x", Raw("1"), "name"])] = 1
        elif what == 3:
            config["data_files"].append("a" + case.ending)
        else:
            config["data_files"].append(dict(entry))
    elif way == 6:
        config[rng.choice([Raw("1"), Raw("yes"), Raw("~"), Raw("2024-01-01")])] = "x"
    elif way == 7:
        config[rng.choice(["version", "description"])] = rng.choice(["1.0.0", "x", None])
    elif way == 8:
        config["name"] = "x"
    elif way == 9:
        config["data_dir"] = rng.choice(DIRS + BAD_DIRS)
    else:
        key, value = rng.choice(IGNORED)
        config[key] = value
        case.ignored = key


def mix_formats(case):
    """Another format in reach of the patterns, or of another configuration."""
    case.tag.append("mixed")
    for _ in range(case.rng.randrange(1, 4)):
        ending = case.rng.choice([".csv", ".txt", ".jsonl", ".ndjson", ".tsv", ".png", ".bin", ".md", ".jsonl.txt", ".CSV"])
        case.write(case.rng.choice(["data/z", "fr/z", "data/en/z", "z"]) + str(len(case.rows)) + ending)


def infos(case, names):
    """dataset_info, as it is found: with the keys of class labels, types of ids, and often the name of a configuration."""
    rng = case.rng
    dtype = rng.choice(["int64", "int64", "string", "int32", "float64"])

    def info(name):
        out = {} if name is None else {"config_name": name}
        out["features"] = [{"name": "id", "dtype": dtype}, {"name": "text", "dtype": "string"}]
        if case.ending == ".txt":
            out["features"] = [{"name": "text", "dtype": "string"}]
        return out

    case.tag.append("info")
    pick = rng.random()
    if pick < 0.4:
        return info(rng.choice(names + ["default", None]))
    if pick < 0.8:
        return [info(n) for n in rng.sample(names, rng.randrange(1, len(names) + 1))]
    return rng.choice(["text", 5, [], None, {}])


def generate(rng, folder):
    case = Case(rng, folder)
    names = rng.sample(["en", "fr", "default", "a b", "x-1"], rng.choice([1, 1, 2, 2, 3]))
    configs, plain = [], []
    for name in names:
        meant, said = {"config_name": name}, {"config_name": name}
        if rng.random() < 0.25:
            d = rng.choice(DIRS if rng.random() < 0.9 else BAD_DIRS)
            said["data_dir"] = d
            meant["data_dir"] = d
            case.tag.append(f"dir {d!r}")
        if rng.random() < (0.2 if "data_dir" in said else 0.95):
            meant["data_files"], said["data_files"] = case.files()
        configs.append(said)
        plain.append(meant)
    if len(names) > 1 and rng.random() < (0.1 if "default" in names else 0.7):
        rng.choice(configs)["default"] = True
    for _ in range(rng.choice([0, 0, 0, 1, 1])):
        strange_value(case, rng.choice(configs))
    if rng.random() < 0.3:
        key, value = rng.choice(OPTIONS[case.ending] + IGNORED)
        rng.choice(configs)[key] = value
        case.tag.append(f"option {key}")
    if rng.random() < 0.2:
        mix_formats(case)
    if rng.random() < 0.1:
        configs.append({**rng.choice(configs)})
        case.tag.append("twice")
    parts = rng.sample(UNUSED, rng.choice([0, 1, 1, 2, 3])) + rng.sample(BROKEN, rng.random() < 0.08)
    shape = rng.random()
    if shape < 0.5:
        parts.append("configs:\n" + block(configs))
    elif shape < 0.8:
        parts.append("configs: " + flow(configs))
    else:   # what is common to them, by a merge key
        shared = {k: v for k, v in configs[-1].items() if k in ("data_files", "default", "description", "language")}
        rest = [{k: v for k, v in c.items() if k not in shared} if c is configs[-1] else c for c in configs]
        parts.append("x-shared: &shared " + flow(shared))
        rest[-1] = {Raw("<<"): Raw("*shared"), **rest[-1]}
        parts.append("configs:\n" + block(rest))
    if rng.random() < 0.03:
        case.has_configs = False
        parts[-1] = "configs: " + rng.choice(["{}", "text", "0", "~", "[]", "[a]", "[~]", "[1]", "{a: b}", "!!set {}", "[[config_name, a]]"])
    if rng.random() < 0.3:
        case.info = infos(case, names)
        parts.append("dataset_info: " + flow(case.info))
    if rng.random() < 0.5:
        rng.shuffle(parts[:-1])
    fence = FENCES[0] if rng.random() < 0.85 else rng.choice(FENCES)
    text = "\n".join(parts)
    if "\r" in fence[0]:
        text = text.replace("\n", "\r\n")
    (folder / "README.md").write_text(fence[0] + text + fence[1] + "# A card\n---\nwith a rule\n", newline="")
    case.names = names
    return case, plain, configs


def read_with_datasets(folder, name, cache):
    """{split: [(text, id)]} or the error, and the name of the configuration."""
    taken, out = None, {}
    try:
        builder = datasets.load_dataset_builder(str(folder), name, cache_dir=str(cache))
        taken = builder.config.name
        for split, files in builder.config.data_files.items():
            if files or len(builder.config.data_files) == 1:   # one without files is an error only for who asks for it
                rows = datasets.load_dataset(str(folder), name, split=str(split), cache_dir=str(cache))
                out[str(split)] = [(r.get("text"), r.get("id")) for r in rows]
        return out or FileNotFoundError("no split has files"), taken
    except Exception as e:
        return e, taken
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def read_with_us(case, name, taken):
    """{split: [(text, id)]} of the configuration `name`, else of the one that a run takes, which is `taken` under `datasets`; or the message."""
    flags = [f"--config={name}"] if name else []
    ids = ["--id-column=id"] if case.ending != ".txt" else []
    done = engine(["inspect", case.folder, "--json", "--rows=0", *flags], case.folder)
    assert done.returncode in (0, 1), done.stderr
    if done.returncode and not name and taken and "configuration '" in done.stderr and f"configuration '{taken}'" not in done.stderr:
        return read_with_us(case, taken, taken)   # another one is refused, which inspect shows first
    if done.returncode:
        return done.stderr
    said = json.loads(done.stdout)
    chosen = name or said["default"]
    if chosen is None:
        return "README.md: none of them is the default"
    out = {}
    for split in said["configs"][chosen]["splits"]:
        rows = engine(["inspect", case.folder, "--json", "--full", "--rows=1000", f"--split={split}", *ids, f"--config={chosen}"], case.folder)
        assert rows.returncode in (0, 1), rows.stderr
        if rows.returncode:
            return rows.stderr
        out[split] = [(r["text"], r.get("id")) for r in next(iter(json.loads(rows.stdout)["configs"].values()))["rows"]]
    case.chosen = chosen
    return out


def same(theirs, ours, txt):
    if list(theirs) != list(ours):
        return False
    for split, rows in theirs.items():
        if [t for t, _ in rows] != [t for t, _ in ours[split]]:
            return False
        if not txt and [str(i) for _, i in rows] != [i for _, i in ours[split]]:
            return False
    return True


def plain_card(case, plain, configs):
    """What ours took, as a card that says no more, with plain paths."""
    said = next((c for c in reversed(configs) if case.has_configs and str(c["config_name"]).removeprefix("!!str ") == case.chosen), None)
    if said is None:   # there are no configurations
        (case.folder / "README.md").unlink()
        return
    meant = dict(plain[configs.index(said) % len(plain)])   # one that stands there twice is the same
    folder = said.get("data_dir")
    folder = posixpath.normpath(folder) if isinstance(folder, str) and folder else None
    join = lambda p: [join(x) for x in p] if isinstance(p, list) else {**p, "path": join(p["path"])} if isinstance(p, dict) else \
        posixpath.join(folder, p) if folder else p
    if "data_files" in meant:
        meant["data_files"] = join(meant["data_files"])
    meant.pop("data_dir", None)
    if folder and "data_files" not in meant:
        meant["data_dir"] = folder
    info = {"dataset_info": case.info} if case.info else {}
    (case.folder / "README.md").write_text("---\n" + json.dumps({"configs": [meant], **info}) + "\n---\n")


def check(number, folder, counts):
    case, plain, configs = generate(random.Random(SEED * 1000003 + number), folder)
    name = case.rng.choice([None, None, case.rng.choice(case.names)])
    card = (folder / "README.md").read_text()
    theirs, taken = read_with_datasets(folder, name, folder / ".cache")
    ours = read_with_us(case, name, taken)
    txt = case.ending == ".txt"
    about = f"card {number} of seed {SEED}, name {name}:\n{card}\nfiles {sorted(case.rows)}\ntheirs {theirs}\nours {ours}"
    if isinstance(theirs, Exception) and isinstance(ours, str):
        assert "README.md" in ours or str(folder) in ours, about
        counts["both refuse"] += 1
    elif isinstance(theirs, Exception):
        plain_card(case, plain, configs)
        simple, _ = read_with_datasets(folder, None, folder / ".cache")
        assert not isinstance(simple, Exception) and same(simple, ours, txt), f"{about}\nthe plain card: {simple}"
        counts["only datasets refuses, for what is not used"] += 1
    elif isinstance(ours, str):
        reason = next((w for w in NAMED if w in ours), None)
        assert reason, about
        counts[f"refused by name ({reason})"] += 1
    else:
        assert same(theirs, ours, txt), about
        counts["same rows"] += 1


def generated(folder):
    counts, wrong = collections.Counter(), 0
    for number in range(5000 if FULL else 400) if ONLY is None else [ONLY]:
        place = folder / f"c{number}"
        place.mkdir()
        try:
            check(number, place, counts)
        except AssertionError as e:
            wrong += 1
            print(e, "\n")
        shutil.rmtree(place)
    assert not wrong, f"{wrong} cards differ"
    assert ONLY is not None or counts["same rows"] >= 200, counts
    return ", ".join(f"{k} {v}" for k, v in counts.most_common())


# ---- what was found ----

def make(folder, card, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    return engine(["inspect", folder, "--json", "--rows=9"], folder)


def texts(done):
    assert done.returncode == 0, done.stderr
    return [r["text"] for r in next(iter(json.loads(done.stdout)["configs"].values()))["rows"]]


ONE = {"data/a.jsonl": '{"id": 1, "text": "a"}\n'}


def keys_that_are_no_text(folder):
    """Class labels 0, 1 ...; booleans, dates, null, merge keys, tags."""
    for n, part in enumerate(UNUSED + BROKEN):
        case = folder / str(n)
        done = make(case, f"{part}\nconfigs:\n- config_name: default\n  data_files: data/*", ONE)
        assert texts(done) == ["a"], (part, done.stderr)
    labels = "".join(f"          {i}: name {i}\n" for i in range(22000))
    done = make(folder / "labels", "dataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n" + labels, ONE)
    assert texts(done) == ["a"], done.stderr
    bomb = "a: &a {k: v}\n" + "".join(f"{b}: &{b} {{<<: [{', '.join(f'*{a}' for _ in range(50))}], {b}{b}: 1}}\n" for a, b in zip("abcdefgh", "bcdefghi"))
    assert texts(make(folder / "bomb", bomb, ONE)) == ["a"]


def paths_with_dots(folder):
    for n, line in enumerate(("data_dir: .", "data_dir: ./data", "data_dir: data/", "data_dir: data/../data", "data_files: data//a.jsonl",
                              "data_files: data/./a.jsonl", "data_files: ././data/a.jsonl", "data_files: data/../data/a.jsonl",
                              "data_files: data/../data/*.jsonl", "data_files: [./data/a.jsonl/]",
                              "data_files:\n  - split: train\n    path: ./data/../data/a.jsonl", "data_files: .//data/**")):
        assert texts(make(folder / str(n), f"configs:\n- config_name: default\n  {line}", ONE)) == ["a"], line
    for n, (line, say) in enumerate((("data_files: ../x/a.jsonl", "leaves the folder"), ("data_files: data/../../x.jsonl", "leaves the folder"),
                                     ("data_dir: ..", "leaves the folder"), ("data_dir: /data", "leaves the folder"),
                                     ("data_files: hf://datasets/x/y/a.jsonl", "leaves the folder"), ("data_files: no/../data/a.jsonl", "is no folder"),
                                     ("data_files: 'data/*/../a.jsonl'", "matches nothing"), ("data_dir: 'd*'", "wildcards is not supported"))):
        done = make(folder / f"bad{n}", f"configs:\n- config_name: default\n  {line}", ONE)
        assert done.returncode == 1 and say in done.stderr, (line, done.stderr)


def keys_of_a_configuration(folder):
    """What the reader does not know is named once and passed over; what changes rows is refused; a builder's default changes nothing."""
    done = make(folder / "a", "configs:\n- config_name: default\n  data_files: data/*\n  language: en\n  sep: ';'", ONE)
    assert texts(done) == ["a"] and done.stderr.count("language, sep") == 1, done.stderr
    csv = {"a.csv": "id,text\n1,a\n"}
    for n, (line, say) in enumerate((("sep: ','", None), ("sep: ;", "'sep'"), ("skiprows: ~", None), ("skiprows: 1", "'skiprows'"), ("quoting: 0", None),
                                     ("header: infer", None), ("header: 0", "'header'"), ("encoding: UTF-8", None), ("encoding: latin-1", "'encoding'"),
                                     ("usecols: [text]", "'usecols'"), ("keep_default_na: true", None), ("keep_default_na: false", "'keep_default_na'"),
                                     ("columns: [text]", None), ("delimiter: ~", None), ("na_values: [a]", "'na_values'"))):
        done = make(folder / f"c{n}", f"configs:\n- config_name: default\n  data_files: a.csv\n  {line}", csv)
        if say:
            assert done.returncode == 1 and f"the reader option {say} of the configuration is not supported" in done.stderr, (line, done.stderr)
        else:
            assert texts(done) == ["a"], (line, done.stderr)


def formats_that_mix(folder):
    """A file that the card takes is read or named in an error; the first configuration says the format of all."""
    lines, json_lines = {"b.txt": "b\n", "c.txt": "c\n"}, {"a.ndjson": '{"text": "a"}\n'}
    for n, (files, card, say) in enumerate((
            ({**lines, **json_lines}, "- {config_name: default, data_files: [a.ndjson, b.txt, c.txt]}", "a.ndjson: a configuration"),
            ({**lines, **json_lines}, "- {config_name: default, data_files: '*'}", "a.ndjson: a configuration"),
            ({**lines, **json_lines}, "- {config_name: x, data_files: '*.txt'}\n- {config_name: default, data_files: a.ndjson}", "like those of the first one"),
            ({"a.csv": "text\na\n", "b.csv": "text\nb\n", "c.tsv": "text\nc\n"}, "- {config_name: default, data_files: '*'}", "c.tsv: by its name"),
            ({**json_lines, "a.png": "x"}, "- {config_name: default, data_files: '*'}", "a.png: a configuration"),
            (lines, "- {config_name: default, data_files: '*'}", None))):
        done = make(folder / str(n), f"configs:\n{card}", files)
        if say:
            assert done.returncode == 1 and say in done.stderr, (card, done.stderr)
        else:
            assert texts(done) == ["b", "c"], done.stderr
    for name, body in (("a.csv", "text\na\n"), ("b.tsv", "text\nb\n")):
        (folder / "free").mkdir(exist_ok=True)
        (folder / "free" / name).write_text(body)
    done = engine(["inspect", folder / "free"], folder)   # no card: one separator for both there
    assert done.returncode == 1 and "between its fields" in done.stderr, done.stderr


if __name__ == "__main__":
    sys.exit(main("cards", [generated, keys_that_are_no_text, paths_with_dots, keys_of_a_configuration, formats_that_mix]))
