#!/usr/bin/env python3
"""Writes tests/data/tokenizer/capture.jsonl: the texts and token ids of capture goldens.

usage: make_tokenizer_pairs.py ../shared/golden/capture > tests/data/tokenizer/capture.jsonl

One line per example: the folder under tests/data/capture with the tokenizer, the limit, the text,
and what the reference program gave for it. Case 7 has case 6's tokenizer. Needs pyarrow.
"""
import json
import pathlib
import re
import sys

import pyarrow.parquet as pq

CASES = {
    "case1_llama_log_uniform": ("text", "case1_llama_log_uniform/model"),
    "case6_truncation_and_ids": ("body", "case6_truncation_and_ids/model"),
    "case7_qwen3_bfloat16": ("text", "case6_truncation_and_ids/model"),
    "old_layout": ("text", "old_layout/tiny/llama-base.1"),
}


def main():
    root = pathlib.Path(sys.argv[1])
    for case, (column, model) in CASES.items():
        config = (root / case / "config.yaml").read_text()
        limit = int(re.search(r"max_length: (\d+)", config).group(1))
        texts = pq.read_table(root / case / "dataset/train.parquet").column(column).to_pylist()
        examples = json.loads((root / case / "expected/tokens.json").read_text())["examples"]
        assert len(texts) == len(examples)
        for text, example in zip(texts, examples):
            assert len(example["ids"]) == example["length"] == len(example["tokens"])
            print(json.dumps({"model": model, "max_length": limit, "text": text,
                              "ids": example["ids"], "tokens": example["tokens"]}))


if __name__ == "__main__":
    main()
