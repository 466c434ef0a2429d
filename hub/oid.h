/* How the Hub names the content of a file.
 *
 *   large (LFS)  SHA-256 of the bytes
 *   small        git's blob id: SHA-1 of "blob SIZE\0" and the bytes
 *
 * next: hub/commit_body.h, hub/content.h */
#pragma once

#include "engine/base/hash.h"
#include "hub/listing.h"

/* Begins the digest of the kind that the file has; git's begins with the file's size. */
qk_hash *qk_oid_begin(const qk_hub_file *file);
/* Whether what it has seen is the file. */
bool qk_oid_is(const qk_hash *h, const qk_hub_file *file);

/* Digests of an open file of `size` bytes, read once from its start. git may be NULL. A file that
 * is shorter or longer by now: QK_ERR_RESUME. path is for messages. */
qk_status qk_file_oids(int fd, const char *path, uint64_t size, char sha256[65], char git[41],
                       qk_error *err);
