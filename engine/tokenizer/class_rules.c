/* Which pipeline counts: the file's, or that of a Python class (transformers 5.1.0).
 *
 * C is tokenizer_config.json's tokenizer_class less "Fast", M the class that transformers lists for
 * config.json's model_type. Both there and different: tokenizer.json counts as it stands. Else that
 * class keeps vocabulary, merges, added tokens and post-processor, but replaces normalizer,
 * pre-tokenizer and model flags. Source: golden/tokenizers/README.md, trap 1.
 *
 * next: engine/tokenizer/load_steps.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/tokenizer/load.h"

enum { MAX_CONFIG = 64 << 20 };

#define QWEN2_REGEX                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"                           \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

typedef struct class_rule {
    const char *name;
    const char *regex; /* of the Split before ByteLevel; NULL: the words are cut at no regex */
    bool nfc, byte_level, fallback;
    const char *unk; /* its default */
} class_rule;

static const class_rule classes[] = {
    {"Qwen2Tokenizer", QWEN2_REGEX, true, true, false, NULL},
    {"GPT2Tokenizer", QK_GPT2_REGEX, false, true, false, NULL},
    {"GPTNeoXTokenizer", QK_GPT2_REGEX, true, true, false, NULL},
    {"GemmaTokenizer", NULL, false, false, true, "<unk>"},
    {"LlamaTokenizer", NULL, false, false, true, NULL},
};

/* Model types by how they begin, with the class listed for them. FILE_COUNTS: no class that a
 * tokenizer_config.json names is listed, so tokenizer.json counts. */
#define FILE_COUNTS ""
static const struct {
    const char *model_type;
    bool exact;
    const char *class_name;
} listed[] = {
    {"qwen2", false, "Qwen2Tokenizer"},
    {"qwen3", false, "Qwen2Tokenizer"},
    {"gemma", false, "GemmaTokenizer"},
    {"gpt2", true, "GPT2Tokenizer"},
    {"granite", false, "GPT2Tokenizer"},
    {"starcoder2", true, "GPT2Tokenizer"},
    {"olmo3", true, "GPT2Tokenizer"},
    {"phi", true, "GPT2Tokenizer"},
    {"gpt_neox", true, "GPTNeoXTokenizer"},
    {"olmo", true, "GPTNeoXTokenizer"},
    {"olmo2", true, "GPTNeoXTokenizer"},
    {"stablelm", true, "GPTNeoXTokenizer"},
    {"llama", true, FILE_COUNTS},
    {"smollm3", true, FILE_COUNTS},
    {"mistral", false, FILE_COUNTS},
    {"ministral", false, FILE_COUNTS},
    {"mixtral", true, FILE_COUNTS},
    {"mllama", true, FILE_COUNTS},
    {"phi3", true, FILE_COUNTS},
    {"glm", true, FILE_COUNTS},
    {"glm4", true, FILE_COUNTS},
    {"falcon", true, FILE_COUNTS},
    {"bloom", true, FILE_COUNTS},
    {"deepseek_v3", true, FILE_COUNTS},
    {"opt", true, "GPT2Tokenizer"},
    {"gpt_neo", true, "GPT2Tokenizer"},
    {"codegen", true, "GPT2Tokenizer"},
    {"olmoe", true, "GPTNeoXTokenizer"},
};

/* A JSON file of the folder, or NULL when there is none. */
static qk_status read_config(qk_loader *l, const char *name, const qk_json **out)
{
    char *path = qk_path_join(l->folder, name);
    qk_status s = qk_json_parse_if_there(&l->arena, path, MAX_CONFIG, out, l->err);
    free(path);
    return s;
}

static const char *text_of(const qk_json *object, const char *key)
{
    const qk_json *v = qk_json_get(object, key);
    return v && v->type == QK_JSON_T_STRING ? v->text : NULL;
}

/* The class listed for a model type, FILE_COUNTS, or NULL for a type that is not known here. */
static const char *listed_class(const char *model_type)
{
    for (size_t i = 0; i < sizeof listed / sizeof *listed; i++) {
        size_t n = strlen(listed[i].model_type);
        if (!strncmp(model_type, listed[i].model_type, n) && (!listed[i].exact || !model_type[n]))
            return listed[i].class_name;
    }
    return NULL;
}

static bool is_generic(const char *name, size_t length)
{
    return (length == 19 && !strncmp(name, "PreTrainedTokenizer", length)) ||
           (length == 17 && !strncmp(name, "TokenizersBackend", length));
}

/* Decides which class rules; "" when the file counts as it stands. */
static qk_status choose_class(qk_loader *l, const char *c, const char *model_type,
                              const char **chosen, size_t *length)
{
    const char *m = model_type ? listed_class(model_type) : NULL;
    size_t n = c ? strlen(c) : 0;
    if (n > 4 && !strcmp(c + n - 4, "Fast")) n -= 4;
    *chosen = FILE_COUNTS;
    *length = 0;
    if (c && is_generic(c, n)) return QK_OK;
    if (m && !*m) return QK_OK;
    if (c && m && (strlen(m) != n || strncmp(c, m, n) != 0)) return QK_OK;
    if (!c && !m && !model_type) return QK_OK;
    if (model_type && !m)
        return qk_loader_refuse(l, "model_type",
                                "\"%.60s\" in config.json: its tokenizer class is not known",
                                model_type);
    *chosen = m ? m : c;
    *length = m ? strlen(m) : n;
    return QK_OK;
}

static const class_rule *find_rule(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == length && !strncmp(classes[i].name, name, length))
            return &classes[i];
    return NULL;
}

/* "<unk>" of the class or tokenizer_config.json. */
static qk_status set_unknown(qk_loader *l, const class_rule *rule, const qk_json *config)
{
    qk_bpe *bpe = &l->tok->bpe;
    bpe->unk = -1;
    if (!rule->unk) return QK_OK;
    const qk_json *value = qk_json_get(config, "unk_token");
    const char *text =
        text_of(value, "content") ? text_of(value, "content") : text_of(config, "unk_token");
    if (!text) text = rule->unk;
    bpe->unk = qk_vocab_find(&bpe->vocab, text, strlen(text));
    if (bpe->unk >= 0) return QK_OK;
    return qk_loader_refuse(l, "unk_token", "\"%.60s\" is no token of the vocabulary", text);
}

/* LlamaTokenizer: a Metaspace that does not split, in place of all the file says. */
static qk_status add_llama(qk_loader *l, const qk_json *config)
{
    static const qk_json space = {.type = QK_JSON_T_STRING, .text = "\xE2\x96\x81", .length = 3};
    bool prefix = true, legacy = false;
    QK_TRY(qk_loader_bool(l, config, "tokenizer_config.json", "add_prefix_space", false, &prefix));
    QK_TRY(qk_loader_bool(l, config, "tokenizer_config.json", "legacy", false, &legacy));
    qk_prepend prepend = legacy ? QK_PREPEND_ALWAYS : QK_PREPEND_FIRST;
    return qk_add_metaspace(l, "LlamaTokenizer", &space, prefix ? prepend : QK_PREPEND_NEVER,
                            false);
}

static qk_status apply_rule(qk_loader *l, const class_rule *rule, const qk_json *config)
{
    qk_tokenizer *tok = l->tok;
    bool prefix = false;
    if (tok->is_unigram || tok->bpe.prefix_length || tok->bpe.suffix_length)
        return qk_loader_refuse(l, "model", "%s with this kind of model is not supported",
                                rule->name);
    QK_TRY(qk_loader_bool(l, config, "tokenizer_config.json", "add_prefix_space", false, &prefix));
    tok->bpe.byte_fallback = tok->bpe.fuse_unk = rule->fallback;
    tok->bpe.ignore_merges = false;
    QK_TRY(set_unknown(l, rule, config));
    if (rule->nfc)
        qk_normalizer_add(&tok->normalizer, (qk_norm_step){.kind = QK_NORM_FORM, .form = QK_NFC});
    if (!strcmp(rule->name, "LlamaTokenizer")) return add_llama(l, config);
    if (rule->fallback)
        qk_normalizer_add(&tok->normalizer, (qk_norm_step){.kind = QK_NORM_REPLACE,
                                                           .from = " ",
                                                           .from_length = 1,
                                                           .to = "\xE2\x96\x81",
                                                           .to_length = 3});
    tok->pretokenizer.byte_level = rule->byte_level;
    if (!rule->regex) return QK_OK;
    if (prefix)
        return qk_loader_refuse(l, "tokenizer_config.json",
                                "add_prefix_space with %s is not supported", rule->name);
    return qk_add_regex_split(l, rule->name, rule->regex);
}

/* transformers gives a lone ByteLevel the add_prefix_space of tokenizer_config.json. */
static qk_status check_prefix(qk_loader *l, const qk_json *config, const qk_json *pretokenizer)
{
    const qk_json *wanted = qk_json_get(config, "add_prefix_space");
    const qk_json *there = qk_json_get(pretokenizer, "add_prefix_space");
    if (!wanted || !there || wanted->type != QK_JSON_T_BOOL || there->type != QK_JSON_T_BOOL ||
        wanted->boolean == there->boolean)
        return QK_OK;
    return qk_loader_refuse(l, "pre_tokenizer.add_prefix_space",
                            "tokenizer_config.json has another value");
}

/* "auto_map": a class in the repository itself. */
static bool has_own_code(const qk_json *config)
{
    const qk_json *map = qk_json_get(config, "auto_map");
    return map && (map->type == QK_JSON_T_ARRAY || qk_json_get(map, "AutoTokenizer"));
}

qk_status qk_apply_class(qk_loader *l, const qk_json *pretokenizer, bool *done)
{
    const qk_json *config, *model;
    QK_TRY(read_config(l, "tokenizer_config.json", &config));
    QK_TRY(read_config(l, "config.json", &model));
    const char *name;
    size_t length;
    if (has_own_code(config))
        return qk_loader_refuse(l, "auto_map",
                                "tokenizer_config.json names code of its own (trust_remote_code)");
    QK_TRY(choose_class(l, text_of(config, "tokenizer_class"), text_of(model, "model_type"), &name,
                        &length));
    *done = length > 0;
    if (!*done) return check_prefix(l, config, pretokenizer);
    const class_rule *rule = find_rule(name, length);
    if (!rule)
        return qk_loader_refuse(l, "tokenizer_class",
                                "\"%.*s\" in tokenizer_config.json is not supported", (int)length,
                                name);
    return apply_rule(l, rule, config);
}

/* ---- special tokens ---- */

/* A special token (a string, or an object with "content") must be an added token already: else
 * transformers would add it. */
static qk_status check_special(qk_loader *l, const char *where, const qk_json *value)
{
    const qk_json *content = qk_json_get(value, "content");
    if (!content) content = value;
    if (!content || content->type != QK_JSON_T_STRING ||
        qk_vocab_find(&l->tok->added_ids, content->text, content->length) >= 0)
        return QK_OK;
    return qk_loader_refuse(l, "added_tokens",
                            "%s \"%.60s\" of tokenizer_config.json is not among them", where,
                            content->text);
}

qk_status qk_check_special_tokens(qk_loader *l)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    static const char *const lists[] = {"additional_special_tokens", "extra_special_tokens",
                                        "added_tokens_decoder"};
    const qk_json *config;
    QK_TRY(read_config(l, "tokenizer_config.json", &config));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        QK_TRY(check_special(l, names[i], qk_json_get(config, names[i])));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const qk_json *list = qk_json_get(config, lists[i]);
        if (!list || (list->type != QK_JSON_T_ARRAY && list->type != QK_JSON_T_OBJECT)) continue;
        for (const qk_json *item = list->first; item; item = item->next)
            QK_TRY(check_special(l, lists[i], item));
    }
    bool split = false;
    QK_TRY(
        qk_loader_bool(l, config, "tokenizer_config.json", "split_special_tokens", false, &split));
    if (split)
        return qk_loader_refuse(l, "tokenizer_config.json",
                                "split_special_tokens is not supported");
    return QK_OK;
}
