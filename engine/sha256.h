/* SHA-256 (FIPS 180-4) through OpenSSL, of bytes and of whole files. */
#pragma once

#include "engine/base/file.h"

void qk_sha256(const void *bytes, size_t n, uint8_t out[32]);
/* 64 hexadecimal digits and a NUL. */
void qk_sha256_hex(const uint8_t digest[32], char out[65]);
/* Digests of several files at once, one thread each; hex[i] belongs to paths->items[i]. */
qk_status qk_sha256_files(const qk_names *paths, char (*hex)[65], qk_error *err);
/* Digest and size of a file that is open for reading, from its beginning; path is for messages. */
qk_status qk_sha256_open_file(int fd, const char *path, char hex[65], uint64_t *bytes,
                              qk_error *err);
