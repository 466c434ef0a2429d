#!/usr/bin/env python3
"""CSV, JSON and text files against `datasets` itself: random tables must give the same texts and ids, or be refused.

A refusal counts only where `datasets` fails too, or where README.md says so (types that change from chunk to chunk).
Runs with datasets 4.4, whose rules we follow, and with 5.2: there an array of JSON is read by the rules of JSON lines, and a column
of JSON lines may mix types (which we refuse). Nothing else may differ.
"""
import bz2
import collections
import gzip
import hashlib
import json
import random
import re
import sys

import pyarrow as pa
import pyarrow.parquet as pq

import common       # first: it quiets `datasets`
import datasets
from common import CASE, engine, main, write_jsonl

datasets.logging.set_verbosity(datasets.logging.CRITICAL)

NEXT = int(datasets.__version__.split(".")[0]) >= 5


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


VALUES = ["1", "-1", "+5", "007", " 3", "4 ", "1.5", "1e3", "inf", "-Infinity", "NaN", "NA", "", "True", "false", "x", "0", "12",
          "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775809",
          "1" * 30, ".", "5.", ".5", "+", "1e", "nan", "+inf", " inf", "1.5 x", "0x1", "-0", " True", "NULL", "n/a", "1\v",
          "1.e5", "+ 1", "2024-05-01", "é", "a\tb", "None", "-nan", "<NA>", "TRUE", "tRue"]
PIECES = ["a", "b c", "\"", "\"\"", ",", "\n", "\r\n", "\r", " ", "\t", "\ufeff", "é", "静", "\0", ";", "'", "NA", "\\", "\v", "\f",
          "\u2028"]


def example_id(value):
    """The reference's rule."""
    if isinstance(value, bool) or isinstance(value, int) and -2**63 <= value < 2**63:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value) if -2**63 <= value < 2**63 else None
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        value = str(value)
    return int.from_bytes(hashlib.blake2b(str(value).encode(), digest_size=8).digest(), "little", signed=True)


def read_with_datasets(path, folder):
    kind = {"csv": "csv", "tsv": "csv", "jsonl": "json", "json": "json", "txt": "text"}[path.name.split(".")[1]]
    more = {"sep": "\t"} if ".tsv" in path.name else {}
    try:
        rows = datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(folder / "cache"), **more)
        return [(r["text"], r.get("id")) for r in rows]
    except Exception as e:
        return e


def read_with_us(path, folder):
    done = engine(["inspect", path, "--json", "--full", "--rows=1000000"], folder)
    assert done.returncode in (0, 1), done.stderr
    if done.returncode:
        return done.stderr.strip()
    rows = json.loads(done.stdout)["configs"]["default"]["rows"]
    return [(r["text"], r["example_id"], r.get("id", "None")) for r in rows]


def as_lines(path):
    """An array of JSON as the lines that datasets 5.2 makes of it. The sign of -0 is lost there."""
    lines = path.with_name("lines-" + path.name + "l")
    lines.write_text(re.sub(r": -(0(\.0)?[,}])", r": \1", path.read_text()[1:-1]).replace("}, {", "}\n{"))
    return lines


def compare(path, folder, counts, may_refuse=()):
    in_array = path.suffix == ".json" and path.read_bytes().startswith(b"[")
    theirs, ours = read_with_datasets(path, folder), read_with_us(as_lines(path) if NEXT and in_array else path, folder)
    if NEXT and path.suffix in (".json", ".jsonl"):
        may_refuse += ("is not that of the rows before", "is no date, while all ids before it are")
    if isinstance(theirs, Exception):
        counts["both refuse" if isinstance(ours, str) else "only datasets refuses"] += 1
        return
    bad_text = any(not isinstance(t, str) for t, _ in theirs)
    ids = [example_id(i) for _, i in theirs]
    if isinstance(ours, str):
        # A text that is null or a number is an error of the run, whoever reads it; so is an id beyond int64.
        expected = bad_text or None in ids or any(word in ours for word in may_refuse)
        assert expected, (path.read_bytes()[:500], theirs[:5], ours)
        counts["refused rows"] += 1
        return
    if None in ids:
        counts["beyond int64 in the reference"] += 1
        return
    assert [t for t, _ in theirs] == [t for t, _, _ in ours], (path.read_bytes()[:500], theirs[:5], ours[:5])
    if "id" in path.read_bytes()[:200].decode("utf-8", "replace"):
        assert ids == [i for _, i, _ in ours], (path.read_bytes()[:500], theirs[:5], ours[:5])
        assert [str(i) for _, i in theirs] == [t for _, _, t in ours], (path.read_bytes()[:500], theirs[:5], ours[:5])
    counts["same rows"] += 1


def quote(text, rng, delimiter):
    must = any(c in text for c in "\"\r\n" + delimiter)
    return '"' + text.replace('"', '""') + '"' if must or rng.random() < 0.2 else text


def random_text(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 6)))


def csv_ids(folder):
    """Columns of ids of every kind, typed by pandas."""
    rng, counts = random.Random(1), collections.Counter()
    for i in range(120):
        pool = rng.sample(VALUES, rng.choice([1, 2, 3])) + ["1"]
        rows = [f'{quote(rng.choice(pool), rng, ",")},x' for _ in range(rng.randrange(1, 5))]
        path = folder / f"{i}.csv"
        path.write_bytes(("id,text\n" + "\n".join(rows) + "\n").encode())
        compare(path, folder, counts)
    assert counts["same rows"] > 70, counts
    return dict(counts)


def csv_texts(folder):
    """Quotes, line ends, delimiters and everything else inside fields."""
    rng, counts = random.Random(2), collections.Counter()
    for i in range(100):
        end, delimiter = rng.choice(["\n", "\r\n", "\r"]), rng.choice([",", "\t"])
        rows = ["id" + delimiter + "text"]
        for k in range(rng.randrange(1, 6)):
            rows.append(f"{k}{delimiter}{quote(random_text(rng), rng, delimiter)}")
            if rng.random() < 0.2:
                rows.append(rng.choice(["", " ", "   "]))
        body = end.join(rows) + rng.choice(["", end])
        path = folder / (f"{i}.tsv" if delimiter == "\t" else f"{i}.csv")
        path.write_bytes((rng.choice(["", "\ufeff"]) + body).encode())
        compare(path, folder, counts)
    assert counts["same rows"] > 60, counts
    return dict(counts)


def csv_damage(folder):
    """Bytes changed at random: never rows that `datasets` would read otherwise."""
    rng, counts = random.Random(3), collections.Counter()
    for i in range(120):
        body = bytearray(b'id,text\n1,"a b"\n2,c\n3,"d""e"\n')
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.choice(b'",\n\r a1\xff\0x')
        if b"text" not in body or not body.startswith(b"id,"):
            continue
        path = folder / f"{i}.csv"
        path.write_bytes(body)
        compare(path, folder, counts, may_refuse=("more fields than the header", "two columns are named"))
    assert counts["same rows"] > 20, counts
    return dict(counts)


def json_ids(folder):
    """Ids of every JSON type, in lines and in an array."""
    rng, counts = random.Random(5), collections.Counter()
    kinds = [["1", "-7", "9223372036854775807", "0"], ["1", "1.5", "1e3", "-0.0", "2.0"], ["true", "false"], ["1", "true"],
             ['"2024-05-01"', '"2024-05-01 10:11:12"', '"2024-05-01T10:11"', '"1969-12-31"'], ['"2024-05-01"', '"x"', '"7"'],
             ['"2024-05-01T10:11:12Z"', '"2024-05-01T10:11:12+02:00"', '"2024-05-01T10:11:12-0230"'], ['"2024-13-01"', '"2024-05-01"'],
             ['"10:11"', '"a"', '"\\u00e9"', '""'], ["null"], ['"2024-05-01"', "1"], ["[1]", "1"], ['"2024-05-01T10"', '"2024-05-01T24:00"'],
             ['"2024-05-01 10:11:12.5"', '"2024-05-01"'], ["9223372036854775808", "1"], ['" 2024-05-01"', '"2024-05-01 "', '"2024-05-1"']]
    for i in range(120):
        pool = rng.choice(kinds) + rng.choice([[], ["null"]])
        rows = []
        for k in range(rng.randrange(1, 5)):
            given = rng.random() < 0.9 or k == 0
            rows.append('{"text": "x"%s}' % (f', "id": {rng.choice(pool)}' if given else ""))
        path = folder / rng.choice([f"{i}.jsonl", f"{i}.json"])
        path.write_text("\n".join(rows) if path.suffix == ".jsonl" or len(rows) == 1 else "[" + ", ".join(rows) + "]")
        compare(path, folder, counts, may_refuse=("which cannot be an id", "reads inexactly"))
    assert counts["same rows"] > 60, counts
    return dict(counts)


EDGES = ["1", "-1", "-0", "null", "1.5", "2.0", "1E2", "9007199254740993", "9007199254740993.0", "9223372036854775807",
         "9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775807", "-9223372036854775808",
         "-9223372036854775809", "1" * 25]


def write_ids(path, ids):
    """Rows with these ids, in the format of the name."""
    rows = ['{"text": "x", "id": %s}' % i for i in ids]
    texts = {".jsonl": "\n".join(rows), ".json": "[" + ", ".join(rows) + "]", ".csv": "text,id\n" + "".join(f"x,{i}\n" for i in ids)}
    path.write_text(texts[path.suffix])


def edge_ids(folder):
    """Numbers around the ends of int64, uint64 and of what a double holds: one type for the column, as there."""
    rng, counts = random.Random(6), collections.Counter()
    pairs = [(a,) for a in EDGES] + rng.sample([(a, b) for a in EDGES for b in EDGES], 70)
    for kind in ("jsonl", "json", "csv"):
        for i, ids in enumerate(pairs):
            path = folder / f"{i}.{kind}"
            write_ids(path, ids)
            # An array with a fraction is read inexactly there, and integers beyond 64 bits wrap around or fail.
            compare(path, folder, counts, may_refuse=("reads inexactly", "beyond 64 bits"))
    assert counts["same rows"] > 130 and (NEXT or not counts["only datasets refuses"]), counts
    return dict(counts)


def late_numbers(folder):
    """What comes behind the 10 MB that decide the type of a column."""
    start = {"text": "x" * 2000}
    for name, first, last, say in (("a.jsonl", 1, 2.0, None), ("b.jsonl", 1, 2.5, "is no integer, while those of the first 10 MB are"),
                                   ("c.jsonl", 1.5, 2, None), ("d.json", 1, None, None), ("e.json", 2**53 + 1, None, "would round them"),
                                   ("f.json", 2**63, -1, "negative integers and some above int64")):
        path = folder / name
        rows = [{**start, "id": first}] * 5500 + [{**start, "id": last}]
        if path.suffix == ".jsonl":
            write_jsonl(path, rows)
        else:
            path.write_text(json.dumps(rows))
        ours = read_with_us(path, folder)
        if say:
            assert isinstance(ours, str) and say in ours, (name, ours[:200])
        else:
            assert [i for _, i, _ in ours] == [example_id(i) for _, i in read_with_datasets(path, folder)], name


def shards_of_other_types(folder):
    """The first file's type is the column's: later files are cast to it, or refused where that would change a value."""
    counts = collections.Counter()
    kinds = [["1"], ["1.0"], ["2", "2.5"], ["9007199254740993"], ["9223372036854775808"], ["true"], ['"a"'], ['"7"'], ["-9223372036854775809"]]
    for i, (first, second) in enumerate((a, b) for a in kinds for b in kinds if a != b):
        shards = folder / str(i)
        shards.mkdir()
        write_ids(shards / "train-0.jsonl", first)
        write_ids(shards / "train-1.jsonl", second)
        try:
            theirs = [r["id"] for r in datasets.load_dataset(str(shards), split="train", cache_dir=str(folder / "cache"))]
        except Exception:
            theirs = "refused"
        ours = read_with_us(shards, folder)
        if isinstance(ours, str):
            # Floats and truth values among strings are written in Arrow's way there, strings among floats parsed.
            assert theirs == "refused" or None in map(example_id, theirs) or "while those of the first file are" in ours, (first, second, ours)
            counts["refused"] += 1
            continue
        assert theirs != "refused", (first, second, ours)
        assert [(example_id(i), str(i)) for i in theirs] == [(i, t) for _, i, t in ours], (first, second, theirs, ours)
        counts["same rows"] += 1
    assert counts["same rows"] > 25, counts
    return dict(counts)


def odd_names(folder):
    """Folders of files with '#', blanks and '--' in their names, with and without a card whose splits are patterns."""
    rng, counts = random.Random(8), collections.Counter()
    parts = ["a", "b", "#", " ", "--", "-", "train", "test", "0", "_", ".", "  ", "##"]
    patterns = ["*", "?", "**", "#", " ", "--", "-", "a", "train", "test", "*", "_", "0", "."]
    for n in range(120):
        root = folder / str(n)
        names = set()
        for _ in range(rng.randrange(2, 7)):
            below = "".join(rng.choice(parts) for _ in range(2)).rstrip(".") + "/" if rng.random() < 0.3 else ""
            names.add(below + "".join(rng.choice(parts) for _ in range(rng.randrange(1, 5))) + rng.choice([".jsonl"] * 6 + [".csv", ".bin", ""]))
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                path.write_text(json.dumps({"text": name.lstrip("./")}) + "\n" if ".csv" not in name else f'text\n"{name.lstrip("./")}"\n')
        splits = []
        for split in rng.sample(["train", "test", "odd_1"], rng.randrange(1, 3)):
            pattern = "".join(rng.choice(patterns) for _ in range(rng.randrange(1, 4))) + rng.choice(["*", ".jsonl", "*.jsonl", ""])
            splits.append({"split": split, "path": rng.choice([pattern, pattern, rng.choice(sorted(names))])})
        if rng.random() < 0.7:
            card = json.dumps({"configs": [{"config_name": "default", "data_files": splits}]})
            (root / "README.md").write_text(f"---\n{card}\n---\n")
        try:
            read = datasets.load_dataset(str(root), cache_dir=str(folder / "cache"))
            theirs = {split: list(rows["text"]) for split, rows in read.items()}
        except Exception:
            theirs = None
        done = engine(["inspect", root, "--json", "--rows=0"], folder)
        assert done.returncode in (0, 1), done.stderr
        if done.returncode:
            # What a card takes of another format is refused here; there it is read as this one.
            assert theirs is None or "takes this file, but it is not" in done.stderr, (sorted(names), splits, theirs, done.stderr)
            counts["refused"] += 1
            continue
        found = json.loads(done.stdout)["configs"]["default"]["splits"]
        ours = {split: [f["file"].lstrip("./") for f in files] for split, files in found.items()}
        assert theirs == ours, (sorted(names), splits, theirs, ours)
        counts["same files"] += 1
    assert counts["same files"] > 40, counts
    return dict(counts)


def inspect_says(folder):
    """Which configuration a run takes, which one lacks a split; columns and splits are looked for without --rows, too."""
    for name in ("en", "fr"):
        (folder / name).mkdir()
        write_jsonl(folder / name / "a.jsonl", [{"text": name, "id": 1}])
    configs = [{"config_name": "en", "data_files": [{"split": "train", "path": "en/*"}, {"split": "test", "path": "en/*"}]},
               {"config_name": "fr", "data_files": "fr/*"}]

    def say(*flags, status=0, card=configs):
        (folder / "README.md").write_text("---\n" + json.dumps({"configs": card}) + "\n---\n")
        done = engine(["inspect", folder, *flags], folder)
        assert done.returncode == status, (flags, done.stderr)
        return done.stdout + done.stderr

    assert "none of them is the default: a run needs dataset.name" in say()
    flagged = [configs[0], {**configs[1], "default": True}]
    heads = [line for line in say(card=flagged).splitlines() if "found by" in line]
    assert [h.endswith("; a run takes this one") for h in heads] == [False, True], heads
    assert json.loads(say("--json", "--rows=0", card=flagged))["default"] == "fr"
    assert json.loads(say("--json", "--rows=0"))["default"] is None
    said = say("--split=test")
    assert said.index("text, from test") < said.index("fr: JSON") < said.index("no split 'test' in this configuration"), said
    assert "no configuration has the split 'dev'" in say("--split=dev", "--rows=0", status=1)
    assert "configuration 'fr': " in say("--split=test", "--config=fr", "--rows=0", status=1)
    assert "no column 'key'" in say("--id-column=key", "--rows=0", status=1)

    pq.write_table(pa.table({"text": ["a"], "key": ["k"]}), folder / "a.parquet")
    for flags, status, word in ((["--id-column=key"], 0, " k "), (["--id-column=no"], 1, "no column 'no'"), (["--split=test"], 1, "no split 'test'")):
        done = engine(["inspect", "a.parquet", *flags], folder)
        assert done.returncode == status and word in done.stdout + done.stderr, (flags, done.stdout, done.stderr)
    done = engine(["inspect", CASE / "model/tokenizer.json", "--split=train"], folder)
    assert done.returncode == 2 and "--split is for datasets" in done.stderr, done.stderr


def csv_chunks(folder):
    """Types that change after 10,000 rows: later chunks are cast, or refused when a value would change."""
    counts = collections.Counter()
    cases = [("1", "2.0,y"), ("1", ",y"), ("w", "007,y"), ("w", ",y"), ("1.5", "7,y"), ("", "7,y"), ("1", "True,y"), ("w", "true,y"),
             ("1", "a,y"), ("1", "1.5,y"), ("w", "1.5,y"), ("1.5", "9007199254740993,y"), ("9223372036854775809", "1,y"), ("1", "2,008")]
    for i, (first, second) in enumerate(cases):
        path = folder / f"{i}.csv"
        path.write_text("id,text\n" + f"{first},x\n" * 10000 + f"{second}\n" * 2)
        compare(path, folder, counts, may_refuse=("these 10000 rows hold",))
    assert counts["same rows"] >= 9, counts
    return dict(counts)


def packed(folder):
    """.gz and .zst give the rows of the plain file, with any cut into members and frames; .bz2 is refused by name."""
    rng = random.Random(4)
    rows = [{"id": i, "text": random_text(rng) * rng.choice([1, 1, 50, 20000])} for i in range(60)]
    write_jsonl(folder / "a.jsonl", rows)
    (folder / "a.json").write_text(json.dumps(rows))
    (folder / "a.csv").write_text("id,text\n" + "".join(f'{r["id"]},"{r["text"].replace(chr(34), chr(34) * 2)}"\n' for r in rows))
    (folder / "a.txt").write_text("".join(f'{r["text"]}\n' for r in rows))
    n = 0
    for name in ("a.jsonl", "a.json", "a.csv", "a.txt"):
        body, want = (folder / name).read_bytes(), read_with_us(folder / name, folder)
        assert isinstance(want, list) and len(want) >= 60, want
        assert [t for t, _, _ in want] == [t for t, _ in read_with_datasets(folder / name, folder)], name
        for pack in (gzip.compress, zstd):
            cuts = sorted(rng.sample(range(len(body)), 3))
            parts = [body[a:b] for a, b in zip([0] + cuts, cuts + [len(body)])]
            path = folder / (name + (".gz" if pack is gzip.compress else ".zst"))
            path.write_bytes(b"".join(map(pack, parts)))
            assert read_with_us(path, folder) == want, path.name
            n += 1
        path = folder / (name + ".bz2")
        path.write_bytes(bz2.compress(body))
        assert "bzip2 compression is not supported" in read_with_us(path, folder)
    return f"{n} packed files"


def make_config(folder, data):
    path = folder / "config.yaml"
    path.write_text(json.dumps({"dataset": {"path": str(data)}, "model": {"name": str(CASE / "model")}, "output": {"data_root": "out"},
                                "capture": {"sampler": {"type": "all"}}}))
    return path


def later_damage_is_not_touched(folder):
    """max_samples and slices stop before what comes behind them: a damaged rest, or files that are no data."""
    body = "".join(json.dumps({"id": i, "text": "x" * 200}) + "\n" for i in range(60000)).encode()
    bad = body + b'{"id": broken\n'
    table = b"id,text\n" + b"".join(b"%d,%s\n" % (i, b"y" * 200) for i in range(30000)) + b'9,"never closed'
    files = {"a.jsonl": bad, "a.jsonl.gz": gzip.compress(body, 1)[:-40], "a.jsonl.zst": zstd(body)[:-9],
             "a.csv": table, "a.csv.gz": gzip.compress(table, 1)[:-40], "a.txt.gz": gzip.compress(body, 1)[:-40]}
    for name, content in files.items():
        path = folder / name
        path.write_bytes(content)
        for flags in (["--rows=500"], ["--rows=100000", "--split=train[100:600]"]):
            done = engine(["inspect", path, "--json", *flags], folder)
            assert done.returncode == 0, (name, done.stderr)
            assert len(json.loads(done.stdout)["configs"]["default"]["rows"]) == 500, name
        whole = engine(["inspect", path, "--json", "--rows=100000"], folder)
        assert whole.returncode == 1 and name in whole.stderr, (name, whole.stderr)
    shards = folder / "shards"
    shards.mkdir()
    write_jsonl(shards / "train-0.jsonl", [{"text": "a"}] * 5)
    (shards / "train-1.jsonl").write_bytes(b"\xff\xfe not data")
    assert engine(["inspect", shards, "--rows=5"], folder).returncode == 0
    assert engine(["inspect", shards, "--rows=6"], folder).returncode == 1
    tables = folder / "tables"
    tables.mkdir()
    pq.write_table(pa.table({"text": ["a"] * 5}), tables / "train-0.parquet")
    (tables / "train-1.parquet").write_bytes(b"no Parquet at all")
    for flags, status in ((["--set=dataset.max_samples=4"], 0), (["--set=dataset.split=train[1:3]"], 0), ([], 1)):
        done = engine(["plan", make_config(folder, tables), *flags], folder)
        assert done.returncode == status, (flags, done.stderr)


def bombs_stop(folder):
    """A row of a packed file is at most 32 MB; what is skipped takes no memory, however long it is."""
    import resource

    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
    bombs = {"a.txt.gz": b"x", "a.txt.zst": b"\0", "b.jsonl.gz": b'{"text": "' + b"x" * 1000, "b.csv.gz": b'text\n"xxx', "c.csv.zst": b","}
    for name, start in bombs.items():
        body = start + start[-1:] * (200 << 20)
        (folder / name).write_bytes(gzip.compress(body, 1) if name.endswith("gz") else zstd(body))
        done = engine(["inspect", folder / name, "--rows=9"], folder, preexec_fn=limited)
        assert done.returncode == 1 and name in done.stderr, (name, done.returncode, done.stderr)
        assert "longer than 32 MB" in done.stderr or "100000 columns" in done.stderr, (name, done.stderr)
    (folder / "blank.jsonl.gz").write_bytes(gzip.compress(b"\n" * (100 << 20) + b'{"text": "behind 100 MB of nothing"}', 1))
    done = engine(["inspect", folder / "blank.jsonl.gz", "--rows=9"], folder, preexec_fn=limited)
    assert done.returncode == 0 and "behind 100 MB" in done.stdout, done.stderr


if __name__ == "__main__":
    sys.exit(main("tables", [csv_ids, csv_texts, csv_damage, csv_chunks, json_ids, edge_ids, late_numbers, shards_of_other_types, odd_names, inspect_says, packed, later_damage_is_not_touched, bombs_stop]))
