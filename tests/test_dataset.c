/* engine/dataset: rows and ids of files and folders, and what is refused. */
#include "tests/test.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/dataset/cell.h"
#include "engine/dataset/dataset.h"
#include "engine/dataset/folder.h"
#include "engine/dataset/source.h"
#include "sampler/example_id.h"

static char folder[] = "/tmp/qk_test_dataset_XXXXXX";

/* A path in the test's own folder; the string lives until the eighth later call. */
static const char *at(const char *name)
{
    static char paths[8][256];
    static int n;
    char *path = paths[n++ % 8];
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text, size_t n)
{
    char *parent = strdup(at(name));
    qk_error err;
    *strrchr(parent, '/') = 0;
    if (qk_make_dirs(parent, &err) || qk_write_file(at(name), text, n, &err))
        printf("  %s\n", err.message);
    free(parent);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static qk_config config_of(const char *path, const char *split, const char *id_column)
{
    qk_config c = {0};
    c.dataset.path = path;
    c.dataset.split = split;
    c.dataset.text_column = "text";
    c.dataset.id_column = id_column;
    c.dataset.max_samples = -1;
    return c;
}

/* All rows as "text=id|text=id|"; on an error "...!message". The caller frees. */
static char *read_all(const qk_config *c)
{
    qk_buf out = {0};
    qk_error err = {0};
    qk_dataset *d;
    bool more = true;
    qk_status s = qk_dataset_open(&d, c, &err);
    while (s == QK_OK && more) {
        qk_example e;
        s = qk_dataset_next(d, &e, &more, &err);
        if (s == QK_OK && more)
            qk_buf_addf(&out, "%.*s=%s|", (int)e.length, e.text, e.id_text ? e.id_text : "");
    }
    if (s != QK_OK) qk_buf_addf(&out, "!%s", err.message);
    if (s != QK_OK && err.status != s) qk_buf_add_str(&out, " STATUS");
    qk_dataset_close(s == QK_OK || d ? d : NULL);
    char *text = strdup(qk_buf_str(&out));
    qk_buf_free(&out);
    return text;
}

static void check_rows(const char *path, const char *split, const char *id, const char *expected)
{
    qk_config c = config_of(path, split, id);
    char *rows = read_all(&c);
    CHECK_MSG(!strcmp(rows, expected), "%s %s: got %s, expected %s", path, split, rows, expected);
    free(rows);
}

static void check_error(const char *path, const char *split, const char *id, const char *say)
{
    qk_config c = config_of(path, split, id);
    char *rows = read_all(&c);
    const char *mark = strchr(rows, '!');
    CHECK_MSG(mark && strstr(mark, say), "%s %s: got %s, expected %s", path, split, rows, say);
    free(rows);
}

static void put_five_lines(void)
{
    put("a.txt", "one\r\ntwo\rthree\n\nfour\xE2\x80\xA8", 24);
}

static void test_text_files(void)
{
    put_five_lines();
    check_rows(at("a.txt"), "train", NULL, "one=|two=|three=|=|four\xE2\x80\xA8=|");
    put_text("b.txt", "\n\r\n\r");
    check_rows(at("b.txt"), "train", NULL, "=|=|=|");
    put_text("c.txt", "");
    check_error(at("c.txt"), "train", NULL, "the split 'train' has no rows");
    put_text("d.txt", "good\nbad \xFF\n");
    check_error(at("d.txt"), "train", NULL, "d.txt: line 2: not valid UTF-8");
    check_error(at("a.txt"), "train", "id", "there is no column 'id'; the columns are text");
    check_rows(at("a.txt"), "train[1:3]", NULL, "two=|three=|");
    check_rows(at("a.txt"), "train[-2:]", NULL, "=|four\xE2\x80\xA8=|");
    check_error(at("a.txt"), "train[9:]", NULL, "has no rows");
    check_error(at("a.txt"), "test", NULL, "there is no split 'test'; the splits are train");
}

static void test_json_lines(void)
{
    put_text("a.jsonl",
             "{\"text\": \"a\\n\", \"id\": 1}\n\n{\"x\": [{\"text\": 1}], \"id\": 2e3, "
             "\"text\": \"\"}\r\n{\"text\": \"c\"} {\"id\": 2.5, \"text\": \"\\u00e9\"}");
    check_rows(at("a.jsonl"), "train", "id", "a\n=1.0|=2000.0|c=None|\xC3\xA9=2.5|");
    check_rows(at("a.jsonl"), "train", NULL, "a\n=|=|c=|\xC3\xA9=|");
    check_rows(at("a.jsonl"), "train[50%:]", "id", "c=None|\xC3\xA9=2.5|");
    check_error(at("a.jsonl"), "train", "key",
                "there is no column 'key'; the columns are text, id, x");
    put_text("array.json", " [ {\"text\": \"a\"}, {\"text\": \"b\"} ] ");
    check_rows(at("array.json"), "train", NULL, "a=|b=|");
    put_text("strings.json", "[\"a\", \"b\\\"\"]");
    check_rows(at("strings.json"), "train", NULL, "a=|b\"=|");
    put_text("twice.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\", \"text\": \"c\"}\n");
    check_error(at("twice.jsonl"), "train", NULL,
                "line 2, column 22): the key 'text' is given twice");
    put_text("null.jsonl", "{\"text\": \"a\"}\n{\"text\": null}\n");
    check_error(at("null.jsonl"), "train", NULL, "null.jsonl: row 1 (from 0): 'text' is null");
    put_text("number.jsonl", "{\"text\": \"a\"}\n{\"text\": 5}\n");
    check_error(at("number.jsonl"), "train", NULL,
                "line 2, column 11): 'text' is a number, not a string");
    put_text("object.jsonl", "{\"text\": \"a\", \"id\": {}}\n");
    check_error(at("object.jsonl"), "train", "id", "'id' is an object, which cannot be an id");
    put_text("scalar.jsonl", "{\"text\": \"a\"}\n42\n");
    check_error(at("scalar.jsonl"), "train", NULL, "line 2, column 3): a row must be an object");
    put_text("broken.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\n");
    check_error(at("broken.jsonl"), "train", NULL, "broken.jsonl: byte ");
    put_text("tail.json", "[{\"text\": \"a\"}] x");
    check_error(at("tail.json"), "train", NULL, "text behind the end of the value");
    put_text("typo.jsonl", "{\"txt\": \"a\"}\n");
    check_error(at("typo.jsonl"), "train", NULL, "there is no column 'text'; the columns are txt");
}

static void test_ids(void)
{
    put_text("dates.jsonl", "{\"text\": \"a\", \"id\": \"2024-05-01\"}\n{\"text\": \"b\"}\n"
                            "{\"text\": \"c\", \"id\": \"2024-05-01T10:11+02\"}\n");
    check_rows(at("dates.jsonl"), "train", "id",
               "a=2024-05-01 00:00:00|b=None|c=2024-05-01 08:11:00|");
    put_text("some.jsonl",
             "{\"text\": \"a\", \"id\": \"2024-05-01\"}\n{\"text\": \"b\", \"id\": \"x\"}\n");
    check_rows(at("some.jsonl"), "train", "id", "a=2024-05-01|b=x|");
    put_text("big.jsonl", "{\"text\": \"a\", \"id\": 18446744073709551615}\n"
                          "{\"text\": \"b\", \"id\": -9223372036854775808}\n");
    check_error(at("big.jsonl"), "train", "id",
                "the id 1.8446744073709552e+19 is a whole number beyond 64 bits");
    put_text("edge.jsonl", "{\"text\": \"a\", \"id\": 9007199254740993}\n{\"text\": \"b\"}\n"
                           "{\"text\": \"c\", \"id\": -9223372036854775809}\n");
    check_rows(at("edge.jsonl"), "train", "id",
               "a=9007199254740992.0|b=None|c=-9.223372036854776e+18|");
    put_text("big.json", "[{\"text\": \"a\", \"id\": 18446744073709551615}]");
    check_rows(at("big.json"), "train", "id", "a=18446744073709551615|");
    put_text("sign.json", "[{\"text\": \"a\", \"id\": 18446744073709551615}, "
                          "{\"text\": \"b\", \"id\": -1}]");
    check_error(at("sign.json"), "train", "id",
                "'id' holds negative integers and some above int64");
    put_text("past.json", "[{\"text\": \"a\", \"id\": 18446744073709551616}]");
    check_error(at("past.json"), "train", "id", "'id' is an integer beyond 64 bits");
    put_text("null.json", "[{\"text\": \"a\", \"id\": 9007199254740993}, {\"text\": \"b\"}, "
                          "{\"text\": \"c\", \"id\": 1.0}]");
    check_rows(at("null.json"), "train", "id", "a=9007199254740992|b=None|c=1|");
    put_text("mixed.jsonl", "{\"text\": \"a\", \"id\": 1}\n{\"text\": \"b\", \"id\": \"x\"}\n");
    check_error(at("mixed.jsonl"), "train", "id",
                "the type of 'id' is not that of the rows before");
    put_text("inf.jsonl", "{\"text\": \"a\", \"id\": 1e999}\n");
    check_error(at("inf.jsonl"), "train", "id", "'id' is no finite number");
    put_text("wide.jsonl", "{\"text\": \"a\", \"id\": 1e300}\n");
    check_error(at("wide.jsonl"), "train", "id", "wide.jsonl: row 0 (from 0): ");

    put_five_lines();
    qk_config c = config_of(at("a.txt"), "train[2:]", NULL);
    qk_error err;
    qk_dataset *d;
    qk_example e;
    bool more;
    CHECK_INT(qk_dataset_open(&d, &c, &err), QK_OK);
    CHECK_INT(qk_dataset_rows(d), -1);
    CHECK_INT(qk_dataset_count_small(d), 3);
    CHECK_INT(qk_dataset_next(d, &e, &more, &err), QK_OK);
    CHECK(more && e.index == 0 && e.id == 0 && e.id_text == NULL && e.length == 5);
    qk_dataset_close(d);
    c.dataset.split = "train[-2:]";
    CHECK_INT(qk_dataset_open(&d, &c, &err), QK_OK);
    CHECK_INT(qk_dataset_rows(d), 2);
    qk_dataset_close(d);
    c.dataset.max_samples = 0;
    CHECK_INT(qk_dataset_open(&d, &c, &err), QK_OK);
    CHECK_INT(qk_dataset_rows(d), 0);
    CHECK_INT(qk_dataset_count_small(d), 0);
    CHECK_INT(qk_dataset_next(d, &e, &more, &err), QK_OK);
    CHECK(!more);
    qk_dataset_close(d);
    qk_dataset_close(NULL);
}

static void test_folders(void)
{
    put_text("d1/data/train-00000-of-00002.jsonl", "{\"text\": \"a\"}");
    put_text("d1/data/train-00001-of-00002.jsonl", "{\"text\": \"b\"}{\"text\": \"c\"}");
    put_text("d1/data/test-00000-of-00001.jsonl", "{\"text\": \"d\"}");
    put_text("d1/test/other.jsonl", "{\"text\": \"no\"}");
    check_rows(at("d1"), "train", NULL, "a=|b=|c=|");
    check_rows(at("d1"), "all", NULL, "a=|b=|c=|d=|");
    check_rows(at("d1"), "test+train[1:]", NULL, "d=|b=|c=|");
    check_rows(at("d1"), "train[2:]", NULL, "c=|");
    check_rows(at("d1"), "train[-2:2]", NULL, "b=|");
    check_error(at("d1"), "dev", NULL, "there is no split 'dev'; the splits are train, test");
    put_text("d2/val/x.txt", "v\n");
    put_text("d2/my-train/y.txt", "t\n");
    check_rows(at("d2"), "all", NULL, "t=|v=|");
    put_five_lines();
    put_text("d3/part-10.txt", "ten\n");
    put_text("d3/part-2.txt", "two\n");
    put_text("d3/part/0.txt", "zero\n");
    put_text("d3/notes.md", "no\n");
    check_rows(at("d3"), "train", NULL, "ten=|two=|zero=|");
    CHECK_INT(symlink(".", at("d3/loop")), 0);
    CHECK_INT(symlink("../a.txt", at("d3/z.txt")), 0);
    check_rows(at("d3"), "train[3:5]", NULL, "one=|two=|");
    put_text("d4/a.xml", "<x/>");
    check_error(at("d4"), "train", NULL, "XML files are not supported");
    put_text("d5/a.md", "x");
    check_error(at("d5"), "train", NULL, "no data files");
    put_text("d6/train-en-00000-of-00001.jsonl", "{\"text\": \"a\"}");
    put_text("d6/data/train-en-00000-of-00001.jsonl", "{\"text\": \"a\"}");
    check_error(at("d6"), "train", NULL, "'train-en' cannot be the name of a split");
    put_text("d7/a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    check_error(at("d7"), "train", NULL, "a.jsonl: this is a Git LFS pointer");
    put_text("d7/a.jsonl", "\n<!DOCTYPE html>\n<html>");
    check_error(at("d7"), "train", NULL, "a.jsonl: this is a web page");
    put("d8/a.jsonl.gz", "\x1F\x8B\x08\x00", 4);
    check_error(at("d8"), "train", NULL,
                "a.jsonl.gz: gzip: the data end early, at byte 4 of the packed file");
    put_text("d9/a.jsonl", "{\"text\": \"a\", \"id\": \"x\"}");
    put_text("d9/b.jsonl", "{\"text\": \"b\", \"id\": 7}{\"text\": \"c\"}");
    check_rows(at("d9"), "train", "id", "a=x|b=7|c=None|");
    check_error(at("nowhere"), "train", NULL, "nowhere: there is no such file or folder");
    qk_config c = config_of(at("d3"), "train", NULL);
    c.dataset.name = "other";
    char *rows = read_all(&c);
    CHECK_MSG(strstr(rows, "there is no configuration 'other', only 'default'"), "%s", rows);
    free(rows);
}

static void test_cards(void)
{
    put_text("k1/en/x.jsonl", "{\"text\": \"en\"}");
    put_text("k1/fr/y.jsonl", "{\"text\": \"fr\"}");
    put_text("k1/README.md",
             "---\nconfigs:\n- config_name: en\n  data_files: en/*.jsonl\n"
             "- config_name: fr\n  data_files:\n  - split: test\n    path: fr/y.jsonl\n"
             "---\n# A card\n");
    qk_config c = config_of(at("k1"), "train", NULL);
    c.dataset.name = "en";
    char *rows = read_all(&c);
    CHECK_STR(rows, "en=|");
    free(rows);
    c.dataset.name = "fr";
    c.dataset.split = "test";
    rows = read_all(&c);
    CHECK_STR(rows, "fr=|");
    free(rows);
    check_error(at("k1"), "train", NULL, "several configurations: en, fr");
    c.dataset.name = "de";
    rows = read_all(&c);
    CHECK_MSG(strstr(rows, "there is no configuration 'de'; there are en, fr"), "%s", rows);
    free(rows);
    put_text("k2/a.jsonl", "{\"text\": \"a\"}");
    put_text("k2/README.md",
             "---\nconfigs:\n- config_name: x\n  data_files: ../k1/en/x.jsonl\n---\n");
    check_error(at("k2"), "train", NULL, "data_files '../k1/en/x.jsonl' leaves the folder");
    put_text("k2/README.md", "---\nconfigs:\n- config_name: x\n  data_files: b.jsonl\n---\n");
    check_error(at("k2"), "train", NULL, "there is no file b.jsonl");
    put_text("k2/README.md", "---\nconfigs:\n- config_name: x\n  data_files: a**\n---\n");
    check_error(at("k2"), "train", NULL, "** can only be a whole part of a path");
    put_text("k2/README.md", "---\nconfigs: [\n---\n");
    check_error(at("k2"), "train", NULL, "k2/README.md:");
    put_text("k3/a.jsonl", "{\"text\": \"a\", \"id\": 5}{\"text\": \"b\"}");
    put_text("k3/README.md", "---\ndataset_info:\n- config_name: other\n- config_name: default\n"
                             "  features:\n  - name: id\n    dtype: string\n---\n");
    qk_config ids = config_of(at("k3"), "train", "id");
    qk_error err;
    qk_dataset *d;
    qk_example e;
    bool more;
    CHECK_INT(qk_dataset_open(&d, &ids, &err), QK_OK);
    CHECK_INT(qk_dataset_next(d, &e, &more, &err), QK_OK);
    CHECK_STR(e.id_text, "5");
    CHECK_INT(e.id, qk_example_id_from_text("5", 1));
    qk_dataset_close(d);
    put_text("k2/README.md", "---\nlicense: mit\n---\n");
    check_rows(at("k2"), "train", NULL, "a=|");
}

/* A few lines of aliases ask for more than a machine has. */
static void test_card_limits(void)
{
    enum { FILES = 100000, PATTERN = 50000 };
    qk_names names = {0};
    qk_buf text = {0};
    qk_data_files found;
    qk_error err = {0};
    char name[32];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%06d.jsonl", i);
        qk_names_add(&names, name);
    }
    qk_buf_add_str(&text, "---\nconfigs:\n- config_name: a\n  data_files: '*");
    for (int i = 0; i < PATTERN; i++) qk_buf_add_byte(&text, 'x');
    qk_buf_add_str(&text, "'\n---\n");
    put_text("limits/README.md", qk_buf_str(&text));
    CHECK(qk_data_files_find_in(&found, &names, at("limits"), NULL, NULL, &err) != QK_OK);
    CHECK_MSG(strstr(err.message, "too many patterns for a folder of so many files"), "%s",
              err.message);

    qk_buf_clear(&text); /* each split has fewer files than a configuration may */
    qk_buf_add_str(&text, "---\nconfigs:\n- config_name: a\n  data_files:\n");
    for (int i = 0; i < 12; i++) qk_buf_addf(&text, "  - {split: s%d, path: '*.jsonl'}\n", i);
    qk_buf_add_str(&text, "---\n");
    put_text("limits/README.md", qk_buf_str(&text));
    CHECK(qk_data_files_find_in(&found, &names, at("limits"), NULL, NULL, &err) != QK_OK);
    CHECK_MSG(strstr(err.message, "data_files give too many files"), "%s", err.message);
    qk_names_free(&names);
    qk_buf_free(&text);
}

/* ---- the corpus ---- */

static const qk_json *parse_golden(qk_arena *arena, const char *path)
{
    const qk_json *v = NULL;
    qk_error err;
    if (qk_json_parse_file(arena, path, 1 << 26, &v, &err) != QK_OK) printf("  %s\n", err.message);
    return v;
}

static const char *text_of(const qk_json *entry, const char *key)
{
    const qk_json *v = qk_json_get(entry, key);
    return v && v->type == QK_JSON_T_STRING ? v->text : NULL;
}

/* Expected rows, one JSON object a line. */
typedef struct answers {
    qk_arena arena;
    const qk_json **rows;
    size_t count, capacity;
    bool given; /* false: there is nothing to compare with */
} answers;

static bool load_answers(answers *a, const char *path)
{
    qk_buf file;
    qk_error err;
    *a = (answers){0};
    if (qk_read_file(&file, path, 1 << 26, &err) != QK_OK) return false;
    for (char *s = (char *)file.data, *end = s + file.size; s < end;) {
        char *newline = memchr(s, '\n', (size_t)(end - s));
        size_t n = (size_t)((newline ? newline : end) - s);
        QK_GROW(a->rows, a->count, a->capacity);
        if (qk_json_parse(&a->arena, s, n, path, &a->rows[a->count++], &err) != QK_OK) return false;
        s += n + 1;
    }
    qk_buf_free(&file);
    a->given = true;
    return true;
}

static void free_answers(answers *a)
{
    qk_arena_free(&a->arena);
    free(a->rows);
}

static bool same_text(const qk_json *expected, const char *text, size_t length)
{
    const qk_json *v = qk_json_get(expected, "text");
    if (!v || v->type == QK_JSON_T_NULL) return text == NULL;
    return text && v->length == length && !memcmp(v->text, text, length);
}

enum outcome { ROWS, REFUSED, WRONG };

static char why[2048]; /* of the last refusal or difference */

static enum outcome differ(const char *what, size_t row)
{
    snprintf(why, sizeof why, "row %zu: %s", row, what);
    return WRONG;
}

static enum outcome refused(const qk_error *err)
{
    snprintf(why, sizeof why, "%s", err->message);
    return REFUSED;
}

/* All rows of one file, null texts included. */
static enum outcome read_source(const qk_source_spec *spec, const answers *a)
{
    qk_source *s;
    qk_row row;
    qk_error err = {0};
    qk_id id = {0};
    bool more = true;
    enum outcome result = ROWS;
    if (qk_source_open(&s, spec, &err) != QK_OK) return refused(&err);
    for (size_t i = 0; more && result == ROWS; i++) {
        if (qk_source_next(s, &row, &more, &err) != QK_OK)
            result = refused(&err);
        else if (!a->given)
            continue;
        else if (!more)
            result = i == a->count ? ROWS : differ("the rows end too early", i);
        else if (i >= a->count)
            result = differ("too many rows", i);
        else if (!same_text(a->rows[i], row.text.text, row.text.length))
            result = differ("another text", i);
        else if (spec->id_column && qk_cell_to_id(&row.id, &s->id_type, NULL, &id, &err) != QK_OK)
            result = refused(&err);
        else if (spec->id_column && id.id != qk_json_get(a->rows[i], "example_id")->integer)
            result = differ(id.text, i);
    }
    qk_source_close(s);
    qk_id_free(&id);
    return result;
}

/* All rows of a dataset; a null text must be the error that it is. */
static enum outcome read_dataset(const qk_config *c, const answers *a)
{
    qk_dataset *d;
    qk_example e;
    qk_error err = {0};
    bool more = true;
    enum outcome result = ROWS;
    if (qk_dataset_open(&d, c, &err) != QK_OK) return refused(&err);
    const int64_t counts[] = {qk_dataset_rows(d), qk_dataset_count_small(d)};
    for (int i = 0; i < 2; i++)
        if (a->given && counts[i] >= 0 && (size_t)counts[i] != a->count)
            result = differ("another number of rows", a->count);
    for (size_t i = 0; more && result == ROWS; i++) {
        bool null = i < a->count && same_text(a->rows[i], NULL, 0);
        qk_status s = qk_dataset_next(d, &e, &more, &err);
        if (null && s != QK_OK && strstr(err.message, "is null")) break;
        if (s != QK_OK)
            result = refused(&err);
        else if (!a->given)
            continue;
        else if (!more)
            result = i == a->count ? ROWS : differ("the rows end too early", i);
        else if (i >= a->count)
            result = differ("too many rows", i);
        else if (!same_text(a->rows[i], e.text, e.length))
            result = differ("another text", i);
        else if (e.id != qk_json_get(a->rows[i], "example_id")->integer)
            result = differ("another id", i);
    }
    qk_dataset_close(d);
    return result;
}

static bool has_part(const char *name, const char *part)
{
    size_t n = strlen(part);
    for (const char *s = strstr(name, part); s; s = strstr(s + 1, part))
        if (s[n] == 0 || s[n] == '.') return true;
    return false;
}

/* Options of the reader, which have no key of ours. The name .tsv says its own. */
static bool needs_options(const qk_json *entry)
{
    const qk_json *options = qk_json_get(entry, "options");
    return options && options->count && !has_part(entry->key, ".tsv");
}

typedef struct tally {
    int rows, refused, options;
} tally;

/* expect: "rows", "rows or refuse", "refuse" or "free". */
static void judge(const char *name, const char *expect, enum outcome got, tally *t)
{
    bool may_read = strcmp(expect, "refuse") != 0, must_read = !strcmp(expect, "rows");
    CHECK_MSG(got != WRONG || !strcmp(expect, "free"), "%s: %s", name, why);
    CHECK_MSG(may_read || got == REFUSED, "%s is read", name);
    CHECK_MSG(!must_read || got == ROWS, "%s is refused: %s", name, why);
    if (got == REFUSED) CHECK_MSG(strlen(why) > 20, "%s: %s", name, why);
    t->rows += got == ROWS;
    t->refused += got == REFUSED;
}

static char *inputs(const char *name)
{
    char *inside = qk_path_join("inputs", name), *path = test_golden(inside);
    free(inside);
    return path;
}

/* A few files of the corpus that are part of this repository. */
static void test_samples(void)
{
    static const struct {
        const char *name;
        qk_format format;
        bool has_ids;
    } samples[] = {
        {"escapes.jsonl", QK_FORMAT_JSON, true},
        {"ids_bool.jsonl", QK_FORMAT_JSON, true},
        {"ids_date_like.jsonl", QK_FORMAT_JSON, true},
        {"ids_extreme.jsonl", QK_FORMAT_JSON, true},
        {"ids_float.jsonl", QK_FORMAT_JSON, true},
        {"ids_int_and_float.jsonl", QK_FORMAT_JSON, true},
        {"missing_keys.jsonl", QK_FORMAT_JSON, true},
        {"bom.jsonl", QK_FORMAT_JSON, true},
        {"pretty_objects.json", QK_FORMAT_JSON, true},
        {"strings.json", QK_FORMAT_JSON, false},
        {"lines_mixed.txt", QK_FORMAT_TEXT, false},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        answers a;
        char *file = qk_strf("tests/data/dataset/%s", samples[i].name);
        char *rows = qk_strf("%s.rows", file);
        CHECK_MSG(load_answers(&a, rows) && a.count, "%s", rows);
        qk_source_spec spec = {.format = samples[i].format,
                               .path = file,
                               .text_column = "text",
                               .id_column = samples[i].has_ids ? "id" : NULL};
        CHECK_MSG(read_source(&spec, &a) == ROWS, "%s: %s", file, why);
        free_answers(&a);
        free(file);
        free(rows);
    }
}

static void test_corpus_files(void)
{
    char *manifest_path = inputs("manifest.json");
    if (!manifest_path) SKIP("no input corpus");
    qk_arena arena = {0};
    const qk_json *manifest = parse_golden(&arena, manifest_path);
    tally t = {0};
    int parquet_rows = 0, parquet_files = 0;
    for (const qk_json *e = manifest ? manifest->first : NULL; e; e = e->next) {
        bool parquet = strncmp(e->key, "tables/", 7) != 0;
        if (needs_options(e)) {
            t.options++;
            continue;
        }
        answers a = {0};
        char *file = inputs(e->key), *rows = NULL;
        if (text_of(e, "expected")) rows = inputs(text_of(e, "expected"));
        if (rows) CHECK(load_answers(&a, rows));
        bool csv = has_part(e->key, ".csv") || has_part(e->key, ".tsv");
        qk_source_spec spec = {.format = parquet                    ? QK_FORMAT_PARQUET
                                         : has_part(e->key, ".txt") ? QK_FORMAT_TEXT
                                         : csv                      ? QK_FORMAT_CSV
                                                                    : QK_FORMAT_JSON,
                               .path = file,
                               .text_column = text_of(e, "text_column"),
                               .id_column = text_of(e, "id_column")};
        enum outcome got = read_source(&spec, &a);
        judge(e->key, text_of(e, "expect"), got, &t);
        parquet_rows += parquet && got == ROWS;
        parquet_files += parquet;
        free_answers(&a);
        free(file);
        free(rows);
    }
    printf("  files: %d read (%d Parquet), %d refused, %d with options that have no key here\n",
           t.rows, parquet_rows, t.refused, t.options);
    CHECK(parquet_files >= 130);
    CHECK(parquet_rows >= parquet_files - 7); /* all that may be read but a list as id */
    CHECK(t.rows - parquet_rows >= 55);
    CHECK(t.options <= 4);
    qk_arena_free(&arena);
    free(manifest_path);
}

static void test_corpus_folders(void)
{
    char *list_path = inputs("repos.json");
    if (!list_path) SKIP("no input corpus");
    qk_arena arena = {0};
    const qk_json *list = parse_golden(&arena, list_path);
    tally t = {0};
    for (const qk_json *e = list ? list->first : NULL; e; e = e->next) {
        answers a = {0};
        char *path = inputs(text_of(e, "path")), *rows = NULL, name[400];
        if (text_of(e, "expected")) rows = inputs(text_of(e, "expected"));
        if (rows) CHECK(load_answers(&a, rows));
        qk_config c = config_of(path, text_of(e, "split"), NULL);
        c.dataset.name = text_of(e, "name");
        if (strstr(path, "repos/txt") == NULL && text_of(e, "id_type")) c.dataset.id_column = "id";
        snprintf(name, sizeof name, "%s %s %s", text_of(e, "path"), c.dataset.name ?: "-",
                 c.dataset.split);
        enum outcome got = read_dataset(&c, &a);
        judge(name, text_of(e, "expect"), got, &t);
        free_answers(&a);
        free(path);
        free(rows);
    }
    printf("  folders: %d calls read, %d refused\n", t.rows, t.refused);
    CHECK(t.rows > 130);
    qk_arena_free(&arena);
    free(list_path);
}

static void test_corpus_bad(void)
{
    char *manifest_path = inputs("bad/manifest.json");
    if (!manifest_path) SKIP("no input corpus");
    qk_arena arena = {0};
    const qk_json *manifest = parse_golden(&arena, manifest_path);
    int n = 0, reads = 0;
    for (const qk_json *e = manifest ? manifest->first : NULL; e; e = e->next) {
        bool parquet = !strncmp(e->key, "parquet/", 8);
        if (!parquet && strncmp(e->key, "jsonl/", 6) && strncmp(e->key, "dataset/", 8)) continue;
        answers a = {0};
        char *name = qk_path_join("bad", e->key), *path = inputs(name), *rows = NULL;
        if (text_of(e, "if_read")) rows = inputs(text_of(e, "if_read"));
        if (rows) CHECK(load_answers(&a, rows));
        qk_config c = config_of(path, "train", strstr(path, ".txt") ? NULL : "id");
        const char *must = text_of(e, "must");
        enum outcome got = read_dataset(&c, &a);
        if (!strcmp(must, "refuse")) CHECK_MSG(got == REFUSED, "%s is read: %s", e->key, why);
        if (!strcmp(must, "accept")) CHECK_MSG(got == ROWS, "%s: %s", e->key, why);
        CHECK_MSG(got != WRONG, "%s: %s", e->key, why);
        if (got == REFUSED) CHECK_MSG(strstr(why, "/bad/"), "%s: %s", e->key, why);
        n++, reads += got == ROWS;
        free_answers(&a);
        free(name);
        free(path);
        free(rows);
    }
    printf("  bad: %d files and folders, %d of them read\n", n, reads);
    CHECK(n > 50);
    qk_arena_free(&arena);
    free(manifest_path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    RUN(test_text_files);
    RUN(test_json_lines);
    RUN(test_ids);
    RUN(test_folders);
    RUN(test_cards);
    RUN(test_card_limits);
    RUN(test_samples);
    RUN(test_corpus_files);
    RUN(test_corpus_folders);
    RUN(test_corpus_bad);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return test_summary("dataset");
}
