/* What a reply that is not 2xx means, for a person and for the code that goes on.
 *
 * Looked at in this order: X-Error-Code (RevisionNotFound, EntryNotFound, GatedRepo), the message
 * "Access to this resource is disabled.", RepoNotFound, a 401 of a repository's address (the Hub
 * says 401 to anonymous readers of what is absent or private), then the status. The text is
 * X-Error-Message and the body's "error", "errors"; never more than a line, never a token.
 *
 * next: hub/listing.h */
#pragma once

#include "hub/http.h"

typedef enum qk_problem {
    QK_PROBLEM_NONE,     /* 2xx */
    QK_PROBLEM_REVISION, /* no such branch, tag or commit */
    QK_PROBLEM_ENTRY,    /* no such file at that commit */
    QK_PROBLEM_GATED,    /* its owner grants access on request */
    QK_PROBLEM_DISABLED, /* by the Hub */
    QK_PROBLEM_REPO,     /* absent, or private and not ours to see */
    QK_PROBLEM_TOKEN,    /* the token itself is wrong or expired */
    QK_PROBLEM_FORBIDDEN,
    QK_PROBLEM_CONFLICT,  /* 409 */
    QK_PROBLEM_MOVED_ON,  /* 412 to a commit: the branch has other commits by now */
    QK_PROBLEM_CONDITION, /* 412 to anything else, though none of our requests sets a condition */
    QK_PROBLEM_RATE,      /* 429 */
    QK_PROBLEM_TRANSIENT, /* 408, 5xx */
    QK_PROBLEM_OTHER,     /* wrong requests, payment, not a Hub ... */
} qk_problem;

qk_problem qk_reply_problem(const qk_http_reply *reply);

/* Fills err from a reply that is not 2xx; returns its status. `what` begins the message
 * ("owner/name (dataset)"); NULL: the URL without its query. */
qk_status qk_reply_error(const qk_hub *hub, const qk_http_reply *reply, const char *what,
                         qk_error *err);

/* The server's own words, one line without secrets, possibly "". The caller frees. */
char *qk_reply_text(const qk_hub *hub, const qk_http_reply *reply);
