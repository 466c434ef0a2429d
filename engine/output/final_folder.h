/* Checks final/, or a folder that is pushed, before anything in it is read.
 *
 * What lies there is merged into new files and pushed. A link in it, put there by whoever made the
 * folder, would bring in rows, ids and runs of a file elsewhere on this disk, and the push would
 * publish them.
 *
 * next: engine/base/beneath.h */
#pragma once

#include "engine/staging/staging.h"

/* QK_ERR_DATA, with its name, when one of the files that are read is no regular file or lies behind
 * a link: manifest.json, examples.parquet and the data files of `split`, a folder of final, or NULL
 * for final itself. What is not there is fine. */
qk_status qk_final_check(const char *final, const char *split, qk_error *err);
/* The same for a folder of final/ that is another model's, and whether it is a split at all: it has
 * a folder's name and nothing of it is a link. One with links is passed over, with a warning. */
qk_status qk_final_is_split(const char *final, const char *name, bool *is_split, qk_error *err);
/* Holds alone the runs of data_root where `final` is data_root/final: none may write to it while it
 * is read, and one that died while it moved its files in is finished first. *path: their staging
 * folder, which the caller frees after closing *run; NULL, and nothing is held, where there is
 * none. */
qk_status qk_final_hold(const char *final, qk_staging *run, char **path, qk_error *err);
