/* See config_keys.h. Facts: transformers 5.1.0, its tokenization_utils_base and
 * tokenization_utils_tokenizers. */
#include "engine/tokenizer/config_keys.h"

#include <string.h>

#include "engine/base/log.h"
#include "engine/tokenizer/class_rules.h"
#include "engine/tokenizer/load.h"

static const char file[] = "tokenizer_config.json";

/* Read by class_rules.c, classes.c, specials.c or here. */
static const char *const read_keys[] = {
    "tokenizer_class",
    "added_tokens_decoder",
    "additional_special_tokens",
    "extra_special_tokens",
    "add_prefix_space",
    "model_specific_special_tokens",
    "legacy",
    "truncation_side",
    "split_special_tokens",
};

/* They change no id of a text. */
static const char *const idle_keys[] = {
    /* not read where there is a tokenizer.json */
    "add_bos_token",
    "add_eos_token",
    "vocab_file",
    "merges_file",
    "vocab",
    "merges",
    "from_slow",
    "use_fast",
    "special_tokens_map_file",
    "sp_model_kwargs",
    "name_or_path",
    "slow_tokenizer_class",
    /* of padding, of the length that is no limit, of decoding, of chats, of what else is returned
     */
    "padding_side",
    "pad_token_type_id",
    "pad_to_multiple_of",
    "padding",
    "model_max_length",
    "max_len",
    "max_length",
    "max_model_input_sizes",
    "stride",
    "truncation_strategy",
    "truncation",
    "clean_up_tokenization_spaces",
    "errors",
    "spaces_between_special_tokens",
    "trim_offsets",
    "chat_template",
    "use_default_system_prompt",
    "default_chat_template",
    "response_template",
    "response_schema",
    "grounded_generation_template",
    "tool_use_template",
    "model_input_names",
    "return_token_type_ids",
    "return_tensors",
    "processor_class",
    "image_processor_type",
    "mask_token_sent",
    /* of classes that are not supported, and not read by those that are */
    "do_lower_case",
    "do_basic_tokenize",
    "tokenize_chinese_chars",
    "strip_accents",
    "never_split",
    "keep_accents",
    "remove_space",
    "do_word_tokenize",
    "do_subword_tokenize",
    "word_tokenizer_type",
    "subword_tokenizer_type",
    "extra_ids",
    "language",
    "task",
    "src_lang",
    "tgt_lang",
    "lang_codes",
    "predict_timestamps",
    "unk_id",
    /* where it came from and how it was loaded */
    "_commit_hash",
    "_from_auto",
    "backend",
    "files_loaded",
    "is_local",
    "local_files_only",
    "cache_dir",
    "revision",
    "subfolder",
    "token",
    "use_auth_token",
    "trust_remote_code",
    "verbose",
    "device_map",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "init_inputs",
    "fix_mistral_regex",
    "fast_tokenizer_files",
    "auto_map",
    "tokenizer_file",
    "gguf_file",
    "tokenizer_object",
    "post_processor",
};

/* Names of methods: the reference stops at such a key. */
static const char *const methods[] = {
    "add_special_tokens",
    "add_tokens",
    "apply_chat_template",
    "batch_decode",
    "convert_added_tokens",
    "convert_ids_to_tokens",
    "convert_to_native_format",
    "convert_tokens_to_ids",
    "convert_tokens_to_string",
    "decode",
    "encode",
    "encode_message_with_chat_template",
    "from_pretrained",
    "get_added_vocab",
    "get_chat_template",
    "get_special_tokens_mask",
    "get_vocab",
    "num_special_tokens_to_add",
    "pad",
    "parse_response",
    "push_to_hub",
    "register_for_auto_class",
    "save_chat_templates",
    "save_pretrained",
    "save_vocabulary",
    "set_truncation_and_padding",
    "tokenize",
    "train_new_from_iterator",
    "update_post_processor",
};

#define LISTED(list, key) is_listed(list, sizeof list / sizeof *list, key)
static bool is_listed(const char *const *list, size_t count, const qk_json *key)
{
    for (size_t i = 0; i < count; i++)
        if (qk_json_text_is(key->key, key->key_length, list[i])) return true;
    return false;
}

static bool is_null(const qk_json *v)
{
    return !v || v->type == QK_JSON_T_NULL;
}

static qk_status refuse(qk_loader *l, const char *key, const char *why)
{
    return qk_side_refuse(l, file, "%.80s: %s", key, why);
}

/* "right" or "left", where the key is there. */
static qk_status read_side(qk_loader *l, const char *key, bool *left)
{
    const qk_json *v = qk_json_get(l->side.config, key);
    if (!v) return QK_OK;
    *left = qk_json_is_string(v, "left");
    return *left || qk_json_is_string(v, "right")
               ? QK_OK
               : refuse(l, key, "\"right\" or \"left\" expected");
}

/* A file for this version of transformers in place of tokenizer.json: "tokenizer.4.0.0.json". */
static bool names_versions(const qk_json *files)
{
    if (is_null(files)) return false;
    if (files->type != QK_JSON_T_ARRAY) return true;
    for (const qk_json *v = files->first; v; v = v->next) {
        const char *at = v->type == QK_JSON_T_STRING ? strstr(v->text, "tokenizer.") : "";
        if (!at) continue;
        if (v->type != QK_JSON_T_STRING || strstr(at + 10, ".json")) return true;
    }
    return false;
}

/* Keys that lead the reference to another file, to code, or to an error. */
static qk_status check_others(qk_loader *l)
{
    static const char *const objects[] = {"tokenizer_file", "gguf_file", "tokenizer_object",
                                          "post_processor"};
    const qk_json *config = l->side.config;
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        if (!is_null(qk_json_get(config, objects[i])))
            return refuse(l, objects[i], "the reference reads it in place of tokenizer.json");
    if (names_versions(qk_json_get(config, "fast_tokenizer_files")))
        return refuse(l, "fast_tokenizer_files", "files for versions are not supported");
    if (qk_json_get(config, "fix_mistral_regex") && l->tok->bpe.vocab.count > 100000)
        return refuse(l, "fix_mistral_regex", "the reference fails with it");
    if (!l->rule) return QK_OK;
    const qk_json *inputs = qk_json_get(config, "init_inputs");
    if (inputs && (inputs->type != QK_JSON_T_ARRAY || inputs->count))
        return refuse(l, "init_inputs", "arguments of a class are not supported");
    const qk_json *trust = qk_json_get(config, "trust_remote_code");
    if (trust && (trust->type != QK_JSON_T_BOOL || trust->boolean) && !is_null(trust))
        return refuse(l, "trust_remote_code", "not supported where a class of transformers rules");
    return QK_OK;
}

static bool is_known(const qk_json *v)
{
    if (qk_ends_in_token(v->key, v->key_length) &&
        (v->type == QK_JSON_T_STRING || is_null(v) || qk_is_typed_token(v)))
        return true;
    return qk_is_named_token(v->key, v->key_length) || LISTED(read_keys, v) || LISTED(idle_keys, v);
}

qk_status qk_check_config_keys(qk_loader *l)
{
    const qk_json *config = l->side.config, *map = qk_json_get(config, "auto_map");
    bool left;
    if (map && (map->type == QK_JSON_T_ARRAY || !is_null(qk_json_get(map, "AutoTokenizer"))))
        return refuse(l, "auto_map", "code of its own (trust_remote_code) is not supported");
    for (const qk_json *v = config ? config->first : NULL; v; v = v->next)
        if (LISTED(methods, v))
            return refuse(l, v->key, "the name of a method; the reference fails with it");
    QK_TRY(check_others(l));
    QK_TRY(read_side(l, "padding_side", &left));
    qk_buf unknown = {0};
    for (const qk_json *v = config ? config->first : NULL; v && unknown.size < 400; v = v->next)
        if (!is_known(v)) qk_buf_addf(&unknown, "%s%.60s", unknown.size ? ", " : "", v->key);
    if (unknown.size)
        qk_warn("%s/%s: keys that are not known and have no effect: %s", l->folder, file,
                qk_buf_str(&unknown));
    qk_buf_free(&unknown);
    return QK_OK;
}

qk_status qk_apply_config_keys(qk_loader *l, const qk_json *truncation)
{
    qk_tokenizer *tok = l->tok;
    const qk_json *direction = qk_json_get(truncation, "direction");
    const qk_json *split = qk_json_get(l->side.config, "split_special_tokens");
    if (!is_null(truncation) && direction) {
        tok->cut_left = qk_json_is_string(direction, "Left");
        if (!tok->cut_left && !qk_json_is_string(direction, "Right"))
            return qk_loader_refuse(l, "truncation.direction", "\"Left\" or \"Right\" expected");
    }
    QK_TRY(read_side(l, "truncation_side", &tok->cut_left));
    if (split && split->type != QK_JSON_T_BOOL)
        return refuse(l, "split_special_tokens", "true or false expected");
    tok->split_specials = split && split->boolean;
    return QK_OK;
}
