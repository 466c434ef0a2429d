/* engine/tokenizer: the JSON files beside tokenizer.json, one a line of the input, in the order of
 * `names`; an empty line is no file. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "engine/tokenizer/tokenizer.h"

static const char tokenizer[] =
    "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,"
    "\"rstrip\":false,\"normalized\":false,\"special\":true}],\"normalizer\":{\"type\":"
    "\"Lowercase\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"truncation\":{\"direction\":\"Left\"},\"padding\":{\"pad_token\":\"<p>\"},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"<unk>\":0,\"<s>\":1,\"a\":2,\"b\":3,\"ab\":4,"
    "\"<\":5,\">\":6,\"\xC4\xA0\":7,\"\xE2\x96\x81\":8,\"p\":9},\"merges\":[[\"a\",\"b\"]]}}";

static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json",
                                    "added_tokens.json", "config.json"};
enum { NAMES = sizeof names / sizeof *names };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *folder = fuzz_folder();
    const uint8_t *at = data, *end = data + size;
    fuzz_file("tokenizer.json", tokenizer, sizeof tokenizer - 1);
    for (int i = 0; i < NAMES; i++) {
        const uint8_t *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (!stop) stop = end;
        const char *path = fuzz_file(names[i], at, (size_t)(stop - at));
        if (stop == at) unlink(path);
        at = stop < end ? stop + 1 : end;
    }
    qk_tokenizer *tok;
    qk_error err;
    if (qk_tokenizer_load(&tok, folder, &err) == QK_OK) {
        static const char text[] = "ab <s> <p>b<pad> <|endoftext|> x a";
        qk_tokens tokens = {0};
        qk_encode_options options = {.max_length = 4, .spans = true};
        qk_tokenizer_encode(tok, text, sizeof text - 1, 0, &tokens, &err);
        for (size_t i = 0; i < tokens.count; i++)
            QK_ASSERT((size_t)tokens.ids[i] < qk_tokenizer_vocab_size(tok));
        if (qk_tokenizer_encode_with(tok, text, sizeof text - 1, options, &tokens, &err) == QK_OK)
            for (size_t i = 0; i < tokens.count; i++)
                QK_ASSERT(tokens.spans[i].start <= tokens.spans[i].end);
        qk_tokens_free(&tokens);
        qk_tokenizer_free(tok);
    }
    return 0;
}
