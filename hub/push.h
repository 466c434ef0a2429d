/* Makes a branch hold the files of a list: what differs is uploaded and committed, nothing else.
 *
 * A push is rounds of: ask for the head, list it, compare by content, send a part of what differs,
 * commit it on that head. Whatever goes wrong with a commit (the branch has moved on, the reply was
 * lost, a time-out), the next round compares again and sees what is still missing: nothing is
 * committed twice, and a rerun after any interruption goes on.
 *
 * Order: data files, examples.parquet, manifest.json, README.md, deletions; so a reader of an
 * unfinished push sees an index of what is there.
 *
 * next: engine/push/push.h */
#pragma once

#include "hub/remote.h"
#include "hub/upload.h"

/* Parts of one push; a commit request has to finish within a minute on the server. */
enum { QK_PUSH_PART_FILES = 256, QK_PUSH_PART_BYTES = 16 << 20 };

typedef struct qk_push {
    qk_uploader uploader;
    qk_remote remote;
    const char *message; /* of the commits */
    bool delete_stale;   /* files of the branch that the list does not have are deleted */
    size_t part_files;   /* of the next commit: smaller after the server refused a larger one */
    size_t files_sent, commits, files_deleted;
    bool fresh;    /* the head was asked for just now */
    bool was_slow; /* the last failure of a commit was a time-out or the like */
    bool moved;    /* the last commit did not fit: the branch has others by now */
} qk_push;

/* branch NULL: main. Strings are borrowed. Makes repository and branch when they are absent. */
qk_status qk_push_open(qk_push *p, const qk_hub *hub, const char *repo, const char *branch,
                       bool is_private, qk_error *err);
/* Asks once: head and files in p->remote. */
qk_status qk_push_list(qk_push *p, qk_error *err);
/* Sends and commits what differs from the last qk_push_list. *done = false: the branch is not as
 * this push left it, compare again. Progress is what was committed, in p's counters. */
qk_status qk_push_send(qk_push *p, const qk_push_files *files, bool *done, qk_error *err);
void qk_push_close(qk_push *p);
