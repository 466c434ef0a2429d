/* See file.h. */
#include "engine/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static qk_status look(const char *path, bool follow, qk_path_info *out, qk_error *err)
{
    struct stat st;
    *out = (qk_path_info){QK_PATH_ABSENT, 0};
    if (fstatat(AT_FDCWD, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || errno == ENOTDIR ? QK_OK
                                                   : qk_fail_errno(err, "cannot look at", path);
    out->type = S_ISREG(st.st_mode)   ? QK_PATH_FILE
                : S_ISDIR(st.st_mode) ? QK_PATH_FOLDER
                : S_ISLNK(st.st_mode) ? QK_PATH_LINK
                                      : QK_PATH_OTHER;
    if (out->type == QK_PATH_FILE) out->size = (uint64_t)st.st_size;
    return QK_OK;
}

qk_status qk_path_look(const char *path, qk_path_info *out, qk_error *err)
{
    return look(path, true, out, err);
}

qk_status qk_path_look_at_name(const char *path, qk_path_info *out, qk_error *err)
{
    return look(path, false, out, err);
}

qk_status qk_has_file(const char *path, bool *has, qk_error *err)
{
    qk_path_info info;
    qk_status s = look(path, true, &info, err);
    *has = info.type == QK_PATH_FILE;
    return s;
}

qk_status qk_has_folder(const char *path, bool *has, qk_error *err)
{
    qk_path_info info;
    qk_status s = look(path, true, &info, err);
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
    QK_TRY(look(path, true, &info, err));
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

static qk_status make_dir(const char *path, qk_error *err)
{
    if (mkdir(path, 0777) == 0) return QK_OK;
    int why = errno;
    /* A folder that is there is fine whatever mkdir says: it may say EACCES or EROFS of it. */
    qk_path_info info;
    QK_TRY(look(path, true, &info, err));
    if (info.type == QK_PATH_FOLDER) return QK_OK;
    errno = why == EEXIST ? ENOTDIR : why; /* a file is in the way */
    return qk_fail_errno(err, "cannot make the folder", path);
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

qk_status qk_sync_dir(const char *path, qk_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return qk_fail_errno(err, "cannot open the folder", path);
    int rc = fsync(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    /* Some network file systems cannot sync a folder; the data itself is safe there. */
    if (rc != 0 && errno != EINVAL && errno != ENOTSUP)
        return qk_fail_errno(err, "cannot flush the folder", path);
    return QK_OK;
}

qk_status qk_remove_file(const char *path, qk_error *err)
{
    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR) return QK_OK;
    return qk_fail_errno(err, "cannot remove", path);
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

/* Takes the descriptor. */
static qk_status list_open(int fd, const char *path, qk_names *out, qk_error *err)
{
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
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
    *out = (qk_names){0};
    QK_TRY(list_open(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path, out, err));
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_bytes);
    return QK_OK;
}

/* `name` in an open folder; path is for messages. A link is removed, not what it leads to, whatever
 * somebody puts in its place meanwhile. */
static qk_status remove_at(int folder, const char *name, const char *path, qk_error *err)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT || errno == ENOTDIR) return QK_OK;
    int why = errno, fd = -1;
    /* Linux says EISDIR of a folder, POSIX EPERM. */
    if (why == EISDIR || why == EPERM)
        fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (why != EISDIR) errno = why;
        return qk_fail_errno(err, "cannot remove", path);
    }
    qk_names names = {0};
    qk_status s = list_open(dup(fd), path, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        char *inside = qk_path_join(path, names.items[i]);
        s = remove_at(fd, names.items[i], inside, err);
        free(inside);
    }
    qk_names_free(&names);
    close(fd);
    if (s == QK_OK && unlinkat(folder, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        s = qk_fail_errno(err, "cannot remove the folder", path);
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

static qk_status open_regular(const char *path, int *fd, struct stat *st, qk_error *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO is refused, not waited for */
    if (*fd < 0) return qk_fail_errno(err, "cannot open", path);
    bool known = fstat(*fd, st) == 0;
    if (known && S_ISREG(st->st_mode)) return QK_OK;
    qk_status s = known ? not_regular(path, err) : qk_fail_errno(err, "cannot look at", path);
    close(*fd);
    return s;
}

static int64_t written(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

qk_status qk_map_open_to_read(qk_map *map, const char *path, qk_error *err)
{
    *map = (qk_map){0};
    int fd;
    struct stat st;
    QK_TRY(open_regular(path, &fd, &st, err));
    size_t size = (size_t)st.st_size;
    void *p = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (p == MAP_FAILED) {
        qk_fail_errno(err, "cannot map", path);
        close(fd);
        return err->status;
    }
    *map = (qk_map){p, size, fd + 1, written(&st)};
    return QK_OK;
}

static void close_file(qk_map *map)
{
    if (map->file) close(map->file - 1);
    map->file = 0;
}

qk_status qk_map_open(qk_map *map, const char *path, qk_error *err)
{
    qk_status s = qk_map_open_to_read(map, path, err);
    close_file(map);
    return s;
}

void qk_map_close(qk_map *map)
{
    if (map->data) munmap((void *)map->data, map->size);
    close_file(map);
    *map = (qk_map){0};
}

int qk_map_read(const qk_map *map, const void *data, void *out, size_t bytes)
{
    size_t first = (size_t)((const uint8_t *)data - map->data);
    QK_ASSERT(first <= map->size && bytes <= map->size - first);
    for (size_t at = 0; at < bytes;) {
        ssize_t n = pread(map->file - 1, (char *)out + at, bytes - at, (off_t)(first + at));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : -1;
        at += (size_t)n;
    }
    return 0;
}

qk_status qk_map_check(const qk_map *map, const char *path, qk_error *err)
{
    struct stat st;
    if (fstat(map->file - 1, &st) != 0) return qk_fail_errno(err, "cannot look at", path);
    if ((size_t)st.st_size == map->size && written(&st) == map->changed) return QK_OK;
    return qk_fail(err, QK_ERR_DATA, "begin again with files that nobody writes to",
                   "%s: was changed while it was in use (%zu bytes then, %lld now)", path,
                   map->size, (long long)st.st_size);
}

void qk_map_forget(const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data;
    uintptr_t first = (begin + page - 1) / page * page, last = (begin + bytes) / page * page;
    if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
}

/* By read, not by a mapping: a failing disk is an error then, not SIGBUS. */
static qk_status read_whole(qk_buf *out, int fd, size_t size, const char *path, size_t limit,
                            qk_error *err)
{
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

qk_status qk_read_file(qk_buf *out, const char *path, size_t limit, qk_error *err)
{
    int fd;
    struct stat st;
    *out = (qk_buf){0};
    QK_TRY(open_regular(path, &fd, &st, err));
    qk_status s = read_whole(out, fd, (size_t)st.st_size, path, limit, err);
    close(fd);
    if (s != QK_OK) qk_buf_free(out);
    return s;
}

qk_status qk_read_file_if_there(qk_buf *out, const char *path, size_t limit, bool *there,
                                qk_error *err)
{
    *out = (qk_buf){0};
    QK_TRY(qk_has_file(path, there, err));
    return *there ? qk_read_file(out, path, limit, err) : QK_OK;
}

qk_status qk_writer_open(qk_writer *w, const char *path, qk_error *err)
{
    char *tmp = qk_strf("%s.tmp", path);
    qk_status s = qk_writer_open_as(w, path, tmp, err);
    free(tmp);
    return s;
}

qk_status qk_writer_open_as(qk_writer *w, const char *path, const char *tmp, qk_error *err)
{
    *w = (qk_writer){.path = qk_strdup(path), .tmp = qk_strdup(tmp)};
    w->file = fopen(w->tmp, "wbe");
    if (w->file) return QK_OK;
    qk_status s = qk_fail_errno(err, "cannot write", w->tmp);
    qk_writer_abort(w);
    return s;
}

void qk_writer_add(qk_writer *w, const void *bytes, size_t n)
{
    w->offset += n;
    if (w->error || !n) return;
    errno = 0;
    if (fwrite(bytes, 1, n, w->file) != n) w->error = errno ? errno : EIO;
}

static void writer_free(qk_writer *w)
{
    free(w->path);
    free(w->tmp);
    *w = (qk_writer){0};
}

static qk_status sync_parent(const char *path, qk_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder =
        slash ? qk_strf("%.*s", (int)(slash == path ? 1 : slash - path), path) : qk_strdup(".");
    qk_status s = qk_sync_dir(folder, err);
    free(folder);
    return s;
}

/* To the disk, and closed. */
static void writer_flush(qk_writer *w)
{
    if (!w->error && fflush(w->file) != 0) w->error = errno;
    if (!w->error && fsync(fileno(w->file)) != 0) w->error = errno;
    if (fclose(w->file) != 0 && !w->error) w->error = errno;
    w->file = NULL;
}

qk_status qk_writer_commit(qk_writer *w, qk_error *err)
{
    writer_flush(w);
    if (!w->error && rename(w->tmp, w->path) != 0) w->error = errno;
    if (w->error) {
        errno = w->error;
        qk_status s = qk_fail_errno(err, "cannot write", w->path);
        qk_writer_abort(w);
        return s;
    }
    qk_status s = sync_parent(w->path, err);
    writer_free(w);
    return s;
}

void qk_writer_abort(qk_writer *w)
{
    if (w->file) fclose(w->file);
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

void qk_unique_name(char out[17])
{
    uint64_t n;
    if (getrandom(&n, sizeof n, 0) != (ssize_t)sizeof n) qk_fatal("no random numbers");
    snprintf(out, 17, "%016llx", (unsigned long long)n);
}

/* A second name for a file never replaces another one. File systems without links (FAT) can rename
 * without replacing; NFS cannot, and has links. */
static int name_once(const char *tmp, const char *path)
{
    if (link(tmp, path) == 0 || errno == EEXIST) return 0;
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return errno;
    return renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) && errno != EEXIST ? errno
                                                                                         : 0;
}

qk_status qk_create_file(const char *path, const void *bytes, size_t n, qk_error *err)
{
    char unique[17], *tmp;
    qk_unique_name(unique);
    tmp = qk_strf("%s.%s.tmp", path, unique);
    qk_writer w;
    qk_status s = qk_writer_open_as(&w, path, tmp, err);
    free(tmp);
    if (s != QK_OK) return s;
    qk_writer_add(&w, bytes, n);
    writer_flush(&w);
    if (!w.error) w.error = name_once(w.tmp, path);
    errno = w.error;
    s = w.error ? qk_fail_errno(err, "cannot write", path) : sync_parent(path, err);
    qk_writer_abort(&w); /* the temporary name */
    return s;
}
