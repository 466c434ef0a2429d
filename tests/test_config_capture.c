/* engine/config: what the keys of capture mean together, a sampler for queries and one for keys, and
 * files of listed positions. */
#include "tests/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/hash.h"
#include "engine/config/config.h"
#include "engine/config/listed_file.h"
#include "sampler/example_id.h"

static char folder[] = "/tmp/qk_test_capture_keys_XXXXXX";
static char *config_path, *list_path, *other_path;

/* A configuration with these lines in its section capture; LIST and OTHER are the files' paths. */
static qk_status load(qk_config *c, const char *capture, const char *setting, qk_error *err)
{
    qk_buf text = {0};
    *err = (qk_error){0};
    qk_buf_add_str(&text, "dataset: {path: a, id_column: id}\nmodel: {name: b}\n"
                          "output: {data_root: out}\ncapture:\n  capture_queries: true\n");
    for (const char *s = capture; *s;) {
        bool list = !strncmp(s, "LIST", 4), other = !strncmp(s, "OTHER", 5);
        if (list || other)
            qk_buf_add_str(&text, list ? list_path : other_path);
        else
            qk_buf_add_byte(&text, *s);
        s += list ? 4 : other ? 5 : 1;
    }
    if (qk_write_file(config_path, text.data, text.size, err) != QK_OK) abort();
    qk_buf_free(&text);
    return qk_config_load(c, config_path, &setting, setting != NULL, err);
}

static void write_list(const char *path, const char *text, size_t n)
{
    CHECK_INT(qk_write_file(path, text, n, &test_error), QK_OK);
}

/* Without spaces. */
static char *identity_of(const qk_config *c)
{
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_config_write_json(c, &o);
    qk_json_end(&o, '}');
    char *text = strdup(qk_buf_str(&o.buf)), *to = text;
    for (const char *from = text; *from; from++)
        if (*from != ' ') *to++ = *from;
    *to = 0;
    qk_buf_free(&o.buf);
    return text;
}

/* ---- states and kinds ---- */

static void test_rope(void)
{
    static const struct {
        const char *capture, *setting;
        bool pre, both;
    } fine[] = {
        {"  rope: [post]\n", NULL, false, false},
        {"  rope: [pre]\n", NULL, true, false},
        {"  rope: [post, pre]\n", NULL, false, true},
        {"  rope: [pre, pre, POST]\n", NULL, false, true},
        {"  rope: null\n  capture_pre_rope: true\n", NULL, true, false},
        {"  rope: [pre]\n  capture_pre_rope: true\n", NULL, true, false},
        {"  rope: [post]\n  capture_pre_rope: false\n", NULL, false, false},
        {"  rope: [pre, post]\n  capture_pre_rope: false\n", NULL, false, true},
        {"", "capture.rope=pre,post", false, true},
        {"", "capture.rope=pre", true, false},
        {"  rope: [pre]\n", "capture.rope=null", false, false},
    };
    qk_config c;
    qk_error err;
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        CHECK_MSG(load(&c, fine[i].capture, fine[i].setting, &err) == QK_OK, "%s", err.message);
        CHECK_MSG(c.capture.pre_rope == fine[i].pre && c.capture.both_states == fine[i].both,
                  "%s%s", fine[i].capture, fine[i].setting ? fine[i].setting : "");
        qk_config_free(&c);
    }
}

static void test_kinds(void)
{
    qk_config c;
    qk_error err;
    CHECK_INT(load(&c, "", "capture={}", &err), QK_OK);
    CHECK(!c.capture.values && !c.capture.lse && !c.capture.token_ids && !c.capture.head_columns);
    qk_config_free(&c);
    CHECK_INT(load(&c, "",
                   "capture={capture_queries: false, capture_keys: false, capture_values: "
                   "true, head_columns: true, capture_token_ids: true}",
                   &err),
              QK_OK);
    CHECK(c.capture.values && !c.capture.keys && c.capture.token_ids && c.capture.head_columns);
    qk_config_free(&c);
    CHECK_INT(load(&c, "  capture_lse: true\n  rope: [pre, post]\n", NULL, &err), QK_OK);
    CHECK(c.capture.lse && c.capture.both_states);
    qk_config_free(&c);
}

static void test_refusals(void)
{
    static const struct {
        const char *capture, *say, *hint;
    } cases[] = {
        {"  rope: [post]\n  capture_pre_rope: true\n",
         ".yaml:6:9: 'capture.rope' and 'capture.capture_pre_rope: true' contradict each other",
         "remove one of them"},
        {"  rope: [pre, post]\n  capture_pre_rope: true\n", "'capture.capture_pre_rope: true'", ""},
        {"  rope: [pre]\n  capture_pre_rope: false\n", "'capture.capture_pre_rope: false'", ""},
        {"  rope: []\n", ".yaml:6:9: 'capture.rope' must not be an empty list", "write [pre]"},
        {"  rope: pre\n", "'capture.rope' must be a list of words, not the text 'pre'",
         "write [pre]"},
        {"  rope: true\n", "'capture.rope' must be a list of words, not the boolean", ""},
        {"  rope: [pre, pots]\n",
         ".yaml:6:15: 'capture.rope' must be one of pre, post, not the text 'pots'",
         "did you mean 'post'?"},
        {"  rope: [pre, 1]\n", "must be one of pre, post, not the number 1", ""},
        {"  capture_lse: true\n  rope: [pre]\n",
         ".yaml:6:16: 'capture.capture_lse' is a column of queries after the rotary embedding",
         "write capture.rope: [pre, post]"},
        {"  capture_lse: true\n  capture_pre_rope: true\n", "'capture.capture_lse'", ""},
        {"  sampler: {first: -1}\n", "'capture.sampler.first' must not be negative, but is -1", ""},
        {"  sampler: {first: 1.5}\n", "'capture.sampler.first' must be an integer", ""},
        {"  sampler: {first: 100000000}\n", "'capture.sampler.first' is out of range", ""},
        {"  max_rows_per_batch: 4\n  sampler:\n    first: 5\n",
         ".yaml:8:12: 'first' is 5, more than the 4 rows of capture.max_rows_per_batch",
         "raise capture.max_rows_per_batch, or lower 'first'"},
        {"  max_rows_per_batch: 4\n  sampler:\n    keys: {first: 5}\n", ".yaml:8:19: 'first' is 5",
         ""},
        {"  sampler:\n    queries: {base_rates: 1}\n",
         ".yaml:7:15: unknown key 'capture.sampler.queries.base_rates'",
         "did you mean 'base_rate'?"},
        {"  sampler:\n    query: {}\n", ".yaml:7:5: unknown key 'capture.sampler.query'",
         "did you mean 'queries'?"},
        {"  sampler:\n    keys: all\n", ".yaml:7:11: 'capture.sampler.keys' must be a map", ""},
        {"  keys: {type: all}\n", ".yaml:6:3: unknown key 'capture.keys'", ""},
        {"  sampler:\n    keys: {type: some}\n",
         "'capture.sampler.keys.type' must be one of log_uniform, uniform, all", ""},
        {"  sampler: {base_rate: 2, positions: LIST}\n",
         ".yaml:6:24: 'capture.sampler.base_rate' has no effect: positions are listed, not drawn",
         "remove it"},
        {"  sampler: {positions: LIST, keys: {base_rate: 2}}\n",
         "'capture.sampler.keys.base_rate' has no effect", "remove one of them"},
        {"  sampler: {queries: {positions: LIST, base_rate: 2}}\n",
         "'capture.sampler.queries.base_rate' has no effect", ""},
        {"  sampler: {positions: LIST}\n  max_rows_per_batch: 7\n",
         ".yaml:7:23: 'capture.max_rows_per_batch' has no effect", "remove it"},
        {"  sampler: {positions: 7}\n", "'capture.sampler.positions' must be a string", ""},
    };
    qk_config c;
    qk_error err;
    write_list(list_path, "{\"positions\": [1]}", 18);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_MSG(load(&c, cases[i].capture, NULL, &err) == QK_ERR_CONFIG, "%s", cases[i].capture);
        CHECK_MSG(strstr(err.message, cases[i].say), "%s: %s", cases[i].capture, err.message);
        CHECK_MSG(!*cases[i].hint || !strcmp(err.hint, cases[i].hint), "%s: hint: %s",
                  cases[i].capture, err.hint);
    }
    CHECK_INT(load(&c, "  capture_keys: true\n  capture_lse: true\n",
                   "capture.capture_queries=false", &err),
              QK_ERR_CONFIG);
    CHECK(strstr(err.message, ".yaml:7:16: 'capture.capture_lse' is a column of queries, and those "
                              "are off"));
    CHECK_INT(load(&c, "  capture_pre_rope: true\n", "capture.rope=post", &err), QK_ERR_USAGE);
    CHECK(strstr(err.message, "--set capture.rope: 'capture.rope' and"));
    CHECK_INT(load(&c, "", "capture.sampler.keys.positions=/nonexistent/list", &err),
              QK_ERR_NOTFOUND);
    CHECK(strstr(err.message, "capture.sampler.positions: /nonexistent/list: cannot open"));
}

/* ---- samplers ---- */

static void check_sampler(const qk_sampler *s, qk_sampler_kind kind, double rate, int first)
{
    CHECK_INT(s->kind, kind);
    CHECK(s->base_rate == rate);
    CHECK_INT(s->first, first);
    CHECK_INT(s->min_bucket_size, 64);
    CHECK_INT(s->max_rows, 9);
}

static void test_samplers(void)
{
    static const char limits[] = "  min_bucket_size: 64\n  max_rows_per_batch: 9\n";
    qk_config c;
    qk_error err;
    char *text = qk_strf("%s  sampler: {type: uniform, base_rate: 3, first: 2}\n", limits);
    CHECK_INT(load(&c, text, NULL, &err), QK_OK);
    check_sampler(&c.capture.sampler, QK_SAMPLE_UNIFORM, 3, 2);
    check_sampler(&c.capture.key_sampler, QK_SAMPLE_UNIFORM, 3, 2);
    qk_config_free(&c);
    free(text);
    text = qk_strf("%s  sampler:\n    first: 4\n    queries: {base_rate: 0.5}\n"
                   "    keys: {type: all, first: 0}\n",
                   limits);
    CHECK_INT(load(&c, text, NULL, &err), QK_OK);
    check_sampler(&c.capture.sampler, QK_SAMPLE_LOG_UNIFORM, 0.5, 4);
    check_sampler(&c.capture.key_sampler, QK_SAMPLE_ALL, 1, 0);
    qk_config_free(&c);
    CHECK_INT(load(&c, text, "capture.sampler.keys=null", &err), QK_OK);
    check_sampler(&c.capture.key_sampler, QK_SAMPLE_LOG_UNIFORM, 1, 4);
    qk_config_free(&c);
    CHECK_INT(load(&c, text, "capture.sampler.keys.first=9", &err), QK_OK);
    check_sampler(&c.capture.key_sampler, QK_SAMPLE_ALL, 1, 9);
    qk_config_free(&c);
    free(text);
}

/* What an identity has of them: nothing that is not set, so that old runs stay the same. */
static void test_identity(void)
{
    static const struct {
        const char *capture, *has, *lacks;
    } cases[] = {
        {"  rope: [post]\n", "\"sampler\":{\"type\":\"log_uniform\",\"base_rate\":1}", "\"rope\""},
        {"  sampler: {first: 0, queries: {first: 0}, keys: {type: log_uniform}}\n",
         "\"sampler\":{\"type\":\"log_uniform\",\"base_rate\":1}", "\"keys\":"},
        {"  rope: [pre]\n", "\"capture_pre_rope\":true", "\"\"rope\""},
        {"  rope: [pre, post]\n", "\"rope\":[\"pre\",\"post\"]", "\"capture_values\""},
        {"  capture_values: true\n", "\"capture_values\":true", "\"capture_lse\""},
        {"  capture_lse: true\n", "\"capture_lse\":true", "\"capture_token_ids\""},
        {"  capture_token_ids: true\n", "\"capture_token_ids\":true", "\"head_columns\""},
        {"  head_columns: true\n", "\"head_columns\":true", "first"},
        {"  sampler: {first: 3}\n", "\"base_rate\":1,\"first\":3}", "\"keys\":"},
        {"  sampler: {queries: {base_rate: 2}}\n",
         "\"sampler\":{\"type\":\"log_uniform\",\"base_rate\":2,\"keys\":{\"type\":"
         "\"log_uniform\",\"base_rate\":1}}",
         "first"},
        {"  sampler: {keys: {positions: LIST}}\n",
         ",\"keys\":{\"type\":\"log_uniform\","
         "\"positions_sha256\":\"",
         "list.jsonl"},
    };
    qk_config c;
    qk_error err;
    write_list(list_path, "{\"positions\": [1]}", 18);
    write_list(other_path, "{\"positions\": [1]}", 18);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_MSG(load(&c, cases[i].capture, NULL, &err) == QK_OK, "%s", err.message);
        char *text = identity_of(&c);
        CHECK_MSG(strstr(text, cases[i].has), "%s: %s", cases[i].capture, text);
        CHECK_MSG(!strstr(text, cases[i].lacks), "%s: %s", cases[i].capture, text);
        free(text);
        qk_config_free(&c);
    }
    /* The content of a file counts, not its path. */
    char *ids[3], digest[65];
    uint8_t sha[32];
    for (int i = 0; i < 3; i++) {
        if (i == 2) write_list(other_path, "{\"positions\": [2]}", 18);
        CHECK_INT(load(&c, i ? "  sampler: {positions: OTHER}\n" : "  sampler: {positions: LIST}\n",
                       NULL, &err),
                  QK_OK);
        ids[i] = identity_of(&c);
        qk_config_free(&c);
    }
    qk_sha256("{\"positions\": [1]}", 18, sha);
    qk_sha256_hex(sha, digest);
    CHECK(!strcmp(ids[0], ids[1]) && strcmp(ids[0], ids[2]) != 0 && strstr(ids[0], digest));
    for (int i = 0; i < 3; i++) free(ids[i]);
}

/* ---- files of positions ---- */

static qk_status read_list(const char *text, size_t n, qk_listed *out, qk_arena *arena)
{
    write_list(list_path, text, n);
    test_error = (qk_error){0};
    return qk_listed_read(out, list_path, arena, &test_error);
}

static void check_positions(const qk_listed *l, int64_t id, int32_t n, const int32_t *expected)
{
    int32_t count;
    const int32_t *got = qk_listed_of(l, id, &count);
    CHECK_INT(count, n);
    for (int32_t i = 0; i < count && i < n; i++) CHECK_INT(got[i], expected[i]);
}

static void test_list(void)
{
    static const char text[] = "\xEF\xBB\xBF{\"id\": 7, \"positions\": [5, 0, 17, 5]}\r\n"
                               "\n"
                               "  {\"positions\": [], \"id\": \"doc-1\"}  \n"
                               "{\"id\": \"7\", \"positions\": [3]}\n"
                               "{\"id\": -9223372036854775808, \"positions\": [67108863]}\n"
                               "{\"id\": 18446744073709551615, \"positions\": [4]}\n"
                               "{\"id\": 3.0, \"positions\": [6]}\n"
                               "{\"id\": 0.5, \"positions\": [7]}\n"
                               "{\"id\": null, \"positions\": [8]}\n"
                               "{\"id\": true, \"positions\": [9]}\n"
                               "{\"positions\": [1, 2]}";
    qk_listed l;
    qk_arena arena = {0};
    int64_t half;
    CHECK_INT(read_list(text, sizeof text - 1, &l, &arena), QK_OK);
    CHECK_INT(l.n_examples, 9);
    CHECK_INT(l.n_positions, 12);
    CHECK(l.has_others && l.has_other_ids);
    check_positions(&l, 7, 3, (const int32_t[]){0, 5, 17});
    check_positions(&l, qk_example_id_from_text("doc-1", 5), 0, NULL);
    check_positions(&l, qk_example_id_from_text("7", 1), 1, (const int32_t[]){3});
    check_positions(&l, INT64_MIN, 1, (const int32_t[]){67108863});
    check_positions(&l, qk_example_id_from_uint64(UINT64_MAX), 1, (const int32_t[]){4});
    check_positions(&l, 3, 1, (const int32_t[]){6});
    CHECK_INT(qk_example_id_from_double(&half, 0.5, &test_error), QK_OK);
    check_positions(&l, half, 1, (const int32_t[]){7});
    check_positions(&l, qk_example_id_from_null(), 1, (const int32_t[]){8});
    check_positions(&l, 1, 1, (const int32_t[]){9});
    check_positions(&l, 2, 2, (const int32_t[]){1, 2});
    for (size_t i = 1; i < l.n_examples; i++) CHECK(l.examples[i - 1].id < l.examples[i].id);
    CHECK_INT(read_list("{\"id\":4,\"positions\":[2]}", 24, &l, &arena), QK_OK);
    CHECK(!l.has_others && !l.has_other_ids);
    check_positions(&l, 5, 0, NULL);
    qk_arena_free(&arena);
}

static void test_list_refusals(void)
{
    static const struct {
        const char *text, *say;
    } cases[] = {
        {"", "names no positions"},
        {"\n \r\n\n", "names no positions"},
        {"{\"id\": 1}\n", "(line 1, column 10): 'positions' is missing"},
        {"{}", "'positions' is missing"},
        {"{\"positions\": [1]}\n\n{\"id\": 1}\n", "(line 3, column 10): 'positions' is missing"},
        {"{\"id\": 1, \"position\": [1]}", "unknown key 'position'"},
        {"{\"id\": 1, \"id\": 2, \"positions\": [1]}", "'id' is given twice"},
        {"{\"positions\": [1], \"positions\": [1]}", "'positions' is given twice"},
        {"{\"id\": [1], \"positions\": [1]}", "'id' is a list or a map"},
        {"{\"id\": 1, \"positions\": 1}", "'positions' is no list"},
        {"{\"id\": 1, \"positions\": null}", "'positions' is no list"},
        {"{\"id\": 1, \"positions\": [\"1\"]}", "a position is no number"},
        {"{\"id\": 1, \"positions\": [1.5]}", "1.5 is no position: they are integers from 0 to "},
        {"{\"id\": 1, \"positions\": [-1]}", "-1 is no position"},
        {"{\"id\": 1, \"positions\": [67108864]}", "67108864 is no position"},
        {"{\"id\": 1, \"positions\": [1e2]}", "1e2 is no position"},
        {"{\"id\": 1, \"positions\": [99999999999999999999]}", "is no position"},
        {"{\"id\": 18446744073709551616, \"positions\": [1]}", "is beyond 64 bits"},
        {"{\"id\": -9223372036854775809, \"positions\": [1]}", "is beyond 64 bits"},
        {"{\"id\": 1e19, \"positions\": [1]}", "is beyond 64 bits"},
        {"[1, 2]\n", "a line must be a map"},
        {"7\n", "a line must be a map"},
        {"{\"positions\": [1]} {\"id\": 1, \"positions\": [1]}", "more than one map in a line"},
        {"{\"positions\": [1]}\n{\"positions\": [2]}", "without id, as line 1"},
        {"{\"id\": 1, \"positions\": [1]}\n{\"id\": 2, \"positions\": []}\n"
         "{\"id\": 1.0, \"positions\": [2]}\n",
         "lines 1 and 3 are of one example"},
        {"{\"id\": 1, \"positions\": [1]\n}", "(line 1, "},
        {"{\"id\": \"\xFF\", \"positions\": [1]}", "(line 1, "},
        {"{\"id\": 1, \"positions\": [1", "(line 1, "},
        {"{\"id\": 1, \"positions\": [[[[", "a position is no number"},
    };
    qk_arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_listed l;
        qk_status s = read_list(cases[i].text, strlen(cases[i].text), &l, &arena);
        CHECK_MSG(s == QK_ERR_FORMAT, "%s: %d", cases[i].text, (int)s);
        CHECK_MSG(strstr(test_error.message, cases[i].say) && strstr(test_error.message, list_path),
                  "%s: %s", cases[i].text, test_error.message);
        CHECK_MSG(*test_error.hint, "%s", cases[i].text);
    }
    qk_arena_free(&arena);
}

/* Lines of any length come in pieces of 1 MiB; the first example is in the middle of one. */
static void test_long_list(void)
{
    qk_buf text = {0};
    qk_listed l;
    qk_arena arena = {0};
    int32_t count;
    enum { EXAMPLES = 3000, LONG = 500000 };
    for (int i = 0; i < EXAMPLES; i++) {
        int id = (i * 7919) % EXAMPLES;
        qk_buf_addf(&text, "{\"id\": %d, \"positions\": [", id);
        int n = i == 1500 ? LONG : id % 90;
        for (int p = 0; p < n; p++) qk_buf_addf(&text, "%s%d", p ? "," : "", 3 * (n - 1 - p));
        qk_buf_add_str(&text, "]}\n");
    }
    CHECK(text.size > 3 << 20);
    CHECK_INT(read_list((const char *)text.data, text.size, &l, &arena), QK_OK);
    CHECK_INT(l.n_examples, EXAMPLES);
    long wrong = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        const int32_t *p = qk_listed_of(&l, (i * 7919) % EXAMPLES, &count);
        wrong += count != (i == 1500 ? LONG : (i * 7919) % EXAMPLES % 90);
        for (int32_t k = 0; k < count; k++) wrong += p[k] != 3 * k;
    }
    CHECK_INT(wrong, 0);
    qk_buf_free(&text);
    qk_arena_free(&arena);
}

/* One line that does not end is an error before it fills the memory; a pipe is not waited for. */
static void test_odd_files(void)
{
    qk_listed l;
    qk_arena arena = {0};
    FILE *f = fopen(list_path, "w");
    CHECK(f && fputs("{\"positions\": [1]}\n{\"positions\": [", f) >= 0 && fclose(f) == 0);
    CHECK_INT(truncate(list_path, (off_t)1 << 40), 0); /* NULs behind it, which take no disk */
    CHECK_INT(qk_listed_read(&l, list_path, &arena, &test_error), QK_ERR_FORMAT);
    CHECK_MSG(strstr(test_error.message, "line 2 has more than 67108864 bytes"), "%s",
              test_error.message);
    unlink(list_path);
    CHECK_INT(mkfifo(list_path, 0600), 0);
    CHECK(qk_listed_read(&l, list_path, &arena, &test_error) != QK_OK);
    unlink(list_path);
    CHECK(qk_listed_read(&l, folder, &arena, &test_error) != QK_OK);
    qk_arena_free(&arena);
}

/* Without an id column ids are row numbers. */
static void test_texts_as_row_numbers(void)
{
    static const char text[] = "dataset: {path: a}\nmodel: {name: b}\noutput: {data_root: out}\n";
    qk_config c;
    qk_error err = {0};
    char *setting = qk_strf("capture.sampler.positions=%s", list_path);
    const char *settings[] = {setting};
    CHECK_INT(qk_write_file(config_path, text, sizeof text - 1, &err), QK_OK);
    write_list(list_path, "{\"id\": 4, \"positions\": [1]}", 27);
    CHECK_INT(qk_config_load(&c, config_path, settings, 1, &err), QK_OK);
    check_positions(c.capture.sampler.listed, 4, 1, (const int32_t[]){1});
    CHECK(c.capture.sampler.listed == c.capture.key_sampler.listed);
    qk_config_free(&c);
    write_list(list_path, "{\"id\": \"4\", \"positions\": [1]}", 29);
    CHECK_INT(qk_config_load(&c, config_path, settings, 1, &err), QK_ERR_CONFIG);
    CHECK(strstr(err.message, "without dataset.id_column they are row numbers"));
    free(setting);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    config_path = qk_path_join(folder, "run.yaml");
    list_path = qk_path_join(folder, "list.jsonl");
    other_path = qk_path_join(folder, "other.jsonl");
    RUN(test_rope);
    RUN(test_kinds);
    RUN(test_refusals);
    RUN(test_samplers);
    RUN(test_identity);
    RUN(test_list);
    RUN(test_list_refusals);
    RUN(test_long_list);
    RUN(test_odd_files);
    RUN(test_texts_as_row_numbers);
    qk_remove_tree(folder, &test_error);
    free(config_path), free(list_path), free(other_path);
    return test_summary("config capture");
}
