/* A repository at one commit, as a folder on this disk: first its list of files, then the contents
 * of those that somebody needs.
 *
 *   revision -> commit -> listing        from the Hub, or from the cache: offline, for a commit
 *                                        whose listing is kept, or when the Hub cannot be reached
 *   files    -> snapshots/COMMIT/PATH    what is there already costs no request, but a check of its
 *                                        content (hub/content.h): a wrong one is fetched again
 *
 * next: engine/run/inputs.h */
#pragma once

#include "hub/cache.h"

typedef struct qk_snapshot {
    const qk_hub *hub;
    qk_repo repo; /* owned copies */
    qk_cache cache;
    qk_hub_listing listing; /* sizes are UINT64_MAX, digests may be "" when only names are known */
    atomic_bool *checked;   /* of each of its files: the content in the folder is the right one */
    bool from_cache;        /* the Hub was not asked, or did not answer: `why` */
    bool listing_is_kept;
    bool ref_is_written;
    bool quiet;         /* of the caller: a fetch says nothing, as long as nothing is wrong */
    const char *reason; /* of the caller, or NULL: why these files, in the line that names them */
    qk_error why;
} qk_snapshot;

/* Finds commit and listing. revision NULL: main. On error *s needs no close. The hub is borrowed.
 */
qk_status qk_snapshot_open(qk_snapshot *s, const qk_hub *hub, qk_repo_type type, const char *repo,
                           const char *revision, qk_error *err);
void qk_snapshot_close(qk_snapshot *s);

/* cache/snapshots/COMMIT; there after the first fetch. */
const char *qk_snapshot_folder(const qk_snapshot *s);
bool qk_snapshot_has(const qk_snapshot *s, const char *path);
/* Whether the file is complete in the folder; in any thread. */
qk_status qk_snapshot_holds(const qk_snapshot *s, const char *path, bool *holds, qk_error *err);
/* The same, and this process knows that its content is the right one; in any thread. */
qk_status qk_snapshot_knows(const qk_snapshot *s, const char *path, bool *knows, qk_error *err);
/* Makes the files complete and right in the folder. QK_ERR_NOTFOUND for a path that the commit does
 * not have. Without the Hub, what is not in the cache is an error, and `why` is its reason. */
qk_status qk_snapshot_fetch(qk_snapshot *s, const qk_names *paths, qk_error *err);
/* The same for those of the paths that exist; absent ones are marked as such in the cache. */
qk_status qk_snapshot_fetch_present(qk_snapshot *s, const char *const *paths, qk_error *err);
