/* The README.md of a branch in prefix layout, from the manifests of its splits: those of the folder
 * and those that only the branch has. Private to engine/push. */
#pragma once

#include "engine/base/file.h"
#include "engine/push/merge.h"

/* Writes staging/README.md and sets m->card when it is not what the folder's README.md says. */
qk_status qk_push_card(qk_push_merge *m, const qk_names *splits, qk_error *err);
