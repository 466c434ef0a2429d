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

#include "hub/listing.h"

typedef struct qk_remote {
    const qk_hub *hub;
    const char *repo, *branch; /* owner/name; "main" or another branch */
    char head[72];             /* commit */
    qk_hub_listing listing;    /* its files */
} qk_remote;

/* Finds the branch's head; makes what is absent. */
qk_status qk_remote_prepare(qk_remote *r, qk_http *http, bool is_private, qk_error *err);
/* The head as it is now. */
qk_status qk_remote_update(qk_remote *r, qk_http *http, qk_error *err);
/* Lists the files of the head. */
qk_status qk_remote_list(qk_remote *r, qk_http *http, qk_error *err);
/* The new head in the reply to a commit; QK_ERR_RESUME when it names none. */
qk_status qk_commit_read(const qk_http_reply *reply, char head[72], qk_error *err);
void qk_remote_free(qk_remote *r);
