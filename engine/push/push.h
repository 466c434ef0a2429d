/* qkengine push: a folder becomes a branch of a dataset on the Hub; other pushers' rows stay.
 *
 * Beside the files the folder holds .qkengine/, which is never pushed: the lock, snapshot.json
 * (what the last push left on the Hub, and the digests of the files then), and files on their way
 * in.
 *
 *   look -> merge what the branch has and the folder lacks (merge.h) -> list the folder
 *        -> send what differs; again while the branch moves on
 *
 * next: engine/push/merge.h, hub/push.h */
#pragma once

#include "engine/base/mem.h"

typedef struct qk_push_options {
    const char *folder, *repo;
    const char *branch; /* NULL: main */
    bool is_private;    /* when the repository is made */
    bool partial;       /* what is a part of a run may go, too */
    bool delete_stale;  /* the branch becomes the folder: nothing is merged, the rest is deleted */
    const struct qk_staging *held; /* the staging folder beside it, which the caller holds alone; or
                                    * NULL: it is held here where there is one */
} qk_push_options;

typedef struct qk_push_report {
    size_t files, sent, deleted, commits;
    size_t merged; /* files that took rows from the branch, or came from it */
    uint64_t bytes_sent;
    char head[72]; /* the branch's commit at the end */
} qk_push_report;

/* A push that could not finish is QK_ERR_RESUME; its hint ends with the command that goes on. */
qk_status qk_push_folder(const qk_push_options *options, qk_push_report *report, qk_error *err);
/* Makes any error of a push one that the same command can take up again: for the end of a run. */
qk_status qk_push_keep(const qk_push_options *options, qk_error *err);
