/* Before a run computes all night: what would make the push at its end impossible. Of an absent or
 * read-only token, one that the Hub refuses, or a name that can never be a repository the run ends
 * at once; what may pass, such as a network that is down, is a warning, and so is all of it for a
 * process that computes a share and may push nothing.
 *
 * next: hub/rights.h */
#pragma once

#include <stdbool.h>

#include "engine/base/error.h"

typedef struct qk_config qk_config;

/* Does nothing without output.hf_repo_id. is_share: such a process, which does not ask the Hub. */
qk_status qk_check_push_rights(const qk_config *config, bool is_share, qk_error *err);

/* The same for the plan, as a sentence. */
typedef struct qk_push_outlook {
    char account[128]; /* of the token; "": not known */
    bool known, may_push;
    char text[700];
} qk_push_outlook;

/* For a configuration with output.hf_repo_id. asks: the Hub. Fails on a signal alone. */
qk_status qk_push_outlook_make(qk_push_outlook *out, const qk_config *config, bool asks,
                               qk_error *err);
