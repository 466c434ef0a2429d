/* The branch that a push goes to: made when it is absent, and what it holds.
 *
 *   GET  api/datasets/REPO/revision/BRANCH        its head; 404: make it
 *   POST api/repos/create                         the repository; 409: it is there
 *   POST api/datasets/REPO/commit/main            README.md into a main that holds nothing
 *   POST api/datasets/REPO/branch/BRANCH          starts at main; 409: it is there
 *   GET  api/datasets/REPO/tree/COMMIT?recursive  pages, by the Link header
 *
 * next: hub/push.h */
#pragma once

#include "hub/http.h"

typedef struct qk_remote_file {
    char *name;
    uint64_t size;
    bool large;   /* stored by LFS */
    char oid[65]; /* SHA-256 of a large file, git's id of a small one */
} qk_remote_file;

typedef struct qk_remote {
    const qk_hub *hub;
    const char *repo, *branch; /* owner/name; "main" or another branch */
    char head[65];             /* commit */
    qk_remote_file *files;     /* sorted by name */
    size_t count, capacity;
} qk_remote;

/* Finds the branch's head; makes what is absent. */
qk_status qk_remote_prepare(qk_remote *r, qk_http *http, bool is_private, qk_error *err);
/* The head as it is now. */
qk_status qk_remote_look(qk_remote *r, qk_http *http, qk_error *err);
/* Lists the files of the head. Names that could not be files here are left out, with a warning. */
qk_status qk_remote_list(qk_remote *r, qk_http *http, qk_error *err);
/* The new head in the reply to a commit; QK_ERR_RESUME when it names none. */
qk_status qk_commit_read(const qk_http_reply *reply, char head[65], qk_error *err);
const qk_remote_file *qk_remote_find(const qk_remote *r, const char *name);
void qk_remote_free(qk_remote *r);
