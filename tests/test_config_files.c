/* engine/config on files of others: the corpus of bad configurations, and the goldens' own. */
#include "tests/test.h"

#include "engine/base/file.h"
#include "engine/config/config.h"

/* The corpus of bad configurations: what must be refused is, with a message that has its place. */
static void test_corpus(void)
{
    char *path = test_golden("inputs/bad/manifest.json");
    if (!path) SKIP("no input corpus");
    qk_arena arena = {0};
    const qk_json *manifest;
    qk_error err;
    CHECK_INT(qk_json_parse_file(&arena, path, 1 << 24, &manifest, &err), QK_OK);
    int refused = 0, read = 0;
    for (const qk_json *e = manifest->first; e; e = e->next) {
        if (strncmp(e->key, "yaml/", 5) != 0) continue;
        char *file = qk_strf("%.*s/%s", (int)(strrchr(path, '/') - path), path, e->key);
        qk_config c;
        err = (qk_error){0};
        qk_status s = qk_config_load(&c, file, NULL, 0, &err);
        const char *must = qk_json_get(e, "must")->text;
        if (!strcmp(must, "accept")) CHECK_MSG(s == QK_OK, "%s: %s", e->key, err.message);
        if (!strcmp(must, "refuse")) CHECK_MSG(s == QK_ERR_CONFIG, "%s is read", e->key);
        if (s != QK_OK) CHECK_MSG(strstr(err.message, file), "%s: %s", e->key, err.message);
        s == QK_OK ? read++ : refused++;
        if (s == QK_OK) qk_config_free(&c);
        free(file);
    }
    CHECK_INT(refused + read, 74);
    printf("  corpus: %d refused, %d read\n", refused, read);
    qk_arena_free(&arena);
    free(path);
}

static void check_case(const char *file)
{
    qk_config c;
    qk_error err;
    qk_status s = qk_config_load(&c, file, NULL, 0, &err);
    CHECK_MSG(s == QK_OK, "%s", err.message);
    if (s != QK_OK) return;
    CHECK_STR(c.dataset.path, "dataset");
    bool old = strstr(file, "old_layout") != NULL;
    CHECK_STR(c.model.name, old ? "tiny/llama-base.1" : "model");
    if (!old) CHECK_STR(c.output.data_root, "out");
    CHECK(c.capture.sampler.min_bucket_size >= 2 && c.tokenizer.max_length >= 24);
    if (strstr(file, "case4") && strstr(file, "config_b")) {
        CHECK_INT(c.capture.heads.count, 2);
        CHECK_INT(c.capture.heads.items[0], 0);
        CHECK_INT(c.capture.heads.items[1], 2);
        CHECK_INT(c.capture.sampler.max_rows, 3);
        CHECK(c.capture.queries && !c.capture.keys && c.capture.sampler.base_rate == 2.0);
    }
    if (strstr(file, "case5") && strstr(file, "config_c")) {
        const qk_json *o = c.model.overrides;
        CHECK_INT(qk_json_get(o, "num_hidden_layers")->integer, 2);
        CHECK(qk_json_get(qk_json_get(o, "rope_scaling"), "factor")->number == 32.0);
    }
    if (strstr(file, "case6") && strstr(file, "config_d"))
        CHECK(c.dataset.streaming && c.dataset.max_samples == 3);
    if (strstr(file, "case7"))
        CHECK_INT(c.model.dtype, strstr(file, "config_b") ? QK_F32 : QK_BF16);
    qk_config_free(&c);
}

static void test_capture_cases(void)
{
    char *root = test_golden("capture/README.md");
    if (!root) SKIP("no capture goldens");
    *strrchr(root, '/') = 0;
    qk_names cases, files;
    qk_error err;
    int n = 0;
    CHECK_INT(qk_list_dir(root, &cases, &err), QK_OK);
    for (size_t i = 0; i < cases.count; i++) {
        if (strchr(cases.items[i], '.')) continue;
        char *case_path = qk_path_join(root, cases.items[i]);
        CHECK_INT(qk_list_dir(case_path, &files, &err), QK_OK);
        for (size_t j = 0; j < files.count; j++) {
            if (strncmp(files.items[j], "config", 6) != 0) continue;
            char *file = qk_path_join(case_path, files.items[j]);
            check_case(file);
            n++;
            free(file);
        }
        qk_names_free(&files);
        free(case_path);
    }
    CHECK_INT(n, 21);
    qk_names_free(&cases);
    free(root);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_corpus);
    RUN(test_capture_cases);
    return test_summary("config files");
}
