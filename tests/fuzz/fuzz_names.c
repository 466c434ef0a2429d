/* engine/dataset/split and glob: "expression\0pattern\0path". Slices stay within the split, and a
 * pattern without wildcards matches itself alone. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "engine/dataset/glob.h"
#include "engine/dataset/split.h"

static void try_split(const char *text)
{
    qk_split_parts parts;
    qk_error err;
    if (qk_split_parse(&parts, text, &err) != QK_OK) return;
    for (size_t i = 0; i < parts.count; i++) {
        int64_t begin, end;
        QK_ASSERT(qk_split_is_name(parts.items[i].name, strlen(parts.items[i].name)));
        for (int64_t rows = 0; rows < 1000; rows = 3 * rows + 1) {
            qk_split_resolve(&parts.items[i], rows, &begin, &end);
            QK_ASSERT(begin >= 0 && begin <= rows && end >= 0 && end <= rows);
        }
        if (!qk_split_needs_count(&parts.items[i]))
            qk_split_resolve(&parts.items[i], -1, &begin, &end);
    }
    qk_split_parts_free(&parts);
}

/* A path as a listing gives it: no empty component. */
static bool is_plain(const char *path)
{
    size_t n = strlen(path);
    return n && *path != '/' && path[n - 1] != '/' && !strstr(path, "//");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096) return 0;
    char *text = qk_alloc(size + 3, 1);
    memcpy(text, data, size);
    memset(text + size, 0, 3);
    const char *pattern = text + strlen(text) + 1;
    const char *path = pattern < text + size ? pattern + strlen(pattern) + 1 : pattern;
    try_split(text);
    bool valid = qk_glob_is_valid(pattern), match = qk_glob_match(pattern, path);
    if (valid && !strpbrk(pattern, "*?[") && is_plain(pattern) && is_plain(path))
        QK_ASSERT(match == !strcmp(pattern, path));
    free(text);
    return 0;
}
