"""Parquet files byte by byte, as no library writes them: every field of the footer and of the page headers can be changed, left out,
or given another thrift type.

    f = file(); f.columns[0].meta[9] = I64(0); open(path, "wb").write(f.bytes())

A thrift struct is a dict {field number: value}; the Python type says the wire type: int is i32, I64 is i64, bool, float, bytes
and str, list, dict, and Wire for anything else.
"""
import struct
import zlib

import pyarrow as pa

TEXTS = ["alpha one", "beta two", "alpha one", "gamma three", "beta two", "alpha one"]
IDS = [10, 20, 30, 40, 50, 60]
INT64, BYTE_ARRAY = 2, 6
PLAIN, RLE, BIT_PACKED, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 0, 3, 4, 7, 8
NONE, SNAPPY, GZIP, LZO, ZSTD = 0, 1, 2, 3, 6
DATA, DICTIONARY, DATA_V2 = 0, 2, 3
REQUIRED, OPTIONAL, REPEATED = 0, 1, 2


class I64(int):
    pass


class Wire:
    """A value under any thrift type: its bytes."""

    def __init__(self, kind, data=b""):
        self.kind, self.data = kind, data


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def zigzag(n):
    return varint((n << 1 ^ n >> 63) & (2**64 - 1))


def wire(value):
    """(thrift type, bytes) of a value."""
    if isinstance(value, Wire):
        return value.kind, value.data
    if isinstance(value, bool):
        return (1 if value else 2), b""
    if isinstance(value, float):
        return 7, struct.pack("<d", value)
    if isinstance(value, int):
        return (6 if isinstance(value, I64) else 5), zigzag(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return 8, varint(len(value)) + value
    if isinstance(value, list):
        items = [wire(v) for v in value]
        kind = items[0][0] if items else 12
        head = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + varint(len(items))
        return 9, head + b"".join(data for _, data in items)
    return 12, struct_bytes(value)


def struct_bytes(fields):
    out, last = b"", 0
    for number, value in sorted(fields.items()):
        kind, data = wire(value)
        step = number - last
        out += (bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + zigzag(number)) + data
        last = number
    return out + b"\0"


def pack(data, codec):
    return pa.compress(data, {SNAPPY: "snappy", GZIP: "gzip", ZSTD: "zstd"}[codec], asbytes=True) if codec not in (NONE, LZO) else data


def plain(values):
    return b"".join(struct.pack("<q", v) if isinstance(v, int) else struct.pack("<I", len(v)) + v.encode() for v in values)


def ones(n):
    """A run of n levels, all 1."""
    return varint(n << 1) + b"\1"


class Page:
    def __init__(self, kind, header, body, levels=b"", packed=True, crc=False):
        self.kind, self.header, self.body, self.levels, self.packed, self.crc = kind, header, body, levels, packed, crc
        self.more = {}      # fields of the page header itself
        self.stored = None  # instead of the packed body

    def bytes(self, codec):
        stored = pack(self.body, codec) if self.packed else self.body
        stored = self.levels + (stored if self.stored is None else self.stored)
        place = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}.get(self.kind)
        head = {1: self.kind, 2: len(self.levels) + len(self.body), 3: len(stored)}
        if self.crc:
            head[4] = struct.unpack("<i", struct.pack("<I", zlib.crc32(stored)))[0]
        head.update({place: self.header} if place else {})
        return struct_bytes({**head, **self.more}) + stored


def data_page(values, optional=False, encoding=PLAIN, body=None):
    levels = struct.pack("<I", len(ones(len(values)))) + ones(len(values)) if optional else b""
    return Page(DATA, {1: len(values), 2: encoding, 3: RLE, 4: RLE}, levels + (plain(values) if body is None else body))


def data_page_v2(values, optional=False):
    levels = ones(len(values)) if optional else b""
    return Page(DATA_V2, {1: len(values), 2: 0, 3: len(values), 4: PLAIN, 5: len(levels), 6: 0}, plain(values), levels)


def dictionary_pages(values):
    """A dictionary, and a page of indices of 8 bits."""
    known = sorted(set(values))
    indices = b"".join(varint(2) + bytes([known.index(v)]) for v in values)
    return [Page(DICTIONARY, {1: len(known), 2: PLAIN}, plain(known)), data_page(values, encoding=RLE_DICTIONARY, body=b"\x08" + indices)]


class Column:
    """A column chunk: its place in the schema, its pages, and after File.lay_out() its metadata."""

    def __init__(self, name, kind, pages, codec=NONE, optional=False):
        self.node = {1: kind, 3: OPTIONAL if optional else REQUIRED, 4: name, **({6: 0} if kind == BYTE_ARRAY else {})}
        self.name, self.kind, self.pages, self.codec = name, kind, pages, codec
        self.chunk, self.meta = {}, {}


class File:
    """One row group. lay_out() writes the pages; what it notes may be changed before bytes() adds the footer."""

    def __init__(self, columns, rows, created_by="qkengine tests version 1.0.0"):
        self.columns, self.data = columns, b"PAR1"
        self.nodes = [column.node for column in columns]    # more groups may be put in
        self.group = {1: None, 2: I64(0), 3: I64(rows)}
        self.footer = {1: 1, 2: None, 3: I64(rows), 4: None}
        if created_by is not None:
            self.footer[6] = created_by
        self.lay_out()

    def lay_out(self):
        for c in self.columns:
            start, dictionary, first = len(self.data), None, None
            for page in c.pages:
                if page.kind == DICTIONARY:
                    dictionary = len(self.data)
                elif first is None:
                    first = len(self.data)
                self.data += page.bytes(c.codec)
            size = I64(len(self.data) - start)
            rows = I64(sum(p.header[1] for p in c.pages if p.kind in (DATA, DATA_V2)))
            c.meta = {1: c.kind, 2: [PLAIN, RLE], 3: [c.name], 4: c.codec, 5: rows, 6: size, 7: size, 9: I64(first)}
            if dictionary is not None:
                c.meta[11] = I64(dictionary)
            c.chunk = {2: I64(start), 3: c.meta}

    def bytes(self):
        self.group[1] = [c.chunk for c in self.columns]
        if self.footer.get(2, 0) is None:
            self.footer[2] = [{4: "schema", 5: self.root_children()}, *self.nodes]
        if self.footer.get(4, 0) is None:
            self.footer[4] = [self.group]
        footer = struct_bytes(self.footer)
        return self.data + footer + struct.pack("<I", len(footer)) + b"PAR1"

    def root_children(self):
        """How many of the nodes are not inside of others."""
        def skip(at):
            below = self.nodes[at].get(5, 0)
            at += 1
            for _ in range(below if isinstance(below, int) else 0):
                at = skip(at)
            return at
        n = at = 0
        while at < len(self.nodes):
            at, n = skip(at), n + 1
        return n


def file(text_pages=None, id_pages=None, codec=NONE, optional=False, created_by="qkengine tests version 1.0.0", texts=TEXTS, ids=IDS):
    """Columns text and id with the rows that all these files have, unless pages say others."""
    return File([Column("text", BYTE_ARRAY, text_pages or [data_page(texts, optional)], codec, optional),
                 Column("id", INT64, id_pages or [data_page(ids)], codec)], len(ids), created_by)
