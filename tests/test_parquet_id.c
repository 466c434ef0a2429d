/* engine/dataset/parquet_id: ids of every column type, as Python's str() writes them, and slices of
 * a Parquet dataset. The strings come from Python (decimal, datetime, uuid, pandas, bytes). */
#include "tests/test.h"

#include "engine/base/file.h"
#include "engine/dataset/cell.h"
#include "engine/dataset/dataset.h"
#include "engine/dataset/parquet_id.h"

static qk_arrow_type arrow; /* what the Arrow schema says of the column: nothing, but in one test */

/* The id of one value as text, or "!message". The string lives until the next call. */
static const char *id_of(qk_pq_leaf leaf, const void *value)
{
    static char out[sizeof((qk_error *)0)->message + 1];
    static qk_buf text;
    const uint8_t valid = 1;
    const qk_pq_batch batch = {.n = 1, .type = leaf.type, .values = value, .valid = &valid};
    qk_error err = {0};
    qk_cell cell;
    qk_id id = {0};
    qk_id_type type;
    leaf.path = "id";
    qk_status s = qk_parquet_id_type(&type, &leaf, &arrow, &err);
    if (s == QK_OK) s = qk_parquet_id(&cell, &leaf, &type, &batch, 0, &text, &err);
    if (s == QK_OK) s = qk_cell_to_id(&cell, &type, NULL, &id, &err);
    if (s == QK_OK)
        snprintf(out, sizeof out, "%s", id.text);
    else
        snprintf(out, sizeof out, "!%s", err.message);
    qk_id_free(&id);
    return out;
}

static const char *from_int64(qk_pq_logical logical, int64_t value)
{
    return id_of((qk_pq_leaf){.type = QK_PQ_T_INT64, .logical = logical}, &value);
}

static const char *from_int32(qk_pq_logical logical, int32_t value)
{
    return id_of((qk_pq_leaf){.type = QK_PQ_T_INT32, .logical = logical}, &value);
}

static const char *from_bytes(qk_pq_logical logical, const void *bytes, size_t n)
{
    qk_pq_bytes value = {bytes, n};
    return id_of((qk_pq_leaf){.type = QK_PQ_T_BYTES, .logical = logical}, &value);
}

static const char *from_fixed(qk_pq_logical logical, const void *bytes, size_t n)
{
    qk_pq_bytes value = {bytes, n};
    return id_of((qk_pq_leaf){.type = QK_PQ_T_FIXED, .fixed_length = (int)n, .logical = logical},
                 &value);
}

static void test_integers(void)
{
    const qk_pq_logical none = {0}, u8 = {.meaning = QK_PQ_M_INT, .bits = 8};
    const qk_pq_logical u32 = {.meaning = QK_PQ_M_INT, .bits = 32};
    const qk_pq_logical u64 = {.meaning = QK_PQ_M_INT, .bits = 64};
    const qk_pq_logical i64 = {.meaning = QK_PQ_M_INT, .bits = 64, .is_signed = true};
    CHECK_STR(from_int32(none, -5), "-5");
    CHECK_STR(from_int32(u8, 200), "200");
    CHECK_STR(from_int32(u32, -1), "4294967295");
    CHECK_STR(from_int64(u64, -1), "18446744073709551615");
    CHECK_STR(from_int64(i64, -1), "-1");
    CHECK_STR(from_int64(none, INT64_MIN), "-9223372036854775808");
    uint8_t yes = 1;
    CHECK_STR(id_of((qk_pq_leaf){.type = QK_PQ_T_BOOLEAN}, &yes), "True");
    float f = 0.1f;
    double d = 0.1;
    CHECK_STR(id_of((qk_pq_leaf){.type = QK_PQ_T_FLOAT}, &f), "0.10000000149011612");
    CHECK_STR(id_of((qk_pq_leaf){.type = QK_PQ_T_DOUBLE}, &d), "0.1");
    CHECK_STR(from_fixed((qk_pq_logical){.meaning = QK_PQ_M_FLOAT16}, "\x66\x2E", 2),
              "0.0999755859375");
}

static void test_decimals(void)
{
    qk_pq_logical l = {.meaning = QK_PQ_M_DECIMAL, .precision = 18};
    CHECK_STR(from_int64(l, 0), "0");
    CHECK_STR(from_int64(l, -7), "-7");
    CHECK_STR(from_int64(l, INT64_MIN), "-9223372036854775808");
    l.scale = 2;
    CHECK_STR(from_int64(l, 0), "0.00");
    CHECK_STR(from_int64(l, 100), "1.00");
    CHECK_STR(from_int64(l, -1250), "-12.50");
    CHECK_STR(from_int32(l, -5), "-0.05");
    l.scale = 6;
    CHECK_STR(from_int64(l, 1), "0.000001");
    l.scale = 7;
    CHECK_STR(from_int64(l, 1), "1E-7");
    CHECK_STR(from_int64(l, 12), "0.0000012");
    l.scale = 8;
    CHECK_STR(from_int64(l, 0), "0E-8");
    CHECK_STR(from_int64(l, -12), "-1.2E-7");
    l.scale = 2;
    CHECK_STR(from_bytes(l, "\xFB", 1), "-0.05");
    CHECK_STR(from_bytes(l, "", 0), "0.00");
    CHECK_STR(from_fixed(l, "\x00\x00\x00\x9B\xD3\x0A\x3C\x64\x59\x43\xDD\x16\x90\xA0\x3A\x14", 16),
              "123456789012345678901234567890.12");
    static const uint8_t ones[33] = {0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                     0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                     0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                     0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    l.scale = 0;
    CHECK_STR(from_fixed(l, ones, 32), "578960446186580977117854925043439539266349923328202820"
                                       "19728792003956564819967");
    CHECK_STR(from_bytes(l, ones, 33), "!a decimal of 33 bytes");
    l.scale = -1;
    CHECK_STR(from_int64(l, 1), "!the column 'id' is INT64 decimal(18, -1), which cannot be an id");
}

static void test_times(void)
{
    const qk_pq_logical date = {.meaning = QK_PQ_M_DATE};
    qk_pq_logical t = {.meaning = QK_PQ_M_TIMESTAMP, .unit = 6};
    CHECK_STR(from_int32(date, 19849), "2024-05-06");
    CHECK_STR(from_int32(date, -719162), "0001-01-01");
    CHECK_STR(from_int32(date, -719163), "!the id is a date that Python's years 1 to 9999 lack");
    CHECK_STR(from_int64(t, 1714979289000001), "2024-05-06 07:08:09.000001");
    CHECK_STR(from_int64(t, INT64_MAX), "!the id is a date that Python's years 1 to 9999 lack");
    t.utc = true;
    CHECK_STR(from_int64(t, 1714979289000000), "2024-05-06 07:08:09+00:00");
    t.unit = 3;
    CHECK_STR(from_int64(t, 1714979289120), "2024-05-06 07:08:09.120000+00:00");
    CHECK_STR(from_int64(t, INT64_MIN), "!the id is a date that Python's years 1 to 9999 lack");
    t = (qk_pq_logical){.meaning = QK_PQ_M_TIMESTAMP, .unit = 9};
    CHECK_STR(from_int64(t, 1714979289000000001), "2024-05-06 07:08:09.000000001");
    CHECK_STR(from_int64(t, 1714979289120000000), "2024-05-06 07:08:09.120000");
    CHECK_STR(from_int64(t, -1), "1969-12-31 23:59:59.999999999");
    t = (qk_pq_logical){.meaning = QK_PQ_M_TIME, .unit = 3, .utc = true};
    CHECK_STR(from_int32(t, 86399999), "23:59:59.999000");
    CHECK_STR(from_int32(t, 86400000), "!the id is a time of day that Python cannot hold");
    t.unit = 9;
    CHECK_STR(from_int64(t, 1000), "00:00:00.000001");
    CHECK_STR(from_int64(t, 1001), "!the id is a time of day that Python cannot hold");
    /* 12:00 on the Julian day 2440589 = 1970-01-02 */
    qk_pq_bytes int96 = {(const uint8_t *)"\x00\x80\xA7\x48\x4A\x27\x00\x00\x8D\x3D\x25\x00", 12};
    CHECK_STR(id_of((qk_pq_leaf){.type = QK_PQ_T_INT96, .fixed_length = 12}, &int96),
              "1970-01-02 12:00:00");
}

static void test_bytes(void)
{
    const qk_pq_logical none = {0}, string = {.meaning = QK_PQ_M_STRING};
    CHECK_STR(from_bytes(none, "", 0), "b''");
    CHECK_STR(from_bytes(none, "abc", 3), "b'abc'");
    CHECK_STR(from_bytes(none, "\0\xFF\n\t\r\x7F", 6), "b'\\x00\\xff\\n\\t\\r\\x7f'");
    CHECK_STR(from_bytes(none, "it's", 4), "b\"it's\"");
    CHECK_STR(from_bytes(none, "\"both' ", 7), "b'\"both\\' '");
    CHECK_STR(from_bytes(none, "a\\b", 3), "b'a\\\\b'");
    CHECK_STR(from_fixed(none, "xy", 2), "b'xy'");
    CHECK_STR(from_bytes(string, "doc-1", 5), "doc-1");
    CHECK_STR(from_bytes(string, "\xFF", 1), "!'id' is not valid UTF-8");
    CHECK_STR(from_fixed((qk_pq_logical){.meaning = QK_PQ_M_UUID},
                         "\x01\x23\x45\x67\x89\xAB\xCD\xEF\x01\x23\x45\x67\x89\xAB\xCD\xEF", 16),
              "01234567-89ab-cdef-0123-456789abcdef");
    CHECK_STR(from_fixed((qk_pq_logical){.meaning = QK_PQ_M_INTERVAL}, "123456789012", 12),
              "!the column 'id' is FIXED_LEN_BYTE_ARRAY interval, which cannot be an id");
}

/* What only the Arrow schema says. The strings are those of Python and pandas. */
static void test_arrow_types(void)
{
    const qk_pq_logical none = {0}, decimal = {.meaning = QK_PQ_M_DECIMAL, .precision = 5};
    qk_pq_logical t = {.meaning = QK_PQ_M_TIMESTAMP, .unit = 6, .utc = true};
    const int64_t noon = 1714996800000000; /* of 2024-05-06 */
    arrow = (qk_arrow_type){.member = QK_ARROW_TIMESTAMP, .zone = "+02:00"};
    CHECK_STR(from_int64(t, noon), "2024-05-06 14:00:00+02:00");
    CHECK_STR(from_int64(none, noon), "1714996800000000");
    strcpy(arrow.zone, "-05:30");
    CHECK_STR(from_int64(t, noon + 5), "2024-05-06 06:30:00.000005-05:30");
    CHECK_STR(from_int64(t, -62135596800000000), "!the id is a date that Python's years 1 to 9999 "
                                                 "lack");
    t.unit = 9;
    CHECK_STR(from_int64(t, noon * 1000 + 5), "2024-05-06 06:30:00.000000005-05:30");
    t.utc = false;
    CHECK_STR(from_int64(t, noon * 1000), "2024-05-06 12:00:00");
    t.utc = true;
    static const char *const unknown[] = {"America/New_York", "+2:00",         "+02:60", "+24:00",
                                          "+02:0x",           "../etc/passwd", "Z"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        strcpy(arrow.zone, unknown[i]);
        CHECK(strstr(from_int64(t, noon), "whose clock only a database tells") != NULL);
    }
    arrow = (qk_arrow_type){.member = QK_ARROW_DURATION, .unit = 0};
    CHECK_STR(from_int64(none, 5), "0:00:05");
    CHECK_STR(from_int64(none, 86400), "1 day, 0:00:00");
    CHECK_STR(from_int64(none, -5), "-1 day, 23:59:55");
    CHECK_STR(from_int64(none, 86400LL * 106751991), "106751991 days, 0:00:00");
    CHECK_STR(from_int64(none, INT64_MAX), "!the id is a duration that Python cannot hold");
    CHECK_STR(from_int32(none, 5), "5");
    arrow.unit = 6;
    CHECK_STR(from_int64(none, INT64_MIN), "-106751992 days, 19:59:05.224192");
    arrow.unit = 9;
    CHECK_STR(from_int64(none, 5000000000), "0 days 00:00:05");
    CHECK_STR(from_int64(none, -5000000001), "-1 days +23:59:54.999999999");
    CHECK_STR(from_int64(none, 5000), "0 days 00:00:00.000005");
    CHECK_STR(from_int64(none, INT64_MIN), "!the id is a duration that Python cannot hold");
    arrow = (qk_arrow_type){.extension = "pandas.period"};
    CHECK_STR(from_int64(none, 5),
              "!the column 'id' is of the extension type 'pandas.period', which cannot be an id");
    arrow = (qk_arrow_type){.member = QK_ARROW_DECIMAL, .bits = 32};
    CHECK_STR(from_int32(decimal, 5), "5");
    arrow = (qk_arrow_type){0};
}

/* Rows of tests/data/parquet/none.parquet, as "text=id|"; an error as "!message". */
static void check_rows(const char *text, const char *id, const char *split, const char *expected)
{
    qk_config c = {0};
    qk_buf out = {0};
    qk_error err = {0};
    qk_dataset *d = NULL;
    bool more = true;
    c.dataset.path = "tests/data/parquet/v1.parquet";
    c.dataset.split = split;
    c.dataset.text_column = text;
    c.dataset.id_column = id;
    c.dataset.max_samples = 3;
    qk_status s = qk_dataset_open(&d, &c, &err);
    while (s == QK_OK && more) {
        qk_example e;
        s = qk_dataset_next(d, &e, &more, &err);
        if (s == QK_OK && more)
            qk_buf_addf(&out, "%.*s=%s|", (int)e.length, e.text, e.id_text ? e.id_text : "");
    }
    if (s != QK_OK) qk_buf_addf(&out, "!%s", err.message);
    CHECK_STR(qk_buf_str(&out), expected);
    qk_dataset_close(d);
    qk_buf_free(&out);
}

static void test_columns(void)
{
    check_rows("text", "i32", "train[13:15]", "text 6 =447|text 7 text 7 =366|");
    check_rows("text", "money", "train[38:]",
               "text 19 text 19 =0.38|text 19 text 19 text 19 =0.39|");
    check_rows("text", "when", "train[29:31]",
               "text 14 =1970-01-30 00:00:00+00:00|text 15 text 15 =1970-01-31 00:00:00+00:00|");
    check_rows("in.s", "fixed", "train[30:31]", "in 30=b'\\x1e\\x00\\x00\\x00'|");
    check_rows("text", "b", "train[5:6]", "text 2 =None|");
    check_rows("text", NULL, "train[2:]",
               "!tests/data/parquet/v1.parquet: row 2 (from 0): 'text' is null");
    check_rows("text", "many", "train",
               "!tests/data/parquet/v1.parquet: the column 'many' is repeated (a list), not one "
               "value a row");
    check_rows("vector", NULL, "train",
               "!tests/data/parquet/v1.parquet: the column 'vector' is repeated (a list), not one "
               "value a row");
    check_rows("in", NULL, "train",
               "!tests/data/parquet/v1.parquet: the column 'in' is a struct, which holds 'in.s'");
    check_rows("f32", NULL, "train",
               "!tests/data/parquet/v1.parquet: the column 'f32' is FLOAT, not a string");
    check_rows("Text", NULL, "train",
               "!tests/data/parquet/v1.parquet: there is no column 'Text'; the columns are i32, "
               "i64, f32, f64, b, text, fixed, in.s, in.k, vector, many, u8, money, when");
    check_rows("text", "many.list.element", "train",
               "!tests/data/parquet/v1.parquet: the column 'many.list.element' is repeated (a "
               "list), which cannot be an id");
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_integers);
    RUN(test_decimals);
    RUN(test_times);
    RUN(test_bytes);
    RUN(test_arrow_types);
    RUN(test_columns);
    return test_summary("parquet id");
}
