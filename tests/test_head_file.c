/* engine/output/head_file: every column comes back as it was written, with and without token_str,
 * whatever the blocks were; files with other columns are refused by name. tests/interop/load.py and
 * readers.py read head files with other programs. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/output/head_file.h"
#include "formats/parquet_read.h"

enum { D = 4, ROWS = 3000 };

static char folder[] = "/tmp/qk_head_file_XXXXXX";
static char *path;

static int32_t bucket_of(size_t i)
{
    return (int32_t)(i / 100);
}
static int32_t id_of(size_t i)
{
    return i % 2 ? -(int32_t)i : INT32_MAX - (int32_t)i;
}
static int32_t window_of(size_t i)
{
    return i % 3 ? 4096 : 0; /* null */
}
static float number_of(size_t i, size_t k)
{
    return (float)i + (float)k / 8;
}
static qk_pq_text token_of(size_t i)
{
    static const char *const tokens[] = {"a", "", "\xC4\xA0the", "longer than the others"};
    if (i % 5 == 4) return (qk_pq_text){NULL, 0};
    const char *text = tokens[i % 5];
    return (qk_pq_text){text, strlen(text)};
}

/* Rows from..from + n; nan: the row that holds one. */
static void append(qk_head_file_writer *w, size_t from, size_t n, bool tokens, size_t nan)
{
    int32_t *ints = qk_alloc(4 * n, sizeof *ints);
    float *vectors = qk_alloc(n * D, sizeof *vectors);
    qk_pq_text *texts = qk_alloc(n, sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        ints[i] = bucket_of(from + i), ints[n + i] = id_of(from + i);
        ints[2 * n + i] = (int32_t)(from + i), ints[3 * n + i] = window_of(from + i);
        for (size_t k = 0; k < D; k++) vectors[i * D + k] = number_of(from + i, k);
        if (from + i == nan) vectors[i * D] = NAN;
        texts[i] = token_of(from + i);
    }
    qk_file_rows rows = {.n = n,
                         .bucket = ints,
                         .example_id = ints + n,
                         .position = ints + 2 * n,
                         .vectors = vectors,
                         .window = ints + 3 * n,
                         .token_str = tokens ? texts : NULL};
    CHECK_INT(qk_head_file_append(w, &rows, &test_error), QK_OK);
    free(ints), free(vectors), free(texts);
}

static uint64_t write_file(bool tokens, size_t step, size_t nan, const char *shared_ids)
{
    qk_head_file_writer *w;
    const qk_head_file_format format = {.d = D, .token_strings = tokens};
    CHECK_INT(qk_head_file_create(&w, path, &format, &test_error), QK_OK);
    for (size_t i = 0; i < ROWS; i += step)
        append(w, i, i + step < ROWS ? step : ROWS - i, tokens, nan);
    uint64_t bytes;
    CHECK_INT(qk_head_file_commit(w, shared_ids, &bytes, &test_error), QK_OK);
    CHECK_INT(test_file_size(path), bytes);
    return bytes;
}

static bool is_row(const qk_file_rows *r, size_t at, size_t i, bool tokens)
{
    bool same = r->bucket[at] == bucket_of(i) && r->example_id[at] == id_of(i) &&
                r->position[at] == (int32_t)i && r->window[at] == window_of(i);
    for (size_t k = 0; k < D; k++) same = same && r->vectors[at * D + k] == number_of(i, k);
    if (!tokens) return same && !r->token_str;
    qk_pq_text want = token_of(i), got = r->token_str[at];
    return same && !got.data == !want.data && got.size == want.size &&
           (!want.size || !memcmp(got.data, want.data, want.size));
}

static void check_read(bool tokens)
{
    qk_head_file_reader *r;
    CHECK_INT(qk_head_file_open(&r, path, D, &test_error), QK_OK);
    qk_head_file_format columns = {0};
    qk_head_file_add_columns(r, &columns);
    CHECK(columns.token_strings == tokens && !columns.token_ids && !columns.lse);
    CHECK(qk_head_file_head_dim(r) == D && qk_head_file_count(r) == ROWS);
    size_t n = 0, wrong = 0;
    for (;;) {
        qk_file_rows rows;
        CHECK_INT(qk_head_file_next(r, &rows, &test_error), QK_OK);
        if (!rows.n) break;
        for (size_t i = 0; i < rows.n; i++) wrong += !is_row(&rows, i, n + i, tokens);
        n += rows.n;
    }
    CHECK_INT(n, ROWS);
    CHECK_INT(wrong, 0);
    qk_head_file_close(r);
}

/* The reader gives 0 for null; other programs see the difference. */
static size_t nulls_of(const char *column)
{
    qk_pq_file *f;
    qk_pq_cursor *c;
    size_t nulls = 0;
    CHECK_INT(qk_pq_open(&f, path, &test_error), QK_OK);
    CHECK_INT(qk_pq_cursor_open(&c, f, (size_t)qk_pq_find(f, column), &test_error), QK_OK);
    for (qk_pq_batch b; qk_pq_next(c, ROWS, &b, &test_error) == QK_OK && b.n;)
        for (size_t i = 0; i < b.n; i++) nulls += !b.valid[i];
    qk_pq_cursor_close(c);
    qk_pq_close(f);
    return nulls;
}

static void test_nulls(void)
{
    write_file(true, ROWS, ROWS, NULL);
    CHECK_INT(nulls_of("sliding_window"), ROWS / 3);
    CHECK_INT(nulls_of("token_str"), ROWS / 5);
    CHECK_INT(nulls_of("position"), 0);
}

static void test_round_trip(void)
{
    for (int tokens = 0; tokens < 2; tokens++) {
        uint64_t bytes = write_file(tokens, ROWS, ROWS, NULL);
        check_read(tokens);
        CHECK_INT(write_file(tokens, 77, ROWS, NULL), bytes);
        check_read(tokens);
    }
}

static void test_metadata(void)
{
    qk_head_file_reader *r;
    write_file(false, 1000, 12, "[[3, 2, \"7\"]]");
    CHECK_INT(qk_head_file_open(&r, path, 0, &test_error), QK_OK);
    CHECK_INT(qk_head_file_nonfinite(r), 1);
    CHECK_STR(qk_head_file_shared_ids(r), "[[3, 2, \"7\"]]");
    qk_head_file_close(r);
    write_file(false, 1000, ROWS, NULL);
    CHECK_INT(qk_head_file_open(&r, path, 0, &test_error), QK_OK);
    CHECK(qk_head_file_nonfinite(r) == 0 && !qk_head_file_shared_ids(r));
    qk_head_file_close(r);
}

/* Of rows whose vector, log-sum-exp or both are not finite each counts once; one that is null does not. */
static void test_nonfinite(void)
{
    enum { N = 6 };
    const int32_t zeros[N] = {0};
    float vectors[N * D] = {0}, lse[N] = {0, NAN, 0, -INFINITY, NAN, 1};
    const uint8_t has[N] = {1, 1, 1, 1, 0, 1};
    vectors[2 * D + 1] = INFINITY, vectors[3 * D] = NAN;
    for (int known = 0; known < 3; known++) {
        qk_head_file_writer *w;
        const qk_head_file_format format = {.d = D, .lse = known > 0};
        const qk_file_rows rows = {.n = N,
                                   .bucket = zeros,
                                   .example_id = zeros,
                                   .position = zeros,
                                   .vectors = vectors,
                                   .window = zeros,
                                   .lse = known ? lse : NULL,
                                   .has_lse = known == 1 ? has : NULL};
        CHECK_INT(qk_head_file_create(&w, path, &format, &test_error), QK_OK);
        CHECK_INT(qk_head_file_append(w, &rows, &test_error), QK_OK);
        CHECK_INT(qk_head_file_nonfinite_written(w), 2 + known);
        CHECK_INT(qk_head_file_commit(w, NULL, NULL, &test_error), QK_OK);
    }
}

static void test_no_rows(void)
{
    qk_head_file_writer *w;
    qk_head_file_reader *r;
    qk_file_rows rows;
    CHECK_INT(qk_head_file_create(
                  &w, path,
                  &(qk_head_file_format){.d = D, .token_strings = true, .plain_vectors = true},
                  &test_error),
              QK_OK);
    CHECK_INT(qk_head_file_commit(w, NULL, NULL, &test_error), QK_OK);
    CHECK_INT(qk_head_file_open(&r, path, D, &test_error), QK_OK);
    CHECK(qk_head_file_next(r, &rows, &test_error) == QK_OK && !rows.n);
    qk_head_file_close(r);
}

static void test_refused(void)
{
    qk_head_file_reader *r;
    write_file(false, ROWS, ROWS, NULL);
    CHECK_INT(qk_head_file_open(&r, path, D + 1, &test_error), QK_ERR_CONFIG);
    CHECK(strstr(test_error.message, "vectors of 4 numbers, this model has 5"));
    const qk_pq_column columns[] = {{"bucket", QK_PQ_INT32, 0, false},
                                    {"example_id", QK_PQ_STRING, 0, false}};
    qk_pq_writer *w;
    CHECK_INT(qk_pq_create(&w, path, columns, 2, 10, "test", &test_error), QK_OK);
    CHECK_INT(qk_pq_commit(w, NULL, &test_error), QK_OK);
    CHECK_INT(qk_head_file_open(&r, path, D, &test_error), QK_ERR_FORMAT);
    CHECK(strstr(test_error.message, "no column 'example_id' of the right type"));
    static const qk_pq_column odd[] = {{"lse", QK_PQ_INT32, 0, false},
                                       {"lse", QK_PQ_FLOATS, D, false},
                                       {"token_id", QK_PQ_FLOAT, 0, false}};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        const qk_pq_column some[] = {{"bucket", QK_PQ_INT32, 0, false},
                                     {"example_id", QK_PQ_INT32, 0, false},
                                     {"position", QK_PQ_INT32, 0, false},
                                     {"vector", QK_PQ_FLOATS, D, false},
                                     odd[i]};
        CHECK_INT(qk_pq_create(&w, path, some, 5, 10, "test", &test_error), QK_OK);
        CHECK_INT(qk_pq_commit(w, NULL, &test_error), QK_OK);
        qk_status s = qk_head_file_open(&r, path, D, &test_error);
        if (i == 1) { /* a list is no column of that name */
            CHECK_INT(s, QK_OK);
            qk_head_file_close(r);
            continue;
        }
        CHECK_INT(s, QK_ERR_FORMAT);
        CHECK(strstr(test_error.message, odd[i].name));
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    path = qk_path_join(folder, "data.parquet");
    RUN(test_round_trip);
    RUN(test_nulls);
    RUN(test_metadata);
    RUN(test_nonfinite);
    RUN(test_no_rows);
    RUN(test_refused);
    unlink(path);
    rmdir(folder);
    free(path);
    return test_summary("head file");
}
