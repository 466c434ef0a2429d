/* engine/config: sections with nothing in them, and seeds of any length. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/base/file.h"
#include "engine/config/config.h"

static const char base[] = "dataset: {path: a}\n"
                           "model: {name: b}\n"
                           "capture:\n"
                           "  head_sampling:\n"
                           "    count: 4\n"
                           "output: {data_root: out}\n";

static char folder[] = "/tmp/qk_test_sections_XXXXXX";
static char *config_path;

static qk_status load_text(qk_config *c, const char *text, const char *setting, qk_error *err)
{
    *err = (qk_error){0};
    if (qk_write_file(config_path, text, strlen(text), err) != QK_OK) return err->status;
    return qk_config_load(c, config_path, &setting, setting != NULL, err);
}

/* A section with nothing behind it is no section of defaults; its parts may be null. */
static void test_empty_sections(void)
{
    static const struct {
        const char *section, *hint; /* "" : {} would not do, a key is required */
    } cases[] = {
        {"dataset", ""},
        {"model", ""},
        {"tokenizer", ", or 'tokenizer: {}' for the defaults"},
        {"inference", ", or 'inference: {}' for the defaults"},
        {"capture", ", or 'capture: {}' for the defaults"},
        {"output", ", or 'output: {}' for the defaults"},
    };
    static const char text[] = "dataset: {path: a}\nmodel: {name: b}\n%s:%s\n";
    qk_config c;
    qk_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *setting = qk_strf("%s=", cases[i].section);
        char *say = qk_strf("section '%s' is empty", cases[i].section);
        char *hint = qk_strf("write its keys below it, indented%s", cases[i].hint);
        CHECK_INT(load_text(&c, base, setting, &err), QK_ERR_USAGE);
        CHECK_MSG(strstr(err.message, say), "%s", err.message);
        CHECK_STR(err.hint, hint);
        for (int null = 0; null < 2 && i >= 2; null++) {
            char *yaml = qk_strf(text, cases[i].section, null ? " null" : "");
            CHECK_INT(load_text(&c, yaml, NULL, &err), QK_ERR_CONFIG);
            bool output_missing = i < 5 && strstr(err.message, "'output' is missing");
            CHECK_MSG(output_missing || strstr(err.message, say), "%s", err.message);
            free(yaml);
        }
        free(setting), free(say), free(hint);
    }
    CHECK_INT(load_text(&c, base, "capture={}", &err), QK_OK);
    CHECK(c.capture.queries && c.capture.keys && !c.capture.sample_heads);
    qk_config_free(&c);
    CHECK_INT(load_text(&c, base, "capture.sampler=null", &err), QK_OK);
    CHECK_INT(c.capture.sampler.kind, QK_SAMPLE_LOG_UNIFORM);
    qk_config_free(&c);
    CHECK_INT(load_text(&c, base, "capture.head_sampling=null", &err), QK_OK);
    CHECK(!c.capture.sample_heads);
    qk_config_free(&c);
}

/* Seeds of any length, as PyYAML reads integers; the manifest has them in decimal. */
static void test_seeds(void)
{
    static const struct {
        const char *text, *decimal;
    } cases[] = {
        {"0", "0"},
        {"-0", "0"},
        {"+12", "12"},
        {"0x_ff", "255"},
        {"-0b1_01", "-5"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"9223372036854775808", "9223372036854775808"},
        {"-1_000_000_000_000_000_000_000_000_000_001", "-1000000000000000000000000000001"},
        {"0xffffffffffffffffffffffffffffffff", "340282366920938463463374607431768211455"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *setting = qk_strf("capture.head_sampling.seed=%s", cases[i].text);
        char *want = qk_strf("\"seed\": %s}", cases[i].decimal);
        qk_config c;
        qk_error err;
        qk_json_out out = {.compact = true};
        CHECK_INT(load_text(&c, base, setting, &err), QK_OK);
        qk_json_begin(&out, NULL, '{');
        qk_config_write_json(&c, &out);
        CHECK_MSG(strstr(qk_buf_str(&out.buf), want), "%s", qk_buf_str(&out.buf));
        qk_buf_free(&out.buf);
        qk_config_free(&c);
        free(setting), free(want);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    config_path = qk_path_join(folder, "run.yaml");
    RUN(test_empty_sections);
    RUN(test_seeds);
    unlink(config_path);
    rmdir(folder);
    free(config_path);
    return test_summary("config sections");
}
