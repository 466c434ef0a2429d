/* What a repository holds at one commit: names, sizes and digests, from the Hub or from the cache.
 *
 *   GET /api/{models|datasets}/REPO/revision/REV     {"sha": commit, ...}
 *   GET /api/{models|datasets}/REPO/tree/COMMIT?recursive=true&expand=false
 *       [{"type": "file", "path", "size", "oid": git sha1, "lfs": {"oid": SHA-256, "size"}}, ...]
 *       and Link: <next page>; rel="next"
 *   CACHE/REPO/trees/COMMIT.json                     {"format_version": 1, "files": {PATH:
 *       {"size", "blob_id": git sha1, "lfs_sha256", "lfs_size"}}}, as huggingface_hub 1.22 keeps it
 *
 * Every name, size and digest is checked here (hub/names.h); nothing else of a reply is used.
 *
 * next: hub/cache.h */
#pragma once

#include "hub/http.h"

typedef struct qk_hub_file {
    const char *path;
    uint64_t size;      /* bytes of the content */
    const char *digest; /* SHA-256 (64 digits) of it, or git's sha1 (40): also the blob's name */
    const char *oid;    /* git's sha1: of the content, or of the LFS pointer; may be "" */
} qk_hub_file;

typedef struct qk_hub_listing {
    qk_hub_file *files; /* by path, in byte order */
    size_t count, capacity;
    qk_arena arena;
} qk_hub_listing;

/* Which repository and which state of it. Borrowed strings that were checked (hub/names.h). */
typedef struct qk_repo {
    qk_repo_type type;
    const char *id, *revision;
} qk_repo;

/* The commit that the revision names now. reply is for the caller to look at after an error. */
qk_status qk_hub_commit(qk_http *http, const qk_repo *repo, char commit[72], qk_http_reply *reply,
                        qk_error *err);
/* All files at a commit, every page of them. On error *out needs no free. */
qk_status qk_hub_list(qk_hub_listing *out, qk_http *http, const qk_repo *repo, const char *commit,
                      qk_error *err);
void qk_hub_listing_free(qk_hub_listing *listing);
/* NULL when there is none. */
const qk_hub_file *qk_hub_listing_find(const qk_hub_listing *listing, const char *path);

/* The same from a file of the cache, and as its text; the caller frees out. */
qk_status qk_hub_listing_read(qk_hub_listing *out, const char *path, qk_error *err);
void qk_hub_listing_json(const qk_hub_listing *listing, qk_buf *out);
