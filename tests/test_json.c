/* formats/json: the reader, the tree, the writer, and text that must be refused. */
#include "tests/test.h"

#include "formats/json.h"

static const qk_json *parse(qk_arena *arena, const char *text, qk_error *err)
{
    const qk_json *v = NULL;
    return qk_json_parse(arena, text, strlen(text), "t.json", &v, err) == QK_OK ? v : NULL;
}

static void test_values(void)
{
    qk_arena arena = {0};
    qk_error err;
    const qk_json *v = parse(&arena,
                             " {\"a\": [1, -2.5e3, true, null, \"x\\n\\u00e9\\ud83d\\ude42\"],\n"
                             "  \"big\": 1000000000000000019884624838656, \"o\": {\"k\": NaN}} ",
                             &err);
    CHECK(v && v->type == QK_JSON_T_OBJECT && v->count == 3);
    const qk_json *a = qk_json_get(v, "a");
    CHECK(a && a->count == 5);
    const qk_json *e = a->first;
    CHECK(e->is_integer && e->integer == 1);
    e = e->next;
    CHECK(!e->is_integer && e->number == -2500.0);
    CHECK(e->next->type == QK_JSON_T_BOOL && e->next->boolean);
    CHECK(e->next->next->type == QK_JSON_T_NULL);
    CHECK_STR(e->next->next->next->text, "x\n\xC3\xA9\xF0\x9F\x99\x82");
    const qk_json *big = qk_json_get(v, "big");
    CHECK(big && !big->is_integer && big->number == 1e30);
    CHECK(isnan(qk_json_get(qk_json_get(v, "o"), "k")->number));
    CHECK(qk_json_get(qk_json_get(v, "missing"), "k") == NULL);
    CHECK(qk_json_get(v, "missing") == NULL);
    qk_arena_free(&arena);
}

static void test_refused_text(void)
{
    static const struct {
        const char *text, *say;
    } cases[] = {
        {"", "byte 0 (line 1, column 1): the text ends too early"},
        {"{", "the text ends too early"},
        {"[1,]", "a value is expected here"},
        {"[1 2]", "',' or ']' is expected here"},
        {"{\"a\" 1}", "':' is expected behind a key"},
        {"{a:1}", "a key in quotes is expected here"},
        {"{\"a\":1,}", "a key in quotes is expected here"},
        {"{\"a\":1,\n\"a\":2}", "the key \"a\" is given twice"},
        {"[01]", "leading zero"},
        {"[1.]", "digits are missing behind the point"},
        {"[1e]", "digits are missing in the exponent"},
        {"[-]", "a value is expected here"},
        {"\"abc", "the text ends inside a string"},
        {"\"a\\x\"", "unknown escape"},
        {"\"\\ud800\"", "surrogate"},
        {"\"\\udc00\\ud800\"", "surrogate"},
        {"\"\\u12g4\"", "four hexadecimal digits"},
        {"\"\xFF\"", "not UTF-8"},
        {"\"\x01\"", "control character"},
        {"1 2", "text behind the end"},
        {"tru", "a value is expected here"},
        {"}", "a value is expected here"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_arena arena = {0};
        qk_error err = {0};
        CHECK_MSG(!parse(&arena, cases[i].text, &err), "accepted: %s", cases[i].text);
        CHECK_MSG(strstr(err.message, cases[i].say), "%s: %s", cases[i].text, err.message);
        CHECK(!strncmp(err.message, "t.json: byte ", 13));
        qk_arena_free(&arena);
    }
}

static void test_deep_nesting_is_refused(void)
{
    char text[2001];
    memset(text, '[', 1000);
    memset(text + 1000, ']', 1000);
    text[2000] = 0;
    qk_arena arena = {0};
    qk_error err = {0};
    CHECK(!parse(&arena, text, &err));
    CHECK(strstr(err.message, "nested too deeply") != NULL);
    CHECK(parse(&arena, text + 1000 - QK_JSON_MAX_DEPTH, &err) == NULL); /* too many ] */
    text[1000 + QK_JSON_MAX_DEPTH] = 0;
    CHECK(parse(&arena, text + 1000 - QK_JSON_MAX_DEPTH, &err) != NULL);
    qk_arena_free(&arena);
}

/* Every prefix of a document fails, and none reads past its end (the sanitizers watch). */
static void test_every_prefix_fails(void)
{
    const char *text =
        "{\"a\": [1.5e-3, \"\\ud83d\\ude42\xE2\x82\xAC\", {\"b\": false}], \"c\": null}";
    for (size_t n = 0; n < strlen(text); n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        qk_arena arena = {0};
        const qk_json *v;
        CHECK_MSG(qk_json_parse(&arena, copy, n, "t", &v, &test_error) != QK_OK, "prefix %zu", n);
        qk_arena_free(&arena);
        free(copy);
    }
}

static void test_skip(void)
{
    qk_json_reader r;
    qk_error err;
    const char *text = "{\"skip\": {\"x\": [1, {\"y\": 2}]}, \"want\": 7}";
    qk_json_open(&r, text, strlen(text), "t", &err);
    CHECK(qk_json_next(&r) == QK_JSON_OBJECT && qk_json_next(&r) == QK_JSON_KEY);
    CHECK(qk_json_skip(&r, qk_json_next(&r)));
    CHECK(qk_json_next(&r) == QK_JSON_KEY && r.length == 4 && !memcmp(r.text, "want", 4));
    CHECK(qk_json_next(&r) == QK_JSON_NUMBER && *r.text == '7');
    CHECK(qk_json_next(&r) == QK_JSON_OBJECT_END && qk_json_next(&r) == QK_JSON_DONE);
    qk_json_close(&r);
}

static void test_writer_round_trip(void)
{
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "s", "a\"\\\n\x01é");
    qk_json_add_num(&o, "f", 0.1);
    qk_json_add_int(&o, "i", INT64_MIN);
    qk_json_begin(&o, "list", '[');
    qk_json_add_bool(&o, NULL, true);
    qk_json_add_num(&o, NULL, NAN);
    qk_json_end(&o, ']');
    qk_json_begin(&o, "empty", '[');
    qk_json_end(&o, ']');
    qk_json_end(&o, '}');
    CHECK_STR(qk_buf_str(&o.buf),
              "{\"s\": \"a\\\"\\\\\\n\\u0001é\", \"f\": 0.1, \"i\": -9223372036854775808, "
              "\"list\": [true, null], \"empty\": []}");
    qk_arena arena = {0};
    qk_error err;
    const qk_json *v = parse(&arena, qk_buf_str(&o.buf), &err);
    qk_json_out copy = {.compact = true};
    if (v) qk_json_add_tree(&copy, NULL, v);
    CHECK_STR(qk_buf_str(&copy.buf), qk_buf_str(&o.buf));
    qk_buf_free(&o.buf);
    qk_buf_free(&copy.buf);
    qk_arena_free(&arena);
}

/* The text is JSON, and no command to a terminal, whatever is quoted. */
static void test_writer_of_any_bytes(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"é\u20ac\U0001F600", "\"é\u20ac\U0001F600\""},
        {"\x7f", "\"\\u007f\""},
        {"\xc2\x9b[m", "\"\\u009b[m\""},
        {"a\u202e", "\"a\\u202e\""},
        {"\u2066b", "\"\\u2066b\""},
        {"\u2028", "\"\\u2028\""},
        {"a\xffz", "\"a\\ufffdz\""},
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_json_out o = {.compact = true};
        qk_json_add_str(&o, NULL, cases[i].text);
        CHECK_STR(qk_buf_str(&o.buf), cases[i].want);
        qk_buf_free(&o.buf);
    }
}

/* JSON lines: one reader goes through many documents, and its places are those of the file. */
static void test_documents(void)
{
    static const char text[] = "{\"a\": 1}\n\n [2] {}true\n{\"b\" 3}";
    qk_json_reader r;
    qk_error err;
    qk_json_open(&r, text, sizeof text - 1, "t.jsonl", &err);
    CHECK_INT(qk_json_next_document(&r), QK_JSON_OBJECT);
    CHECK(qk_json_skip(&r, QK_JSON_OBJECT));
    CHECK_INT(qk_json_next_document(&r), QK_JSON_ARRAY);
    CHECK(qk_json_skip(&r, QK_JSON_ARRAY));
    CHECK_INT(qk_json_next_document(&r), QK_JSON_OBJECT);
    CHECK_INT(qk_json_next(&r), QK_JSON_OBJECT_END);
    CHECK_INT(qk_json_next_document(&r), QK_JSON_TRUE);
    CHECK_INT(qk_json_next_document(&r), QK_JSON_OBJECT);
    CHECK_INT(qk_json_next(&r), QK_JSON_ERROR);
    CHECK_MSG(strstr(err.message, "(line 4, column 6)"), "%s", err.message);
    CHECK_INT(qk_json_next_document(&r), QK_JSON_ERROR);
    qk_json_close(&r);
    qk_json_open(&r, " \n", 2, "t.jsonl", &err);
    CHECK_INT(qk_json_next_document(&r), QK_JSON_DONE);
    CHECK_INT(qk_json_next_document(&r), QK_JSON_DONE);
    qk_json_close(&r);
}

/* Strings are read eight bytes at a time: each thing that ends a plain run, at each place, in texts
 * that end right behind it. */
static void test_every_place_in_a_string(void)
{
    static const struct {
        const char *raw, *means; /* NULL: an error */
    } parts[] = {{"\\n", "\n"},
                 {"\\u00e9", "\xC3\xA9"},
                 {"\xC3\xA9", "\xC3\xA9"},
                 {"\xE2\x96\x81\xE2\x96\x81", "\xE2\x96\x81\xE2\x96\x81"},
                 {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
                 {"\x7F", "\x7F"},
                 {"\x1F", NULL},
                 {"\x80", NULL},
                 {"\xE2\x96", NULL},
                 {"\xFF", NULL},
                 {"\\x", NULL}};
    for (size_t before = 0; before < 20; before++)
        for (size_t behind = 0; behind < 20; behind++)
            for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
                char want[64],
                    *text = qk_strf("\"%.*s%s%.*s\"", (int)before, "abcdefghijklmnopqrst",
                                    parts[k].raw, (int)behind, "ABCDEFGHIJKLMNOPQRST");
                size_t n = strlen(text), length = 0;
                char *exact = qk_alloc(n, 1); /* a sanitizer sees what is read behind it */
                memcpy(exact, text, n);
                qk_json_reader r;
                qk_error err = {0};
                qk_json_open(&r, exact, n, "t", &err);
                qk_json_event e = qk_json_next(&r);
                CHECK_INT(e, parts[k].means ? QK_JSON_STRING : QK_JSON_ERROR);
                if (e == QK_JSON_STRING) {
                    length = (size_t)snprintf(want, sizeof want, "%.*s%s%.*s", (int)before,
                                              "abcdefghijklmnopqrst", parts[k].means, (int)behind,
                                              "ABCDEFGHIJKLMNOPQRST");
                    CHECK(r.length == length && !memcmp(r.text, want, length));
                } else {
                    char at[32];
                    bool escape = parts[k].raw[0] == '\\';
                    snprintf(at, sizeof at, "byte %zu ", 1 + before + escape);
                    CHECK_MSG(strstr(err.message, at), "%s in %s", at, err.message);
                }
                qk_json_close(&r);
                free(exact);
                free(text);
            }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_documents);
    RUN(test_values);
    RUN(test_every_place_in_a_string);
    RUN(test_refused_text);
    RUN(test_deep_nesting_is_refused);
    RUN(test_every_prefix_fails);
    RUN(test_skip);
    RUN(test_writer_round_trip);
    RUN(test_writer_of_any_bytes);
    return test_summary("json");
}
