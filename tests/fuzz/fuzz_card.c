/* engine/dataset/card: any bytes as README.md of a folder with a few data files; behind a NUL, as
 * .huggingface.yaml beside it. Whatever they say, the files that are found are some of the folder.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "engine/dataset/card.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const files[] = {"data.jsonl", "en/train-0.jsonl", "en/test.jsonl",
                                        "fr/x y.csv", ".hidden.jsonl",    "en/a.tsv",
                                        "b.txt"};
    static const char *const names[] = {NULL, "default", "en"};
    static bool made;
    if (!made) {
        for (int i = 0; i < 2; i++) {
            char path[128];
            snprintf(path, sizeof path, "%s/%s", fuzz_folder(), i ? "fr" : "en");
            mkdir(path, 0700);
        }
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) fuzz_file(files[i], "{}", 2);
        made = true;
    }
    if (size > 1 << 16) return 0;
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t first = nul ? (size_t)(nul - data) : size;
    fuzz_file("README.md", data, first);
    fuzz_file(".huggingface.yaml", nul ? nul + 1 : data, nul ? size - first - 1 : 0);
    const char *root = fuzz_folder();
    qk_error err;
    qk_names configs;
    const char *chosen;
    if (qk_card_configs(&configs, &chosen, root, &err) == QK_OK) qk_names_free(&configs);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        qk_data_files found;
        if (qk_data_files_find(&found, root, names[i], "id", &err) != QK_OK) continue;
        for (size_t s = 0; s < found.count; s++)
            for (size_t k = 0; k < found.splits[s].files.count; k++) {
                const char *path = found.splits[s].files.items[k];
                QK_ASSERT(!strncmp(path, root, strlen(root)) && !strstr(path, ".."));
                size_t known = 0;
                while (strcmp(path + strlen(root) + 1, files[known]) != 0)
                    QK_ASSERT(++known < sizeof files / sizeof *files);
            }
        qk_data_files_free(&found);
    }
    return 0;
}
