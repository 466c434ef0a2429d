/* See oid.h. */
#include "hub/oid.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/interrupt.h"

struct qk_hasher {
    EVP_MD_CTX *md;
};

static EVP_MD_CTX *begin(const EVP_MD *kind)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || !EVP_DigestInit_ex(md, kind, NULL)) qk_no_memory("a digest");
    return md;
}

static void update(EVP_MD_CTX *md, const void *bytes, size_t n)
{
    if (!EVP_DigestUpdate(md, bytes, n)) qk_fatal("a hash failed");
}

/* Ends md. */
static void finish(EVP_MD_CTX *md, char *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n;
    if (!EVP_DigestFinal_ex(md, digest, &n)) qk_fatal("a hash failed");
    for (unsigned i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(md);
}

qk_hasher *qk_hasher_new(void)
{
    qk_hasher *h = qk_alloc(1, sizeof *h);
    h->md = begin(EVP_sha256());
    return h;
}

void qk_hasher_free(qk_hasher *h)
{
    if (!h) return;
    EVP_MD_CTX_free(h->md);
    free(h);
}

void qk_hasher_reset(qk_hasher *h)
{
    if (!EVP_DigestInit_ex(h->md, EVP_sha256(), NULL)) qk_no_memory("a digest");
}

void qk_hasher_add(qk_hasher *h, const void *bytes, size_t n)
{
    update(h->md, bytes, n);
}

void qk_hasher_copy(qk_hasher *to, const qk_hasher *from)
{
    if (!EVP_MD_CTX_copy_ex(to->md, from->md)) qk_no_memory("a digest");
}

void qk_hasher_hex(const qk_hasher *h, char out[65])
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    if (!copy || !EVP_MD_CTX_copy_ex(copy, h->md)) qk_no_memory("a digest");
    finish(copy, out);
}

/* SHA-1 of "blob SIZE\0", open for the bytes. */
static EVP_MD_CTX *begin_git(uint64_t size)
{
    EVP_MD_CTX *md = begin(EVP_sha1());
    char head[32];
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    update(md, head, (size_t)n + 1);
    return md;
}

void qk_git_blob_hex(const void *bytes, size_t n, char out[41])
{
    EVP_MD_CTX *md = begin_git(n);
    update(md, bytes, n);
    finish(md, out);
}

qk_status qk_file_oids(int fd, const char *path, uint64_t size, char sha256[65], char git[41],
                       qk_error *err)
{
    enum { PIECE = 256 << 10 };
    EVP_MD_CTX *large = begin(EVP_sha256()), *small = git ? begin_git(size) : NULL;
    uint8_t *piece = qk_alloc(PIECE, 1);
    uint64_t at = 0;
    ssize_t n;
    while ((n = pread(fd, piece, PIECE, (off_t)at)) != 0 && at <= size && !qk_interrupted()) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) break;
        update(large, piece, (size_t)n);
        if (small) update(small, piece, (size_t)n);
        at += (uint64_t)n;
    }
    free(piece);
    finish(large, sha256);
    if (small) finish(small, git);
    if (n < 0) return qk_fail_errno(err, "cannot read", path);
    QK_TRY(qk_interrupt_check(err));
    if (at == size) return QK_OK;
    return qk_fail(err, QK_ERR_RESUME, "wait until nothing writes to it",
                   "%s: changes while it is pushed", path);
}
