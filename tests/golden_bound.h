/* What a forward golden allows in bfloat16: the error that the same rounding costs transformers, as
 * the golden's meta.json states it (tests/README.md). */
#pragma once

#include "engine/base/file.h"
#include "formats/json.h"
#include "tests/test.h"

/* The largest number under "bf16_error". */
static inline double stated_bf16_error(const char *meta)
{
    qk_arena arena = {0};
    const qk_json *root;
    double largest = 0;
    CHECK(qk_json_parse_file(&arena, meta, 1 << 24, &root, &test_error) == QK_OK);
    const qk_json *errors = qk_json_get(root, "bf16_error");
    for (const qk_json *layer = errors ? errors->first : NULL; layer; layer = layer->next)
        for (const qk_json *e = layer->first; e; e = e->next)
            if (e->number > largest) largest = e->number;
    qk_arena_free(&arena);
    return largest;
}
