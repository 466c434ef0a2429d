/* Before a push: rows that the branch has and the folder lacks come into the folder.
 *
 * Prefix layout (final/<split>/...), for each split that both have:
 *   nothing to do   the folder's manifest holds every run of the branch's, and every file of it
 *   refused         runs of two meanings (engine/output/compatibility.h), or two texts under one id
 *                   (engine/output/example_texts.h)
 *   else            join(branch, folder), engine/output/join.h: rows of the branch stay in front.
 *                   All of it enters the folder in one commit.
 *   README.md       the folder's own lists what it holds; where the branch has other splits, its
 *                   README.md lists those of both
 * Branch layout (final/lXXhYYq/...): equal settings and numerics, or an error that says what
 * differs; they give equal rows, so nothing is merged.
 * A folder without manifest.json is pushed as it is.
 *
 * next: engine/output/join.h */
#pragma once

#include <stddef.h>

#include "engine/base/error.h"

typedef struct qk_push_files qk_push_files;
typedef struct qk_remote qk_remote;
typedef struct qk_staging qk_staging;
typedef struct qk_uploader qk_uploader;

typedef struct qk_push_merge {
    const char *folder;
    const qk_staging *staging; /* folder/.qkengine, locked */
    const qk_remote *remote;   /* listed */
    qk_uploader *lines;
    const qk_push_files *files; /* of the folder, hashed */
    size_t merged;              /* out: files that were written */
    char *card; /* out: path of the README.md for the branch, or NULL: the folder's; caller frees */
} qk_push_merge;

qk_status qk_push_merge_run(qk_push_merge *m, qk_error *err);
