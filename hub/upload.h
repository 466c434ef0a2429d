/* Sends the bytes of large files to where the LFS batch says: whole, or in parts.
 *
 *   whole  PUT url, exactly the file's bytes, no token
 *   parts  PUT each slice, keep its ETag; then POST {"oid","parts":[{"partNumber","etag"}]}
 *   both   POST the verify URL, when there is one
 *
 * The bytes are hashed as they leave: what was stored under a name is what has that name. A URL
 * that has expired is asked for again.
 *
 * next: hub/push.h */
#pragma once

#include "hub/http.h"
#include "hub/push_files.h"

enum { QK_UPLOAD_THREADS = 8 };

typedef struct qk_uploader {
    const qk_hub *hub;
    const char *repo, *branch;
    qk_http *lines[QK_UPLOAD_THREADS]; /* connections; [0] is also the caller's */
    uint64_t bytes_sent;               /* in all, for the report */
} qk_uploader;

/* Makes sure that the server stores every file of the list; at most QK_LFS_MAX_OBJECTS files with
 * different content. */
qk_status qk_upload_files(qk_uploader *u, const qk_push_file *const *files, size_t n,
                          qk_error *err);
/* The connection of one thread; opened when it is first asked for. */
qk_http *qk_uploader_line(qk_uploader *u, int thread);
void qk_uploader_close(qk_uploader *u);
