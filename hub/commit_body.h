/* The body of a commit request, and the small JSON bodies before it: one JSON object per line.
 *
 *   {"key":"header","value":{"summary":...,"description":"","parentCommit":...}}
 *   {"key":"file","value":{"content":base64,"path":...,"encoding":"base64"}}
 *   {"key":"lfsFile","value":{"path":...,"algo":"sha256","oid":...,"size":...}}
 *   {"key":"deletedFile","value":{"path":...}}
 *
 * next: hub/lfs.h */
#pragma once

#include "engine/base/mem.h"

/* Each appends its line. parent: the head that the commit builds on, or NULL. */
void qk_commit_add_header(qk_buf *out, const char *summary, const char *parent);
void qk_commit_add_file(qk_buf *out, const char *path, const void *bytes, size_t n);
void qk_commit_add_lfs(qk_buf *out, const char *path, const char *sha256, uint64_t size);
void qk_commit_add_deletion(qk_buf *out, const char *path);
