/* See oid.h. */
#include "hub/oid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/interrupt.h"

qk_hash *qk_oid_begin(const qk_hub_file *file)
{
    return strlen(file->digest) == 64 ? qk_hash_sha256() : qk_hash_git(file->size);
}

bool qk_oid_is(const qk_hash *h, const qk_hub_file *file)
{
    char hex[65];
    qk_hash_hex(h, hex);
    return !strcmp(hex, file->digest);
}

qk_status qk_file_oids(int fd, const char *path, uint64_t size, char sha256[65], char git[41],
                       qk_error *err)
{
    enum { PIECE = 256 << 10 };
    qk_hash *large = qk_hash_sha256(), *small = git ? qk_hash_git(size) : NULL;
    uint8_t *piece = qk_alloc(PIECE, 1);
    uint64_t at = 0;
    qk_status s = QK_OK;
    ssize_t n;
    while ((n = pread(fd, piece, PIECE, (off_t)at)) != 0 && at <= size && !qk_interrupted()) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            s = qk_fail_errno(err, "cannot read", path);
            break;
        }
        qk_hash_add(large, piece, (size_t)n);
        if (small) qk_hash_add(small, piece, (size_t)n);
        at += (uint64_t)n;
    }
    free(piece);
    qk_hash_end(large, sha256);
    if (small) qk_hash_end(small, git);
    QK_TRY(s);
    QK_TRY(qk_interrupt_check(err));
    if (at == size) return QK_OK;
    return qk_fail(err, QK_ERR_RESUME, "wait until nothing writes to it",
                   "%s: changes while it is pushed", path);
}
