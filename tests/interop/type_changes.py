#!/usr/bin/env python3
"""The type of ids: of every column type alone, and where it changes between the files of a split, against `datasets` itself.

Every ordered pair of types is a folder of two files. `datasets` casts the second to the type of the first; qkengine gives the same
ids or refuses, and refuses what `datasets` refuses. Counts are printed; "others" is what must stay 0. QK_FULL=1 tries every value
of every Parquet type instead of two. Runs with datasets 4.4 and 5.2.
"""
import collections
import datetime
import decimal
import io
import itertools
import json
import os
import sys
import uuid

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

import common       # first: it quiets `datasets`
import datasets
from common import engine, main
from datasets.table import table_cast
from tables import example_id

datasets.logging.set_verbosity(datasets.logging.CRITICAL)

D, FULL = decimal.Decimal, os.environ.get("QK_FULL") == "1"
DAY = 1714953600        # 2024-05-06 00:00
WORDS = ["7", "a", "1.5", "2024-05-06", "2024-05-06 00:00:00", "true", "1", "", "007", "+7", " 7", "0x7", "-7", "7.0", "é", "1e3", "07:00:00",
         "9223372036854775808", "-9223372036854775808", "-0"]


def counts_of(unit):
    return {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]


def parquet_types():
    """{name: (Arrow type, values)}; the first value is one that most types have."""
    types = {f"int{b}": (getattr(pa, f"int{b}")(), [7, -7, 0, 1, 2**(b - 1) - 1, -2**(b - 1)]) for b in (8, 16, 32, 64)}
    types |= {f"uint{b}": (getattr(pa, f"uint{b}")(), [7, 0, 2**b - 1]) for b in (8, 16, 32, 64)}
    types["int64"][1].extend([2**53, 2**53 + 1, 2**24, 2**24 + 1, 2049, DAY * 10**6])
    types["uint64"][1].extend([2**63, 2**53, 2**53 + 1, 2**24 + 1])
    types |= {
        "float16": (pa.float16(), [7.0, 1.5, -0.0, float("nan"), float("inf")]),
        "float32": (pa.float32(), [7.0, 1.5, 0.1, 1e10, float("-inf"), -0.0, 2.0**63]),
        "float64": (pa.float64(), [7.0, 1.5, 0.1, 1e300, float("nan"), 9e18, 2.0**53, -2.0**63, 65504.0, 1e-40]),
        "bool": (pa.bool_(), [True, False]),
        "string": (pa.string(), WORDS), "large_string": (pa.large_string(), WORDS[:4]), "string_view": (pa.string_view(), WORDS[:4]),
        "categories": (pa.dictionary(pa.int32(), pa.string()), WORDS[:4]), "coded ints": (pa.dictionary(pa.int8(), pa.int64()), [7, 8]),
        "binary": (pa.binary(), [b"7", b"a", b"\xff", b"it's", b""]), "binary_view": (pa.binary_view(), [b"7"]),
        "fixed": (pa.binary(1), [b"7", b"\xff"]), "uuid": (pa.uuid(), [uuid.UUID(int=7)]),
        "decimal32": (pa.decimal32(5, 2), [D("7.00")]), "decimal64": (pa.decimal64(15, 2), [D("7.00")]),
        "decimal(7,2)": (pa.decimal128(7, 2), [D("7.00"), D("1.50"), D("-99999.99"), D("0.00")]),
        "decimal(8,3)": (pa.decimal128(8, 3), [D("7.000"), D("1.505"), D("-0.010")]),
        "decimal(38,0)": (pa.decimal128(38, 0), [D("7"), D("15"), D(10)**37, D(2)**63, D(-2)**63]),
        "decimal(20,10)": (pa.decimal128(20, 10), [D("7.0000000000"), D("0E-10"), D("0.0000000001"), D("-0.0000000120")]),
        "decimal(40,2)": (pa.decimal256(40, 2), [D("7.00"), D("1.50"), D(10)**37]),
        "date32": (pa.date32(), [datetime.date(2024, 5, 6), datetime.date(1969, 12, 31), datetime.date(1, 1, 1)]),
        "date64": (pa.date64(), [datetime.date(2024, 5, 6)]),
        "time32[s]": (pa.time32("s"), [datetime.time(7, 0, 1)]),
        "time32[ms]": (pa.time32("ms"), [datetime.time(7), datetime.time(7, 0, 0, 5000)]),
        "time64[us]": (pa.time64("us"), [datetime.time(7), datetime.time(7, 0, 0, 5)]),
        "time64[ns]": (pa.time64("ns"), [datetime.time(7)]),
        "null": (pa.null(), [None]),
    }
    for unit in ("s", "ms", "us", "ns"):
        more = [] if unit == "s" else [DAY * counts_of(unit) + 5]
        times = [DAY * counts_of(unit), (DAY + 25201) * counts_of(unit), -counts_of(unit)] + more
        for zone in (None, "UTC", "+02:00", "-05:30", "America/New_York", "Etc/UTC"):
            if unit in ("ms", "us") or zone in (None, "UTC") or (unit, zone) == ("ns", "+02:00"):
                types[f"timestamp[{unit}, {zone}]"] = (pa.timestamp(unit, zone), times)
        lengths = [5 * counts_of(unit), 86400 * counts_of(unit), -5 * counts_of(unit), 200000 * 86400 * counts_of(unit) % 2**62 + 1]
        types[f"duration[{unit}]"] = (pa.duration(unit), lengths)
    return types


def write(path, kind, value):
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    array = pa.array([value], plain)
    pq.write_table(pa.table({"text": ["x"], "id": array.dictionary_encode() if plain is not kind else array}), path)


@common.functools.cache
def read_parquet(path):
    """(schema, table), or the error, as the packaged reader reads a file."""
    with open(path, "rb") as f:
        batches = list(pa.dataset.ParquetFileFormat().make_fragment(f).to_batches())
    return pq.read_schema(path), pa.Table.from_batches(batches)


def theirs_of(first, second=None):
    """str() of the last id, or the refusal."""
    try:
        schema = datasets.Features.from_arrow_schema(read_parquet(first)[0]).arrow_schema
        return str(table_cast(read_parquet(second or first)[1], schema)["id"].to_pylist()[0])
    except Exception as e:
        return e


def ours_of(path, folder):
    """[(example id, str)] of all rows, or what a refusal says."""
    done = engine(["inspect", path, "--json", "--id-column=id", "--full", "--rows=1000"], folder)
    assert done.returncode in (0, 1), (path, done.returncode, done.stderr)
    if done.returncode:
        return done.stderr.strip()
    return [(r["example_id"], r.get("id", "None")) for r in json.loads(done.stdout)["configs"]["default"]["rows"]]


def load(path, folder):
    try:
        return [r["id"] for r in datasets.load_dataset(str(path), split="train", cache_dir=str(folder / "cache"))]
    except Exception as e:
        return e


# Of one file that `datasets` has no type for, or not in both versions, ids are read here all the same.
ALONE = ("fixed", "uuid", "decimal32", "decimal64")
# Refused here, read there: a clock that depends on the machine's time zone database.
ZONES = ("America/New_York",)


def every_type(folder):
    """Each Parquet type alone: the same text as Python's, or refused by name."""
    counts, others = collections.Counter(), []
    for name, (kind, values) in parquet_types().items():
        for value in values:
            path = folder / "a.parquet"
            write(path, kind, value)
            read_parquet.cache_clear()
            theirs, ours = theirs_of(path), ours_of(path, folder)
            if isinstance(theirs, Exception):
                assert isinstance(ours, str) or name in ALONE, (name, value, theirs, ours)
                counts["only datasets refuses" if name in ALONE else "both refuse"] += 1
            elif isinstance(ours, str):
                assert any(zone in name for zone in ZONES) and "of the zone 'America/New_York'" in ours or "beyond" in ours, (name, value, theirs, ours)
                counts["only qkengine refuses"] += 1
            elif [theirs] != [t for _, t in ours]:
                others.append((name, value, theirs, ours))
            else:
                counts["same id"] += 1
    assert not others, others
    return {**counts, "others": len(others)}


def parquet_pairs(folder):
    """All ordered pairs of Parquet types."""
    types, counts, others, files = parquet_types(), collections.Counter(), [], {}
    for name, (kind, values) in types.items():
        for i, value in enumerate(values):
            files[name, i] = folder / f"{len(files)}.parquet"
            write(files[name, i], kind, value)
    shards = folder / "shards"
    shards.mkdir()
    pairs = list(itertools.permutations(types, 2))
    for n, (a, b) in enumerate(pairs):
        values = range(len(types[b][1]))
        for i in values if FULL else sorted({0, n % len(values)}):
            for k, file in enumerate((files[a, 0], files[b, i])):
                (shards / f"train-{k}.parquet").unlink(missing_ok=True)
                os.link(file, shards / f"train-{k}.parquet")
            theirs, ours = theirs_of(files[a, 0], files[b, i]), ours_of(shards, folder)
            refuses = isinstance(theirs, Exception)
            if n % 37 == 0 and i == 0:   # what is compared with is what load_dataset does
                whole = load(shards, folder)
                assert isinstance(whole, Exception) == refuses and (refuses or str(whole[-1]) == theirs), (a, b, theirs, whole)
                counts["whole loads"] += 1
            if isinstance(ours, str):
                counts["both refuse" if refuses else "only qkengine refuses"] += 1
            elif refuses or ours[-1][1] != theirs:
                others.append((a, b, types[b][1][i], theirs, ours[-1]))
            else:
                counts["same id"] += 1
    assert not others, (len(others), others[:40])
    return f"{len(pairs)} pairs checked: {dict(counts)}, others {len(others)}"


def text_pairs(folder, kinds, name, body):
    """All ordered pairs of kinds of ids in a format of text."""
    counts, others = collections.Counter(), []
    pairs = [(a, b) for a in range(len(kinds)) for b in range(len(kinds))]
    for n, (a, b) in enumerate(pairs):
        shards = folder / str(n)
        shards.mkdir()
        for k, kind in enumerate((kinds[a], kinds[b])):
            (shards / f"train-{k}.{name}").write_text(body(kind))
        theirs, ours = load(shards, folder), ours_of(shards, folder)
        if isinstance(ours, str):
            counts["both refuse" if isinstance(theirs, Exception) else "only qkengine refuses"] += 1
        elif isinstance(theirs, Exception) or [(example_id(i), str(i)) for i in theirs] != ours:
            others.append((kinds[a], kinds[b], theirs, ours))
        else:
            counts["same id"] += 1
    assert not others, (len(others), others)
    return f"{len(pairs)} pairs checked: {dict(counts)}, others {len(others)}"


def jsonl_pairs(folder):
    kinds = [["1"], ["7", "null"], ["9007199254740993"], ["9223372036854775808"], ["1.0"], ["1.5", "2"], ["true", "false"], ['"a"'], ['"7"'], ['"true"'],
             ['"2024-05-01"'], ['"2024-05-01T10:11:12"', "null"], ['"2024-05-01"', '"x"'], ["null"], ['""'], ["-7", "0"], ['"1.5"'], []]
    return text_pairs(folder, kinds, "jsonl", lambda ids: "".join('{"text": "x", "id": %s}\n' % i for i in ids))


def csv_pairs(folder):
    kinds = [["1"], ["7", "NA"], ["007"], ["9007199254740993"], ["9223372036854775808"], ["1.0"], ["1.5", "2"], ["True", "False"], ["a"], ["a", "7"],
             ["2024-05-01"], [""], ["-7", "0"], ["true", "x"], ["inf"], []]
    # Each id twice: datasets 5.2 joins tables of one row before it casts them, and fails where their types differ.
    return text_pairs(folder, kinds, "csv", lambda ids: "text,id\n" + "".join(f"x,{i}\n" * 2 for i in ids))


if __name__ == "__main__":
    sys.exit(main("type changes", [every_type, parquet_pairs, jsonl_pairs, csv_pairs]))
