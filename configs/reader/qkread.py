"""Reads what `qkengine run` writes: heads as arrays, which key head a query head reads, attention logits, weights, texts. See README.md."""
import json
import pathlib
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


class Error(ValueError):
    """What a folder, a head or a question lacks, in one line."""


class Rows:
    """Rows of one head: `vector` float32 [n, d], `position`, `bucket` and `example` (the full id) [n]; and `lse`, `token_id`, `token_str`
    where the run captured them. rows[mask or indices] is some of them."""

    def __init__(self, layer, head, kind, columns):
        self.layer, self.head, self.kind, self.columns = layer, head, kind, columns
        self.__dict__.update(columns)

    def __len__(self):
        return len(self.position)

    def __getitem__(self, which):
        return Rows(self.layer, self.head, self.kind, {name: column[which] for name, column in self.columns.items()})


def open(*folders, split=None):
    """The dataset in final/, or in the folder of one split; several folders become one dataset. `split` chooses where there are several."""
    chosen = []
    for folder in map(pathlib.Path, folders):
        found = [f for f in (folder, *sorted(folder.glob("*"))) if (f / "examples.parquet").is_file()]
        wanted = [f for f in found if split in (None, f.name) or (f == folder and split == "train")]
        if len(wanted) != 1:
            raise Error(f"{folder}: " + (f"has the splits {[f.name for f in found]}; choose with split=" if found else "no examples.parquet; give final/"))
        chosen += wanted
    return Dataset(chosen)


class Dataset:
    """`info` is the metadata "qkengine.attention" (README.md lists it), `examples` a pyarrow table: index, id, id_text, tokens, ..."""

    def __init__(self, folders):
        tables = [pq.read_table(f / "examples.parquet") for f in folders]
        infos = [json.loads((pq.read_metadata(f / "examples.parquet").metadata or {}).get(b"qkengine.attention", b"{}")) for f in folders]
        for folder, info in zip(folders, infos):
            if info.get("format") != "qkengine attention 1":
                raise Error(f"{folder}/examples.parquet: no metadata 'qkengine attention 1'; a newer qkengine writes it")
            for key in sorted(infos[0].keys() - {"runs"}):
                if info.get(key) != infos[0][key]:
                    raise Error(f"{folder}: '{key}' is not as in {folders[0]}; open it by itself")
        self.folders, self.examples = folders, pa.concat_tables(tables, promote_options="default")
        self.info = {**infos[0], "runs": [run for info in infos for run in info["runs"]]}
        self._ids = self.examples["id"].to_numpy()
        if sum(len(np.unique(t["id"])) for t in tables) != len(np.unique(self._ids)):
            raise Error("an example is in several of these folders; `qkengine join` makes one folder of them, with each row once")

    def heads(self):
        """[(layer, head, kind)]: kind is q, k, v, or q_pre and k_pre, those before RoPE of a run of both states."""
        names = (re.fullmatch(r"l(\d+)h(\d+)([qkv]|[qk]_pre)", p.parent.name) for f in self.folders for p in f.glob("l*/data.parquet"))
        return sorted({(int(m[1]), int(m[2]), m[3]) for m in names if m})

    def layer(self, layer):
        """{"layer", "type", "window", "rope"} of a layer: window None is full attention, rope None is none."""
        return next(entry for entry in self.info["layers"] if entry["layer"] == layer)

    def key_head(self, query_head):
        """The key and value head that a query head reads."""
        return query_head * self.info["key_heads"] // self.info["query_heads"]

    def head(self, layer, head, kind="q"):
        """Rows of one head."""
        paths = [p for f in self.folders if (p := f / f"l{layer:02d}h{head:02d}{kind}/data.parquet").is_file()]
        if not paths:
            raise Error(f"layer {layer}, head {head}, kind {kind}: not captured; heads() lists what is there")
        parts = [self._columns(pq.read_table(p, partitioning=None), p) for p in paths]
        return Rows(layer, head, kind, {n: np.concatenate([p[n] for p in parts]) for n in parts[0] if all(n in p for p in parts) and (n != "lse" or kind == "q")})

    def _columns(self, table, path):
        columns = {n: table[n].to_numpy() for n in table.column_names if n not in ("vector", "sliding_window", "layer", "head", "kind")}
        chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table["vector"].chunks]
        columns["vector"] = np.concatenate([np.empty(0, np.float32), *chunks]).reshape(len(table), self.info["head_dim"])
        full, low = np.unique(self._ids), columns["example_id"]   # files hold the low 32 bits of ids
        full = full[np.argsort(full.astype(np.int32), kind="stable")]
        first, end = (np.searchsorted(full.astype(np.int32), low, side) for side in ("left", "right"))
        example, count = np.append(full, 0)[first], end - first
        for begin, n, text in json.loads((pq.read_metadata(path).metadata or {}).get(b"qkengine.shared_ids", b"[]")):
            example[begin:begin + n], count[begin:begin + n] = int(text), 1
        if (count != 1).any():
            raise Error(f"{path}: example_id {low[count != 1][0]} stands for {count[count != 1][0]} examples of examples.parquet")
        return {**columns, "example": example}

    def pair(self, layer, query_head, example=None):
        """(queries, keys) of a query head and of the key head that it reads: of all examples, or of one (its full id) by position."""
        both = self.head(layer, query_head, "q"), self.head(layer, self.key_head(query_head), "k")
        if example is not None and (self._ids == example).sum() != 1:
            raise Error(f"example {example}: {(self._ids == example).sum()} rows of examples.parquet have this id")
        return both if example is None else tuple(r[np.lexsort((r.position, r.example != example))[:(r.example == example).sum()]] for r in both)

    def logits(self, q, k):
        """Attention logits [len(q), len(k)], float64: scale * q.k, with the soft cap; -inf for a key that the query does not see, which is of
        another example, behind it, or outside the window of the layer."""
        layer = self.layer(q.layer)
        if (q.kind, k.kind, k.layer, k.head) != ("q", "k", q.layer, self.key_head(q.head)):
            raise Error(f"layer {q.layer}: query head {q.head} reads key head {self.key_head(q.head)}; pair() gives both")
        if self.info["state"] == "pre" and (layer["rope"] is not None or self.info.get("query_scale_by_position")):
            raise Error(f"layer {q.layer}: vectors from before RoPE, but logits are of those after it; capture.rope: [pre, post] has both")
        logits = self.info["scale"] * (q.vector.astype(np.float64) @ k.vector.astype(np.float64).T)
        cap = self.info["soft_cap"]
        logits = cap * np.tanh(logits / cap) if cap else logits
        back = q.position[:, None] - k.position[None, :]
        seen = (q.example[:, None] == k.example[None, :]) & (back >= 0) & (back < (layer["window"] or np.inf))
        return np.where(seen, logits, -np.inf)

    def attention(self, q, k):
        """Attention probabilities [len(q), len(k)], exact also where only some keys are there: exp(logit - lse)."""
        if "lse" not in q.columns:
            raise Error(f"layer {q.layer}, head {q.head}: no column lse; capture it with capture.capture_lse: true")
        return np.exp(self.logits(q, k) - q.lse.astype(np.float64)[:, None])

    def probability(self, rows, run=None):
        """The chance that each row had to be kept. Sums weighted with 1 / probability are, on average, those over all positions."""
        side, chances = "q" if rows.kind[0] == "q" else "k", []
        for one in self.info["runs"] if run is None else [self.info["runs"][run]]:
            rule, spans = one["queries" if side == "q" else "keys"] or {}, one["buckets"] or []
            of = np.array([b["probability_" + side] for b in spans] + [None], np.float64)   # None is NaN
            chance = of[np.searchsorted([b["first"] for b in spans], rows.position, "right") - 1]
            chance[rows.position < (rule.get("first") or 0)] = 1
            chance[(rows.position > max((b["last"] for b in spans), default=-1)) | ((rule.get("max_rows") or 0) > 0)] = np.nan
            chances.append(chance)
        low, high = np.fmin.reduce(chances), np.fmax.reduce(chances)
        if np.isnan(low).any():
            raise Error("the chances are not known: of listed positions, and with capture.max_rows_per_batch")
        if (low < high).any():
            raise Error("the runs of this dataset sampled with other chances; run=0, 1, ... says whose")
        return low

    def rope_pairs(self, layer):
        """(dims [n, 2], frequency [n]): the two dimensions that each rotation turns, and theta ** (-2 i / rotary), which is before any scaling."""
        rope = [*self.info["rope"], {"rotary": 0, "theta": 1.0, "pairs": "half"}][-1 if (i := self.layer(layer)["rope"]) is None else i]
        i = np.arange(rope["rotary"] // 2)
        return np.stack([2 * i, 2 * i + 1] if rope["pairs"] == "interleaved" else [i, i + len(i)], 1), rope["theta"] ** (-i / max(len(i), 1))

    def texts(self, table, text="text", id=None):
        """{full id: text} of the dataset that was run, given as {column: list}: by its `id` column, or without one by the number of the row."""
        cells = dict(zip(map(str, table[id] if id else range(len(table[text]))), table[text]))
        keys = zip(self._ids.tolist(), map(str, self.examples["id_text" if id else "index"].to_pylist()))
        return {full: cells[key] for full, key in keys if key in cells}
