/* The README.md of a branch in prefix layout. Where the branch has splits that the folder lacks, it
 * lists those, too; else it is the folder's own. Private to engine/push. */
#pragma once

#include "engine/base/file.h"
#include "engine/push/merge.h"

/* After the merge of the splits: m->card is the path of the branch's README.md, in staging, where
 * that is another than the folder's. */
qk_status qk_push_card(qk_push_merge *m, qk_error *err);
