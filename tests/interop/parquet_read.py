"""The Parquet reader against pyarrow: files of many kinds, every column compared value by value.

usage: parquet_read.py [SEED]          needs build/cpu/tests/test_parquet_read
       parquet_read.py make FOLDER     writes the tiny files of tests/data/parquet
"""
import datetime
import decimal
import json
import pathlib
import random
import struct
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from common import ROOT, main, number_asked

DUMP = ROOT / "build/cpu/tests/test_parquet_read"
CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]
EPOCH = datetime.datetime(1970, 1, 1)
SEED = number_asked(20240501)


def tiny_table(n=40):
    """What tests/test_parquet_read.c computes again, row by row."""
    rows = range(n)
    field = pa.struct([("s", pa.string()), ("k", pa.int32())])
    return pa.table({
        "i32": pa.array([i * 7919 % 1000 - 500 for i in rows], pa.int32()),
        "i64": pa.array([None if i % 4 == 1 else (i - 20) << 40 for i in rows], pa.int64()),
        "f32": pa.array([i / 4 for i in rows], pa.float32()),
        "f64": pa.array([i / 3 for i in rows], pa.float64()),
        "b": pa.array([None if i % 6 == 5 else i % 3 == 0 for i in rows]),
        "text": pa.array([None if i % 5 == 2 else f"text {i // 2} " * (i % 4) for i in rows]),
        "fixed": pa.array([struct.pack("<i", i) for i in rows], pa.binary(4)),
        "in": pa.array([None if i % 7 == 3 else {"s": None if i % 7 == 4 else f"in {i}", "k": i} for i in rows], field),
        "vector": pa.array([None if i == 9 else [i, i + .5, -i] for i in rows], pa.list_(pa.float32(), 3)),
        "many": pa.array([[i] * (i % 3) for i in rows], pa.list_(pa.int64())),
        "u8": pa.array([i for i in rows], pa.uint8()),
        "money": pa.array([decimal.Decimal(i).scaleb(-2) for i in rows], pa.decimal128(7, 2)),
        "when": pa.array([EPOCH + datetime.timedelta(days=i) for i in rows], pa.timestamp("us", "UTC")),
    })


def make(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    t = tiny_table()
    pq.write_table(t, folder / "v1.parquet", row_group_size=15, compression="snappy", data_page_size=64)
    pq.write_table(t, folder / "v2.parquet", compression="zstd", data_page_version="2.0", use_dictionary=False,
                   write_page_checksum=True, data_page_size=100, column_encoding={
                       "i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED", "f32": "BYTE_STREAM_SPLIT",
                       "f64": "BYTE_STREAM_SPLIT", "b": "RLE", "text": "DELTA_LENGTH_BYTE_ARRAY",
                       "fixed": "DELTA_BYTE_ARRAY", "in.s": "DELTA_BYTE_ARRAY",
                       "vector.list.element": "BYTE_STREAM_SPLIT"})
    small = t.select(["text", "i64", "vector"])
    for codec in ["none", "gzip", "brotli", "lz4"]:
        pq.write_table(small, folder / f"{codec}.parquet", compression=codec, store_schema=False)


# ---- comparing ----

def plain(value):
    """A value as `dump` prints it."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return "nan" if value != value else value.hex() if abs(value) != float("inf") else str(value)
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def parse(line):
    """The other way round: floats come as C's %a, whose digits are not Python's."""
    value = json.loads(line)

    def fix(v):
        if isinstance(v, list):
            return [fix(x) for x in v]
        if isinstance(v, dict) and "float" in v:
            f = float.fromhex(v["float"])
            return plain(f)
        return v
    return fix(value)


def dump(path, column, most=1000, skip=0, list_size=0):
    done = subprocess.run([str(DUMP), "dump", str(path), column, str(most), str(skip), str(list_size)],
                          capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{path.name} {column}: " + done.stdout.decode()[-300:] + done.stderr.decode()[-300:])
    return [parse(line) for line in done.stdout.decode().split("\n")[:-1]]


def check(path, column, expected, list_size=0):
    expected = [plain(v) for v in expected]
    for most, skip in [(1000, 0), (1, 0), (7, 0), (50000, len(expected) // 3), (9, max(len(expected) - 1, 0))]:
        if most < 10 and len(expected) > 5000:
            continue
        got = dump(path, column, most, skip, list_size)
        want = expected[skip:] if skip >= 0 else expected
        if got != want:
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            raise AssertionError(f"{path.name} {column}, {most} a batch after {skip}: row {at} of {len(want)} "
                                 f"({len(got)} read): {got[at:at + 1]} instead of {want[at:at + 1]}")


# ---- data ----

def maybe(r, share, make_one, n):
    return [None if r.random() < share else make_one() for _ in range(n)]


def word(r):
    return "".join(r.choice("abcdefgh éß本🙂\n\"\\") for _ in range(r.randrange(30)))


def column_kinds(r, n, nulls):
    """{name: (array, values as dump gives them)}"""
    out = {}

    def add(name, values, kind, as_dumped=lambda v: v):
        out[name] = (pa.array(values, kind), [None if v is None else as_dumped(v) for v in values])
    words = [word(r) for _ in range(20)]
    add("bool", maybe(r, nulls, lambda: r.random() < .5, n), pa.bool_())
    add("i8", maybe(r, nulls, lambda: r.randrange(-128, 128), n), pa.int8())
    add("i32", maybe(r, nulls, lambda: r.randrange(-2**31, 2**31), n), pa.int32())
    add("i64", maybe(r, nulls, lambda: r.randrange(-2**63, 2**63), n), pa.int64())
    add("near", maybe(r, nulls, lambda: r.randrange(1000), n), pa.int64())
    add("u64", maybe(r, nulls, lambda: r.randrange(2**64), n), pa.uint64(), lambda v: v - 2**64 if v >= 2**63 else v)
    add("f32", maybe(r, nulls, lambda: struct.unpack("f", struct.pack("f", r.gauss(0, 1e9)))[0], n), pa.float32())
    add("f64", maybe(r, nulls, lambda: r.choice([r.gauss(0, 1), float("inf"), float("nan"), -0.0]), n), pa.float64())
    add("text", maybe(r, nulls, lambda: word(r), n), pa.string())
    add("few", maybe(r, nulls, lambda: r.choice(words), n), pa.string())
    add("runs", [words[i * 7 // n] if n else "" for i in range(n)], pa.string())
    stem = word(r) * 20
    add("stem", maybe(r, nulls, lambda: stem[:r.randrange(400)] + word(r), n), pa.string())
    add("bytes", maybe(r, nulls, lambda: r.randbytes(r.randrange(9)) + b"\xff", n), pa.binary())
    add("fixed", maybe(r, nulls, lambda: r.randbytes(5), n), pa.binary(5))
    add("none", [None] * n, pa.string())
    add("vector", maybe(r, nulls, lambda: [r.randrange(999) / 8 for _ in range(4)], n), pa.list_(pa.float32(), 4))
    add("list", maybe(r, nulls, lambda: [r.randrange(9) / 2 for _ in range(4)], n), pa.list_(pa.float32()))
    inner = maybe(r, nulls, lambda: {"s": r.choice([None, word(r)]), "v": [1., 2., 3., r.random() > .5]}, n)
    kind = pa.struct([("s", pa.string()), ("v", pa.list_(pa.float32()))])
    out["deep"] = (pa.array(inner, kind), None)
    out["deep.s"] = (None, [None if v is None else v["s"] for v in inner])
    out["deep.v.list.element"] = (None, [None if v is None else [float(x) for x in v["v"]] for v in inner])
    return out


def write_and_check(path, kinds, **options):
    pq.write_table(pa.table({k: a for k, (a, _) in kinds.items() if a is not None}), path, **options)
    for name, (_, values) in kinds.items():
        if values is None:
            continue
        lists = name in ("vector", "list")
        check(path, name + ".list.element" if lists else name, values, 4 if lists or name.startswith("deep.v") else 0)
    return f"{len(kinds)} columns"


# ---- tests ----

def codec_test(codec, version):
    def test(folder):
        r = random.Random(SEED + CODECS.index(codec))
        return write_and_check(folder / f"{codec}.parquet", column_kinds(r, 700, .1), compression=codec,
                               data_page_version=version, data_page_size=r.choice([100, 1000, 10**6]),
                               row_group_size=r.choice([100, 699, 10**6]), write_page_checksum=r.random() < .5)
    test.__name__ = f"codec {codec}, pages {version}"
    return test


def encoding_test(version, nulls, size):
    def test(folder):
        r = random.Random(SEED)
        e = {"bool": "RLE", "i8": "DELTA_BINARY_PACKED", "i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED",
             "near": "DELTA_BINARY_PACKED", "u64": "BYTE_STREAM_SPLIT", "f32": "BYTE_STREAM_SPLIT",
             "f64": "BYTE_STREAM_SPLIT", "text": "DELTA_LENGTH_BYTE_ARRAY", "few": "DELTA_BYTE_ARRAY",
             "runs": "DELTA_LENGTH_BYTE_ARRAY", "stem": "DELTA_BYTE_ARRAY", "bytes": "DELTA_BYTE_ARRAY",
             "fixed": "BYTE_STREAM_SPLIT", "none": "DELTA_BYTE_ARRAY", "vector.list.element": "BYTE_STREAM_SPLIT"}
        one = write_and_check(folder / "a.parquet", column_kinds(r, size, nulls), use_dictionary=False,
                              column_encoding=e, data_page_version=version, data_page_size=3000, compression="zstd")
        two = write_and_check(folder / "b.parquet", column_kinds(r, size, nulls), use_dictionary=False,
                              column_encoding={"fixed": "DELTA_BYTE_ARRAY", "i32": "BYTE_STREAM_SPLIT",
                                               "none": "DELTA_LENGTH_BYTE_ARRAY"}, data_page_version=version)
        return f"{one} + {two}"
    test.__name__ = f"every encoding, pages {version}, {nulls} null, {size} rows"
    return test


def required_columns(folder):
    r = random.Random(SEED)
    kinds = {k: v for k, v in column_kinds(r, 500, 0).items() if k in ("bool", "i64", "f32", "text", "fixed")}
    schema = pa.schema([pa.field(k, a.type, nullable=False) for k, (a, _) in kinds.items()])
    for version in ("1.0", "2.0"):
        path = folder / f"r{version}.parquet"
        pq.write_table(pa.table([a for a, _ in kinds.values()], schema), path, data_page_version=version)
        for name, (_, values) in kinds.items():
            check(path, name, values)


def dictionary_overflow(folder):
    r = random.Random(SEED)
    return write_and_check(folder / "d.parquet", column_kinds(r, 3000, .2), dictionary_pagesize_limit=500,
                           data_page_size=2000)


def format_1_0(folder):
    r = random.Random(SEED)
    kinds = column_kinds(r, 300, .1)
    return write_and_check(folder / "old.parquet", kinds, version="1.0", use_deprecated_int96_timestamps=True)


def sizes(folder):
    for n in (0, 1, 2, 127, 128, 129, 1025):
        write_and_check(folder / f"n{n}.parquet", column_kinds(random.Random(n), n, .3), row_group_size=128) if n else \
            write_and_check(folder / "n0.parquet", column_kinds(random.Random(n), 0, .3))


def many_rows(folder):
    r = random.Random(SEED)
    n = 200_000
    kinds = {"i": (pa.array(range(n), pa.int64()), list(range(n)))}
    values = [None if i % 1000 == 7 else f"row {i}" for i in range(n)]
    kinds["text"] = (pa.array(values), values)
    return write_and_check(folder / "many.parquet", kinds, row_group_size=60_000)


def long_texts(folder):
    texts = ["x" * 10**i for i in range(7)] + ["本" * 10**6, "", None]
    return write_and_check(folder / "long.parquet", {"text": (pa.array(texts), texts)}, compression="snappy")


def refusals(folder):
    t = pa.table({"v": pa.array([[1., 2.], [3.]], pa.list_(pa.float32())), "i": [1, 2]})
    path = folder / "x.parquet"
    pq.write_table(t, path)
    for column, size, say in [("v.list.element", 2, "a list of 1 elements, not 2"), ("nothing", 0, "no column"),
                              ("v.list.element", 0, "is repeated (a list)"), ("i", 2, "is no list of 32-bit floats")]:
        try:
            dump(path, column, list_size=size)
        except RuntimeError as e:
            assert say in str(e) and "x.parquet" in str(e), e
        else:
            raise AssertionError(f"{column} is read")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(sys.argv[2])
        sys.exit(0)
    tests = [codec_test(c, v) for c in CODECS for v in ("1.0", "2.0")]
    tests += [encoding_test(v, nulls, n) for v in ("1.0", "2.0") for nulls, n in ((0, 600), (.3, 600), (.9, 2500))]
    tests += [required_columns, dictionary_overflow, format_1_0, sizes, many_rows, long_texts, refusals]
    sys.exit(main("parquet reader", tests))
