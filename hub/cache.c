/* See cache.h. */
#include "hub/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 64, COPY_PIECE = 1 << 20 };

/* ---- opening ---- */

void qk_cache_open(qk_cache *cache, const qk_hub *hub, const qk_repo *repo)
{
    qk_buf name = {0};
    qk_buf_addf(&name, "%s/%ss--", hub->cache, qk_repo_type_name(repo->type));
    for (const char *c = repo->id; *c; c++)
        if (*c == '/')
            qk_buf_add_str(&name, "--");
        else
            qk_buf_add_byte(&name, (uint8_t)*c);
    qk_buf_str(&name);
    *cache = (qk_cache){.hub = hub,
                        .folder = (char *)name.data,
                        .snapshot = qk_strdup(""),
                        .root = -1,
                        .blobs = -1};
}

void qk_cache_close(qk_cache *cache)
{
    if (cache->root >= 0) close(cache->root);
    if (cache->blobs >= 0) close(cache->blobs);
    free(cache->folder);
    free(cache->snapshot);
    *cache = (qk_cache){.root = -1, .blobs = -1};
}

void qk_cache_set_commit(qk_cache *cache, const char *commit)
{
    free(cache->snapshot);
    snprintf(cache->commit, sizeof cache->commit, "%s", commit);
    cache->snapshot = qk_strf("%s/snapshots/%s", cache->folder, commit);
}

qk_status qk_cache_read_ref(const qk_cache *cache, const char *revision, char commit[72],
                            qk_error *err)
{
    qk_buf text;
    bool found;
    char *path = qk_strf("%s/refs/%s", cache->folder, revision);
    qk_status s = qk_read_file_if_there(&text, path, 4096, &found, err);
    snprintf(commit, 72, "%s", s == QK_OK && found ? qk_buf_str(&text) : revision);
    commit[strcspn(commit, " \r\n")] = 0;
    if (s != QK_OK || !qk_is_commit(commit)) *commit = 0;
    qk_buf_free(&text);
    free(path);
    return s;
}

qk_status qk_cache_has(const qk_cache *cache, const char *path, uint64_t size, bool *has,
                       qk_error *err)
{
    char *full = qk_path_join(cache->snapshot, path);
    qk_path_info info;
    qk_status s = qk_path_stat(full, &info, err);
    free(full);
    *has = info.type == QK_PATH_FILE && (size == UINT64_MAX || info.size == size);
    return s;
}

qk_status qk_cache_digest(const qk_cache *cache, const char *path, char digest[72], qk_error *err)
{
    char target[4096];
    char *full = qk_path_join(cache->snapshot, path);
    ssize_t n = readlink(full, target, sizeof target - 1);
    qk_status s = QK_OK;
    if (n < 0 && errno != EINVAL && errno != ENOENT && errno != ENOTDIR) /* EINVAL: no link */
        s = qk_fail_errno(err, "cannot read the link", full);
    target[n > 0 ? n : 0] = 0;
    const char *name = qk_path_name(target);
    snprintf(digest, 72, "%s", qk_is_digest(name) ? name : "");
    free(full);
    return s;
}

static bool nobody_else_writes(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && (st.st_uid == geteuid() || st.st_uid == 0) &&
           !(st.st_mode & (S_IWGRP | S_IWOTH)) && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

bool qk_cache_is_own(const char *path)
{
    char *folder = qk_strf("%.*s", (int)(qk_path_name(path) - path - 1), path);
    bool own = nobody_else_writes(folder) && nobody_else_writes(path);
    free(folder);
    return own;
}

/* ---- folders without following links ---- */

static qk_status fail_at(const qk_cache *cache, const char *action, const char *name, qk_error *err)
{
    int code = errno;
    if (code == ELOOP || code == ENOTDIR)
        return qk_fail(err, QK_ERR_IO, "remove it, then run the same command again",
                       "%s/%s: a link or a file stands where a folder belongs", cache->folder,
                       name);
    char *path = qk_path_join(cache->folder, name);
    errno = code;
    qk_fail_write(err, action, path);
    free(path);
    return err->status;
}

/* The folder of `name` under the repository's folder, made when absent; *leaf is the last part. */
static int open_parent(const qk_cache *cache, const char *name, const char **leaf)
{
    int at = dup(cache->root);
    for (const char *slash; at >= 0 && (slash = strchr(name, '/')); name = slash + 1) {
        char *part = qk_strf("%.*s", (int)(slash - name), name);
        int below = -1, code = mkdirat(at, part, 0777) ? errno : EEXIST;
        if (code == EEXIST) {
            below = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            code = errno;
        }
        free(part);
        close(at);
        errno = code;
        at = below;
    }
    *leaf = name;
    return at;
}

static qk_status unique_name(char out[static 64], const char *stem, qk_error *err)
{
    uint32_t random;
    QK_TRY(qk_random_bytes(&random, sizeof random, err));
    snprintf(out, 64, ".%.32s.%08x.tmp", stem, random);
    return QK_OK;
}

qk_status qk_cache_prepare(qk_cache *cache, qk_error *err)
{
    const char *leaf;
    QK_TRY(qk_make_dirs(cache->folder, err));
    cache->root = open(cache->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (cache->root < 0) return fail_at(cache, "cannot open", "", err);
    char *inside = qk_strf("snapshots/%s/x", cache->commit);
    int snapshot = open_parent(cache, inside, &leaf);
    qk_status s = snapshot < 0 ? fail_at(cache, "cannot make the folder", "snapshots", err) : QK_OK;
    free(inside);
    if (snapshot >= 0) close(snapshot);
    if (s == QK_OK) cache->blobs = open_parent(cache, "blobs/x", &leaf);
    if (s == QK_OK && cache->blobs < 0) s = fail_at(cache, "cannot make the folder", "blobs", err);
    if (s != QK_OK) { /* both are open, or none: it may be tried again */
        close(cache->root);
        cache->root = -1;
    }
    return s;
}

static bool write_all(int fd, const void *bytes, size_t n)
{
    for (const char *at = bytes; n;) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

qk_status qk_cache_write(qk_cache *cache, const char *name, const void *bytes, size_t n,
                         qk_error *err)
{
    const char *leaf;
    char temporary[64];
    QK_TRY(unique_name(temporary, qk_path_name(name), err));
    int parent = open_parent(cache, name, &leaf);
    if (parent < 0) return fail_at(cache, "cannot write", name, err);
    int fd = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    bool ok = fd >= 0 && write_all(fd, bytes, n) && fsync(fd) == 0;
    ok = ok && renameat(parent, temporary, parent, leaf) == 0;
    int code = errno;
    if (fd >= 0) close(fd);
    if (!ok) unlinkat(parent, temporary, 0);
    close(parent);
    errno = code;
    return ok ? QK_OK : fail_at(cache, "cannot write", name, err);
}

qk_status qk_cache_write_ref(qk_cache *cache, const char *revision, qk_error *err)
{
    char before[72];
    if (!strcmp(revision, cache->commit)) return QK_OK;
    QK_TRY(qk_cache_read_ref(cache, revision, before, err));
    if (!strcmp(before, cache->commit)) return QK_OK;
    char *name = qk_strf("refs/%s", revision);
    qk_status s = qk_cache_write(cache, name, cache->commit, strlen(cache->commit), err);
    free(name);
    return s;
}

void qk_cache_note_absent(qk_cache *cache, const char *path)
{
    qk_error ignored;
    char *name = qk_strf(".no_exist/%s/%s", cache->commit, path);
    if (cache->root >= 0) qk_cache_write(cache, name, "", 0, &ignored);
    free(name);
}

/* ---- blobs ---- */

qk_status qk_cache_lock(const qk_cache *cache, const char *digest, int *lock, bool *busy,
                        qk_error *err)
{
    char *folder = qk_strf("%s/.locks/%s", cache->hub->cache, qk_path_name(cache->folder));
    char *path = qk_strf("%s/%s.lock", folder, digest);
    *lock = -1;
    *busy = false;
    qk_status s = qk_make_dirs(folder, err);
    if (s == QK_OK) *lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0664);
    if (s == QK_OK && *lock < 0) s = qk_fail_write(err, "cannot open", path);
    int rc = -1;
    while (s == QK_OK && (rc = flock(*lock, LOCK_EX | LOCK_NB)) != 0 && errno == EINTR) continue;
    *busy = s == QK_OK && rc != 0 && errno == EWOULDBLOCK;
    if (*busy) {
        close(*lock);
        *lock = -1;
    }
    free(folder);
    free(path);
    return s;
}

static char *partial_name(const char *digest)
{
    return qk_strf("%s.qk.incomplete", digest);
}

qk_status qk_cache_open_partial(const qk_cache *cache, const char *digest, int *fd, qk_error *err)
{
    char *name = partial_name(digest);
    struct stat st;
    *fd = openat(cache->blobs, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    bool ok = *fd >= 0 && fstat(*fd, &st) == 0;
    qk_status s = ok ? QK_OK : fail_at(cache, "cannot open", name, err);
    /* A second name of it would get our bytes too. */
    if (ok && (!S_ISREG(st.st_mode) || st.st_nlink != 1))
        s = qk_fail(err, QK_ERR_IO, "remove it, then run the same command again",
                    "%s/blobs/%s: not a file of its own", cache->folder, name);
    if (s == QK_OK) flock(*fd, LOCK_EX | LOCK_NB);
    if (s != QK_OK && *fd >= 0) close(*fd);
    free(name);
    return s;
}

void qk_cache_drop_partial(const qk_cache *cache, const char *digest)
{
    char *name = partial_name(digest);
    unlinkat(cache->blobs, name, 0);
    free(name);
}

qk_status qk_cache_has_blob(const qk_cache *cache, const qk_hub_file *file, bool *has,
                            qk_error *err)
{
    struct stat st;
    bool known = fstatat(cache->blobs, file->digest, &st, AT_SYMLINK_NOFOLLOW) == 0;
    *has = known && S_ISREG(st.st_mode) && (uint64_t)st.st_size == file->size;
    return known || errno == ENOENT ? QK_OK : fail_at(cache, "cannot look at", file->digest, err);
}

/* The folder of the snapshot's file. */
static int open_folder_of(const qk_cache *cache, const qk_hub_file *file, const char **leaf,
                          qk_error *err)
{
    char *inside = qk_strf("snapshots/%s/%s", cache->commit, file->path);
    int parent = open_parent(cache, inside, leaf);
    if (parent < 0) fail_at(cache, "cannot make the folder of", inside, err);
    *leaf = qk_path_name(file->path);
    free(inside);
    return parent;
}

static bool copy_blob(const qk_cache *cache, const qk_hub_file *file, int parent,
                      const char *temporary)
{
    char *piece = qk_alloc(COPY_PIECE, 1);
    int from = openat(cache->blobs, file->digest, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), to = -1;
    if (from >= 0)
        to = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    bool ok = to >= 0;
    while (ok) {
        ssize_t n = read(from, piece, COPY_PIECE);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) break;
        ok = n > 0 && write_all(to, piece, (size_t)n);
    }
    ok = ok && fsync(to) == 0;
    int code = errno;
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    free(piece);
    errno = code;
    return ok;
}

qk_status qk_cache_link(const qk_cache *cache, const qk_hub_file *file, qk_error *err)
{
    const char *leaf;
    char temporary[64];
    QK_TRY(unique_name(temporary, file->digest, err));
    qk_buf target = {0};
    qk_buf_add_str(&target, "../../");
    for (const char *c = file->path; *c; c++)
        if (*c == '/') qk_buf_add_str(&target, "../");
    qk_buf_addf(&target, "blobs/%s", file->digest);
    int parent = open_folder_of(cache, file, &leaf, err);
    if (parent < 0) {
        qk_buf_free(&target);
        return err->status;
    }
    bool ok = !cache->hub->no_links && symlinkat(qk_buf_str(&target), parent, temporary) == 0;
    /* File systems without links have copies. */
    bool links = !cache->hub->no_links && (ok || (errno != EPERM && errno != ENOTSUP));
    if (!links) ok = copy_blob(cache, file, parent, temporary);
    ok = ok && renameat(parent, temporary, parent, leaf) == 0;
    int code = errno;
    if (!ok) unlinkat(parent, temporary, 0);
    close(parent);
    qk_buf_free(&target);
    errno = code;
    return ok ? QK_OK : fail_at(cache, "cannot write", file->path, err);
}

qk_status qk_cache_install(const qk_cache *cache, const qk_hub_file *file, qk_error *err)
{
    char *partial = partial_name(file->digest);
    qk_status s = QK_OK;
    if (cache->hub->no_links) { /* the content itself moves into the snapshot */
        const char *leaf;
        int parent = open_folder_of(cache, file, &leaf, err);
        if (parent < 0)
            s = err->status;
        else if (renameat(cache->blobs, partial, parent, leaf) != 0)
            s = fail_at(cache, "cannot write", file->path, err);
        if (parent >= 0) close(parent);
    } else if (renameat(cache->blobs, partial, cache->blobs, file->digest) != 0) {
        fail_at(cache, "cannot rename", partial, err);
        qk_error why;
        bool made; /* by another process, without locks */
        if (qk_cache_has_blob(cache, file, &made, &why) != QK_OK || !made) s = err->status;
    }
    if (s == QK_OK && !cache->hub->no_links) s = qk_cache_link(cache, file, err);
    free(partial);
    return s;
}

/* Removes what has this name where it is the file that was seen. */
static qk_status remove_seen(const qk_cache *cache, int folder, const char *name, int follow,
                             const qk_file_state *file, qk_error *err)
{
    struct stat st;
    if (fstatat(folder, name, &st, follow) != 0)
        return errno == ENOENT ? QK_OK : fail_at(cache, "cannot look at", name, err);
    int64_t changed = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
    if (st.st_dev != file->device || st.st_ino != file->inode || changed != file->changed)
        return QK_OK;
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return QK_OK;
    return fail_at(cache, "cannot remove", name, err);
}

/* A link of the snapshot may lead elsewhere than to the blob: then it goes alone. */
qk_status qk_cache_drop(const qk_cache *cache, const qk_hub_file *file, const qk_file_state *wrong,
                        bool *busy, qk_error *err)
{
    int lock;
    const char *leaf;
    QK_TRY(qk_cache_lock(cache, file->digest, &lock, busy, err));
    if (*busy) return QK_OK;
    int parent = open_folder_of(cache, file, &leaf, err);
    qk_status s = parent < 0 ? err->status : QK_OK;
    if (s == QK_OK) s = remove_seen(cache, parent, leaf, 0, wrong, err);
    if (s == QK_OK)
        s = remove_seen(cache, cache->blobs, file->digest, AT_SYMLINK_NOFOLLOW, wrong, err);
    if (parent >= 0) close(parent);
    if (lock >= 0) close(lock);
    return s;
}

/* ---- without the Hub ---- */

static qk_status list_below(const qk_cache *cache, const char *inside, int depth, qk_names *out,
                            qk_error *err)
{
    char *folder = qk_path_join(cache->snapshot, inside);
    qk_names names = {0};
    qk_status s = qk_list_dir(folder, &names, err);
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        char *path = *inside ? qk_path_join(inside, names.items[i]) : qk_strdup(names.items[i]);
        char *full = qk_path_join(cache->snapshot, path);
        qk_path_info own, led_to;
        qk_error why; /* a name that no repository has is somebody else's file */
        s = qk_path_lstat(full, &own, err);
        if (s == QK_OK) s = qk_path_stat(full, &led_to, err);
        if (s == QK_OK && own.type == QK_PATH_FOLDER && depth < MAX_DEPTH)
            s = list_below(cache, path, depth + 1, out, err);
        else if (s == QK_OK && led_to.type == QK_PATH_FILE &&
                 qk_check_file_name(path, &why) == QK_OK)
            qk_names_add(out, path);
        free(path);
        free(full);
    }
    qk_names_free(&names);
    free(folder);
    return s;
}

qk_status qk_cache_list(const qk_cache *cache, qk_names *out, qk_error *err)
{
    QK_TRY(list_below(cache, "", 0, out, err));
    qk_names_sort(out);
    return QK_OK;
}
