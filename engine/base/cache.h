/* Caches: what can be made again is kept between runs, where nobody else can write.
 *
 * A cache has a kind ("cubins") and holds small files by name, in ROOT/KIND/NAME. ROOT is
 * $QKENGINE_CACHE, else qkengine in $XDG_CACHE_HOME or ~/.cache; QKENGINE_CACHE=off is none.
 *
 * What lies there decides what a run computes, so ROOT, KIND and NAME are used only when each of
 * them belongs to this user or to root and neither group nor others may write to it; below ROOT no
 * link is followed. What was opened is asked, not its path. Otherwise the cache counts
 * as absent, with one warning. Made by us, folders have mode 0700 and files 0600.
 *
 * next: engine/base/log.h */
#pragma once

#include "engine/base/mem.h"

/* ROOT/KIND, for messages; NULL when there is no cache. It may not exist. The caller frees. */
char *qk_cache_folder(const char *kind);
/* The whole file, of at most `limit` bytes, in a fresh *out (qk_buf_free). false: there is none, or
 * it is not to be trusted, too long, or cannot be read; *out is then empty. */
bool qk_kept_read(const char *kind, const char *name, size_t limit, qk_buf *out);
/* Makes the folders and puts the file there under a temporary name first, so that readers and other
 * writers see all of it or nothing. Returns whether it is there now: a cache that cannot be written
 * costs time, not the run. */
bool qk_kept_write(const char *kind, const char *name, const void *bytes, size_t n);

/* Reads a file that was installed with the program: `relative` is a folder's path from the program's
 * own ("../share/qkengine/cubins"). It is trusted as far as the program is: folder and file may
 * also belong to the program's owner, and be writable where the program is. */
bool qk_installed_read(const char *relative, const char *name, size_t limit, qk_buf *out);
