/* See beneath.h. */
#include "engine/base/beneath.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/text.h"

enum { MAX_DEPTH = 16, FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW };
/* A pipe that stands where a file should is refused, not waited for. */
enum { AS_FILE = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY };

static const char *part_problem(const char *part, size_t n)
{
    if (!n) return "a part of it is empty";
    if (n > NAME_MAX) return "a part of it is too long";
    if (n == 1 && part[0] == '.') return "it has '.' in it";
    if (n == 2 && part[0] == '.' && part[1] == '.') return "it has '..' in it";
    return NULL;
}

const char *qk_path_problem(const char *path, size_t length)
{
    if (!length) return "it is empty";
    if (length >= PATH_MAX / 2) return "it is too long";
    if (path[0] == '/') return "it begins with '/'";
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7F) return "it has control characters";
        if (path[i] == '\\') return "it has a backslash";
    }
    if (qk_utf8_check((const uint8_t *)path, length) != length) return "it is not UTF-8";
    for (size_t at = 0, n; at <= length; at += n + 1) {
        const char *slash = memchr(path + at, '/', length - at);
        n = slash ? (size_t)(slash - path) - at : length - at;
        const char *problem = part_problem(path + at, n);
        if (problem) return problem;
    }
    return NULL;
}

/* ---- folders ---- */

/* errno of a step into a folder, as a message. */
static qk_status step_failed(const char *path, bool make, qk_error *err)
{
    if (errno == ELOOP || errno == ENOTDIR)
        return qk_fail(
            err, QK_ERR_DATA, "remove it; only the folder that you name yourself may be a link",
            "%s: is a link or no folder, and nothing is read or written through it", path);
    if (make) return qk_fail_create(err, "cannot make the folder", path);
    return qk_fail_errno(err, "cannot open the folder", path);
}

qk_status qk_folder_open(qk_folder *f, const char *path, qk_error *err)
{
    *f = (qk_folder){.fd = qk_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)};
    if (f->fd < 0) return qk_fail_errno(err, "cannot open the folder", path);
    f->path = qk_strdup(path);
    return QK_OK;
}

void qk_folder_close(qk_folder *f)
{
    if (f->path) close(f->fd);
    free(f->path);
    *f = (qk_folder){.fd = -1};
}

/* The folder called name in dir, -1 and errno when there is none. A new one is flushed. */
static int step(int dir, const char *name, bool make)
{
    bool made = make && mkdirat(dir, name, 0777) == 0;
    int why = make && !made ? errno : EEXIST;
    if (made && (errno = qk_flush_folder(dir))) return -1;
    /* One that is there is fine whatever mkdir says: it may say EROFS of it. */
    int fd = qk_open_at(dir, name, FOLDER);
    if (fd < 0 && why != EEXIST) errno = why;
    return fd;
}

qk_status qk_folder_open_in(qk_folder *f, const qk_folder *above, const char *name, bool make,
                            qk_error *err)
{
    char *path = qk_strf("%s/%s", above->path, name);
    *f = (qk_folder){.fd = step(above->fd, name, make)};
    if (f->fd >= 0) {
        f->path = path;
        return QK_OK;
    }
    qk_status s = step_failed(path, make, err);
    free(path);
    return s;
}

/* Walks to the folder that holds the last part of a path; *name is that part. The caller closes
 * *dir. */
static qk_status walk(const qk_folder *f, const char *relative, bool make, int *dir,
                      const char **name, qk_error *err)
{
    *dir = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
    if (*dir < 0) return qk_fail_errno(err, "cannot open the folder", f->path);
    const char *at = relative;
    for (const char *slash; (slash = strchr(at, '/')); at = slash + 1) {
        char part[NAME_MAX + 1];
        size_t n = (size_t)(slash - at);
        QK_ASSERT(!part_problem(at, n));
        memcpy(part, at, n);
        part[n] = 0;
        int next = step(*dir, part, make), why = errno;
        close(*dir);
        if (next >= 0) {
            *dir = next;
            continue;
        }
        char *path = qk_strf("%s/%.*s", f->path, (int)(slash - relative), relative);
        errno = why;
        qk_status s = step_failed(path, make, err);
        free(path);
        return s;
    }
    *name = at;
    return QK_OK;
}

qk_status qk_folder_make_way(const qk_folder *f, const char *relative, qk_error *err)
{
    int dir;
    const char *name;
    QK_TRY(walk(f, relative, true, &dir, &name, err));
    close(dir);
    return QK_OK;
}

/* ---- files ---- */

static qk_status not_regular(const char *path, qk_error *err)
{
    return qk_fail(err, QK_ERR_DATA, "remove it and run the same command again",
                   "%s: is no regular file but a link, a folder, a pipe or a device", path);
}

/* Checks what was opened (or errno says why not); closes it when it is not a file of ours. */
static qk_status check_opened(int *fd, const char *path, bool written, qk_error *err)
{
    struct stat st;
    if (*fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
        return not_regular(path, err);
    if (*fd < 0 && written) return qk_fail_create(err, "cannot write", path);
    if (*fd < 0) return qk_fail_errno(err, "cannot open", path);
    qk_status s = QK_OK;
    if (fstat(*fd, &st) != 0)
        s = qk_fail_errno(err, "cannot look at", path);
    else if (!S_ISREG(st.st_mode))
        s = not_regular(path, err);
    else if (written && st.st_nlink > 1)
        s = qk_fail(err, QK_ERR_DATA, "remove it and run the same command again",
                    "%s: this file has another name elsewhere, so it is not written to", path);
    if (s == QK_OK) return QK_OK;
    close(*fd);
    *fd = -1;
    return s;
}

qk_status qk_open_regular(int *fd, const char *path, int flags, qk_error *err)
{
    *fd = qk_open_at(AT_FDCWD, path, flags | AS_FILE);
    return check_opened(fd, path, (flags & O_ACCMODE) != O_RDONLY, err);
}

qk_status qk_folder_open_file(const qk_folder *f, const char *relative, int *fd, qk_error *err)
{
    int dir;
    const char *name;
    *fd = -1;
    QK_TRY(walk(f, relative, false, &dir, &name, err));
    *fd = qk_open_at(dir, name, O_RDONLY | AS_FILE);
    int why = errno;
    close(dir);
    char *path = qk_strf("%s/%s", f->path, relative);
    errno = why;
    qk_status s = check_opened(fd, path, false, err);
    free(path);
    return s;
}

qk_status qk_folder_has_file(const qk_folder *f, const char *relative, bool *has, qk_error *err)
{
    int dir;
    const char *name;
    struct stat st;
    *has = false;
    qk_status s = walk(f, relative, false, &dir, &name, err);
    if (s != QK_OK) return s == QK_ERR_NOTFOUND ? QK_OK : s;
    char *path = qk_strf("%s/%s", f->path, relative);
    bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there && errno != ENOENT)
        s = qk_fail_errno(err, "cannot look at", path);
    else if (there && !S_ISREG(st.st_mode))
        s = not_regular(path, err);
    *has = there && s == QK_OK;
    free(path);
    close(dir);
    return s;
}

qk_status qk_folder_move(const qk_folder *from, const qk_folder *to, const char *relative,
                         qk_error *err)
{
    int source, target;
    const char *name;
    QK_TRY(walk(from, relative, false, &source, &name, err));
    qk_status s = walk(to, relative, true, &target, &name, err);
    if (s == QK_OK) {
        char *path = qk_strf("%s/%s", to->path, relative);
        struct stat st;
        if (fstatat(source, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            s = qk_fail_errno(err, "cannot look at", path);
        else if (!S_ISREG(st.st_mode))
            s = not_regular(path, err);
        else if (renameat(source, name, target, name) != 0 || (errno = qk_flush_folder(target)))
            s = qk_fail_write(err, "cannot write", path);
        free(path);
        close(target);
    }
    close(source);
    return s;
}

/* ---- leftovers ---- */

typedef struct cleaning {
    bool (*is_ours)(const char *name, bool folder);
    qk_error *err;
} cleaning;

static qk_status clean_folder(const cleaning *c, int dir, const char *path, int depth);

static qk_status clean_entry(const cleaning *c, int dir, const char *path, const char *name,
                             int depth)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? QK_OK : qk_fail_errno(c->err, "cannot look at", path);
    bool folder = S_ISDIR(st.st_mode);
    if (!c->is_ours(name, folder)) return QK_OK;
    if (!folder) {
        bool gone = unlinkat(dir, name, 0) == 0 || errno == ENOENT;
        return gone ? QK_OK : qk_fail_write(c->err, "cannot remove", path);
    }
    int inner = qk_open_at(dir, name, FOLDER);
    if (inner < 0) return step_failed(path, false, c->err);
    qk_status s = clean_folder(c, inner, path, depth + 1);
    close(inner);
    if (s != QK_OK || unlinkat(dir, name, AT_REMOVEDIR) == 0) return s;
    bool kept = errno == ENOTEMPTY || errno == EEXIST || errno == ENOENT;
    return kept ? QK_OK : qk_fail_write(c->err, "cannot remove", path);
}

static qk_status clean_folder(const cleaning *c, int dir, const char *path, int depth)
{
    if (depth > MAX_DEPTH) return QK_OK; /* deeper than anything of ours */
    qk_names names;
    qk_status s = qk_list_open(qk_open_at(dir, ".", FOLDER), path, &names, c->err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        char *inner = qk_strf("%s/%s", path, names.items[i]);
        s = clean_entry(c, dir, inner, names.items[i], depth);
        free(inner);
    }
    qk_names_free(&names);
    return s;
}

qk_status qk_folder_clean(const qk_folder *f, bool (*is_ours)(const char *name, bool folder),
                          qk_error *err)
{
    cleaning c = {is_ours, err};
    return clean_folder(&c, f->fd, f->path, 0);
}
