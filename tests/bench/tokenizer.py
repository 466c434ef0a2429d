#!/usr/bin/env python3
"""Tokenizers: qkengine against the `tokenizers` package (the Hub's, in Rust), one thread each, in turn, same documents, same ids.

Window: encoding 64 kB documents one after the other, from text to ids, in processor time of the process (other jobs of the machine do
not count); the package's faster call of `encode` and `encode_batch_fast` (which leaves out offsets) counts. Each round starts one process
of each program for each text; it reports its fastest pass of two or three (the first also fills the word caches of both). Printed:
medians over the rounds, and the range. English is the King James Bible of Debian's bible-kjv-text; mixed script and fragments are
drawn from golden/tokenizers/texts.jsonl (languages, code, emoji; without the lines made of one repeated word). Also: one word of 1 MB and of 10 MB; documents on two threads, by the wall's clock; loading.

usage: tokenizer.py PYTHON [--rounds 5] [--only PART] [--text TEXT] [--csv FILE]   (PYTHON: an interpreter with tokenizers 0.22.1; QK_SHARED or ../shared)
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("QK_SHARED", ROOT.parent / "shared"))
PROGRAM = ROOT / "build/cpu/tests/bench/tokenizer"
NAMES = ["gemma3", "llama3_1", "qwen3", "llama2", "smollm2"]
DOCUMENT = 65536

PACKAGE = """
import sys, time, struct
from tokenizers import Tokenizer
begin, processor = time.perf_counter(), time.process_time()
tok = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
if sys.argv[2] == "load":
    print(1e3 * (time.perf_counter() - begin), 1e3 * (time.process_time() - processor))
    sys.exit()
data, docs, at, size = open(sys.argv[2], "rb").read(), [], 0, 0
while at < len(data):
    n = struct.unpack_from("<Q", data, at)[0]
    docs.append(data[at + 8:at + 8 + n].decode())
    at, size = at + 8 + n, size + n
best = 0
for call in (tok.encode, lambda d: tok.encode_batch_fast([d])[0]):
    for _ in range(2):
        begin = time.process_time()
        ids = [call(d).ids.__len__() for d in docs]
        best = max(best, size / (time.process_time() - begin) / 1e6)
print(best, sum(ids))
"""


def write_documents(path, documents):
    path.write_bytes(b"".join(struct.pack("<Q", len(d)) + d for d in documents))


def english():
    done = subprocess.run(["bible", "-l", "4096", "gen1:1-rev22:21"], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split()).encode()
    return [text[i:i + DOCUMENT] for i in range(0, len(text) - DOCUMENT, 2 * DOCUMENT)]


def original_texts():
    lines = [json.loads(line) for line in open(SHARED / "golden/tokenizers/texts.jsonl")]
    left_out = ("repeat", "class-probe", "special", "empty", "long-word")
    return [line["text"] for line in lines if not line["name"].startswith(left_out)]


def mixed():
    """Whole texts in random order, so words come again, as they do in English."""
    texts, rng, documents = original_texts(), random.Random(1), []
    for _ in range(32):
        text = b""
        while len(text) < DOCUMENT:
            text += rng.choice(texts).encode() + rng.choice([b" ", b"\n"])
        documents.append(text[:DOCUMENT].decode(errors="ignore").encode())
    return documents


def fragments():
    """Pieces of 5 to 80 characters cut anywhere and joined: scripts change inside words, and few words come again."""
    texts, rng, documents = original_texts(), random.Random(2), []
    for _ in range(32):
        text = ""
        while len(text) < DOCUMENT:
            part = rng.choice(texts)
            at = rng.randrange(len(part))
            text += part[at:at + rng.randint(5, 80)]
        documents.append(text.encode()[:DOCUMENT].decode(errors="ignore").encode())
    return documents


def words(n):
    """One word of n bytes, of several kinds."""
    rng = random.Random(3)
    parts = ["the", "quick", "brown", "fox", "jump", "over", "lazy", "dog", "ing", "tion"]
    return {
        "syllables": "".join(rng.choices(parts, k=n // 2)).encode()[:n],
        "spaces": b" " * n,
        "one letter": b"a" * n,
        "random letters": bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=n)),
        "digits": bytes(rng.choices(b"0123456789", k=n)),
        "CJK": "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(n // 3)).encode(),
    }


def ours(*args, **env):
    done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, env={**os.environ, **env})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def theirs(python, *args):
    env = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", PACKAGE, *map(str, args)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def spread(values, digits=1):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def unpack(folder):
    types = {n: json.loads((SHARED / f"golden/tokenizers/{n}.meta.json").read_text())["model_type"] for n in NAMES}
    for name in NAMES:
        target = folder / name
        target.mkdir()
        source = SHARED / "tokenizers" / name
        subprocess.run(["zstd", "-dq", source / "tokenizer.json.zst", "-o", target / "tokenizer.json"], check=True)
        shutil.copyfile(source / "tokenizer_config.json", target / "tokenizer_config.json")
        (target / "config.json").write_text(json.dumps({"model_type": types[name]}))


def rates(folder, args, rows):
    for kind, documents in (("English", english()), ("mixed", mixed()), ("fragments", fragments())):
        if args.text not in (None, kind):
            continue
        path = folder / f"{kind}.bin"
        write_documents(path, documents)
        print(f"\n{kind}: {len(documents)} documents, {sum(map(len, documents)) / 1e6:.2f} MB; MB/s, one thread")
        for name in NAMES:
            a, b = [], []
            for _ in range(args.rounds):
                rate, _, tokens, _ = ours(folder / name, "encode", path, 1, 3)
                other, their_tokens = theirs(args.python, folder / name, path)
                assert tokens == their_tokens, (name, tokens, their_tokens)
                a.append(float(rate))
                b.append(float(other))
            ratio = statistics.median(a) / statistics.median(b)
            print(f"  {name:9} qkengine {spread(a)}, tokenizers {spread(b, 2)}, ratio {ratio:.1f}", flush=True)
            rows.append(f"{kind},{name},{statistics.median(a):.2f},{statistics.median(b):.2f},{ratio:.1f}")


def one_word(folder, args, rows):
    print("\nOne word, MB/s at 1 MB and at 10 MB (one pass)")
    small, large = words(1_000_000), words(10_000_000)
    for kind in small:
        line = []
        for size, text in ((1, small[kind]), (10, large[kind])):
            write_documents(folder / f"word{size}.bin", [text])
        for name in NAMES:
            pair = []
            for size in (1, 10):
                pair.append(float(ours(folder / name, "encode", folder / f"word{size}.bin", 1, 1)[0]))
                rows.append(f"word of {size} MB: {kind},{name},{pair[-1]:.2f},,")
            line.append(f"{name} {pair[0]:.1f} / {pair[1]:.1f}")
        print(f"  {kind:15} " + ", ".join(line), flush=True)


def threads(folder, args, rows):
    write_documents(folder / "English.bin", english())
    print("\nEnglish documents on 1 and 2 threads: MB/s elapsed, the best of all rounds; MB for each second of processor time, medians")
    for name in NAMES:
        elapsed, processor = {1: [], 2: []}, {1: [], 2: []}
        for _ in range(args.rounds):
            for n in (1, 2):
                env = {"OMP_WAIT_POLICY": "passive"}
                rates = ours(folder / name, "encode", folder / "English.bin", n, 5, **env)
                processor[n].append(float(rates[0]))
                elapsed[n].append(float(rates[1]))
        best, median = {n: max(elapsed[n]) for n in (1, 2)}, {n: statistics.median(processor[n]) for n in (1, 2)}
        print(f"  {name:9} {best[1]:.1f}, {best[2]:.1f}, ratio {best[2] / best[1]:.2f}; {spread(processor[1])}, {spread(processor[2])}, "
              f"ratio {median[2] / median[1]:.2f}", flush=True)
        rows.append(f"two threads,{name},{best[2]:.2f},,{best[2] / best[1]:.2f}")


def loads(folder, args, rows):
    print("\nLoading, ms of processor time (elapsed); the package")
    for name in NAMES:
        own, wall, other = [], [], []
        for _ in range(args.rounds):
            elapsed, processor = map(float, ours(folder / name, "load"))
            own.append(processor)
            wall.append(elapsed)
            other.append(float(theirs(args.python, folder / name, "load")[1]))
        print(f"  {name:9} {spread(own)} (elapsed {spread(wall)}); {spread(other)}", flush=True)
        rows.append(f"load ms,{name},{statistics.median(own):.1f},{statistics.median(other):.1f},")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["loads", "rates", "words", "threads"])
    parser.add_argument("--text", choices=["English", "mixed", "fragments"])
    parser.add_argument("--csv")
    args = parser.parse_args()
    subprocess.run(["make", "-s", str(PROGRAM.relative_to(ROOT))], cwd=ROOT, check=True)
    rows = ["what,tokenizer,qkengine,tokenizers,ratio"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        unpack(folder)
        parts = {"loads": loads, "rates": rates, "words": one_word, "threads": threads}
        for name, part in parts.items():
            if args.only in (None, name):
                part(folder, args, rows)
    if args.csv:
        pathlib.Path(args.csv).write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    sys.exit(main())
