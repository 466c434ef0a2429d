/* Files of a dataset's commit into a folder of our own: what a push merges with.
 *
 * A file is written under a temporary name, its size and content checked against the listing, and
 * renamed; a wrong one is fetched again, then refused.
 *
 * next: engine/push/merge.h */
#pragma once

#include "hub/remote.h"
#include "hub/upload.h"

/* Fetches files [n] of the remote's head to folder/<name>, side by side. */
qk_status qk_fetch_files(qk_uploader *lines, const qk_remote *remote,
                         const qk_hub_file *const *files, size_t n, const char *folder,
                         qk_error *err);
