/* formats/arrow_schema_read: what Arrow's writers say of a column, and bytes that nobody wrote. */
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "formats/arrow_schema.h"
#include "formats/arrow_schema_read.h"

/* pyarrow's for text: large_string, when: timestamp[us, tz=America/New_York], long: duration[ns],
 * doc: struct<a: int8, b: struct<c.d: timestamp[ms, tz=+02:00]>>, period: int64 of the extension
 * type pandas.period, cat: dictionary of strings, short: decimal32(5, 2), secs: duration[s] */
static const char schema[] =
    "/////1ADAAAQAAAAAAAKAAwABgAFAAgACgAAAAABBAAEAAAAOP///wQAAAAIAAAA/AIAAJgCAABkAgAAoAEAAOQA"
    "AACEAAAANAAAAAQAAAA0/f//AAABEhAAAAAYAAAABAAAAAAAAAAEAAAAc2VjcwAAAAC2/f//AAAAAGD9//8AAAEH"
    "EAAAACAAAAAEAAAAAAAAAAUAAABzaG9ydAAKABAABAAIAAwACgAAAAUAAAACAAAAIAAAABAAGAAIAAYABwAMABAA"
    "FAAQAAAAAAABBRQAAAA4AAAAHAAAAAQAAAAAAAAAAwAAAGNhdAAIAAgAAAAEAAgAAAAEAAAAdP7//wAAAAEgAAAA"
    "BAAGAAQAAAAAABIAGAAIAAYABwAMAAAAEAAUABIAAAAAAAECFAAAAKAAAAAIAAAAFAAAAAAAAAAGAAAAcGVyaW9k"
    "AAACAAAARAAAAAQAAADM////EAAAAAQAAAACAAAAe30AABgAAABBUlJPVzpleHRlbnNpb246bWV0YWRhdGEAAAAA"
    "CAAMAAQACAAIAAAAHAAAAAQAAAANAAAAcGFuZGFzLnBlcmlvZAAAABQAAABBUlJPVzpleHRlbnNpb246bmFtZQAA"
    "AABI////AAAAAUAAAADA/v//AAABDRgAAAAcAAAABAAAAAIAAAB0AAAAEAAAAAMAAABkb2MAtP7//+z+//8AAAEN"
    "FAAAABgAAAAEAAAAAQAAABAAAAABAAAAYgAAANz+//8U////AAABChAAAAAUAAAABAAAAAAAAAADAAAAYy5kAGD/"
    "//8AAAEABAAAAAYAAAArMDI6MDAAAEz///8AAAECEAAAABwAAAAEAAAAAAAAAAEAAABhAAAACAAMAAgABwAIAAAA"
    "AAAAAQgAAACA////AAABEhAAAAAcAAAABAAAAAAAAAAEAAAAbG9uZwAABgAIAAYABgAAAAAAAwCw////AAABChAA"
    "AAAgAAAABAAAAAAAAAAEAAAAd2hlbgAAAAAIAAwABgAIAAgAAAAAAAIABAAAABAAAABBbWVyaWNhL05ld19Zb3Jr"
    "AAAAABAAFAAIAAYABwAMAAAAEAAQAAAAAAABFBAAAAAcAAAABAAAAAAAAAAEAAAAdGV4dAAAAAAEAAQABAAAAA==";
enum { COLUMNS = 8 };

static qk_status read_column(qk_arrow_type *out, const char *text, size_t index, const char *path)
{
    static qk_error err;
    qk_status s = qk_arrow_schema_column(out, text, index, COLUMNS, path, &err);
    QK_ASSERT(s == QK_OK || err.message[0]);
    return s;
}

static void test_columns(void)
{
    qk_arrow_type t;
    qk_error err;
    CHECK_INT(read_column(&t, schema, 0, NULL), QK_OK);
    CHECK(t.member == 20 && !*t.zone && !*t.extension && !t.is_dictionary); /* LargeUtf8 */
    CHECK_INT(read_column(&t, schema, 1, NULL), QK_OK);
    CHECK_INT(t.member, QK_ARROW_TIMESTAMP);
    CHECK_INT(t.unit, 6);
    CHECK_STR(t.zone, "America/New_York");
    CHECK_INT(read_column(&t, schema, 2, NULL), QK_OK);
    CHECK(t.member == QK_ARROW_DURATION && t.unit == 9);
    CHECK_INT(read_column(&t, schema, 3, "b.c.d"), QK_OK);
    CHECK(t.member == QK_ARROW_TIMESTAMP && t.unit == 3);
    CHECK_STR(t.zone, "+02:00");
    CHECK_INT(read_column(&t, schema, 4, NULL), QK_OK);
    CHECK_STR(t.extension, "pandas.period");
    CHECK_INT(read_column(&t, schema, 5, NULL), QK_OK);
    CHECK(t.is_dictionary);
    CHECK_INT(read_column(&t, schema, 6, NULL), QK_OK);
    CHECK(t.member == QK_ARROW_DECIMAL && t.bits == 32);
    CHECK_INT(read_column(&t, schema, 7, NULL), QK_OK);
    CHECK(t.member == QK_ARROW_DURATION && t.unit == 0);
    CHECK_INT(read_column(&t, schema, 3, "b.c"), QK_ERR_FORMAT);
    CHECK_INT(read_column(&t, schema, 3, "d"), QK_ERR_FORMAT);
    CHECK_INT(qk_arrow_schema_column(&t, schema, 1, COLUMNS + 1, NULL, &err), QK_OK);
    CHECK_INT(t.member, QK_ARROW_NONE); /* of another file */
}

/* What this program writes itself. */
static void test_our_own(void)
{
    const qk_pq_column columns[] = {{.name = "bucket", .kind = QK_PQ_INT32},
                                    {.name = "vector", .kind = QK_PQ_FLOATS, .list_size = 4}};
    char *text = qk_arrow_schema(columns, 2);
    qk_arrow_type t;
    qk_error err;
    CHECK_INT(qk_arrow_schema_column(&t, text, 0, 2, NULL, &err), QK_OK);
    CHECK_INT(t.member, 2); /* Int */
    CHECK_INT(qk_arrow_schema_column(&t, text, 1, 2, "element", &err), QK_OK);
    CHECK_INT(t.member, 3); /* FloatingPoint */
    free(text);
}

static void test_no_schema(void)
{
    static const char *const bad[] = {"",
                                      "=",
                                      "AAAA",
                                      "//////",
                                      "////////////",
                                      "not base64!",
                                      "/////wAAAAA=",
                                      "/////////38AAAAA",
                                      "AAAAAAAAAAAAAAAA"};
    qk_arrow_type t;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(read_column(&t, bad[i], 0, NULL) == QK_ERR_FORMAT, "%s", bad[i]);
}

/* Cut and changed everywhere: an error, or a column whose texts end. */
static void test_damage(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const struct {
        size_t index;
        const char *path;
    } columns[] = {{1, NULL}, {3, "b.c.d"}, {4, NULL}, {COLUMNS - 1, NULL}};
    char text[sizeof schema];
    size_t refused = 0, tried = 0, n = sizeof schema - 1;
    qk_arrow_type t;
    for (size_t c = 0; c < 4; c++) {
        for (size_t cut = 0; cut + 8 < n; cut += 3) {
            snprintf(text, sizeof text, "%.*s", (int)cut, schema);
            CHECK_INT(read_column(&t, text, columns[c].index, columns[c].path), QK_ERR_FORMAT);
        }
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < 64; k += 7, tried++) {
                memcpy(text, schema, sizeof schema);
                text[i] = digits[k];
                refused += read_column(&t, text, columns[c].index, columns[c].path) != QK_OK;
                QK_ASSERT(memchr(t.zone, 0, sizeof t.zone) &&
                          memchr(t.extension, 0, sizeof t.extension));
            }
        }
    }
    CHECK_MSG(refused > tried / 20 && refused < tried, "%zu of %zu refused", refused, tried);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_columns);
    RUN(test_our_own);
    RUN(test_no_schema);
    RUN(test_damage);
    return test_summary("arrow schema");
}
