/* formats/safetensors: any bytes as a file; every tensor of an accepted one lies inside it. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "formats/safetensors_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_arena arena = {0};
    qk_st_list list = {0};
    qk_error err;
    qk_map map = {data, size};
    if (qk_st_read_file(&map, "fuzz", &arena, &list, &err) == QK_OK)
        for (size_t i = 0; i < list.count; i++) {
            const uint8_t *begin = list.items[i].data;
            QK_ASSERT(begin >= data && list.items[i].bytes <= (size_t)(data + size - begin));
        }
    free(list.items);
    qk_arena_free(&arena);
    return 0;
}
