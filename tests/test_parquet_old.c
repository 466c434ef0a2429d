/* formats/parquet_creator, and the files of old writers in tests/data/parquet/old, which
 * tests/interop/parquet_old_writers.py wrote byte by byte (and which it reads with pyarrow). */
#include "tests/test.h"

#include <unistd.h>

#include "formats/parquet_read.h"

enum { ROWS = 6 };

static const char *const texts[ROWS] = {"alpha one",   "beta two", "alpha one",
                                        "gamma three", "beta two", "alpha one"};

/* ---- created_by ---- */

static void check_origin(const char *created_by, const char *program, int major, int minor,
                         int patch)
{
    qk_pq_creator o = qk_pq_creator_of(created_by);
    const char *shown = created_by ? created_by : "(null)";
    CHECK_MSG(o.length == strlen(program) && !memcmp(o.program, program, o.length),
              "%s: program '%.*s'", shown, (int)o.length, o.program);
    CHECK_MSG(o.version[0] == major && o.version[1] == minor && o.version[2] == patch,
              "%s: version %d.%d.%d", shown, o.version[0], o.version[1], o.version[2]);
}

static void test_origin(void)
{
    check_origin("parquet-mr version 1.2.8 (build ${buildNumber})", "parquet-mr", 1, 2, 8);
    check_origin("parquet-mr version 1.10.0", "parquet-mr", 1, 10, 0);
    check_origin("parquet-cpp version 1.5.1-SNAPSHOT", "parquet-cpp", 1, 5, 1);
    check_origin("parquet-cpp-arrow version 20.0.0", "parquet-cpp-arrow", 20, 0, 0);
    check_origin("parquet-mr version 1.6.0rc7", "parquet-mr", 1, 6, 0);
    check_origin("impala version 2.0", "impala", 2, 0, 0);
    check_origin("parquet-mr version 01.02.08", "parquet-mr", 1, 2, 8);
    check_origin("parquet-mr", "parquet-mr", 0, 0, 0);
    check_origin("parquet-mr version", "parquet-mr version", 0, 0, 0);
    check_origin("parquet-mr version ", "parquet-mr", 0, 0, 0);
    check_origin("parquet-mr version (build x)", "parquet-mr", 0, 0, 0);
    check_origin("parquet-mr (build 1.2.8)", "parquet-mr (build 1.2.8)", 0, 0, 0);
    check_origin("  parquet-mr   version  1.2.8", "parquet-mr", 1, 2, 8);
    check_origin("parquet-mr version v1.2.8", "parquet-mr", 0, 0, 0);
    check_origin("parquet-mr version 1..8", "parquet-mr", 1, 0, 0);
    check_origin("parquet-mr version 1.-2.8", "parquet-mr", 1, 0, 0);
    check_origin("parquet-mr version 99999999999999999999.1.2", "parquet-mr", 1000000, 1, 2);
    check_origin("a version 1.2.3 version 4.5.6", "a", 1, 2, 3);
    check_origin(" version 1.2.3", "", 1, 2, 3);
    check_origin("   ", "", 0, 0, 0);
    check_origin("", "", 0, 0, 0);
    check_origin(NULL, "", 0, 0, 0);
}

static bool before(const char *created_by, int major, int minor, int patch)
{
    qk_pq_creator o = qk_pq_creator_of(created_by);
    return qk_pq_creator_before(&o, "parquet-mr", major, minor, patch);
}

static void test_before(void)
{
    CHECK(before("parquet-mr version 1.2.8", 1, 2, 9) && before("parquet-mr", 1, 2, 9));
    CHECK(before("parquet-mr version 1.1.99", 1, 2, 9) &&
          before("parquet-mr version 0.9", 1, 2, 9));
    CHECK(!before("parquet-mr version 1.2.9", 1, 2, 9) &&
          !before("parquet-mr version 1.10", 1, 2, 9));
    CHECK(!before("parquet-mr version 2.0.0", 1, 2, 9) &&
          !before("Parquet-mr version 1.2.8", 1, 2, 9));
    CHECK(!before("parquet-m version 1.2.8", 1, 2, 9) && !before("parquet-mrs version 1", 1, 2, 9));
    CHECK(!before("", 1, 2, 9) && !before(NULL, 1, 2, 9));
}

/* ---- whose fault it is ---- */

static void test_blame(void)
{
    qk_error err = {0};
    qk_fail(&err, QK_ERR_FORMAT, NULL, "a");
    CHECK_INT(qk_pq_blame("someone version 1", false, &err), QK_ERR_FORMAT);
    CHECK(strstr(err.hint, "written by 'someone version 1'; ") == err.hint);
    CHECK(strstr(err.hint, "pyarrow.parquet") && !strstr(err.hint, "fetch it again"));
    qk_fail(&err, QK_ERR_UNSUPPORTED, NULL, "a");
    qk_pq_blame(NULL, true, &err);
    CHECK(strstr(err.hint, "written by a program that gives no name; ") == err.hint);
    qk_fail(&err, QK_ERR_UNSUPPORTED, "do this", "a");
    qk_pq_blame("x", true, &err);
    CHECK_STR(err.hint, "do this");
    qk_fail(&err, QK_ERR_FORMAT, qk_pq_damaged, "a");
    qk_pq_blame("x", false, &err);
    CHECK_STR(err.hint, "the file is damaged; fetch it again");
    qk_pq_blame("parquet-cpp version 1", true, &err);
    CHECK(strstr(err.hint, qk_pq_damaged) == err.hint &&
          strstr(err.hint, "'parquet-cpp version 1' wrote it so"));
    qk_fail(&err, QK_ERR_IO, NULL, "a");
    CHECK_INT(qk_pq_blame("x", true, &err), QK_ERR_IO);
    CHECK_STR(err.hint, "");
    char name[2000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    qk_fail(&err, QK_ERR_FORMAT, NULL, "a");
    qk_pq_blame(name, false, &err);
    CHECK(strstr(err.hint, "nnn ...'; ") && strstr(err.hint, "NEW.parquet"));
}

/* ---- files ---- */

/* Reads both columns from row `skip` on. */
static void check_rows(const qk_pq_file *f, size_t most, int skip)
{
    qk_error err = {0};
    for (int column = 0; column < 2; column++) {
        qk_pq_cursor *c;
        qk_pq_batch b = {.n = 1};
        int at = qk_pq_find(f, column ? "id" : "text"), row = skip;
        bool open = at >= 0 && qk_pq_cursor_open(&c, f, (size_t)at, &err) == QK_OK;
        CHECK_MSG(open, "%s: %s", f->path, err.message);
        if (!open) continue;
        CHECK_INT(qk_pq_skip(c, skip, &err), QK_OK);
        while (b.n) {
            CHECK_MSG(qk_pq_next(c, most, &b, &err) == QK_OK, "%s", err.message);
            for (size_t i = 0; i < b.n && row < ROWS; i++, row++) {
                const qk_pq_bytes *s = (const qk_pq_bytes *)b.values + i;
                bool right =
                    column ? ((const int64_t *)b.values)[i] == 10 * (row + 1)
                           : s->size == strlen(texts[row]) && !memcmp(s->data, texts[row], s->size);
                CHECK_MSG(b.valid[i] && right, "%s: row %d of column %d", f->path, row, column);
            }
        }
        CHECK_INT(row, ROWS);
        qk_pq_cursor_close(c);
    }
}

static void test_files(void)
{
    static const char *const names[] = {
        "v2_flag_false", "chunk_size_short", "metadata_not_text", "group_without_fields",
        "footer_rows_0", "file_path_empty",  "old_column_name"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[100];
        qk_pq_file *f;
        qk_error err = {0};
        snprintf(path, sizeof path, "tests/data/parquet/old/%s.parquet", names[i]);
        CHECK_MSG(qk_pq_open(&f, path, &err) == QK_OK, "%s", err.message);
        if (!f) continue;
        CHECK_INT(f->rows, ROWS);
        CHECK_INT(f->n_leaves, 2);
        for (size_t most = 1; most < 8; most += 3)
            for (int skip = 0; skip <= ROWS; skip++) check_rows(f, most, skip);
        qk_pq_close(f);
    }
}

/* Strings among the values of other types stay readable, the others count as absent. */
static void test_metadata(void)
{
    qk_pq_file *f;
    qk_error err = {0};
    CHECK_INT(qk_pq_open(&f, "tests/data/parquet/old/metadata_not_text.parquet", &err), QK_OK);
    CHECK_STR(qk_pq_metadata(f, "first"), "a string");
    CHECK(qk_pq_metadata(f, "n") == NULL && f->n_metadata == 7);
    qk_pq_close(f);
}

/* A file that names itself in its chunks is read under that name only. */
static void test_own_name(void)
{
    qk_buf file = {0};
    qk_pq_file *f;
    qk_pq_cursor *c;
    qk_error err = {0};
    char folder[] = "/tmp/qk_test_old_XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    CHECK_INT(qk_read_file(&file, "tests/data/parquet/old/old_column_name.parquet", 10000, &err),
              QK_OK);
    snprintf(path, sizeof path, "%s/moved.parquet", folder);
    FILE *out = fopen(path, "wb");
    CHECK(out && fwrite(file.data, 1, file.size, out) == file.size);
    if (out) fclose(out);
    CHECK_INT(qk_pq_open(&f, path, &err), QK_OK);
    static const char *const own[] = {"moved.parquet", "./moved.parquet", "././moved.parquet", ""};
    static const char *const other[] = {"other.parquet", "oved.parquet", "x/moved.parquet",
                                        "/moved.parquet", "../moved.parquet"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        f->groups[0].chunks[0].file = own[i];
        CHECK_MSG(qk_pq_cursor_open(&c, f, 0, &err) == QK_OK, "%s: %s", own[i], err.message);
        qk_pq_cursor_close(c);
    }
    f->groups[0].chunks[0].file = path;
    CHECK_INT(qk_pq_cursor_open(&c, f, 0, &err), QK_OK);
    qk_pq_cursor_close(c);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        f->groups[0].chunks[0].file = other[i];
        CHECK_MSG(qk_pq_cursor_open(&c, f, 0, &err) == QK_ERR_UNSUPPORTED, "%s", other[i]);
        CHECK_MSG(strstr(err.message, "is in another file"), "%s", err.message);
    }
    qk_pq_close(f);
    qk_buf_free(&file);
    remove(path);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_origin);
    RUN(test_before);
    RUN(test_blame);
    RUN(test_files);
    RUN(test_metadata);
    RUN(test_own_name);
    return test_summary("parquet old");
}
