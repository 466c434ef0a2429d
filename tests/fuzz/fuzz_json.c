/* formats/json: any bytes; what parses must survive being written and parsed again. */
#include "tests/fuzz/fuzz.h"

#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_arena arena = {0};
    const qk_json *v, *again;
    qk_error err;
    if (qk_json_parse(&arena, (const char *)data, size, "fuzz", &v, &err) == QK_OK) {
        qk_json_out out = {0};
        qk_json_add_tree(&out, NULL, v);
        QK_ASSERT(qk_json_parse(&arena, (const char *)out.buf.data, out.buf.size, "fuzz", &again,
                                &err) == QK_OK);
        QK_ASSERT(again->type == v->type && again->count == v->count);
        qk_buf_free(&out.buf);
    }
    qk_arena_free(&arena);
    return 0;
}
