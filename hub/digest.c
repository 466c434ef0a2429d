/* See digest.h. */
#include "hub/digest.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

qk_digest *qk_digest_begin(const qk_hub_file *file)
{
    bool sha256 = strlen(file->digest) == 64;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || !EVP_DigestInit_ex(md, sha256 ? EVP_sha256() : EVP_sha1(), NULL))
        qk_no_memory("a digest");
    char head[40];
    int n = snprintf(head, sizeof head, "blob %" PRIu64, file->size) + 1;
    if (!sha256) qk_digest_add(md, head, (size_t)n);
    return md;
}

void qk_digest_add(qk_digest *digest, const void *bytes, size_t n)
{
    if (!EVP_DigestUpdate(digest, bytes, n)) qk_fatal("the digest failed");
}

void qk_digest_hex(qk_digest *digest, char hex[72])
{
    uint8_t bytes[EVP_MAX_MD_SIZE];
    unsigned n;
    if (!EVP_DigestFinal_ex(digest, bytes, &n) || n > 32) qk_fatal("the digest failed");
    for (unsigned i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

bool qk_digest_end(qk_digest *digest, const qk_hub_file *file)
{
    char hex[72];
    qk_digest_hex(digest, hex);
    return !strcmp(hex, file->digest);
}

void qk_digest_free(qk_digest *digest)
{
    EVP_MD_CTX_free(digest);
}
