#!/usr/bin/env python3
"""Random strings through `qkengine tokenize` and the tokenizers package: every id, token string and offset must be the same.

usage: tokenizer_fuzz.py [--count N] [--tiny N] [--pipelines N] [--seed S] [--only NAME]

--count strings for each real tokenizer (../shared/tokenizers), --tiny for each small one (../shared/golden/tokenizers/tiny, or the
copies in tests/data/tokenizer). Small ones whose goldens say that the package's Tokenizer.from_file is not AutoTokenizer are left out. --pipelines random sequences of normalizers, pre-tokenizers, added
tokens and post-processors around the models in tests/data/tokenizer, 40 strings each. Same seed, same strings.
"""
import argparse
import itertools
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("QK_SHARED", ROOT.parent / "shared"))
REAL = {"gemma3": "gemma3_text", "llama3_1": "llama", "qwen3": "qwen3", "llama2": "mistral", "smollm2": "llama"}
BATCH = 20000

# Where characters come from: (weight, first, last).
BLOCKS = [(30, 0x61, 0x7A), (8, 0x41, 0x5A), (8, 0x30, 0x39), (10, 0x20, 0x20), (10, 0x21, 0x7E), (3, 0x09, 0x0D), (2, 0x00, 0x1F), (2, 0x7F, 0xA0),
          (6, 0xA1, 0xFF), (4, 0x100, 0x24F), (6, 0x300, 0x36F), (4, 0x370, 0x3FF), (5, 0x400, 0x52F), (3, 0x530, 0x6FF), (4, 0x900, 0xDFF), (3, 0xE00, 0xFFF),
          (3, 0x1000, 0x13FF), (3, 0x1700, 0x1FFF), (5, 0x2000, 0x206F), (4, 0x2070, 0x2BFF), (3, 0x3000, 0x30FF), (6, 0x4E00, 0x9FFF), (3, 0xA000, 0xABFF),
          (4, 0xAC00, 0xD7A3), (3, 0xF900, 0xFFFF), (2, 0x10000, 0x11FFF), (2, 0x16000, 0x1EFFF), (4, 0x1F000, 0x1FAFF), (1, 0x20000, 0x323AF), (1, 0xE0000, 0x10FFFF)]
TOTALS = list(itertools.accumulate(weight for weight, _, _ in BLOCKS))
MARKS = "\u0300\u0301\u0323\u0327\u0345\u0338\u093c\u094d\u05b0\u064b\u3099\u1ab0\u1dc0\u20d0\u0897\U00011930"
SPACES = [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u0085", "\u200b", "\u200d", "\ufeff", "\u2581"]
TAILS = ["'s", "'S", "'t", "'ll", "'RE", "'\u017f", "\u2019s", "_", "-", "...", "://", "()", "\u3002", "\u0130", "\u03a3", "\ufb01", "\u212b", "\u1100\u1161\u11a8", "\u01c5"]


class Refused(Exception):
    """The engine says why it does not take this tokenizer."""


class Strings:
    """Random texts for one tokenizer, drawn partly from its vocabulary and its added tokens."""

    def __init__(self, library, document, seed):
        self.random = random.Random(seed)
        self.library, self.size = library, library.get_vocab_size(with_added_tokens=False)
        self.added = [token["content"] for token in document["added_tokens"]] or ["<s>"]
        self.makers = [self.run, self.run, self.mixed, self.word, self.word, self.piece, self.piece, self.piece, self.space, self.space, self.marked,
                       self.special, self.damaged, lambda: self.random.choice(TAILS), lambda: self.random.choice("0123456789") * self.random.randint(1, 9)]

    def character(self):
        block = self.random.choices(BLOCKS, cum_weights=TOTALS)[0]
        code = self.random.randint(block[1], block[2])
        return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)

    def mixed(self):
        return "".join(self.character() for _ in range(self.random.randint(1, 6)))

    def run(self):
        """A few characters of one script."""
        _, first, last = self.random.choices(BLOCKS, cum_weights=TOTALS)[0]
        return "".join(chr(self.random.randint(first, last)) for _ in range(self.random.randint(1, 8)))

    def word(self):
        text = "".join(self.random.choices("etaoinshrdlucmfwypvbgkqjxz", k=self.random.randint(1, 9)))
        return self.random.choice([text, text, text.capitalize(), text.upper()])

    def piece(self):
        """What a token of the vocabulary stands for: reaches deep into the merges."""
        text = self.library.decode([self.random.randrange(self.size)], skip_special_tokens=False)
        return self.random.choice(["", "", " "]) + text.replace("\ufffd", "")

    def space(self):
        return self.random.choice(SPACES) * self.random.choice([1, 1, 1, 2, 5])

    def marked(self):
        return self.random.choice("aeoiucnsEAUk") + "".join(self.random.choices(MARKS, k=self.random.randint(1, 3)))

    def special(self):
        return self.random.choice(["", " ", "  ", "\n", "a"]) + self.random.choice(self.added) + self.random.choice(["", " ", "\n ", "b"])

    def damaged(self):
        """A special token with one character gone, doubled or in the other case."""
        token = self.random.choice(self.added)
        at = self.random.randrange(len(token))
        return token[:at] + self.random.choice(["", token[at] * 2, token[at].swapcase(), " "]) + token[at + 1:]

    def text(self):
        parts = [self.random.choice(self.makers)() for _ in range(self.random.randint(1, 12))]
        if self.random.random() < 0.05:
            parts.append(parts[-1] * self.random.randint(2, 20))
        return "".join(parts)


def engine(folder, texts, *options):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run([str(ROOT / "qkengine"), "tokenize", str(folder), "-", "--jsonl", "--json", *options], input=lines.encode(), capture_output=True)
    if done.returncode:
        raise Refused(f"{folder}: {done.stderr.decode()}")
    out = [json.loads(line) for line in done.stdout.decode().split("\n") if line]
    assert len(out) == len(texts), (len(out), len(texts))
    return out


def in_characters(text, spans):
    """Byte offsets as the package counts: in characters."""
    if text.isascii():
        return [tuple(span) for span in spans]
    places, at = {}, 0
    for i, char in enumerate(text):
        places[at] = i
        at += len(char.encode())
    places[at] = len(text)
    return [(places[start], places[end]) for start, end in spans]


def byte_characters():
    """GPT-2's spelling: visible bytes of Latin-1 are themselves, the others follow from U+0100 on."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = itertools.count(256)
    return {byte: chr(byte if byte in visible else next(others)) for byte in range(256)}


def panics(call):
    """The package itself stops at some texts: where added tokens overlap after lstrip and rstrip, and in some normalizer sequences."""
    try:
        call()
        return False
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return True


class Comparison:
    def __init__(self, name, folder):
        from tokenizers import Tokenizer
        self.name, self.folder = name, folder
        self.document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self.library = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.library.no_truncation()
        self.library.no_padding()
        # Post-processors trim offsets to what is no space; the untrimmed ones are compared.
        bare = {**self.document, "post_processor": None, "truncation": None, "padding": None}
        self.bare = Tokenizer.from_str(json.dumps(bare))
        self.differences = self.spans = 0
        vocabulary = self.library.get_vocab()
        # Offsets of the package go astray behind bytes that the vocabulary lacks and that are dropped.
        self.lacks = set()
        if not self.document["model"].get("unk_token") and "\u0120" in vocabulary:
            self.lacks = {byte for byte, char in byte_characters().items() if char not in vocabulary}

    def report(self, what, text, ours, theirs):
        self.differences += 1
        if self.differences <= 5:
            print(f"{self.name}: {what} differ for {json.dumps(text)}\n  ours   {ours}\n  theirs {theirs}")

    def batch(self, texts, with_spans):
        """Ids and token strings with special tokens; ids and offsets without; ids cut to 7."""
        for options, special in ((["--strings"], True), (["--plain", "--offsets"], False)):
            want = self.library.encode_batch(texts, add_special_tokens=special)
            for text, ours, theirs in zip(texts, engine(self.folder, texts, *options), want):
                if ours["ids"] != theirs.ids:
                    self.report("ids" if special else "plain ids", text, ours["ids"], theirs.ids)
                elif special and ours["tokens"] != [self.library.id_to_token(i) for i in theirs.ids]:
                    self.report("tokens", text, ours["tokens"], [self.library.id_to_token(i) for i in theirs.ids])
                elif not special and with_spans:
                    self.offsets(text, ours["offsets"])
        limit = 7
        self.library.enable_truncation(limit)
        want = self.library.encode_batch(texts)
        self.library.no_truncation()
        for text, ours, theirs in zip(texts, engine(self.folder, texts, "--max-length", limit.__str__()), want):
            if ours["ids"] != theirs.ids:
                self.report(f"ids cut to {limit}", text, ours["ids"], theirs.ids)

    def offsets(self, text, ours):
        """Where normalising composes or reorders characters the two define offsets differently; such texts are left out."""
        normalizer = self.document["normalizer"]
        if normalizer and "NF" in json.dumps(normalizer) and self.bare.normalizer.normalize_str(text) != text:
            return
        if self.lacks & set(text.encode()):
            return
        theirs = self.bare.encode(text).offsets
        self.spans += 1
        if in_characters(text, ours) != theirs:
            self.report("offsets", text, in_characters(text, ours), theirs)

    def run(self, count, seed, with_spans):
        strings, done = Strings(self.library, self.document, f"{seed}:{self.name}"), 0
        while done < count:
            n = min(BATCH, count - done)
            self.batch([strings.text() for _ in range(n)], with_spans)
            done += n
        print(f"{'ok  ' if not self.differences else 'FAIL'} {self.name}: {count} strings, {self.spans} with offsets, {self.differences} differences", flush=True)
        return self.differences == 0


REGEXES = [r"\s|-", r"\p{L}+|\p{N}", r" ?\p{L}+|\s+(?!\S)|\s+", "[aeiou]{1,2}", r"\p{Lu}", r"[^\s\p{L}]+", "x*", r"\u2581", r"(?i:'s|'t)|\w+"]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def random_pattern(rng):
    return rng.choice([{"Regex": rng.choice(REGEXES)}, {"String": rng.choice([" ", "a", "in", "\u2581", "\u00e9", "-"])}])


def random_normalizer(rng):
    kind = rng.choice(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Strip", "Strip", "Replace", "Replace", "Prepend"])
    more = {"Strip": lambda: {"strip_left": rng.random() < 0.7, "strip_right": rng.random() < 0.5},
            "Replace": lambda: {"pattern": random_pattern(rng), "content": rng.choice(["", " ", "b", "\u2581", "e\u0301", "  "])},
            "Prepend": lambda: {"prepend": rng.choice(["\u2581", " ", "ab"])}}
    return {"type": kind, **more.get(kind, dict)()}


def random_pretokenizer(rng):
    kind = rng.choice(["Split", "Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "Metaspace", "Metaspace", "ByteLevel"])
    more = {"Split": lambda: {"pattern": random_pattern(rng), "behavior": rng.choice(BEHAVIORS), "invert": rng.random() < 0.4},
            "Digits": lambda: {"individual_digits": rng.random() < 0.5}, "Punctuation": lambda: {"behavior": rng.choice(BEHAVIORS)},
            "Metaspace": lambda: {"replacement": rng.choice("\u2581\u2581_"), "prepend_scheme": rng.choice(["always", "first", "first", "never"]), "split": rng.random() < 0.6},
            "ByteLevel": lambda: {"add_prefix_space": rng.random() < 0.5, "trim_offsets": True, "use_regex": rng.random() < 0.5}}
    return {"type": kind, **more.get(kind, dict)()}


def random_added(rng, first):
    contents = rng.sample(["<x>", "<x>y", "Word", "in", " ", "  ", "\u00e9", "e\u0301", "\u2581a", "-", "THE", "\n"], rng.randint(0, 6))
    flag = lambda: rng.random() < 0.3
    return [{"id": first + i, "content": content, "single_word": flag(), "lstrip": flag(), "rstrip": flag(), "normalized": flag(), "special": flag()}
            for i, content in enumerate(contents)]


def random_document(rng, model):
    """A tokenizer.json of random parts."""
    vocab = model["vocab"]
    known = set(vocab) if isinstance(vocab, dict) else {token for token, _ in vocab}
    sequence = lambda key, make, most: {"type": "Sequence", key: [make(rng) for _ in range(rng.randint(0, most))]}
    added = [token for token in random_added(rng, 0) if token["content"] not in known]
    for i, token in enumerate(added):
        token["id"] = len(vocab) + i
    around = {"type": "RobertaProcessing", "sep": ["", 1], "cls": ["", 2], "trim_offsets": True, "add_prefix_space": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": sequence("normalizers", random_normalizer, 4),
            "pre_tokenizer": sequence("pretokenizers", random_pretokenizer, 3), "post_processor": rng.choice([None, around]), "decoder": None, "model": model}


def pipelines(count, seed, temp):
    """Returns how many pipelines were compared, refused, different."""
    models = [json.loads((ROOT / "tests/data/tokenizer" / name / "tokenizer.json").read_text(encoding="utf-8"))["model"] for name in
              ("bpe_fallback_merges_strings", "split_o200k", "unigram_byte_fallback", "bpe_end_of_word_suffix")]
    compared = refused = different = 0
    folder = pathlib.Path(temp) / "pipeline"
    folder.mkdir()
    for i in range(count):
        rng = random.Random(f"{seed}:pipeline:{i}")
        document = random_document(rng, rng.choice(models))
        (folder / "tokenizer.json").write_text(json.dumps(document))
        if panics(lambda: Comparison("", folder)):
            continue
        test = Comparison(f"pipeline {i}", folder)
        strings = Strings(test.library, document, f"{seed}:{i}")
        try:
            texts = ["", " a", "a b"] + [strings.text() for _ in range(37)]
            test.batch([text for text in texts if not panics(lambda: test.library.encode(text))], False)
        except Refused as reason:
            known = ("normalises to the same text", "a normalised length", "a regex that can match no character")
            assert any(text in str(reason) for text in known), reason
            refused += 1
            continue
        compared += 1
        if test.differences:
            different += 1
            print(json.dumps({key: document[key] for key in ("normalizer", "pre_tokenizer", "post_processor", "added_tokens")}))
    print(f"{'ok  ' if not different else 'FAIL'} pipelines: {compared} compared, {refused} refused by name, {different} differ", flush=True)
    return different == 0


def real_folder(name, temp):
    import pyarrow
    source = SHARED / "tokenizers" / name
    folder = pathlib.Path(temp) / name
    folder.mkdir()
    with pyarrow.input_stream(str(source / "tokenizer.json.zst"), compression="zstd") as stream:
        (folder / "tokenizer.json").write_bytes(stream.read())
    (folder / "tokenizer_config.json").write_bytes((source / "tokenizer_config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({"model_type": REAL[name]}))
    return folder


def small_folders():
    root = SHARED / "golden/tokenizers/tiny"
    if not root.is_dir():
        print(f"SKIPPED: no small tokenizers at {root}; the copies in tests/data are used")
        root = ROOT / "tests/data/tokenizer"
    for golden in sorted(root.glob("*/golden.jsonl")):
        if '"ids_raw"' not in golden.read_text():
            yield golden.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--tiny", type=int, default=200)
    parser.add_argument("--pipelines", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    args = parser.parse_args()
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as temp:
        for name in REAL:
            if args.only not in (None, name):
                continue
            if not (SHARED / "tokenizers" / name).is_dir():
                print(f"SKIPPED {name}: not at {SHARED / 'tokenizers'}")
                skipped += 1
                continue
            folder = real_folder(name, temp)
            good = Comparison(name, folder).run(args.count, args.seed, True)
            passed, failed = passed + good, failed + (not good)
        for folder in small_folders():
            if args.only not in (None, folder.name):
                continue
            good = Comparison(folder.name, folder).run(args.tiny, args.seed, False)
            passed, failed = passed + good, failed + (not good)
        if args.only in (None, "pipelines"):
            good = pipelines(args.pipelines, args.seed, temp)
            passed, failed = passed + good, failed + (not good)
    print(f"tokenizer fuzz: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
