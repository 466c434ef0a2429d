/* .qkengine/snapshot.json: what the last push left on the Hub, and the digests of the folder's
 * files then, so that the next push reads only those whose size or time has changed.
 *
 *   {"repo_id","branch","sha","files":{NAME:{"size","mtime_ns","sha256","git"},...}}   sealed */
#pragma once

#include "hub/push_files.h"
#include "hub/remote.h"

/* Fills files with what is known; an absent or damaged snapshot is none. */
qk_status qk_push_snapshot_read(const char *state, const char *folder, qk_push_files *files,
                                qk_error *err);
qk_status qk_push_snapshot_write(const char *state, const qk_remote *remote,
                                 const qk_push_files *files, qk_error *err);
