/* See class_rules.h. A class keeps vocabulary and merges, and (but for one) the post-processor, and
 * replaces the rest. */
#include "engine/tokenizer/class_rules.h"

#include <string.h>

#include "engine/tokenizer/load.h"
#include "engine/tokenizer/load_steps.h"

#define QWEN2_REGEX                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"                           \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define END "<|endoftext|>"

static const qk_class_name code_llama_names[] = {
    {"prefix_token", "▁<PRE>"}, {"middle_token", "▁<MID>"},  {"suffix_token", "▁<SUF>"},
    {"eot_token", "▁<EOT>"},    {"fill_token", "<FILL_ME>"}, {NULL, NULL}};

static const qk_class_rule rules[] = {
    {.name = "Qwen2Tokenizer",
     .named = {[QK_UNK] = END, [QK_EOS] = END, [QK_PAD] = END},
     .regex = QWEN2_REGEX,
     .nfc = true,
     .prefix = QK_PREFIX_FALSE,
     .prefix_after = true,
     .plain_specials = true},
    {.name = "GPT2Tokenizer",
     .named = {[QK_UNK] = END, [QK_BOS] = END, [QK_EOS] = END},
     .regex = QK_GPT2_REGEX,
     .prefix = QK_PREFIX_REQUIRED},
    {.name = "GPTNeoXTokenizer",
     .named = {[QK_UNK] = END, [QK_BOS] = END, [QK_EOS] = END, [QK_PAD] = "<|padding|>"},
     .regex = QK_GPT2_REGEX,
     .nfc = true,
     .prefix = QK_PREFIX_REQUIRED},
    {.name = "GemmaTokenizer",
     .named = {[QK_UNK] = "<unk>",
               [QK_BOS] = "<bos>",
               [QK_EOS] = "<eos>",
               [QK_PAD] = "<pad>",
               [QK_MASK] = "<mask>"},
     .spaces = true,
     .fallback = true,
     .with_unk = true,
     .prefix = QK_PREFIX_UNREAD},
    {.name = "LlamaTokenizer",
     .named = {[QK_UNK] = "<unk>", [QK_BOS] = "<s>", [QK_EOS] = "</s>"},
     .fallback = true,
     .metaspace = true,
     .legacy = true,
     .prefix = QK_PREFIX_TRUE},
    {.name = "CodeLlamaTokenizer",
     .named = {[QK_UNK] = "<unk>", [QK_BOS] = "<s>", [QK_EOS] = "</s>"},
     .others = code_llama_names,
     .fallback = true,
     .with_unk = true,
     .metaspace = true,
     .add_bos = true,
     .prefix = QK_PREFIX_TRUE},
};

const qk_class_rule *qk_class_rule_find(const char *name)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!strcmp(rules[i].name, name)) return &rules[i];
    return NULL;
}

/* The model's unk_token: of the arguments, where null is the text "None". */
static qk_status set_unknown(qk_loader *l)
{
    qk_bpe *bpe = &l->tok->bpe;
    const char *text = l->specials.unk ? l->specials.unk : "None";
    size_t length = l->specials.unk ? l->specials.unk_length : 4;
    bpe->unk = -1;
    if (!l->rule->with_unk) return QK_OK;
    bpe->unk = qk_vocab_find(&bpe->vocab, text, length);
    if (bpe->unk >= 0) return QK_OK;
    return qk_loader_refuse(l, "unk_token", "%s: \"%.60s\" is no token of the vocabulary",
                            l->rule->name, text);
}

/* "add_prefix_space" of tokenizer_config.json as the class takes it; where it is absent, or null
 * where that is allowed, its default. */
static qk_status read_prefix(qk_loader *l, bool *out)
{
    qk_class_prefix way = l->rule->prefix;
    const qk_json *v = qk_json_get(l->side.config, "add_prefix_space");
    *out = way == QK_PREFIX_TRUE;
    if (way == QK_PREFIX_UNREAD || !v) return QK_OK;
    if (v->type == QK_JSON_T_NULL && way != QK_PREFIX_REQUIRED) return QK_OK;
    if (v->type != QK_JSON_T_BOOL)
        return qk_side_refuse(l, "tokenizer_config.json",
                              "add_prefix_space: true or false expected, found %s",
                              qk_json_type_name(v));
    *out = v->boolean;
    return QK_OK;
}

qk_status qk_apply_class(qk_loader *l)
{
    const qk_class_rule *r = l->rule;
    qk_tokenizer *tok = l->tok;
    bool prefix;
    if (tok->unigram || tok->bpe.prefix_length || tok->bpe.suffix_length)
        return qk_loader_refuse(l, "model", "%s with this kind of model is not supported", r->name);
    tok->bpe.byte_fallback = tok->bpe.fuse_unk = r->fallback;
    tok->bpe.ignore_merges = false;
    QK_TRY(set_unknown(l));
    QK_TRY(read_prefix(l, &prefix));
    if (r->nfc)
        qk_normalizer_add(tok->normalizer, (qk_norm_step){.kind = QK_NORM_FORM, .form = QK_NFC});
    if (r->spaces)
        qk_normalizer_add(
            tok->normalizer,
            (qk_norm_step){
                .kind = QK_NORM_REPLACE, .from = " ", .from_length = 1, .to = "▁", .to_length = 3});
    if (r->metaspace) { /* one that does not split */
        static const qk_json space = {.type = QK_JSON_T_STRING, .text = "▁", .length = 3};
        bool legacy = false;
        if (r->legacy)
            QK_TRY(qk_loader_bool(l, l->side.config, "tokenizer_config.json", "legacy", false,
                                  &legacy));
        qk_prepend prepend = !prefix  ? QK_PREPEND_NEVER
                             : legacy ? QK_PREPEND_ALWAYS
                                      : QK_PREPEND_FIRST;
        return qk_add_metaspace(l, r->name, &space, prepend, false);
    }
    if (!r->regex) return QK_OK;
    tok->pretokenizer->byte_level = true;
    if (prefix && !r->prefix_after) QK_TRY(qk_add_prefix_space(l, r->name));
    QK_TRY(qk_add_regex_split(l, r->name, r->regex));
    return prefix && r->prefix_after ? qk_add_prefix_space(l, r->name) : QK_OK;
}
