#!/usr/bin/env python3
"""Writes tests/data/tokenizer/autotokenizer.jsonl: what AutoTokenizer gives for each case of autotokenizer_cases.py.

Needs transformers 5.1.0 and tokenizers 0.22.1 (no torch). One line a case, in their order; `case` is a digest of what the case is, `fails`
the kind of error with which AutoTokenizer stops.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import autotokenizer_cases as cases   # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "data/tokenizer/autotokenizer.jsonl"
PINS = {"transformers": "5.1.0", "tokenizers": "0.22.1"}


def write(case, folder):
    """The files of a case; tokenizer.json from its parts."""
    for name, content in case["files"].items():
        whole = cases.tokenizer(**content) if name == "tokenizer.json" else content
        (folder / name).write_text(json.dumps(whole))
    for name, text in case.get("other", {}).items():
        (folder / name).write_text(text)


def load_library():
    """transformers, silent; None where it or its version is not there."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "critical"}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import tokenizers
            import transformers
    except ImportError:
        return None
    if {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__} != PINS:
        return None
    transformers.logging.set_verbosity(50)
    return transformers


def digest(case):
    return hashlib.sha256(json.dumps(case, sort_keys=True).encode()).hexdigest()[:12]


def reference(transformers, case):
    """{"ids": [...]} or {"fails": "TypeError"}."""
    folder = pathlib.Path(tempfile.gettempdir()) / f"qk{os.getpid()}"   # without config.json a path that contains "t5" is a model of type t5
    folder.mkdir()
    try:
        write(case, folder)
        limit = {"truncation": True, "max_length": case["max_length"]} if case.get("max_length") else {}
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
        return {"ids": tokenizer(case["texts"], **limit)["input_ids"]}   # one text alone may be an infilling
    except Exception as e:
        return {"fails": type(e).__name__}
    finally:
        shutil.rmtree(folder)


def main():
    transformers = load_library()
    if not transformers:
        sys.exit(f"needs {PINS}")
    with GOLDEN.open("w") as out:   # the library prints warnings to standard output
        print(json.dumps(PINS), file=out)
        for case in cases.CASES:
            line = {"row": case["row"], "case": digest(case)} | reference(transformers, case)
            print(json.dumps(line, separators=(",", ":")), file=out)


if __name__ == "__main__":
    main()
