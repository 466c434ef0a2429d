/* Whether a push can be: of its names without asking anybody, and of the token by one question.
 *
 *   GET /api/whoami-v2   {"name", "orgs": [{"name", "roleInOrg"}, ...], "auth": {"accessToken":
 *       {"role": "read" | "write" | "fineGrained", "fineGrained": {"scoped":
 *           [{"entity": {"type": "user" | "org" | "dataset", "name"}, "permissions": [...]}]}}}}
 *
 * What a server does not say, as another Hub may, is no reason to refuse: the push will tell.
 *
 * next: hub/push.h */
#pragma once

#include "hub/endpoint.h"

/* The names of repository (owner/name) and branch (NULL: main). */
qk_status qk_check_push_names(const char *repo, const char *branch, qk_error *err);
/* That there is a token. */
qk_status qk_check_push_token(const qk_hub *hub, qk_error *err);

typedef struct qk_rights {
    char account[128]; /* of the token; "": the server does not say */
    bool may_write;    /* as far as is known: to the owner's repositories or to this one */
    char doubt[400];   /* why not, where it may still be so: for a warning; else "" */
    bool refused;      /* with an error: no push of this token can ever be, to any repository */
} qk_rights;

/* Asks once, without trying again, whose the token is and whether it may write to the dataset
 * `repo`, whose name was checked. An error without `refused` is trouble on the way, which may pass. */
qk_status qk_rights_ask(qk_rights *out, const qk_hub *hub, const char *repo, qk_error *err);

typedef enum qk_presence {
    QK_PRESENCE_UNKNOWN,
    QK_PRESENCE_NO_REPO, /* absent, or hidden from this token */
    QK_PRESENCE_NO_BRANCH,
    QK_PRESENCE_THERE,
} qk_presence;

/* Asks once for a branch (NULL: main) of a dataset. */
qk_presence qk_presence_ask(const qk_hub *hub, const char *repo, const char *branch);
