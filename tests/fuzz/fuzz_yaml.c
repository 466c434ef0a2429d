/* engine/config/yaml: any bytes as a configuration file. */
#include "tests/fuzz/fuzz.h"

#include "formats/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_arena arena = {0};
    qk_yaml *root;
    qk_error err;
    if (qk_yaml_parse(&arena, (const char *)data, size, "fuzz", &root, &err) != QK_OK)
        QK_ASSERT(err.message[0]);
    qk_arena_free(&arena);
    return 0;
}
