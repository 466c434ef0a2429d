/* Text -> token ids, exactly as AutoTokenizer gives them (tests/test_tokenizer.c).
 *
 * A tokenizer is a folder's tokenizer.json, and what AutoTokenizer reads beside it:
 *   added tokens -> normalizer -> pre-tokenizer -> model (BPE, Unigram) -> post-processor
 *
 * next: engine/model/model.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"

typedef struct qk_names qk_names;
typedef struct qk_tokenizer qk_tokenizer; /* immutable after loading: threads may share one */

/* Loads FOLDER/tokenizer.json, with what tokenizer_config.json, special_tokens_map.json,
 * added_tokens.json and config.json there say of it (engine/tokenizer/README.md). Parts that are
 * not supported are refused by name. */
qk_status qk_tokenizer_load(qk_tokenizer **out, const char *folder, qk_error *err);
void qk_tokenizer_free(qk_tokenizer *tok); /* NULL-safe */
/* Appends the paths of the files beside FOLDER/tokenizer.json that its ids depend on: those of
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json that are read. config.json,
 * which says the class, is not among them. */
qk_status qk_tokenizer_files(const char *folder, qk_names *out, qk_error *err);

/* The bytes of the text that a token came from, spaces included that an added token swallowed. A
 * character that normalising changed counts whole; so does one of which the token is only a part.
 * Special tokens around the text have {0, 0}. What a normalizer puts in front of a text counts as
 * its first character. */
typedef struct qk_token_span {
    uint32_t start, end;
} qk_token_span;

/* Token ids of one text. Zero-initialise to create, reuse freely, qk_tokens_free to end. */
typedef struct qk_tokens {
    int32_t *ids;
    qk_token_span *spans; /* of ids, when the call asked for them; else undefined */
    size_t count, capacity, span_capacity;
    bool truncated;
    struct qk_token_scratch *scratch; /* working memory of one thread */
} qk_tokens;

typedef struct qk_encode_options {
    int64_t max_length; /* cut the way the reference cuts; 0: no limit */
    bool plain;         /* without special tokens around the text (add_special_tokens=False) */
    bool spans;
} qk_encode_options;

/* Encodes UTF-8 text (malformed bytes are an error that names the offset). The result replaces what
 * was there. */
qk_status qk_tokenizer_encode_with(const qk_tokenizer *tok, const char *text, size_t length,
                                   qk_encode_options options, qk_tokens *out, qk_error *err);
/* The same with special tokens and without spans. */
qk_status qk_tokenizer_encode(const qk_tokenizer *tok, const char *text, size_t length,
                              int64_t max_length, qk_tokens *out, qk_error *err);
void qk_tokens_free(qk_tokens *tokens);

/* One more than the largest id of vocabulary and added tokens. */
size_t qk_tokenizer_vocab_size(const qk_tokenizer *tok);
/* The vocabulary's own spelling of an id ("Ġthe", "▁the", "<0xE6>"), UTF-8, borrowed from tok and
 * NUL-terminated; NULL when no token has this id. */
const char *qk_tokenizer_piece(const qk_tokenizer *tok, int32_t id);
/* The same with its length in bytes, as it may hold NULs. */
const char *qk_tokenizer_piece_text(const qk_tokenizer *tok, int32_t id, size_t *length);
/* "BPE, 49152 tokens, 48900 merges, 17 added", "Unigram, 360 tokens, 3 added": for people; owned by
 * tok. */
const char *qk_tokenizer_describe(const qk_tokenizer *tok);
