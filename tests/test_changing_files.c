/* engine/base/input, engine/base/sha256 and what reads by them: files that are cut off, written to or
 * replaced while they are in use; notes of digests; the digest of a limited run's rows; signals. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/cache.h"
#include "engine/base/interrupt.h"
#include "engine/base/process.h"
#include "engine/base/sha256.h"
#include "engine/dataset/rows_digest.h"
#include "engine/dataset/source.h"
#include "tests/test.h"

static char folder[] = "/tmp/qk_changing_XXXXXX";

static char *in_folder(const char *name)
{
    return qk_path_join(folder, name);
}

static void put(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* Other bytes of the same number, and the old time of modification. */
static void write_into(const char *path)
{
    struct stat st;
    CHECK(stat(path, &st) == 0);
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, "#", 1, 1) == 1 && close(fd) == 0);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
}
static void append(const char *path)
{
    FILE *f = fopen(path, "ab");
    CHECK(f && fputc('x', f) != EOF && fclose(f) == 0);
}
static void cut(const char *path)
{
    CHECK(truncate(path, 3) == 0);
}
static void replace(const char *path)
{
    char *other = in_folder("other");
    struct stat st;
    CHECK(stat(path, &st) == 0);
    char *same = qk_zalloc((size_t)st.st_size, 1);
    put(other, same, (size_t)st.st_size);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    CHECK(utimensat(AT_FDCWD, other, times, 0) == 0 && rename(other, path) == 0);
    free(same);
    free(other);
}
static void take_away(const char *path)
{
    CHECK(unlink(path) == 0);
}

static void test_watch(void)
{
    static const struct {
        void (*change)(const char *path);
        const char *say;
    } cases[] = {{write_into, "it was written to"},
                 {append, "6 bytes then, 7 now"},
                 {cut, "6 bytes then, 3 now"},
                 {replace, "another file is in its place"},
                 {take_away, "it is gone"}};
    char *path = in_folder("a"), *absent = in_folder("absent");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qk_watch w = {0};
        qk_error err = {0};
        put(path, "hello\n", 6);
        CHECK_INT(qk_watch_file(&w, path, NULL, &err), QK_OK);
        CHECK_INT(qk_watch_name(&w, absent, &err), QK_OK);
        CHECK_INT(qk_watch_file(&w, path, NULL, &err), QK_OK);
        CHECK_INT(qk_watch_check(&w, &err), QK_OK);
        cases[i].change(path); /* at once: the first stat has waited for the clock's next tick */
        CHECK_INT(qk_watch_check(&w, &err), QK_ERR_DATA);
        CHECK_MSG(strstr(err.message, path) &&
                      strstr(err.message, "was changed while it was in use") &&
                      strstr(err.message, cases[i].say),
                  "%s", err.message);
        CHECK_INT(qk_watch_file(&w, path, NULL, &err), QK_ERR_DATA);
        qk_watch_free(&w);
    }
    qk_watch w = {0};
    qk_error err = {0};
    CHECK_INT(qk_watch_file(&w, absent, NULL, &err), QK_ERR_NOTFOUND);
    CHECK_INT(qk_watch_name(&w, absent, &err), QK_OK);
    put(absent, "", 0);
    CHECK_INT(qk_watch_check(&w, &err), QK_ERR_DATA);
    CHECK_MSG(strstr(err.message, "it was not there then"), "%s", err.message);
    take_away(absent);
    CHECK_INT(qk_watch_file(&w, folder, NULL, &err), QK_ERR_IO);
    qk_watch_free(&w);
    free(path);
    free(absent);
}

static void test_open_file(void)
{
    char *path = in_folder("a"), bytes[8];
    qk_input in;
    qk_error err = {0};
    put(path, "hello\n", 6);
    CHECK_INT(qk_input_open(&in, path, &err), QK_OK);
    CHECK(qk_input_read(&in, 1, bytes, 5, &err) == QK_OK && !memcmp(bytes, "ello\n", 5));
    CHECK_INT(qk_input_check(&in, &err), QK_OK);
    cut(path);
    CHECK_INT(qk_input_read(&in, 1, bytes, 5, &err), QK_ERR_DATA);
    CHECK_MSG(strstr(err.message, path) && strstr(err.message, "cut off"), "%s", err.message);
    CHECK_INT(qk_input_check(&in, &err), QK_ERR_DATA);
    qk_input_close(&in);
    put(path, "hello\n", 6);
    CHECK_INT(qk_input_open(&in, path, &err), QK_OK);
    take_away(path); /* what is open stays */
    CHECK_INT(qk_input_check(&in, &err), QK_OK);
    CHECK(qk_input_read(&in, 0, bytes, 6, &err) == QK_OK && !memcmp(bytes, "hello\n", 6));
    qk_input_close(&in);
    CHECK(mkfifo(path, 0600) == 0); /* refused, not waited for */
    CHECK_INT(qk_input_open(&in, path, &err), QK_ERR_IO);
    take_away(path);
    free(path);
}

/* ---- sources that are cut off ---- */

/* A dataset of 2 MB of texts, so that one window is not all of it. */
static void make_rows(const char *path, qk_format format)
{
    FILE *f = fopen(path, "wb");
    if (format == QK_FORMAT_CSV) fputs("text,id\n", f);
    for (int i = 0; i < 20000; i++) {
        if (format == QK_FORMAT_JSON) fprintf(f, "{\"id\": %d, \"text\": \"", i);
        for (int k = 0; k < 10; k++) fprintf(f, "word %d ", (i * 7919 + k * 104729) % 99991);
        fputs(format == QK_FORMAT_JSON ? "\"}\n" : "\n", f);
    }
    CHECK(fclose(f) == 0);
}

static void test_sources_cut_off(void)
{
    static const struct {
        const char *name;
        qk_format format;
    } cases[] = {{"a.jsonl", QK_FORMAT_JSON}, {"a.csv", QK_FORMAT_CSV}, {"a.txt", QK_FORMAT_TEXT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = in_folder(cases[i].name);
        qk_source_spec spec = {cases[i].format, path, "text", NULL, false};
        qk_source *s = NULL;
        qk_row row;
        qk_error err = {0};
        bool more = true;
        make_rows(path, cases[i].format);
        CHECK_INT(qk_source_open(&s, &spec, &err), QK_OK);
        CHECK_INT(qk_source_next(s, &row, &more, &err), QK_OK);
        CHECK(truncate(path, 40000) == 0);
        qk_status status = QK_OK;
        while (status == QK_OK && more) status = qk_source_next(s, &row, &more, &err);
        CHECK_INT(status, QK_ERR_DATA);
        CHECK_MSG(strstr(err.message, path) && strstr(err.message, "was cut off"), "%s",
                  err.message);
        qk_source_close(s);
        free(path);
    }
}

/* ---- notes ---- */

static qk_status digest_of(const char *path, char hex[65])
{
    qk_watch w = {0};
    char *item = (char *)path;
    qk_status s = qk_sha256_files(&(qk_names){&item, 1, 1}, 1, &w, (char(*)[65])hex, &test_error);
    qk_watch_free(&w);
    return s;
}

/* Files in the folder of notes; the last one's path in *path. */
static size_t count_notes(char **path)
{
    char *notes = qk_cache_folder("digests");
    qk_names names = {0};
    if (qk_list_dir(notes, &names, &test_error) != QK_OK) names.count = 0;
    size_t n = names.count;
    free(*path);
    *path = n ? qk_path_join(notes, names.items[n - 1]) : NULL;
    qk_names_free(&names);
    free(notes);
    return n;
}

/* Puts another digest into the note, which shows where it is believed. */
static void forge(const char *note)
{
    struct stat st;
    CHECK(stat(note, &st) == 0 && (st.st_mode & 077) == 0);
    int fd = open(note, O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, "0000", 4, st.st_size - 65) == 4 && close(fd) == 0);
}

static void test_notes(void)
{
    static const char of_hello[] =
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    char *path = in_folder("noted"), *note = NULL, hex[65];
    put(path, "hello\n", 6);
    CHECK(digest_of(path, hex) == QK_OK && !strcmp(hex, of_hello));
    CHECK_INT(count_notes(&note), 0); /* too young: its next change may have the same time */
    sleep(4);
    CHECK(digest_of(path, hex) == QK_OK && !strcmp(hex, of_hello));
    CHECK_INT(count_notes(&note), 1);
    forge(note);
    CHECK(digest_of(path, hex) == QK_OK && !strncmp(hex, "0000", 4));
    CHECK(chmod(note, 0660) == 0); /* others can write it: not believed */
    CHECK(digest_of(path, hex) == QK_OK && !strcmp(hex, of_hello));
    forge(note);
    CHECK(truncate(note, 20) == 0); /* damaged: ignored and replaced */
    CHECK(digest_of(path, hex) == QK_OK && !strcmp(hex, of_hello));
    forge(note);
    write_into(path);
    CHECK(digest_of(path, hex) == QK_OK && strncmp(hex, "0000", 4) && strcmp(hex, of_hello));
    setenv("QKENGINE_CACHE", "off", 1);
    CHECK(digest_of(path, hex) == QK_OK && strncmp(hex, "0000", 4) && strcmp(hex, of_hello));
    free(path);
    free(note);
}

/* ---- limited runs ---- */

static void put_rows(const char *path, int rows, const char *last)
{
    FILE *f = fopen(path, "wb");
    for (int i = 0; i < rows; i++) fprintf(f, "{\"id\": %d, \"text\": \"text %d\"}\n", i, i);
    CHECK(f && fputs(last, f) >= 0 && fclose(f) == 0);
}

static qk_rows_digest digest_rows(const char *path, const char *split, int64_t most)
{
    qk_config c = {.dataset = {.path = (char *)path,
                               .split = (char *)split,
                               .text_column = "text",
                               .id_column = "id",
                               .max_samples = most}};
    qk_watch w = {0};
    qk_rows_digest d;
    bool limited;
    CHECK(qk_rows_are_limited(&c, &limited, &test_error) == QK_OK);
    CHECK_INT(limited, most >= 0 || strchr(split, '['));
    qk_dataset *rows;
    QK_ASSERT(!qk_dataset_open_in(&rows, &c, NULL, &test_error));
    CHECK_MSG(qk_rows_digest_make(&d, &c, rows, &w, &test_error) == QK_OK, "%s",
              test_error.message);
    qk_dataset_close(rows);
    qk_watch_free(&w);
    return d;
}

static void test_rows_digest(void)
{
    char *path = in_folder("rows.jsonl");
    put_rows(path, 30, "");
    qk_rows_digest five = digest_rows(path, "train", 5), six = digest_rows(path, "train", 6);
    qk_rows_digest slice = digest_rows(path, "train[:5]", -1), all = digest_rows(path, "train", -1);
    CHECK_INT(five.rows, 5);
    CHECK_INT(five.files, 1);
    CHECK_STR(slice.hex, five.hex);
    CHECK(strcmp(six.hex, five.hex) != 0 && all.rows == 30);
    /* What stands behind the rows does not matter, not even whether it is JSON. */
    put_rows(path, 5, "");
    CHECK_STR(digest_rows(path, "train", 5).hex, five.hex);
    put_rows(path, 5, "{\"id\": 5, \"text\": \"another\"}\nno JSON");
    CHECK_STR(digest_rows(path, "train", 5).hex, five.hex);
    CHECK(strcmp(digest_rows(path, "train", 6).hex, six.hex) != 0);
    free(path);
}

/* Each setting and each state of the files has a note of its own. */
static void test_rows_noted(void)
{
    char *path = in_folder("noted.jsonl"), *cache = in_folder("cache-of-rows"), *note = NULL;
    setenv("QKENGINE_CACHE", cache, 1);
    put_rows(path, 30, "");
    qk_rows_digest five = digest_rows(path, "train", 5);
    CHECK_INT(count_notes(&note), 0); /* too young */
    sleep(4);
    CHECK_STR(digest_rows(path, "train", 5).hex, five.hex);
    CHECK_INT(count_notes(&note), 1);
    forge(note);
    qk_rows_digest noted = digest_rows(path, "train", 5);
    CHECK(!strncmp(noted.hex, "0000", 4) && noted.rows == 5 && noted.files == 1);
    CHECK(strncmp(digest_rows(path, "train", 6).hex, "0000", 4) != 0);
    CHECK_STR(digest_rows(path, "train[:5]", -1).hex, five.hex);
    append(path);
    CHECK_STR(digest_rows(path, "train", 5).hex, five.hex);
    setenv("QKENGINE_CACHE", "off", 1);
    free(cache);
    free(path);
    free(note);
}

/* ---- signals ---- */

/* The exit status of a child that gets a signal, the seconds until then, and those of a processor. */
static int end_by_signal(int signal_number, bool looks, double *seconds, double *processor)
{
    struct timespec a, b;
    struct rusage used = {0};
    pid_t pid = fork();
    if (pid == 0) {
        qk_error err;
        fclose(stderr);
        qk_interrupt_install();
        raise(signal_number);
        while (!looks || qk_interrupt_check(&err) == QK_OK) {
        }
        _exit(qk_exit_status(err.status));
    }
    int status = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    CHECK(pid > 0 && wait4(pid, &status, 0, &used) == pid);
    clock_gettime(CLOCK_MONOTONIC, &b);
    *seconds = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    *processor = (double)used.ru_utime.tv_sec + 1e-6 * (double)used.ru_utime.tv_usec;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_signals(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGUSR1, SIGUSR2};
    double seconds, processor;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        CHECK_INT(end_by_signal(ends[i], true, &seconds, &processor), 3);
    /* Work that does not look ends all the same, but not at once. A busy machine only makes that
     * later, so the end is judged by processor time. */
    CHECK_INT(end_by_signal(SIGTERM, false, &seconds, &processor), 3);
    CHECK_MSG(seconds > 0.5 && processor < 5, "%.2f s, %.2f of a processor", seconds, processor);
}

static void test_limit_of_file_sizes(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        qk_process_begin();
        raise(SIGXFSZ);
        _exit(7);
    }
    int status = 0;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 7);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    QK_ASSERT(mkdtemp(folder));
    char *cache = in_folder("cache");
    setenv("QKENGINE_CACHE", cache, 1);
    RUN(test_watch);
    RUN(test_open_file);
    RUN(test_sources_cut_off);
    RUN(test_notes);
    RUN(test_rows_digest);
    RUN(test_rows_noted);
    RUN(test_signals);
    RUN(test_limit_of_file_sizes);
    CHECK(qk_remove_tree(folder, &test_error) == QK_OK);
    free(cache);
    return test_summary("changing files");
}
