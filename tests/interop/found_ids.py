#!/usr/bin/env python3
"""Ids whose type is not in Parquet's own schema, or changes from file to file: datasets' ids, or a refusal that says why."""
import datetime
import decimal
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from common import ROOT, engine, main, refused, write_jsonl

D, DATA = decimal.Decimal, ROOT / "tests/data/found/ids"


def ids_of(path, folder, *flags):
    done = engine(["inspect", path, "--json", "--full", "--rows=1000", "--id-column=id", *flags], folder)
    assert done.returncode == 0, done.stderr
    return [(r["id"], r["example_id"]) for r in json.loads(done.stdout)["configs"]["default"]["rows"]]


def arrow_schema(folder):
    """01: polars' durations are durations; a zone by name is refused, a fixed offset is computed."""
    assert ids_of(DATA / "polars_duration.parquet", folder)[0] == ("0:00:05", 1615006238309812786)
    done = engine(["inspect", DATA / "pandas_tz.parquet", "--rows=2"], folder)
    refused(done, "pandas_tz.parquet: row 0", "'America/New_York'", "convert the column to UTC")
    table = pq.read_table(DATA / "pandas_tz.parquet")
    zone = pa.timestamp("us", "-04:00")
    pq.write_table(table.set_column(table.column_names.index("id"), "id", table["id"].cast(zone)), folder / "a.parquet")
    assert ids_of("a.parquet", folder)[0] == ("2024-05-06 07:00:00-04:00", 5807691195412693456)
    damaged = (folder / "a.parquet").read_bytes()
    at = damaged.index(b"ARROW:schema") + 40
    (folder / "b.parquet").write_bytes(damaged[:at] + b"!" + damaged[at + 1:])
    refused(engine(["inspect", "b.parquet", "--rows=2", "--id-column=id"], folder), "b.parquet: its Arrow schema")


def later_files(folder):
    """02: the first file's type is that of all."""
    day = datetime.datetime(2024, 5, 6)
    cases = {
        "decimal": (pa.array([D("1.50")], pa.decimal128(7, 2)), pa.array([D("1.500")], pa.decimal128(8, 3)), ["1.50", "1.50"]),
        "int_then_decimal": (pa.array([3]), pa.array([D("15")], pa.decimal128(38, 0)), ["3", "15"]),
        "string_then_binary": (pa.array(["a"]), pa.array([b"b"]), ["a", "b"]),
        "naive_then_utc": (pa.array([day], pa.timestamp("us")), pa.array([day], pa.timestamp("us", "UTC")), ["2024-05-06 00:00:00"] * 2),
        "date_then_timestamp": (pa.array([day.date()]), pa.array([day], pa.timestamp("us")), ["2024-05-06"] * 2),
        "timestamp_then_int32": (pa.array([day], pa.timestamp("us")), pa.array([7], pa.int32()), None),
        "null_then_int": (pa.nulls(1), pa.array([7]), None),
        "int_then_nulls_of_dates": (pa.array([7]), pa.nulls(1, pa.date32()), None),
    }
    for name, (*arrays, expected) in cases.items():
        (folder / name).mkdir()
        for i, array in enumerate(arrays):
            pq.write_table(pa.table({"text": ["x"], "id": array}), folder / name / f"train-{i}.parquet")
        if expected:
            assert [text for text, _ in ids_of(name, folder)] == expected, (name, ids_of(name, folder))
        else:
            done = engine(["inspect", name, "--rows=9", "--id-column=id"], folder)
            refused(done, f"{name}/train-1.parquet: row 0 (from 0): the id ", "while those of the first file are", "give the ids of all files one type")
    for name, first, expected in (("bool_then_int", True, [("True", 1), ("True", 1)]), ("date_then_int", "2024-05-01", None)):
        (folder / name).mkdir()
        write_jsonl(folder / name / "train-0.jsonl", [{"text": "a", "id": first}])
        write_jsonl(folder / name / "train-1.jsonl", [{"text": "b", "id": 7}])
        ids = ids_of(name, folder)
        assert ids == expected if expected else [t for t, _ in ids] == ["2024-05-01 00:00:00", "1970-01-01 00:00:07"], (name, ids)


def types_of_the_card(folder):
    """dataset_info gives the type, also of the first file; labels by name are not read."""
    write_jsonl(folder / "train.jsonl", [{"text": "a", "id": 7}])
    cases = {"string": ("7", None), "float32": ("7.0", 7), "timestamp[s]": ("1970-01-01 00:00:07", None), "int8": ("7", 7), "decimal128(20, 1)": ("7.0", None)}
    for dtype, (text, number) in cases.items():
        card = {"dataset_info": {"features": [{"name": "text", "dtype": "string"}, {"name": "id", "dtype": dtype}]}}
        (folder / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
        (got, example_id), = ids_of(".", folder)
        assert got == text and (number is None or example_id == number), (dtype, got, example_id)
    for dtype, said in (("date32", "is no date32, as dataset_info of the card has it"), ("image", "ids of the type 'image' are not supported")):
        card["dataset_info"]["features"][1]["dtype"] = dtype
        (folder / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
        refused(engine(["inspect", ".", "--rows=9", "--id-column=id"], folder), said)


def numbers_and_late_lines(folder):
    """10 and 11: integers among floats are rounded as there; lines behind 10 MB that would get another type are refused."""
    (folder / "a.jsonl").write_text('{"text": "a", "id": 9007199254740993}\n{"text": "b", "id": 1.5}\n')
    (folder / "a.json").write_text('[{"text": "a", "id": 9007199254740993}, {"text": "b", "id": null}]')
    assert ids_of("a.jsonl", folder)[0][1] == ids_of("a.json", folder)[0][1] == 2**53
    assert "9007199254740993 is 9007199254740992.0" in engine(["inspect", "a.jsonl", "--rows=9"], folder).stderr
    pad = "p" * 1000
    first = {"dates": "x", "integers": 1, "floats": 1.5, "null": None}
    late = {"dates": ("2024-05-01", "is a date, while those of the first 10 MB are not"), "integers": (2**53 + 1, "would round them"),
            "floats": (2**53 + 1, "above 2^53 among floats"), "null": (1, "is not null, while those of the first 10 MB are")}
    for name, (value, said) in late.items():
        rows = [{"text": pad, "id": first[name]}] * 11000 + [{"text": pad, "id": value}] * 12000 + [{"text": pad, "id": 2.0 if name == "integers" else value}]
        write_jsonl(folder / "late.jsonl", rows)
        refused(engine(["inspect", "late.jsonl", "--rows=9", "--split=train[22999:]", "--id-column=id"], folder), "late.jsonl", said)
    write_jsonl(folder / "late.jsonl", [{"text": pad, "id": "x"}] * 11000 + [{"text": pad, "id": "2024-05-01"}] * 5000 + [{"text": pad, "id": "y"}])
    assert ids_of("late.jsonl", folder, "--split=train[16000:]")[0][0] == "y"


if __name__ == "__main__":
    sys.exit(main("found: ids", [arrow_schema, later_files, types_of_the_card, numbers_and_late_lines]))
