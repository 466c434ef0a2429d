#!/usr/bin/env python3
"""Parquet of old writers: what each is known to do wrong, in files written byte by byte. What pyarrow reads is read alike where it is
sure what was meant; the rest is refused with the writer's name and a way out, never as a file to be fetched again.

usage: parquet_old_writers.py
       parquet_old_writers.py make FOLDER     writes the files of tests/data/parquet/old
"""
import json
import pathlib
import random
import subprocess
import sys

import pyarrow.parquet as pq

from common import ROOT, engine, main
from parquet_bytes import (BIT_PACKED, BYTE_ARRAY, DELTA_BYTE_ARRAY, GZIP, I64, IDS, INT64, LZO, OPTIONAL, REPEATED, REQUIRED, SNAPPY, TEXTS,
                           ZSTD, Column, File, Page, Wire, data_page, data_page_v2, dictionary_pages, file, varint, zigzag)

ROWS = list(zip(TEXTS, IDS))
ARROW_2 = "parquet-cpp version 1.5.1-SNAPSHOT"
MR_1_2 = "parquet-mr version 1.2.8 (build ${buildNumber})"
AGAIN = "fetch it again"


def v2(created_by, codec=SNAPPY, flag=False):
    pages = [data_page_v2(TEXTS, True)], [data_page_v2(IDS)]
    for page, in pages:
        if flag is not None:
            page.header[7] = flag
    return file(*pages, codec=codec, optional=True, created_by=created_by)


def short(created_by, by=13):
    """The size of the text's chunk lacks some bytes, as the header of a dictionary page."""
    f = file(dictionary_pages(TEXTS), created_by=created_by)
    f.columns[0].meta[7] = I64(f.columns[0].meta[7] - by)
    return f


def pairs(*values):
    f = file(created_by="fastparquet-python version 0.8.2")
    f.footer[5] = [{1: "first", 2: "a string"}] + [{1: "n", 2: v} for v in values]
    return f


def with_node(node, at=1):
    f = file()
    f.nodes[at:at] = node if isinstance(node, list) else [node]
    return f


def footer_says(rows, **more):
    f = file(**more)
    f.footer[3] = I64(rows)
    return f


def at(path, columns=(0, 1)):
    f = file()
    for i in columns:
        f.columns[i].chunk[1] = path
    return f


def named(path, column=0):
    f = file()
    f.columns[column].meta[3] = path
    return f


def without_name():
    f = file()
    del f.columns[0].meta[3]
    return f


def change(part, field, value, **more):
    """A field of one of the structs of the text column, or of the footer, with another value; None: left out."""
    f = file(**more)
    place = {"chunk": f.columns[0].chunk, "meta": f.columns[0].meta, "node": f.nodes[0], "footer": f.footer, "group": f.group}[part]
    place.pop(field, None)
    if value is not None:
        place[field] = value
    return f


def header(field, value, make=data_page, crc=False):
    page = make(TEXTS)
    page.crc = crc
    page.more[field] = value
    return file([page])


def level_encoding(encoding, optional, field=3):
    page = data_page(TEXTS, optional)
    page.header[field] = encoding
    return file([page], optional=optional)


def bit_packed():
    page = data_page(TEXTS)
    page.header[3], page.body = BIT_PACKED, b"\xfc" + page.body
    return file([page], optional=True, created_by="parquet-mr")


def unknown_only():
    f = file([Page(9, {}, b"xxxx")])
    f.columns[0].meta[5] = I64(6)
    return f


def between(page):
    return file([data_page(TEXTS[:3]), page, data_page(TEXTS[3:])])


def delta_lengths(numbers):
    """DELTA_BINARY_PACKED in one block of 128, 8 bits a delta."""
    deltas = [b - a for a, b in zip(numbers, numbers[1:])]
    least = min(deltas, default=0)
    body = bytes(d - least for d in deltas) + bytes(-len(deltas) % 32)
    return varint(128) + varint(4) + varint(len(numbers)) + zigzag(numbers[0]) + (zigzag(least) + b"\x08\0\0\0" + body if deltas else b"")


def shared_strings(values, before):
    """A page of DELTA_BYTE_ARRAY whose first value goes on from the one `before` it."""
    shared = []
    for value in values:
        n = 0
        while n < min(len(before), len(value)) and before[n] == value[n]:
            n += 1
        shared, before = shared + [n], value
    rest = [v[n:] for v, n in zip(values, shared)]
    return data_page(values, encoding=DELTA_BYTE_ARRAY, body=delta_lengths(shared) + delta_lengths([len(r) for r in rest]) + "".join(rest).encode())


def from_page_to_page(created_by, carried):
    texts = ["alpha one", "alpha two", "alpha", "alpha three", "alpha four", "alp"]
    return file([shared_strings(texts[:3], ""), shared_strings(texts[3:], texts[2] if carried else "")], created_by=created_by, texts=texts)


def two_texts(paths):
    f = File([Column("text", BYTE_ARRAY, [data_page(TEXTS)]), Column("other", BYTE_ARRAY, [data_page(TEXTS[::-1])]),
              Column("id", INT64, [data_page(IDS)])], 6)
    for column, path in zip(f.columns, paths):
        column.meta[3] = [path]
    return f


def damaged(created_by, codec=ZSTD):
    page = data_page_v2(TEXTS, True)
    page.header[7] = True
    page.stored = b"\x28\xb5\x2f\xfdno frame of zstd"
    return file([page], codec=codec, optional=True, created_by=created_by)


def wrong_crc(created_by):
    page = data_page(TEXTS)
    page.more[4] = 5
    return file([page], created_by=created_by)


GROUP = {3: OPTIONAL, 4: "empty", 5: 0}
STRUCT = Wire(12, b"\x15\x02\0")
# The seven of published files: what pyarrow reads, and so do we.
SEVEN = {
    "v2_flag_false": lambda: v2(ARROW_2),
    "chunk_size_short": lambda: short(MR_1_2),
    "metadata_not_text": lambda: pairs(5, I64(7), True, False, 1.5, STRUCT),
    "group_without_fields": lambda: with_node(GROUP),
    "footer_rows_0": lambda: footer_says(0),
    "file_path_empty": lambda: at(""),
    "old_column_name": lambda: named(["old_text"]),
}
ALIKE = {
    **SEVEN,
    "v2 marked plain, parquet-cpp 1.3.2": lambda: v2("parquet-cpp version 1.3.2-SNAPSHOT"),
    "v2 marked plain, parquet-cpp": lambda: v2("parquet-cpp"),
    "v2 marked plain, gzip": lambda: v2(ARROW_2, GZIP),
    "v2 marked plain, and plain": lambda: v2(ARROW_2, 0),
    "v2 marked packed": lambda: v2(ARROW_2, ZSTD, True),
    "v2 not marked": lambda: v2("parquet-cpp-arrow version 20.0.0", ZSTD, None),
    "v2 marked with a number": lambda: v2("x", SNAPPY, 0),
    "short chunk, no version": lambda: short("parquet-mr"),
    "short chunk, 1.2": lambda: short("parquet-mr version 1.2"),
    "short chunk, by 5": lambda: short(MR_1_2, 5),
    "short chunk, by 50": lambda: short(MR_1_2, 50),
    **{f"metadata is thrift {kind}": lambda kind=kind, data=data: pairs(Wire(kind, data))
       for kind, data in [(1, b""), (2, b""), (3, b"x"), (4, b"\4"), (5, b"\4"), (6, b"\4"), (7, bytes(8)), (9, b"\x15\2"), (10, b"\x15\2"),
                          (11, b"\0"), (11, b"\1\x88\1a\1b"), (12, b"\x15\2\0")]},
    "metadata is a number": lambda: change("footer", 5, I64(3)),
    "created_by is a number": lambda: change("footer", 6, I64(3)),
    "no created_by": lambda: file(created_by=None),
    "empty created_by": lambda: file(created_by=""),
    "required group without fields": lambda: with_node({**GROUP, 3: REQUIRED}),
    "repeated group without fields": lambda: with_node({**GROUP, 3: REPEATED}),
    "group without fields, last": lambda: with_node(GROUP, 2),
    "group without fields in another": lambda: with_node([{3: OPTIONAL, 4: "outer", 5: 1}, GROUP]),
    "group without anything": lambda: with_node({3: OPTIONAL, 4: "empty"}),
    "file_path is the file": lambda: at("a.parquet"),
    "file_path is ./ the file": lambda: at("./a.parquet"),
    "file_path is a number": lambda: at(I64(3)),
    "name of no column": lambda: named(["a", "b", "c"]),
    "empty name": lambda: named([""]),
    "dictionary_page_offset 0": lambda: change("meta", 11, I64(0)),
    "dictionary_page_offset of the data": lambda: change("meta", 11, I64(4)),
    "dictionary_page_offset is i32": lambda: change("meta", 11, 4),
    "offset of the dictionary only": lambda: dictionary_offset(),
    "statistics are a number": lambda: change("meta", 12, I64(3)),
    "null_count is i32": lambda: change("meta", 12, {3: 0, 5: "z", 6: "a"}),
    "min_value is a number": lambda: change("meta", 12, {3: I64(0), 5: I64(1), 6: I64(1)}),
    "crc is i64": lambda: header(4, I64(5)),
    "crc is right": lambda: header(1, 0, crc=True),
    "encodings are i64": lambda: change("meta", 2, [I64(0), I64(3)], created_by="fastparquet-python version 1.0.0 (build 111)"),
    "scale is a string": lambda: change("node", 7, "x"),
    "type_length is i64": lambda: change("node", 2, I64(3)),
    "logicalType is a number": lambda: change("node", 10, 3),
    "levels BIT_PACKED that are not there": lambda: level_encoding(BIT_PACKED, False),
    "repetition BIT_PACKED that is not there": lambda: level_encoding(BIT_PACKED, True, 4),
    "page without values": lambda: between(data_page([])),
    "page of an unknown type": lambda: between(Page(9, {}, b"xxxx")),
    "index page": lambda: between(Page(1, {}, b"xxxx")),
    "DELTA_BYTE_ARRAY, each page on its own": lambda: from_page_to_page("parquet-mr version 1.7.0", False),
    "root is repeated": lambda: rooted({3: REPEATED}),
    "root has a type": lambda: rooted({1: INT64}),
    "another chunk with the same name": lambda: two_texts(("text", "text")),
}
# Where pyarrow loses rows without a word (its own error), or wants more of the footer than reading takes.
HERE_ONLY = {
    "first page without values": lambda: file([data_page([]), data_page(TEXTS)]),
    "no path_in_schema": lambda: without_name(),
}
REFUSED = {
    # (file, words of the message; the writer is in each hint, and no "fetch it again")
    "v2 marked plain, another writer": (lambda: v2("parquet-rs version 0.1.0"), "an uncompressed page has"),
    "v2 marked plain, Arrow 4": (lambda: v2("parquet-cpp-arrow version 4.0.0"), "an uncompressed page has"),
    "v2 marked plain, parquet-cpp 2": (lambda: v2("parquet-cpp version 2.0.0"), "an uncompressed page has"),
    "short chunk, 1.2.9": (lambda: short("parquet-mr version 1.2.9"), "runs past its column chunk"),
    "short chunk, 1.10": (lambda: short("parquet-mr version 1.10.0 (build x)"), "runs past its column chunk"),
    "short chunk, other letters": (lambda: short("Parquet-MR version 1.2.8"), "runs past its column chunk"),
    "short chunk, not the whole name": (lambda: short("my parquet-mr version 1.2.8"), "runs past its column chunk"),
    "short chunk, by more than it has": (lambda: short(MR_1_2, 200), "the size of the column chunk is negative"),
    "size 0": (lambda: change("meta", 7, I64(0)), "the column ends after 0 of 6 values"),
    "size -1": (lambda: change("meta", 7, I64(-1)), "the size of the column chunk is negative"),
    "size 10**6": (lambda: change("meta", 7, I64(10**6)), "runs into the footer"),
    "key is a number": (lambda: change("footer", 5, [{1: 5, 2: "x"}]), "a metadata key has the wrong thrift type 5"),
    "no num_rows": (lambda: change("footer", 3, None), "the footer has no num_rows"),
    "num_rows is i32": (lambda: change("footer", 3, 6), "num_rows has the wrong thrift type 5"),
    "num_rows 5": (lambda: footer_says(5), "num_rows is 5, but its row groups have 6"),
    "num_rows -1": (lambda: footer_says(-1), "a negative row count"),
    "num_rows 2**62": (lambda: footer_says(2**62), "but its row groups have 6"),
    "row group without num_rows": (lambda: change("group", 3, None), "row group 0 has no num_rows"),
    "row group of 0 rows": (lambda: change("group", 3, I64(0)), "its row groups have 0"),
    "row group without columns": (lambda: no_columns(), "0 column chunks for 2 columns"),
    "other file": (lambda: at("b.parquet"), "is in another file ('b.parquet')"),
    "file of another folder": (lambda: at("d/a.parquet"), "is in another file ('d/a.parquet')"),
    "file outside": (lambda: at("../a.parquet"), "is in another file ('../a.parquet')"),
    "a part of the name": (lambda: at("parquet"), "is in another file ('parquet')"),
    "another column's name": (lambda: two_texts(("other", "text")), "the column chunk is that of 'other'"),
    "another type": (lambda: change("meta", 1, INT64), "the column chunk says INT64, the schema BYTE_ARRAY"),
    "num_values 5": (lambda: change("meta", 5, I64(5)), "5 values for 6 rows"),
    "LZO": (lambda: change("meta", 4, LZO), "LZO compression is not supported"),
    "codec is i64": (lambda: change("meta", 4, I64(0)), "codec has the wrong thrift type 6"),
    "levels BIT_PACKED": (bit_packed, "BIT_PACKED are not supported"),
    "page of type -1": (lambda: between(Page(-1, {}, b"xxxx")), "unknown page type -1"),
    "pages of unknown types only": (unknown_only, "the column ends after 0 of 6 values"),
    "DELTA_BYTE_ARRAY, from page to page": (lambda: from_page_to_page("parquet-mr version 1.7.0", True), "a prefix of 5 bytes"),
    "encrypted column": (lambda: change("chunk", 8, {1: {}}), "the column is encrypted"),
}


def dictionary_offset():
    f = file(dictionary_pages(TEXTS))
    f.columns[0].meta[9] = f.columns[0].meta.pop(11)
    return f


def rooted(more):
    f = file()
    f.footer[2] = [{4: "schema", 5: 2, **more}, *f.nodes]
    return f


def no_columns():
    f = file()
    f.group[1] = [c.chunk for c in f.columns]
    f.footer[4] = [f.group, {1: [], 2: I64(0), 3: I64(0)}]
    return f


# ---- reading ----

def write(folder, made, name="a.parquet"):
    path = folder / name
    path.write_bytes(made.bytes())
    return path


def inspect(path, rows=6):
    return engine(["inspect", path, "--rows", rows, "--text-column", "text", "--id-column", "id", "--json"], path.parent)


def rows_of(path):
    done = inspect(path)
    assert done.returncode == 0, (path, done.stderr)
    return [(r["text"], r["example_id"]) for r in json.loads(done.stdout)["configs"]["default"]["rows"]]


def rows_of_arrow(path):
    columns = pq.ParquetFile(path).read(columns=["text", "id"], use_threads=False)
    return list(zip(columns.column("text").to_pylist(), columns.column("id").to_pylist()))


def expected(name):
    return list(zip(["alpha one", "alpha two", "alpha", "alpha three", "alpha four", "alp"], IDS)) if "DELTA_BYTE_ARRAY" in name else ROWS


def read_alike(folder):
    """Six rows each, the same as pyarrow's."""
    for name, make in ALIKE.items():
        path = write(folder, make())
        assert rows_of(path) == expected(name), name
        assert rows_of_arrow(path) == expected(name), name
    return f"{len(ALIKE)} files"


def read_here_only(folder):
    for name, make in HERE_ONLY.items():
        assert rows_of(write(folder, make())) == ROWS, name
    return f"{len(HERE_ONLY)} files"


def refused_by_name(folder):
    """A message that names file and cause, a hint that names the writer, and nothing that cannot help."""
    for name, (make, words) in REFUSED.items():
        f = make()
        done = inspect(write(folder, f))
        assert done.returncode == 1 and words in done.stderr and "a.parquet: " in done.stderr, (name, done.returncode, done.stderr)
        assert AGAIN not in done.stderr, (name, done.stderr)
        hints = done.stderr.split("\n", 1)[1]
        own = any(word in hints for word in ("parquet-java", "encryption", "name the files", "snappy"))
        assert own or f"written by '{f.footer[6][:60]}" in hints and "pyarrow.parquet" in hints, (name, done.stderr)
    return f"{len(REFUSED)} files"


def true_damage(folder):
    """Here fetching again helps; but of an old writer it may also be the writer's doing."""
    for make in (damaged, wrong_crc):
        new, old = (inspect(write(folder, make(by))).stderr for by in ("parquet-cpp-arrow version 20.0.0", ARROW_2))
        assert AGAIN in new and "pyarrow.parquet" not in new, new
        assert AGAIN in old and f"'{ARROW_2}' wrote it so" in old and "pyarrow.parquet" in old, old
    cut = file().bytes()
    for n in (8, 30, len(cut) - 9):
        path = folder / "cut.parquet"
        path.write_bytes(cut[:n])
        done = inspect(path)
        assert done.returncode == 1 and ("cut short" in done.stderr or AGAIN in done.stderr), done.stderr
    for footer in (cut[:-60] + bytes(52) + cut[-8:], pairs(Wire(14)).bytes()):   # zeros in it; a type that is none
        path.write_bytes(footer)
        done = inspect(path)
        assert done.returncode == 1, done.stderr
    assert "unknown thrift type 14" in done.stderr and AGAIN in done.stderr, done.stderr


def names_of_writers_are_shown(folder):
    """created_by comes with the file: it is shown on one line, and not in full when it is long."""
    for name in ("evil\n\x1b[31mred", "x" * 10**6, "é" * 59, "\xff\u202e", "' ; rm -rf ."):
        f = footer_says(5, created_by=name)
        done = inspect(write(folder, f))
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 2 and len(done.stderr) < 1500, done.stderr[:2000]
        assert "\x1b" not in done.stderr and "\u202e" not in done.stderr, done.stderr


def rewriting_helps(folder):
    """The command of the hint, on a file that pyarrow reads and we do not."""
    path = write(folder, footer_says(5), "OLD.parquet")
    done = inspect(path)
    assert done.returncode == 1
    command = done.stderr[done.stderr.index("python3 -c '") + len("python3 -c '"):done.stderr.rindex("'")]
    subprocess.run([sys.executable, "-c", command], cwd=folder, check=True)
    assert rows_of(folder / "NEW.parquet") == ROWS


def no_other_file_is_opened(folder):
    """A file_path leads nowhere, though there is such a file."""
    write(folder, file(texts=["secret"] * 6), "b.parquet")
    done = inspect(write(folder, at("b.parquet")))
    assert done.returncode == 1 and "secret" not in done.stdout + done.stderr
    (folder / "b.parquet").unlink()
    folder_and_name = write(folder, at(f"{folder.name}/a.parquet"))
    assert rows_of(folder_and_name) == ROWS


def rows_that_are_not_there(folder):
    """num_rows 0 does not make the counts of row groups true: nothing is allocated for them."""
    for rows in (2**31, 2**60, 2**63 - 1):
        f = footer_says(0)
        f.group[3] = I64(rows)
        for c in f.columns:
            c.meta[5] = I64(rows)
        done = subprocess.run(["sh", "-c", f"ulimit -v 2000000; exec {ROOT}/qkengine inspect a.parquet --rows 10 --text-column text --id-column id"],
                              cwd=write(folder, f).parent, capture_output=True, text=True)
        assert done.returncode == 1 and f"the column ends after 6 of {rows} values" in done.stderr, done.stderr
    f = footer_says(0)
    f.group[1] = [c.chunk for c in f.columns]
    f.footer[4] = [{**f.group, 3: I64(2**62)} for _ in range(3)]
    done = inspect(write(folder, f))
    assert done.returncode == 1 and "over 2^63 rows" in done.stderr, done.stderr


def rows_of_several_files(folder):
    """Their sum is a number, too; of it come the rows that a slice takes."""
    def huge():
        f = file()
        f.group[3] = f.footer[3] = I64(2**62)
        for c in f.columns:
            c.meta[5] = I64(2**62)
        return f
    write(folder, file(), "a.parquet")
    write(folder, huge(), "b.parquet")
    write(folder, huge(), "c.parquet")
    for split in ("train[-3:]", "train[:50%]"):
        done = engine(["inspect", folder, "--split", split, "--text-column", "text"], folder)
        assert done.returncode == 1 and "over 2^63 rows" in done.stderr, (split, done.stderr)


def sizes_that_lead_into_the_footer(folder):
    """What is added to the chunk sizes of old parquet-mr ends where the footer begins."""
    for codec in (0, SNAPPY):
        f = file(dictionary_pages(TEXTS), codec=codec, created_by=MR_1_2)
        last = f.columns[1].meta
        last[7] = I64(last[7] - 3)
        assert rows_of(write(folder, f)) == ROWS
        page = f.columns[1].pages[0]
        page.more[3] = len(page.body) + 40   # says that it goes on into the footer
        done = inspect(write(folder, file(dictionary_pages(TEXTS), [page], codec, created_by=MR_1_2)))
        assert done.returncode == 1 and "runs past its column chunk" in done.stderr, (done.stdout, done.stderr)


def groups_in_groups(folder):
    """Deep and wide, without a column: an end, not a crash."""
    for nodes, status in ([[{3: OPTIONAL, 4: "g", 5: 1}] * 200 + [GROUP], 1], [[GROUP] * 50000, 0], [[{4: "g", 5: 2**31 - 1}], 1], [[{4: "g", 5: -1}], 1]):
        f = file()
        f.nodes[1:1] = nodes
        f.footer[2] = [{4: "schema", 5: 3 if len(nodes) < 50000 else 2 + len(nodes)}, *f.nodes]
        done = inspect(write(folder, f))
        assert done.returncode == status, (len(nodes), done.returncode, done.stderr)


def bytes_changed(folder):
    """Any byte of the seven files, changed: rows or an error, never a signal; run under few bytes of memory."""
    rng, n = random.Random(3), 0
    for name, make in SEVEN.items():
        whole = make().bytes()
        for _ in range(25):
            b = bytearray(whole)
            for _ in range(rng.choice([1, 1, 2, 4])):
                b[rng.randrange(4, len(b) - 4)] = rng.choice([0, 1, 255, rng.randrange(256)])
            path = folder / "a.parquet"
            path.write_bytes(b)
            done = inspect(path)
            assert done.returncode in (0, 1), (name, done.returncode, b.hex())
            n += 1
    return f"{n} files"


def a_run(folder):
    """The seven as one dataset: the same rows as the same texts in JSON lines."""
    for i, make in enumerate(SEVEN.values()):
        write(folder, make(), f"part-{i}.parquet")
    done = engine(["inspect", folder, "--rows", 42, "--text-column", "text", "--id-column", "id", "--json"], folder)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["configs"]["default"]["rows"]
    assert [(r["text"], r["example_id"]) for r in rows] == ROWS * 7, rows


def make(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, build in SEVEN.items():
        write(folder, build(), f"{name}.parquet")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]))
        sys.exit(0)
    sys.exit(main("parquet of old writers", [read_alike, read_here_only, refused_by_name, true_damage, names_of_writers_are_shown, rewriting_helps,
                                             no_other_file_is_opened, rows_that_are_not_there, rows_of_several_files, sizes_that_lead_into_the_footer,
                                             groups_in_groups, bytes_changed, a_run]))
