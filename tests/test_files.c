/* engine/base: questions to the file system have three answers, nothing is written through a link,
 * and limits of the system are errors that name them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/available.h"
#include "engine/base/beneath.h"
#include "engine/base/process.h"
#include "engine/base/team.h"
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
    qk_status s =
        follow ? qk_path_stat(path, &info, &test_error) : qk_path_lstat(path, &info, &test_error);
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

/* ---- writing ---- */

static void check_text(const char *name, const char *expected)
{
    qk_buf text;
    char *path = in_folder(name);
    CHECK_INT(qk_read_file(&text, path, 100, &test_error), QK_OK);
    CHECK_STR(qk_buf_str(&text), expected);
    qk_buf_free(&text);
    free(path);
}

/* Whatever lies under the temporary name, the file is new and what a link leads to is as it was. */
static void test_no_writing_through_links(void)
{
    uint64_t size;
    put("victim");
    char *path = in_folder("out"), *victim = in_folder("victim"), *tmp = in_folder("out.tmp");
    for (int kind = 0; kind < 4; kind++) {
        if (kind == 0) put_link("out.tmp", "victim");
        if (kind == 1) put_link("out.tmp", "made-by-us");
        if (kind == 2) CHECK(link(victim, tmp) == 0);
        if (kind == 3) put("out.tmp");
        CHECK_INT(qk_write_file(path, "new", 3, &test_error), QK_OK);
        CHECK_INT(look("out", false, &size), QK_PATH_FILE);
        check_text("out", "new");
        check_text("victim", "12345");
        CHECK(look("made-by-us", false, &size) == QK_PATH_ABSENT);
        CHECK(look("out.tmp", false, &size) == QK_PATH_ABSENT);
    }
    CHECK(mkdir(tmp, 0700) == 0);
    CHECK(qk_write_file(path, "x", 1, &test_error) != QK_OK);
    CHECK(rmdir(tmp) == 0);
    free(path);
    free(victim);
    free(tmp);
}

static void test_locks_are_files_of_their_own(void)
{
    int fd;
    put("victim");
    char *lock = in_folder("lock"), *victim = in_folder("victim");
    CHECK_INT(qk_open_regular(&fd, lock, O_RDWR | O_CREAT, &test_error), QK_OK);
    CHECK_INT(qk_write_at_start(fd, "0123", 4, lock, &test_error), QK_OK);
    close(fd);
    check_text("lock", "0123");
    for (int kind = 0; kind < 4; kind++) {
        CHECK(unlink(lock) == 0);
        if (kind == 0) put_link("lock", "victim");
        if (kind == 1) put_link("lock", "made-by-us");
        if (kind == 2) CHECK(link(victim, lock) == 0);
        if (kind == 3) CHECK(mkfifo(lock, 0600) == 0);
        CHECK_INT(qk_open_regular(&fd, lock, O_RDWR | O_CREAT, &test_error), QK_ERR_DATA);
        CHECK(fd < 0 && strstr(test_error.message, lock) && *test_error.hint);
        uint64_t size;
        CHECK(look("made-by-us", false, &size) == QK_PATH_ABSENT);
    }
    free(lock);
    free(victim);
}

/* Of several that make the same file the first one counts; a link is not one of them. */
static void test_made_once(void)
{
    put("victim");
    char *once = in_folder("once");
    CHECK_INT(qk_create_file(once, "first", 5, &test_error), QK_OK);
    CHECK_INT(qk_create_file(once, "second", 6, &test_error), QK_OK);
    check_text("once", "first");
    for (int kind = 0; kind < 2; kind++) {
        CHECK(unlink(once) == 0);
        put_link("once", kind ? "victim" : "made-by-us");
        CHECK_INT(qk_create_file(once, "third", 5, &test_error), QK_ERR_IO);
        CHECK(strstr(test_error.message, once) && *test_error.hint);
    }
    check_text("victim", "12345");
    free(once);
}

static void test_statuses(void)
{
    static const struct {
        int why;
        qk_status asked, written;
    } cases[] = {
        {ENOENT, QK_ERR_NOTFOUND, QK_ERR_NOTFOUND},
        {ENOTDIR, QK_ERR_NOTFOUND, QK_ERR_NOTFOUND},
        {EACCES, QK_ERR_IO, QK_ERR_IO},
        {EROFS, QK_ERR_IO, QK_ERR_IO},
        {EMFILE, QK_ERR_IO, QK_ERR_IO},
        {ENAMETOOLONG, QK_ERR_IO, QK_ERR_IO},
        {EIO, QK_ERR_IO, QK_ERR_RESUME},
        {ESTALE, QK_ERR_IO, QK_ERR_RESUME},
        {EINTR, QK_ERR_IO, QK_ERR_RESUME},
        {ENOSPC, QK_ERR_RESUME, QK_ERR_RESUME},
        {EDQUOT, QK_ERR_RESUME, QK_ERR_RESUME},
        {EFBIG, QK_ERR_RESUME, QK_ERR_RESUME},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        errno = cases[i].why;
        CHECK_INT(qk_fail_errno(&test_error, "cannot read", "x"), cases[i].asked);
        errno = cases[i].why;
        CHECK_INT(qk_fail_write(&test_error, "cannot write", "x"), cases[i].written);
        CHECK(test_error.status != QK_ERR_RESUME || *test_error.hint);
        CHECK_INT(qk_exit_status(test_error.status), cases[i].written == QK_ERR_RESUME ? 3 : 1);
    }
}

static void test_make_dirs(void)
{
    put("in-the-way");
    char *below = in_folder("in-the-way/a"), *twice = in_folder("one/two");
    CHECK_INT(qk_make_dirs(below, &test_error), QK_ERR_NOTFOUND);
    CHECK(strstr(test_error.message, strerror(ENOTDIR)));
    CHECK_INT(qk_make_dirs(twice, &test_error), QK_OK);
    CHECK_INT(qk_make_dirs(twice, &test_error), QK_OK);
    CHECK_INT(qk_make_dirs("/", &test_error), QK_OK);
    if (access("/proc/self", F_OK) == 0 &&
        geteuid() == 0) { /* of a folder that is there, ENOENT is no answer */
        qk_writer w;
        CHECK_INT(qk_make_dirs("/proc/qk/out", &test_error), QK_ERR_IO);
        CHECK_STR(
            test_error.message,
            "/proc/qk: cannot make the folder: nothing new can be made in the folder '/proc'");
        CHECK_INT(qk_writer_open(&w, "/proc/qk", &test_error), QK_ERR_IO);
        CHECK(strstr(test_error.message, "nothing new can be made in the folder '/proc'"));
    }
    free(below);
    free(twice);
}

/* ---- limits ---- */

/* Runs a function in a process of its own; its exit status, and what it says on stderr. */
static int in_child(void (*run)(void), char *said, size_t capacity)
{
    int ends[2], status = 0;
    CHECK(pipe(ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        run();
        _exit(99);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], said + n, capacity - 1 - n)) > 0;) n += (size_t)got;
    said[n] = 0;
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void end_with(qk_status status)
{
    fprintf(stderr, "%s; %s", test_error.message, test_error.hint);
    _exit(qk_exit_status(status));
}

static void limit(int resource, rlim_t n)
{
    struct rlimit r = {n, RLIM_INFINITY};
    getrlimit((__rlimit_resource_t)resource, &r);
    r.rlim_cur = n;
    setrlimit((__rlimit_resource_t)resource, &r);
}

static void write_beyond_limit(void)
{
    qk_process_begin();
    limit(RLIMIT_FSIZE, 100000);
    char *path = in_folder("large"), *bytes = qk_zalloc(300000, 1);
    end_with(qk_write_file(path, bytes, 300000, &test_error));
}

static void test_file_size_limit(void)
{
    char said[1024];
    uint64_t size;
    CHECK_INT(in_child(write_beyond_limit, said, sizeof said), 3);
    CHECK_MSG(strstr(said, "ulimit -f"), "%s", said);
    CHECK_INT(look("large", false, &size), QK_PATH_ABSENT);
    CHECK_INT(look("large.tmp", false, &size), QK_PATH_ABSENT);
}

/* No machine has this much memory for stacks. The limit itself stays out of the way of sanitizers. */
static void start_a_large_team(void)
{
    limit(RLIMIT_AS, (rlim_t)1 << 47);
    setenv("OMP_STACKSIZE", " 900000 G", 1);
    end_with(qk_team_start(2, &test_error));
}

static void start_teams(void)
{
    unsetenv("OMP_STACKSIZE");
    qk_status s = qk_team_start(3, &test_error);
    if (s == QK_OK) s = qk_team_start(5, &test_error);
    end_with(s);
}

static void test_threads(void)
{
    char said[1024];
    CHECK_INT(in_child(start_a_large_team, said, sizeof said), 1);
    CHECK_MSG(strstr(said, "a thread does not start: no memory for its stack of 943718400000 kB"),
              "%s", said);
    CHECK_MSG(strstr(said, "ulimit -v is 137438953472 kB"), "%s", said);
    test_error = (qk_error){0};
    CHECK_INT(in_child(start_teams, said, sizeof said), 0);
}

#ifndef __SANITIZE_ADDRESS__ /* which ends the program itself before malloc can fail */
static void take_too_much(void)
{
    limit(RLIMIT_AS, (rlim_t)1 << 47);
    free(qk_alloc(SIZE_MAX / 4, 1));
}

static void test_memory(void)
{
    char said[1024];
    CHECK_INT(in_child(take_too_much, said, sizeof said), 1);
    CHECK_MSG(strstr(said, "qkengine: error: out of memory: 4611686018427387903 x 1 bytes, ulimit "
                           "-v is 137438953472 kB\n"),
              "%s", said);
}

#endif

static void open_without_standard_files(void)
{
    int said = dup(2);
    for (int fd = 0; fd <= 2; fd++) close(fd);
    qk_process_begin();
    int next = open("/dev/null", O_RDONLY);
    bool all = next > 2 && write(1, "x", 1) == 1 && write(2, "x", 1) == 1 && said > 2;
    struct stat null, each;
    for (int fd = 0; fd <= 2 && !stat("/dev/null", &null); fd++)
        all = all && !fstat(fd, &each) && each.st_rdev == null.st_rdev;
    _exit(all ? 0 : 1);
}

static void test_standard_files(void)
{
    char said[64];
    CHECK_INT(in_child(open_without_standard_files, said, sizeof said), 0);
}

static void print_into_a_closed_pipe(void)
{
    int ends[2];
    if (pipe(ends) != 0) _exit(98);
    dup2(ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    qk_process_begin();
    puts("nobody hears it");
    _exit(qk_process_flush_stdout() ? 97 : 96);
}

static void print_into_a_full_disk(void)
{
    int full = open("/dev/full", O_WRONLY);
    dup2(full, 1);
    puts("no memory");
    errno = 0;
    bool said = qk_process_flush_stdout();
    _exit(said ? 97 : errno == ENOSPC ? 3 : 96);
}

static void test_stdout(void)
{
    char said[64];
    CHECK_INT(in_child(print_into_a_closed_pipe, said, sizeof said), -SIGPIPE);
    CHECK_STR(said, "");
    CHECK_INT(in_child(print_into_a_full_disk, said, sizeof said), 3);
}

static void put_text(const char *name, const char *text)
{
    char *path = in_folder(name), *parent = qk_strf("%.*s", (int)(strrchr(path, '/') - path), path);
    CHECK_INT(qk_make_dirs(parent, &test_error), QK_OK);
    CHECK_INT(qk_write_file(path, text, strlen(text), &test_error), QK_OK);
    free(path);
    free(parent);
}

static void test_available_threads(void)
{
    char *root = in_folder("root");
    CHECK(qk_available_threads(root) == UINT64_MAX);
    put_text("root/proc/self/cgroup", "0::/a/b\n");
    put_text("root/sys/fs/cgroup/a/b/pids.max", "max\n");
    put_text("root/sys/fs/cgroup/a/b/pids.current", "3\n");
    CHECK(qk_available_threads(root) == UINT64_MAX);
    put_text("root/sys/fs/cgroup/a/pids.max", "10\n");
    put_text("root/sys/fs/cgroup/a/pids.current", "8\n");
    CHECK_INT(qk_available_threads(root), 2);
    put_text("root/proc/self/cgroup", "4:memory:/x\n7:pids:/y\n");
    put_text("root/sys/fs/cgroup/pids/y/pids.max", "5\n");
    put_text("root/sys/fs/cgroup/pids/y/pids.current", "5\n");
    CHECK_INT(qk_available_threads(root), 0);
    free(root);
}

static void test_random(void)
{
    char a[17], b[17];
    CHECK_INT(qk_unique_name(a, &test_error), QK_OK);
    CHECK_INT(qk_unique_name(b, &test_error), QK_OK);
    CHECK(strlen(a) == 16 && strlen(b) == 16 && strcmp(a, b) != 0);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    char template[] = "/tmp/qkengine-files-XXXXXX";
    folder = mkdtemp(template);
    RUN(test_kinds);
    RUN(test_cannot_tell);
    RUN(test_sizes);
    RUN(test_remove_tree);
    RUN(test_no_writing_through_links);
    RUN(test_locks_are_files_of_their_own);
    RUN(test_made_once);
    RUN(test_statuses);
    RUN(test_make_dirs);
    RUN(test_file_size_limit);
    RUN(test_threads);
#ifndef __SANITIZE_ADDRESS__
    RUN(test_memory);
#endif
    RUN(test_standard_files);
    RUN(test_stdout);
    RUN(test_available_threads);
    RUN(test_random);
    CHECK_INT(qk_remove_tree(folder, &test_error), QK_OK);
    return test_summary("files");
}
