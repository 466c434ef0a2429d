#!/usr/bin/env python3
"""Rewrites the sampler goldens as plain lines for the C tests, small enough to be part of the repository.

A line is a record: its kind, then fields separated by one space. Lists are joined by commas, "-" is nothing, texts are
hex of their UTF-8, hashes the first 16 hex digits of SHA-256 over int64 little-endian values. `end N` closes a file of N
records.

usage: make_sampler_vectors.py ../shared/golden tests/data/sampler      (needs pyarrow and pyyaml)
"""
import hashlib
import json
import pathlib
import struct
import sys

import pyarrow.parquet as pq
import yaml


def sha16(values):
    return hashlib.sha256(struct.pack(f"<{len(values)}q", *values)).hexdigest()[:16]


def joined(values):
    return ",".join(map(str, values)) if values else "-"


def hexed(text):
    return text.encode().hex() or "-"


def write(path, about, lines):
    path.write_text(f"# {about}\n# Made by tests/tools/make_sampler_vectors.py; its header describes the format.\n" +
                    "".join(f"{line}\n" for line in lines) + f"end {len(lines)}\n", encoding="ascii")
    print(path, path.stat().st_size, "bytes,", len(lines), "records")


def random_lines(golden):
    load = lambda name: json.loads((golden / "sampler" / name).read_text())
    lines = []
    for r in load("rand.json")["records"]:
        lines.append(f"rand {r['seed']} {r['sha256_first_100000'][:16]} {r['index_99999']} {r['index_100000']} {joined(r['rand24'])}")
    for r in load("randperm.json")["records"]:
        lines.append(f"randperm {r['seed']} {r['n']} {r['sha256_i64le'][:16]} {joined(r['first64'][:8])}")
    heads = load("heads.json")
    for r in heads["primitives"]:
        lines.append(f"getrandbits32 {r['seed']} {joined(r['getrandbits32'])}")
        lines += [f"randbelow {r['seed']} {n} {joined(v)}" for n, v in r["randbelow"].items()]
    for r in heads["samples"]:
        lines.append(f"sample {r['seed']} {r['n']} {r['k']} {r['sha256_i64le'][:16]} {joined(r['first32'][:8])}")
    seeds = load("seeds.json")
    for name, key in (("shared", "batch_seed"), ("head", "head_seed"), ("limit", "subsample_seed"), ("mix", "mix"), ("combine", "combine")):
        lines += [f"{name} " + " ".join(map(str, r)) for r in seeds[key]]
    return lines


def bucket_lines(golden):
    data = json.loads((golden / "sampler" / "buckets.json").read_text())
    lines = [f"log_range {data['log']['checked_up_to']}"]
    lines += ["log_differs " + " ".join(map(str, r)) for r in data["log"]["differs_from_integer_arithmetic"]]
    lines.append(f"log_positions {joined(data['log_sample_positions'])}")
    lines += [f"log {r['min_bucket_size']} {r['effective']} {joined(r['bucket'])}" for r in data["log_samples"]]
    lines.append(f"uniform_range {data['uniform_checked_up_to']}")
    lines.append(f"uniform_positions {joined(data['uniform_sample_positions'])}")
    lines += [f"uniform {r['bucket_size']} {joined(r['first_difference'])} {r['differences_up_to_limit']} {joined(r['bucket'])}" for r in data["uniform"]]
    return lines


def mask_lines(golden):
    data = json.loads((golden / "sampler" / "masks.json").read_text())
    head = lambda r: -1 if r["head"] is None else r["head"]
    lines = [f"lengths {joined(data['lengths'])}", f"hashed_lengths {joined(data['hashed_lengths'])}"]
    for r in data["runs"]:
        lines.append(f"mask {r['sampler']} {r['min_bucket_size']} {r['base_rate']!r} {r['layer']} {head(r)} {r['kind']} {r['example_id']} "
                     f"{joined(r['counts'])} {joined([x[:16] for x in r['sha256']])} {joined(r['first50'][:8])}")
    r = data["every_length"]
    lines.append(f"every_length {r['sampler']} {r['min_bucket_size']} {r['base_rate']!r} {r['layer']} {head(r)} {r['kind']} {r['example_id']} "
                 f"{r['count_at_1000']} {r['count_at_20000']} {r['sha256_of_counts_for_lengths_1_to_20000'][:16]} {joined(r['kept'])}")
    for r in data["thresholds"]:
        lines.append(f"threshold {r['example_id']} {r['layer']} {r['kind']} {r['index']} {r['rand24']} {r['bucket_size']} {r['base_rate_hex']} {int(r['kept'])}")
    return lines


def limit_lines(golden):
    lines = []
    for r in json.loads((golden / "sampler" / "max_rows.json").read_text())["records"]:
        kind = {"log": "log_uniform"}.get(r["sampler"], r["sampler"])
        lines.append(f"case {kind} {r['min_bucket_size']} {r['base_rate']!r} {r['max_rows_per_batch'] or 0} {joined(r['heads'])} "
                     f"{r['query_heads']} {r['key_heads']} {joined(r['example_ids'])} {joined(r['lengths'])}")
        lines += [f"chunk {c['layer']} {c['kind']} {c['seed_head']} {c['example_id']} {joined(c['positions'])}" for c in r["chunks"]]
    return lines


def mask_of(heads):
    return f"{sum(1 << h for h in heads):x}"


def head_lines(golden):
    lines = []
    for r in json.loads((golden / "sampler" / "heads.json").read_text())["resolved"]:
        lines.append(f"plan {r['layers_in_model']} {r['query_heads']} {r['key_heads']} {joined(r['sliding_layers'])} {r['count']} {r['seed']} "
                     f"{joined(r['layers'])} {joined(r['heads'])} {int(r['full_attention_only'])} {int('error' in r)}")
        if "error" in r:
            continue
        m = r["metadata"]
        lines.append("sampled " + " ".join(str(m[f"head_sampling_{k}"]) for k in
                                           ("selected_query_heads", "selected_key_heads", "sliding_candidates_excluded")))
        lines.append("q " + joined([f"{layer}:{mask_of(h)}" for layer, h in r["selected_q"].items()]))
        lines.append("k " + joined([f"{layer}:{mask_of(h)}" for layer, h in r["selected_k"].items()]))
    return lines


def id_lines(golden):
    lines = []
    for r in json.loads((golden / "sampler" / "ids.json").read_text())["records"]:
        value, text, stored = r["value"], r["text_hashed"], r["stored_int32"]
        if r["type"].startswith("float"):
            bits = struct.pack(">d", float(value)).hex()
            lines.append(f"double {bits} {hexed(value)} {r['int64'] if stored is not None else '-'} {stored if stored is not None else '-'}")
        elif r["type"] == "int":
            lines.append(f"{'uint64' if text else 'int64'} {value} {r['int64']} {stored}")
        elif r["type"] == "bool":
            lines.append(f"int64 {int(value)} {r['int64']} {stored}")
        else:
            lines.append(f"{'null' if value == 'None' and r['type'] == 'null' else 'text'} {hexed(text)} {r['int64']} {stored}")
    for r in json.loads((golden / "inputs" / "ids.json").read_text(encoding="utf-8")):
        if r["rule"] == "unencodable":
            continue
        answer = "- -" if r["rule"] == "overflow" else f"{r['int64']} {r['int32']}"
        if r["type"] in ("double", "float", "half"):
            code = {"double": ">d", "float": ">f", "half": ">e"}[r["type"]]
            bits = struct.pack(">d", struct.unpack(code, bytes.fromhex(r["bits"]))[0]).hex()
            lines.append(f"double {bits} {hexed(r['str'])} {answer}")
        elif r["rule"] in ("keep", "bool"):
            lines.append(f"int64 {r['int64']} {answer}")
        elif r["rule"] == "hash":
            lines.append(f"text {hexed(r['str'])} {answer}")
    return lines + [f"reprs {name} {len(v)} {repr_hash(v)}" for name, v in repr_series().items()]


def mix(v):
    """SplitMix64's finaliser: the test makes the same bit patterns with qk_seed_mix."""
    v = (v ^ (v >> 30)) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    v = (v ^ (v >> 27)) * 0x94D049BB133111EB & (1 << 64) - 1
    return v ^ (v >> 31)


def repr_series():
    """Doubles whose repr() is hashed, one line each."""
    return {"random_bits": [struct.unpack("<d", struct.pack("<Q", mix(i)))[0] for i in range(1, 40001)],
            "powers_of_two": [2.0 ** e for e in range(-1074, 1024)],
            "powers_of_ten": [float(f"1e{e}") for e in range(-323, 309)],
            "ties": [2.0 ** 50 + i + f for i in range(500) for f in (0.25, 0.75)],
            "thousandths": [i / 1000 for i in range(-5000, 5001)]}


def repr_hash(values):
    return hashlib.sha256("".join(f"{v!r}\n" for v in values).encode()).hexdigest()[:16]


def sliding_layers(case):
    """Layers with a window in any run of a case, read from its rows."""
    out = set()
    for file in case.glob("expected*/rows.parquet"):
        t = pq.read_table(file, columns=["layer", "sliding_window"])
        out |= {layer for layer, w in zip(t["layer"].to_pylist(), t["sliding_window"].to_pylist()) if w is not None}
    return sorted(out)


def run_lines(golden):
    """Whole runs of the reference: sampler, heads and ids together. A rows line hashes (bucket, stored id, position)."""
    lines = []
    for config_file in sorted((golden / "capture").glob("*/config*.yaml")):
        case, suffix = config_file.parent, config_file.stem[6:]
        expected = case / f"expected{suffix}"
        if (expected / "error.json").exists() or not (expected / "rows.parquet").exists():
            continue
        config = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        cap, overrides = config["capture"], config["model"].get("config_overrides") or {}
        model = json.loads((case / config["model"]["name"] / "config.json").read_text())
        layers = overrides.get("num_hidden_layers", model["num_hidden_layers"])
        sampling, sampler = cap.get("head_sampling"), cap["sampler"]
        examples = json.loads((expected / "tokens.json").read_text(encoding="utf-8"))["examples"]
        per_head = int(case.name == "old_layout" and not suffix)
        lines.append(f"run {case.name}{suffix} {sampler['type']} {cap['min_bucket_size']} {float(sampler.get('base_rate', 1.0))!r} "
                     f"{cap.get('max_rows_per_batch') or 0} {per_head}")
        lines.append(f"heads {layers} {model['num_attention_heads']} {model['num_key_value_heads']} {joined(sliding_layers(case))} "
                     f"{joined(cap.get('layers'))} {joined(cap.get('heads'))} {int(cap.get('capture_queries', True))} {int(cap.get('capture_keys', True))} "
                     f"{int(cap.get('full_attention_only', False))} {sampling['count'] if sampling else 0} {sampling.get('seed', 0) if sampling else 0}")
        lines.append(f"examples {joined([e['example_id'] for e in examples])} {joined([e['length'] for e in examples])}")
        t, files = pq.read_table(expected / "rows.parquet"), {}
        for layer, head, kind, *row in zip(*(t[c].to_pylist() for c in ("layer", "head", "kind", "bucket", "example_id", "position"))):
            files.setdefault((layer, kind == "k", head), []).extend(row)
        for (layer, keys, head), rows in sorted(files.items()):
            lines.append(f"rows {layer} {head} {'k' if keys else 'q'} {len(rows) // 3} {sha16(rows)}")
    return lines


def main():
    golden, out = map(pathlib.Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    write(out / "random.txt", "Generators and seeds.", random_lines(golden))
    write(out / "buckets.txt", "Bucket ids.", bucket_lines(golden))
    write(out / "masks.txt", "Kept positions.", mask_lines(golden))
    write(out / "limits.txt", "Rows left by max_rows_per_batch, in file order.", limit_lines(golden))
    write(out / "heads.txt", "capture.head_sampling on real model shapes; heads as bit masks in hex.", head_lines(golden))
    write(out / "ids.txt", "Dataset cell -> 64-bit id -> stored id; doubles by their bits, with their repr().", id_lines(golden))
    write(out / "runs.txt", "Rows of whole runs of the reference.", run_lines(golden))


if __name__ == "__main__":
    main()
