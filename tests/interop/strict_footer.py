#!/usr/bin/env python3
"""A strict reader of Parquet files, written from the format's specification alone: it refuses what other readers let pass.

    check(path) -> {what: how many were checked};  raises Bad with the place and the reason

Thrift compact protocol (shortest varints, ascending field ids, no unknown field, every required one), the schema tree, row groups and
chunks without gaps from byte 4 to the footer, every page: header, CRC-32, zstd, levels, values; and that the footer's sizes, counts,
encodings and statistics are those of the pages. It knows the types and encodings that qkengine writes and refuses others.
Source: apache/parquet-format (parquet.thrift, Encodings.md, README.md), Apache Thrift's "Thrift Compact protocol".

usage: strict_footer.py FILE...        strict_footer_test.py damages files and looks whether it tells
"""
import base64
import pathlib
import re
import struct
import sys
import zlib

import pyarrow as pa


class Bad(Exception):
    pass


def need(ok, *why):
    if not ok:
        raise Bad(" ".join(str(w) for w in why))


# ---- parquet.thrift: struct -> {field id: (name, type, required)}; a type is a word, ("list", type), or a struct's name ----

ENUMS = {"Type": range(8), "Repetition": range(3), "Converted": range(22), "Encoding": (0, 2, 3, 4, 5, 6, 7, 8, 9), "Codec": range(8),
         "PageType": range(4)}
STRUCTS = {
    "FileMetaData": {1: ("version", "i32", True), 2: ("schema", ("list", "SchemaElement"), True), 3: ("num_rows", "i64", True),
                     4: ("row_groups", ("list", "RowGroup"), True), 5: ("key_value_metadata", ("list", "KeyValue"), False),
                     6: ("created_by", "string", False), 7: ("column_orders", ("list", "ColumnOrder"), False)},
    "SchemaElement": {1: ("type", "Type", False), 2: ("type_length", "i32", False), 3: ("repetition_type", "Repetition", False),
                      4: ("name", "string", True), 5: ("num_children", "i32", False), 6: ("converted_type", "Converted", False),
                      7: ("scale", "i32", False), 8: ("precision", "i32", False), 9: ("field_id", "i32", False),
                      10: ("logicalType", "LogicalType", False)},
    "LogicalType": {1: ("STRING", "Empty", False), 3: ("LIST", "Empty", False)},   # a union: exactly one
    "ColumnOrder": {1: ("TYPE_ORDER", "Empty", False)},                            # a union
    "Empty": {},
    "KeyValue": {1: ("key", "string", True), 2: ("value", "string", False)},
    "RowGroup": {1: ("columns", ("list", "ColumnChunk"), True), 2: ("total_byte_size", "i64", True), 3: ("num_rows", "i64", True),
                 5: ("file_offset", "i64", False), 6: ("total_compressed_size", "i64", False), 7: ("ordinal", "i16", False)},
    "ColumnChunk": {2: ("file_offset", "i64", True), 3: ("meta_data", "ColumnMetaData", False)},
    "ColumnMetaData": {1: ("type", "Type", True), 2: ("encodings", ("list", "Encoding"), True),
                       3: ("path_in_schema", ("list", "string"), True), 4: ("codec", "Codec", True), 5: ("num_values", "i64", True),
                       6: ("total_uncompressed_size", "i64", True), 7: ("total_compressed_size", "i64", True),
                       9: ("data_page_offset", "i64", True), 11: ("dictionary_page_offset", "i64", False),
                       12: ("statistics", "Statistics", False)},
    "Statistics": {3: ("null_count", "i64", False), 5: ("max_value", "binary", False), 6: ("min_value", "binary", False)},
    "PageHeader": {1: ("type", "PageType", True), 2: ("uncompressed_page_size", "i32", True), 3: ("compressed_page_size", "i32", True),
                   4: ("crc", "i32", False), 5: ("data_page_header", "DataPageHeader", False),
                   7: ("dictionary_page_header", "DictionaryPageHeader", False)},
    "DataPageHeader": {1: ("num_values", "i32", True), 2: ("encoding", "Encoding", True),
                       3: ("definition_level_encoding", "Encoding", True), 4: ("repetition_level_encoding", "Encoding", True)},
    "DictionaryPageHeader": {1: ("num_values", "i32", True), 2: ("encoding", "Encoding", True)},
}
UNIONS = {"LogicalType", "ColumnOrder"}
WIRE = {"i16": 4, "i32": 5, "i64": 6, "string": 8, "binary": 8} | dict.fromkeys(ENUMS, 5)
BITS = {"i16": 16, "i32": 32, "i64": 64} | dict.fromkeys(ENUMS, 32)
BOOLEAN, INT32, INT64, FLOAT, BYTE_ARRAY = 0, 1, 2, 4, 6
PLAIN, RLE, DICTIONARY, SPLIT = 0, 3, 8, 9
REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
ZSTD = 6


class Thrift:
    """Reads structs at `at`; every problem is told with its byte."""

    def __init__(self, data, at, end):
        self.data, self.at, self.end = data, at, end

    def byte(self):
        need(self.at < self.end, f"byte {self.at}: the data end early")
        self.at += 1
        return self.data[self.at - 1]

    def varint(self, bits=64):
        value, begin = 0, self.at
        for shift in range(0, 70, 7):
            b = self.byte()
            value |= (b & 127) << shift
            if b < 128:
                need(b or not shift, f"byte {begin}: a varint that is longer than it need be")
                need(value >> bits == 0, f"byte {begin}: a number of more than {bits} bits")
                return value
        raise Bad(f"byte {begin}: a varint without an end")

    def integer(self, bits):
        u = self.varint(bits)
        return u >> 1 ^ -(u & 1)

    def value(self, kind, wire, where):
        if isinstance(kind, tuple):
            need(wire == 9, f"{where}: wire type {wire} instead of a list")
            head = self.byte()
            n, inner = head >> 4, kind[1]
            if n == 15:
                n = self.varint(31)
                need(n >= 15, f"{where}: a short list in the long form")
            need(head & 15 == WIRE.get(inner, 12), f"{where}: elements of wire type {head & 15}")
            return [self.value(inner, head & 15, f"{where}[{i}]") for i in range(n)]
        need(wire == WIRE.get(kind, 12), f"{where}: wire type {wire} for {kind}")
        if kind in STRUCTS:
            return self.struct(kind, where)
        if kind in ("string", "binary"):
            n = self.varint(31)
            need(n <= self.end - self.at, f"{where}: {n} bytes, more than are left")
            self.at += n
            raw = bytes(self.data[self.at - n:self.at])
            try:
                return raw if kind == "binary" else raw.decode("utf-8")
            except UnicodeDecodeError:
                raise Bad(f"{where}: not UTF-8") from None
        number = self.integer(BITS[kind])
        need(kind not in ENUMS or number in ENUMS[kind], f"{where}: {number} is no {kind}")
        return number

    def struct(self, name, where):
        fields, out, last = STRUCTS[name], {}, 0
        while True:
            head = self.byte()
            if head == 0:
                break
            delta, wire = head >> 4, head & 15
            need(delta, f"{where}: a field id in the long form")
            last += delta
            need(last in fields, f"{where}: {name} has no field {last} that is written here")
            key, kind, _ = fields[last]
            out[key] = self.value(kind, wire, f"{where}.{key}")
        for key, _, required in fields.values():
            need(not required or key in out, f"{where}: {name} lacks {key}")
        need(name not in UNIONS or len(out) == 1, f"{where}: a union of {len(out)} members")
        return out


# ---- schema ----

def leaves_of(schema):
    """[(path, type, max definition, max repetition)] of a depth-first list of elements."""
    out, at = [], 1
    root = schema[0]
    need("type" not in root and "repetition_type" not in root and root.get("num_children"), "schema: the root is no root")

    def walk(path, definition, repetition):
        nonlocal at
        need(at < len(schema), "schema: num_children runs past the end")
        node = schema[at]
        at += 1
        path = path + [node["name"]]
        where = "schema: " + ".".join(path)
        need("repetition_type" in node, where, "has no repetition_type")
        definition += node["repetition_type"] != REQUIRED
        repetition += node["repetition_type"] == REPEATED
        logical = list(node.get("logicalType", {}))
        need({"STRING": 0, "LIST": 3}.get(logical[0] if logical else None) == node.get("converted_type"),
             where, "has a converted_type that is not its logicalType", logical)
        if "num_children" not in node:
            need("type" in node, where, "has no type")
            need(logical in ([], ["STRING"]) and (not logical or node["type"] == BYTE_ARRAY), where, "has the wrong logicalType")
            need(node["type"] != BYTE_ARRAY or logical, where, "is a string and does not say so")
            out.append((path, node["type"], definition, repetition))
            return
        need("type" not in node and node["num_children"] > 0, where, "is neither a group nor a column")
        if logical == ["LIST"]:   # LogicalTypes.md: <list> { repeated group list { <element> } }
            inner = schema[at]
            need(node["num_children"] == 1 and node["repetition_type"] != REPEATED, where, "is no list")
            need((inner["name"], inner.get("repetition_type"), inner.get("num_children")) == ("list", REPEATED, 1), where, "has no 'list'")
            need(schema[at + 1]["name"] == "element", where, "has no 'element'")
        for _ in range(node["num_children"]):
            walk(path, definition, repetition)

    for _ in range(root["num_children"]):
        walk([], 0, 0)
    need(at == len(schema), "schema: elements are left over")
    need(len({tuple(p) for p, *_ in out}) == len(out), "schema: a column is there twice")
    return out


# ---- encodings ----

def varint_at(data, at):
    value = shift = 0
    while True:
        need(at < len(data), "a varint is cut short")
        b = data[at]
        value |= (b & 127) << shift
        at, shift = at + 1, shift + 7
        if b < 128:
            return value, at


def unpack(data, at, n, width):
    """n values of `width` bits, n a multiple of 8."""
    size = n * width // 8
    need(at + size <= len(data), "bit-packed values are cut short")
    bits = int.from_bytes(data[at:at + size], "little")
    mask = (1 << width) - 1
    if width == 1:
        return [int(c) for c in reversed(format(bits, f"0{n}b"))], at + size
    return [bits >> i * width & mask for i in range(n)], at + size


def hybrid(data, n, width):
    """n values; behind them only what fills a group of 8."""
    out, at = [], 0
    while len(out) < n:
        head, at = varint_at(data, at)
        need(head > 1, "an empty run")
        if head & 1:
            values, at = unpack(data, at, (head >> 1) * 8, width)
            out += values
        else:
            size = (width + 7) // 8
            need(at + size <= len(data), "a run is cut short")
            value = int.from_bytes(data[at:at + size], "little")
            need(value >> width == 0, "a run's value is too wide")
            need(len(out) + (head >> 1) <= n, "a run is too long")
            out += [value] * (head >> 1)
            at += size
    need(at == len(data), len(data) - at, "bytes are left behind levels or indices")
    need(len(out) - n < 8, "more than a group of padding")
    return out[:n]


def plain(data, n, kind):
    if kind == BYTE_ARRAY:
        out, at = [], 0
        for _ in range(n):
            need(at + 4 <= len(data), "strings are cut short")
            size = int.from_bytes(data[at:at + 4], "little")
            out.append(bytes(data[at + 4:at + 4 + size]))
            at += 4 + size
        need(at == len(data), "bytes are left behind the strings, or missing")
        for text in out:
            text.decode("utf-8")
        return out
    if kind == BOOLEAN:
        need(len(data) == (n + 7) // 8, len(data), "bytes for", n, "booleans")
        need(n % 8 == 0 or data[-1] >> n % 8 == 0, "padding of booleans is not 0")
        return [bool(data[i // 8] >> i % 8 & 1) for i in range(n)]
    code, size = {INT32: ("i", 4), INT64: ("q", 8), FLOAT: ("I", 4)}[kind]   # floats as their bits: NaN compares too
    need(len(data) == n * size, len(data), "bytes for", n, "values of", size)
    return list(struct.unpack(f"<{n}{code}", data))


def split(data, n):
    need(len(data) == 4 * n, len(data), "bytes for", n, "floats")
    joined = bytearray(4 * n)
    for k in range(4):
        joined[k::4] = data[k * n:(k + 1) * n]
    return list(struct.unpack(f"<{n}I", bytes(joined)))


# ---- pages and chunks ----

FITS = {PLAIN: (BOOLEAN, INT32, INT64, FLOAT, BYTE_ARRAY), DICTIONARY: (INT32, INT64, FLOAT, BYTE_ARRAY),
        SPLIT: (FLOAT,)}


def values_of(data, n, encoding, kind, entries):
    need(kind in FITS.get(encoding, ()), "encoding", encoding, "for type", kind)
    if encoding == PLAIN:
        return plain(data, n, kind)
    if encoding == SPLIT:
        return split(data, n)
    need(entries is not None, "indices without a dictionary")
    need(len(data), "no bit width")
    need(data[0] <= 32, "a bit width of", data[0])
    indices = hybrid(data[1:], n, data[0])
    need(max(indices, default=0) < len(entries), "an index beyond the dictionary")
    return [entries[i] for i in indices]


class Chunk:
    """The pages of one chunk from `at` on, and what they add up to."""

    def __init__(self, data, at, end, leaf):
        self.path, self.kind, self.max_definition, self.max_repetition = leaf
        self.at, self.begin, self.data, self.end = at, at, data, end
        self.entries = self.dictionary_offset = self.data_offset = None
        self.uncompressed = self.num_values = self.rows = self.nulls = self.pages = 0
        self.encodings, self.values, self.slots = set(), [], []

    def page(self):
        t = Thrift(self.data, self.at, self.end)
        begin, h = self.at, t.struct("PageHeader", "page")
        n = h["compressed_page_size"]
        need(0 <= n <= self.end - t.at, "the page runs into the footer")
        body = self.data[t.at:t.at + n]
        need("crc" in h, "the page has no checksum")
        need(h["crc"] & 0xFFFFFFFF == zlib.crc32(body), "the page's checksum is wrong")
        need(body[:4] == b"\x28\xB5\x2F\xFD", "the page is no zstd frame")
        size = h["uncompressed_page_size"]
        need(0 < size < 1 << 26, "a page of", size, "bytes")
        try:
            body = pa.decompress(body, decompressed_size=size, codec="zstd", asbytes=True)
        except (OSError, pa.ArrowException) as e:
            raise Bad(f"zstd: {e}") from None
        need(len(body) == size, "zstd: another size")
        need(("data_page_header" in h, "dictionary_page_header" in h) == (h["type"] == 0, h["type"] == 2), "the wrong kind of header")
        self.at = t.at + n
        self.uncompressed += t.at - begin + size
        self.pages += 1
        if h["type"] == 2:
            self.dictionary(h["dictionary_page_header"], body, begin)
        else:
            self.data_page(h["data_page_header"], body, begin)

    def dictionary(self, h, body, begin):
        need(self.pages == 1, "a dictionary page behind other pages")
        need(h["encoding"] == PLAIN, "a dictionary in encoding", h["encoding"])
        self.dictionary_offset = begin
        self.encodings.add(PLAIN)
        self.entries = plain(body, h["num_values"], self.kind)
        need(len(set(self.entries)) == len(self.entries), "a dictionary with equal entries")

    def levels(self, body, most, n):
        if most == 0:
            return [0] * n, body
        size = int.from_bytes(body[:4], "little")
        need(len(body) >= 4 + size, "levels are longer than the page")
        self.encodings.add(RLE)
        levels = hybrid(body[4:4 + size], n, most.bit_length())
        need(max(levels, default=0) <= most, "a level above", most)
        return levels, body[4 + size:]

    def data_page(self, h, body, begin):
        n = h["num_values"]
        need(n > 0, "an empty page")
        need(h["definition_level_encoding"] == h["repetition_level_encoding"] == RLE, "levels that are not RLE")
        self.data_offset = self.data_offset or begin
        repetition, body = self.levels(body, self.max_repetition, n)
        definition, body = self.levels(body, self.max_definition, n)
        need(repetition[0] == 0, "a page that begins inside a row")
        present = sum(d == self.max_definition for d in definition)
        values = values_of(body, present, h["encoding"], self.kind, self.entries)
        self.encodings.add(h["encoding"])
        self.num_values += n
        self.rows += repetition.count(0)
        self.nulls += n - present
        self.values += values
        each = iter(values)
        for r, d in zip(repetition, definition):
            value = next(each) if d == self.max_definition else None
            if not self.max_repetition:
                self.slots.append(value)
            elif r == 0:
                self.slots.append([value])
            else:
                self.slots[-1].append(value)


def statistic(kind, value):
    """PLAIN bytes of a value, as statistics hold it."""
    return value if kind == BYTE_ARRAY else struct.pack({BOOLEAN: "<?", INT32: "<i", INT64: "<q"}[kind], value)


def check_chunk(data, at, limit, leaf, column, rows, where):
    need(column["file_offset"] == 0, where, "file_offset is not 0")   # parquet.thrift: "Writers should set this field to 0"
    need("meta_data" in column, where, "no meta_data")
    m = column["meta_data"]
    need((m["path_in_schema"], m["type"]) == (leaf[0], leaf[1]), where, "path or type is not the schema's", m["path_in_schema"], m["type"])
    need(m["codec"] == ZSTD, where, "codec", m["codec"])
    end = at + m["total_compressed_size"]
    need(at < end <= limit, where, "the chunk does not fit in front of the footer")
    chunk = Chunk(data, at, end, leaf)
    while chunk.at < end:
        try:
            chunk.page()
        except (Bad, ValueError) as e:
            raise Bad(f"{where}, page {chunk.pages} at byte {chunk.at}: {e}") from None
    need(chunk.at == end, where, "the last page runs past the chunk")
    need(chunk.data_offset, where, "no data page")
    for key, real in {"data_page_offset": chunk.data_offset, "dictionary_page_offset": chunk.dictionary_offset,
                      "total_uncompressed_size": chunk.uncompressed, "num_values": chunk.num_values}.items():
        need(m.get(key) == real, where, key, "is", m.get(key), "instead of", real)
    need(chunk.rows == rows, where, "rows:", chunk.rows, "instead of", rows)
    need(sorted(m["encodings"]) == sorted(chunk.encodings), where, "encodings", m["encodings"], "instead of", sorted(chunk.encodings))
    check_statistics(m.get("statistics", {}), chunk, where)
    return chunk


def check_statistics(s, chunk, where):
    need(s.get("null_count") == chunk.nulls, where, "null_count is", s.get("null_count"), "instead of", chunk.nulls)
    need(("min_value" in s) == ("max_value" in s), where, "one of min and max")
    short = chunk.kind != BYTE_ARRAY or max((len(v) for v in chunk.values), default=0) <= 64
    need("min_value" in s or not chunk.values or chunk.kind == FLOAT or not short, where, "no min and max")
    if "min_value" in s:
        need(chunk.values and chunk.kind != FLOAT, where, "a min of nothing")
        least, most = (statistic(chunk.kind, f(chunk.values)) for f in (min, max))
        need((s["min_value"], s["max_value"]) == (least, most), where, "min and max are", s["min_value"], s["max_value"],
             "instead of", least, most)


# ---- the file ----

CREATED_BY = re.compile(r"qkengine version \d+\.\d+(\.\d+)?( \(build [^()]+\))?")   # "<application> version <version> (build <hash>)"


def parse(data):
    need(len(data) > 12 and data[:4] == b"PAR1" and data[-4:] == b"PAR1", "no PAR1")
    n = int.from_bytes(data[-8:-4], "little")
    need(0 < n <= len(data) - 12, "the footer's length", n)
    t = Thrift(data, len(data) - 8 - n, len(data) - 8)
    footer = t.struct("FileMetaData", "footer")
    need(t.at == t.end, t.end - t.at, "bytes behind the footer")
    return footer, len(data) - 8 - n


def check_arrow_schema(text, leaves):
    """The key ARROW:schema: names and types as in the Parquet schema. Returns {list column: list size}."""
    types = {BOOLEAN: pa.bool_(), INT32: pa.int32(), INT64: pa.int64(), BYTE_ARRAY: pa.string()}
    sizes = {}
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
        need([f.name for f in schema] == [path[0] for path, *_ in leaves], "ARROW:schema: other columns")
        for field, (path, kind, *_) in zip(schema, leaves):
            if len(path) == 3:
                need(pa.types.is_fixed_size_list(field.type) and field.type.value_type == pa.float32(), "ARROW:schema:", field)
                sizes[".".join(path)] = field.type.list_size
            else:
                need(field.type == types[kind], "ARROW:schema:", field)
            need(field.nullable, "ARROW:schema:", field)
    except (pa.ArrowException, ValueError, OSError) as e:
        raise Bad(f"ARROW:schema: {e}") from None
    return sizes


def check(path, created_by=CREATED_BY):
    """Raises Bad; else counts, and the columns as {path: [value or None or list of them]}; floats are their bits."""
    data = pathlib.Path(path).read_bytes() if not isinstance(path, bytes) else path
    footer, limit = parse(data)
    need(footer["version"] in (1, 2), "version", footer["version"])
    leaves = leaves_of(footer["schema"])
    at, rows, pages = 4, 0, 0
    columns = {".".join(leaf[0]): [] for leaf in leaves}
    for i, group in enumerate(footer["row_groups"]):
        where = f"row group {i}"
        need(group["num_rows"] > 0 and len(group["columns"]) == len(leaves), where, "is empty or lacks columns")
        need(group.get("ordinal") == i and group.get("file_offset") == at, where, "ordinal or file_offset is wrong")
        begin, uncompressed = at, 0
        for leaf, column in zip(leaves, group["columns"]):
            name = ".".join(leaf[0])
            chunk = check_chunk(data, at, limit, leaf, column, group["num_rows"], f"{where}, {name}:")
            at, pages, uncompressed = chunk.end, pages + chunk.pages, uncompressed + chunk.uncompressed
            columns[name] += chunk.slots
        need(group.get("total_compressed_size") == at - begin, where, "total_compressed_size")
        need(group["total_byte_size"] == uncompressed, where, "total_byte_size")
        rows += group["num_rows"]
    need(at == limit, limit - at, "bytes between the pages and the footer")
    need(rows == footer["num_rows"], "num_rows is", footer["num_rows"], "instead of", rows)
    need(len(footer.get("column_orders", ())) == len(leaves), "column_orders")
    need(created_by.fullmatch(footer.get("created_by", "")), "created_by is", footer.get("created_by"))
    pairs = footer.get("key_value_metadata", [])
    need(len({p["key"] for p in pairs}) == len(pairs), "a key is there twice")
    arrow = [p.get("value") for p in pairs if p["key"] == "ARROW:schema"]
    need(arrow and arrow[0], "no ARROW:schema")
    for name, size in check_arrow_schema(arrow[0], leaves).items():
        need(all(len(v) == size for v in columns[name]), name, "a list that is not of", size)
    return {"row groups": len(footer["row_groups"]), "chunks": len(leaves) * len(footer["row_groups"]), "pages": pages, "rows": rows}, columns


if __name__ == "__main__":
    for file in sys.argv[1:]:
        print(file, check(file)[0])
