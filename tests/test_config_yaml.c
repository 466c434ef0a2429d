/* formats/yaml: scalars as PyYAML makes them, trees with lines and columns, and broken text. */
#include "tests/test.h"

#include "engine/base/file.h"
#include "formats/json.h"
#include "formats/yaml.h"
#include "sampler/float_repr.h"

static qk_yaml *parse(qk_arena *arena, const char *text, qk_error *err)
{
    qk_yaml *root = NULL;
    return qk_yaml_parse(arena, text, strlen(text), "t.yaml", &root, err) == QK_OK ? root : NULL;
}

/* What Python's repr() of the value would be, for the types that a scalar can have. */
static const char *python_repr(qk_arena *arena, const qk_yaml *v)
{
    char text[QK_FLOAT_REPR_SIZE];
    switch (v->type) {
    case QK_YAML_NULL: return "None";
    case QK_YAML_BOOL: return v->boolean ? "True" : "False";
    case QK_YAML_INT:
        return v->fits ? qk_arena_strf(arena, "%" PRId64, v->integer)
                       : qk_arena_strf(arena, "%.0f", v->number);
    case QK_YAML_FLOAT:
        qk_python_float_repr(v->number, text);
        return qk_arena_strf(arena, "%s", text);
    case QK_YAML_STRING: return v->text;
    default: return "";
    }
}

static const char *python_type(const qk_yaml *v)
{
    static const char *const names[] = {"NoneType", "bool", "int",  "float",
                                        "str",      "date", "list", "dict"};
    return names[v->type];
}

/* One [text, type, value] of the files; `quoted` values are repr() even for strings. */
static void check_scalar(const qk_json *entry)
{
    const char *text = entry->first->text, *type = entry->first->next->text;
    const char *value = entry->first->next->next->text;
    qk_arena arena = {0};
    qk_error err;
    qk_yaml *root = parse(&arena, qk_arena_strf(&arena, "x: %s\n", text), &err);
    const qk_yaml *v = qk_yaml_get(root, "x");
    if (!strcmp(type, "error")) {
        CHECK_MSG(!v, "%s is read", text);
    } else if (!v) {
        CHECK_MSG(v, "%s: %s", text, err.message);
    } else {
        CHECK_MSG(!strcmp(python_type(v), type), "%s: got %s, expected %s", text, python_type(v),
                  type);
        const char *got = python_repr(&arena, v);
        bool wide = v->type == QK_YAML_INT && !v->fits; /* compared as doubles */
        if (wide)
            CHECK_CLOSE(v->number, strtod(value, NULL), 0);
        else
            CHECK_MSG(!strcmp(got, value), "%s: got %s, expected %s", text, got, value);
    }
    qk_arena_free(&arena);
}

static void test_scalars(void)
{
    qk_arena arena = {0};
    const qk_json *all;
    qk_error err;
    CHECK_INT(qk_json_parse_file(&arena, "tests/data/config/scalars.json", 1 << 20, &all, &err), 0);
    for (const qk_json *e = all->first; e; e = e->next) check_scalar(e);
    CHECK_INT(all->count, 508);
    qk_arena_free(&arena);
}

/* The reference's list gives repr() of strings and of dates: strip the quotes. */
static void test_golden_scalars(void)
{
    char *path = test_golden("capture/errors.json");
    if (!path) SKIP("no capture goldens");
    qk_arena arena = {0};
    const qk_json *root;
    qk_error err;
    CHECK_INT(qk_json_parse_file(&arena, path, 1 << 24, &root, &err), 0);
    const qk_json *list = qk_json_get(root, "yaml_scalars");
    CHECK_INT(list->count, 36);
    for (const qk_json *e = list->first; e; e = e->next) {
        qk_json *type = e->first->next, *value = type->next;
        if (!strcmp(type->text, "str"))
            value->text = qk_arena_strndup(&arena, value->text + 1, value->length - 2);
        if (!strcmp(type->text, "date")) value->text = "";
        check_scalar(e);
    }
    qk_arena_free(&arena);
    free(path);
}

static void test_tree(void)
{
    qk_arena arena = {0};
    qk_error err = {0};
    qk_yaml *root = parse(&arena,
                          "a:\n  b: [1, two, {c: 3.5}]\n  'd': |\n    text\n    more\n"
                          "e: \"\\u00e9\\n\"\nf: &x {g: 1}\nh: *x\n",
                          &err);
    CHECK(root && root->type == QK_YAML_MAP && root->count == 4);
    const qk_yaml *b = qk_yaml_get(qk_yaml_get(root, "a"), "b");
    CHECK(b && b->type == QK_YAML_LIST && b->count == 3);
    CHECK_INT(b->line, 2);
    CHECK_INT(b->column, 6);
    CHECK_INT(b->key_column, 3);
    CHECK_INT(b->first->next->column, 10);
    CHECK(qk_yaml_get(b->last, "c")->number == 3.5);
    CHECK_STR(qk_yaml_get(qk_yaml_get(root, "a"), "d")->text, "text\nmore\n");
    CHECK_STR(qk_yaml_get(root, "e")->text, "\xC3\xA9\n");
    const qk_yaml *h = qk_yaml_get(root, "h");
    CHECK_INT(qk_yaml_get(h, "g")->integer, 1);
    CHECK_INT(h->line, 8);
    CHECK(qk_yaml_get(root, "a") != qk_yaml_get(root, "f"));
    CHECK(qk_yaml_get(NULL, "a") == NULL && qk_yaml_get(b, "a") == NULL);
    qk_arena_free(&arena);
}

static void test_put(void)
{
    qk_arena arena = {0};
    qk_error err = {0};
    qk_yaml *root = parse(&arena, "{a: 1, b: 2}", &err);
    qk_yaml *three = parse(&arena, "3", &err), *four = parse(&arena, "4", &err);
    qk_yaml_put(root, "b", three);
    qk_yaml_put(root, "c", four);
    CHECK_INT(root->count, 3);
    CHECK_INT(qk_yaml_get(root, "b")->integer, 3);
    CHECK_INT(qk_yaml_get(root, "c")->integer, 4);
    CHECK(root->last == four && !four->next);
    qk_arena_free(&arena);
}

static void test_empty(void)
{
    static const char *const empty[] = {"", "\n\n", "# nothing\n", "---\n...\n"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        qk_arena arena = {0};
        qk_error err = {0};
        qk_yaml *root = parse(&arena, empty[i], &err);
        CHECK_MSG(!root || root->type == QK_YAML_NULL, "case %zu", i);
        CHECK_STR(err.message, "");
        qk_arena_free(&arena);
    }
}

static void test_refused_text(void)
{
    static const struct {
        const char *text, *say;
    } cases[] = {
        {"a: 1\n\tb: 2\n", "t.yaml:2:1: a tab in the indentation"},
        {"a:\n  b: c\n   d: e\n", "t.yaml:3:5: bad indentation"},
        {"a:\n  b:c\n  d: e\n", "t.yaml:2:1: a space is missing behind ':'"},
        {"a: [1, 2\nb: 3\n", "t.yaml:1:4: the list or map that begins here is not closed"},
        {"a: \"b\n", "not YAML: while scanning a quoted scalar"},
        {"a: 1\n---\nb: 2\n", "t.yaml:2:1: more than one document"},
        {"a: 1\nb: 2\na: 3\n", "t.yaml:3:1: 'a' is given twice"},
        {"a:\n  b: {c: 1, c: 2}\n", "t.yaml:2:13: 'a.b.c' is given twice"},
        {"1: 2\n", "t.yaml:1:1: keys must be plain strings"},
        {"yes: 2\n", "keys must be plain strings"},
        {"~: 2\n", "keys must be plain strings"},
        {"? [a, b]\n: 1\n", "keys must be plain strings"},
        {"\"a\\0b\": 1\n", "keys must be plain strings"},
        {"a: !!int \"3\"\n", "t.yaml:1:4: tags (!name) are not supported"},
        {"a: !x [1]\n", "tags (!name) are not supported"},
        {"a: ! b\n", "tags (!name) are not supported"},
        {"a: *b\n", "t.yaml:1:4: this alias has no anchor before it"},
        {"a: &b [*b]\n", "this alias has no anchor before it"},
        {"b: &b {c: 1}\na:\n  <<: *b\n", "t.yaml:3:3: merge keys (<<) are not supported"},
        {"a: =\n", "t.yaml:1:4: this is no value in YAML 1.1"},
        {"a: b\nc: caf\xE9\n", "t.yaml:2:7: not valid UTF-8"},
        {"\xFF\xFE"
         "a",
         "t.yaml:1:1: this is UTF-16, not UTF-8"},
        {"a: b\nc: \x01\n", "t.yaml:2:4: a control character"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_arena arena = {0};
        qk_error err = {0};
        CHECK_MSG(!parse(&arena, cases[i].text, &err), "case %zu is read", i);
        CHECK_MSG(strstr(err.message, cases[i].say), "case %zu: %s", i, err.message);
        CHECK_INT(err.status, QK_ERR_CONFIG);
        qk_arena_free(&arena);
    }
}

/* Sizes that must be refused without much time or memory. */
static void test_bombs(void)
{
    qk_arena arena = {0};
    qk_error err = {0};
    qk_buf text = {0};
    for (int i = 0; i < 9; i++) {
        qk_buf_addf(&text, "x%d: &x%d [", i, i);
        for (int j = 0; j < 10; j++)
            i ? qk_buf_addf(&text, "*x%d, ", i - 1) : qk_buf_addf(&text, "boom, ");
        qk_buf_add_str(&text, "]\n");
    }
    CHECK(!parse(&arena, qk_buf_str(&text), &err));
    CHECK_MSG(strstr(err.message, "too many values"), "%s", err.message);

    qk_buf_clear(&text);
    qk_buf_add_str(&text, "a: ");
    for (int i = 0; i < 100000; i++) qk_buf_add_byte(&text, '[');
    CHECK(!parse(&arena, qk_buf_str(&text), &err));
    CHECK_MSG(strstr(err.message, "nested too deep"), "%s", err.message);

    qk_buf_clear(&text); /* each level doubles the depth */
    qk_buf_add_str(&text, "a0: &a0 [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\n");
    for (int i = 1; i < 4; i++)
        qk_buf_addf(&text, "a%d: &a%d [[[[[[[[[[[[[[[[[[[[*a%d]]]]]]]]]]]]]]]]]]]]\n", i, i, i - 1);
    CHECK(!parse(&arena, qk_buf_str(&text), &err));
    CHECK_MSG(strstr(err.message, "a.yaml") == NULL && strstr(err.message, "nested too deep"), "%s",
              err.message);

    qk_buf_clear(&text);
    for (int i = 0; i <= QK_YAML_MAX_KEYS; i++) qk_buf_addf(&text, "k%d:\n", i);
    CHECK(!parse(&arena, qk_buf_str(&text), &err));
    CHECK_MSG(strstr(err.message, "t.yaml:10001:1: too many keys in one map"), "%s", err.message);

    qk_buf_clear(&text);
    for (size_t i = 0; i < (size_t)QK_YAML_MAX_BYTES + 1; i++) qk_buf_add_byte(&text, '\n');
    CHECK(!parse(&arena, qk_buf_str(&text), &err));
    CHECK_MSG(strstr(err.message, "too many for a configuration"), "%s", err.message);
    qk_buf_free(&text);
    qk_arena_free(&arena);
}

/* ---- text of others ---- */

/* The tree as flow YAML; ? is a key that is no string, or a value of another kind. */
static void write_tree(qk_buf *out, const qk_yaml *v)
{
    if (v->key) qk_buf_addf(out, "%s: ", v->other_key ? "?" : v->key);
    switch (v->type) {
    case QK_YAML_NULL: qk_buf_add_str(out, "~"); return;
    case QK_YAML_BOOL: qk_buf_add_str(out, v->boolean ? "true" : "false"); return;
    case QK_YAML_STRING: qk_buf_addf(out, "'%s'", v->text); return;
    case QK_YAML_INT: qk_buf_addf(out, "%" PRId64, v->integer); return;
    case QK_YAML_FLOAT: qk_buf_addf(out, "%g", v->number); return;
    case QK_YAML_DATE: qk_buf_addf(out, "<%s>", v->text); return;
    case QK_YAML_OTHER: qk_buf_add_str(out, "?"); return;
    default: break;
    }
    qk_buf_add_str(out, v->type == QK_YAML_MAP ? "{" : "[");
    for (const qk_yaml *child = v->first; child; child = child->next) {
        if (child != v->first) qk_buf_add_str(out, ", ");
        write_tree(out, child);
    }
    qk_buf_add_str(out, v->type == QK_YAML_MAP ? "}" : "]");
}

static qk_status parse_safe(qk_arena *arena, const char *text, qk_yaml **root, qk_error *err)
{
    return qk_yaml_parse_safe(arena, text, strlen(text), "t.yaml", root, err);
}

static void check_safe(const char *text, const char *expected)
{
    qk_arena arena = {0};
    qk_buf out = {0};
    qk_yaml *root = NULL;
    qk_error err = {0};
    if (parse_safe(&arena, text, &root, &err) == QK_OK)
        write_tree(&out, root);
    else
        qk_buf_add_str(&out, err.message);
    CHECK_MSG(!strcmp(qk_buf_str(&out), expected), "%s: %s, not %s", text, qk_buf_str(&out),
              expected);
    qk_buf_free(&out);
    qk_arena_free(&arena);
}

static void test_safe(void)
{
    check_safe("{0: a, yes: b, ~: c, 2024-01-02: d, 1.5: e, f: g}",
               "{?: 'a', ?: 'b', ?: 'c', ?: 'd', ?: 'e', f: 'g'}");
    check_safe("? [a, b]\n: c\n? {d: e}\n: f\n", "{?: 'c', ?: 'f'}");
    check_safe("{a: 1, b: 2, a: 3, 'a': 4}", "{a: 4, b: 2}");
    check_safe(
        "[!!str 12, ! 12, !!int '12', !!int 0x10, !!int x, !!float 3, !!bool 'yes', !!null x]",
        "['12', '12', 12, 16, ?, 3, true, ~]");
    check_safe("[!!set {a, b}, !!binary aGk=, !x 1, !!omap [a: 1], !!map {a: 1}, !!seq [1], =]",
               "[?, ?, ?, ?, {a: 1}, [1], ?]");
    check_safe("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3, z: 4}\n",
               "{a: {x: 1, y: 2}, b: {x: 1, y: 3, z: 4}}");
    check_safe("a: {z: 4, <<: [{x: 1}, {x: 2, y: 3}]}", "{a: {x: ?, y: 3, z: 4}}");
    check_safe("a: {<<: 5, '<<': 6, b: 7}", "{a: {<<: 6, b: 7}}");
    check_safe("a: &a [1]\nb: [*a, *a]\n? *a\n: c\n", "{a: [1], b: [[1], [1]], ?: 'c'}");
    check_safe("a: &a [1, *a]\nb: &a {c: 2}\nd: *a\n", "{a: [1, ?], b: {c: 2}, d: {c: 2}}");
    check_safe("--- {a: 1}\n...\n", "{a: 1}");
    check_safe("a: *b", "t.yaml:1:4: this alias has no anchor before it");
    check_safe("--- a\n--- b\n", "t.yaml:2:1: more than one document");
}

static void test_safe_truth(void)
{
    static const char *const texts[] = {"[~, no, 0, -0x0, 0.0, '', [], {}, !!set {}]",
                                        "[yes, 1, .nan, 1e-3, 'no', '0', [0], {a: ~}, !!set {a}, "
                                        "2024-01-02, 99999999999999999999]"};
    for (int expected = 0; expected < 2; expected++) {
        qk_arena arena = {0};
        qk_yaml *root;
        qk_error err;
        CHECK_INT(parse_safe(&arena, texts[expected], &root, &err), QK_OK);
        for (const qk_yaml *v = root->first; v; v = v->next)
            CHECK_MSG(qk_yaml_is_true(v) == expected, "line %d, column %d", v->line, v->column);
        qk_arena_free(&arena);
    }
    CHECK(!qk_yaml_is_true(NULL));
}

/* Aliases cost nothing; what merge keys copy is counted; depth and anchors are bounded. */
static void test_safe_bombs(void)
{
    qk_arena arena = {0};
    qk_buf text = {0};
    qk_yaml *root;
    qk_error err;
    qk_buf_add_str(&text, "a0: &a0 [x]\n");
    for (int i = 1; i < 60; i++)
        qk_buf_addf(&text, "a%d: &a%d [*a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1);
    CHECK_INT(parse_safe(&arena, qk_buf_str(&text), &root, &err), QK_OK);
    CHECK_INT(root->count, 60);

    qk_buf_clear(&text);
    qk_buf_add_str(&text, "a: &a {");
    for (int i = 0; i < 1100; i++) qk_buf_addf(&text, "k%d: 1, ", i);
    qk_buf_add_str(&text, "}\nb: {<<: [");
    for (int i = 0; i < 1000; i++) qk_buf_add_str(&text, "*a, ");
    qk_buf_add_str(&text, "]}\n");
    CHECK(parse_safe(&arena, qk_buf_str(&text), &root, &err) != QK_OK);
    CHECK_MSG(strstr(err.message, "too many values"), "%s", err.message);

    qk_buf_clear(&text);
    for (int i = 0; i < 50000; i++) qk_buf_addf(&text, "k%d: v\n", i);
    CHECK_INT(parse_safe(&arena, qk_buf_str(&text), &root, &err), QK_OK);
    CHECK_INT(root->count, 50000);

    qk_buf_clear(&text);
    for (int i = 0; i < 300; i++) qk_buf_add_byte(&text, '[');
    CHECK(parse_safe(&arena, qk_buf_str(&text), &root, &err) != QK_OK);
    CHECK_MSG(strstr(err.message, "nested too deep"), "%s", err.message);

    qk_buf_clear(&text);
    for (int i = 0; i < 10001; i++) qk_buf_addf(&text, "- &a%d b\n", i);
    CHECK(parse_safe(&arena, qk_buf_str(&text), &root, &err) != QK_OK);
    CHECK_MSG(strstr(err.message, "too many anchors"), "%s", err.message);
    qk_buf_free(&text);
    qk_arena_free(&arena);
}

static void check_too_much(const qk_buf *text)
{
    qk_arena arena = {0};
    qk_yaml *root;
    qk_error err = {0};
    CHECK(qk_yaml_parse_safe(&arena, (const char *)text->data, text->size, "t.yaml", &root, &err));
    CHECK_MSG(strstr(err.message, "too many values"), "%s", err.message);
    qk_arena_free(&arena);
}

/* Four letters whose hash leaves 7; see bucket_of. */
static size_t next_of_bucket(size_t at, char out[5])
{
    for (;; at++) {
        uint32_t hash = 2166136261u;
        for (size_t i = 0, rest = at; i < 4; i++, rest /= 26) out[i] = (char)('a' + rest % 26);
        out[4] = 0;
        for (size_t i = 0; i < 4; i++) hash = (hash ^ (uint8_t)out[i]) * 16777619u;
        if (hash % 1024 == 7) return at + 1;
    }
}

/* What would take minutes, of some hundred kilobytes: no value is many, but each is looked at again
 * and again. */
static void test_safe_slow(void)
{
    qk_buf text = {0};
    qk_buf_add_str(&text, "a: &a [");
    for (int i = 0; i < 100000; i++) qk_buf_add_str(&text, "{}, ");
    qk_buf_add_str(&text, "]\nb:\n");
    for (int i = 0; i < 100000; i++) qk_buf_add_str(&text, "- {<<: *a}\n");
    check_too_much(&text);

    qk_buf_clear(&text); /* keys of a megabyte, compared */
    for (int i = 0; i < 2; i++) {
        qk_buf_addf(&text, "%c: &%c {\n ? '", 'a' + i, 'a' + i);
        for (int k = 0; k < 1000000; k++) qk_buf_add_byte(&text, 'k');
        qk_buf_add_str(&text, "'\n : 1 }\n");
    }
    qk_buf_add_str(&text, "c: {<<: [");
    for (int i = 0; i < 100000; i++) qk_buf_add_str(&text, "*a, *b, ");
    qk_buf_add_str(&text, "]}\n");
    check_too_much(&text);

    qk_buf_clear(&text); /* anchors of one bucket */
    char name[5], first[5];
    size_t at = next_of_bucket(0, first);
    qk_buf_addf(&text, "a: [&%s 1", first);
    for (int i = 0; i < 440; i++) {
        at = next_of_bucket(at, name);
        qk_buf_addf(&text, ", &%s 1", name);
    }
    qk_buf_add_str(&text, "]\nb: [");
    for (int i = 0; i < 100000; i++) qk_buf_addf(&text, "*%s, ", first);
    qk_buf_add_str(&text, "]\n");
    check_too_much(&text);

    qk_buf_clear(&text); /* a list that every alias walks over */
    qk_buf_add_str(&text, "a: &a [");
    for (int i = 0; i < 50000; i++) qk_buf_add_str(&text, "1, ");
    qk_buf_add_str(&text, "]\nb: [");
    for (int i = 0; i < 50000; i++) qk_buf_add_str(&text, "*a, ");
    qk_buf_add_str(&text, "]\n");
    check_too_much(&text);
    qk_buf_free(&text);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_scalars);
    RUN(test_golden_scalars);
    RUN(test_tree);
    RUN(test_put);
    RUN(test_empty);
    RUN(test_refused_text);
    RUN(test_bombs);
    RUN(test_safe);
    RUN(test_safe_truth);
    RUN(test_safe_bombs);
    RUN(test_safe_slow);
    return test_summary("config yaml");
}
