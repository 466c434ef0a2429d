/* What a push would send: the regular files of a folder, in name order, with their content's names.
 *
 * Never sent: symbolic links and what is behind them, devices, .env and token files, the folders
 * .git, .cache and .qkengine (the push's own state), and temporary files of a write (*.tmp).
 *
 * next: hub/push.h */
#pragma once

#include "hub/listing.h"

typedef struct qk_push_file {
    char *name; /* '/'-separated path in the repository */
    char *path; /* on this disk */
    uint64_t size;
    int64_t mtime; /* nanoseconds */
    bool hashed;
    char sha256[65], git[41]; /* git: "" for a file that is too large to be small */
} qk_push_file;

typedef struct qk_push_files {
    qk_push_file *items; /* sorted by name */
    size_t count, capacity;
} qk_push_files;

/* Files up to this may be small ones for the server. */
enum { QK_PUSH_SMALL = 16 << 20 };

/* Whether a name is one that is never sent. */
bool qk_push_is_private(const char *name);
/* Lists a folder; files of `known` whose size and time are the same keep their digests. known may
 * be NULL. Zero-initialise out. */
qk_status qk_push_files_scan(qk_push_files *out, const char *folder, const qk_push_files *known,
                             qk_error *err);
/* Adds or replaces one file that lies elsewhere on the disk. */
qk_status qk_push_files_put(qk_push_files *files, const char *name, const char *path,
                            qk_error *err);
const qk_push_file *qk_push_files_find(const qk_push_files *files, const char *name);
/* Whether a hashed file is what the Hub has there; there may be NULL. */
bool qk_push_file_is(const qk_push_file *f, const qk_hub_file *there);
/* Computes the digests of those that have none. */
qk_status qk_push_files_hash(qk_push_files *files, qk_error *err);
/* Opens a file of the list; QK_ERR_RESUME when it is not the one that was hashed any more. */
qk_status qk_push_file_open(const qk_push_file *f, int *fd, qk_error *err);
/* The same question at the end of sending it. */
qk_status qk_push_file_check(const qk_push_file *f, int fd, qk_error *err);
void qk_push_files_free(qk_push_files *files);
