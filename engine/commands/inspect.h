/* The parts of `qkengine inspect`, one file for each kind of thing. All print tables, or with
 * `json` one JSON object, on standard output; nothing is printed when they fail.
 *
 * next: engine/commands/inspect_data.c */
#pragma once

#include "engine/commands/cli.h"

qk_status qk_inspect_checkpoint(const char *path, bool json, qk_error *err); /* folder or file */
qk_status qk_inspect_tokenizer(const char *folder, bool json, qk_error *err);
qk_status qk_inspect_parquet(const char *path, bool json, qk_error *err);
qk_status qk_inspect_output(const char *folder, bool json, qk_error *err); /* of a run */
/* A dataset as a run would read it: a folder, or one file. */
qk_status qk_inspect_data(const char *path, const qk_args *args, qk_error *err);
