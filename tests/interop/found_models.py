#!/usr/bin/env python3
"""Checkpoints, tokenizers and folders as they are published, each with its right outcome: the reference's numbers, or a
refusal that says what to do. Ids and vectors are those of transformers 5.1.0.

usage: found_models.py
"""
import json
import shutil
import struct
import sys

from common import CASE, ROOT, engine, main, make_workspace, refused, run, shared

FOUND = ROOT / "tests/data/found"
CHECKPOINT = ROOT / "tests/data/forward/llama_bf16_sharded"
FOLDERS = FOUND / "tokenizers"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"

IDS = [   # folder, text, further options, ids
    ("01-truncation-side-left/model", "hello world", ["--max-length", "6"], [0, 81, 395, 329, 78, 70]),
    ("01-truncation-side-left/tokenizer_json_direction", "hello world", ["--max-length", "6"], [0, 81, 395, 329, 78, 70]),
    ("02-added-tokens-decoder-flags/lstrip", "a <m>  b", [], [0, 67, 2, 223, 272]),
    ("02-added-tokens-decoder-flags/rstrip_removed", "a<m> b", [], [0, 67, 2, 272]),
    ("02-added-tokens-decoder-flags/llama_style_all", "x <s> y", [], [1, 399, 1, 486]),
    ("02-added-tokens-decoder-flags/single_word", "a<m>b", [], [0, 67, 30, 79, 32, 68]),
    ("03-special-tokens-map-and-added-tokens-json/stm_pad", "a [PAD] b", [], [0, 67, 223, 420, 272]),
    ("03-special-tokens-map-and-added-tokens-json/stm_chatml", "a<|im_end|>b", [], [0, 67, 420, 68]),
    ("03-special-tokens-map-and-added-tokens-json/token_in_vocab_only", "a</s>b", [], [0, 67, 1, 68]),
    ("04-model-specific-token-keys/image_token", "a <image> b", [], [0, 67, 223, 420, 272]),
    ("04-model-specific-token-keys/in_vocab", "a<img>b", [], [0, 67, 420, 68]),
    ("04-model-specific-token-keys/model_specific", "a<newtok>b", [], [0, 67, 420, 68]),
    ("05-class-default-special-tokens/qwen3", "doc one<|endoftext|>doc two", [], [0, 70, 81, 69, 223, 319, 71, 420, 70, 81, 69, 288, 89, 81]),
    ("05-class-default-special-tokens/granite", "a<|endoftext|>b", [], [0, 67, 420, 68]),
    ("05-class-default-special-tokens/olmo2", "a<|endoftext|>b", [], [0, 67, 420, 68]),
    ("05-class-default-special-tokens/gemma3", "<pad>", [], [1, 696]),
    ("06-no-tokenizer-class-llama/no_tokenizer_config", " ", [], [1, 343]),
    ("06-no-tokenizer-class-llama/class_missing", " ", [], [1, 343]),
    ("07-tokenizer-class-in-config-json/model", "http://example.com/a", [],
     [0, 74, 86, 86, 82, 28, 17, 17, 71, 90, 359, 82, 78, 71, 16, 276, 17, 67]),
    ("08-regex-word-class-in-brackets/model", "x \u00b2 y", [], [0, 90, 347, 113, 223, 91]),
]


def ids(folder, model, text, more=()):
    (folder / "text.jsonl").write_text(json.dumps(text) + "\n")
    done = engine(["tokenize", model, "text.jsonl", "--jsonl", *more], folder)
    assert done.returncode == 0, (model, done.stderr)
    return [int(i) for i in done.stdout.split()]


# ---- checkpoints ----

def read_shard(path):
    data = path.read_bytes()
    n, = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + n]), data[8 + n:]


def write_shard(path, header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def checkpoint(folder, change_config=None, rename=None, add=None, drop=()):
    """CHECKPOINT as one file, its tensors renamed, added to ({name: (dtype, shape, bytes)}) or dropped."""
    folder.mkdir(parents=True)
    header, body = {}, b""
    for shard in sorted((CHECKPOINT / "model").glob("*.safetensors")):
        part, data = read_shard(shard)
        for name, t in part.items():
            if name == "__metadata__" or name in drop:
                continue
            begin, end = t["data_offsets"]
            header[rename(name) if rename else name] = {**t, "data_offsets": [len(body), len(body) + end - begin]}
            body += data[begin:end]
    for name, (dtype, shape, data) in (add or {}).items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    write_shard(folder / "model.safetensors", header, body)
    config = json.loads((CHECKPOINT / "model/config.json").read_text())
    (folder / "config.json").write_text(json.dumps(change_config(config) if change_config else config))
    return folder


def verified(folder, model, golden=CHECKPOINT / "golden.safetensors"):
    done = engine(["verify", model, golden], folder)
    assert done.returncode == 0, (model, done.stdout[-500:], done.stderr)
    return done


def warned(done, *words):
    for word in ("warning", *words):
        assert word in done.stderr, (word, done.stderr)


def heads_of_other_tasks(folder):
    hidden = json.loads((CHECKPOINT / "model/config.json").read_text())["hidden_size"]
    weight = lambda n: ("F32", [n, hidden], b"\1" * (4 * n * hidden))
    bias = lambda n: ("F32", [n], b"\1" * (4 * n))
    kinds = {"score": {"score.weight": weight(2)}, "v_head": {"v_head.summary.weight": weight(1), "v_head.summary.bias": bias(1)},
             "qa": {"qa_outputs.weight": weight(2), "qa_outputs.bias": bias(2)}, "lm_head_bias": {"lm_head.bias": bias(256)}}
    for name, add in kinds.items():
        checkpoint(folder / name, add=add)
        warned(verified(folder, name), min(add))


def an_unknown_tensor_in_a_layer_is_still_an_error(folder):
    hidden = json.loads((CHECKPOINT / "model/config.json").read_text())["hidden_size"]
    checkpoint(folder / "model", add={"model.layers.0.self_attn.q_proj.bias": ("F32", [hidden], b"\1" * (4 * hidden))})
    refused(engine(["verify", "model", CHECKPOINT / "golden.safetensors"], folder), "model.layers.0.self_attn.q_proj.bias")


def tied_embedding_stored_as_lm_head(folder):
    tie = lambda c: {**c, "tie_word_embeddings": True}
    checkpoint(folder / "model", tie, lambda n: "lm_head.weight" if n == "model.embed_tokens.weight" else n, drop=["lm_head.weight"])
    verified(folder, "model")


def index_names_a_tensor_that_no_shard_has(folder):
    shutil.copytree(CHECKPOINT / "model", folder / "model")
    path = folder / "model/model.safetensors.index.json"
    index = json.loads(path.read_text())
    last = sorted(index["weight_map"].values())[-1]
    index["weight_map"]["mtp.fc.weight"] = last
    path.write_text(json.dumps(index))
    verified(folder, "model")
    index["weight_map"]["model.embed_tokens.weight"] = last      # one that is needed
    path.write_text(json.dumps(index))
    refused(engine(["verify", "model", CHECKPOINT / "golden.safetensors"], folder), "model.embed_tokens.weight")


def newer_dtypes(folder):
    for dtype, bits in [("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8), ("F8_E8M0", 8)]:
        checkpoint(folder / dtype, add={"model.layers.99.w": (dtype, [16, 4], bytes(16 * 4 * bits // 8))})
        done = engine(["verify", dtype, CHECKPOINT / "golden.safetensors"], folder)
        assert "unknown dtype" not in done.stderr and "damaged" not in done.stderr, done.stderr
        assert done.returncode == 0 or "model.layers.99.w" in done.stderr, done.stderr
        checkpoint(folder / f"head-{dtype}", add={"score.weight": (dtype, [16, 4], bytes(16 * 4 * bits // 8))})
        verified(folder, f"head-{dtype}")


def language_model_without_model(folder):
    """A text model of a wrapper, saved on its own: language_model.layers..., and what the wrapper adds."""
    wrap = lambda c: {"model_type": "mistral3", "architectures": ["Mistral3Model"], "vision_config": {"model_type": "pixtral"},
                      "text_config": {**c, "model_type": "mistral", "sliding_window": None}}
    checkpoint(folder / "model", wrap, lambda n: n.replace("model.", "language_model.", 1))
    verified(folder, "model")


def rope_parameters_in_unusual_places(folder):
    """Where transformers 5.1.0 does not look: its numbers, or a refusal by name."""
    found = shared("found/models/16-rope-parameters-in-unusual-places")
    if not found.is_dir():
        return "SKIPPED: no ../shared/found"
    outcomes = {}
    for golden in sorted(found.glob("*.golden.safetensors")):
        name = golden.name.split(".")[0]
        done = engine(["verify", found / name, golden], folder)
        assert done.returncode == 0 or "rope_parameters" in done.stderr, (name, done.stdout[-300:], done.stderr)
        outcomes[name] = "its numbers" if done.returncode == 0 else "refused by name"
    return ", ".join(f"{k}: {v}" for k, v in outcomes.items())


def as_found(folder):
    """The folders of ../shared/found themselves."""
    found = shared("found/models")
    if not found.is_dir():
        return "SKIPPED: no ../shared/found"
    llama = shared("golden/forward/llama2/golden.safetensors")
    for name in ("seqcls_saved_by_transformers_5_1", "v_head", "lm_head_bias", "qa_outputs"):
        verified(folder, found / "10-heads-of-other-tasks-refused" / name, llama)
    for name in ("11-tied-embedding-stored-as-lm-head", "18-language-model-prefix"):
        verified(folder, found / name / "model", found / name / "model.golden.safetensors")
    verified(folder, found / "12-index-names-a-tensor-no-shard-has/model", shared("golden/forward/llama_bf16_sharded/golden.safetensors"))
    for name in ("f4", "f6", "fnuz"):
        done = engine(["verify", found / "19-newer-safetensors-dtypes" / name, llama], folder)
        assert done.returncode == 0 or "damaged" not in done.stderr, (name, done.stderr)


# ---- tokenizers ----

def ids_of_auto_tokenizer(folder):
    wrong = [(name, got, want) for name, text, more, want in IDS if (got := ids(folder, FOLDERS / name, text, more)) != want]
    assert not wrong, wrong
    first = ids(folder, FOLDERS / "03-special-tokens-map-and-added-tokens-json/added_tokens_json_chatml", "<|im_start|>user\nhi<|im_end|>\n")
    assert first[:3] == [1, 697, 528], first
    return f"{len(IDS) + 1} texts"


def added_token_listed_twice(folder):
    """The second one changes nothing; with another id it is refused."""
    shutil.copytree(FOLDERS / "08-regex-word-class-in-brackets/model", folder / "model")
    path = folder / "model/tokenizer.json"
    tokenizer = json.loads(path.read_text())
    before = ids(folder, "model", "hello world")
    tokenizer["added_tokens"].append(dict(tokenizer["added_tokens"][0]))
    path.write_text(json.dumps(tokenizer))
    assert ids(folder, "model", "hello world") == before
    tokenizer["added_tokens"][-1]["id"] += 1
    path.write_text(json.dumps(tokenizer))
    refused(engine(["tokenize", "model", "text.jsonl", "--jsonl"], folder), tokenizer["added_tokens"][0]["content"])


# ---- folders that are none, and messages ----

def git_lfs_pointers(folder):
    model = checkpoint(folder / "model")
    shutil.copy(CASE / "model/tokenizer.json", model)
    (folder / "t.jsonl").write_text('"x"\n')
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        kept = (model / name).read_bytes()
        (model / name).write_text(LFS)
        args = ["tokenize", "model", "t.jsonl", "--jsonl"] if name == "tokenizer.json" else ["verify", "model", CHECKPOINT / "golden.safetensors"]
        refused(engine(args, folder), name, "Git LFS pointer", "git lfs pull")
        (model / name).write_bytes(kept)
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(LFS)
    refused(engine(["verify", "model", CHECKPOINT / "golden.safetensors"], folder), "model.safetensors.index.json", "Git LFS pointer")


def datasets_of_git_lfs_pointers(folder):
    make_workspace(folder)
    for name in ("rows.jsonl", "rows.parquet", "rows.csv", "rows.txt"):
        (folder / name).write_text(LFS)
        refused(run(folder, f"dataset.path={name}"), name, "Git LFS pointer")
        assert not (folder / "out/final").exists()


def models_without_tokenizer_json(folder):
    (folder / "t.jsonl").write_text('"x"\n')
    for files, said in [(["tokenizer.model"], "tokenizer.model"), (["tekken.json"], "tekken.json"), (["vocab.json", "merges.txt"], "vocab.json")]:
        model = folder / said
        model.mkdir()
        shutil.copy(CASE / "model/config.json", model)
        for f in files:
            (model / f).write_text("")
        refused(engine(["tokenize", said, "t.jsonl", "--jsonl"], folder), said, "save_pretrained")


def plan_needs_no_tokenizer(folder):
    make_workspace(folder)
    for f in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "model" / f).unlink()
    done = engine(["plan", "config.yaml", "--set", "tokenizer.max_length=64"], folder)
    assert done.returncode == 0 and "64" in done.stdout, (done.stdout, done.stderr)


def folders_that_are_no_checkpoint(folder):
    kinds = [("lora", ["adapter_config.json", "adapter_model.safetensors"], "adapter", {"adapter_config.json": '{"base_model_name_or_path": "meta-llama/base"}'}),
             ("gguf", ["model.Q4_K_M.gguf"], "GGUF", {}), ("consolidated", ["consolidated.safetensors"], "consolidated.safetensors", {}),
             ("pickle", ["pytorch_model.bin"], "pytorch_model.bin", {}), ("package", ["setup.py", "src.py"], "", {})]
    for name, files, said, content in kinds:
        model = folder / name
        model.mkdir()
        shutil.copy(CASE / "model/config.json", model)
        for f in files:
            (model / f).write_text(content.get(f, "GGUF"))
        done = engine(["verify", name, CHECKPOINT / "golden.safetensors"], folder)
        refused(done, said)
        assert len(done.stderr.strip().splitlines()) >= 2, f"no hint: {done.stderr}"
    (folder / "empty").mkdir()
    refused(engine(["verify", "empty", CHECKPOINT / "golden.safetensors"], folder), "empty")


def messages_name_the_cause(folder):
    (folder / "t.jsonl").write_text('"x"\n')
    for file, words in [("merge_mixed_forms", ["merges"]), ("template_unknown_token", ["<s>"]), ("unigram_unk_range", ["unk_id"])]:
        model = folder / file
        model.mkdir()
        shutil.copy(FOUND / f"messages/{file}.json", model / "tokenizer.json")
        done = engine(["tokenize", file, "t.jsonl", "--jsonl"], folder)
        refused(done, *words)
        assert "not in model.vocab" not in done.stderr, done.stderr
    done = engine(["inspect", FOUND / "messages/data_dir_dotdot"], folder)
    refused(done, "data_dir")
    assert "data_files" not in done.stderr, done.stderr


def empty_section(folder):
    make_workspace(folder)
    text = (folder / "config.yaml").read_text()
    head = text.split("capture:")[0]
    for section, body in (("capture", "capture:\noutput: {data_root: out}\n"), ("output", "output:\n")):
        (folder / "config.yaml").write_text((head if section == "capture" else head + "capture: {}\n") + body)
        refused(engine(["plan", "config.yaml"], folder), section, "{}")
    (folder / "config.yaml").write_text(head + "capture: {}\noutput: {data_root: out}\n")
    done = engine(["plan", "config.yaml"], folder)
    assert done.returncode == 0, done.stderr


def long_seed(folder):
    """Python's random.Random takes an integer of any length."""
    found = shared("found/data/long_seed")
    if found.is_dir():
        shutil.copytree(found, folder / "found")
        done = engine(["run", "config_b.yaml", "--quiet"], folder / "found")
        assert done.returncode == 0, done.stderr
    make_workspace(folder)
    big = "3141592653589793238462643383279502884197169399375131415926535897932384626433832795028841971693993751"
    trees = []
    for seed in (big, big[:-1] + "2", big):
        shutil.rmtree(folder / "out", ignore_errors=True)
        done = run(folder, "capture.head_sampling.count=2", f"capture.head_sampling.seed={seed}")
        assert done.returncode == 0, done.stderr
        trees.append(sorted(p.parent.name for p in (folder / "out/final").rglob("data.parquet")))
    assert trees[0] == trees[2], trees


if __name__ == "__main__":
    sys.exit(main("found: models", [
        heads_of_other_tasks, an_unknown_tensor_in_a_layer_is_still_an_error, tied_embedding_stored_as_lm_head,
        index_names_a_tensor_that_no_shard_has, newer_dtypes, language_model_without_model, rope_parameters_in_unusual_places,
        as_found, ids_of_auto_tokenizer, added_token_listed_twice, git_lfs_pointers, datasets_of_git_lfs_pointers,
        models_without_tokenizer_json, plan_needs_no_tokenizer, folders_that_are_no_checkpoint, messages_name_the_cause,
        empty_section, long_seed]))
