/* Whether the contents of the cache are still what their names say. Disks rot, and a cache may be
 * shared: a file is read whole before its first use, and again once it has changed in any way that
 * the system tells (engine/base/digest_note.h; a run's own hashing shares these notes).
 *
 * next: hub/pull.h */
#pragma once

#include "engine/base/input.h"
#include "hub/cache.h"

/* *right: the file that `path` leads to has the digest of `file`. Where none is known (a copy in a
 * cache without a listing) any content is right. *seen: the file that was looked at. Signals and
 * hub->stop end it (QK_ERR_RESUME). */
qk_status qk_content_check(const qk_hub *hub, const char *path, const qk_hub_file *file,
                           bool *right, qk_file_state *seen, qk_error *err);
/* Notes the digest of a file that came just now, whose bytes were hashed on the way: `seen` as it
 * was installed. */
void qk_content_note(const char *path, const qk_hub_file *file, const qk_file_state *seen);
