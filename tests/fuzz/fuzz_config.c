/* engine/families: any bytes as a checkpoint's config.json. A spec that is read has sane sizes. */
#include "tests/fuzz/fuzz.h"

#include "engine/families/family.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere; /* for warnings about unknown keys; sanitizers write to the descriptor */
    if (size > 1 << 16) return 0;
    if (!nowhere) stderr = nowhere = fopen("/dev/null", "we");
    fuzz_file("config.json", data, size);
    qk_arena arena = {0};
    qk_spec spec;
    qk_error err;
    if (qk_spec_read(&spec, fuzz_folder(), NULL, &arena, &err) == QK_OK) {
        QK_ASSERT(spec.layers > 0 && spec.D > 0 && spec.H > 0 && spec.K > 0 && spec.d > 0);
        QK_ASSERT(spec.H % spec.K == 0 && spec.V > 0);
    }
    qk_arena_free(&arena);
    return 0;
}
