#!/usr/bin/env python3
"""Files of qkengine pass the strict reader (strict_footer.py) and hold what pyarrow reads; files damaged in any way do not pass.

Needs build/cpu/tests/test_parquet, which writes a file with every kind of column.
"""
import re
import struct
import sys

from common import main, make_workspace, parquet_sample as sample, run

import pyarrow as pa
import pyarrow.parquet as pq

from strict_footer import CREATED_BY, FLOAT, PLAIN, REQUIRED, SPLIT, STRUCTS, WIRE, Bad, Thrift, check, parse


def encode(name, fields, extra=None):
    """The other way round; `extra` is put before the end of the outermost struct."""
    out, last = bytearray(), 0

    def varint(n):
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        out.append(n)

    def put(kind, v):
        if isinstance(kind, tuple):
            wire = WIRE.get(kind[1], 12)
            if len(v) < 15:
                out.append(len(v) << 4 | wire)
            else:
                out.append(0xF0 | wire)
                varint(len(v))
            for item in v:
                put(kind[1], item)
        elif kind in STRUCTS:
            out.extend(encode(kind, v))
        elif kind in ("string", "binary"):
            raw = v.encode() if isinstance(v, str) else v
            varint(len(raw))
            out.extend(raw)
        else:
            varint(v << 1 if v >= 0 else (-v << 1) - 1)
    for field, (key, kind, _) in sorted(STRUCTS[name].items()):
        if key in fields:
            out.append((field - last) << 4 | (9 if isinstance(kind, tuple) else WIRE.get(kind, 12)))
            last = field
            put(kind, fields[key])
    return bytes(out + (extra or b"") + b"\0")


def rebuilt(data, footer, extra=None):
    raw = encode("FileMetaData", footer, extra)
    return data[:parse(data)[1]] + raw + len(raw).to_bytes(4, "little") + b"PAR1"


TEST_NAME = re.compile(r"test version 1")


def good_files_pass(folder):
    """Every column is also what pyarrow reads."""
    work = make_workspace(folder)
    for layout, way in (("branch", "byte_stream_split"), ("prefix", "plain")):
        done = run(work, f"output.data_root={layout}", f"output.layout={layout}", f"output.vector_encoding={way}")
        assert done.returncode == 0, done.stderr
    files = [(p, CREATED_BY) for p in sorted(work.rglob("final/**/*.parquet"))]
    files += [(sample(folder, n, way), TEST_NAME) for n in (0, 1, 2, 700, 1501) for way in ("split", "plain")]
    files.append((sample(folder, 120_000, "split", 100_000), TEST_NAME))   # chunks of several pages
    sums = {}
    for path, name in files:
        counts, columns = check(path, name)
        table = pq.read_table(path)
        for column, values in columns.items():
            got = table[column.split(".")[0]].to_pylist()
            if "." in column:
                values = [list(struct.unpack(f"<{len(v)}f", struct.pack(f"<{len(v)}I", *v))) for v in values]
            elif table.schema.field(column).type == pa.string():
                values = [v if v is None else v.decode() for v in values]
            assert repr(values) == repr(got), (path, column)   # repr: a NaN is itself
        for k, v in counts.items():
            sums[k] = sums.get(k, 0) + v
    return f"{len(files)} files: {sums}"


def column(footer, i, group=0):
    return footer["row_groups"][group]["columns"][i]["meta_data"]


def add(d, key, n=1):
    d[key] += n


DAMAGES = {   # what -> (change of the footer, what is said)
    "a version of 9": (lambda f: f.update(version=9), "version 9"),
    "no created_by": (lambda f: f.pop("created_by"), "created_by is None"),
    "a created_by of another form": (lambda f: f.update(created_by="test 1"), "created_by"),
    "no column orders": (lambda f: f.pop("column_orders"), "column_orders"),
    "one column order too few": (lambda f: f["column_orders"].pop(), "column_orders"),
    "num_rows + 1": (lambda f: add(f, "num_rows"), "num_rows is 1501"),
    "no Arrow schema": (lambda f: f["key_value_metadata"].pop(), "no ARROW:schema"),
    "a key twice": (lambda f: f["key_value_metadata"].append(f["key_value_metadata"][0]), "a key is there twice"),
    "a renamed column": (lambda f: f["schema"][1].update(name="smell"), "path or type is not the schema's"),
    "a required column": (lambda f: f["schema"][1].update(repetition_type=REQUIRED), ""),
    "another type": (lambda f: f["schema"][2].update(type=FLOAT), "path or type"),
    "a string that says no type": (lambda f: [f["schema"][5].pop("logicalType"), f["schema"][5].pop("converted_type")], "does not say so"),
    "only the old type": (lambda f: f["schema"][5].pop("logicalType"), "not its logicalType"),
    "children + 1": (lambda f: add(f["schema"][0], "num_children"), "num_children runs past the end"),
    "a row group less": (lambda f: f["row_groups"].pop(), "bytes between the pages and the footer"),
    "row groups in another order": (lambda f: f["row_groups"].reverse(), "ordinal or file_offset"),
    "an ordinal of 5": (lambda f: f["row_groups"][1].update(ordinal=5), "ordinal"),
    "file_offset + 1": (lambda f: add(f["row_groups"][1], "file_offset"), "file_offset"),
    "total_byte_size - 1": (lambda f: add(f["row_groups"][0], "total_byte_size", -1), "total_byte_size"),
    "total_compressed_size + 1": (lambda f: add(f["row_groups"][0], "total_compressed_size"), "total_compressed_size"),
    "rows of a group - 1": (lambda f: add(f["row_groups"][0], "num_rows", -1), "rows: 700 instead of 699"),
    "columns in another order": (lambda f: f["row_groups"][0]["columns"].reverse(), "path or type"),
    "a chunk's file_offset of 4": (lambda f: f["row_groups"][0]["columns"][0].update(file_offset=4), "file_offset is not 0"),
    "a chunk without metadata": (lambda f: f["row_groups"][0]["columns"][0].pop("meta_data"), "no meta_data"),
    "codec snappy": (lambda f: column(f, 0).update(codec=1), "codec 1"),
    "num_values + 1": (lambda f: add(column(f, 5), "num_values"), "num_values is 3501 instead of 3500"),
    "a chunk's size + 1": (lambda f: add(column(f, 0), "total_compressed_size"), ""),
    "a chunk's plain size + 1": (lambda f: add(column(f, 0), "total_uncompressed_size"), "total_uncompressed_size"),
    "data_page_offset + 1": (lambda f: add(column(f, 0), "data_page_offset"), "data_page_offset"),
    "data_page_offset at the dictionary": (lambda f: column(f, 0).update(data_page_offset=4), "data_page_offset"),
    "no dictionary_page_offset": (lambda f: column(f, 0).pop("dictionary_page_offset"), "dictionary_page_offset"),
    "an encoding more": (lambda f: column(f, 5)["encodings"].append(PLAIN), "encodings"),
    "an encoding twice": (lambda f: column(f, 5)["encodings"].append(SPLIT), "encodings"),
    "an encoding less": (lambda f: column(f, 5)["encodings"].pop(), "encodings"),
    "an encoding that is none": (lambda f: column(f, 5)["encodings"].append(1), "1 is no Encoding"),
    "null_count + 1": (lambda f: add(column(f, 0)["statistics"], "null_count"), "null_count"),
    "no null_count": (lambda f: column(f, 5)["statistics"].pop("null_count"), "null_count is None"),
    "another min": (lambda f: column(f, 1)["statistics"].update(min_value=struct.pack("<i", 1)), "min and max"),
    "another max": (lambda f: column(f, 4)["statistics"].update(max_value=b"zz"), "min and max"),
    "a min without a max": (lambda f: column(f, 1)["statistics"].pop("max_value"), "one of min and max"),
    "no min and max": (lambda f: [column(f, 2)["statistics"].pop(k) for k in ("min_value", "max_value")], "no min and max"),
    "a min of floats": (lambda f: column(f, 5)["statistics"].update(min_value=b"1234", max_value=b"1234"), "a min of nothing"),
    "no num_rows": (lambda f: f.pop("num_rows"), "lacks num_rows"),
    "no path": (lambda f: column(f, 0).pop("path_in_schema"), "lacks path_in_schema"),
}
ADDED = {   # bytes at the end of the footer's struct, behind field 7
    "an unknown field": (b"\x15\x02", "has no field 8"),
    "a field id in the long form": (b"\x05\x0E\x02", "in the long form"),
    "a field of another type": (b"\x25\x02", "has no field 9"),
}


def refuses(data, say):
    try:
        check(data, TEST_NAME)
    except Bad as e:
        assert say in str(e), (say, str(e))
        return True
    return False


def damaged_footers_are_refused(folder):
    data = sample(folder).read_bytes()
    assert rebuilt(data, parse(data)[0]) == data, "encoding the footer again gives other bytes"
    for what, (change, say) in DAMAGES.items():
        footer = parse(data)[0]
        change(footer)
        assert refuses(rebuilt(data, footer), say), what
    for what, (more, say) in ADDED.items():
        assert refuses(rebuilt(data, parse(data)[0], more), say), what
    at = parse(data)[1]
    assert data[at:at + 2] == b"\x15\x04"   # version 2, now in two bytes
    longer = data[:at + 1] + b"\x84\x00" + data[at + 2:-8] + (int.from_bytes(data[-8:-4], "little") + 1).to_bytes(4, "little") + b"PAR1"
    assert refuses(longer, "longer than it need be")
    return f"{len(DAMAGES) + len(ADDED) + 1} kinds"


def damaged_pages_are_refused(folder):
    """The first data page of a column behind an unchanged checksum, whose header says something else."""
    data = sample(folder, 400).read_bytes()
    footer, _ = parse(data)
    said = 0
    for i, changes in {0: ({"num_values": 399}, {"encoding": 5}, {"definition_level_encoding": 4}),
                       2: ({"encoding": 5}, {"num_values": 401}),
                       5: ({"encoding": PLAIN}, {"repetition_level_encoding": 0}, {"num_values": 1999})}.items():
        for change in changes:
            at = column(footer, i)["data_page_offset"]
            t = Thrift(data, at, len(data))
            header = t.struct("PageHeader", "page")
            header["data_page_header"] |= change
            raw = encode("PageHeader", header)
            if len(raw) != t.at - at:
                continue
            said += 1
            if i == 5 and change == {"encoding": PLAIN}:   # as many bytes: only the footer's list tells
                assert refuses(data[:at] + raw + data[t.at:], "encodings"), (i, change)
            else:
                assert refuses(data[:at] + raw + data[t.at:], ""), (i, change)
    assert said >= 7, said
    return f"{said} kinds"


def any_changed_byte_is_noticed(folder):
    """Each byte of two small files, one bit changed; only free text that nothing else tells may pass: the root's name, a version number,
    a key and its value, and what pads the Arrow schema (a flatbuffer in base64), which is still the same schema."""
    free_text, passed, tried = ("schema", "key", "value", "1"), 0, 0
    for way in ("split", "plain"):
        data = bytearray(sample(folder, 30, way).read_bytes())
        at = parse(data)[1]
        free = {data.index(len(t).to_bytes(1, "little") + t.encode(), at) + 1 + i for t in free_text[:3] for i in range(len(t))}
        free.add(data.rindex(b"test version 1") + len("test version "))
        arrow = data.index(b"ARROW:schema", at) + len("ARROW:schema") + 3
        padding = range(arrow, data.index(b"test version 1"))
        for at in range(len(data)):
            data[at] ^= 1 << at * 5 % 8
            tried += 1
            if not refuses(bytes(data), ""):
                assert at in free or at in padding, (at, bytes(data[max(at - 8, 0):at + 8]))
                passed += 1
            data[at] ^= 1 << at * 5 % 8
    return f"{tried} bytes, {passed} of them in free text and not told"


if __name__ == "__main__":
    sys.exit(main("strict footer", [good_files_pass, damaged_footers_are_refused, damaged_pages_are_refused, any_changed_byte_is_noticed]))
