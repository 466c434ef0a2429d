/* Names of the Hub, and what may become part of a URL or of a path on this disk.
 *
 *   repository  name or owner/name; [A-Za-z0-9_.-], no "--", "..", ".git" at the end
 *   revision    branch, tag, commit, refs/pr/N: any '/' is quoted in URLs, kept in paths
 *   file        relative '/'-separated path, UTF-8; nothing that could leave a folder
 *   digest      40 (git sha1) or 64 (SHA-256) lower-case hexadecimal digits
 *
 * next: hub/url.h */
#pragma once

#include "engine/base/mem.h"

typedef enum qk_repo_type { QK_REPO_MODEL, QK_REPO_DATASET } qk_repo_type;

/* "model" or "dataset". */
const char *qk_repo_type_name(qk_repo_type type);

/* Checks a repository id; messages say what is wrong with it. */
qk_status qk_check_repo(const char *repo, qk_error *err);
/* true for owner/name that is a valid id: what a configuration may mean by a path that is absent.
 * "./a/b", "/a/b" and "a/b/c" are none. */
bool qk_looks_like_repo(const char *text);
/* Refuses revisions that no git server accepts or that would leave refs/ of the cache. */
qk_status qk_check_revision(const char *revision, qk_error *err);
/* A file name that came from a server: QK_ERR_DATA when it could be written outside its folder or
 * cannot be a file name (NUL is the caller's: length is strlen here). */
qk_status qk_check_file_name(const char *name, qk_error *err);
/* 40 or 64 lower-case hexadecimal digits. */
bool qk_is_digest(const char *text);
/* A commit id: 40 digits of git, or 64 of other servers. */
bool qk_is_commit(const char *text);

/* Percent-encodes all but A-Z a-z 0-9 '_' '.' '-' '~' (and '/' when it is kept). */
void qk_url_quote(qk_buf *out, const char *text, bool keep_slash);
