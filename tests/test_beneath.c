/* What a folder brings along moves nothing outside of it: paths, steps below an open folder, sealed
 * files, and the journal of a commit in every state that somebody could leave it in. */
#include "tests/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/sha256.h"
#include "engine/output/final_folder.h"
#include "engine/staging/publish.h"
#include "formats/sealed.h"

static char top[64]; /* the working folder: out/ is what came from somewhere, victim is not in it */

static void put(const char *path, const char *text)
{
    CHECK_INT(qk_write_file(path, text, strlen(text), &test_error), QK_OK);
}

static bool holds(const char *path, const char *want)
{
    qk_buf text;
    if (qk_read_file(&text, path, 1000, &test_error) != QK_OK) return false;
    bool same = !strcmp((const char *)text.data, want);
    qk_buf_free(&text);
    return same;
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void start_anew(void)
{
    CHECK_INT(system("rm -rf out victim && mkdir -p out/final out/staging victim"), 0);
    put("victim/key", "the victim's");
}

/* ---- paths ---- */

static void test_paths(void)
{
    static const char *const good[] = {"a", "l00h00q/data.parquet", "é/..x", "...", "a b/-c"};
    static const char *const bad[] = {"",      "/",     "/a",   "a/",     "a//b",    ".",    "..",
                                      "a/..",  "../a",  "./a",  "a/./b",  "a/../b",  "a\\b", "a\nb",
                                      "a\x7f", "a\tb/", "\xff", "a/\xc3", "a\x1b[0m"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK_MSG(!qk_path_problem(good[i], strlen(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(qk_path_problem(bad[i], strlen(bad[i])) != NULL, "%s", bad[i]);
    CHECK(qk_path_problem("a\0b", 3) != NULL);
    char longest[5001];
    memset(longest, 'x', 5000);
    CHECK(!qk_path_problem(longest, 255) && qk_path_problem(longest, 256));
    for (int i = 1; i < 5000; i += 2) longest[i] = '/';
    CHECK(!qk_path_problem(longest, 999) && qk_path_problem(longest, 4999));
}

/* ---- steps ---- */

static bool all(const char *name, bool folder)
{
    (void)folder;
    return name[0] != 'k';
}

static void test_steps(void)
{
    start_anew();
    qk_folder out, in;
    int fd;
    CHECK_INT(symlink("out", "named"), 0); /* what the user names may be a link */
    CHECK_INT(qk_folder_open(&out, "named", &test_error), QK_OK);
    CHECK_INT(qk_folder_open_in(&in, &out, "none", false, &test_error), QK_ERR_NOTFOUND);
    CHECK(in.fd == -1);
    CHECK_INT(qk_folder_open_in(&in, &out, "in", true, &test_error), QK_OK);
    CHECK_INT(qk_folder_make_way(&in, "a/b/c", &test_error), QK_OK);
    put("out/in/a/b/c", "text");
    CHECK_INT(qk_folder_open_file(&in, "a/b/c", &fd, &test_error), QK_OK);
    close(fd);
    CHECK_INT(qk_folder_open_file(&in, "a/x/c", &fd, &test_error), QK_ERR_NOTFOUND);
    CHECK_INT(qk_folder_move(&in, &out, "a/b/c", &test_error), QK_OK);
    CHECK(holds("out/a/b/c", "text") && !is_there("out/in/a/b/c"));
    CHECK_INT(qk_folder_move(&in, &out, "a/b/c", &test_error), QK_ERR_NOTFOUND);

    /* Links on the way, at its end, in place of the folder itself. */
    CHECK_INT(symlink("../../victim", "out/in/link"), 0);
    CHECK_INT(symlink("../victim", "out/v"), 0);
    CHECK_INT(symlink("../../victim/key", "out/in/key"), 0);
    CHECK_INT(qk_folder_open_file(&in, "link/key", &fd, &test_error), QK_ERR_DATA);
    CHECK(strstr(test_error.message, "named/in/link: is a link") != NULL);
    CHECK_INT(qk_folder_open_file(&in, "key", &fd, &test_error), QK_ERR_DATA);
    CHECK_INT(qk_folder_make_way(&in, "link/new/x", &test_error), QK_ERR_DATA);
    CHECK_INT(qk_folder_move(&in, &out, "key", &test_error), QK_ERR_DATA);
    qk_folder v;
    CHECK_INT(qk_folder_open_in(&v, &out, "v", true, &test_error), QK_ERR_DATA);
    put("out/in/w", "text");
    CHECK_INT(mkdir("out/in/d", 0777), 0);
    put("out/in/d/w", "text");
    CHECK_INT(symlink("../victim", "out/d"), 0);
    CHECK_INT(qk_folder_move(&in, &out, "d/w", &test_error), QK_ERR_DATA);
    CHECK(holds("victim/key", "the victim's") && !is_there("victim/w") && !is_there("victim/new"));
    /* A link that is replaced is replaced, not followed. */
    CHECK_INT(symlink("../victim/key", "out/w"), 0);
    CHECK_INT(qk_folder_move(&in, &out, "w", &test_error), QK_OK);
    CHECK(holds("out/w", "text") && holds("victim/key", "the victim's"));
    qk_folder_close(&in);
    /* Links are removed, not what they lead to; what is not ours stays. */
    put("out/kept", "text");
    CHECK_INT(qk_folder_clean(&out, all, &test_error), QK_OK);
    CHECK(is_there("out/kept") && is_there("out/in/key") && !is_there("out/in/link") &&
          !is_there("out/v") && !is_there("out/a"));
    CHECK(holds("victim/key", "the victim's"));
    qk_folder_close(&out);
    unlink("named");
}

/* What is merged and pushed is read where it lies, and nowhere else. */
static void test_links_to_read(void)
{
    static const char *const planted[] = {"m", "m/manifest.json", "m/examples.parquet", "m/l00h00q",
                                          "m/l01h00k/data.parquet"};
    bool split;
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        char path[128];
        start_anew();
        CHECK_INT(system("mkdir -p out/final/m/l01h00k victim/l00h00q"), 0);
        put("victim/l00h00q/data.parquet", "rows");
        put("out/final/m/l01h00k/data.parquet", "rows");
        CHECK_INT(symlink("nowhere", "out/final/m/notes"), 0);
        CHECK_INT(qk_final_check("out/final", "m", &test_error), QK_OK);
        CHECK_INT(qk_final_check("out/final/m", NULL, &test_error), QK_OK);
        CHECK_INT(qk_final_is_split("out/final", "m", &split, &test_error), QK_OK);
        CHECK(split);
        snprintf(path, sizeof path, "rm -rf out/final/%s", planted[i]);
        CHECK_INT(system(path), 0);
        snprintf(path, sizeof path, "out/final/%s", planted[i]);
        bool folder = !strchr(planted[i], '.');
        CHECK_INT(symlink(folder ? "../../../victim" : "../../victim/key", path), 0);
        if (!strcmp(planted[i], "m")) {
            CHECK_INT(unlink(path), 0);
            CHECK_INT(symlink("../../victim", path), 0);
        }
        CHECK_INT(qk_final_check("out/final", "m", &test_error), QK_ERR_DATA);
        CHECK_MSG(strstr(test_error.message, path) != NULL, "%s", test_error.message);
        CHECK_INT(qk_final_is_split("out/final", "m", &split, &test_error), QK_OK);
        CHECK_MSG(!split, "%s", planted[i]);
    }
    CHECK_INT(qk_final_check("out/none", "m", &test_error), QK_OK);
    CHECK_INT(qk_final_check("out/final", "none", &test_error), QK_OK);
    put("out/final/README.md", "no split");
    CHECK_INT(qk_final_is_split("out/final", "README.md", &split, &test_error), QK_OK);
    CHECK(!split);
}

static void test_regular_files(void)
{
    start_anew();
    int fd;
    CHECK_INT(qk_open_regular(&fd, "out/new", O_RDWR | O_CREAT, &test_error), QK_OK);
    close(fd);
    CHECK_INT(qk_open_regular(&fd, "out/none", O_RDONLY, &test_error), QK_ERR_NOTFOUND);
    CHECK_INT(mkfifo("out/pipe", 0666), 0);
    CHECK_INT(symlink("../victim/key", "out/link"), 0);
    CHECK_INT(symlink("../victim/new", "out/dangling"), 0);
    CHECK_INT(link("victim/key", "out/second"), 0);
    static const char *const others[] = {"out/pipe",  "out/link",   "out/dangling",
                                         "out/final", "out/second", "/dev/null"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK_INT(qk_open_regular(&fd, others[i], O_RDWR | O_CREAT, &test_error), QK_ERR_DATA);
        CHECK_MSG(fd == -1 && strstr(test_error.message, others[i]), "%s", test_error.message);
    }
    CHECK_INT(qk_open_regular(&fd, "out/pipe", O_RDONLY, &test_error), QK_ERR_DATA);
    CHECK_INT(qk_open_regular(&fd, "out/second", O_RDONLY, &test_error), QK_OK);
    close(fd);
    CHECK(!is_there("victim/new") && holds("victim/key", "the victim's"));
}

/* ---- sealed files ---- */

static void test_sealed(void)
{
    start_anew();
    qk_buf text, whole;
    CHECK_INT(qk_sealed_read(&text, "out/s", 100, &test_error), QK_ERR_NOTFOUND);
    CHECK_INT(qk_sealed_create("out/s", "one\0two", 7, &test_error), QK_OK);
    CHECK_INT(qk_sealed_create("out/s", "three", 5, &test_error), QK_OK); /* the first one stays */
    CHECK_INT(qk_sealed_read(&text, "out/s", 100, &test_error), QK_OK);
    CHECK(text.size == 8 && !memcmp(text.data, "one\0two\n", 9));
    qk_buf_free(&text);
    CHECK_INT(qk_sealed_read(&text, "out/s", 79, &test_error), QK_ERR_FORMAT);
    qk_buf_free(&text);
    CHECK_INT(qk_read_file(&whole, "out/s", 1000, &test_error), QK_OK);
    for (size_t bit = 0; bit < 8 * whole.size; bit++) {
        whole.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK_INT(qk_write_file("out/s", whole.data, whole.size, &test_error), QK_OK);
        CHECK_INT(qk_sealed_read(&text, "out/s", 100, &test_error), QK_ERR_DAMAGED);
        qk_buf_free(&text);
        whole.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < whole.size; n++) {
        CHECK_INT(qk_write_file("out/s", whole.data, n, &test_error), QK_OK);
        CHECK_INT(qk_sealed_read(&text, "out/s", 100, &test_error), QK_ERR_DAMAGED);
        qk_buf_free(&text);
    }
    qk_buf_free(&whole);
}

/* ---- the journal ---- */

enum { FILES = 3 };
static const char *const names[FILES] = {"x/a", "b", "manifest.json"};

/* Three files ready to be moved, and their journal, as a process that died left them. */
static void leave_commit(qk_staging *s)
{
    start_anew();
    qk_publish c = {0};
    CHECK_INT(qk_staging_open_alone(s, "out/staging", &test_error), QK_OK);
    for (int i = 0; i < FILES; i++) {
        char *path = qk_publish_add(&c, s, names[i], &test_error);
        put(path, names[i]);
        free(path);
    }
    /* The first move fails: the journal is written by then. */
    put("out/final/x", "in the way");
    CHECK_INT(qk_publish_move(&c, s, "out/final", &test_error), QK_ERR_DATA);
    CHECK(is_there("out/staging/commit.json") && !is_there("out/final/b"));
    unlink("out/final/x");
    qk_publish_free(&c);
}

static bool is_done(void)
{
    return holds("out/final/x/a", "x/a") && holds("out/final/b", "b") &&
           holds("out/final/manifest.json", "manifest.json") &&
           !is_there("out/staging/commit.json") && !is_there("out/staging/merged");
}

static void test_recovery(void)
{
    qk_staging s;
    bool pending;
    for (int moved = 0; moved <= FILES; moved++) {
        leave_commit(&s);
        CHECK_INT(mkdir("out/final/x", 0777), 0);
        for (int i = 0; i < moved; i++) {
            char *from = qk_path_join("out/staging/merged", names[i]);
            char *to = qk_path_join("out/final", names[i]);
            CHECK_INT(rename(from, to), 0);
            free(from), free(to);
        }
        put("out/final/other", "of somebody else");
        CHECK_INT(qk_publish_is_pending(&s, &pending, &test_error), QK_OK);
        CHECK(pending);
        CHECK_INT(qk_publish_recover(&s, "out/final", &test_error), QK_OK);
        CHECK(is_done() && holds("out/final/other", "of somebody else"));
        CHECK_INT(qk_publish_is_pending(&s, &pending, &test_error), QK_OK);
        CHECK(!pending);
        CHECK_INT(qk_publish_recover(&s, "out/final", &test_error), QK_OK); /* nothing to do */
        qk_staging_close(&s);
    }
}

/* What is refused moves nothing. */
static void check_refused(qk_staging *s, const char *message)
{
    CHECK(qk_publish_recover(s, "out/final", &test_error) != QK_OK);
    CHECK_MSG(strstr(test_error.message, message) != NULL, "%s", test_error.message);
    CHECK(!is_there("out/final/b") && !is_there("out/final/x") &&
          holds("victim/key", "the victim's"));
    qk_staging_close(s);
}

static void test_what_was_changed_is_refused(void)
{
    qk_staging s;
    qk_buf whole;
    leave_commit(&s);
    put("out/staging/merged/b", "B");
    check_refused(&s, "out/staging/merged/b: is damaged");
    leave_commit(&s);
    unlink("out/staging/merged/b");
    check_refused(&s, "out/staging/merged/b: is gone");
    leave_commit(&s);
    unlink("out/staging/merged/b");
    CHECK_INT(symlink("../../../victim/key", "out/staging/merged/b"), 0);
    check_refused(&s, "out/staging/merged/b: is no regular file");
    leave_commit(&s);
    CHECK_INT(qk_sealed_create("out/staging/identity.json", "{}", 2, &test_error), QK_OK);
    check_refused(&s, "belongs to another run");
    leave_commit(&s);
    CHECK_INT(rmdir("out/final") || symlink("../victim", "out/final"), 0);
    check_refused(&s, "out/final: is a link");
    CHECK(!is_there("victim/b"));
    leave_commit(&s);
    CHECK_INT(symlink("../../victim", "out/final/x"), 0);
    CHECK(qk_publish_recover(&s, "out/final", &test_error) != QK_OK);
    CHECK(!is_there("victim/a"));
    qk_staging_close(&s);
    leave_commit(&s);
    CHECK_INT(qk_read_file(&whole, "out/staging/commit.json", 10000, &test_error), QK_OK);
    for (size_t i = 0; i < whole.size; i++) {
        whole.data[i] ^= 4;
        CHECK_INT(qk_write_file("out/staging/commit.json", whole.data, whole.size, &test_error),
                  QK_OK);
        CHECK(qk_publish_recover(&s, "out/final", &test_error) != QK_OK);
        whole.data[i] ^= 4;
    }
    for (size_t n = 0; n < whole.size; n += 7) {
        CHECK_INT(qk_write_file("out/staging/commit.json", whole.data, n, &test_error), QK_OK);
        CHECK(qk_publish_recover(&s, "out/final", &test_error) != QK_OK);
    }
    qk_buf_free(&whole);
    check_refused(&s, "it is damaged");
}

/* Journals that somebody sealed on purpose. */
static void test_hostile_journals(void)
{
#define SHA "\"sha256\": \"" DIGITS "\""
#define DIGITS "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEAD "{\"format\": \"qkengine commit 1\", \"identity\": \"\", \"files\": "
    static const char *const journals[] = {
        "[]",
        "1",
        "\"x\"",
        "null",
        "{}",
        "{\"files\": []}",
        "{\"format\": \"qkengine commit 2\", \"identity\": \"\", \"files\": []}",
        "{\"format\": \"qkengine commit 1\", \"files\": []}",
        "{\"format\": \"qkengine commit 1\", \"identity\": 0, \"files\": []}",
        HEAD "{}}",
        HEAD "\"b\"}",
        HEAD "[1]}",
        HEAD "[null]}",
        HEAD "[{}]}",
        HEAD "[\"b\"]}",
        HEAD "[[\"b\"]]}",
        HEAD "[{\"name\": \"b\", " SHA "}]}",
        HEAD "[{\"name\": \"b\", \"bytes\": -1, " SHA "}]}",
        HEAD "[{\"name\": \"b\", \"bytes\": 1e300, " SHA "}]}",
        HEAD "[{\"name\": \"b\", \"bytes\": \"1\", " SHA "}]}",
        HEAD "[{\"name\": \"b\", \"bytes\": 1, \"sha256\": \"0\"}]}",
        HEAD "[{\"name\": 7, \"bytes\": 1, " SHA "}]}",
        HEAD "[{\"name\": \"\", \"bytes\": 1, " SHA "}]}",
        HEAD "[{\"name\": \"/etc/passwd\", \"bytes\": 1, " SHA "}]}",
        HEAD "[{\"name\": \"../victim/key\", \"bytes\": 1, " SHA "}]}",
        HEAD "[{\"name\": \"a/../../x\", \"bytes\": 1, " SHA "}]}",
        HEAD "[{\"name\": \"b\\u0000c\", \"bytes\": 1, " SHA "}]}",
        HEAD "[{\"name\": \"b\", \"bytes\": 1, " SHA "}]}",
        HEAD "[{\"name\": \"none\", \"bytes\": 1, " SHA "}]}",
    };
    qk_staging s;
    leave_commit(&s);
    for (size_t i = 0; i < sizeof journals / sizeof *journals; i++) {
        CHECK_INT(qk_sealed_write("out/staging/commit.json", journals[i], strlen(journals[i]),
                                  &test_error),
                  QK_OK);
        qk_status status = qk_publish_recover(&s, "out/final", &test_error);
        CHECK_MSG(status == QK_ERR_DATA || status == QK_ERR_DAMAGED, "%s: %d", journals[i], status);
        CHECK(!is_there("out/final/b") && is_there("out/staging/commit.json"));
    }
    unlink("out/staging/commit.json");
    CHECK_INT(mkfifo("out/staging/commit.json", 0666), 0);
    check_refused(&s, "no regular file");
}

static void test_leftovers(void)
{
    start_anew();
    qk_staging s;
    CHECK_INT(qk_staging_open_alone(&s, "out/staging", &test_error), QK_OK);
    CHECK_INT(qk_publish_clean(&s, &test_error), QK_OK); /* nothing there */
    CHECK_INT(qk_make_dirs("out/staging/merged/m/l00h00q", &test_error), QK_OK);
    put("out/staging/merged/m/l00h00q/data.parquet", "");
    put("out/staging/merged/m/l00h00q/data.parquet.tmp", "");
    put("out/staging/merged/m/examples.parquet", "");
    CHECK_INT(symlink("../../../victim/key", "out/staging/merged/README.md.tmp"), 0);
    CHECK_INT(symlink("../../../victim", "out/staging/merged/manifest.json"), 0);
    CHECK_INT(qk_publish_clean(&s, &test_error), QK_OK);
    CHECK(!is_there("out/staging/merged") && holds("victim/key", "the victim's"));
    CHECK_INT(qk_make_dirs("out/staging/merged/m", &test_error), QK_OK);
    put("out/staging/merged/m/notes", "of somebody else");
    put("out/staging/merged/manifest.json", "");
    CHECK_INT(qk_publish_clean(&s, &test_error), QK_OK);
    CHECK(is_there("out/staging/merged/m/notes") && !is_there("out/staging/merged/manifest.json"));
    CHECK_INT(system("rm -r out/staging/merged"), 0);
    CHECK_INT(symlink("../../victim", "out/staging/merged"), 0);
    CHECK_INT(qk_publish_clean(&s, &test_error), QK_ERR_DATA);
    qk_staging_close(&s);
    static const char *const folders[] = {"out/staging", "out/.qkengine"};
    for (int i = 0; i < 2; i++) {
        CHECK_INT(system("rm -rf out/staging && mkdir -p out"), 0);
        CHECK_INT(symlink("../victim", folders[i]), 0);
        CHECK_INT(qk_staging_open(&s, folders[i], &test_error), QK_ERR_DATA);
        CHECK(strstr(test_error.message, folders[i]) && !is_there("victim/lock"));
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(top, sizeof top, "/tmp/qk_beneath_XXXXXX");
    if (!mkdtemp(top) || chdir(top) != 0) return 1;
    RUN(test_paths);
    RUN(test_steps);
    RUN(test_links_to_read);
    RUN(test_regular_files);
    RUN(test_sealed);
    RUN(test_recovery);
    RUN(test_what_was_changed_is_refused);
    RUN(test_hostile_journals);
    RUN(test_leftovers);
    CHECK_INT(chdir("/"), 0);
    char *remove = qk_strf("rm -rf %s", top);
    CHECK_INT(system(remove), 0);
    free(remove);
    return test_summary("beneath");
}
