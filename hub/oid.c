/* See oid.h. */
#include "hub/oid.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/interrupt.h"

static qk_hasher *begin(const EVP_MD *kind)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || !EVP_DigestInit_ex(md, kind, NULL)) qk_no_memory("a digest");
    return md;
}

static qk_hasher *begin_git(uint64_t size)
{
    qk_hasher *h = begin(EVP_sha1());
    char head[32];
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    qk_hasher_add(h, head, (size_t)n + 1);
    return h;
}

qk_hasher *qk_hasher_new(void)
{
    return begin(EVP_sha256());
}

qk_hasher *qk_hasher_for(const qk_hub_file *file)
{
    return strlen(file->digest) == 64 ? qk_hasher_new() : begin_git(file->size);
}

void qk_hasher_free(qk_hasher *h)
{
    EVP_MD_CTX_free(h);
}

void qk_hasher_reset(qk_hasher *h)
{
    if (!EVP_DigestInit_ex(h, EVP_sha256(), NULL)) qk_no_memory("a digest");
}

void qk_hasher_add(qk_hasher *h, const void *bytes, size_t n)
{
    if (!EVP_DigestUpdate(h, bytes, n)) qk_fatal("a hash failed");
}

void qk_hasher_copy(qk_hasher *to, const qk_hasher *from)
{
    if (!EVP_MD_CTX_copy_ex(to, from)) qk_no_memory("a digest");
}

/* Ends and frees it. */
static void finish(qk_hasher *h, char *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n;
    if (!EVP_DigestFinal_ex(h, digest, &n)) qk_fatal("a hash failed");
    for (unsigned i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(h);
}

void qk_hasher_hex(const qk_hasher *h, char out[65])
{
    qk_hasher *copy = EVP_MD_CTX_new();
    if (!copy) qk_no_memory("a digest");
    qk_hasher_copy(copy, h);
    finish(copy, out);
}

bool qk_hasher_is(const qk_hasher *h, const qk_hub_file *file)
{
    char hex[65];
    qk_hasher_hex(h, hex);
    return !strcmp(hex, file->digest);
}

void qk_git_blob_hex(const void *bytes, size_t n, char out[41])
{
    qk_hasher *h = begin_git(n);
    qk_hasher_add(h, bytes, n);
    finish(h, out);
}

qk_status qk_file_oids(int fd, const char *path, uint64_t size, char sha256[65], char git[41],
                       qk_error *err)
{
    enum { PIECE = 256 << 10 };
    qk_hasher *large = qk_hasher_new(), *small = git ? begin_git(size) : NULL;
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
        qk_hasher_add(large, piece, (size_t)n);
        if (small) qk_hasher_add(small, piece, (size_t)n);
        at += (uint64_t)n;
    }
    free(piece);
    finish(large, sha256);
    if (small) finish(small, git);
    QK_TRY(s);
    QK_TRY(qk_interrupt_check(err));
    if (at == size) return QK_OK;
    return qk_fail(err, QK_ERR_RESUME, "wait until nothing writes to it",
                   "%s: changes while it is pushed", path);
}
