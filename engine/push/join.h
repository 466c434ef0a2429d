/* One split of the folder and the same split of the branch become one: join(branch, folder), see
 * engine/output/join.h. Private to engine/push.
 *
 * next: engine/push/card.h */
#pragma once

#include "engine/output/manifest.h"
#include "engine/push/merge.h"

/* theirs: the branch's manifest or NULL; ours: the folder's. */
qk_status qk_push_join(qk_push_merge *m, const char *split, const qk_json *theirs,
                       const qk_json *ours, qk_error *err);
