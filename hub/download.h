/* Contents of files into the cache: many at a time, each in pieces, none trusted.
 *
 * Up to 8 threads take pieces of 4 MB in order, each over its own connection. A piece waits in
 * memory until the ones before it are written, so that a temporary file is always a prefix of the
 * content and its length is all that a resume needs to know; the digest runs along. A file whose
 * server ignores or garbles ranges is read as one stream instead. When the last byte is there:
 * size, digest, fsync, rename.
 *
 *   digest of 64 digits   SHA-256 of the content
 *   digest of 40 digits   SHA-1 of "blob SIZE\0" and the content (git)
 *
 * A content that is not what the listing says is thrown away and asked for once more from its
 * start.
 *
 * next: hub/pull.h */
#pragma once

#include "hub/cache.h"

/* Brings those of `files` that the cache lacks, links all of them into the snapshot. The cache was
 * prepared. Pieces that were written stay for the next run when this one ends with an error. quiet:
 * without progress. */
qk_status qk_download(const qk_cache *cache, const qk_repo *repo, const qk_hub_file *const *files,
                      size_t count, bool quiet, qk_error *err);
