"""What AutoTokenizer reads beside tokenizer.json: every row of the table in engine/tokenizer/README.md has cases (tests/tools/
autotokenizer_cases.py), and `qkengine tokenize` gives the ids of transformers 5.1.0, or refuses by name.

usage: autotokenizer.py [--random N] [--seed S]

The ids are in tests/data/tokenizer/autotokenizer.jsonl. Where transformers 5.1.0 and tokenizers 0.22.1 are installed they are made again and
compared, and N random folders (default 300) are compared as well.
"""
import argparse
import collections
import json
import pathlib
import random
import re
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests/tools"), str(ROOT / "tests/interop")]
import autotokenizer_cases as cases   # noqa: E402
import make_autotokenizer_cases as maker   # noqa: E402
from common import engine, main, make_workspace, run   # noqa: E402

OPTIONS = argparse.Namespace(random=300, seed=1)


def golden():
    lines = maker.GOLDEN.read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def tokenize(case, folder, *more):
    """The finished `qkengine tokenize` over the texts of a case."""
    maker.write(case, folder)
    (folder / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in case["texts"]))
    return engine(["tokenize", folder, folder / "texts.jsonl", "--jsonl", "--json", "--max-length", case.get("max_length", 0), *more], folder)


def difference(case, expected):
    """What is wrong with a case; None when it is right."""
    with tempfile.TemporaryDirectory() as folder:
        done = tokenize(case, pathlib.Path(folder))
    if "refused" in case:
        right = done.returncode == 1 and case["refused"] in done.stderr
        return None if right else f"not refused with {case['refused']!r}: {done.returncode} {done.stderr} {done.stdout[:200]}"
    if "fails" in expected:
        return None if done.returncode == 1 else f"the reference fails ({expected['fails']}): {done.stdout[:200]}"
    if done.returncode:
        return done.stderr
    if case.get("warns", "") not in done.stderr or (done.stderr and "warns" not in case):
        return f"warnings: {done.stderr!r}"
    got = [json.loads(line)["ids"] for line in done.stdout.splitlines()]
    return None if got == expected["ids"] else f"got      {got}\n   expected {expected['ids']}"


def table():
    """The first column of the tables in the README of the tokenizer."""
    text = (ROOT / "engine/tokenizer/README.md").read_text()
    rows = re.findall(r"^\| (.+?) \|", text, re.M)
    names = [name.replace("`", "") for name in rows if name not in ("key", "file", "---")]
    assert len(names) == len(set(names)), "a row stands twice in the table"
    return names


def every_row_has_a_case(folder):
    rows, covered = table(), {case["row"] for case in cases.CASES}
    assert not set(rows) - covered, f"rows without a case: {sorted(set(rows) - covered)}"
    assert not covered - set(rows), f"cases without a row: {sorted(covered - set(rows))}"


def program_keys():
    """The keys that config_keys.c knows."""
    source = (ROOT / "engine/tokenizer/config_keys.c").read_text()
    lists = [re.search(name + r"\[\] = \{(.*?)\};", source, re.S).group(1) for name in ("read_keys", "idle_keys")]
    return {key for text in lists for key in re.findall(r'"(\w+)"', text)}


def every_key_of_the_program_has_a_row(folder):
    """The lists of config_keys.c, the table, and the line of keys without a row name the same keys."""
    rows = set(table())
    also = re.search(r"^Also without effect: (.*)$", (ROOT / "engine/tokenizer/README.md").read_text(), re.M).group(1)
    assert re.findall(r"`(\w+)`", also) == cases.ALSO_IDLE
    missing = program_keys() - rows - set(cases.ALSO_IDLE)
    assert not missing, f"keys without a row: {sorted(missing)}"


def every_key_of_the_reference_has_a_row(folder):
    """Arguments that PreTrainedTokenizerBase, TokenizersBackend and the supported classes take."""
    if not maker.load_library():
        return "SKIPPED: transformers 5.1.0 is not installed"
    import inspect
    import transformers
    rules = re.findall(r'\.name = "(\w+)"', (ROOT / "engine/tokenizer/class_rules.c").read_text())
    keys = set()
    for owner in transformers.tokenization_utils_base.PreTrainedTokenizerBase, transformers.TokenizersBackend:
        keys |= set(re.findall(r'kwargs\.(?:pop|get)\("(\w+)"', inspect.getsource(owner.__init__)))
    for rule in rules:
        keys |= set(inspect.signature(getattr(transformers, rule).__init__).parameters) - {"self", "kwargs"}
    keys = {key for key in keys if not key.endswith("_token") or key.startswith("add_")}
    missing = keys - set(table()) - {"tokenizer"}   # "tokenizer" is only taken away
    assert rules and not missing, f"keys without a row: {sorted(missing)}"
    return f"{len(keys)} keys"


def cases_are_those_of_the_goldens(folder):
    made = [(line["row"], line["case"]) for line in golden()]
    assert made == [(case["row"], maker.digest(case)) for case in cases.CASES], "run tests/tools/make_autotokenizer_cases.py"
    assert len(made) >= 60


def ids_are_those_of_the_reference(folder):
    wrong = []
    for case, expected in zip(cases.CASES, golden()):
        said = difference(case, expected)
        if said:
            wrong.append(f"{case['row']} {json.dumps(case['files'])[:600]} {case['texts']}\n   {said}")
    print(f"autotokenizer: {len(cases.CASES) - len(wrong)} of {len(cases.CASES)} cases covered")
    assert not wrong, "\n" + "\n".join(wrong)


def a_cut_text_keeps_its_offsets(folder):
    """Ids and offsets of a text cut at its left end are the last ones of the whole text, those of the special tokens stay."""
    case = {"files": {"tokenizer.json": {"post_processor": cases.BOTH}, "tokenizer_config.json": {"truncation_side": "left"}}, "texts": ["hello  world 12", "the \u00e9t\u00e9 <s> hello"]}
    lines = [[json.loads(line) for line in tokenize(case | more, folder, "--offsets").stdout.splitlines()] for more in ({}, {"max_length": 5})]
    for whole, cut in zip(*lines):
        assert cut["truncated"] and not whole["truncated"]
        for key in "ids", "offsets":
            assert cut[key] == whole[key][:1] + whole[key][-4:], (whole, cut)


def what_is_read_enters_the_identity(folder):
    """tokenizer_files of the manifest: as before where the old files are absent or not read, with them where they are."""
    make_workspace(folder)
    model = folder / "model"
    whole = (model / "tokenizer_config.json").read_text()
    bare = json.dumps({key: value for key, value in json.loads(whole).items() if key != "added_tokens_decoder"})
    (model / "tokenizer_config.json").write_text(bare)

    def files(name, *settings):
        done = run(folder, f"output.data_root={name}", "dataset.max_samples=2", *settings)
        assert done.returncode == 0, done.stderr
        manifest = json.loads(next((folder / name / "final").rglob("manifest.json")).read_text())
        text = json.dumps(manifest)
        hashes = json.loads(re.search(r'"tokenizer_files": (\[.*?\])', text).group(1))
        return {entry["name"]: entry["sha256"] for entry in hashes}
    usual = files("a")
    assert list(usual) == ["tokenizer.json", "tokenizer_config.json"]
    (model / "special_tokens_map.json").write_text('{"pad_token": "</s>"}')
    (model / "added_tokens.json").write_text("{}")
    read = files("b")
    assert list(read) == [*usual, "special_tokens_map.json", "added_tokens.json"] and usual.items() <= read.items()
    (model / "tokenizer_config.json").write_text(whole)
    assert list(files("c")) == list(usual)
    shutil.copytree(model, folder / "other")
    assert list(files("d", "tokenizer.name=other")) == [*usual, "config.json"]


def goldens_are_made_again(folder):
    transformers = maker.load_library()
    if not transformers:
        return "SKIPPED: transformers 5.1.0 is not installed"
    for case, line in zip(cases.CASES, golden()):
        made = maker.reference(transformers, case)
        assert made.items() <= line.items(), (case, made, line)


def classes_are_those_of_the_reference(folder):
    """The table in classes.c against transformers' own."""
    if not maker.load_library():
        return "SKIPPED: transformers 5.1.0 is not installed"
    from transformers.models.auto import tokenization_auto as auto
    source = (ROOT / "engine/tokenizer/classes.c").read_text()
    rows = re.findall(r'\{"(\w+)",\s*((?:"[^"]*"\s*)+)\}', re.search(r"\} listed\[\] = \{(.*?)\n\};", source, re.S).group(1))
    listed = {model: name for name, models in rows for model in "".join(re.findall(r'"([^"]*)"', models)).split()}
    assert listed.keys() == auto.TOKENIZER_MAPPING_NAMES.keys()
    for model, name in auto.TOKENIZER_MAPPING_NAMES.items():
        assert name is None or name.replace("Fast", "") == listed[model], (model, name, listed[model])


# ---- random folders ----

class Folders:
    """Random files around the tiny tokenizer."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.contents = ["<s>", "</s>", "<a>", "<b>", "<m>", "hello", "w", "<unk>", "<|endoftext|>", "<pad>", " x", "A"]

    def some(self, most):
        return self.random.sample(self.contents, self.random.randint(0, most))

    def flags(self, *keys):
        return {key: self.random.random() < 0.4 for key in keys}

    def token(self, id, content):
        return cases.token(id, content, **self.flags("lstrip", "rstrip", "normalized", "special"), single_word=self.random.random() < 0.15)

    def value(self):
        """A token as a member of tokenizer_config.json."""
        content = self.random.choice(self.contents)
        if self.random.random() < 0.6:
            return content
        typed = {"__type": "AddedToken", "content": content} | self.flags("lstrip", "rstrip", "single_word", "normalized")
        return typed if self.random.random() < 0.7 else {"__type": "AddedToken", "content": content}

    def added(self):
        """A list of tokens with the ids that the library gives them."""
        highest, tokens = -1, []
        for content in self.some(6):
            id = cases.VOCAB.get(content, max(cases.NEXT, highest + 1))
            highest = max(highest, id)
            tokens.append(self.token(id, content))
        return tokens + [self.token(t["id"], t["content"]) for t in tokens if self.random.random() < 0.1]

    def names(self, most, value):
        keys = ["bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "mask_token", "image_token", "x_token", "prefix_token", "eot_token"]
        return {key: value() for key in self.random.sample(keys, self.random.randint(0, most))}

    def extras(self, value, config):
        roll, key = self.random.random(), self.random.choice(["extra_special_tokens", "additional_special_tokens"])
        if roll < 0.25:
            config[key] = [value() for _ in range(self.random.randint(0, 3))]
        elif roll < 0.35:
            config[key] = self.names(3, value)
        elif roll < 0.45:
            config["model_specific_special_tokens"] = self.names(3, value)

    def pipeline(self):
        parts = {"added_tokens": self.added()}
        if self.random.random() < 0.4:
            parts["normalizer"] = self.random.choice([{"type": "Lowercase"}, {"type": "NFKC"}, {"type": "Prepend", "prepend": "x"}])
        if self.random.random() < 0.4:
            parts["post_processor"] = self.random.choice([cases.BOS, cases.BOTH])
        if self.random.random() < 0.2:
            parts["padding"] = cases.PADDING
        if self.random.random() < 0.2:
            parts["truncation"] = cases.LEFT
        return parts

    def config(self):
        config = self.names(4, self.value)
        self.extras(self.value, config)
        if self.random.random() < 0.4:
            config["added_tokens_decoder"] = cases.decoder(*(self.token(self.random.choice([cases.VOCAB.get(c, cases.NEXT), self.random.randint(0, 600)]), c) for c in self.some(5)))
        if self.random.random() < 0.2:
            config["truncation_side"] = self.random.choice(["left", "right"])
        if self.random.random() < 0.1:
            config["split_special_tokens"] = True
        if self.random.random() < 0.2:
            config["add_prefix_space"] = self.random.random() < 0.5
        return config

    def map(self):
        plain = lambda: self.random.choice(self.contents)   # noqa: E731
        either = lambda: plain() if self.random.random() < 0.6 else {"content": plain()} | self.flags("lstrip", "rstrip", "single_word", "normalized")   # noqa: E731
        map = self.names(4, either)
        roll = self.random.random()
        if roll < 0.3:
            map["additional_special_tokens"] = self.some(3)
        elif roll < 0.5:
            map["extra_special_tokens"] = [either() for _ in range(2)]
        return map

    def text(self):
        pieces = [*self.contents, " ", "  ", "hello", " the world", "12", "\u00e9", "x", "_"]
        return "".join(self.random.choice(pieces) for _ in range(self.random.randint(0, 14)))

    def case(self):
        config = self.config()
        name, model = self.random.choice([(cases.FAST, "llama"), (cases.FAST, "mistral"), ("Qwen2Tokenizer", "qwen3"), ("GPT2Tokenizer", "granite"), ("GPTNeoXTokenizer", "olmo2"),
                                          ("GemmaTokenizer", "gemma3_text"), ("LlamaTokenizer", None), (None, "llama"), (None, "smollm3")])
        files = {"tokenizer.json": self.pipeline(), "tokenizer_config.json": config | ({"tokenizer_class": name} if name else {})}
        if model:
            files["config.json"] = {"model_type": model}
        if self.random.random() < 0.4:
            files["special_tokens_map.json"] = self.map()
        if self.random.random() < 0.4:
            files["added_tokens.json"] = {c: self.random.randint(0, 600) for c in self.some(4)}
        return {"files": files, "texts": [self.text() for _ in range(12)], "max_length": self.random.choice([0, 0, 2, 5])}


def random_folders(folder):
    transformers = maker.load_library()
    if not transformers:
        return "SKIPPED: transformers 5.1.0 is not installed"
    folders, wrong, refused, reasons = Folders(OPTIONS.seed), [], 0, collections.Counter()
    for number in range(OPTIONS.random):
        case = folders.case()
        expected = maker.reference(transformers, case)
        said = difference(case, expected)
        if said and "tokenizes exactly as the reference or not at all" in said:
            refused += 1
            reasons[said.split("json: ")[1].split(" qkengine:")[0].split("\n")[0]] += 1
        elif said:
            wrong.append(f"{number}: {json.dumps(case)}\n   {said}")
    print(f"autotokenizer: {OPTIONS.random} random folders, {refused} refused though the reference loads them, {len(wrong)} wrong")
    for reason, count in reasons.most_common():
        print(f"  {count} {reason}")
    assert not wrong, "\n" + "\n".join(wrong[:5])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.parse_args(namespace=OPTIONS)
    sys.exit(main("autotokenizer", [every_row_has_a_case, every_key_of_the_program_has_a_row, every_key_of_the_reference_has_a_row, cases_are_those_of_the_goldens, ids_are_those_of_the_reference,
                                    a_cut_text_keeps_its_offsets, what_is_read_enters_the_identity, goldens_are_made_again, classes_are_those_of_the_reference, random_folders]))
