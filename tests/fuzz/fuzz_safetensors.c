/* formats/safetensors: any bytes as a file; every tensor of an accepted one lies inside it. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "formats/safetensors_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_arena arena = {0};
    qk_st_list list = {0};
    qk_error err;
    qk_input in;
    QK_ASSERT(qk_input_open(&in, fuzz_file("a.safetensors", data, size), &err) == QK_OK);
    if (qk_st_read_file(&in, &arena, &list, &err) == QK_OK)
        for (size_t i = 0; i < list.count; i++) {
            uint64_t begin = list.items[i].offset;
            QK_ASSERT(begin >= 8 && begin <= size && list.items[i].bytes <= size - begin);
        }
    qk_input_close(&in);
    free(list.items);
    qk_arena_free(&arena);
    return 0;
}
