/* engine/families/rope and engine/families/overrides against the goldens of RoPE, and the rules of merging. */
#include "tests/test.h"

#include "engine/families/overrides.h"
#include "engine/families/rope.h"

static uint32_t ulps(float a, float b)
{
    int32_t x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    return (uint32_t)abs(x - y); /* both are positive */
}

static int64_t integer(const qk_json *object, const char *key, int64_t fallback)
{
    const qk_json *v = qk_json_get(object, key);
    return v ? v->integer : fallback;
}

static void check_samples(const qk_rope *rope, const float *f, const qk_json *c, const char *name)
{
    float cos_row[512], sin_row[512];
    for (const qk_json *s = qk_json_get(c, "samples")->first; s; s = s->next) {
        int64_t p = qk_json_get(s, "position")->integer;
        qk_rope_table(rope, f, p, 1, cos_row, sin_row);
        const qk_json *want_cos = qk_json_get(s, "cos"), *want_sin = qk_json_get(s, "sin");
        const qk_json *a = want_cos->first, *b = want_sin->first;
        for (size_t i = 0; i < want_cos->count; i++, a = a->next, b = b->next) {
            CHECK_MSG(fabs(cos_row[i] - a->number) <= 1e-6, "%s: cos %lld/%zu: %.9g, want %.9g",
                      name, (long long)p, i, cos_row[i], a->number);
            CHECK_MSG(fabs(sin_row[i] - b->number) <= 1e-6, "%s: sin %lld/%zu: %.9g, want %.9g",
                      name, (long long)p, i, sin_row[i], b->number);
        }
    }
}

static void check_case(const qk_json *c)
{
    qk_arena arena = {0};
    qk_error err = {0};
    const char *name = qk_json_get(c, "name")->text;
    const qk_json *config = qk_json_get(c, "config"), *merged;
    CHECK_INT(qk_config_merge(&arena, config, NULL, NULL, QK_ROPE_ONE, name, &merged, &err), QK_OK);
    int64_t head_dim =
        integer(config, "head_dim",
                integer(config, "hidden_size", 0) / integer(config, "num_attention_heads", 1));
    qk_rope rope;
    qk_status s = qk_rope_read(&rope, qk_json_get(merged, "rope_parameters"), merged, (int)head_dim,
                               &(qk_rope_defaults){10000, 1, 2048, 0}, &arena, name, &err);
    CHECK_MSG(s == QK_OK, "%s", err.message);
    if (s == QK_OK) {
        CHECK_INT(rope.rotary, qk_json_get(c, "rotary_dim")->integer);
        CHECK_CLOSE(rope.attention_factor, qk_json_get(c, "attention_factor")->number, 1e-12);
        float f[512];
        qk_rope_frequencies(&rope, qk_json_get(c, "seq_len")->integer, f);
        const qk_json *want = qk_json_get(c, "inv_freq");
        CHECK_INT(want->count, rope.rotary / 2);
        size_t i = 0;
        for (const qk_json *v = want->first; v; v = v->next, i++)
            CHECK_MSG(ulps(f[i], (float)v->number) <= 1, "%s: inv_freq %zu: %.9g, want %.9g", name,
                      i, f[i], v->number);
        check_samples(&rope, f, c, name);
    }
    qk_arena_free(&arena);
}

static void test_golden_rope(void)
{
    char *path = test_golden("rope/rope.json");
    if (!path) SKIP("no ../shared/golden beside this checkout");
    qk_arena arena = {0};
    const qk_json *root = NULL;
    CHECK_INT(qk_json_parse_file(&arena, path, 1 << 24, &root, &test_error), QK_OK);
    CHECK_INT(root ? root->count : 0, 13);
    for (const qk_json *c = root ? root->first : NULL; c; c = c->next) check_case(c);
    qk_arena_free(&arena);
    free(path);
}

/* Merges two JSON texts and gives rope_parameters as compact JSON, or the error message. */
static char *merged_rope(const char *config, const char *overrides, qk_rope_kinds kinds)
{
    qk_arena arena = {0};
    qk_error err = {0};
    const qk_json *c, *o, *m;
    QK_ASSERT(!qk_json_parse(&arena, config, strlen(config), "c", &c, &err));
    QK_ASSERT(!qk_json_parse(&arena, overrides, strlen(overrides), "o", &o, &err));
    qk_json_out out = {.compact = true};
    if (qk_config_merge(&arena, c, o, NULL, kinds, "config.json", &m, &err) != QK_OK)
        qk_buf_add_str(&out.buf, err.message);
    else
        qk_json_add_tree(&out, NULL, qk_json_get(m, "rope_parameters"));
    char *text = qk_strdup(qk_buf_str(&out.buf));
    qk_buf_free(&out.buf);
    qk_arena_free(&arena);
    return text;
}

static void test_override_rules(void)
{
    static const struct {
        const char *config, *overrides, *want;
    } cases[] = {
        /* a YaRN override keeps rope_theta */
        {"{\"rope_theta\": 5e5, \"rope_scaling\": null}",
         "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0}}",
         "{\"rope_theta\": 5e5, \"rope_type\": \"yarn\", \"factor\": 4.0}"},
        /* only the factor changes */
        {"{\"rope_theta\": 5e5, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}}",
         "{\"rope_scaling\": {\"factor\": 32.0}}",
         "{\"rope_type\": \"llama3\", \"factor\": 32.0, \"rope_theta\": 5e5}"},
        /* the older key "type" means what it says, in the file and in the overrides */
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}", "{\"rope_theta\": 77}",
         "{\"factor\": 2, \"rope_type\": \"linear\", \"rope_theta\": 77}"},
        {"{\"rope_theta\": 1e4}", "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}}",
         "{\"rope_theta\": 1e4, \"factor\": 2, \"rope_type\": \"yarn\"}"},
        /* null takes scaling away and keeps the base */
        {"{\"rope_theta\": 5e5, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}}",
         "{\"rope_scaling\": null}", "{\"rope_theta\": 5e5}"},
        {"{\"rope_parameters\": {\"rope_theta\": 1, \"rope_type\": \"default\"}}",
         "{\"rope_parameters\": {\"rope_theta\": 77}}",
         "{\"rope_theta\": 77, \"rope_type\": \"default\"}"},
        {"{\"rope_theta\": 1e4}", "{\"rope_scaling\": {\"factor\": 2}}",
         "config.json: rope_scaling has a factor but no rope_type: it would have no effect"},
        {"{\"rope_scaling\": \"yarn\"}", "{}",
         "config.json: 'rope_scaling' is a string, not an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = merged_rope(cases[i].config, cases[i].overrides, QK_ROPE_ONE);
        CHECK_STR(got, cases[i].want);
        free(got);
    }
}

/* Where transformers 5.1 does not look. */
static void test_unusual_places(void)
{
    static const struct {
        const char *config, *overrides, *want;
    } one[] =
        {
            /* both spellings in a file: rope_scaling is all there is */
            {"{\"rope_theta\": 7, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2},"
             "\"rope_parameters\": {\"rope_theta\": 5, \"rope_type\": \"yarn\", \"beta_fast\": 9}}",
             "{}", "{\"rope_type\": \"linear\", \"factor\": 2, \"rope_theta\": 7}"},
            {"{\"rope_scaling\": {}, \"rope_parameters\": {\"rope_theta\": 5}}", "{}",
             "{\"rope_theta\": 5}"},
            /* in the overrides they merge */
            {"{\"rope_theta\": 7}",
             "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2},"
             "\"rope_parameters\": {\"rope_theta\": 5}}",
             "{\"rope_theta\": 5, \"rope_type\": \"linear\", \"factor\": 2}"},
            /* parameters by layer type, and a model with one RoPE */
            {"{\"rope_theta\": 7, \"rope_parameters\": {\"sliding_attention\": {\"rope_theta\": 5},"
             "\"full_attention\": {\"rope_theta\": 6}}}",
             "{}", "{\"rope_theta\": 7}"},
            {"{}", "{\"rope_parameters\": {\"sliding_attention\": {\"rope_theta\": 5}}}",
             "model.config_overrides: rope_parameters has 'sliding_attention', but this model has "
             "one "
             "RoPE for all layers"},
        },
      by_type[] = {
          /* flat parameters, and a model with two */
          {"{\"rope_theta\": 7, \"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2,"
           "\"sliding_attention\": {\"rope_theta\": 5}}}",
           "{}", "{\"sliding_attention\": {\"rope_theta\": 5}, \"rope_theta\": 7}"},
          {"{\"rope_theta\": 7, \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 6}}}",
           "{\"rope_parameters\": {\"sliding_attention\": {\"rope_theta\": 5}}}",
           "{\"full_attention\": {\"rope_theta\": 6}, \"sliding_attention\": {\"rope_theta\": 5}}"},
      };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        char *got = merged_rope(one[i].config, one[i].overrides, QK_ROPE_ONE);
        CHECK_STR(got, one[i].want);
        free(got);
    }
    for (size_t i = 0; i < sizeof by_type / sizeof *by_type; i++) {
        char *got = merged_rope(by_type[i].config, by_type[i].overrides, QK_ROPE_BY_LAYER_TYPE);
        CHECK_STR(got, by_type[i].want);
        free(got);
    }
}

static void test_bad_rope(void)
{
    static const struct {
        const char *parameters, *say;
    } cases[] = {
        {"{\"rope_type\": \"spiral\"}", "rope_scaling type 'spiral' is not supported"},
        {"{\"rope_type\": \"yarn\"}", "of type 'yarn' lacks 'factor'"},
        {"{\"rope_type\": \"linear\", \"factor\": -1}", "'factor' must be positive"},
        {"{\"rope_theta\": 0}", "'rope_theta' must be positive"},
        {"{\"rope_theta\": \"big\"}", "'rope_theta' is a string, not a number"},
        {"{\"rope_type\": \"longrope\", \"short_factor\": [1]}",
         "'short_factor' must be a list of 8"},
        {"{\"partial_rotary_factor\": 0.2}", "3 of head_dim 16 numbers would turn"},
        {"{\"rope_type\": 3}", "rope_type is a number"},
        {"{\"rope_type\": \"yarn\", \"factor\": 2, \"mrope_section\": 3}",
         "key 'mrope_section' that is not known"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_arena arena = {0};
        qk_error err = {0};
        const qk_json *p;
        qk_rope rope;
        qk_rope_defaults silent = {10000, 1, 2048, 0};
        CHECK(!qk_json_parse(&arena, cases[i].parameters, strlen(cases[i].parameters), "p", &p,
                             &err));
        CHECK(qk_rope_read(&rope, p, NULL, 16, &silent, &arena, "config.json", &err) != QK_OK);
        CHECK_MSG(strstr(err.message, cases[i].say), "%s", err.message);
        qk_arena_free(&arena);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_golden_rope);
    RUN(test_override_rules);
    RUN(test_unusual_places);
    RUN(test_bad_rope);
    return test_summary("rope");
}
