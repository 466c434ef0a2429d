/* formats/parquet_read: values of tiny files that pyarrow wrote, damaged files, the input corpus.
 *
 * `test_parquet_read dump FILE COLUMN [rows a batch] [rows to skip] [list size]` prints a column,
 * one JSON value a line; tests/interop/parquet_read.py compares that with pyarrow, and made the
 * files of tests/data/parquet (their rows are computed again here). */
#include "tests/test.h"

#include <fcntl.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "formats/codec.h"
#include "formats/json.h"
#include "formats/parquet_bits.h"
#include "formats/parquet_read.h"
#include "formats/thrift_read.h"

static const char data[] = "tests/data/parquet";
static char scratch[] = "/tmp/qk_test_parquet_XXXXXX";

/* ---- dump ---- */

static bool is_text(const qk_pq_leaf *leaf)
{
    return leaf->type == QK_PQ_T_BYTES && leaf->logical.meaning == QK_PQ_M_STRING;
}

static void add_value(qk_json_out *o, const qk_pq_leaf *leaf, const qk_pq_batch *b, size_t i)
{
    const qk_pq_bytes *bytes = (const qk_pq_bytes *)b->values + i;
    double number = b->type == QK_PQ_T_FLOAT    ? (double)((const float *)b->values)[i]
                    : b->type == QK_PQ_T_DOUBLE ? ((const double *)b->values)[i]
                                                : 0;
    switch (b->type) {
    case QK_PQ_T_BOOLEAN: qk_json_add_bool(o, NULL, ((const uint8_t *)b->values)[i]); return;
    case QK_PQ_T_INT32: qk_json_add_int(o, NULL, ((const int32_t *)b->values)[i]); return;
    case QK_PQ_T_INT64: qk_json_add_int(o, NULL, ((const int64_t *)b->values)[i]); return;
    case QK_PQ_T_FLOAT:
    case QK_PQ_T_DOUBLE: qk_buf_addf(&o->buf, "{\"float\": \"%a\"}", number); return;
    default: break;
    }
    if (is_text(leaf)) {
        qk_json_add_strn(o, NULL, (const char *)bytes->data, bytes->size);
        return;
    }
    qk_buf_add_str(&o->buf, "{\"hex\": \"");
    for (size_t k = 0; k < bytes->size; k++) qk_buf_addf(&o->buf, "%02x", bytes->data[k]);
    qk_buf_add_str(&o->buf, "\"}");
}

static void print_batch(const qk_pq_leaf *leaf, const qk_pq_batch *b, size_t list_size)
{
    for (size_t i = 0; i < b->n; i++) {
        qk_json_out o = {.compact = true};
        if (!b->valid[i]) {
            qk_json_add_null(&o, NULL);
        } else if (list_size) {
            for (size_t k = 0; k < list_size; k++) {
                qk_buf_add_str(&o.buf, k ? ", " : "[");
                add_value(&o, leaf, b, i * list_size + k);
            }
            qk_buf_add_str(&o.buf, "]");
        } else {
            add_value(&o, leaf, b, i);
        }
        puts(qk_buf_str(&o.buf));
        qk_buf_free(&o.buf);
    }
}

static qk_status next(qk_pq_cursor *c, size_t list_size, size_t most, qk_pq_batch *b, qk_error *err)
{
    return list_size ? qk_pq_next_floats(c, list_size, most, b, err) : qk_pq_next(c, most, b, err);
}

static qk_status dump(const char *path, const char *column, size_t most, uint64_t skip,
                      size_t list_size, qk_error *err)
{
    qk_pq_file *f;
    qk_pq_cursor *c = NULL;
    qk_pq_batch b = {.n = 1};
    QK_TRY(qk_pq_open(&f, path, err));
    int at = qk_pq_find(f, column);
    qk_status s =
        at < 0 ? qk_fail(err, QK_ERR_NOTFOUND, NULL, "%s: no column '%s' (%d)", path, column, at)
               : qk_pq_cursor_open(&c, f, (size_t)at, err);
    if (s == QK_OK && skip) s = qk_pq_skip(c, (int64_t)skip, err);
    while (s == QK_OK && b.n) {
        s = next(c, list_size, most, &b, err);
        if (s == QK_OK) print_batch(&f->leaves[at], &b, list_size);
    }
    qk_pq_cursor_close(c);
    qk_pq_close(f);
    return s;
}

static int dump_main(int argc, char **argv)
{
    qk_error err = {0};
    unsigned long long n[3] = {1000, 0, 0};
    for (int i = 4; i < argc && i < 7; i++) n[i - 4] = strtoull(argv[i], NULL, 10);
    if (argc >= 4 && dump(argv[2], argv[3], n[0], n[1], n[2], &err) == QK_OK) return 0;
    fprintf(stderr, "%s\n", err.message);
    return 1;
}

/* ---- the tiny files ---- */

enum { ROWS = 40 };

static bool row_is_null(const char *column, int i)
{
    if (!strcmp(column, "i64")) return i % 4 == 1;
    if (!strcmp(column, "b")) return i % 6 == 5;
    if (!strcmp(column, "text")) return i % 5 == 2;
    if (!strcmp(column, "in.s")) return i % 7 == 3 || i % 7 == 4;
    if (!strcmp(column, "in.k")) return i % 7 == 3;
    if (!strcmp(column, "vector.list.element")) return i == 9;
    return false;
}

static bool bytes_are(const qk_pq_bytes *b, const void *expected, size_t n)
{
    return b->size == n && !memcmp(b->data, expected, n);
}

static bool text_is_right(const qk_pq_bytes *b, int i)
{
    char expected[100] = "";
    for (int k = 0; k < i % 4; k++) sprintf(expected + strlen(expected), "text %d ", i / 2);
    return bytes_are(b, expected, strlen(expected));
}

/* Whether slot `at` of the batch is row i of the column. */
static bool value_is_right(const char *column, const qk_pq_batch *b, size_t at, int i)
{
    const void *v = b->values;
    const float *vector = (const float *)v + 3 * at;
    char inner[20];
    if (!strcmp(column, "i32")) return ((const int32_t *)v)[at] == i * 7919 % 1000 - 500;
    if (!strcmp(column, "i64")) return ((const int64_t *)v)[at] == (int64_t)(i - 20) * (1ll << 40);
    if (!strcmp(column, "f32")) return ((const float *)v)[at] == (float)i / 4;
    if (!strcmp(column, "f64")) return ((const double *)v)[at] == (double)i / 3;
    if (!strcmp(column, "b")) return ((const uint8_t *)v)[at] == (i % 3 == 0);
    if (!strcmp(column, "text")) return text_is_right((const qk_pq_bytes *)v + at, i);
    if (!strcmp(column, "fixed")) return bytes_are((const qk_pq_bytes *)v + at, &i, 4);
    if (!strcmp(column, "in.k")) return ((const int32_t *)v)[at] == i;
    if (!strcmp(column, "vector.list.element"))
        return vector[0] == (float)i && vector[1] == (float)i + 0.5f && vector[2] == -(float)i;
    sprintf(inner, "in %d", i);
    return bytes_are((const qk_pq_bytes *)v + at, inner, strlen(inner));
}

/* Reads a column from row `skip` on; returns the rows read, or -1 on a difference. */
static int check_column(const qk_pq_file *f, const char *column, size_t most, int skip)
{
    qk_error err = {0};
    qk_pq_cursor *c;
    qk_pq_batch b = {.n = 1};
    size_t list = !strcmp(column, "vector.list.element") ? 3 : 0;
    int i = skip;
    CHECK_MSG(qk_pq_cursor_open(&c, f, (size_t)qk_pq_find(f, column), &err) == QK_OK, "%s",
              err.message);
    CHECK(qk_pq_skip(c, skip, &err) == QK_OK);
    while (b.n) {
        qk_status s = next(c, list, most, &b, &err);
        CHECK_MSG(s == QK_OK, "%s", err.message);
        if (s != QK_OK) break;
        CHECK(b.n <= most);
        for (size_t k = 0; k < b.n; k++, i++) {
            bool null = row_is_null(column, i);
            if (b.valid[k] == !null && (null || value_is_right(column, &b, k, i))) continue;
            printf("  %s: %s row %d differs\n", f->path, column, i);
            i = -1, b.n = 0;
        }
    }
    qk_pq_cursor_close(c);
    return i;
}

static void check_file(const char *name, const char *const *columns)
{
    static const size_t batches[] = {1, 3, 64};
    static const int skips[] = {0, 1, 14, 15, 29, 39, 40};
    char *path = qk_path_join(data, name);
    qk_pq_file *f;
    qk_error err = {0};
    CHECK_MSG(qk_pq_open(&f, path, &err) == QK_OK, "%s", err.message);
    for (; f && *columns; columns++)
        for (size_t b = 0; b < 3; b++)
            for (size_t s = 0; s < sizeof skips / sizeof *skips; s++)
                CHECK_INT(check_column(f, *columns, batches[b], skips[s]), ROWS);
    if (f) CHECK_INT(f->rows, ROWS);
    qk_pq_close(f);
    free(path);
}

static void test_tiny_files(void)
{
    static const char *const all[] = {"i32",  "i64",   "f32",  "f64",  "b",
                                      "text", "fixed", "in.s", "in.k", "vector.list.element",
                                      NULL};
    static const char *const few[] = {"text", "i64", "vector.list.element", NULL};
    check_file("v1.parquet", all);
    check_file("v2.parquet", all);
    check_file("none.parquet", few);
    check_file("gzip.parquet", few);
    check_file("brotli.parquet", few);
    check_file("lz4.parquet", few);
}

static void check_leaf(const qk_pq_file *f, const char *name, const char *physical,
                       const char *logical, int definition, int repetition)
{
    char text[40];
    int at = qk_pq_find(f, name);
    CHECK_MSG(at >= 0, "%s", name);
    if (at < 0) return;
    const qk_pq_leaf *leaf = &f->leaves[at];
    CHECK_STR(leaf->path, name);
    CHECK_STR(qk_pq_type_name((int)leaf->type), physical);
    CHECK_STR(qk_pq_logical_name(&leaf->logical, text), logical);
    CHECK_INT(leaf->max_def, definition);
    CHECK_INT(leaf->max_rep, repetition);
}

static void test_footer(void)
{
    qk_pq_file *f;
    qk_error err = {0};
    CHECK_INT(qk_pq_open(&f, "tests/data/parquet/v1.parquet", &err), QK_OK);
    CHECK_INT(f->n_leaves, 14);
    check_leaf(f, "i32", "INT32", "", 1, 0);
    check_leaf(f, "text", "BYTE_ARRAY", "string", 1, 0);
    check_leaf(f, "fixed", "FIXED_LEN_BYTE_ARRAY", "", 1, 0);
    check_leaf(f, "in.s", "BYTE_ARRAY", "string", 2, 0);
    check_leaf(f, "vector.list.element", "FLOAT", "", 3, 1);
    check_leaf(f, "u8", "INT32", "uint8", 1, 0);
    check_leaf(f, "money", "FIXED_LEN_BYTE_ARRAY", "decimal(7, 2)", 1, 0);
    check_leaf(f, "when", "INT64", "timestamp[us, UTC]", 1, 0);
    CHECK_INT(f->leaves[6].fixed_length, 4);
    CHECK_INT(qk_pq_find(f, "in"), -1);
    CHECK_INT(qk_pq_find(f, "Text"), -1);
    CHECK(qk_pq_metadata(f, "ARROW:schema") != NULL);
    CHECK(qk_pq_metadata(f, "arrow:schema") == NULL);
    CHECK(!strncmp(f->created_by, "parquet-cpp-arrow version ", 26));
    CHECK_INT(f->n_groups, 3);
    CHECK_INT(f->groups[0].rows, 15);
    CHECK_INT(f->groups[2].rows, 10);
    const qk_pq_chunk *k = &f->groups[0].chunks[0];
    int32_t least, most;
    CHECK_INT(k->codec, QK_CODEC_SNAPPY);
    CHECK_INT(k->values, 15);
    CHECK(k->encodings ==
              (1u << QK_PQ_E_PLAIN | 1u << QK_PQ_E_RLE | 1u << QK_PQ_E_RLE_DICTIONARY) &&
          k->compressed > 0 && k->uncompressed > 0);
    CHECK(k->statistics.has_min_max && k->statistics.has_nulls && k->statistics.min.size == 4);
    memcpy(&least, k->statistics.min.data, 4);
    memcpy(&most, k->statistics.max.data, 4);
    CHECK_INT(least, -500);
    CHECK_INT(most, 447);
    CHECK_INT(k->statistics.nulls, 0);
    CHECK_INT(f->groups[0].chunks[1].statistics.nulls, 4);
    qk_pq_close(f);
    qk_pq_close(NULL);
    qk_pq_cursor_close(NULL);
}

static void test_lists(void)
{
    qk_pq_file *f;
    qk_pq_cursor *c;
    qk_pq_batch b;
    qk_error err = {0};
    CHECK_INT(qk_pq_open(&f, "tests/data/parquet/v1.parquet", &err), QK_OK);
    size_t vector = (size_t)qk_pq_find(f, "vector.list.element");
    CHECK_INT(qk_pq_cursor_open(&c, f, vector, &err), QK_OK);
    CHECK_INT(qk_pq_next(c, 10, &b, &err), QK_ERR_UNSUPPORTED);
    CHECK_STR(err.message, "tests/data/parquet/v1.parquet: the column 'vector.list.element' is "
                           "repeated (a list)");
    CHECK_INT(qk_pq_next_floats(c, 4, 10, &b, &err), QK_ERR_DATA);
    CHECK_MSG(strstr(err.message, "row group 0, column 'vector.list.element', byte ") &&
                  strstr(err.message, ": a list of 3 elements, not 4"),
              "%s", err.message);
    qk_pq_cursor_close(c);
    CHECK_INT(qk_pq_cursor_open(&c, f, (size_t)qk_pq_find(f, "f32"), &err), QK_OK);
    CHECK_INT(qk_pq_next_floats(c, 3, 10, &b, &err), QK_ERR_UNSUPPORTED);
    qk_pq_cursor_close(c);
    qk_pq_close(f);
}

/* ---- the streams ---- */

static void test_rle(void)
{
    /* the example of Encodings.md, 0..7 packed in 3 bits, and a run of seven 4s */
    static const uint8_t bytes[] = {0x03, 0x88, 0xC6, 0xFA, 0x0E, 0x04};
    uint32_t v[15];
    qk_pq_rle r;
    qk_pq_rle_open(&r, bytes, sizeof bytes, 3);
    CHECK(qk_pq_rle_read(&r, v, 3) && qk_pq_rle_read(&r, v + 3, 12));
    for (uint32_t i = 0; i < 8; i++) CHECK_INT(v[i], i);
    for (int i = 8; i < 15; i++) CHECK_INT(v[i], 4);
    CHECK(!qk_pq_rle_read(&r, v, 1));
    qk_pq_rle_open(&r, bytes, 3, 3); /* a packed run cut behind its fifth value */
    CHECK(qk_pq_rle_read(&r, v, 5) && v[4] == 4 && !qk_pq_rle_read(&r, v, 1));
    static const uint8_t wide[] = {0x02, 0xFF, 0xFF, 0xFF, 0xFF};
    qk_pq_rle_open(&r, wide, 5, 32);
    CHECK(qk_pq_rle_read(&r, v, 1) && v[0] == UINT32_MAX);
    static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    qk_pq_rle_open(&r, endless, 7, 1);
    CHECK(!qk_pq_rle_read(&r, v, 1));
}

static void test_delta(void)
{
    /* the second example of Encodings.md: 7, 5, 3, 1, 2, 3, 4, 5 in blocks of 128, 4 miniblocks;
     * deltas -2 -2 -2 1 1 1 1, least -2, packed 0 0 0 3 3 3 3 in 2 bits */
    uint8_t bytes[19] = {0x80, 0x01, 0x04, 0x08, 0x0E, 0x03, 0x02, 0, 0, 0, 0xC0, 0x3F};
    int64_t v[8];
    qk_pq_delta d;
    qk_error err = {0};
    CHECK_INT(qk_pq_delta_open(&d, bytes, sizeof bytes, 8, &err), QK_OK);
    CHECK_INT(qk_pq_delta_read(&d, v, 5, &err), QK_OK);
    CHECK_INT(qk_pq_delta_read(&d, v + 5, 3, &err), QK_OK);
    static const int64_t expected[] = {7, 5, 3, 1, 2, 3, 4, 5};
    for (int i = 0; i < 8; i++) CHECK_INT(v[i], expected[i]);
    CHECK(d.at == bytes + 18);
    CHECK_INT(qk_pq_delta_read(&d, v, 1, &err), QK_ERR_FORMAT);
    CHECK_INT(qk_pq_delta_open(&d, bytes, 17, 8, &err), QK_OK);
    CHECK_INT(qk_pq_delta_finish(&d, &err), QK_ERR_FORMAT);
    CHECK_STR(err.message, "delta encoding: the page ends before its last value");
    CHECK_INT(qk_pq_delta_open(&d, bytes, sizeof bytes, 7, &err), QK_ERR_FORMAT);
    CHECK_STR(err.message, "delta encoding: the header counts 8 values in a page of 7");
    bytes[6] = 65;
    CHECK_INT(qk_pq_delta_open(&d, bytes, sizeof bytes, 8, &err), QK_OK);
    CHECK_INT(qk_pq_delta_read(&d, v, 8, &err), QK_ERR_FORMAT);
    CHECK_STR(err.message, "delta encoding: bad bit width 65");
}

static void test_thrift(void)
{
    /* {1: i32 -3, 2: true, 9: list<i32> [1, 2], 300: "ab"} */
    static const uint8_t bytes[] = {0x15, 0x05, 0x11, 0x79, 0x25, 0x02, 0x04,
                                    0x08, 0xD8, 0x04, 0x02, 'a',  'b',  0x00};
    qk_thrift_in t;
    qk_thrift_field f = {0}, e;
    size_t n;
    qk_thrift_open(&t, bytes, sizeof bytes);
    CHECK(qk_thrift_next(&t, &f) && f.id == 1 && qk_thrift_read_i32(&t, &f, "a") == -3);
    CHECK(qk_thrift_next(&t, &f) && f.id == 2 && qk_thrift_read_bool(&t, &f, "b"));
    CHECK(qk_thrift_next(&t, &f) && f.id == 9);
    CHECK_INT(qk_thrift_read_list(&t, &f, QK_THRIFT_T_I32, "c", &e), 2);
    CHECK(qk_thrift_read_i32(&t, &e, "c") == 1 && qk_thrift_read_i32(&t, &e, "c") == 2);
    CHECK(qk_thrift_next(&t, &f) && f.id == 300);
    CHECK(qk_thrift_read_binary(&t, &f, "d", &n) == bytes + 11 && n == 2);
    CHECK(!qk_thrift_next(&t, &f) && !t.problem[0] && t.at == t.end);
    qk_thrift_open(&t, bytes, sizeof bytes);
    f = (qk_thrift_field){0};
    while (qk_thrift_next(&t, &f)) qk_thrift_skip(&t, &f);
    CHECK(!t.problem[0] && t.at == t.end);
    qk_thrift_open(&t, bytes, sizeof bytes);
    f = (qk_thrift_field){0};
    CHECK(qk_thrift_next(&t, &f) && qk_thrift_read_i64(&t, &f, "num_rows") == 0);
    CHECK_STR(t.problem, "num_rows has the wrong thrift type 5");
    CHECK(!qk_thrift_next(&t, &f));
}

static void test_codecs(void)
{
    qk_error err = {0};
    uint8_t out[32];
    static const uint8_t lz4[] = {0x50, 'h', 'e', 'l', 'l', 'o'};
    static const uint8_t hadoop[] = {0, 0, 0, 5, 0, 0, 0, 6, 0x50, 'h', 'e', 'l', 'l', 'o'};
    CHECK_INT(qk_codec_expand(QK_CODEC_LZ4, lz4, 6, out, 5, &err), QK_OK);
    CHECK(!memcmp(out, "hello", 5));
    CHECK_INT(qk_codec_expand(QK_CODEC_LZ4, lz4, 6, out, 6, &err), QK_ERR_FORMAT);
    CHECK_STR(err.message, "lz4_raw: the page expands to 5 bytes, but its header says 6");
    memset(out, 0, 5);
    CHECK_INT(qk_codec_expand(QK_CODEC_LZ4_HADOOP, hadoop, 14, out, 5, &err), QK_OK);
    CHECK(!memcmp(out, "hello", 5));
    memset(out, 0, 5);
    CHECK_INT(qk_codec_expand(QK_CODEC_LZ4_HADOOP, lz4, 6, out, 5, &err), QK_OK);
    CHECK(!memcmp(out, "hello", 5));
    static const uint8_t snappy[] = {5, 0x10, 'h', 'e', 'l', 'l', 'o'};
    CHECK_INT(qk_codec_expand(QK_CODEC_SNAPPY, snappy, 7, out, 5, &err), QK_OK);
    CHECK_INT(qk_codec_expand(QK_CODEC_SNAPPY, snappy, 7, out, 4, &err), QK_ERR_FORMAT);
    CHECK_STR(err.message, "snappy: the page expands to 5 bytes, but its header says 4");
    CHECK_INT(qk_codec_check(QK_CODEC_LZO, &err), QK_ERR_UNSUPPORTED);
    CHECK_INT(qk_codec_check(42, &err), QK_ERR_FORMAT);
    CHECK_STR(err.message, "unknown compression codec 42");
    CHECK(qk_codec_name(-1) == NULL && qk_codec_name(8) == NULL);
    CHECK_INT(qk_codec_max_plain(QK_CODEC_SNAPPY, 100), 2200);
    CHECK_INT(qk_codec_max_plain(QK_CODEC_ZSTD, 100), 64 << 20);
}

/* ---- damage ---- */

/* Reads all columns, 100,000 rows each at most. The outcome does not matter: not to crash does. */
static qk_status read_everything(const char *path, qk_error *err)
{
    qk_pq_file *f;
    qk_status all = qk_pq_open(&f, path, err);
    for (size_t i = 0; all == QK_OK && i < f->n_leaves; i++) {
        qk_pq_cursor *c;
        qk_pq_batch b = {.n = 1};
        bool list = f->leaves[i].max_rep > 0;
        qk_status s = qk_pq_cursor_open(&c, f, i, err);
        if (s == QK_OK && i % 3 == 1) s = qk_pq_skip(c, 17, err);
        for (size_t rows = 0; s == QK_OK && b.n && rows < 100000; rows += b.n)
            s = next(c, list ? 3 : 0, 1000, &b, err);
        qk_pq_cursor_close(c);
        if (s != QK_OK && s != QK_ERR_UNSUPPORTED) all = s;
    }
    qk_pq_close(f);
    return all;
}

static qk_buf read_data(const char *name)
{
    qk_buf file = {0};
    qk_error err;
    char *path = qk_path_join(data, name);
    CHECK(qk_read_file(&file, path, 1 << 20, &err) == QK_OK);
    free(path);
    return file;
}

static char *scratch_file(const void *bytes, size_t n)
{
    char *path = qk_path_join(scratch, "damaged.parquet");
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n);
    if (f) fclose(f);
    return path;
}

static void test_truncated(void)
{
    qk_buf file = read_data("v1.parquet");
    char *path = scratch_file(file.data, file.size);
    qk_error err = {0};
    CHECK_INT(read_everything(path, &err), QK_OK);
    for (size_t n = file.size; n-- > 0;) {
        CHECK(truncate(path, (off_t)n) == 0);
        CHECK_INT(read_everything(path, &err), QK_ERR_FORMAT);
        CHECK_MSG(strstr(err.message, path) == err.message, "%s", err.message);
    }
    free(path);
    qk_buf_free(&file);
}

/* The footer is whole and says what it said, but the pages are cut at every length. */
static void test_cut_footer(void)
{
    qk_buf file = read_data("none.parquet");
    uint32_t footer;
    memcpy(&footer, file.data + file.size - 8, 4);
    qk_error err = {0};
    for (uint32_t n = 0; n < footer; n++) { /* a footer that ends early */
        uint8_t *copy = malloc(file.size);
        size_t head = file.size - 8 - footer;
        memcpy(copy, file.data, head + n);
        memcpy(copy + head + n, &n, 4);
        memcpy(copy + head + n + 4, "PAR1", 4);
        char *path = scratch_file(copy, head + n + 8);
        CHECK_INT(read_everything(path, &err), QK_ERR_FORMAT);
        free(path);
        free(copy);
    }
    qk_buf_free(&file);
}

static void flip_bytes(const char *name, int rounds, uint64_t seed, int *refused)
{
    qk_buf file = read_data(name);
    char *path = scratch_file(file.data, file.size);
    int fd = open(path, O_WRONLY);
    for (int i = 0; i < rounds; i++) {
        size_t places[3];
        for (int k = 0; k < 3; k++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            places[k] = (size_t)(seed >> 33) % file.size;
            uint8_t byte = (uint8_t)(seed >> 25);
            if (k > i % 3) places[k] = places[0];
            CHECK(pwrite(fd, &byte, 1, (off_t)places[k]) == 1);
        }
        qk_error err = {0};
        if (read_everything(path, &err) != QK_OK) {
            ++*refused;
            CHECK_MSG(strstr(err.message, path), "%s", err.message);
        }
        for (int k = 0; k < 3; k++)
            CHECK(pwrite(fd, file.data + places[k], 1, (off_t)places[k]) == 1);
    }
    close(fd);
    free(path);
    qk_buf_free(&file);
}

static void test_flipped(void)
{
    static const char *const names[] = {"v1.parquet",   "v2.parquet",     "none.parquet",
                                        "gzip.parquet", "brotli.parquet", "lz4.parquet"};
    int refused = 0;
    for (size_t i = 0; i < 6; i++) flip_bytes(names[i], 1500, 77 + i, &refused);
    printf("  flipped bytes: %d of 9000 damaged files refused\n", refused);
    CHECK(refused > 2000);
}

static void check_refused(const void *bytes, size_t n, const char *say)
{
    qk_error err = {0};
    qk_pq_file *f;
    char *path = scratch_file(bytes, n);
    CHECK(qk_pq_open(&f, path, &err) != QK_OK && f == NULL);
    CHECK_MSG(strstr(err.message, path) == err.message && strstr(err.message, say), "%s not '%s'",
              err.message, say);
    free(path);
}

static void test_refused(void)
{
    check_refused("", 0, "a file of 0 bytes is too short for Parquet");
    check_refused("PAR1\1\0\0\0PAR1", 12, "the footer's length, 1, exceeds the file of 12 bytes");
    check_refused("PAR1\0\0\0\0\0\0\0\0PAR1", 16, "the footer is empty");
    check_refused("PAR1\0\1\0\0\0PARE", 13, "encrypted Parquet is not supported");
    check_refused("<!DOCTYPE html>", 15, "this is a web page");
    check_refused("<table><tr><td>", 15, "it begins with '<table><'");
    check_refused("PAR1\0\1\0\0\0PAR1", 13, "the footer has no schema");
    qk_pq_file *f;
    qk_error err = {0};
    CHECK_INT(qk_pq_open(&f, "/nowhere/x.parquet", &err), QK_ERR_NOTFOUND);
}

/* ---- the corpus ---- */

static char *inputs(const char *name)
{
    char *inside = qk_path_join("inputs", name), *path = test_golden(inside);
    free(inside);
    return path;
}

static const char *text_of(const qk_json *entry, const char *key)
{
    const qk_json *v = qk_json_get(entry, key);
    return v && v->type == QK_JSON_T_STRING ? v->text : NULL;
}

/* Reads the text and id columns. With `expected` (JSON lines), compares the texts: 1 the same, 0
 * refused with err set, -1 different. */
static int read_corpus_file(const char *path, const char *column, const char *id,
                            const char *expected, qk_error *err)
{
    qk_buf want = {0};
    qk_pq_file *f;
    qk_pq_cursor *c = NULL;
    qk_pq_batch b = {.n = 1};
    if (qk_pq_open(&f, path, err) != QK_OK) return 0;
    int at = qk_pq_find(f, column), id_at = id ? qk_pq_find(f, id) : -1, result = 1;
    if (id_at >= 0 && !f->leaves[id_at].max_rep) {
        if (qk_pq_cursor_open(&c, f, (size_t)id_at, err) != QK_OK) result = 0;
        while (result && b.n) result = qk_pq_next(c, 7, &b, err) == QK_OK;
        qk_pq_cursor_close(c);
        c = NULL;
    }
    if (at < 0) qk_fail(err, QK_ERR_NOTFOUND, NULL, "%s: no column '%s'", path, column);
    if (at < 0 || !result || qk_pq_cursor_open(&c, f, (size_t)at, err) != QK_OK) result = 0;
    if (result && f->leaves[at].type != QK_PQ_T_BYTES)
        result = (qk_fail(err, QK_ERR_DATA, NULL, "%s: no texts", path), 0);
    if (expected && qk_read_file(&want, expected, 1 << 26, err) != QK_OK) result = -1;
    const char *line = (const char *)want.data, *end = line + want.size;
    for (b.n = 1; result == 1 && b.n;) {
        if (qk_pq_next(c, 13, &b, err) != QK_OK) result = 0;
        for (size_t i = 0; result == 1 && expected && i < b.n; i++) {
            qk_arena arena = {0};
            const qk_json *row = NULL;
            const char *stop = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
            if (!stop || qk_json_parse(&arena, line, (size_t)(stop - line), "", &row, err)) {
                result = -1;
                break;
            }
            const char *text = text_of(row, "text");
            const qk_pq_bytes *v = (const qk_pq_bytes *)b.values + i;
            if ((text != NULL) != b.valid[i] ||
                (text && !bytes_are(v, text, qk_json_get(row, "text")->length)))
                result = -1;
            line = stop + 1;
            qk_arena_free(&arena);
        }
    }
    if (result == 1 && expected && line != end) result = -1;
    qk_pq_cursor_close(c);
    qk_pq_close(f);
    qk_buf_free(&want);
    return result;
}

static const qk_json *parse_list(qk_arena *arena, const char *path)
{
    const qk_json *v = NULL;
    qk_error err;
    CHECK(qk_json_parse_file(arena, path, 1 << 26, &v, &err) == QK_OK);
    return v;
}

static void test_corpus_good(void)
{
    char *list = inputs("manifest.json");
    if (!list) SKIP("no input corpus");
    qk_arena arena = {0};
    const qk_json *manifest = parse_list(&arena, list);
    int counts[3] = {0};
    for (const qk_json *e = manifest ? manifest->first : NULL; e; e = e->next) {
        if (strncmp(e->key, "parquet/", 8) != 0) continue;
        qk_error err = {0};
        char *path = inputs(e->key);
        char *rows = text_of(e, "expected") ? inputs(text_of(e, "expected")) : NULL;
        int got =
            read_corpus_file(path, text_of(e, "text_column"), text_of(e, "id_column"), rows, &err);
        const char *expect = text_of(e, "expect");
        CHECK_MSG(got != -1, "%s differs", e->key);
        if (strcmp(expect, "refuse")) CHECK_MSG(got == 1, "%s: %s", e->key, err.message);
        if (got == 0) CHECK_MSG(strstr(err.message, path), "%s: %s", e->key, err.message);
        counts[got + 1]++;
        free(path);
        free(rows);
    }
    printf("  corpus: %d files read as expected, %d refused, %d different\n", counts[2], counts[1],
           counts[0]);
    CHECK(counts[0] + counts[1] + counts[2] >= 130 && counts[0] + counts[1] <= 10);
    qk_arena_free(&arena);
    free(list);
}

/* Bad values, which the dataset finds: the file itself is good. */
static bool is_good_file(const char *name)
{
    return !strcmp(name, "parquet/text_not_utf8.parquet") ||
           !strcmp(name, "parquet/text_surrogate.parquet");
}

static void test_corpus_bad(void)
{
    char *list = inputs("bad/manifest.json");
    if (!list) SKIP("no input corpus");
    qk_arena arena = {0};
    const qk_json *manifest = parse_list(&arena, list);
    int refused = 0, accepted = 0;
    for (const qk_json *e = manifest ? manifest->first : NULL; e; e = e->next) {
        if (strncmp(e->key, "parquet/", 8) != 0) continue;
        qk_error err = {0};
        char *name = qk_path_join("bad", e->key), *path = inputs(name);
        const char *rows = text_of(e, "if_read");
        char *expected = rows && strstr(rows, ".jsonl") ? inputs(rows) : NULL;
        int got = read_corpus_file(path, "text", "id", expected, &err);
        if (!strcmp(text_of(e, "must"), "refuse") && !is_good_file(e->key))
            CHECK_MSG(got == 0, "%s is read", e->key);
        CHECK_MSG(got != -1, "%s differs", e->key);
        if (got == 0) CHECK_MSG(strstr(err.message, path), "%s: %s", e->key, err.message);
        if (getenv("QK_TEST_SHOW"))
            printf("%s: %s\n   %s\n", e->key, text_of(e, "say"), got ? "(read)" : err.message);
        refused += got == 0, accepted += got == 1;
        free(expected);
        free(name);
        free(path);
    }
    printf("  bad files: %d refused, %d read\n", refused, accepted);
    CHECK(refused >= 90);
    qk_arena_free(&arena);
    free(list);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "dump")) return dump_main(argc, argv);
    test_begin(argc, argv, "");
    if (!mkdtemp(scratch)) return 1;
    RUN(test_thrift);
    RUN(test_codecs);
    RUN(test_rle);
    RUN(test_delta);
    RUN(test_tiny_files);
    RUN(test_footer);
    RUN(test_lists);
    RUN(test_refused);
    RUN(test_truncated);
    RUN(test_cut_footer);
    RUN(test_flipped);
    RUN(test_corpus_good);
    RUN(test_corpus_bad);
    char *path = qk_path_join(scratch, "damaged.parquet");
    remove(path);
    free(path);
    rmdir(scratch);
    return test_summary("parquet read");
}
