/* See token_specs.h. */
#include "engine/tokenizer/token_specs.h"

#include <stdlib.h>
#include <string.h>

const char *const qk_named_tokens[QK_NAMED] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

void qk_specials_free(qk_specials *s)
{
    free(s->file.items);
    free(s->names.items);
    free(s->extras.items);
    free(s->decoder.items);
    *s = (qk_specials){0};
}

void qk_token_specs_add(qk_token_specs *specs, qk_token_spec token)
{
    QK_GROW(specs->items, specs->count, specs->capacity);
    specs->items[specs->count++] = token;
}

bool qk_token_is_normalized(const qk_token_spec *t)
{
    return t->has_normalized ? t->normalized : !t->special;
}

bool qk_is_named_token(const char *key, size_t length)
{
    for (int i = 0; i < QK_NAMED; i++)
        if (qk_json_text_is(key, length, qk_named_tokens[i])) return true;
    return false;
}

bool qk_ends_in_token(const char *key, size_t length)
{
    return length >= 6 && !memcmp(key + length - 6, "_token", 6);
}

bool qk_is_typed_token(const qk_json *value)
{
    return qk_json_is_string(qk_json_get(value, "__type"), "AddedToken");
}
