/* See hash.h. */
#include "engine/base/hash.h"

#include <openssl/evp.h>
#include <stdio.h>

static void write_hex(const uint8_t *digest, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void qk_sha256(const void *bytes, size_t n, uint8_t out[32])
{
    unsigned length;
    if (!EVP_Digest(bytes, n, out, &length, EVP_sha256(), NULL)) qk_fatal("SHA-256 failed");
}

void qk_sha256_hex(const uint8_t digest[32], char out[65])
{
    write_hex(digest, 32, out);
}

static qk_hash *begin(const EVP_MD *kind)
{
    qk_hash *h = EVP_MD_CTX_new();
    if (!h || !EVP_DigestInit_ex(h, kind, NULL)) qk_no_memory("a digest");
    return h;
}

qk_hash *qk_hash_sha256(void)
{
    return begin(EVP_sha256());
}

qk_hash *qk_hash_git(uint64_t size)
{
    char head[32];
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    qk_hash *h = begin(EVP_sha1());
    qk_hash_add(h, head, (size_t)n + 1);
    return h;
}

void qk_hash_add(qk_hash *h, const void *bytes, size_t n)
{
    if (!EVP_DigestUpdate(h, bytes, n)) qk_fatal("a digest failed");
}

void qk_hash_copy(qk_hash *to, const qk_hash *from)
{
    if (!EVP_MD_CTX_copy_ex(to, from)) qk_no_memory("a digest");
}

void qk_hash_reset(qk_hash *h)
{
    if (!EVP_DigestInit_ex(h, EVP_sha256(), NULL)) qk_no_memory("a digest");
}

void qk_hash_hex(const qk_hash *h, char out[65])
{
    qk_hash *copy = EVP_MD_CTX_new();
    if (!copy) qk_no_memory("a digest");
    qk_hash_copy(copy, h);
    qk_hash_end(copy, out);
}

void qk_hash_end(qk_hash *h, char *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n;
    if (!EVP_DigestFinal_ex(h, digest, &n)) qk_fatal("a digest failed");
    write_hex(digest, n, out);
    qk_hash_free(h);
}

void qk_hash_free(qk_hash *h)
{
    EVP_MD_CTX_free(h);
}

void qk_git_hex(const void *bytes, size_t n, char out[41])
{
    qk_hash *h = qk_hash_git(n);
    qk_hash_add(h, bytes, n);
    qk_hash_end(h, out);
}

void qk_base64_add(qk_buf *out, const void *bytes, size_t n)
{
    enum { PIECE = 3 << 20 }; /* without padding inside; OpenSSL counts in int */
    const uint8_t *p = bytes;
    qk_buf_reserve(out, (n + 2) / 3 * 4 + 1); /* it writes a NUL, too */
    for (size_t at = 0; at < n; at += PIECE) {
        int size = n - at < PIECE ? (int)(n - at) : PIECE;
        out->size += (size_t)EVP_EncodeBlock(out->data + out->size, p + at, size);
    }
}
