/* formats/parquet_write and formats/parquet_read: encodings against known bytes, writer to reader, the same bytes however rows are
 * appended, and damaged files. tests/interop/readers.py has other programs read the files.
 * usage: test_parquet [write FILE ROWS ROWS_PER_GROUP split|plain] */
#include "tests/test.h"

#include <unistd.h>

#include "formats/parquet_bits.h"
#include "formats/parquet_encode.h"
#include "formats/parquet_page.h"
#include "formats/parquet_read.h"
#include "formats/parquet_write.h"
#include "formats/thrift_read.h"
#include "formats/thrift_write.h"

static char folder[64];

static char *at(const char *name)
{
    return qk_path_join(folder, name);
}

/* ---- thrift ---- */

static void test_thrift_bytes(void)
{
    qk_thrift_out t = {0};
    qk_thrift_begin(&t, 0);
    qk_thrift_i32(&t, 1, -1);
    qk_thrift_str(&t, 4, "ab");
    qk_thrift_list(&t, 5, QK_THRIFT_I32, 2);
    qk_thrift_item_i32(&t, 3);
    qk_thrift_item_i32(&t, 300);
    qk_thrift_begin(&t, 6);
    qk_thrift_i64(&t, 15, 1LL << 40);
    qk_thrift_end(&t);
    qk_thrift_end(&t);
    static const uint8_t want[] = {0x15, 1,    0x38, 2,    'a',  'b',  0x19, 0x25, 6,    0xD8, 4,
                                   0x1C, 0xF6, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0x00, 0x00};
    CHECK_INT(t.buf.size, sizeof want);
    CHECK(t.buf.size == sizeof want && !memcmp(t.buf.data, want, sizeof want));

    qk_thrift_in in;
    qk_thrift_field f = {0}, item;
    size_t n;
    qk_thrift_open(&in, t.buf.data, t.buf.size);
    CHECK(qk_thrift_next(&in, &f) && f.id == 1 && qk_thrift_read_i32(&in, &f, "a") == -1);
    CHECK(qk_thrift_next(&in, &f) && f.id == 4);
    const uint8_t *text = qk_thrift_read_binary(&in, &f, "b", &n);
    CHECK(n == 2 && !memcmp(text, "ab", 2));
    CHECK(qk_thrift_next(&in, &f) &&
          qk_thrift_read_list(&in, &f, QK_THRIFT_T_I32, "c", &item) == 2);
    CHECK(qk_thrift_read_i32(&in, &item, "c") == 3 && qk_thrift_read_i32(&in, &item, "c") == 300);
    CHECK(qk_thrift_next(&in, &f) && f.id == 6);
    qk_thrift_skip(&in, &f);
    CHECK(!qk_thrift_next(&in, &f) && !in.problem[0] && in.at == in.end);
    for (size_t cut = 0; cut < t.buf.size;
         cut++) { /* every prefix fails, none reads past its end */
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, t.buf.data, cut);
        const qk_thrift_field whole = {0, QK_THRIFT_T_STRUCT};
        qk_thrift_open(&in, copy, cut);
        qk_thrift_skip(&in, &whole);
        CHECK_MSG(in.problem[0], "prefix of %zu bytes", cut);
        free(copy);
    }
    qk_buf_free(&t.buf);
}

/* ---- encodings ---- */

static void test_hybrid(void)
{
    /* The example of parquet-format's Encodings.md: 0 .. 7 in three bits. */
    uint32_t eight[] = {0, 1, 2, 3, 4, 5, 6, 7}, back[1000], values[1000];
    qk_buf b = {0};
    qk_pq_encode_hybrid(&b, eight, 8, 3);
    static const uint8_t want[] = {0x03, 0x88, 0xC6, 0xFA};
    CHECK(b.size == 4 && !memcmp(b.data, want, 4));
    for (int width = 1; width <= 32; width++)
        for (size_t n = 1; n < 1000; n += 97) {
            uint32_t most = width == 32 ? UINT32_MAX : (1u << width) - 1;
            for (size_t i = 0; i < n; i++) values[i] = (uint32_t)(i * 2654435761u) & most;
            qk_buf_clear(&b);
            qk_pq_encode_hybrid(&b, values, n, width);
            qk_pq_rle r;
            qk_pq_rle_open(&r, b.data, b.size, width);
            CHECK(qk_pq_rle_read(&r, back, n));
            CHECK_MSG(!memcmp(values, back, n * 4), "%zu values of %d bits", n, width);
        }
    qk_buf_clear(&b);
    qk_pq_encode_run(&b, 5, 100, 3);
    qk_pq_rle r;
    qk_pq_rle_open(&r, b.data, b.size, 3);
    CHECK(qk_pq_rle_read(&r, back, 100) && back[99] == 5);
    CHECK(!qk_pq_rle_read(&r, back, 1)); /* too few */
    qk_buf_free(&b);
}

static void test_list_starts(void)
{
    static const size_t sizes[] = {1, 2, 3, 7, 8, 64, 80};
    uint32_t back[700];
    for (size_t s = 0; s < 7; s++)
        for (size_t rows = 1; rows < 8; rows += 3) {
            qk_buf b = {0};
            qk_pq_encode_list_starts(&b, rows, sizes[s]);
            qk_pq_rle r;
            qk_pq_rle_open(&r, b.data, b.size, 1);
            CHECK(qk_pq_rle_read(&r, back, rows * sizes[s]));
            for (size_t i = 0; i < rows * sizes[s]; i++) CHECK(back[i] == (i % sizes[s] != 0));
            qk_buf_free(&b);
        }
}

/* Encodings.md's two examples, in blocks of 128 with 4 miniblocks. */
static void test_delta(void)
{
    static const uint8_t steps[] = {0x80, 1, 4, 5, 2, 2, 0, 0, 0, 0};
    static const uint8_t packed[] = {0x80, 1,    4,    8, 14, 3, 2, 0, 0,
                                     0,    0xC0, 0x3F, 0, 0,  0, 0, 0, 0};
    static const struct {
        const uint8_t *bytes;
        size_t n, count, used;
        int64_t values[8];
    } cases[] = {
        {steps, sizeof steps, 5, 10, {1, 2, 3, 4, 5}},
        {packed, sizeof packed, 8, 18, {7, 5, 3, 1, 2, 3, 4, 5}},
    };
    for (size_t i = 0; i < 2; i++) {
        int64_t back[8];
        qk_pq_delta d;
        CHECK_INT(qk_pq_delta_open(&d, cases[i].bytes, cases[i].n, 8, &test_error), QK_OK);
        CHECK_INT(qk_pq_delta_read(&d, back, cases[i].count, &test_error), QK_OK);
        CHECK(!memcmp(back, cases[i].values, cases[i].count * sizeof *back));
        CHECK_INT(d.at - cases[i].bytes, cases[i].used);
    }
}

/* ---- files ---- */

enum { D = 5 };

typedef struct sample {
    int32_t *small, *position;
    int64_t *wide;
    uint8_t *flag, *valid;
    float *vectors;
    char (*text)[24];
    qk_pq_text *strings;
} sample;

static sample make_sample(size_t n)
{
    sample s = {
        qk_alloc(n, 4), qk_alloc(n, 4),     qk_alloc(n, 8),  qk_alloc(n, 1),
        qk_alloc(n, 1), qk_alloc(n * D, 4), qk_alloc(n, 24), qk_alloc(n, sizeof(qk_pq_text))};
    for (size_t i = 0; i < n; i++) {
        s.small[i] = (int32_t)(i / 50) - 3;
        s.position[i] = (int32_t)(i * 7919 % 100003);
        s.wide[i] = (int64_t)(i * 0x9E3779B97F4A7C15u);
        s.flag[i] = i % 3 == 0;
        s.valid[i] = i % 5 != 1;
        snprintf(s.text[i], sizeof s.text[i], i % 2 ? "tok%zu" : "é%zu", n < 2000 ? i % 40 : i);
        s.strings[i].data = i % 11 ? s.text[i] : i % 2 ? "" : NULL;
        s.strings[i].size = s.strings[i].data ? strlen(s.strings[i].data) : 0;
        for (size_t k = 0; k < D; k++) s.vectors[i * D + k] = (float)i + (float)k / 8;
    }
    if (n > 3) s.vectors[D] = NAN;
    return s;
}

static void free_sample(sample *s)
{
    free(s->small), free(s->position), free(s->wide), free(s->flag), free(s->valid);
    free(s->vectors), free(s->text), free(s->strings);
}

enum { GROUP = 700 };

static void write_sample(const char *path, const sample *s, size_t n, size_t step, size_t group,
                         bool plain)
{
    const qk_pq_column columns[] = {
        {"small", QK_PQ_INT32, 0, false}, {"position", QK_PQ_INT32, 0, false},
        {"wide", QK_PQ_INT64, 0, false},  {"flag", QK_PQ_BOOL, 0, false},
        {"text", QK_PQ_STRING, 0, false}, {"vector", QK_PQ_FLOATS, D, plain},
    };
    qk_pq_writer *w;
    qk_error err = {0};
    CHECK_INT(qk_pq_create(&w, path, columns, 6, group, "test version 1", &err), QK_OK);
    for (size_t i = 0; i < n; i += step) {
        size_t m = n - i < step ? n - i : step;
        const qk_pq_values v[] = {{s->small + i, s->valid + i}, {s->position + i, NULL},
                                  {s->wide + i, NULL},          {s->flag + i, s->valid + i},
                                  {s->strings + i, NULL},       {s->vectors + i * D, NULL}};
        CHECK_INT(qk_pq_append(w, m, v, &err), QK_OK);
    }
    qk_pq_set_metadata(w, "key", "value");
    uint64_t bytes;
    CHECK_INT(qk_pq_commit(w, &bytes, &err), QK_OK);
    CHECK_INT(test_file_size(path), bytes);
}

/* Reads everything; "" when all went well. Values are compared when s is given. */
static const char *read_sample(const char *path, const sample *s, size_t n)
{
    static qk_error err;
    qk_pq_file *f;
    err = (qk_error){0};
    if (qk_pq_open(&f, path, &err) != QK_OK) return err.message;
    for (size_t leaf = 0; leaf < f->n_leaves && !err.message[0]; leaf++) {
        qk_pq_cursor *c;
        size_t row = 0;
        if (qk_pq_cursor_open(&c, f, leaf, &err) != QK_OK) break;
        bool list = f->leaves[leaf].max_rep > 0;
        for (;;) {
            qk_pq_batch b = {0};
            qk_status status =
                list ? qk_pq_next_floats(c, D, 311, &b, &err) : qk_pq_next(c, 311, &b, &err);
            if (status != QK_OK || !b.n) break;
            for (size_t i = 0; i < b.n && s && row < n; i++, row++) {
                const qk_pq_bytes *text = (const qk_pq_bytes *)b.values + i;
                bool ok = false;
                if (list) {
                    ok = b.valid[i] &&
                         !memcmp((const float *)b.values + i * D, s->vectors + row * D, D * 4);
                } else if (leaf == 4) {
                    const qk_pq_text *want = &s->strings[row];
                    ok = b.valid[i] == (want->data != NULL) &&
                         (!want->data || (text->size == want->size &&
                                          !memcmp(text->data, want->data, text->size)));
                } else {
                    bool valid = leaf == 0 || leaf == 3 ? s->valid[row] : true;
                    int64_t want = leaf == 0   ? s->small[row]
                                   : leaf == 1 ? s->position[row]
                                   : leaf == 2 ? s->wide[row]
                                               : s->flag[row];
                    int64_t got = leaf == 2   ? ((const int64_t *)b.values)[i]
                                  : leaf == 3 ? ((const uint8_t *)b.values)[i]
                                              : ((const int32_t *)b.values)[i];
                    ok = b.valid[i] == valid && (!valid || got == want);
                }
                CHECK_MSG(ok, "column %zu, row %zu of %zu", leaf, row, n);
                if (!ok) row = n;
            }
        }
        if (s && !err.message[0]) CHECK_INT(row, n);
        qk_pq_cursor_close(c);
    }
    qk_pq_close(f);
    return err.message;
}

/* Texts that differ behind a NUL only, with and without a dictionary. */
static void test_texts_with_nul(void)
{
    enum { N = 600 };
    sample s = make_sample(N);
    char path[] = "/tmp/qk_nul_XXXXXX";
    int fd = mkstemp(path);
    for (int distinct = 0; distinct < 2; distinct++) {
        for (size_t i = 0; i < N; i++) {
            size_t n = distinct ? i : i % 4;
            s.strings[i] = (qk_pq_text){s.text[i], n % 4 ? 4 : 1};
            snprintf(s.text[i], 24, "a%c%02zx", 0, n % 256);
            if (distinct) s.text[i][0] = (char)('a' + n / 256);
        }
        write_sample(path, &s, N, 50, GROUP, false);
        CHECK_STR(read_sample(path, &s, N), "");
        qk_pq_file *f;
        CHECK_INT(qk_pq_open(&f, path, &test_error), QK_OK);
        CHECK(f->groups[0].chunks[4].statistics.has_min_max);
        qk_pq_close(f);
    }
    close(fd);
    unlink(path);
    free_sample(&s);
}

static void test_writer_to_reader(void)
{
    static const size_t counts[] = {0, 1, 2, 699, 700, 701, 5000};
    for (size_t i = 0; i < 7; i++)
        for (int plain = 0; plain < 2; plain++) {
            char *a = at("a.parquet"), *b = at("b.parquet");
            sample s = make_sample(counts[i]);
            write_sample(a, &s, counts[i], 1 << 20, GROUP, plain);
            write_sample(b, &s, counts[i], 37, GROUP, plain);
            CHECK_STR(read_sample(a, &s, counts[i]), "");
            qk_buf x, y;
            CHECK_INT(qk_read_file(&x, a, 1 << 26, &test_error), QK_OK);
            CHECK_INT(qk_read_file(&y, b, 1 << 26, &test_error), QK_OK);
            CHECK_MSG(x.size == y.size && !memcmp(x.data, y.data, x.size),
                      "%zu rows: bytes depend on how they were appended", counts[i]);
            qk_buf_free(&x), qk_buf_free(&y);
            free_sample(&s);
            free(a), free(b);
        }
}

static void test_skip_and_metadata(void)
{
    char *path = at("a.parquet");
    sample s = make_sample(5000);
    write_sample(path, &s, 5000, 5000, GROUP, false);
    qk_pq_file *f;
    CHECK_INT(qk_pq_open(&f, path, &test_error), QK_OK);
    CHECK_STR(qk_pq_metadata(f, "key"), "value");
    CHECK(qk_pq_metadata(f, "ARROW:schema") != NULL);
    CHECK_STR(f->created_by, "test version 1");
    CHECK_INT(f->n_groups, 8);
    CHECK_INT(qk_pq_find(f, "vector.list.element"), 5);
    CHECK_INT(qk_pq_find(f, "nothing"), -1);
    for (int64_t skip = 0; skip <= 5000; skip += 389) {
        qk_pq_cursor *c;
        qk_pq_batch b;
        CHECK_INT(qk_pq_cursor_open(&c, f, 1, &test_error), QK_OK);
        CHECK_INT(qk_pq_skip(c, skip, &test_error), QK_OK);
        CHECK_INT(qk_pq_next(c, 1, &b, &test_error), QK_OK);
        CHECK_INT(b.n, skip < 5000);
        if (b.n) CHECK_INT(*(const int32_t *)b.values, s.position[skip]);
        qk_pq_cursor_close(c);
    }
    qk_pq_close(f);
    free_sample(&s);
    free(path);
}

/* Cut anywhere or with any byte changed: an error or rows, never a crash (the sanitizers watch). */
static void test_damaged_files(void)
{
    char *path = at("a.parquet"), *bad = at("bad.parquet");
    sample s = make_sample(1500);
    write_sample(path, &s, 1500, 1500, GROUP, false);
    qk_buf whole;
    CHECK_INT(qk_read_file(&whole, path, 1 << 26, &test_error), QK_OK);
    for (size_t n = 0; n < whole.size; n += 1 + n / 40) {
        CHECK_INT(qk_write_file(bad, whole.data, n, &test_error), QK_OK);
        const char *said = read_sample(bad, NULL, 0);
        CHECK_MSG(*said && strstr(said, "bad.parquet"), "%zu of %zu bytes: '%s'", n, whole.size,
                  said);
    }
    uint64_t state = 1;
    uint32_t footer;
    memcpy(&footer, whole.data + whole.size - 8, 4);
    size_t pages = whole.size - 8 - footer, in_pages = 0, noticed = 0;
    enum { FLIPS = 1500 };
    for (int i = 0; i < FLIPS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        /* half of them in the footer, where the structure is */
        size_t size = i % 2 ? whole.size : 1200 < whole.size ? 1200 : whole.size;
        size_t at = whole.size - 1 - (size_t)(state >> 33) % size;
        uint8_t old = whole.data[at];
        whole.data[at] ^= (uint8_t)(1 << (state >> 20 & 7));
        CHECK_INT(qk_write_file(bad, whole.data, whole.size, &test_error), QK_OK);
        bool failed = *read_sample(bad, NULL, 0) != 0;
        in_pages += at >= 4 && at < pages;
        noticed += at >= 4 && at < pages && failed;
        whole.data[at] = old;
    }
    /* Pages have checksums; only unread fields of their headers may change unnoticed. */
    CHECK_MSG(in_pages > 300 && noticed > in_pages * 95 / 100, "%zu of %zu were noticed", noticed,
              in_pages);
    qk_buf_free(&whole);
    free_sample(&s);
    free(path), free(bad);
}

/* ---- limits ---- */

static qk_status read_header(int type, int field, int32_t plain_bytes)
{
    qk_thrift_out t = {0};
    qk_thrift_begin(&t, 0);
    qk_thrift_i32(&t, 1, type);
    qk_thrift_i32(&t, 2, plain_bytes);
    qk_thrift_i32(&t, 3, 0);
    qk_thrift_begin(&t, field);
    qk_thrift_i32(&t, 1, 1);
    qk_thrift_i32(&t, 2, 0);
    qk_thrift_end(&t);
    qk_thrift_end(&t);
    qk_pq_page page;
    size_t header;
    qk_status s = qk_pq_page_read(&page, t.buf.data, t.buf.size, t.buf.size, &header, &test_error);
    qk_buf_free(&t.buf);
    return s;
}

static void test_page_limits(void)
{
    CHECK_INT(read_header(QK_PQ_PAGE_DATA, 5, QK_PQ_MAX_PAGE), QK_OK);
    CHECK_INT(read_header(QK_PQ_PAGE_DATA, 5, QK_PQ_MAX_PAGE + 1), QK_ERR_UNSUPPORTED);
    CHECK(strstr(test_error.message, "more than the limit of 1073741824"));
    CHECK_INT(read_header(QK_PQ_PAGE_DICTIONARY, 7, QK_PQ_MAX_DICTIONARY), QK_OK);
    CHECK_INT(read_header(QK_PQ_PAGE_DICTIONARY, 7, QK_PQ_MAX_DICTIONARY + 1), QK_ERR_UNSUPPORTED);
}

/* A sparse file whose last bytes claim a footer of 200 MB. */
static void test_footer_limit(void)
{
    char *path = at("bad.parquet");
    const uint32_t size = 200 << 20;
    FILE *f = fopen(path, "wbe");
    CHECK(f && fwrite("PAR1", 1, 4, f) == 4 && fseek(f, size, SEEK_CUR) == 0);
    CHECK(fwrite(&size, 1, 4, f) == 4 && fwrite("PAR1", 1, 4, f) == 4 && fclose(f) == 0);
    qk_pq_file *file;
    CHECK_INT(qk_pq_open(&file, path, &test_error), QK_ERR_UNSUPPORTED);
    CHECK(strstr(test_error.message, "bad.parquet: a footer of 209715200 bytes"));
    free(path);
}

/* Column chunks of one byte each would take 200 times the footer in memory. */
static void test_empty_chunks(void)
{
    enum { COLUMNS = 50 };
    char *path = at("bad.parquet");
    qk_thrift_out t = {0};
    qk_thrift_begin(&t, 0);
    qk_thrift_i32(&t, 1, 2);
    qk_thrift_list(&t, 2, QK_THRIFT_STRUCT, COLUMNS + 1);
    for (int i = 0; i <= COLUMNS; i++) {
        qk_thrift_begin(&t, 0);
        if (i) qk_thrift_i32(&t, 1, QK_PQ_T_INT32);
        qk_thrift_str(&t, 4, "x");
        if (!i) qk_thrift_i32(&t, 5, COLUMNS);
        qk_thrift_end(&t);
    }
    qk_thrift_i64(&t, 3, 1);
    qk_thrift_list(&t, 4, QK_THRIFT_STRUCT, 1);
    qk_thrift_begin(&t, 0);
    qk_thrift_list(&t, 1, QK_THRIFT_STRUCT, COLUMNS);
    for (int i = 0; i < COLUMNS; i++) qk_thrift_begin(&t, 0), qk_thrift_end(&t);
    qk_thrift_i64(&t, 3, 1);
    qk_thrift_end(&t);
    qk_thrift_end(&t);
    const uint32_t size = (uint32_t)t.buf.size;
    qk_buf file = {0};
    qk_buf_add_str(&file, "PAR1");
    qk_buf_add(&file, t.buf.data, t.buf.size);
    qk_buf_add(&file, &size, 4);
    qk_buf_add_str(&file, "PAR1");
    CHECK_INT(qk_write_file(path, file.data, file.size, &test_error), QK_OK);
    qk_pq_file *f;
    CHECK_INT(qk_pq_open(&f, path, &test_error), QK_ERR_FORMAT);
    CHECK_MSG(strstr(test_error.message, "row group 0 has 50 column chunks in"), "'%s'",
              test_error.message);
    qk_buf_free(&t.buf), qk_buf_free(&file);
    free(path);
}

/* For tests/interop: a file with every kind of column. */
static int write_file(const char *path, size_t rows, size_t group, bool plain)
{
    sample s = make_sample(rows);
    write_sample(path, &s, rows, rows ? rows : 1, group, plain);
    free_sample(&s);
    return test_summary("write");
}

int main(int argc, char **argv)
{
    if (argc == 6 && !strcmp(argv[1], "write"))
        return write_file(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
                          !strcmp(argv[5], "plain"));
    test_begin(argc, argv, "");
    snprintf(folder, sizeof folder, "/tmp/qk_parquet_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    RUN(test_thrift_bytes);
    RUN(test_hybrid);
    RUN(test_list_starts);
    RUN(test_delta);
    RUN(test_writer_to_reader);
    RUN(test_texts_with_nul);
    RUN(test_skip_and_metadata);
    RUN(test_damaged_files);
    RUN(test_page_limits);
    RUN(test_footer_limit);
    RUN(test_empty_chunks);
    static const char *const left[] = {"a.parquet", "b.parquet", "bad.parquet"};
    for (size_t i = 0; i < 3; i++) {
        char *path = at(left[i]);
        unlink(path);
        free(path);
    }
    rmdir(folder);
    return test_summary("parquet");
}
