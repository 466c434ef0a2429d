/* How the Hub names the content of a file.
 *
 *   large (LFS)  SHA-256 of the bytes
 *   small        git's blob id: SHA-1 of "blob SIZE\0" and the bytes
 *
 * next: hub/commit_body.h, hub/content.h */
#pragma once

#include "hub/listing.h"

typedef struct evp_md_ctx_st qk_hasher; /* a digest, as bytes pass by */
qk_hasher *qk_hasher_new(void);         /* SHA-256 */
/* Of the kind that the file's digest has; git's begins with the file's size. */
qk_hasher *qk_hasher_for(const qk_hub_file *file);
void qk_hasher_free(qk_hasher *h); /* NULL-safe */
/* From the start again, as SHA-256. */
void qk_hasher_reset(qk_hasher *h);
void qk_hasher_add(qk_hasher *h, const void *bytes, size_t n);
/* What it has seen so far replaces what `to` has. */
void qk_hasher_copy(qk_hasher *to, const qk_hasher *from);
/* 64 digits, or git's 40; h stays usable for more bytes. */
void qk_hasher_hex(const qk_hasher *h, char out[65]);
/* Whether what it has seen is the file. */
bool qk_hasher_is(const qk_hasher *h, const qk_hub_file *file);

/* git's id of a small file's bytes: 40 digits. */
void qk_git_blob_hex(const void *bytes, size_t n, char out[41]);

/* Digests of an open file of `size` bytes, read once from its start. git may be NULL. A file that
 * is shorter or longer by now: QK_ERR_RESUME. path is for messages. */
qk_status qk_file_oids(int fd, const char *path, uint64_t size, char sha256[65], char git[41],
                       qk_error *err);
