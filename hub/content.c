/* See content.h. */
#include "hub/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/digest_note.h"
#include "engine/base/log.h"
#include "hub/digest.h"

enum { PIECE = 1 << 20 };

static bool same_state(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The digest of an open file, of the kind that `file` has. */
static qk_status read_digest(const qk_hub *hub, int fd, const char *path, const qk_hub_file *file,
                             char hex[72], qk_error *err)
{
    uint8_t *piece = qk_alloc(PIECE, 1);
    qk_digest *digest = qk_digest_begin(file);
    qk_status s = QK_OK;
    for (uint64_t at = 0; at < file->size && s == QK_OK;) {
        ssize_t n = pread(fd, piece, PIECE, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) s = qk_fail_errno(err, "cannot read", path);
        if (n <= 0) break; /* cut off meanwhile: another digest */
        qk_digest_add(digest, piece, (size_t)n);
        at += (uint64_t)n;
        qk_progress(false, "checking what the cache has: %s, %s of %s", file->path,
                    qk_human_bytes((double)at), qk_human_bytes((double)file->size));
        s = qk_hub_check(hub, err);
    }
    qk_digest_hex(digest, hex);
    qk_digest_free(digest);
    free(piece);
    return s;
}

static qk_status check_open(const qk_hub *hub, int fd, const char *path, const qk_hub_file *file,
                            bool *right, struct stat *seen, qk_error *err)
{
    char hex[72];
    struct stat after;
    qk_hub_file sized = *file;
    if (fstat(fd, seen)) return qk_fail_errno(err, "cannot look at", path);
    sized.size = (uint64_t)seen->st_size;
    *right = S_ISREG(seen->st_mode) && (file->size == UINT64_MAX || file->size == sized.size);
    if (!*right || !*file->digest) return QK_OK;
    if (!qk_digest_note_find(seen, (int)strlen(file->digest), hex)) {
        QK_TRY(read_digest(hub, fd, path, &sized, hex, err));
        if (fstat(fd, &after)) return qk_fail_errno(err, "cannot look at", path);
        if (same_state(seen, &after)) qk_digest_note_leave(seen, hex);
    }
    *right = !strcmp(hex, file->digest);
    return QK_OK;
}

qk_status qk_content_check(const qk_hub *hub, const char *path, const qk_hub_file *file,
                           bool *right, struct stat *seen, qk_error *err)
{
    *right = false;
    *seen = (struct stat){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return qk_fail_errno(err, "cannot open", path);
    qk_status s = check_open(hub, fd, path, file, right, seen, err);
    close(fd);
    return s;
}

void qk_content_note(const char *path, const qk_hub_file *file, const struct stat *seen)
{
    struct stat now;
    if (stat(path, &now) == 0 && same_state(seen, &now)) qk_digest_note_leave(seen, file->digest);
}
