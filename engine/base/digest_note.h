/* Notes of digests, so that what was read whole once need not be read again while it stays as it
 * is: a model is 140 GB.
 *
 * A note holds as long as the file is the same by all that tells one content from another: device,
 * inode, size, and both times to the nanosecond. Notes lie in the cache "digests", one for each
 * DEVICE-INODE. A file that was changed less than two seconds ago gets none: on a file system with
 * coarse clocks its next change might have the same time. A disk that changes bytes by itself is
 * not noticed while a note holds; QKENGINE_CACHE=off reads everything.
 *
 * next: hub/content.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct stat;

enum { QK_DIGEST_GIT = 40, QK_DIGEST_SHA256 = 64 }; /* hexadecimal digits */

/* hex: room for that many digits and a NUL. */
bool qk_digest_note_find(const struct stat *file, int digits, char *hex);
/* Does nothing for a file that was changed a moment ago. hex: of all of the file. */
void qk_digest_note_leave(const struct stat *file, const char *hex);
