/* Special tokens beside tokenizer.json: what AutoTokenizer makes of tokenizer_config.json,
 * special_tokens_map.json and added_tokens.json, and of the defaults of a class.
 *
 *   names    bos_token, eos_token ... and keys that end in _token (image_token): one token each
 *   extras   extra_special_tokens, or additional_special_tokens, as a list
 *   decoder  added_tokens_decoder; without that key, added_tokens.json and tokenizer.json's own
 *
 * All of them become added tokens, in this order: decoder by id, names, extras. Of the two old
 * files nothing is read where tokenizer_config.json has added_tokens_decoder.
 *
 * next: engine/tokenizer/specials.c, engine/tokenizer/load_added.c */
#pragma once

#include "engine/base/mem.h"
#include "formats/json.h"

/* A token before it has an id. In Python it is a string or an AddedToken; they are never equal. */
typedef struct qk_token_spec {
    const char *key;  /* its name, or NULL */
    const char *text; /* borrowed from a JSON tree or static */
    size_t key_length, length;
    int64_t id; /* in the decoder and in tokenizer.json, else -1 */
    bool is_string;
    bool lstrip, rstrip, single_word, special;
    bool has_normalized, normalized;
} qk_token_spec;

typedef struct qk_token_specs {
    qk_token_spec *items;
    size_t count, capacity;
} qk_token_specs;

enum { QK_BOS, QK_EOS, QK_UNK, QK_SEP, QK_PAD, QK_CLS, QK_MASK, QK_NAMED };
extern const char *const qk_named_tokens[QK_NAMED]; /* "bos_token" ... */

typedef struct qk_specials {
    qk_token_specs file;  /* added_tokens of tokenizer.json */
    qk_token_specs names; /* the first QK_NAMED are those; text NULL: none */
    qk_token_specs extras, decoder;
    const char *unk; /* what the class is given, NULL: None; names may have another in its place */
    size_t unk_length;
} qk_specials;
void qk_specials_free(qk_specials *specials);

/* Whether a token is matched in normalised text: its flag, by default if it is not special. */
bool qk_token_is_normalized(const qk_token_spec *token);
void qk_token_specs_add(qk_token_specs *specs, qk_token_spec token);
bool qk_is_named_token(const char *key, size_t length);
bool qk_ends_in_token(const char *key, size_t length); /* "_token" */
/* {"__type": "AddedToken", ...} */
bool qk_is_typed_token(const qk_json *value);
