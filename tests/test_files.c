/* engine/base/file: questions to the file system have three answers. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

static char *folder;

static char *in_folder(const char *name)
{
    return qk_path_join(folder, name);
}

static void put(const char *name)
{
    char *path = in_folder(name);
    CHECK_INT(qk_write_file(path, "12345", 5, &test_error), QK_OK);
    free(path);
}

static void put_link(const char *name, const char *target)
{
    char *path = in_folder(name);
    CHECK(symlink(target, path) == 0);
    free(path);
}

/* -1: an error. */
static int look(const char *name, bool follow, uint64_t *size)
{
    char *path = in_folder(name);
    qk_path_info info;
    qk_status s = follow ? qk_path_look(path, &info, &test_error)
                         : qk_path_look_at_name(path, &info, &test_error);
    *size = info.size;
    free(path);
    return s == QK_OK ? (int)info.type : -1;
}

static void test_kinds(void)
{
    uint64_t size;
    put("file");
    put_link("to-file", "file");
    put_link("to-nothing", "nothing");
    char *fifo = in_folder("fifo");
    CHECK(mkfifo(fifo, 0600) == 0);
    CHECK_INT(look("file", true, &size), QK_PATH_FILE);
    CHECK_INT(size, 5);
    CHECK_INT(look(".", true, &size), QK_PATH_FOLDER);
    CHECK_INT(size, 0);
    CHECK_INT(look("fifo", true, &size), QK_PATH_OTHER);
    CHECK_INT(look("absent", true, &size), QK_PATH_ABSENT);
    CHECK_INT(look("file/below", true, &size), QK_PATH_ABSENT);
    CHECK_INT(look("to-file", true, &size), QK_PATH_FILE);
    CHECK_INT(look("to-file", false, &size), QK_PATH_LINK);
    CHECK_INT(look("to-nothing", true, &size), QK_PATH_ABSENT);
    CHECK_INT(look("to-nothing", false, &size), QK_PATH_LINK);
    qk_buf text;
    CHECK_INT(qk_read_file(&text, fifo, 100, &test_error), QK_ERR_IO); /* and does not wait */
    CHECK(strstr(test_error.message, "not a regular file"));
    free(fifo);
}

/* Names about which the system does not say whether anything is there; root may read everything, so
 * none of them is a matter of permissions. */
static void check_cannot_tell(const char *name, int why)
{
    bool has, there;
    uint64_t size;
    qk_buf text;
    qk_names names;
    char *path = in_folder(name);
    CHECK_INT(look(name, true, &size), -1);
    CHECK(strstr(test_error.message, path) && strstr(test_error.message, strerror(why)));
    CHECK_INT(qk_exit_status(test_error.status), 1);
    CHECK(qk_has_file(path, &has, &test_error) != QK_OK && !has);
    CHECK(qk_has_folder(path, &has, &test_error) != QK_OK && !has);
    CHECK(qk_file_size(path, &size, &test_error) != QK_OK);
    CHECK(qk_read_file_if_there(&text, path, 100, &there, &test_error) != QK_OK && !there);
    CHECK(qk_list_dir(path, &names, &test_error) != QK_OK && !names.count);
    CHECK(qk_make_dirs(path, &test_error) != QK_OK);
    CHECK(strstr(test_error.message, strerror(why)));
    free(path);
}

static void test_cannot_tell(void)
{
    char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    check_cannot_tell(long_name, ENAMETOOLONG);
    put_link("loop", "loop");
    check_cannot_tell("loop/file", ELOOP);
    check_cannot_tell("loop", ELOOP);
}

static void test_sizes(void)
{
    uint64_t size;
    CHECK_INT(qk_file_size(folder, &size, &test_error), QK_ERR_IO);
    char *absent = in_folder("absent");
    CHECK_INT(qk_file_size(absent, &size, &test_error), QK_ERR_NOTFOUND);
    qk_buf text;
    bool there;
    CHECK_INT(qk_read_file_if_there(&text, absent, 100, &there, &test_error), QK_OK);
    CHECK(!there && !text.size);
    free(absent);
}

/* A tree goes with the links in it, and what they lead to stays. */
static void test_remove_tree(void)
{
    char *deep = in_folder("tree/a/b"), *tree = in_folder("tree"), *kept = in_folder("kept");
    CHECK_INT(qk_make_dirs(deep, &test_error), QK_OK);
    CHECK_INT(qk_make_dirs(kept, &test_error), QK_OK);
    put("kept/file");
    put("tree/a/file");
    put_link("tree/a/b/link", "../../../kept");
    put_link("tree/file-link", "../kept/file");
    CHECK_INT(qk_remove_tree(tree, &test_error), QK_OK);
    CHECK(!test_has_folder(tree));
    CHECK_INT(qk_remove_tree(tree, &test_error), QK_OK);
    put_link("tree", "kept");
    CHECK_INT(qk_remove_tree(tree, &test_error), QK_OK);
    CHECK(!test_has_folder(tree) && test_has_folder(kept));
    char *file = in_folder("kept/file");
    CHECK_INT(test_file_size(file), 5);
    free(file);
    free(deep);
    free(tree);
    free(kept);
}

int main(void)
{
    char template[] = "/tmp/qkengine-files-XXXXXX";
    folder = mkdtemp(template);
    RUN(test_kinds);
    RUN(test_cannot_tell);
    RUN(test_sizes);
    RUN(test_remove_tree);
    CHECK_INT(qk_remove_tree(folder, &test_error), QK_OK);
    return test_summary("files");
}
