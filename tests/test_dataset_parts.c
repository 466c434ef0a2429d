/* The small parts below the dataset: split expressions, patterns, times, ids. */
#include "tests/test.h"

#include "engine/dataset/cell.h"
#include "engine/dataset/glob.h"
#include "engine/dataset/pytime.h"
#include "engine/dataset/split.h"

static void test_split_text(void)
{
    qk_split_parts p;
    qk_error err;
    CHECK_INT(qk_split_parse(&p, "test+train[:2]+lang.en[-10%:]", &err), QK_OK);
    CHECK_INT(p.count, 3);
    CHECK_STR(p.items[0].name, "test");
    CHECK(!p.items[0].from.given && !p.items[0].to.given);
    CHECK(!p.items[1].from.given && p.items[1].to.given && p.items[1].to.value == 2);
    CHECK_STR(p.items[2].name, "lang.en");
    CHECK(p.items[2].from.percent && p.items[2].from.value == -10);
    CHECK(qk_split_needs_count(&p.items[2]) && !qk_split_needs_count(&p.items[1]));
    qk_split_parts_free(&p);

    static const char *const wrong[] = {"",
                                        " train",
                                        "train [:2]",
                                        "train[:2] + test",
                                        "train[1:8:2]",
                                        "train[:12.5%]",
                                        "train[:33%](pct1_dropremainder)",
                                        "train[:110%]",
                                        "train[-110%:]",
                                        "train[2]",
                                        "train[2:",
                                        "train[-:3]",
                                        "train[:1_]",
                                        "train[:1__0]",
                                        "train[:1_%]",
                                        "train[:-_1]",
                                        "train[:2](closest)",
                                        "train(closest)",
                                        "train[:2%]()",
                                        "train[:2%](closest)x",
                                        "train[:_1]",
                                        "train[:2]x",
                                        "train+",
                                        "+train",
                                        "tr-ain",
                                        "a..b",
                                        ".a",
                                        "train[10%:20]",
                                        "train[:99999999999999999999]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_MSG(qk_split_parse(&p, wrong[i], &err) == QK_ERR_CONFIG, "%s is read", wrong[i]);
        CHECK_MSG(strstr(err.message, "dataset.split '"), "%s", err.message);
    }
}

static void test_split_rows(void)
{
    static const struct {
        const char *text;
        int64_t rows, begin, end;
    } cases[] = {
        {"a", 10, 0, 10},
        {"a", -1, 0, INT64_MAX},
        {"a[3:]", -1, 3, INT64_MAX},
        {"a[2:5]", -1, 2, 5},
        {"a[1_0:2_000]", -1, 10, 2000},
        {"a[2:5]", 4, 2, 4},
        {"a[-3:]", 10, 7, 10},
        {"a[:-1]", 10, 0, 9},
        {"a[-99:]", 10, 0, 10},
        {"a[99:]", 10, 10, 10},
        {"a[:15%]", 10, 0, 2},
        {"a[:25%]", 10, 0, 2},
        {"a[5%:45%]", 10, 0, 4},
        {"a[25%:60%]", 12, 3, 7},
        {"a[-25%:]", 10, 8, 10},
        {"a[:1%]", 12, 0, 0},
        {"a[:100%]", 7, 0, 7},
        {"a[3:2]", 9, 3, 2},
        {"a[-10%:]", 12, 11, 12},
        {"a[:1_0%](closest)", 12, 0, 1},
        {"a[-1_0:-0_2]", 12, 2, 10},
        {"a[:50%]", INT64_C(1) << 62, 0, INT64_C(1) << 61},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_split_parts p;
        qk_error err;
        int64_t begin, end;
        CHECK_INT(qk_split_parse(&p, cases[i].text, &err), QK_OK);
        qk_split_resolve(&p.items[0], cases[i].rows, &begin, &end);
        CHECK_MSG(begin == cases[i].begin && end == cases[i].end,
                  "%s of %" PRId64 ": %" PRId64 " to %" PRId64, cases[i].text, cases[i].rows, begin,
                  end);
        qk_split_parts_free(&p);
    }
}

static void test_globs(void)
{
    static const struct {
        const char *pattern, *path;
        bool matches;
    } cases[] = {
        {"*.jsonl", "a.jsonl", true},
        {"*.jsonl", "b/a.jsonl", false},
        {"**", "a/b/c", true},
        {"**/*.jsonl", "a.jsonl", true},
        {"**/*.jsonl", "x/y/a.jsonl", true},
        {"a/**", "a/b/c", true},
        {"a/**", "a", false},
        {"a/**/c", "a/c", true},
        {"a/**/c", "a/b/b/c", true},
        {"a/**/b/**/c", "a/x/b/y/z/c", true},
        {"a/**/b/**/c", "a/x/y/z/c", false},
        {"p-?.txt", "p-1.txt", true},
        {"p-?.txt", "p-12.txt", false},
        {"p?q", "p/q", false},
        {"p-[0-9].txt", "p-7.txt", true},
        {"p-[!0-9].txt", "p-x.txt", true},
        {"p-[!0-9].txt", "p-7.txt", false},
        {"[-._ 0-9]x", "-x", true},
        {"[-._ 0-9]x", "5x", true},
        {"[-._ 0-9]x", "ax", false},
        {"[]]x", "]x", true},
        {"[ab", "[ab", true},
        {"{a,b}.txt", "{a,b}.txt", true},
        {"{a,b}.txt", "a.txt", false},
        {"P-1", "p-1", false},
        {"p?rt", "p\xC3\xA9rt", true},
        {"*a*b*c", "xaybzc", true},
        {"*a*b*c", "xaybz", false},
        {"*", ".hidden", false},
        {".*", ".hidden", true},
        {"**", ".git/x", false},
        {".git/**", ".git/x", true},
        {"**", "__a/x", false},
        {"**", "__f", true},
        {"__a/**", "__a/x", true},
        {"**/train/**", "train/a", true},
        {"**/train/**", "x/train/y/a", true},
        {"**/train/**", "trainer/a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_MSG(qk_glob_match(cases[i].pattern, cases[i].path) == cases[i].matches, "%s on %s",
                  cases[i].pattern, cases[i].path);
    CHECK(qk_glob_is_valid("**/a/**") && qk_glob_is_valid("*") && qk_glob_is_valid(""));
    CHECK(!qk_glob_is_valid("a**") && !qk_glob_is_valid("x/**y/z") && !qk_glob_is_valid("***"));
    char stars[201], as[401]; /* no exponential blow-up */
    memset(stars, '*', 200), memset(as, 'a', 400);
    for (int i = 1; i < 200; i += 2) stars[i] = 'a';
    stars[200] = 0, as[400] = 0, as[399] = 'b';
    CHECK(!qk_glob_match(stars, as));
}

static void test_python_times(void)
{
    char t[QK_PYTIME_SIZE];
    static const struct {
        int64_t days;
        const char *text;
    } days[] = {{-719162, "0001-01-01"}, {-1, "1969-12-31"},    {0, "1970-01-01"},
                {59, "1970-03-01"},      {19783, "2024-03-01"}, {2932896, "9999-12-31"}};
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        CHECK(qk_pytime_date(t, days[i].days));
        CHECK_STR(t, days[i].text);
    }
    CHECK(!qk_pytime_date(t, -719163) && !qk_pytime_date(t, 2932897));
    CHECK(qk_pytime_stamp(t, INT64_C(1714979289000250), true));
    CHECK_STR(t, "2024-05-06 07:08:09.000250+00:00");
    CHECK(qk_pytime_stamp(t, -1, false));
    CHECK_STR(t, "1969-12-31 23:59:59.999999");
    CHECK(!qk_pytime_stamp(t, INT64_MAX, false) && !qk_pytime_stamp(t, INT64_MIN, false));
    CHECK(qk_pytime_clock(t, INT64_C(86399999999)));
    CHECK_STR(t, "23:59:59.999999");
    CHECK(!qk_pytime_clock(t, INT64_C(86400000000)) && !qk_pytime_clock(t, -1));
}

/* What pyarrow 26 reads as a time stamp in a JSON column, and what it leaves a string. */
static void test_time_strings(void)
{
    static const struct {
        const char *text, *stamp; /* NULL: stays a string */
    } cases[] = {
        {"2024-05-01", "2024-05-01 00:00:00"},
        {"2024-05-01 10", "2024-05-01 10:00:00"},
        {"2024-05-01T10:11", "2024-05-01 10:11:00"},
        {"2024-05-01 10:11:12", "2024-05-01 10:11:12"},
        {"2024-05-01T10:11:12Z", "2024-05-01 10:11:12"},
        {"2024-05-01T10Z", "2024-05-01 10:00:00"},
        {"2024-05-01T10:11:12+02:30", "2024-05-01 07:41:12"},
        {"2024-05-01T10:11:12-0200", "2024-05-01 12:11:12"},
        {"2024-05-01T10:11:12+02", "2024-05-01 08:11:12"},
        {"0001-01-01", "0001-01-01 00:00:00"},
        {"2024-02-29", "2024-02-29 00:00:00"},
        {"2024-05-01 10:11:12.5", NULL},
        {"2024-05-01Z", NULL},
        {"2024-05-01t10:11:12", NULL},
        {"20240501", NULL},
        {"2024-5-1", NULL},
        {"2024-05-01 1011", NULL},
        {"2024-02-30", NULL},
        {"1900-02-29", NULL},
        {"2024-13-01", NULL},
        {"2024-05-01 24:00:00", NULL},
        {"2024-05-01 23:59:60", NULL},
        {" 2024-05-01", NULL},
        {"2024-05-01  10:11", NULL},
        {"2024-05-01T10:11:12 Z", NULL},
        {"2024-05-01T10:11:12+24:00", NULL},
        {"2024-05-01T10:11:12.", NULL},
        {"2024-05-01 ", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t seconds;
        char t[QK_PYTIME_SIZE];
        bool is = qk_pytime_parse(cases[i].text, strlen(cases[i].text), &seconds);
        CHECK_MSG(is == (cases[i].stamp != NULL), "%s", cases[i].text);
        if (!is) continue;
        CHECK(qk_pytime_stamp(t, seconds * 1000000, false));
        CHECK_STR(t, cases[i].stamp);
    }
}

static qk_id_type type_of(const char *name)
{
    qk_id_type t;
    char again[QK_ID_TYPE_NAME];
    bool known = qk_id_type_parse(&t, name);
    CHECK_MSG(known, "%s", name);
    if (!strstr(name, "large") && !strstr(name, "view"))
        CHECK_STR(qk_id_type_name(&t, again), name);
    return t;
}

static void test_cells(void)
{
    qk_id id = {0};
    qk_error err;
    const qk_id_type ints = type_of("int64"), naturals = type_of("uint64"), bools = type_of("bool");
    const qk_id_type floats = type_of("float64"), texts = type_of("string");
#define CELL(...) &(qk_cell){__VA_ARGS__}
    CHECK_INT(qk_cell_to_id(CELL(.kind = QK_CELL_INT, .integer = -5), &ints, NULL, &id, &err), 0);
    CHECK_INT(id.id, -5);
    CHECK_STR(id.text, "-5");
    CHECK_INT(qk_cell_to_id(CELL(.kind = QK_CELL_BOOL, .integer = 1), &bools, NULL, &id, &err), 0);
    CHECK_INT(id.id, 1);
    CHECK_STR(id.text, "True");
    CHECK_INT(qk_cell_to_id(CELL(.kind = QK_CELL_FLOAT, .number = 0.1), &floats, NULL, &id, &err),
              0);
    CHECK_INT(id.id, INT64_C(-3381052176717887547));
    CHECK_STR(id.text, "0.1");
    CHECK_INT(qk_cell_to_id(CELL(.kind = QK_CELL_FLOAT, .number = 1e3), &floats, NULL, &id, &err),
              0);
    CHECK_INT(id.id, 1000);
    CHECK_INT(qk_cell_to_id(CELL(.kind = QK_CELL_UINT, .natural = UINT64_MAX), &naturals, NULL, &id,
                            &err),
              0);
    CHECK_INT(id.id, INT64_C(-5683783729508659220));
    const qk_cell seven = {.kind = QK_CELL_TEXT, .text = "7", .length = 1};
    CHECK_INT(qk_cell_to_id(&seven, &texts, &ints, &id, &err), 0);
    CHECK_INT(id.id, 7);
    CHECK_INT(qk_cell_to_id(&seven, &texts, NULL, &id, &err), 0);
    int64_t hashed = id.id;
    CHECK(hashed != 7);
    CHECK_INT(qk_cell_to_id(CELL(.kind = QK_CELL_INT, .integer = 7), &ints, &texts, &id, &err), 0);
    CHECK_INT(id.id, hashed);
    const qk_cell word = {.kind = QK_CELL_TEXT, .text = "seven", .length = 5};
    CHECK_INT(qk_cell_to_id(&word, &texts, &ints, &id, &err), QK_ERR_DATA);
    CHECK_STR(err.message, "the id 'seven' is no int64, while those of the first file are");
    CHECK_INT(qk_cell_to_id(CELL(.kind = QK_CELL_FLOAT, .number = 1e19), &floats, NULL, &id, &err),
              QK_ERR_DATA);
    qk_id_free(&id);
}

/* A cell of one type in a column of another, as text; "!" when refused. */
static const char *cast(qk_cell cell, const char *from, const char *to)
{
    static char out[200];
    static qk_id id;
    qk_error err;
    const qk_id_type type = type_of(from), column = type_of(to);
    if (qk_cell_to_id(&cell, &type, &column, &id, &err) != QK_OK) return "!";
    snprintf(out, sizeof out, "%s", id.text);
    return out;
}

static const char *cast_text(const char *text, const char *from, const char *to)
{
    qk_cell_kind kind = *from == 'd' ? QK_CELL_DECIMAL : QK_CELL_TEXT;
    return cast((qk_cell){.kind = kind, .text = text, .length = strlen(text)}, from, to);
}

static const char *cast_int(int64_t integer, const char *from, const char *to)
{
    const qk_id_type type = type_of(from);
    return cast((qk_cell){.kind = type.kind, .integer = integer}, from, to);
}

/* The ends of what fits. Values are Arrow's; the pairs of types are in type_changes.py. */
static void test_casts(void)
{
    CHECK_STR(cast_int(127, "int64", "int8"), "127");
    CHECK_STR(cast_int(128, "int64", "int8"), "!");
    CHECK_STR(cast_int(-128, "int64", "int8"), "-128");
    CHECK_STR(cast_int(-1, "int64", "uint64"), "!");
    CHECK_STR(cast_int(255, "int16", "uint8"), "255");
    CHECK_STR(cast_int(256, "int16", "uint8"), "!");
    CHECK_STR(cast_int(INT64_C(1) << 53, "int64", "float64"), "9007199254740992.0");
    CHECK_STR(cast_int((INT64_C(1) << 53) + 1, "int64", "float64"), "!");
    CHECK_STR(cast_text("9223372036854775807", "string", "int64"), "9223372036854775807");
    CHECK_STR(cast_text("9223372036854775808", "string", "int64"), "!");
    CHECK_STR(cast_text("9223372036854775808", "string", "uint64"), "9223372036854775808");
    CHECK_STR(cast_text("-0", "string", "uint8"), "!");
    CHECK_STR(cast_text("", "string", "int64"), "!");
    CHECK_STR(cast_text("-", "string", "int64"), "!");
    CHECK_STR(cast_text("1.5", "string", "float64"), "1.5");
    CHECK_STR(cast_text("1.", "string", "float64"), "!");
    CHECK_STR(cast_text("FALSE", "string", "bool"), "False");
    CHECK_STR(cast_text("150", "decimal128(7, 2)", "decimal128(8, 3)"), "1.500");
    CHECK_STR(cast_text("1505", "decimal128(8, 3)", "decimal128(7, 2)"), "!");
    CHECK_STR(cast_text("-1500", "decimal128(8, 3)", "decimal128(7, 2)"), "-1.50");
    CHECK_STR(cast_text("0", "decimal128(8, 3)", "decimal128(7, 2)"), "0.00");
    CHECK_STR(cast_text("9999999", "decimal128(7, 2)", "decimal128(7, 3)"), "!");
    CHECK_STR(cast_text("-700", "decimal128(7, 2)", "int8"), "-7");
    CHECK_STR(cast_text("50", "decimal128(7, 2)", "int8"), "!");
    CHECK_STR(cast_text("0", "decimal128(7, 2)", "int8"), "0");
    CHECK_STR(cast_int(7, "int64", "decimal128(20, 1)"), "7.0");
    CHECK_STR(cast_int(7, "int64", "decimal128(19, 1)"), "!");
    CHECK_STR(cast_int(19849, "date32", "timestamp[us]"), "2024-05-06 00:00:00");
    CHECK_STR(cast_int(19849, "date32", "string"), "2024-05-06");
    CHECK_STR(cast_int(-1, "timestamp[ms]", "date32"), "1969-12-31");
    CHECK_STR(cast_int(86405, "timestamp[s]", "date64"), "1970-01-02");
    CHECK_STR(cast_int(INT64_C(213503982335) * 86400, "timestamp[s]", "date64"), "!"); /* wraps */
    CHECK_STR(cast_int(INT64_MIN, "timestamp[s]", "date64"), "!");
    CHECK_STR(cast_int(INT64_C(669694560851774), "timestamp[s, tz=+00:00]", "time64[ns]"), "!");
    CHECK_STR(cast_int(INT64_C(253402300799), "timestamp[s]", "time64[ns]"), "23:59:59");
    CHECK_STR(cast_int(INT64_C(253402300800), "timestamp[s]", "time64[ns]"), "!");
    CHECK_STR(cast_int(INT64_MAX, "timestamp[ns, tz=UTC]", "timestamp[ns, tz=+02:00]"), "!");
    CHECK_STR(cast_int(INT64_MAX, "timestamp[ns, tz=+02:00]", "timestamp[ns, tz=UTC]"),
              "2262-04-11 23:47:16.854775807+00:00");
    CHECK_STR(cast_int(-1, "timestamp[ms]", "time32[ms]"), "23:59:59.999000");
    CHECK_STR(cast_int(-1, "timestamp[ms]", "timestamp[s]"), "!");
    CHECK_STR(cast_int(INT64_MAX, "timestamp[ms]", "timestamp[ns]"), "!");
    CHECK_STR(cast_int(0, "timestamp[us, tz=+02:00]", "time64[us]"), "02:00:00");
    CHECK_STR(cast_int(0, "timestamp[us, tz=+02:00]", "string"), "1970-01-01 02:00:00.000000+0200");
    CHECK_STR(cast_int(0, "timestamp[s, tz=UTC]", "string"), "1970-01-01 00:00:00Z");
    CHECK_STR(cast_int(0, "timestamp[us, tz=Asia/Tokyo]", "timestamp[us]"), "1970-01-01 00:00:00");
    CHECK_STR(cast_int(0, "timestamp[us, tz=Asia/Tokyo]", "date32"), "!");
    CHECK_STR(cast_int(5, "duration[s]", "duration[us]"), "0:00:05");
    CHECK_STR(cast_int(5, "duration[s]", "int64"), "5");
    CHECK_STR(cast_int(5, "duration[s]", "int32"), "!");
    CHECK_STR(cast((qk_cell){0}, "null", "date32"), "None");
    CHECK_STR(cast((qk_cell){0}, "string", "null"), "!"); /* a null, of another type */
    qk_id_type t;
    static const char *const unknown[] = {"int",
                                          "timestamp[m]",
                                          "time32[us]",
                                          "time64[s]",
                                          "list",
                                          "decimal128(39, 0)",
                                          "timestamp[us, tz=+02:00",
                                          "duration[ns]x"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK_MSG(!qk_id_type_parse(&t, unknown[i]), "%s", unknown[i]);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_split_text);
    RUN(test_split_rows);
    RUN(test_globs);
    RUN(test_python_times);
    RUN(test_time_strings);
    RUN(test_cells);
    RUN(test_casts);
    return test_summary("dataset parts");
}
