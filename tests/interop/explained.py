#!/usr/bin/env python3
"""Rows that explain themselves: values, both states of RoPE and all optional columns as readers see them; names of the card for each kind;
the join of rows with examples.parquet, by pandas and DuckDB; what the metadata says against the rows.
"""
import hashlib
import json
import subprocess
import sys

from common import ROOT, engine, main, make_workspace, run, seal_manifest  # first: it silences progress bars

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_dataset

ROWS, D = 15, 4   # of each file of tests/test_merge.c
COLUMNS = [("bucket", pa.int32()), ("example_id", pa.int32()), ("position", pa.int32()),
           ("vector", pa.list_(pa.field("element", pa.float32()), D)), ("sliding_window", pa.int32()), ("token_id", pa.int32())]
HEAD = [("layer", pa.int32()), ("head", pa.int32()), ("kind", pa.string())]
KINDS = {"l02h00q": "q", "l02h03q": "q", "l02h00q_pre": "q_pre", "l02h03q_pre": "q_pre", "l02h01k": "k", "l02h01k_pre": "k_pre", "l02h00v": "v",
         "l02h01v": "v"}


def made(folder):
    """final/ of units that were made by hand, with all that can be in it."""
    done = subprocess.run([ROOT / "build/cpu/tests/test_merge", "write", folder / "w"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "w/final"


def attention(path):
    return json.loads(pq.read_metadata(path).metadata[b"qkengine.attention"])


def every_column(folder):
    final = made(folder)
    assert {p.parent.name for p in final.rglob("data.parquet")} == set(KINDS)
    for name, kind in KINDS.items():
        table = pq.read_table(final / "m" / name / "data.parquet", page_checksum_verification=True)
        want = COLUMNS + [("lse", pa.float32())] + HEAD
        assert table.schema.remove_metadata().equals(pa.schema(want)), (name, table.schema)
        head = int(name[4:6])
        assert set(table["layer"].to_pylist()) == {2} and set(table["head"].to_pylist()) == {head} and set(table["kind"].to_pylist()) == {kind}
        assert table["token_id"].to_pylist() == list(range(1000, 1000 + ROWS))
        assert table["lse"].to_pylist() == [head - i / 8 if kind == "q" else None for i in range(ROWS)]
        said = json.loads(pq.read_metadata(final / "m" / name / "data.parquet").metadata[b"qkengine.head"])
        assert (said["layer"], said["head"], said["kind"]) == (2, head, kind), said
        assert said["state"] == {"v": None}.get(kind, "pre" if kind.endswith("pre") else "post")
        assert head in said["query_heads"] if kind[0] == "q" else head == said["key_head"], said
    frame = pandas.read_parquet(final / "m", partitioning=["folder"], ignore_prefixes=[".", "README", "manifest", "examples"])
    assert len(frame) == ROWS * len(KINDS) and set(frame["kind"]) == set(KINDS.values())
    return f"{len(KINDS)} files"


def names_of_kinds(folder):
    """A letter matches no name with more behind it: q is not q_pre."""
    final = made(folder)
    files = lambda *kinds: ROWS * sum(k in kinds for k in KINDS.values())
    wanted = {"all": files("q", "k"), "layer02": files("q", "k"), "l02h00": ROWS, "l02h01": ROWS, None: files("q", "k"),
              **{f"all_{k}": files(k) for k in KINDS.values()}, **{f"layer02_{k}": files(k) for k in KINDS.values()},
              **{name: ROWS for name in KINDS}}
    for name, count in wanted.items():
        rows = load_dataset(str(final), *([name] if name else []), split="m", cache_dir=str(folder / "cache"))
        assert len(rows) == count, (name, len(rows), count)
        kinds = {"q", "k"} if name in ("all", "layer02", None, "l02h00", "l02h01") else {name.split("_", 1)[1] if name[1] != "0" else KINDS[name]}
        assert set(rows["kind"]) <= kinds, (name, set(rows["kind"]))
    said = (final / "README.md").read_text()
    assert "`all_v`" in said and "`lXXhYYq_pre`" in said and "v are values" in said, said
    return f"{len(wanted)} names"


def values_alone(folder):
    """Without queries and keys `all_v` is the default."""
    final = made(folder)
    for name, kind in KINDS.items():
        if kind != "v":
            for path in (final / "m" / name).iterdir():
                path.unlink()
            (final / "m" / name).rmdir()
    other = folder / "x"
    done = engine(["join", final, final, other, "--quiet"], folder)
    assert done.returncode == 1, done.stderr   # the manifest lists what is gone
    manifest = json.loads((final / "m/manifest.json").read_text())
    manifest["files"] = {k: v for k, v in manifest["files"].items() if KINDS[k] == "v"}
    (final / "m/manifest.json").write_text(seal_manifest(manifest))
    done = engine(["join", final, final, other, "--quiet"], folder)
    assert done.returncode == 0, done.stderr
    assert len(load_dataset(str(other), split="m", cache_dir=str(folder / "cache"))) == 2 * ROWS
    text = (other / "README.md").read_text()
    assert "config_name: all_v\n  default: true" in text and "config_name: all\n" not in text and "Configurations: `all_v`" in text, text


def rows_with_their_examples(folder):
    """The join that engine/output/README.md shows."""
    work = make_workspace(folder / "w")
    assert run(work, "output.data_root=out", "output.layout=branch").returncode == 0
    final = work / "out/final"
    rows, examples = pandas.read_parquet(final / "l00h00q/data.parquet"), pandas.read_parquet(final / "examples.parquet")
    assert examples["example_id"].tolist() == [(i + 2**31) % 2**32 - 2**31 for i in examples["id"].tolist()]
    both = rows.merge(examples, on="example_id", how="left", validate="many_to_one")
    assert len(both) == len(rows) and both["tokens"].notna().all() and (both["position"] < both["tokens"]).all()
    try:
        import duckdb
    except ModuleNotFoundError:
        return f"{len(both)} rows; SKIPPED: no DuckDB"
    got = duckdb.sql(f"select count(*), count(tokens), count(id_text) from '{final}/l00h00q/data.parquet' left join '{final}/examples.parquet' using (example_id)")
    assert got.fetchall() == [(len(rows), len(rows), int(both["id_text"].notna().sum()))]
    return f"{len(both)} rows"


def what_the_metadata_says(folder):
    """Buckets are those of the rows, whose number is what the probabilities make of the tokens."""
    work = make_workspace(folder / "w")
    for i, settings in enumerate((["capture.sampler.base_rate=3.0"], ["capture.sampler.type=uniform", "capture.min_bucket_size=8"],
                                  ["capture.sampler.type=all"])):
        root = f"out{i}"
        assert run(work, f"output.data_root={root}", "output.layout=branch", *settings).returncode == 0
        final = work / root / "final"
        said, tokens = attention(final / "examples.parquet"), pq.read_table(final / "examples.parquet")["tokens"].to_pylist()
        manifest = json.loads((final / "manifest.json").read_text())
        assert said["runs"][0]["fingerprint"] == manifest["runs"][0]["fingerprint"][:12]
        assert len(said["layers"]) == 4 and said["head_dim"] == 16 and said["scale"] == 0.25 and said["query_heads"] == 4
        buckets = {b["bucket"]: b for b in said["runs"][0]["buckets"]}
        for path in final.glob("l*/data.parquet"):
            table = pq.read_table(path, columns=["bucket", "position"])
            assert b"qkengine.attention" not in pq.read_metadata(path).metadata   # only with head_columns
            for b, p in zip(*(table[c].to_pylist() for c in ("bucket", "position"))):
                assert buckets[b]["first"] <= p <= buckets[b]["last"], (path, b, p)
            kind = path.parent.name[-1]
            want = sum(b[f"probability_{kind}"] * sum(max(0, min(b["last"] + 1, n) - b["first"]) for n in tokens) for b in buckets.values())
            assert abs(len(table) - want) <= 5 * want ** 0.5 + 1, (path, len(table), want)


# Of head files that version 0.2.0 wrote, before there were other kinds and columns: their bytes, which libzstd 1.5.4 packs so, and what is
# in them. A change of either is a change for everybody who runs again what he has.
ZSTD = "libzstd 1.5.4"
OLD = {
    "branch": ("3ac79c34cd4d7723ad0f292a92c32a736906162f775435fd9d2fee1526c66368",
               "3fc09a60fcb6f79fe8e2351cbe59924ee47e2581c757f7057dfe0a45576966ce"),
    "prefix": ("268e7959e14660aa5559fea77c997b9d3ab441f4f9ac3a94c7f6b33e0d3efead",
               "9d01d41bb0adf0c4b1cc20ebfec1a70b7c8e8464eb9e6fe11979d890852ea7b0"),
}


def what_is_inside(path):
    """Everything of a file but how its pages are packed."""
    file = pq.ParquetFile(path)
    m, table = file.metadata, file.read()
    groups = [(m.row_group(g).num_rows, [(c.path_in_schema, c.physical_type, sorted(c.encodings), c.num_values, c.has_dictionary_page)
                                         for c in (m.row_group(g).column(i) for i in range(m.num_columns))]) for g in range(m.num_row_groups)]
    columns = [(name, table[name].to_pylist()) for name in table.column_names]
    return repr((m.created_by, sorted(m.metadata.items()), groups, columns)).encode()


def old_files(folder, program=ROOT / "qkengine"):
    """{layout: digest of the bytes, digest of what is inside} of head files that say nothing new."""
    found = {}
    for layout, settings in (("branch", ["capture.capture_token_strings=true"]),
                             ("prefix", ["capture.per_head_masks=true", "output.vector_encoding=plain", "capture.layers=[1,2]"])):
        work = make_workspace(folder / layout)
        args = [x for s in ["output.data_root=out", f"output.layout={layout}", *settings] for x in ("--set", s)]
        done = subprocess.run([program, "run", "config.yaml", "--quiet", *args], cwd=work, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        paths = sorted((work / "out/final").rglob("data.parquet"))
        found[layout] = tuple(hashlib.sha256(b"".join(p.parent.name.encode() + of(p) for p in paths)).hexdigest()
                              for of in (lambda p: p.read_bytes(), what_is_inside))
    return found


def old_head_files_stay(folder):
    found = old_files(folder)
    assert {k: v[1] for k, v in found.items()} == {k: v[1] for k, v in OLD.items()}, found
    version = subprocess.run([ROOT / "qkengine", "--version"], capture_output=True, text=True, check=True).stdout
    if ZSTD not in version:
        return f"what is inside; the bytes are those of {ZSTD}"
    assert found == OLD, found


if __name__ == "__main__":
    sys.exit(main("explained", [old_head_files_stay, every_column, names_of_kinds, values_alone, rows_with_their_examples, what_the_metadata_says]))
