/* Many files, one change: final/ goes from its old state to its new one whole.
 *
 * New files are first written, complete, under staging/merged/ with the same relative paths. Then
 * staging/commit.json lists them with their digests, and then each is renamed into final/. A crash
 * before commit.json exists leaves final/ as it was; after it, the next run completes the renames.
 *
 *   {"format": "qkengine commit 1", "identity": SHA-256 of identity.json or "",
 *    "files": [{"name": "l00h00q/data.parquet", "bytes": n, "sha256": "..."}, ...]}   sealed
 *
 * What is to be renamed is checked first, all of it: a file that is not the one that was listed,
 * or that is nowhere, and a journal that is damaged or belongs to another run's units are refused,
 * and nothing is moved. A journal is obeyed only below the folder that it came with: names are
 * checked (qk_path_problem), and no step from staging/merged to final/ goes through a link
 * (engine/base/beneath.h). Only data_root itself, or the folder given to push, may be a link: links
 * named staging, final or .qkengine cannot be told from those that came with the folder.
 *
 * next: formats/sealed.h */
#pragma once

#include "engine/staging/staging.h"

/* Files under staging/merged, by paths relative to it and to final/. */
typedef struct qk_publish_file {
    char *name;
    uint64_t bytes;
    char sha256[65]; /* "": not read yet */
} qk_publish_file;

typedef struct qk_publish {
    qk_publish_file *files;
    size_t count, capacity;
} qk_publish;

/* "staging/merged/<relative>" with its folder made, and the file listed; the caller frees. NULL on
 * error. */
char *qk_publish_add(qk_publish *c, const qk_staging *s, const char *relative, qk_error *err);
/* Sizes and digests of the files that have none yet; all of them must be whole by now. */
qk_status qk_publish_hash(qk_publish *c, const qk_staging *s, qk_error *err);
/* The entry, or NULL. */
const qk_publish_file *qk_publish_find(const qk_publish *c, const char *relative);
/* Moves them into final/, which lies beside the staging folder or is the folder around it. */
qk_status qk_publish_move(qk_publish *c, const qk_staging *s, const char *final_folder,
                          qk_error *err);
void qk_publish_free(qk_publish *c);

/* Completes the renames of an earlier run that died among them; without commit.json it only checks
 * whether final/ may be written to. Held alone. */
qk_status qk_publish_recover(const qk_staging *s, const char *final_folder, qk_error *err);
/* Whether such renames are to be completed. */
qk_status qk_publish_is_pending(const qk_staging *s, bool *pending, qk_error *err);
/* Closes a folder that was made for one change and is not staging/, and removes what is ours in it; with
 * a change that is not complete it stays. */
void qk_publish_end(qk_staging *s);
/* Removes what a merge that failed has left under staging/merged. Held alone, nothing pending. */
qk_status qk_publish_clean(const qk_staging *s, qk_error *err);
