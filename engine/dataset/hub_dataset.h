/* A dataset of the Hub, opened with its list of files and the card; contents come when the rows are
 * read (hub/ahead.h).
 *
 * What identifies it is known without them: the listing of the commit has the SHA-256 of large
 * files (LFS) and git's sha1 of small ones. So manifest.json is the same whether a file was fetched
 * by this run, by an earlier one, or never, because max_samples was reached before it.
 *
 * next: engine/run/inputs.h */
#pragma once

#include "engine/dataset/dataset.h"

typedef struct qk_hub_dataset qk_hub_dataset;

/* config->dataset is not a local path. offline: only what the cache has. */
qk_status qk_hub_dataset_open(qk_hub_dataset **out, const qk_config *config, bool offline,
                              qk_error *err);
/* For qk_dataset_open_in; borrowed. */
const qk_dataset_remote *qk_hub_dataset_remote(const qk_hub_dataset *d);
const char *qk_hub_dataset_commit(const qk_hub_dataset *d);
/* Of a path of qk_dataset_files: SHA-256 (64 digits) or git's sha1 (40), which is that of "blob
 * SIZE\0" and the content. "": not known, but the file is there (a cache of copies, offline). */
const char *qk_hub_dataset_digest(const qk_hub_dataset *d, const char *path);
/* Whether a file was needed and could not be had. */
bool qk_hub_dataset_lacks(const qk_hub_dataset *d);
/* Ends what is being fetched; the dataset that reads it gets an error. In any thread. */
void qk_hub_dataset_stop(qk_hub_dataset *d);
void qk_hub_dataset_close(qk_hub_dataset *d); /* NULL-safe */
