/* engine/tokenizer: any bytes as a text. The first byte picks one of the committed tokenizers, the
 * second the options; the rest is the text. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/tokenizer/tokenizer.h"

static const char *const folders[] = {
    "tests/data/tokenizer/bpe_fallback_merges_strings",
    "tests/data/tokenizer/split_o200k",
    "tests/data/tokenizer/unigram_byte_fallback",
    "tests/data/tokenizer/added_token_flags",
    "tests/data/tokenizer/norm_nmt_nfkc_lowercase",
    "tests/data/tokenizer/bpe_end_of_word_suffix",
    "tests/data/tokenizer/punctuation_digits_sequence",
    "tests/data/tokenizer/metaspace_first_split",
};

enum { TOKENIZERS = sizeof folders / sizeof *folders };

static const qk_tokenizer *tokenizer(unsigned number)
{
    static qk_tokenizer *loaded[TOKENIZERS];
    qk_tokenizer **tok = &loaded[number % TOKENIZERS];
    qk_error err;
    if (!*tok && qk_tokenizer_load(tok, folders[number % TOKENIZERS], &err) != QK_OK) abort();
    return *tok;
}

/* The same ids with and without spans, and spans that lie inside the text. */
static void compare(const qk_tokenizer *tok, const char *text, size_t length,
                    qk_encode_options options)
{
    static qk_tokens a, b;
    qk_error err = {0};
    options.spans = false;
    qk_status s = qk_tokenizer_encode_with(tok, text, length, options, &a, &err);
    QK_ASSERT((s == QK_OK) == (qk_utf8_check((const uint8_t *)text, length) == length));
    options.spans = true;
    QK_ASSERT(qk_tokenizer_encode_with(tok, text, length, options, &b, &err) == s);
    if (s != QK_OK) return;
    QK_ASSERT(a.count == b.count && a.truncated == b.truncated);
    for (size_t i = 0; i < a.count; i++) {
        QK_ASSERT(a.ids[i] == b.ids[i] && qk_tokenizer_piece(tok, a.ids[i]));
        QK_ASSERT(b.spans[i].start <= b.spans[i].end && b.spans[i].end <= length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    qk_encode_options options = {.max_length = data[1] >> 1, .plain = data[1] & 1};
    compare(tokenizer(data[0]), (const char *)data + 2, size - 2, options);
    return 0;
}
