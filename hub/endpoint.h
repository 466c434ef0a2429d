/* Which Hub, whose token, which cache: all of it from the environment, read once.
 *
 *   HF_ENDPOINT                  https://huggingface.co
 *   HF_TOKEN, HUGGING_FACE_HUB_TOKEN, then the file HF_TOKEN_PATH (HF_HOME/token)
 *   HF_HUB_DISABLE_IMPLICIT_TOKEN  only a token that is passed explicitly
 *   HF_HOME                      ${XDG_CACHE_HOME:-~/.cache}/huggingface
 *   HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE  HF_HOME/hub
 *   HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, HF_HUB_DISABLE_SYMLINKS   1 ON YES TRUE
 *   HF_HUB_DOWNLOAD_TIMEOUT      seconds of silence, 10; a commit may take 18 times that
 *
 * `.env` in the working folder gives those of HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_HOME,
 * HF_HUB_CACHE and HF_HUB_OFFLINE that the environment does not have. HF_ENDPOINT is not read from
 * it: a file that came with a folder must not choose where a person's token is sent.
 *
 * next: hub/http.h */
#pragma once

#include <stdatomic.h>

#include "hub/names.h"

typedef struct qk_hub {
    char *endpoint;   /* no '/' at the end */
    char *token;      /* NULL: anonymous */
    char *token_from; /* "HF_TOKEN", "the file ...": for messages */
    char *cache;      /* the folder of HF_HUB_CACHE */
    bool offline;     /* no socket is opened */
    bool impatient;   /* a server that cannot be reached is not tried again; set by the caller */
    bool no_links;    /* snapshots hold files instead of links */
    int download_timeout; /* seconds of silence */
    atomic_bool stop;     /* set by any thread: every transfer and wait ends */
} qk_hub;

/* token: from the command line or a configuration, or NULL for the rules above. On error *hub needs
 * no free. */
qk_status qk_hub_open(qk_hub *hub, const char *token, qk_error *err);
void qk_hub_close(qk_hub *hub); /* wipes the token */
/* QK_ERR_RESUME once a signal has arrived, or hub->stop is set. */
qk_status qk_hub_check(const qk_hub *hub, qk_error *err);

/* endpoint/api/models/REPO/VERB/REVISION or endpoint/api/datasets/...; the caller frees. Verbs are
 * "revision", "tree", "commit", "preupload" ... */
char *qk_hub_api_at(const qk_hub *hub, qk_repo_type type, const char *repo, const char *verb,
                    const char *revision);
/* endpoint/[datasets/]REPO/resolve/REVISION/FILE. */
char *qk_hub_resolve_url(const qk_hub *hub, qk_repo_type type, const char *repo,
                         const char *revision, const char *file);
/* Mirrors answer with the canonical address: https://huggingface.co/... becomes endpoint/...; other
 * URLs are copied. */
char *qk_hub_fix_url(const qk_hub *hub, const char *url);

/* For tests of the pure part: expands a leading '~' and $VAR, ${VAR}. */
char *qk_expand_path(const char *path);
