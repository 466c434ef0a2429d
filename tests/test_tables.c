/* engine/dataset: CSV and TSV, and files that are packed with gzip or zstd. */
#include "tests/test.h"

#include <ftw.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "engine/base/file.h"
#include "engine/dataset/cell.h"
#include "engine/dataset/columns.h"
#include "engine/dataset/csv_type.h"
#include "engine/dataset/source.h"
#include "engine/dataset/stream.h"

static char folder[] = "/tmp/qk_test_tables_XXXXXX";

static const char *put(const char *name, const void *bytes, size_t n)
{
    static char path[256];
    qk_error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (qk_write_file(path, bytes, n, &err)) printf("  %s\n", err.message);
    return path;
}

static qk_format format_of(const char *name)
{
    if (strstr(name, ".csv") || strstr(name, ".tsv")) return QK_FORMAT_CSV;
    return strstr(name, ".txt") ? QK_FORMAT_TEXT : QK_FORMAT_JSON;
}

/* Rows as "text=id|", null as "~"; on an error "...!message". The caller frees. */
static char *read_path(const char *path, bool ids)
{
    qk_source_spec spec = {format_of(path), path, "text", ids ? "id" : NULL, false};
    qk_source *s;
    qk_buf out = {0};
    qk_error err = {0};
    qk_row row;
    qk_id id = {0};
    bool more = true;
    qk_status status = qk_source_open(&s, &spec, &err);
    bool opened = status == QK_OK;
    while (status == QK_OK && more) {
        status = qk_source_next(s, &row, &more, &err);
        if (status != QK_OK || !more) continue;
        if (row.text.kind == QK_CELL_NULL) qk_buf_add_str(&out, "~");
        qk_buf_add(&out, row.text.text, row.text.length);
        if (ids) status = qk_cell_to_id(&row.id, &s->id_type, NULL, &id, &err);
        if (ids) qk_buf_addf(&out, "=%s", id.text);
        qk_buf_add_str(&out, "|");
    }
    if (status != QK_OK) qk_buf_addf(&out, "!%s", err.message);
    if (opened) qk_source_close(s);
    qk_id_free(&id);
    char *text = strdup(qk_buf_str(&out));
    qk_buf_free(&out);
    return text;
}

static void check(const char *name, const char *body, const char *expected)
{
    char *rows = read_path(put(name, body, strlen(body)), strstr(body, "id") != NULL);
    bool error = *expected == '!';
    bool ok = error ? strchr(rows, '!') && strstr(rows, expected + 1) : !strcmp(rows, expected);
    CHECK_MSG(ok, "%s: got %s, expected %s", body, rows, expected);
    free(rows);
}

static void test_csv_records(void)
{
    check("a.csv", "id,text\n1,a\n2,b", "a=1|b=2|");
    check("a.csv", "\xEF\xBB\xBFid,text\r\n1,a\r\n\r\n  \r\n2,b\r\n", "a=1|b=2|");
    check("a.csv", "id,text\r1,a\r\r2,b\r", "a=1|b=2|");
    check("a.csv", "\n \nid,text\n1,\"a,\"\"b\"\"\r\nc\"\n", "a,\"b\"\r\nc=1|");
    check("a.csv", "id,text\n1, a \n2, \"b\"\n3,c\"d\"\n4,\"e\"f\"g\"\n",
          " a =1| \"b\"=2|c\"d\"=3|ef\"g\"=4|");
    check("a.csv", "id,x,text\n1\n2,y\n3,y,z\n", "~=1|~=2|z=3|");
    check("a.csv", "text\n\"\"\nnull\nNULL \n", "~|~|NULL |");
    check("a.csv", ",text\n1,a\n", "a|");
    check("a.csv", "id,text\n", "");
    check("a.tsv", "id\ttext\n1\ta,b\n", "a,b=1|");
    check("a.csv.tsv", "id,text\n1,a\n", "a=1|");
    check("a.csv", "id,text\n1,a\n2,b,c\n",
          "!row 1 (from 0), byte 12: more fields than the header");
    check("a.csv", "id,text\n1,\"a\n", "!row 0 (from 0), byte 8: a quote that never closes");
    check("a.csv", "id,text\n1,a\xFF\n", "!row 0 (from 0), byte 8: not valid UTF-8");
    check("a.csv", "\"id,text\n", "!the header: a quote that never closes");
    check("a.csv", "", "!no header: the file is empty");
    check("a.csv", "id,body\n1,a\n", "!there is no column 'text'; the columns are id, body");
    check("a.csv", "id,text,text\n1,a,b\n", "!two columns are named 'text'");
    check("a.csv", "id,text\n1,5\n2,6\n", "!row 0 (from 0): 'text' holds integers, not texts");
}

static void test_csv_types(void)
{
    check("a.csv", "id,text\n007,a\n+1,b\n -2 ,c\n", "a=7|b=1|c=-2|");
    check("a.csv", "id,text\n007,a\nx,b\n", "a=007|b=x|");
    check("a.csv", "id,text\n1,a\n,b\n", "a=1.0|b=None|");
    check("a.csv", "id,text\n1,a\n2.5,b\n.5,c\n5.,d\n1e2,e\n", "a=1.0|b=2.5|c=0.5|d=5.0|e=100.0|");
    check("a.csv", "id,text\ntrue,a\nFALSE,b\nNA,c\n", "a=True|b=False|c=None|");
    check("a.csv", "id,text\ntrue,a\n1,b\n", "a=true|b=1|");
    check("a.csv", "id,text\n18446744073709551615,a\n1,b\n", "a=18446744073709551615|b=1|");
    check("a.csv", "id,text\n18446744073709551615,a\n-1,b\n,c\n",
          "a=18446744073709551615|b=-1|c=|");
    check("a.csv", "id,text\n18446744073709551616,a\n", "!integers, some beyond 64 bits");
    check("a.csv", "id,text\n1.5,a\n18446744073709551616,b\n", "!a whole number beyond 64 bits");
    check("a.csv", "id,text\n9007199254740993,a\n1.5,b\n", "a=9007199254740992.0|b=1.5|");
    check("a.csv", "id,text\nNA,a\n#N/A,b\n-1.#IND,c\n", "a=None|b=None|c=None|");
    check("a.csv", "id,text\n2024-05-01,a\n", "a=2024-05-01|");
}

/* 10,000 rows of `first`, then one of `second`. */
static void check_chunks(const char *first, const char *second, const char *expected)
{
    qk_buf body = {0};
    qk_buf_add_str(&body, "id,text\n");
    for (int i = 0; i < QK_CSV_CHUNK; i++) qk_buf_addf(&body, "%s,x\n", first);
    qk_buf_addf(&body, "%s,y\n", second);
    char *rows = read_path(put("chunks.csv", body.data, body.size), true);
    const char *end = strrchr(rows, '!') ? strrchr(rows, '!') : strstr(rows, "y=");
    bool ok = end && !strncmp(end, expected, strlen(expected));
    if (*expected == '!') ok = end && strstr(end, expected + 1);
    CHECK_MSG(ok, "%s then %s: got %.300s, expected %s", first, second, end ? end : "?", expected);
    free(rows);
    qk_buf_free(&body);
}

static void test_csv_chunks(void)
{
    check_chunks("1", "2.0", "y=2|");
    check_chunks("1", "", "y=None|");
    check_chunks("w", "007", "y=7|");
    check_chunks("w", "TRUE", "y=true|");
    check_chunks("", "7", "y=7.0|");
    check_chunks("1.5", "7", "y=7.0|");
    check_chunks("1", "True", "y=1|");
    check_chunks("1", "1.5", "!row 10000 (from 0): 'id': these 10000 rows hold numbers, the first");
    check_chunks("1", "w", "!hold texts, the first ones integers");
    check_chunks("w", "1.5", "!hold numbers, the first ones texts");
    check_chunks("1.5", "9007199254740993", "!hold integers, the first ones numbers");
}

/* ---- packed ---- */

static size_t gzip(const void *data, size_t n, uint8_t *out, size_t capacity)
{
    z_stream z = {0};
    deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)(uintptr_t)data, z.avail_in = (uInt)n;
    z.next_out = out, z.avail_out = (uInt)capacity;
    deflate(&z, Z_FINISH);
    size_t made = capacity - z.avail_out;
    deflateEnd(&z);
    return made;
}

/* A table is read alike plain and through windows of every small first size. */
static void check_windows(const char *name, const char *body, bool ids)
{
    char packed_name[64];
    uint8_t packed[4096];
    size_t n = strlen(body), half = n / 2, usual = qk_stream_first;
    char *plain = read_path(put(name, body, n), ids);
    for (int zstd = 0; zstd < 2; zstd++) {
        size_t a, b;
        snprintf(packed_name, sizeof packed_name, "%s%s", name, zstd ? ".zst" : ".gz");
        if (zstd) {
            a = ZSTD_compress(packed, sizeof packed, body, half, 1);
            b = ZSTD_compress(packed + a, sizeof packed - a, body + half, n - half, 1);
        } else {
            a = gzip(body, half, packed, sizeof packed);
            b = gzip(body + half, n - half, packed + a, sizeof packed - a);
        }
        for (qk_stream_first = 1; qk_stream_first < 90; qk_stream_first++) {
            char *again = read_path(put(packed_name, packed, a + b), ids);
            CHECK_MSG(!strcmp(plain, again), "%s, window %zu: %s, plain %s", packed_name,
                      qk_stream_first, again, plain);
            free(again);
        }
        qk_stream_first = usual;
    }
    CHECK_MSG(!strchr(plain, '!'), "%s: %s", name, plain);
    free(plain);
}

static void test_windows(void)
{
    check_windows("w.txt", "one\r\ntwo\rthree\n\nfour \xC3\xA9\r\r\n\nlast", false);
    check_windows(
        "w.csv",
        "\n \r\nid,text\r\n1,\"a\"\"b,\r\nc\"\r\n\r\r2, d \n  \n3,\"e\"f\n4,\n5\n6,\xC3\xA9", true);
    check_windows("w.jsonl",
                  "\xEF\xBB\xBF \n{\"id\": 12, \"text\": \"a\\u00e9\\ud83d\\ude00 \xC3\xA9\"}\n\n"
                  "{\"x\": [true, null, {\"y\": -1.5e3}], \"text\": \"b\", \"id\": 1234567}   \n"
                  "{}\n{\"text\": null, \"id\": -7}",
                  true);
    /* A part of a number is another number: 1.5 is not whole. */
    check_windows("n.json", "[{\"text\": \"a\", \"id\": 1}, {\"text\": \"b\", \"id\": 1.5e1}]",
                  true);
    check_windows("w.json",
                  " [ {\"text\": \"a\", \"id\": 1} ,\n {\"text\": \"b\", \"id\": 22} ]\n ", true);
}

static void check_packed(const char *name, const uint8_t *bytes, size_t n, const char *say)
{
    char *rows = read_path(put(name, bytes, n), false);
    CHECK_MSG(strstr(rows, say), "%s: got %s, expected %s", name, rows, say);
    free(rows);
}

static void test_damage(void)
{
    uint8_t gz[256], zst[256];
    size_t g = gzip("one\ntwo\n", 8, gz, sizeof gz);
    size_t z = ZSTD_compress(zst, sizeof zst, "one\ntwo\n", 8, 1);
    check_packed("d.txt.gz", gz, g, "one|two|");
    check_packed("d.txt.gz", gz, 0, "");
    char say[100];
    snprintf(say, sizeof say, "d.txt.gz: gzip: the data end early, at byte %zu", g - 1);
    check_packed("d.txt.gz", gz, g - 1, say);
    snprintf(say, sizeof say, "d.txt.zst: zstd: the data end early, at byte %zu", z - 1);
    check_packed("d.txt.zst", zst, z - 1, say);
    memset(gz + g, 0, 20);
    check_packed("d.txt.gz", gz, g + 20, "one|two|"); /* padding */
    gz[g + 3] = 'x';
    check_packed("d.txt.gz", gz, g + 20, "!");
    gz[g - 1] ^= 1; /* the length */
    check_packed("d.txt.gz", gz, g, "gzip: incorrect length check");
    gz[g - 1] ^= 1, gz[g - 6] ^= 1; /* the CRC */
    check_packed("d.txt.gz", gz, g, "gzip: incorrect data check");
    check_packed("d.txt.gz", (const uint8_t *)"plain\n", 6, "gzip: incorrect header check");
    check_packed("d.txt.zst", (const uint8_t *)"plain\n", 6, "d.txt.zst: zstd: ");
    check_packed("d.txt", gz, g, "d.txt: this is a gzip file");
    check_packed("d.txt.gz", zst, z, "d.txt.gz: this is a zstd file");
    check_packed("d.txt.xz", zst, z, "d.txt.xz: xz compression is not supported");
    check_packed("d.jsonl.gz", gz, g, "d.jsonl.gz: gzip: incorrect data check");
}

static void test_row_limit(void)
{
    size_t n = (size_t)QK_STREAM_MAX_PACKED + 1000;
    char *text = malloc(n);
    memset(text, 'x', n);
    memcpy(text, "one\n", 4);
    uint8_t *packed = malloc(ZSTD_compressBound(n));
    size_t m = ZSTD_compress(packed, ZSTD_compressBound(n), text, n, 1);
    check_packed("long.txt.zst", packed, m, "one|!");
    check_packed("long.txt.zst", packed, m, "long.txt.zst: the row at line 2 is longer than 32 MB");
    char *rows = read_path(put("long.txt", text, n), false); /* no limit where nothing is copied */
    CHECK_INT(strlen(rows), n - 4 + 5);
    free(rows);
    free(packed);
    free(text);
}

static void test_columns(void)
{
    static const struct {
        const char *name, *body, *say;
    } cases[] = {
        {"c.csv", "id,,text\n1,x,a\n2,y,b\n", "id integers|Unnamed: 1 texts|text texts|"},
        {"c.jsonl", "{\"id\": 1, \"text\": null}\n{\"id\": \"x\", \"text\": \"a\", \"t\": [1]}",
         "id integer or string|text string|t list|"},
        {"c.json", "[\"a\"]", "text string|"},
        {"c.txt", "a\n", "text string|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_columns c;
        qk_error err;
        qk_buf said = {0};
        const char *path = put(cases[i].name, cases[i].body, strlen(cases[i].body));
        CHECK_INT(qk_columns_find(&c, format_of(path), path, &err), QK_OK);
        for (size_t k = 0; k < c.count; k++)
            qk_buf_addf(&said, "%s %s|", c.items[k].name, c.items[k].type);
        CHECK_STR(qk_buf_str(&said), cases[i].say);
        CHECK(qk_columns_have(&c, "text") && !qk_columns_have(&c, "tex"));
        qk_columns_free(&c);
        qk_buf_free(&said);
    }
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
    RUN(test_csv_records);
    RUN(test_csv_types);
    RUN(test_csv_chunks);
    RUN(test_windows);
    RUN(test_damage);
    RUN(test_row_limit);
    RUN(test_columns);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return test_summary("tables");
}
