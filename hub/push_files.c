/* See push_files.h. */
#include "hub/push_files.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "engine/base/team.h"
#include "hub/names.h"
#include "hub/oid.h"

static int64_t mtime_of(const struct stat *s)
{
    return (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

/* One component of a path. Case does not matter: file systems differ about it. */
static bool is_private_part(const char *part)
{
    static const char *const names[] = {
        ".git",  ".cache",        ".qkengine", ".huggingface",
        "token", "stored_tokens", ".netrc",    ".sniff_snapshot.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcasecmp(part, names[i])) return true;
    return !strncasecmp(part, ".env", 4) || ends_with(part, ".tmp") ||
           ends_with(part, ".incomplete");
}

bool qk_push_is_private(const char *name)
{
    char *copy = qk_strdup(name), *rest = copy, *part;
    bool found = false;
    while (!found && (part = strsep(&rest, "/"))) found = is_private_part(part);
    free(copy);
    return found;
}

static int by_name(const void *a, const void *b)
{
    const qk_push_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static qk_push_file *find(const qk_push_files *files, const char *name)
{
    qk_push_file key = {.name = (char *)name};
    return files && files->count ? bsearch(&key, files->items, files->count, sizeof key, by_name)
                                 : NULL;
}

const qk_push_file *qk_push_files_find(const qk_push_files *files, const char *name)
{
    return find(files, name);
}

bool qk_push_file_is(const qk_push_file *f, const qk_hub_file *there)
{
    return there && there->size == f->size &&
           !strcmp(there->digest, strlen(there->digest) == 64 ? f->sha256 : f->git);
}

static void add(qk_push_files *out, const char *name, const char *path, const struct stat *s,
                const qk_push_files *known)
{
    qk_push_file f = {.name = qk_strdup(name),
                      .path = qk_strdup(path),
                      .size = (uint64_t)s->st_size,
                      .mtime = mtime_of(s)};
    const qk_push_file *old = find(known, name);
    if (old && old->hashed && old->size == f.size && old->mtime == f.mtime &&
        !strcmp(old->path, path)) {
        f.hashed = true;
        memcpy(f.sha256, old->sha256, sizeof f.sha256);
        memcpy(f.git, old->git, sizeof f.git);
    }
    QK_GROW(out->items, out->count, out->capacity);
    out->items[out->count++] = f;
}

typedef struct scan {
    qk_push_files *out;
    const qk_push_files *known;
    qk_error *err;
} scan;

static qk_status scan_folder(scan *s, const char *folder, const char *below);

static qk_status scan_entry(scan *s, const char *path, const char *name)
{
    struct stat info;
    if (lstat(path, &info) != 0) return qk_fail_errno(s->err, "cannot read", path);
    if (qk_push_is_private(name)) {
        if (!strncasecmp(qk_path_name(name), ".env", 4) || !strcmp(qk_path_name(name), "token"))
            qk_warn("%s: not pushed, it may hold secrets", path);
        return QK_OK;
    }
    if (S_ISDIR(info.st_mode)) return scan_folder(s, path, name);
    if (!S_ISREG(info.st_mode)) {
        qk_warn("%s: not pushed, it is %s", path,
                S_ISLNK(info.st_mode) ? "a symbolic link" : "no regular file");
        return QK_OK;
    }
    if (qk_check_file_name(name, s->err) != QK_OK)
        return qk_error_prefix(s->err, "%s cannot be pushed", path);
    add(s->out, name, path, &info, s->known);
    return QK_OK;
}

static qk_status scan_folder(scan *s, const char *folder, const char *below)
{
    qk_names names = {0};
    qk_status status = qk_list_dir(folder, &names, s->err);
    for (size_t i = 0; i < names.count && status == QK_OK; i++) {
        char *path = qk_path_join(folder, names.items[i]);
        char *name = qk_strf("%s%s%s", below, *below ? "/" : "", names.items[i]);
        status = scan_entry(s, path, name);
        free(path);
        free(name);
    }
    qk_names_free(&names);
    return status;
}

qk_status qk_push_files_scan(qk_push_files *out, const char *folder, const qk_push_files *known,
                             qk_error *err)
{
    scan s = {out, known, err};
    qk_status status = scan_folder(&s, folder, "");
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_name);
    return status;
}

static void free_file(qk_push_file *f)
{
    free(f->name);
    free(f->path);
}

qk_status qk_push_files_put(qk_push_files *files, const char *name, const char *path, qk_error *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) return qk_fail_errno(err, "cannot read", path);
    qk_push_file *old = find(files, name);
    if (old) {
        free_file(old);
        *old = files->items[--files->count];
    }
    add(files, name, path, &info, NULL);
    qsort(files->items, files->count, sizeof *files->items, by_name);
    return QK_OK;
}

static qk_status changes(const qk_push_file *f, qk_error *err)
{
    return qk_fail(err, QK_ERR_RESUME, "wait until nothing writes to it",
                   "%s: changes while it is pushed", f->path);
}

qk_status qk_push_file_check(const qk_push_file *f, int fd, qk_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return qk_fail_errno(err, "cannot read", f->path);
    if (S_ISREG(info.st_mode) && (uint64_t)info.st_size == f->size && mtime_of(&info) == f->mtime)
        return QK_OK;
    return changes(f, err);
}

qk_status qk_push_file_open(const qk_push_file *f, int *fd, qk_error *err)
{
    *fd = open(f->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return qk_fail_errno(err, "cannot read", f->path);
    qk_status s = qk_push_file_check(f, *fd, err);
    if (s == QK_OK) return QK_OK;
    close(*fd);
    *fd = -1;
    return s;
}

static qk_status hash(qk_push_file *f, qk_error *err)
{
    int fd;
    QK_TRY(qk_push_file_open(f, &fd, err));
    qk_status s = qk_file_oids(fd, f->path, f->size, f->sha256,
                               f->size <= QK_PUSH_SMALL ? f->git : NULL, err);
    if (s == QK_OK) s = qk_push_file_check(f, fd, err);
    close(fd);
    f->hashed = s == QK_OK;
    return s;
}

typedef struct hashing {
    qk_push_files *files;
    atomic_size_t done;
} hashing;

static qk_status hash_item(void *context, size_t i, int member, qk_error *err)
{
    hashing *h = context;
    (void)member;
    if (h->files->items[i].hashed || qk_interrupted()) return QK_OK;
    qk_status s = hash(&h->files->items[i], err);
    qk_progress_of("hashing", (double)(atomic_fetch_add(&h->done, 1) + 1), (double)h->files->count,
                   "file");
    return s;
}

qk_status qk_push_files_hash(qk_push_files *files, qk_error *err)
{
    hashing h = {.files = files};
    QK_TRY(qk_loop_try(0, files->count, hash_item, &h, err));
    return qk_interrupt_check(err);
}

void qk_push_files_free(qk_push_files *files)
{
    for (size_t i = 0; i < files->count; i++) free_file(&files->items[i]);
    free(files->items);
    *files = (qk_push_files){0};
}
