/* engine/base: errors, memory, files, text. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "engine/base/dtype.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/text.h"

static void test_error_statuses(void)
{
    qk_error err = {0};
    errno = ENOSPC;
    CHECK_INT(qk_fail_errno(&err, "cannot write", "x/y"), QK_ERR_RESUME);
    CHECK_STR(err.message, "x/y: cannot write: the disk is full");
    CHECK_INT(qk_exit_status(err.status), 3);
    errno = ENOENT;
    CHECK_INT(qk_exit_status(qk_fail_errno(&err, "cannot open", "x")), 1);
    qk_fail(&err, QK_ERR_USAGE, "hint", "message %d", 7);
    qk_error_prefix(&err, "file %s", "f");
    CHECK_STR(err.message, "file f: message 7");
    CHECK_STR(err.hint, "hint");
    CHECK_INT(qk_exit_status(err.status), 2);
}

/* What a file or a server brings along stays one line of visible characters. */
static void test_visible(void)
{
    static const struct {
        const char *raw, *shown;
    } cases[] = {
        {"", ""},
        {"plain text \\n", "plain text \\n"},
        {"caf\xC3\xA9 \xE6\x96\x87 \xF0\x9F\x99\x82", "caf\xC3\xA9 \xE6\x96\x87 \xF0\x9F\x99\x82"},
        {"\033]0;title\007\033[2J", "\\x1b]0;title\\x07\\x1b[2J"},
        {"a\nb\rc\td\177", "a\\nb\\rc\\td\\x7f"},
        {"\xC2\x9B"
         "31m\xC2\x85\xC2\xA0",
         "\\u009b31m\\u0085\xC2\xA0"},
        {"\x9B"
         "31m",
         "\\x9b31m"},
        {"gpj.\xE2\x80\xAE"
         "exe",
         "gpj.\\u202eexe"},
        {"\xE2\x80\xA8\xE2\x80\xA9\xE2\x81\xA6\xE2\x81\xA9\xE2\x80\x8F\xD8\x9C",
         "\\u2028\\u2029\\u2066\\u2069\\u200f\\u061c"},
        {"cut \xE2\x80", "cut \\xe2\\x80"},
        {"\xC0\x80\xED\xA0\x80", "\\xc0\\x80\\xed\\xa0\\x80"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_STR(qk_visible(cases[i].raw), cases[i].shown);
        char *copy = qk_visible_copy(cases[i].raw);
        CHECK_STR(qk_visible(copy), cases[i].shown);
        free(copy);
    }
}

/* stderr into a file and back: its text. */
static void test_log_is_visible(void)
{
    FILE *said = tmpfile();
    char text[512] = "";
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(fileno(said), STDERR_FILENO);
    qk_error err;
    qk_fail(&err, QK_ERR_DATA, "\033[1mhint", "tensor '%s'", "a\033[2Jb\nqkengine: all is well");
    qk_print_error(&err);
    qk_warn("column %s", "\xE2\x80\xAEx");
    qk_info("file %s", "\xC2\x9Bx");
    dup2(kept, STDERR_FILENO);
    close(kept);
    CHECK(pread(fileno(said), text, sizeof text - 1, 0) > 0);
    fclose(said);
    CHECK_STR(text, "qkengine: error: tensor 'a\\x1b[2Jb\\nqkengine: all is well'\n"
                    "qkengine:   \\x1b[1mhint\n"
                    "qkengine: warning: column \\u202ex\n"
                    "qkengine: file \\u009bx\n");
}

static void test_arena_and_buffer(void)
{
    qk_arena arena = {0};
    for (size_t i = 1; i < 3000; i += 7) {
        uint8_t *p = qk_arena_alloc(&arena, i, 3);
        CHECK((uintptr_t)p % 16 == 0 && p[0] == 0 && p[3 * i - 1] == 0);
        memset(p, 0xAA, 3 * i);
    }
    CHECK_STR(qk_arena_strf(&arena, "%s-%d", "a", 5), "a-5");
    qk_arena_free(&arena);
    qk_buf buf = {0};
    for (int i = 0; i < 1000; i++) qk_buf_addf(&buf, "%d,", i);
    CHECK_INT(buf.size, 3890);
    CHECK(!strncmp(qk_buf_str(&buf), "0,1,2,", 6));
    qk_buf_free(&buf);
    void *p;
    qk_error err;
    CHECK_INT(qk_try_alloc(&p, SIZE_MAX, 8, "the test", &err), QK_ERR_DATA);
    CHECK(p == NULL);
}

static void test_files(void)
{
    qk_error err;
    char folder[] = "/tmp/qk_test_XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    char *deep = qk_path_join(folder, "a/b/c"), *path = qk_path_join(deep, "f");
    CHECK_INT(qk_make_dirs(deep, &err), QK_OK);
    CHECK_INT(qk_write_file(path, "hello", 5, &err), QK_OK);
    CHECK_INT(test_file_size(path), 5);
    qk_buf buf;
    CHECK_INT(qk_read_file(&buf, path, 100, &err), QK_OK);
    CHECK_STR((char *)buf.data, "hello");
    qk_buf_free(&buf);
    CHECK_INT(qk_read_file(&buf, path, 4, &err), QK_ERR_FORMAT);

    qk_writer w;
    CHECK_INT(qk_writer_open(&w, path, &err), QK_OK);
    qk_writer_add(&w, "broken", 6);
    qk_writer_abort(&w); /* the old contents stay, no temporary file is left */
    qk_names names;
    CHECK_INT(qk_list_dir(deep, &names, &err), QK_OK);
    CHECK_INT(names.count, 1);
    CHECK_INT(test_file_size(path), 5);
    qk_names_free(&names);
    CHECK_INT(qk_make_dirs(path, &err), QK_ERR_NOTFOUND); /* a file is in the way */
    CHECK_INT(qk_read_file(&(qk_buf){0}, deep, 1, &err), QK_ERR_IO);
    CHECK(strstr(err.message, "not a regular file") != NULL);

    unlink(path);
    rmdir(deep);
    free(deep);
    free(path);
    char *b = qk_path_join(folder, "a/b"), *a = qk_path_join(folder, "a");
    rmdir(b), rmdir(a), rmdir(folder);
    free(a), free(b);
}

static void test_full_disk_is_resumable(void)
{
    qk_error err;
    qk_writer w;
    char folder[] = "/tmp/qk_test_XXXXXX", block[100000] = {0};
    CHECK(mkdtemp(folder) != NULL);
    char *path = qk_path_join(folder, "out"),
         *why = qk_strf("%s: cannot write: the disk is full", path);
    for (size_t part = 1; part <= sizeof block; part *= 10) { /* at once, or when it is closed */
        CHECK_INT(qk_writer_open(&w, path, &err), QK_OK);
        int full = open("/dev/full", O_WRONLY);
        CHECK(dup2(full, w.file - 1) >= 0);
        close(full);
        qk_writer_add(&w, block, part);
        CHECK_INT(w.error, part == sizeof block ? ENOSPC : 0);
        CHECK_INT(qk_writer_commit(&w, &err), QK_ERR_RESUME);
        CHECK_STR(err.message, why);
    }
    CHECK(rmdir(folder) == 0); /* nothing is left in it */
    free(path);
    free(why);
}

static void test_utf8(void)
{
    static const struct {
        const char *bytes;
        size_t n, good; /* offset of the first bad byte */
    } cases[] = {
        {"abc", 3, 3},
        {"\xC3\xA9", 2, 2},
        {"\xC0\x80", 2, 0},
        {"a\xE2\x82", 3, 1},
        {"\xED\xA0\x80", 3, 0},
        {"\xF0\x9F\x99\x82", 4, 4},
        {"\xF4\x90\x80\x80", 4, 0},
        {"\xE0\x9F\xBF", 3, 0},
        {"\xF0\x8F\xBF\xBF", 4, 0},
        {"\x80", 1, 0},
        {"\xFF", 1, 0},
        {"x\0y", 3, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_INT(qk_utf8_check((const uint8_t *)cases[i].bytes, cases[i].n), cases[i].good);
    for (uint32_t c = 0; c < 0x110000; c += c == 0xD7FF ? 0x801 : 1) {
        uint8_t out[4];
        uint32_t back = 0;
        size_t n = qk_utf8_encode(c, out);
        if (qk_utf8_decode(out, n, &back) != n || back != c) {
            CHECK_MSG(false, "U+%04X does not survive a round trip", c);
            break;
        }
    }
}

static void test_nearest_word(void)
{
    static const char *const words[] = {"text_column", "id_column", "split", NULL};
    CHECK_STR(qk_nearest("text_colum", words), "text_column");
    CHECK_STR(qk_nearest("spilt", words), "split");
    CHECK(qk_nearest("zzzzzzzz", words) == NULL);
}

static void test_numbers_in_words(void)
{
    static const int64_t numbers[] = {3, 5, INT64_MIN, INT64_MIN, 8, 9};
    static const char *const words[] = {
        "",
        "3",
        "3 and 5",
        "3, 5 and -9223372036854775808",
        "3, 5, -9223372036854775808 and -9223372036854775808",
        "3, 5, -9223372036854775808, -9223372036854775808 and 1 more",
        "3, 5, -9223372036854775808, -9223372036854775808 and 2 more"};
    for (size_t n = 0; n < sizeof words / sizeof *words; n++) {
        char out[128];
        qk_list_numbers(out, sizeof out, numbers, n);
        CHECK_STR(out, words[n]);
    }
}

static void test_dtypes(void)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = qk_bf16_to_f32((uint16_t)h);
        if (isnan(f)) continue;
        CHECK(qk_f32_to_bf16(f) == h);
    }
    CHECK_INT(qk_f32_to_bf16(1.00390625f), 0x3F80); /* a tie goes to the even neighbour */
    CHECK_INT(qk_f32_to_bf16(1.01171875f), 0x3F82);
    CHECK(isnan(qk_bf16_to_f32(qk_f32_to_bf16(NAN))));
    CHECK_CLOSE(qk_f16_to_f32(0x3C00), 1.0, 0);
    CHECK_CLOSE(qk_f16_to_f32(0xFBFF), -65504.0, 0);
    CHECK_CLOSE(qk_f16_to_f32(0x0001), 0x1p-24, 0);
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = qk_f16_to_f32((uint16_t)h);
        if (!isnan(f)) CHECK(qk_f32_to_f16(f) == h);
    }
    CHECK_INT(qk_f32_to_f16(65519.0f), 0x7BFF);
    CHECK_INT(qk_f32_to_f16(65520.0f), 0x7C00);
    CHECK_INT(qk_f32_to_f16(0x1.8p-25f), 1);
    CHECK_INT(qk_f32_to_f16(0x1p-25f), 0); /* ties go to even */
    CHECK_INT(qk_f32_to_f16(0x1.002p0f), 0x3C00);
    CHECK_INT(qk_f32_to_f16(0x1.006p0f), 0x3C02);
    CHECK(isinf(qk_f16_to_f32(0x7C00)) && isnan(qk_f16_to_f32(0x7E00)));
}

static void test_human_numbers(void)
{
    CHECK_STR(qk_human_bytes(999), "999 B");
    CHECK_STR(qk_human_bytes(1.5e9), "1.5 GB");
    CHECK_STR(qk_human_seconds(7500), "2h05m");
    CHECK_STR(qk_human_count(123456), "123 k");
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_error_statuses);
    RUN(test_visible);
    RUN(test_log_is_visible);
    RUN(test_arena_and_buffer);
    RUN(test_files);
    RUN(test_full_disk_is_resumable);
    RUN(test_utf8);
    RUN(test_nearest_word);
    RUN(test_numbers_in_words);
    RUN(test_dtypes);
    RUN(test_human_numbers);
    return test_summary("base");
}
