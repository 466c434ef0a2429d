/* See file.h. */
#include "engine/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int qk_open_at(int folder, const char *path, int flags)
{
    int fd;
    while ((fd = openat(folder, path, flags | O_CLOEXEC, 0666)) < 0 && errno == EINTR) continue;
    return fd;
}

/* flags: of fstatat(2). */
static qk_status stat_path(const char *path, int flags, qk_path_info *out, qk_error *err)
{
    struct stat st;
    *out = (qk_path_info){QK_PATH_ABSENT, 0};
    if (fstatat(AT_FDCWD, path, &st, flags) != 0)
        return errno == ENOENT || errno == ENOTDIR ? QK_OK
                                                   : qk_fail_errno(err, "cannot look at", path);
    out->type = S_ISREG(st.st_mode)   ? QK_PATH_FILE
                : S_ISDIR(st.st_mode) ? QK_PATH_FOLDER
                : S_ISLNK(st.st_mode) ? QK_PATH_LINK
                                      : QK_PATH_OTHER;
    if (out->type == QK_PATH_FILE) out->size = (uint64_t)st.st_size;
    return QK_OK;
}

qk_status qk_path_stat(const char *path, qk_path_info *out, qk_error *err)
{
    return stat_path(path, 0, out, err);
}

qk_status qk_path_lstat(const char *path, qk_path_info *out, qk_error *err)
{
    return stat_path(path, AT_SYMLINK_NOFOLLOW, out, err);
}

qk_status qk_has_file(const char *path, bool *has, qk_error *err)
{
    qk_path_info info;
    qk_status s = qk_path_stat(path, &info, err);
    *has = info.type == QK_PATH_FILE;
    return s;
}

qk_status qk_has_folder(const char *path, bool *has, qk_error *err)
{
    qk_path_info info;
    qk_status s = qk_path_stat(path, &info, err);
    *has = info.type == QK_PATH_FOLDER;
    return s;
}

static qk_status not_regular(const char *path, qk_error *err)
{
    return qk_fail(err, QK_ERR_IO, "give the path of a file", "%s: not a regular file", path);
}

qk_status qk_file_size(const char *path, uint64_t *bytes, qk_error *err)
{
    qk_path_info info;
    QK_TRY(qk_path_stat(path, &info, err));
    *bytes = info.size;
    if (info.type == QK_PATH_FILE) return QK_OK;
    if (info.type != QK_PATH_ABSENT) return not_regular(path, err);
    errno = ENOENT;
    return qk_fail_errno(err, "cannot look at", path);
}

char *qk_path_join(const char *folder, const char *name)
{
    if (name[0] == '/' || !folder[0]) return qk_strdup(name);
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    return qk_strf("%.*s%s%s", (int)n, folder, folder[n - 1] == '/' ? "" : "/", name);
}

const char *qk_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* fsync that a signal does not end; 0 or an errno. */
static int flush_to_disk(int fd)
{
    int rc;
    while ((rc = fsync(fd)) != 0 && errno == EINTR) continue;
    return rc ? errno : 0;
}

int qk_flush_folder(int fd)
{
    int why = flush_to_disk(fd);
    /* Some network file systems cannot sync a folder; the data itself is safe there. */
    return why == EINVAL || why == ENOTSUP ? 0 : why;
}

/* The folder that the path's last name stands in; the caller frees. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? qk_strf("%.*s", (int)(slash == path ? 1 : slash - path), path) : qk_strdup(".");
}

qk_status qk_fail_create(qk_error *err, const char *action, const char *path)
{
    int why = errno;
    char *folder = parent_of(path);
    struct stat st;
    bool above = why == ENOENT && stat(folder, &st) == 0 && S_ISDIR(st.st_mode);
    if (above)
        qk_fail(err, QK_ERR_IO, "choose a folder on a disk",
                "%s: %s: nothing new can be made in the folder '%s'", path, action, folder);
    free(folder);
    errno = why;
    return above ? err->status : qk_fail_write(err, action, path);
}

/* fsync of the folder that the path's last name stands in. */
static qk_status sync_parent(const char *path, qk_error *err)
{
    char *folder = parent_of(path);
    qk_status s = QK_OK;
    int fd = qk_open_at(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == EACCES) /* we may write there, but not read: no way but to flush all */
        sync();
    else if (fd < 0)
        s = qk_fail_write(err, "cannot open the folder", folder);
    else if ((errno = qk_flush_folder(fd)))
        s = qk_fail_write(err, "cannot flush the folder", folder);
    if (fd >= 0) close(fd);
    free(folder);
    return s;
}

static qk_status make_dir(const char *path, qk_error *err)
{
    if (mkdir(path, 0777) == 0) return sync_parent(path, err);
    int why = errno;
    /* A folder that is there is fine whatever mkdir says: it may say EACCES or EROFS of it. */
    qk_path_info info;
    QK_TRY(qk_path_stat(path, &info, err));
    if (info.type == QK_PATH_FOLDER) return QK_OK;
    errno = why == EEXIST ? ENOTDIR : why; /* a file is in the way */
    return qk_fail_create(err, "cannot make the folder", path);
}

qk_status qk_make_dirs(const char *path, qk_error *err)
{
    char *copy = qk_strdup(path);
    qk_status s = QK_OK;
    for (char *p = copy + 1; s == QK_OK; p++) {
        if (*p != '/' && *p) continue;
        char kept = *p;
        *p = 0;
        s = make_dir(copy, err);
        *p = kept;
        if (!kept) break;
    }
    free(copy);
    return s;
}

qk_status qk_disk_free(const char *path, uint64_t *bytes, qk_error *err)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0) return qk_fail_errno(err, "cannot look at the disk of", path);
    *bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return QK_OK;
}

qk_status qk_remove_file(const char *path, qk_error *err)
{
    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR) return QK_OK;
    return qk_fail_write(err, "cannot remove", path);
}

void qk_names_add(qk_names *names, const char *name)
{
    QK_GROW(names->items, names->count, names->capacity);
    names->items[names->count++] = qk_strdup(name);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void qk_names_sort(qk_names *names)
{
    if (names->count) qsort(names->items, names->count, sizeof *names->items, by_bytes);
}

qk_status qk_list_open(int fd, const char *path, qk_names *out, qk_error *err)
{
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    *out = (qk_names){0};
    if (!dir) {
        qk_fail_errno(err, "cannot list the folder", path);
        if (fd >= 0) close(fd);
        return err->status;
    }
    errno = 0; /* readdir says by it alone whether NULL is the end */
    for (struct dirent *entry; (entry = readdir(dir)); errno = 0)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            qk_names_add(out, entry->d_name);
    int why = errno;
    if (closedir(dir) != 0 && !why) why = errno;
    if (why) {
        qk_names_free(out);
        errno = why;
        return qk_fail_errno(err, "cannot list the folder", path);
    }
    return QK_OK;
}

qk_status qk_list_dir(const char *path, qk_names *out, qk_error *err)
{
    QK_TRY(qk_list_open(qk_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY), path, out, err));
    qk_names_sort(out);
    return QK_OK;
}

/* `name` in an open folder; path is for messages. A link is removed, not what it leads to, whatever
 * somebody puts there meanwhile. */
static qk_status remove_at(int folder, const char *name, const char *path, qk_error *err)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT || errno == ENOTDIR) return QK_OK;
    int why = errno, fd = -1;
    /* Linux says EISDIR of a folder, POSIX EPERM. */
    if (why == EISDIR || why == EPERM)
        fd = qk_open_at(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) {
        if (why != EISDIR) errno = why;
        return qk_fail_write(err, "cannot remove", path);
    }
    qk_names names;
    qk_status s = qk_list_open(dup(fd), path, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        char *inside = qk_path_join(path, names.items[i]);
        s = remove_at(fd, names.items[i], inside, err);
        free(inside);
    }
    qk_names_free(&names);
    close(fd);
    if (s == QK_OK && unlinkat(folder, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        s = qk_fail_write(err, "cannot remove the folder", path);
    return s;
}

qk_status qk_remove_tree(const char *path, qk_error *err)
{
    return remove_at(AT_FDCWD, path, path, err);
}

void qk_names_free(qk_names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->items[i]);
    free(names->items);
    *names = (qk_names){0};
}

static qk_status read_whole(qk_buf *out, int fd, const char *path, size_t limit, qk_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return qk_fail_errno(err, "cannot look at", path);
    if (!S_ISREG(st.st_mode)) return not_regular(path, err);
    size_t size = (size_t)st.st_size;
    if (size > limit)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: %zu bytes, more than the limit of %zu", path,
                       size, limit);
    qk_buf_reserve(out, size + 1);
    while (out->size < size) {
        ssize_t n = read(fd, out->data + out->size, size - out->size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return qk_fail_errno(err, "cannot read", path);
        if (!n)
            return qk_fail(err, QK_ERR_DATA, "begin again with files that nobody writes to",
                           "%s: ends after %zu of its %zu bytes", path, out->size, size);
        out->size += (size_t)n;
    }
    qk_buf_str(out);
    return QK_OK;
}

qk_status qk_read_open_file(qk_buf *out, int fd, const char *path, size_t limit, qk_error *err)
{
    *out = (qk_buf){0};
    qk_status s = read_whole(out, fd, path, limit, err);
    if (s != QK_OK) qk_buf_free(out);
    return s;
}

qk_status qk_read_file(qk_buf *out, const char *path, size_t limit, qk_error *err)
{
    /* O_NONBLOCK: a pipe is refused, not waited for. */
    int fd = qk_open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK);
    *out = (qk_buf){0};
    if (fd < 0) return qk_fail_errno(err, "cannot open", path);
    qk_status s = qk_read_open_file(out, fd, path, limit, err);
    close(fd);
    return s;
}

qk_status qk_read_file_if_there(qk_buf *out, const char *path, size_t limit, bool *there,
                                qk_error *err)
{
    *out = (qk_buf){0};
    QK_TRY(qk_has_file(path, there, err));
    return *there ? qk_read_file(out, path, limit, err) : QK_OK;
}

enum { WRITER_CAPACITY = 64 << 10 };

static void writer_free(qk_writer *w)
{
    free(w->path);
    free(w->tmp);
    free(w->buffer);
    *w = (qk_writer){0};
}

qk_status qk_writer_open(qk_writer *w, const char *path, qk_error *err)
{
    char *tmp = qk_strf("%s.tmp", path);
    qk_status s = qk_writer_open_as(w, path, tmp, err);
    free(tmp);
    return s;
}

/* O_EXCL makes a new file or none, whatever link has been planted under the name; what an earlier
 * program left there goes. */
static int create_new(const char *path)
{
    enum { TRIES = 8 };
    for (int i = 0;; i++) {
        int fd = qk_open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL);
        if (fd >= 0 || errno != EEXIST || i == TRIES) return fd;
        if (unlink(path) != 0 && errno != ENOENT) return -1;
    }
}

qk_status qk_writer_open_as(qk_writer *w, const char *path, const char *tmp, qk_error *err)
{
    *w = (qk_writer){.path = qk_strdup(path), .tmp = qk_strdup(tmp)};
    int fd = create_new(tmp);
    if (fd < 0) {
        qk_status s = qk_fail_create(err, "cannot write", tmp);
        writer_free(w);
        return s;
    }
    w->file = fd + 1;
    w->buffer = qk_alloc(WRITER_CAPACITY, 1);
    return QK_OK;
}

int qk_write_all(int fd, const void *bytes, size_t n)
{
    for (const uint8_t *at = bytes; n;) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return done < 0 ? errno : EIO;
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

static void writer_empty(qk_writer *w)
{
    if (!w->error) w->error = qk_write_all(w->file - 1, w->buffer, w->used);
    w->used = 0;
}

void qk_writer_add(qk_writer *w, const void *bytes, size_t n)
{
    w->offset += n;
    if (w->error || !n) return;
    if (n > WRITER_CAPACITY - w->used) writer_empty(w);
    if (n > WRITER_CAPACITY) {
        if (!w->error) w->error = qk_write_all(w->file - 1, bytes, n);
        return;
    }
    memcpy(w->buffer + w->used, bytes, n);
    w->used += n;
}

/* To the disk, and closed. A close that a signal interrupts has closed. */
static void writer_flush(qk_writer *w)
{
    writer_empty(w);
    if (!w->error) w->error = flush_to_disk(w->file - 1);
    if (close(w->file - 1) != 0 && errno != EINTR && !w->error) w->error = errno;
    w->file = 0;
}

qk_status qk_writer_commit(qk_writer *w, qk_error *err)
{
    writer_flush(w);
    if (!w->error && rename(w->tmp, w->path) != 0) w->error = errno;
    if (w->error) {
        errno = w->error;
        qk_status s = qk_fail_write(err, "cannot write", w->path);
        qk_writer_abort(w);
        return s;
    }
    qk_status s = sync_parent(w->path, err);
    writer_free(w);
    return s;
}

void qk_writer_abort(qk_writer *w)
{
    if (w->file) close(w->file - 1);
    if (w->tmp) unlink(w->tmp);
    writer_free(w);
}

qk_status qk_write_file(const char *path, const void *bytes, size_t n, qk_error *err)
{
    qk_writer w;
    QK_TRY(qk_writer_open(&w, path, err));
    qk_writer_add(&w, bytes, n);
    return qk_writer_commit(&w, err);
}

qk_status qk_move_file(const char *from, const char *to, qk_error *err)
{
    if (rename(from, to) != 0) return qk_fail_write(err, "cannot write", to);
    QK_TRY(sync_parent(to, err));
    return sync_parent(from, err);
}

qk_status qk_write_at_start(int file, const void *bytes, size_t n, const char *path, qk_error *err)
{
    for (size_t at = 0; at < n;) {
        ssize_t done = pwrite(file, (const char *)bytes + at, n - at, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done == 0) errno = EIO;
        if (done <= 0) return qk_fail_write(err, "cannot write", path);
        at += (size_t)done;
    }
    return QK_OK;
}

qk_status qk_read_at_start(int file, void *out, size_t n, size_t *got, const char *path,
                           qk_error *err)
{
    for (*got = 0; *got < n;) {
        ssize_t done = pread(file, (char *)out + *got, n - *got, (off_t)*got);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return qk_fail_errno(err, "cannot read", path);
        if (done == 0) return QK_OK;
        *got += (size_t)done;
    }
    return QK_OK;
}

qk_status qk_random_bytes(void *out, size_t n, qk_error *err)
{
    static const char device[] = "/dev/urandom";
    int fd = -1;
    for (size_t at = 0; at < n;) {
        ssize_t got =
            fd < 0 ? getrandom((char *)out + at, n - at, 0) : read(fd, (char *)out + at, n - at);
        if (got > 0) at += (size_t)got;
        if (got > 0 || (got < 0 && errno == EINTR)) continue;
        if (fd >= 0) {
            qk_fail_errno(err, "no random numbers: cannot read", device);
            close(fd);
            return err->status;
        }
        fd = qk_open_at(AT_FDCWD, device, O_RDONLY); /* kernels and sandboxes without the call */
        if (fd < 0) return qk_fail_errno(err, "no random numbers: cannot open", device);
    }
    if (fd >= 0) close(fd);
    return QK_OK;
}

qk_status qk_unique_name(char out[17], qk_error *err)
{
    uint64_t n;
    QK_TRY(qk_random_bytes(&n, sizeof n, err));
    snprintf(out, 17, "%016llx", (unsigned long long)n);
    return QK_OK;
}

/* A second name for a file never replaces another one. File systems without links (FAT) can rename
 * without replacing; NFS cannot, and has links. */
static qk_status name_once(const char *tmp, const char *path, qk_error *err)
{
    int rc = link(tmp, path), why = errno;
    if (rc != 0 && (why == EPERM || why == EOPNOTSUPP || why == ENOSYS)) {
        rc = renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE);
        if (rc != 0 && (errno == EINVAL || errno == ENOSYS)) errno = why; /* it can neither */
    }
    if (rc == 0) return QK_OK;
    if (errno != EEXIST) return qk_fail_write(err, "cannot write", path);
    /* Who was first has made a file. A link is nobody's of ours, and may lead nowhere. */
    qk_path_info info;
    QK_TRY(qk_path_lstat(path, &info, err));
    if (info.type == QK_PATH_FILE || info.type == QK_PATH_ABSENT) return QK_OK;
    return qk_fail(err, QK_ERR_IO, "remove it, then run the same command again",
                   "%s: not a file of its own", path);
}

qk_status qk_create_file(const char *path, const void *bytes, size_t n, qk_error *err)
{
    char unique[17], *tmp;
    QK_TRY(qk_unique_name(unique, err));
    tmp = qk_strf("%s.%s.tmp", path, unique);
    qk_writer w;
    qk_status s = qk_writer_open_as(&w, path, tmp, err);
    free(tmp);
    if (s != QK_OK) return s;
    qk_writer_add(&w, bytes, n);
    writer_flush(&w);
    errno = w.error;
    s = w.error ? qk_fail_write(err, "cannot write", path) : name_once(w.tmp, path, err);
    if (s == QK_OK) s = sync_parent(path, err);
    qk_writer_abort(&w); /* the temporary name */
    return s;
}
