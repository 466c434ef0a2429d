/* engine/base/cache: what is kept, and in whose folders it is believed. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/cache.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "tests/test.h"

static char top[] = "/tmp/qk_cache_XXXXXX", root[64], kind[80], file[96];

static bool reads(const char *expected)
{
    qk_buf got;
    bool found = qk_kept_read("things", "one", 100, &got);
    bool right = found && !strcmp(qk_buf_str(&got), expected);
    CHECK(found || !got.data);
    qk_buf_free(&got);
    CHECK(found == right);
    return found;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static size_t names_in(const char *folder)
{
    qk_names names = {0};
    CHECK(qk_list_dir(folder, &names, &test_error) == QK_OK);
    size_t n = names.count;
    qk_names_free(&names);
    return n;
}

static void put(const char *path, const char *text)
{
    unlink(path);
    CHECK(qk_write_file(path, text, strlen(text), &test_error) == QK_OK);
    CHECK(chmod(path, 0600) == 0);
}

static void test_written_and_read(void)
{
    umask(0); /* not even then can others write */
    CHECK(!reads(""));
    CHECK(qk_kept_write("things", "one", "text", 4));
    CHECK(reads("text"));
    CHECK(qk_kept_write("things", "one", "another", 7));
    CHECK(reads("another"));
    CHECK_INT(mode_of(root), 0700);
    CHECK_INT(mode_of(kind), 0700);
    CHECK_INT(mode_of(file), 0600);
    CHECK_INT(names_in(kind), 1); /* no temporary name is left */
    qk_buf got;
    CHECK(!qk_kept_read("things", "one", 6, &got) && !got.data); /* longer than its limit */
    CHECK(!qk_kept_read("things", "two", 100, &got) && !got.data);
    umask(022);
}

/* Every place in turn is open to others: nothing is read and nothing is put there. */
static void test_open_to_others(void)
{
    char *const places[] = {root, kind, file};
    static const mode_t modes[] = {0777, 0770, 0707, 01777, 0720, 0702};
    CHECK(qk_kept_write("things", "one", "another", 7));
    for (size_t p = 0; p < 3; p++)
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            mode_t kept = mode_of(places[p]);
            CHECK(chmod(places[p], modes[m]) == 0);
            CHECK(!reads("another"));
            if (p < 2) CHECK(!qk_kept_write("things", "one", "poison", 6));
            CHECK(chmod(places[p], kept) == 0);
            CHECK(reads("another"));
        }
    CHECK(chmod(kind, 0755) == 0 && chmod(file, 0644) == 0); /* reading is for everybody */
    CHECK(reads("another"));
    CHECK(chmod(file, 0666) == 0 && qk_kept_write("things", "one", "another", 7));
    CHECK(reads("another")); /* replaced by one of ours */
}

static void test_foreign_owners(void)
{
    if (geteuid() != 0) SKIP("only root can give files away");
    char *const places[] = {root, kind, file};
    CHECK(qk_kept_write("things", "one", "another", 7));
    for (size_t p = 0; p < 3; p++) {
        CHECK(lchown(places[p], 65534, 65534) == 0);
        CHECK(!reads("another"));
        if (p < 2) CHECK(!qk_kept_write("things", "one", "poison", 6));
        CHECK(lchown(places[p], 0, 0) == 0);
        CHECK(reads("another"));
    }
}

/* Links below the root, and what is no file, are nothing; a link to the root is its owner's way. */
static void test_links_and_pipes(void)
{
    char other[80], path[96];
    snprintf(other, sizeof other, "%s/other", top);
    snprintf(path, sizeof path, "%s/one", other);
    CHECK(mkdir(other, 0700) == 0);
    put(path, "linked");
    CHECK(qk_kept_write("things", "one", "text", 4));
    CHECK(unlink(file) == 0 && symlink(path, file) == 0);
    CHECK(!reads("linked"));
    CHECK(qk_kept_write("things", "one", "text", 4)); /* takes the link's place */
    CHECK(reads("text"));
    CHECK(unlink(file) == 0 && mkfifo(file, 0600) == 0);
    CHECK(!reads(""));
    CHECK(unlink(file) == 0 && mkdir(file, 0700) == 0);
    CHECK(!reads("") && !qk_kept_write("things", "one", "text", 4));
    CHECK_INT(names_in(kind), 1);
    CHECK(rmdir(file) == 0 && rmdir(kind) == 0 && symlink(other, kind) == 0);
    CHECK(!reads("linked") && !qk_kept_write("things", "one", "poison", 6));
    CHECK(unlink(kind) == 0 && rename(other, kind) == 0);
    CHECK(reads("linked"));
    snprintf(other, sizeof other, "%s/real", top);
    CHECK(rename(root, other) == 0 && symlink(other, root) == 0);
    CHECK(reads("linked"));
    CHECK(unlink(root) == 0 && rename(other, root) == 0);
}

static void test_places(void)
{
    char home[80], *folder;
    CHECK(qk_kept_write("things", "one", "linked", 6));
    setenv("QKENGINE_CACHE", "off", 1);
    CHECK(!qk_cache_folder("things") && !reads("") && !qk_kept_write("things", "one", "x", 1));
    unsetenv("QKENGINE_CACHE");
    snprintf(home, sizeof home, "%s/home", top);
    setenv("HOME", home, 1);
    unsetenv("XDG_CACHE_HOME");
    CHECK(qk_kept_write("things", "one", "text", 4) && reads("text"));
    folder = qk_cache_folder("things");
    CHECK(folder && strstr(folder, "/home/.cache/qkengine/things"));
    CHECK_INT(names_in(folder), 1);
    free(folder);
    setenv("XDG_CACHE_HOME", "relative", 1); /* not a place by the standard */
    CHECK(reads("text"));
    setenv("QKENGINE_CACHE", root, 1);
    CHECK(reads("linked"));
    snprintf(home, sizeof home, "%s//", root);
    setenv("QKENGINE_CACHE", home, 1);
    CHECK(reads("linked"));
    setenv("QKENGINE_CACHE", root, 1);
}

/* Beside the program what is believed is what may write the program. */
static void test_installed(void)
{
    char program[4096], place[] = "qk_installed_XXXXXX", *slash, *folder, *path;
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    CHECK(n > 0);
    program[n] = 0;
    mode_t mode = mode_of(program);
    slash = strrchr(program, '/');
    *slash = 0;
    folder = qk_path_join(program, place);
    CHECK(mkdtemp(folder));
    path = qk_path_join(folder, "one");
    put(path, "installed");
    *slash = '/';
    qk_buf got;
    const char *name = qk_path_name(folder);
    CHECK(chmod(program, 0755) == 0);
    CHECK(qk_installed_read(name, "one", 100, &got) && !strcmp(qk_buf_str(&got), "installed"));
    qk_buf_free(&got);
    CHECK(chmod(folder, 0775) == 0 && !qk_installed_read(name, "one", 100, &got));
    CHECK(chmod(program, 0775) == 0 && qk_installed_read(name, "one", 100, &got));
    qk_buf_free(&got);
    CHECK(chmod(path, 0666) == 0 && !qk_installed_read(name, "one", 100, &got));
    CHECK(!qk_installed_read(name, "two", 100, &got));
    CHECK(!qk_installed_read("../no/such/place", "one", 100, &got));
    CHECK(chmod(program, mode) == 0);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
    free(path);
    free(folder);
}

static void *write_often(void *text)
{
    for (int i = 0; i < 200; i++) qk_kept_write("things", "one", text, strlen(text));
    return NULL;
}

/* Writers at the same time: a reader has one of the two, whole. */
static void test_together(void)
{
    pthread_t other;
    CHECK(qk_kept_write("things", "one", "short", 5));
    CHECK(pthread_create(&other, NULL, write_often, "a longer text") == 0);
    for (int i = 0; i < 200; i++) {
        qk_buf got;
        CHECK(qk_kept_write("things", "one", "short", 5));
        CHECK(qk_kept_read("things", "one", 100, &got));
        CHECK(!strcmp(qk_buf_str(&got), "short") || !strcmp(qk_buf_str(&got), "a longer text"));
        qk_buf_free(&got);
    }
    pthread_join(other, NULL);
    CHECK_INT(names_in(kind), 1);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    QK_ASSERT(mkdtemp(top));
    snprintf(root, sizeof root, "%s/root", top);
    snprintf(kind, sizeof kind, "%s/things", root);
    snprintf(file, sizeof file, "%s/one", kind);
    setenv("QKENGINE_CACHE", root, 1);
    RUN(test_written_and_read);
    RUN(test_open_to_others);
    RUN(test_foreign_owners);
    RUN(test_links_and_pipes);
    RUN(test_places);
    RUN(test_installed);
    RUN(test_together);
    char *command = qk_strf("rm -rf %s", top);
    CHECK(system(command) == 0);
    free(command);
    return test_summary("cache");
}
