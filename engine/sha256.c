/* See sha256.h. */
#include "engine/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/interrupt.h"

void qk_sha256(const void *bytes, size_t n, uint8_t out[32])
{
    unsigned length;
    if (!EVP_Digest(bytes, n, out, &length, EVP_sha256(), NULL)) qk_fatal("SHA-256 failed");
}

void qk_sha256_hex(const uint8_t digest[32], char out[65])
{
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* Read in pieces, so that hashing a checkpoint costs no memory, and one that is cut off meanwhile
 * is an error. */
static qk_status file_digest(const char *path, char hex[65], qk_error *err)
{
    enum { PIECE = 1 << 20 };
    qk_map map;
    QK_TRY(qk_map_open_to_read(&map, path, err));
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t digest[32], *piece = qk_alloc(PIECE, 1);
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    int why = 0;
    for (size_t at = 0; ok && !why && at < map.size; at += PIECE) {
        size_t n = map.size - at < PIECE ? map.size - at : PIECE;
        why = qk_map_read(&map, map.data + at, piece, n);
        if (!why) ok = EVP_DigestUpdate(md, piece, n);
    }
    if (!ok || !EVP_DigestFinal_ex(md, digest, NULL)) qk_fatal("SHA-256 failed");
    EVP_MD_CTX_free(md);
    free(piece);
    qk_map_close(&map);
    qk_sha256_hex(digest, hex);
    if (!why) return QK_OK;
    return qk_fail(err, QK_ERR_IO, NULL, "%s: cannot be read: %s", path,
                   why < 0 ? "it was cut off meanwhile" : strerror(why));
}

qk_status qk_sha256_files(const qk_names *paths, char (*hex)[65], qk_error *err)
{
    qk_status result = QK_OK;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < paths->count; i++) {
        qk_error own = {0};
        qk_status s = file_digest(paths->items[i], hex[i], &own);
        if (s == QK_OK) continue;
#pragma omp critical
        {
            result = s;
            *err = own;
        }
    }
    return result;
}

qk_status qk_sha256_open_file(int fd, const char *path, char hex[65], uint64_t *bytes,
                              qk_error *err)
{
    enum { PIECE = 1 << 20 };
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t digest[32], *piece = qk_alloc(PIECE, 1);
    qk_status s = QK_OK;
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL), more = true;
    for (*bytes = 0; ok && more && s == QK_OK;) {
        ssize_t n = pread(fd, piece, PIECE, (off_t)*bytes);
        more = n != 0;
        s = n < 0 && errno != EINTR ? qk_fail_errno(err, "cannot read", path)
                                    : qk_interrupt_check(err);
        if (n <= 0) continue;
        ok = EVP_DigestUpdate(md, piece, (size_t)n);
        *bytes += (uint64_t)n;
    }
    if (!ok || !EVP_DigestFinal_ex(md, digest, NULL)) qk_fatal("SHA-256 failed");
    EVP_MD_CTX_free(md);
    free(piece);
    qk_sha256_hex(digest, hex);
    return s;
}
