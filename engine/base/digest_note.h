/* Notes of digests, so that what was read whole once need not be read again while it stays as it
 * is: a model is 140 GB.
 *
 * A note holds as long as the file is the same by all that tells one content from another
 * (engine/base/input.h): device, inode, size, and both times to the nanosecond. Notes lie in the
 * cache "digests" (engine/base/cache.h: where nobody else can write), DEVICE-INODE each. A file
 * that was changed less than two seconds ago has none: on a file system with coarse clocks its next
 * change might have the same time. A disk that changes bytes by itself is not noticed while a note
 * holds; QKENGINE_CACHE=off reads everything.
 *
 * next: engine/base/sha256.h, hub/content.h */
#pragma once

#include "engine/base/input.h"

enum { QK_DIGEST_GIT = 40, QK_DIGEST_SHA256 = 64 }; /* hexadecimal digits: git's blob id, SHA-256 */

/* hex: that many digits and a NUL. */
bool qk_digest_note_find(const qk_file_state *file, int digits, char *hex);
/* hex: the digest of all of the file, of either kind. */
void qk_digest_note_leave(const qk_file_state *file, const char *hex);
