/* Runs a fuzz target over files, and over every prefix of the small ones. usage: replay FILE... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "tests/fuzz/fuzz.h"

/* A copy of exactly n bytes, so that the address sanitizer sees every read past the end. */
static void run(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (n) memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

int main(int argc, char **argv)
{
    size_t inputs = 0;
    for (int i = 1; i < argc; i++) {
        qk_buf file;
        qk_error err;
        if (qk_read_file(&file, argv[i], 64 << 20, &err) != QK_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        run(file.data, file.size);
        inputs++;
        for (size_t n = 0; file.size <= 4096 && n < file.size; n++, inputs++) run(file.data, n);
        qk_buf_free(&file);
    }
    printf("%d files, %zu inputs\n", argc - 1, inputs);
    return inputs ? 0 : 1;
}
