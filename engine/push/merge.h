/* Before a push: rows that the branch has and the folder lacks come into the folder.
 *
 * Prefix layout (final/<split>/...), for each split that both have:
 *   nothing to do   the folder's manifest holds every run of the branch's, and every file of it
 *   refused         runs of two meanings (engine/output/compatibility.h), or two texts under one id
 *                   (engine/output/example_texts.h)
 *   else            each data file: rows of the branch stay in front, then those of the folder that
 *                   it lacks, once per (full example id, position); examples.parquet likewise;
 *                   manifest.json: the runs of both. All of it enters the folder in one commit.
 *   README.md       the folder's own lists what it holds; where the branch has other splits, its
 *                   README.md lists those of both
 * Branch layout (final/lXXhYYq/...): equal settings and arithmetic, or an error that says what
 * differs; they give equal rows, so nothing is merged.
 * A folder without manifest.json is pushed as it is.
 *
 * next: engine/push/join.h */
#pragma once

#include "engine/staging/staging.h"
#include "formats/json.h"
#include "hub/fetch.h"

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

/* The split's file (NULL split: at the root) as the branch has it, in staging/incoming; fetched
 * when it is not there. *path NULL: the branch has none. The caller frees it. */
qk_status qk_push_incoming(const qk_push_merge *m, const char *split, const char *name, char **path,
                           qk_error *err);
/* The manifest of that split as the branch has it, in the arena; NULL: it has none. */
qk_status qk_push_manifest(const qk_push_merge *m, const char *split, qk_arena *arena,
                           const qk_json **out, qk_error *err);
