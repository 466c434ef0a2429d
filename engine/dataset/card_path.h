/* A path or pattern of a card, as `datasets` finds it in the folder: "./a", "data//a", "data/./a"
 * and "data/../data/a" are data/a, and a data_dir stands before it. Private to engine/dataset/.
 *
 * next: engine/dataset/card_infos.h */
#pragma once

#include "engine/dataset/folder.h"

/* The path from the root of the listing, without "", "." and ".." in it; *out is freed by the
 * caller, NULL on error. data_dir may be NULL. `key` and `card` are for messages. Refused are what
 * leaves the folder (in its text: links to folders are not followed anyhow), "." and ".." behind
 * what is no folder, and either of them, or an empty part, where the system would look for it in
 * each match of a wildcard: nothing is found that way. */
qk_status qk_card_path(char **out, const char *data_dir, const char *text, const char *key,
                       const char *card, const qk_listing *all, qk_error *err);
