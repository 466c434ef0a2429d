/* See cache.h. */
#include "engine/base/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/log.h"

static char *cache_root(void)
{
    const char *own = getenv("QKENGINE_CACHE"), *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (own && *own) return strcmp(own, "off") ? qk_strdup(own) : NULL;
    if (xdg && *xdg == '/') return qk_strf("%s/qkengine", xdg);
    return home && *home == '/' ? qk_strf("%s/.cache/qkengine", home) : NULL;
}

char *qk_cache_folder(const char *kind)
{
    char *root = cache_root(), *folder = root ? qk_path_join(root, kind) : NULL;
    free(root);
    return folder;
}

/* ---- trust ---- */

/* Whose files are believed beside our own and root's, and which of the bits 022 they may have. */
typedef struct trust {
    uid_t owner;
    mode_t writable;
} trust;

/* What was opened is asked, not its path, which may lead elsewhere by now. */
static bool is_trusted(int fd, trust t, mode_t type, const char *path)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    struct stat st;
    if (fstat(fd, &st) != 0 || (st.st_mode & S_IFMT) != type) return false;
    bool owner = st.st_uid == geteuid() || st.st_uid == 0 || st.st_uid == t.owner;
    bool writable = st.st_mode & 022 & ~t.writable;
    if (owner && !writable) return true;
    if (atomic_flag_test_and_set(&warned)) return false;
    if (!owner)
        qk_warn("%s belongs to another user (%u), so this cache is not used: set QKENGINE_CACHE to "
                "a folder of your own, or to off",
                path, (unsigned)st.st_uid);
    else
        qk_warn("%s can be written to by others (mode %04o), so this cache is not used: "
                "`chmod go-w` it, or set QKENGINE_CACHE to a folder of your own",
                path, (unsigned)(st.st_mode & 07777));
    return false;
}

/* Opens a folder below `at`; -1 where it is absent or not to be trusted. */
static int open_folder(int at, const char *name, int flags, trust t, const char *path)
{
    int fd = qk_open_at(at, name, O_RDONLY | O_DIRECTORY | flags);
    if (fd < 0 || is_trusted(fd, t, S_IFDIR, path)) return fd;
    close(fd);
    return -1;
}

/* ROOT/KIND, or -1. ROOT may be reached by links: whoever set it chose that. */
static int open_kind(const char *kind, bool make)
{
    char *root = cache_root();
    if (!root) return -1;
    for (size_t n = strlen(root); n > 1 && root[n - 1] == '/';) root[--n] = 0;
    char *path = qk_path_join(root, kind);
    trust own = {geteuid(), 0};
    if (make) { /* ROOT for us alone, and what leads to it */
        qk_error ignored;
        const char *slash = strrchr(root, '/');
        char *parent = slash > root ? qk_strf("%.*s", (int)(slash - root), root) : NULL;
        if (!parent || qk_make_dirs(parent, &ignored) == QK_OK) mkdir(root, 0700);
        free(parent);
    }
    int top = open_folder(AT_FDCWD, root, 0, own, root), fd = -1;
    if (top >= 0) {
        if (make) mkdirat(top, kind, 0700);
        fd = open_folder(top, kind, O_NOFOLLOW, own, path);
        close(top);
    }
    free(path);
    free(root);
    return fd;
}

/* ---- files ---- */

/* O_NONBLOCK: a pipe that waits for a writer is not waited for. */
static bool read_trusted(int folder, const char *name, const char *path, trust t, size_t limit,
                         qk_buf *out)
{
    qk_error ignored;
    *out = (qk_buf){0};
    int fd = qk_open_at(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return false;
    bool ok = is_trusted(fd, t, S_IFREG, path) &&
              qk_read_open_file(out, fd, path, limit, &ignored) == QK_OK;
    close(fd);
    return ok;
}

bool qk_kept_read(const char *kind, const char *name, size_t limit, qk_buf *out)
{
    *out = (qk_buf){0};
    int folder = open_kind(kind, false);
    if (folder < 0) return false;
    char *at = qk_cache_folder(kind), *path = qk_path_join(at, name);
    bool ok = read_trusted(folder, name, path, (trust){geteuid(), 0}, limit, out);
    close(folder);
    free(path);
    free(at);
    return ok;
}

bool qk_kept_write(const char *kind, const char *name, const void *bytes, size_t n)
{
    int folder = open_kind(kind, true);
    if (folder < 0) return false;
    char unique[17] = "";
    qk_error ignored;
    bool named = qk_unique_name(unique, &ignored) == QK_OK;
    char *tmp = qk_strf("%s.%s.tmp", name, unique);
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = named ? openat(folder, tmp, flags, 0600) : -1;
    bool ok = fd >= 0 && !qk_write_all(fd, bytes, n) && fsync(fd) == 0;
    if (fd >= 0) ok = close(fd) == 0 && ok;
    ok = ok && renameat(folder, tmp, folder, name) == 0;
    if (fd >= 0 && !ok) unlinkat(folder, tmp, 0);
    free(tmp);
    close(folder);
    return ok;
}

/* ---- what was installed ---- */

/* The folder of the running program, and how far it is trusted itself; NULL: it cannot be told. */
static char *program_folder(trust *t)
{
    char path[4096];
    struct stat st;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || stat("/proc/self/exe", &st) != 0) return NULL;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    *slash = 0;
    *t = (trust){st.st_uid, st.st_mode & 022};
    return qk_strdup(path);
}

bool qk_installed_read(const char *relative, const char *name, size_t limit, qk_buf *out)
{
    trust t;
    *out = (qk_buf){0};
    char *program = program_folder(&t);
    if (!program) return false;
    char *folder = qk_path_join(program, relative), *path = qk_path_join(folder, name);
    int fd = open_folder(AT_FDCWD, folder, 0, t, folder);
    bool ok = fd >= 0 && read_trusted(fd, name, path, t, limit, out);
    if (fd >= 0) close(fd);
    free(path);
    free(folder);
    free(program);
    return ok;
}
