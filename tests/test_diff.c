/* engine/tools/diff: two folders of head files, row for row: vectors, log-sum-exps, token ids, buckets,
 * rows and files on one side. tests/interop/load.py calls the command. */
#include "tests/test.h"

#include <math.h>
#include <sys/stat.h>

#include "engine/output/head_file.h"
#include "engine/tools/diff.h"

enum { D = 4, ROWS = 100 };

static char folder[] = "/tmp/qk_diff_XXXXXX";

typedef struct table {
    int32_t bucket[ROWS], id[ROWS], position[ROWS], window[ROWS], token[ROWS];
    float vectors[ROWS * D], lse[ROWS];
    uint8_t has_lse[ROWS];
    bool token_ids, lses; /* columns that are there */
    int layer;            /* of the column, which is there unless it is 0 */
    const char *piece;    /* the last row's token_str; or NULL: no column */
} table;

static table make_table(void)
{
    table t = {.token_ids = true, .lses = true};
    for (int i = 0; i < ROWS; i++) {
        t.bucket[i] = i / 10, t.id[i] = i % 7, t.position[i] = i, t.token[i] = 1000 + i;
        for (int k = 0; k < D; k++) t.vectors[i * D + k] = 1;
        t.lse[i] = (float)i, t.has_lse[i] = 1;
    }
    return t;
}

/* Rows first .. first + n - 1 as side/name/data.parquet. */
static void write_rows(const char *side, const char *name, const table *t, int first, int n)
{
    char *head = qk_strf("%s/%s/%s", folder, side, name), *path = qk_strf("%s/data.parquet", head);
    CHECK_INT(qk_make_dirs(head, &test_error), QK_OK);
    qk_head_file_writer *w;
    const qk_head_file_format format = {.d = D,
                                        .token_ids = t->token_ids,
                                        .lse = t->lses,
                                        .token_strings = t->piece,
                                        .head_columns = t->layer,
                                        .layer = t->layer,
                                        .kind = QK_KIND_Q};
    qk_pq_text pieces[ROWS] = {{NULL, 0}};
    if (t->piece) pieces[first + n - 1] = (qk_pq_text){t->piece, strlen(t->piece)};
    const qk_file_rows rows = {.n = (size_t)n,
                               .bucket = t->bucket + first,
                               .example_id = t->id + first,
                               .position = t->position + first,
                               .vectors = t->vectors + first * D,
                               .window = t->window + first,
                               .token_str = t->piece ? pieces + first : NULL,
                               .token_id = t->token + first,
                               .lse = t->lse + first,
                               .has_lse = t->has_lse + first};
    CHECK_INT(qk_head_file_create(&w, path, &format, &test_error), QK_OK);
    CHECK_INT(qk_head_file_append(w, &rows, &test_error), QK_OK);
    CHECK_INT(qk_head_file_commit(w, NULL, NULL, &test_error), QK_OK);
    free(head), free(path);
}

/* The only file's difference between a and b. */
static qk_file_diff diff_of(const table *a, const table *b)
{
    qk_diff d;
    char *left = qk_path_join(folder, "a"), *right = qk_path_join(folder, "b");
    write_rows("a", "l00h00q", a, 0, ROWS);
    write_rows("b", "l00h00q", b, 0, ROWS);
    CHECK_INT(qk_diff_make(&d, left, right, &test_error), QK_OK);
    CHECK_INT(d.count, 1);
    qk_file_diff f = d.total;
    CHECK(f.both == ROWS && !f.only_a && !f.only_b && !f.buckets);
    CHECK(d.files[0].token_ids == f.token_ids &&
          !memcmp(&d.files[0].lse_rms, &f.lse_rms, sizeof f.lse_rms));
    qk_diff_free(&d);
    free(left), free(right);
    return f;
}

static bool is_same(const qk_file_diff *f)
{
    return f->rms == 0 && f->largest == 0 && f->lse_rms == 0 && f->lse_largest == 0 &&
           !f->token_ids && !f->labels;
}

static void test_columns(void)
{
    table a = make_table(), b = make_table();
    qk_file_diff f = diff_of(&a, &b);
    CHECK(is_same(&f));
    b.lse[40] += 0.5F, b.lse[60] -= 0.25F, b.token[3] = 7, b.token[4] = 8;
    f = diff_of(&a, &b);
    CHECK(f.rms == 0 && f.largest == 0 && f.lse_largest == 0.5 && f.token_ids == 2);
    CHECK_CLOSE(f.lse_rms, sqrt((0.25 + 0.0625) / ROWS), 1e-12);
    /* Nobody knows: null, and a column that is not there. */
    b.has_lse[40] = b.has_lse[60] = 0, b.token[3] = b.token[4] = -1;
    f = diff_of(&a, &b);
    CHECK(is_same(&f));
    b = make_table(), b.lse[1] = 17, b.token[1] = 17, b.token_ids = b.lses = false;
    f = diff_of(&a, &b);
    CHECK(is_same(&f));
    b = make_table(), b.vectors[8] += 1;
    f = diff_of(&a, &b);
    CHECK(f.largest == 1 && f.lse_rms == 0 && !f.token_ids);
    CHECK_CLOSE(f.rms, sqrt(1.0 / (ROWS * D)), 1e-12);
}

static void test_labels(void)
{
    table a = make_table(), b = make_table();
    a.window[7] = b.window[7] = 16, a.layer = b.layer = 3, a.piece = b.piece = "sea";
    qk_file_diff f = diff_of(&a, &b);
    CHECK(is_same(&f));
    b.window[8] = 16, b.window[7] = 0;
    f = diff_of(&a, &b);
    CHECK_INT(f.labels, 2);
    b = a, b.piece = "see";
    f = diff_of(&a, &b);
    CHECK_INT(f.labels, 1);
    b = a, b.layer = 4;
    f = diff_of(&a, &b);
    CHECK_INT(f.labels, ROWS);
    CHECK(f.rms == 0 && !f.token_ids);
    b = a, b.layer = 0, b.piece = NULL; /* nobody knows */
    f = diff_of(&a, &b);
    CHECK(is_same(&f));
}

/* Rows that capture.allow_nonfinite keeps are equal where their bits are, and differ from numbers. */
static void test_not_finite(void)
{
    table a = make_table(), b;
    a.vectors[5] = NAN, a.vectors[6] = INFINITY, a.lse[2] = NAN, a.lse[3] = -INFINITY;
    b = a;
    qk_file_diff f = diff_of(&a, &b);
    CHECK(is_same(&f));
    b.vectors[5] = 1;
    f = diff_of(&a, &b);
    CHECK(isnan(f.rms) && isnan(f.largest) && f.lse_rms == 0);
    b.vectors[5] = NAN, b.lse[2] = 2;
    f = diff_of(&a, &b);
    CHECK(f.rms == 0 && isnan(f.lse_rms) && isnan(f.lse_largest));
    b.lse[2] = NAN, b.lse[3] = 3;
    f = diff_of(&a, &b);
    CHECK(f.rms == 0 && !(f.lse_rms <= 1e30) && !(f.lse_largest <= 1e30));
}

static void test_one_side(void)
{
    table a = make_table(), b = make_table();
    b.bucket[50] = 9;
    char *left = qk_path_join(folder, "c"), *right = qk_path_join(folder, "d");
    write_rows("c", "l00h00q", &a, 0, 60);
    write_rows("c", "l00h01q", &a, 0, 5);
    write_rows("d", "l00h00q", &b, 20, 80);
    qk_diff d;
    CHECK_INT(qk_diff_make(&d, left, right, &test_error), QK_OK);
    CHECK(d.count == 2 && d.files[0].in_a && d.files[0].in_b && !d.files[1].in_b);
    CHECK(d.total.both == 40 && d.total.only_a == 25 && d.total.only_b == 40);
    CHECK(d.total.buckets == 1 && d.total.rms == 0 && d.total.lse_rms == 0);
    qk_diff_free(&d);
    free(left), free(right);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    if (!mkdtemp(folder)) return 1;
    RUN(test_columns);
    RUN(test_labels);
    RUN(test_not_finite);
    RUN(test_one_side);
    CHECK_INT(qk_remove_tree(folder, &test_error), QK_OK);
    return test_summary("diff");
}
