/* engine/dataset on files that come when they are needed: which are asked for, when, in which
 * order. A trace has N0 for a file that is needed, S1 for one that will be soon, + for the reason
 * of a whole split, and a dot for each row. */
#include "tests/test.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/dataset/dataset.h"

enum { SPLITS = 2, FILES = 3 }; /* of each split; names[] and the trace number them through */

static char folder[] = "/tmp/qk_test_place_XXXXXX";
static const char parquet[] = "tests/data/capture/case1_llama_log_uniform/dataset/train.parquet";

typedef struct remote {
    const char *ending;
    const char *bytes; /* of every file */
    size_t n;
    char root[300];
    qk_names names;
    qk_buf trace;
    int fails; /* this file cannot be had; -1: none */
} remote;

static int number_of(const remote *r, const char *path)
{
    for (size_t i = 0; i < r->names.count; i++)
        if (!strcmp(path + strlen(r->root) + 1, r->names.items[i])) return (int)i;
    return -1;
}

static qk_status look_for(void *context, const char *path, bool *has, qk_error *err)
{
    (void)context;
    return qk_has_file(path, has, err);
}

static qk_status need(void *context, const qk_names *paths, const char *reason, qk_error *err)
{
    remote *r = context;
    if (reason) qk_buf_add_byte(&r->trace, '+');
    for (size_t i = 0; i < paths->count; i++) {
        int number = number_of(r, paths->items[i]);
        bool has = test_has_file(paths->items[i]);
        if (!has) qk_buf_addf(&r->trace, "N%d", number);
        if (number == r->fails) return qk_fail(err, QK_ERR_RESUME, NULL, "no network");
        if (!has) QK_TRY(qk_write_file(paths->items[i], r->bytes, r->n, err));
    }
    return QK_OK;
}

static void soon(void *context, const char *path)
{
    remote *r = context;
    if (!test_has_file(path)) qk_buf_addf(&r->trace, "S%d", number_of(r, path));
}

/* test-0 .. test-2, train-0 .. train-2: in byte order, test is 0 to 2 and train 3 to 5. */
static void make_remote(remote *r, const char *ending, const char *bytes, size_t n)
{
    static int count;
    static const char *const splits[SPLITS] = {"test", "train"};
    *r = (remote){.ending = ending, .bytes = bytes, .n = n, .fails = -1};
    snprintf(r->root, sizeof r->root, "%s/%d", folder, count++);
    CHECK_INT(mkdir(r->root, 0777), 0);
    for (int i = 0; i < SPLITS * FILES; i++) {
        char *name = qk_strf("%s-%d%s", splits[i / FILES], i % FILES, ending);
        qk_names_add(&r->names, name);
        free(name);
    }
}

static void read_rows(remote *r, const qk_config *c, qk_error *err)
{
    qk_dataset_remote remote = {r->root, &r->names, r, look_for, need, soon};
    qk_dataset *d;
    bool more = true;
    qk_status s = qk_dataset_open_in(&d, c, &remote, err);
    CHECK_INT(s, QK_OK);
    CHECK_INT(r->trace.size, 0); /* names are enough to open it */
    CHECK_INT(qk_dataset_rows(d), -1);
    while (s == QK_OK && more) {
        qk_example e;
        s = qk_dataset_next(d, &e, &more, err);
        if (s == QK_OK && more) qk_buf_add_byte(&r->trace, '.');
    }
    if (s != QK_OK) qk_buf_add_byte(&r->trace, '!');
    qk_dataset_close(d);
}

/* Of a fresh remote of this format. fails: see remote. */
static void check_trace(const char *ending, const char *bytes, size_t n, const char *split,
                        int64_t most, int fails, const char *expected)
{
    qk_config c = {
        .dataset = {.path = "me/it", .split = split, .text_column = "text", .max_samples = most}};
    qk_error err = {0};
    remote r;
    make_remote(&r, ending, bytes, n);
    r.fails = fails;
    read_rows(&r, &c, &err);
    CHECK_MSG(!strcmp(qk_buf_str(&r.trace), expected), "%s %s %lld: got %s, expected %s (%s)",
              ending, split, (long long)most, qk_buf_str(&r.trace), expected, err.message);
    qk_names_free(&r.names);
    qk_buf_free(&r.trace);
}

typedef struct expectation {
    const char *split;
    int64_t most;
    const char *trace;
} expectation;

/* Three rows in each file of these and the next test; how many is known when it has been read. */
static void test_texts(void)
{
    static const expectation cases[] = {
        {"train", -1, "N3S4...N4S5...N5..."},
        {"test+train", -1, "N0S1...N1S2...N2S3...N3S4...N4S5...N5..."},
        {"train", 2, "N3.."},
        {"train", 3, "N3..."},
        {"train", 4, "N3...N4."},
        {"train[1:5]", -1, "N3..N4.."},
        {"train[4:]", -1, "N3S4N4S5..N5..."},
        {"train[:3]", -1, "N3..."},
        {"train[-2:]", -1, "+N3N4N5.."},
        {"test[:50%]+train[:1]", -1, "+N0N1N2....N3."},
        {"test[:1]+test[3:4]", -1, "N0.N1."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_trace(".txt", "a\nb\nc\n", 6, cases[i].split, cases[i].most, -1, cases[i].trace);
}

/* Parquet says how many rows it has: what is certain is fetched ahead, up to a limit, too. */
static void test_parquet(void)
{
    static const expectation cases[] = {
        {"train", -1, "N3S4...N4S5...N5..."},
        {"train", 2, "N3.."},
        {"train", 3, "N3..."},
        {"train", 4, "N3S4...N4."},
        {"train[1:5]", -1, "N3S4..N4.."},
        {"train[1:5]", 2, "N3.."},
        {"train[1:]", 3, "N3S4..N4."},
        {"train[4:]", -1, "N3S4N4S5..N5..."},
        {"train[:3]", -1, "N3..."},
        {"test[:50%]+train[:1]", -1, "+N0N1N2...S3.N3."},
        {"test[:1]+test[3:4]", -1, "N0.S1N1."},
        {"test+train", 10, "N0S1...N1S2...N2S3...N3."},
        {"test+train", 9, "N0S1...N1S2...N2..."},
    };
    qk_buf bytes = {0};
    CHECK_INT(qk_read_file(&bytes, parquet, 1 << 20, &test_error), QK_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_trace(".parquet", (const char *)bytes.data, bytes.size, cases[i].split, cases[i].most,
                    -1, cases[i].trace);
    qk_buf_free(&bytes);
}

/* The error comes when the file's turn does; nothing behind it is asked for. */
static void test_failure(void)
{
    check_trace(".txt", "a\nb\n", 4, "train", -1, 4, "N3S4..N4!");
    check_trace(".txt", "a\nb\n", 4, "train", -1, 3, "N3!");
    check_trace(".txt", "a\nb\n", 4, "train", 2, 4, "N3..");
    check_trace(".txt", "a\nb\n", 4, "train[50%:]", -1, 4, "+N3N4!");
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
    RUN(test_texts);
    RUN(test_parquet);
    RUN(test_failure);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return test_summary("dataset remote");
}
