/* Many files, one change: final/ goes from its old state to its new one whole.
 *
 * New files are first written, complete, under staging/merged/ with the same relative paths. Then
 * staging/commit.json lists them, and then each is renamed into final/. A crash before commit.json
 * exists leaves final/ as it was; after it, the next run completes the renames. */
#pragma once

#include "engine/staging.h"

/* Completes the renames of an earlier run that died among them; does nothing without commit.json.
 */
qk_status qk_commit_recover(const qk_staging *s, const char *final_folder, qk_error *err);
/* Whether such renames are to be completed. */
qk_status qk_commit_is_pending(const qk_staging *s, bool *pending, qk_error *err);
/* Moves files (paths relative to staging/merged and final/) into final/. */
qk_status qk_commit_files(const qk_staging *s, const char *final_folder, const qk_names *files,
                          qk_error *err);
/* "staging/merged/<relative>" with its folder made; the caller frees. NULL on error. */
char *qk_commit_path(const qk_staging *s, const char *relative, qk_error *err);
