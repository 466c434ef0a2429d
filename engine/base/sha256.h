/* SHA-256 (FIPS 180-4) through OpenSSL, of bytes and of whole files.
 *
 * A model is 140 GB, and every start has to know its digests before anything else: they are noted
 * (engine/base/digest_note.h).
 *
 * next: engine/output/manifest.h */
#pragma once

#include "engine/base/file.h"
#include "engine/base/input.h"

typedef struct evp_md_ctx_st qk_sha256_run;

void qk_sha256(const void *bytes, size_t n, uint8_t out[32]);
/* The same of bytes that come one after the other; the end frees. */
qk_sha256_run *qk_sha256_begin(void);
void qk_sha256_add(qk_sha256_run *run, const void *bytes, size_t n);
void qk_sha256_end(qk_sha256_run *run, uint8_t out[32]);
/* 64 hexadecimal digits and a NUL. */
void qk_sha256_hex(const uint8_t digest[32], char out[65]);

/* Digests of several files at once, at most `threads` (0: all cores) at a time; hex[i] belongs to
 * paths->items[i]. Each is one content from the watch's first look on, or an error that names it.
 * Signals end it (QK_ERR_RESUME). */
qk_status qk_sha256_files(const qk_names *paths, int threads, qk_watch *watch, char (*hex)[65],
                          qk_error *err);
/* Digest and size of a file of ours (qk_open_regular). */
qk_status qk_sha256_file(const char *path, char hex[65], uint64_t *bytes, qk_error *err);
/* The same of one that is open for reading, from its beginning; path is for
 * messages. */
qk_status qk_sha256_open_file(int fd, const char *path, char hex[65], uint64_t *bytes,
                              qk_error *err);
