/* engine/tokenizer: any bytes as a tokenizer.json, and then as a text for it. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char folder[] = "/tmp/qk_fuzz_tok_XXXXXX";
    static char path[64];
    if (!path[0]) {
        if (!mkdtemp(folder)) abort();
        snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    }
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f)) abort();
    qk_tokenizer *tok;
    qk_error err;
    if (qk_tokenizer_load(&tok, folder, &err) == QK_OK) {
        qk_tokens tokens = {0};
        qk_tokenizer_encode(tok, (const char *)data, size, 100, &tokens, &err);
        qk_tokenizer_encode(tok, "It's 2024: héllo", 17, 0, &tokens, &err);
        for (size_t i = 0; i < tokens.count; i++)
            QK_ASSERT((size_t)tokens.ids[i] < qk_tokenizer_vocab_size(tok));
        qk_tokens_free(&tokens);
        qk_tokenizer_free(tok);
    }
    unlink(path);
    return 0;
}
