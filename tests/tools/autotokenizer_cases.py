"""The cases of tests/interop/autotokenizer.py: folders of small files, and texts for them.

A case has a row of the table in engine/tokenizer/README.md. `refused` is a part of the message with which qkengine refuses the folder;
such a case says nothing about ids. `warns` is a part of a warning.
"""
FAST = "PreTrainedTokenizerFast"   # with model_type llama tokenizer.json counts
QWEN = {"tokenizer_class": "Qwen2Tokenizer"}
GPT2 = {"tokenizer_class": "GPT2Tokenizer"}
NEOX = {"tokenizer_class": "GPTNeoXTokenizer"}
GEMMA = {"tokenizer_class": "GemmaTokenizer"}
LLAMA = {"tokenizer_class": "LlamaTokenizer"}
TEXT = "hello <a> world<b>  the <s>x</s> <a>"


def vocabulary():
    """Bytes in GPT-2's spelling, the bytes of byte fallback, a few words of both kinds."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(c) for c in printable] + [chr(0x100 + i) for i in range(256 - len(printable))]
    vocab = {t: i for i, t in enumerate(["<unk>", "<s>", "</s>", "<a>", *letters, "\u2581", *(f"<0x{i:02X}>" for i in range(256))])}
    pairs = "h e,l l,he ll,hell o,o r,\u0120 w,\u0120w or,l d,\u0120wor ld,i n,t h,th e,\u0120 the,\u2581 w,\u2581 the,\u2581 hello,d o,o n,\u0120 do,\u2581w or,\u2581wor ld,1 2,. c"
    merges = [pair.split(" ") for pair in pairs.split(",")]
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    return vocab, merges


VOCAB, MERGES = vocabulary()
NEXT = len(VOCAB)   # the id of the first token that is added


def token(id, content, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} | flags


def typed(content, **flags):
    return {"__type": "AddedToken", "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True} | flags


def decoder(*tokens):
    return {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in tokens}


def tokenizer(**parts):
    """A tokenizer.json."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
             "byte_fallback": False, "ignore_merges": False, "vocab": VOCAB, "merges": MERGES}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [token(1, "<s>"), token(2, "</s>")], "normalizer": None,
            "pre_tokenizer": byte_level, "post_processor": None, "decoder": None, "model": model} | parts


def template(*before, behind=()):
    ids = {t: {"id": t, "ids": [VOCAB[t]], "tokens": [t]} for t in (*before, *behind)}
    single = [{"SpecialToken": {"id": t, "type_id": 0}} for t in before] + [{"Sequence": {"id": "A", "type_id": 0}}]
    return {"type": "TemplateProcessing", "single": single + [{"SpecialToken": {"id": t, "type_id": 0}} for t in behind],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": ids}


BOS, BOTH = template("<s>"), template("<s>", behind=["</s>"])
PADDING = {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}
LEFT = {"direction": "Left", "max_length": 4096, "strategy": "LongestFirst", "stride": 0}
# Keys of other classes and other programs, without a row of their own.
ALSO_IDLE = ["slow_tokenizer_class", "max_model_input_sizes", "default_chat_template", "response_template", "response_schema", "grounded_generation_template", "tool_use_template",
             "return_tensors", "image_processor_type", "mask_token_sent", "do_basic_tokenize", "never_split", "do_word_tokenize", "do_subword_tokenize", "word_tokenizer_type",
             "subword_tokenizer_type", "extra_ids", "language", "task", "src_lang", "tgt_lang", "lang_codes", "predict_timestamps", "_commit_hash", "_from_auto", "cache_dir",
             "revision", "subfolder", "token", "use_auth_token", "torch_dtype", "dtype", "transformers_version"]
CASES = []


def case(row, texts=TEXT, parts=None, config=None, model="llama", map=None, added=None, name=None, **more):
    """config: tokenizer_config.json, by default with a class that leaves tokenizer.json as it is; False: no such file. model: the model_type,
    a whole config.json, or None. parts: of tokenizer.json, over the usual ones."""
    files = {"tokenizer.json": parts or {}}
    if config is not False:
        files["tokenizer_config.json"] = {"tokenizer_class": FAST} | (config or {})
        files["tokenizer_config.json"] = {k: v for k, v in files["tokenizer_config.json"].items() if v != "absent"}
    if model is not None:
        files["config.json"] = {"model_type": model} if isinstance(model, str) else model
    if map is not None:
        files["special_tokens_map.json"] = map
    if added is not None:
        files["added_tokens.json"] = added
    CASES.append({"row": row, "files": files, "texts": [texts] if isinstance(texts, str) else texts} | more)


def sides():
    long = ["hello world 12 the hello", "a", "", "<s>hello</s> the <a>", "one <b> two"]
    for length in 0, 1, 2, 3, 6:
        case("truncation_side", long, {"post_processor": BOTH}, {"truncation_side": "left"}, max_length=length)
    case("truncation_side", long, {"post_processor": BOS, "truncation": LEFT}, {"truncation_side": "right"}, max_length=4)
    case("truncation_side", long, {"post_processor": BOS}, QWEN | {"truncation_side": "left"}, "qwen3", max_length=4)
    case("truncation_side", "a", config={"truncation_side": "Left"}, refused="truncation_side: \"right\" or \"left\" expected")
    case("truncation_side", "a", config={"truncation_side": None}, refused="truncation_side")
    case("truncation", long, {"post_processor": BOS, "truncation": LEFT}, max_length=4)
    case("truncation", long, {"truncation": LEFT | {"direction": "Right"}}, max_length=4)
    case("truncation", long, {"truncation": LEFT}, QWEN, "qwen2", max_length=4)
    case("truncation", "a", {"truncation": LEFT | {"direction": "up"}}, refused="truncation.direction")
    case("padding_side", long, config={"padding_side": "left"}, max_length=4)
    case("padding_side", "a", config={"padding_side": "up"}, refused="padding_side")
    case("padding", "a<pad> b", {"padding": PADDING})
    case("padding", "a<pad> b", {"padding": PADDING}, {"pad_token": None})
    case("padding", "a<pad> b", {"padding": PADDING}, {"pad_token": "<b>"})
    case("padding", "a<pad> b", {"padding": PADDING}, GPT2, "gpt2")


def decoders():
    tokens = [token(1, "<s>"), token(2, "</s>"), token(3, "<a>", special=False, normalized=True), token(NEXT, "<b>")]
    parts = {"added_tokens": tokens, "post_processor": BOS}
    row = "added_tokens_decoder"
    for flag in "lstrip", "rstrip", "single_word", "normalized":
        for value in False, True:
            mine = [token(t["id"], t["content"], **{flag: not value}) for t in tokens]
            other = [token(t["id"], t["content"], **{flag: value}) for t in tokens]
            case(row, [TEXT, "x<a>y a <b>  c", "<A> <a>"], {"added_tokens": mine, "normalizer": {"type": "Lowercase"}}, {row: decoder(*other)})
    for special in False, True:
        case(row, [TEXT, "<A>"], parts | {"normalizer": {"type": "Lowercase"}}, {row: decoder(token(3, "<a>", special=special, normalized=True)), "pad_token": "<a>"})
    case(row, TEXT, parts, {row: decoder(token(9, "<q>"), token(4, "<b>"), token(700, "<c>"))}, name="ids are the library's own")
    case(row, "a<b>b<q>c<c>", parts, {row: decoder(token(9, "<q>"), token(4, "<b>"), token(700, "<c>"))})
    case(row, TEXT, parts, {row: {}}, map={"pad_token": "<b>", "cls_token": "<q>"}, added={"x": 900})
    case(row, TEXT, parts, QWEN | {row: decoder(*tokens[:2])}, "qwen2")
    case(row, TEXT, parts, QWEN | {row: decoder(*tokens)}, "qwen2")
    case(row, ["a <a>  b"], parts, QWEN | {row: decoder(token(3, "<a>", lstrip=True, rstrip=True)), "pad_token": "<a>"}, "qwen2")
    case(row, ["a <a>  b"], parts, GPT2 | {row: decoder(token(3, "<a>", lstrip=True, rstrip=True)), "pad_token": "<a>"}, "gpt2")
    case(row, "a <a> b", {}, {row: {"3": {"content": "<a>"}}})
    case(row, "a <a> b", {}, {row: {"3": {"content": "<a>", "special": True, "color": 3}}})
    case(row, "a", config={row: None}, refused="added_tokens_decoder: an object expected, found null")
    case(row, "a", config={row: []}, refused="added_tokens_decoder: an object expected, found an array")
    case(row, "a", config={row: {"3": "<a>"}}, refused="added_tokens_decoder: a token with \"content\" expected")
    case(row, "a", config={row: {"3": {"content": "<a>", "lstrip": 1}}}, refused="true or false")
    case(row, "a", config={row: {"x": {"content": "<a>"}}}, refused="\"x\" is no id")


def old_files():
    row = "special_tokens_map.json"
    text = "hello <pad> <cls>world<m> a<s>b"
    case(row, text, map={"bos_token": "<s>", "pad_token": "<pad>", "cls_token": "<cls>"})
    case(row, text, map={"cls_token": {"content": "<cls>", "lstrip": True, "rstrip": True, "normalized": False, "single_word": False}})
    case(row, text, map={"cls_token": {"content": "<cls>", "lstrip": True, "rstrip": True, "normalized": True}}, config={"cls_token": "<m>"})
    case(row, text, map={"pad_token": None}, config={"pad_token": "<pad>"})
    case(row, text, map={"additional_special_tokens": ["<m>", "<pad>"]})
    case(row, text, map={"additional_special_tokens": ["<m>"]}, config={"additional_special_tokens": ["<pad>"]})
    case(row, text, map={"extra_special_tokens": ["<m>", {"content": "<pad>", "lstrip": True}]}, config={"additional_special_tokens": ["<cls>"]})
    case(row, text, map={"extra_special_tokens": {"m_token": "<m>", "x": "<pad>"}}, config={"image_token": "<cls>"})
    case(row, text, map={"m_token": "<m>", "n_token": {"content": "<pad>", "rstrip": True}}, config={"m_token": "<cls>"})
    case(row, text, map={"pad_token": "<pad>"}, config=QWEN, model="qwen2")
    case(row, text, map={"additional_special_tokens": ["<m>"]}, config=False)
    case(row, text, map={"prefix_token": "<m>", "eot_token": None, "additional_special_tokens": ["<pad>"]}, config=False)
    case(row, "a", map={"additional_special_tokens": [{"content": "<m>", "lstrip": False}]}, refused="additional_special_tokens: a string or an AddedToken")
    case(row, text, map={"additional_special_tokens": [typed("<m>")]})
    case(row, "a", map={"pad_token": {"content": "<pad>", "special": True}}, refused="\"special\" cannot be given here")
    case(row, "a", map={"add_bos_token": True}, refused="add_bos_token: this key is not supported")
    case(row, "a", map={"truncation_side": "left"}, refused="truncation_side: this key is not supported")
    row = "added_tokens.json"
    case(row, text, added={"<m>": NEXT, "<pad>": NEXT + 1})
    case(row, text, added={"<m>": NEXT + 7, "<pad>": 3, "<cls>": 5})
    case(row, [text, "<M> <PAD>"], {"normalizer": {"type": "Lowercase"}}, {"pad_token": "<pad>"}, map={"cls_token": "<cls>"}, added={"<m>": 700, "<pad>": 701, "<cls>": 702})
    case(row, [text, "<M> <PAD>"], {"normalizer": {"type": "Lowercase"}}, {"pad_token": typed("<pad>")}, added={"<m>": 700, "<pad>": 701})
    case(row, text, {"added_tokens": [token(1, "<s>", lstrip=True), token(2, "</s>")]}, added={"<s>": 1, "<m>": 2, "<pad>": 700})
    case(row, text, {"added_tokens": [token(1, "<s>", lstrip=True), token(2, "</s>")]}, added={"<s>": 700, "<m>": 2})
    case(row, text, added={"<m>": 700, "<pad>": 701}, config=GEMMA, model="gemma2")
    case(row, "a", added={"<m>": "5"}, refused="<m>: an id expected")


def names():
    text = "a <bos> b<m>c <img> <pad>d"
    for key in "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token":
        case(key, text, config={key: "<m>"})
    case("pad_token", text, config={"pad_token": typed("<m>", lstrip=True, rstrip=True), "unk_token": "<img>", "bos_token": "<pad>"})
    case("pad_token", text, config={"pad_token": None, "eos_token": ""})
    case("pad_token", text, config={"pad_token": "<m>", "cls_token": typed("<m>", lstrip=True), "mask_token": "<m>"})
    case("pad_token", "a", config={"pad_token": {"content": "<m>"}}, refused="pad_token: a string or an AddedToken")
    case("bos_token", "a", config={"bos_token": False}, refused="bos_token: a string or an AddedToken")
    case("unk_token", ["a<m>b\u00e9\u4e16"], config=GEMMA | {"unk_token": "<a>"}, model="gemma")
    case("unk_token", "a", config=GEMMA | {"unk_token": "<q>"}, model="gemma", refused="\"<q>\" is no token of the vocabulary")
    case("*_token", text, config={"image_token": "<img>", "boi_token": "<m>"})
    case("*_token", text, config={"image_token": typed("<img>", lstrip=True), "boi_token": "<m>"})
    case("*_token", text, config={"image_token": "<s>", "x_token": "hello"})
    case("*_token", text, config={"image_token": 5}, warns="keys that are not known and have no effect: image_token")
    case("*_token", text, config=GPT2 | {"image_token": "<img>"}, model="gpt2")
    case("*_token", ["a<m>\u2581<PRE>b \u2581<EOT><FILL_ME>"], config={"tokenizer_class": "absent", "prefix_token": "<m>", "eot_token": None})
    case("*_token", ["a<m>\u2581<PRE>b \u2581<EOT><FILL_ME>"], config={"tokenizer_class": "absent", "prefix_token": typed("<m>", lstrip=True)})
    row = "extra_special_tokens"
    case(row, text, config={row: ["<m>", typed("<img>", lstrip=True), "<m>"]})
    case(row, text, config={row: {"image": "<img>", "pad_token": typed("<m>")}, "pad_token": "<pad>"})
    case(row, text, config={row: None, "additional_special_tokens": ["<m>"]})
    case(row, text, config=QWEN | {row: ["<m>", typed("<img>", lstrip=True)]}, model="qwen3")
    case(row, text, config={"tokenizer_class": "absent", row: ["<m>"]})
    case(row, "a", config={row: "<m>"}, refused="extra_special_tokens: a list of tokens expected, found a string")
    case(row, "a", config={row: ["<m>", 5]}, refused="extra_special_tokens: a string or an AddedToken")
    case(row, "a", config={row: {"x": None}}, refused="extra_special_tokens: an object of names and tokens expected")
    row = "additional_special_tokens"
    case(row, text, config={row: ["<m>", "<img>"]})
    case(row, text, config={row: {"m": "<m>", "i": "<img>"}})
    case(row, text, config={row: ["<m>"], "extra_special_tokens": ["<img>"]})
    row = "model_specific_special_tokens"
    case(row, text, config={row: {"m": "<m>", "i_token": typed("<img>", rstrip=True)}})
    case(row, text, config={row: {"m": "<m>"}, "image_token": "<img>"})
    case(row, "a", config={row: ["<m>"]}, refused="model_specific_special_tokens: an object expected")


def classes():
    text = ["hello <|endoftext|> world12  the", "<|padding|><s></s><pad><mask><bos><eos><unk>", "e\u0301\u00e9 12. http://example.com/a  b\n\n c", " hello", "<s> hello", "\u4e16\x07"]
    post = {"post_processor": BOS}
    gone = {"tokenizer_class": "absent"}
    for rule, model in (QWEN, "qwen3_moe"), (GPT2, "granite"), (GPT2, "olmo3"), (NEOX, "olmo2"), (GEMMA, "gemma3_text"), (GEMMA, "gemma3"), (LLAMA, {}), (LLAMA, None):
        case("tokenizer_class", text, post, rule, model)
    for model in "qwen2", "granite", "olmo2", "olmo3", "gemma", "gemma2", "phi3", "mistral", "ministral", "ministral3", "mistral3", "mixtral", "glm", "glm4", "mllama", "mllama_text_model", "smollm3", "llama", "qwen3":
        case("model_type", text, post, gone, model)
    case("model_type", text, post, False, "llama")
    case("model_type", text, post, False, None)
    case("model_type", text, post, gone, {"model_type": "a_new_one"})
    case("model_type", text, post, LLAMA, "a_new_one")
    case("model_type", "a", post, gone, "bert", refused="tokenizer_class: \"BertTokenizer\" is not supported")
    case("model_type", text, post, {}, "bert")
    case("tokenizer_class", text, post, QWEN | {"tokenizer_class": "Qwen2TokenizerFast"}, "qwen2")
    case("tokenizer_class", text, post, {"tokenizer_class": "LlamaTokenizerFast"}, "llama")
    case("tokenizer_class", text, post, {"tokenizer_class": "GemmaTokenizer"}, "qwen2")
    case("tokenizer_class", text, post, {"tokenizer_class": ""}, "llama")
    case("tokenizer_class", text, post, {"tokenizer_class": "BloomTokenizerFast"}, {})
    case("tokenizer_class", text, post, {"tokenizer_class": "TokenizersBackend"}, "mistral")
    case("tokenizer_class", "a", post, {"tokenizer_class": "BertTokenizer"}, {}, refused="\"BertTokenizer\" is not supported")
    case("tokenizer_class", "a", post, {"tokenizer_class": "CohereTokenizer"}, "cohere", refused="\"CohereTokenizer\" is not supported")
    row = "config.json: tokenizer_class"
    for name in "GPT2Tokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "Qwen2TokenizerFast", "TokenizersBackend":
        case(row, text, post, gone, {"model_type": "llama", "tokenizer_class": name})
    case(row, text, post, {"tokenizer_class": None}, {"model_type": "mistral", "tokenizer_class": "GPTNeoXTokenizer"})
    case(row, text, post, GPT2, {"model_type": "gpt2", "tokenizer_class": "Qwen2Tokenizer"})
    case(row, "a", post, gone, {"model_type": "llama", "tokenizer_class": "NoSuchTokenizer"}, refused="\"NoSuchTokenizer\" is not supported")
    case(row, "a", post, gone, {"model_type": "llama", "tokenizer_class": "PreTrainedTokenizer"}, refused="\"PreTrainedTokenizer\" is not supported")
    for rule, model in (GPT2, "gpt2"), (QWEN, "qwen2"), (NEOX, "gpt_neox"), (LLAMA, {}), (GEMMA, "gemma"), (gone, "llama"), ({}, "llama"):
        for value in False, True:
            case("add_prefix_space", text, post, rule | {"add_prefix_space": value}, model)
    case("add_prefix_space", text, post, QWEN | {"add_prefix_space": None}, "qwen2")
    case("add_prefix_space", text, post, LLAMA | {"add_prefix_space": None}, {})
    case("add_prefix_space", "a", post, GPT2 | {"add_prefix_space": None}, "gpt2", refused="add_prefix_space: true or false expected, found null")
    for value in False, True, None:
        case("legacy", text, post, LLAMA | {"legacy": value}, {})
    case("legacy", text, post, {"legacy": True})
    for rule, model in (GPT2, "gpt2"), (gone, "llama"), ({}, "llama"), (GEMMA, "gemma"):
        case("add_bos_token", text, {"post_processor": BOTH}, rule | {"add_bos_token": model == "gpt2", "bos_token": "</s>"}, model)
        case("add_eos_token", text, {"post_processor": BOTH}, rule | {"add_eos_token": True, "eos_token": "</s>"}, model)
    case("add_bos_token", "a", post, gone | {"bos_token": None}, refused="bos_token: CodeLlamaTokenizer puts it in front")
    case("add_bos_token", "a", post, gone | {"bos_token": "<x>:0"}, refused="bos_token: CodeLlamaTokenizer puts it in front")
    case("split_special_tokens", [TEXT, "<s><s>"], {"added_tokens": [token(1, "<s>"), token(2, "</s>"), token(3, "<a>", special=False)], "post_processor": BOS}, {"split_special_tokens": True})
    case("split_special_tokens", [TEXT, "<s><s>"], {}, QWEN | {"split_special_tokens": True, "pad_token": "<b>"}, "qwen2")
    case("split_special_tokens", TEXT, {}, {"split_special_tokens": False})
    case("split_special_tokens", "a", {}, {"split_special_tokens": 1}, refused="split_special_tokens: true or false expected")


def idle():
    """Keys without an effect on ids."""
    values = {"model_max_length": 5, "max_len": 5, "max_length": 5, "stride": 1, "truncation_strategy": "only_first", "pad_to_multiple_of": 8, "pad_token_type_id": 1,
              "clean_up_tokenization_spaces": True, "errors": "strict", "spaces_between_special_tokens": True, "trim_offsets": False, "chat_template": "{{x}}",
              "use_default_system_prompt": True, "model_input_names": ["input_ids"], "processor_class": "X", "name_or_path": "x/y", "backend": "tokenizers",
              "verbose": False, "files_loaded": [], "is_local": True, "local_files_only": True, "from_slow": True, "use_fast": False, "do_lower_case": True,
              "tokenize_chinese_chars": True, "strip_accents": True, "sp_model_kwargs": {"a": 1}, "special_tokens_map_file": "x", "vocab_file": "/nowhere/vocab",
              "merges_file": "/nowhere/merges", "device_map": "auto", "return_token_type_ids": False, "fix_mistral_regex": True, "keep_accents": True, "remove_space": True, "unk_id": 3}
    for key, value in values.items():
        case(key, TEXT, {"post_processor": BOS}, {key: value, "bos_token": "<s>"})
    case("do_lower_case", "HELLO", {}, GPT2 | {"do_lower_case": True}, "gpt2")
    for key in "vocab", "merges":
        case(key, TEXT, {}, {key: None})
    case("vocab", TEXT, {}, GPT2 | {"vocab": {"a": 0}, "merges": []}, "gpt2")
    case("merges", TEXT, {}, {"merges": [["a", "b"]]})
    case("init_inputs", TEXT, {}, {"init_inputs": ["x"]})
    case("init_inputs", TEXT, {}, GPT2 | {"init_inputs": []}, "gpt2")
    case("init_inputs", "a", {}, GPT2 | {"init_inputs": ["x"]}, "gpt2", refused="init_inputs: arguments of a class")
    case("auto_map", "a", {}, {"auto_map": {"AutoTokenizer": ["x.Y", None]}}, refused="auto_map: code of its own (trust_remote_code)")
    case("auto_map", TEXT, {}, {"auto_map": {"AutoConfig": "x.Y"}})
    case("tokenizer_file", TEXT, {}, {"tokenizer_file": None})
    case("tokenizer_file", "a", {}, {"tokenizer_file": "/nowhere/tokenizer.json"}, refused="tokenizer_file: the reference reads it")
    case("fast_tokenizer_files", TEXT, {}, {"fast_tokenizer_files": ["tokenizer.json"]})
    case("fast_tokenizer_files", "a", {}, {"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.0.json"]}, refused="fast_tokenizer_files: files for versions")
    case("gguf_file", "a", {}, {"gguf_file": "x.gguf"}, refused="gguf_file")
    case("tokenizer_object", "a", {}, GPT2 | {"tokenizer_object": {"a": 1}}, "gpt2", refused="tokenizer_object")
    case("post_processor", "a", {}, {"post_processor": "x"}, refused="post_processor")
    case("post_processor", TEXT, {}, {"post_processor": None})
    case("trust_remote_code", TEXT, {}, {"trust_remote_code": True})
    case("trust_remote_code", "a", {}, QWEN | {"trust_remote_code": True}, "qwen2", refused="trust_remote_code")
    case("names of methods", "a", {}, {"encode": 1}, refused="encode: the name of a method")
    case("names of methods", "a", {}, {"add_special_tokens": True}, refused="add_special_tokens: the name of a method")
    for rule, model in ({}, "llama"), (QWEN, "qwen3"):
        case("other keys", TEXT, {"post_processor": BOS}, rule | dict.fromkeys(ALSO_IDLE, 1), model)
    case("other keys", TEXT, {}, {"a_new_key": 1, "bos_token": "<s>", "another": None}, warns="keys that are not known and have no effect: a_new_key, another")


def files():
    word = {"type": "Split", "pattern": {"Regex": "[^\\W_]+"}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    texts = ["x \u00b2 y\u00b3z\u00b9 \u00bc\u00bd_\u00be a", "hello_world \u00b2\u00b2 12\u00bc", "\u00e9_\u0661\u00b2"]
    for regex in "[^\\W_]+", "[\\w]+", "\\w+", "[^\\w\\s]+", "[\\W\\d]+", "[\\w&&[^a-f]]+", "[[\\w]\\-]+", "(?:\\w|-)+", "[\\w\u00b2]+":
        case("tokenizer.json", texts, {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [word | {"pattern": {"Regex": regex}}, level]}})
    twice = [token(1, "<s>"), token(NEXT, "<m>"), token(NEXT, "<m>"), token(2, "</s>")]
    case("tokenizer.json", "a<m> b<s>", {"added_tokens": twice})
    case("tokenizer.json", "a <m> b<s>", {"added_tokens": twice + [token(NEXT, "<m>", lstrip=True, special=False)]})
    case("tokenizer.json", "a <m> b<s>", {"added_tokens": twice}, {"added_tokens_decoder": decoder(*twice)})
    case("tokenizer.json", "a <m> b<s>", {"added_tokens": twice}, QWEN, "qwen2")
    case("tokenizer_config.json", TEXT, {"post_processor": BOS}, False, "mistral")
    case("config.json", TEXT, {"post_processor": BOS}, model=None)
    case("config.json", TEXT, {"post_processor": BOS}, model={})
    case("chat_template.jinja", TEXT, other={"chat_template.jinja": "{{ messages }}"})
    case("vocab.json, merges.txt, tokenizer.model", TEXT, other={"vocab.json": "{\"a\": 0}", "merges.txt": "a b\n", "tokenizer.model": "x"}, config=GPT2, model="gpt2")


for make in sides, decoders, old_files, names, classes, idle, files:
    make()
