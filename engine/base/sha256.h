/* SHA-256 of whole files.
 *
 * A model is 140 GB, and every start has to know its digests before anything else: they are noted
 * (engine/base/digest_note.h).
 *
 * next: engine/output/manifest.h */
#pragma once

#include "engine/base/file.h"
#include "engine/base/hash.h"
#include "engine/base/input.h"

/* Digests of several files at once, at most `threads` (0: all cores) at a time; hex[i] belongs to
 * paths->items[i]. Each is one content from the watch's first check on, or an error that names it.
 * Signals end it (QK_ERR_RESUME). */
qk_status qk_sha256_files(const qk_names *paths, int threads, qk_watch *watch, char (*hex)[65],
                          qk_error *err);
/* Digest and size of a file of ours (qk_open_regular). */
qk_status qk_sha256_file(const char *path, char hex[65], uint64_t *bytes, qk_error *err);
/* The same of one that is open for reading, from its beginning; path is for
 * messages. */
qk_status qk_sha256_open_file(int fd, const char *path, char hex[65], uint64_t *bytes,
                              qk_error *err);
