/* The units of a run that are finished now, as a dataset of their own in data_root/partial, beside
 * final/ and as final/ would be with a dataset of these texts alone. manifest.json and the card say
 * what is missing, and a push refuses it unless told.
 *
 * The staging folder is read, under its shared lock: others compute meanwhile, a unit gets its name
 * when it is whole, and none goes away before a merge that holds the folder alone. Files are written
 * below data_root/partial.merging, which is gone at the end, and enter partial/ as one change
 * (engine/staging/publish.h): the next call completes or removes what a crash has left.
 *
 * next: engine/output/merge.h */
#pragma once

#include "engine/output/merge.h"

typedef struct qk_plan qk_plan;

/* job: with the units of the staging folder that is held, and `part`, which loses those that turn out
 * to be damaged; out, work and old are chosen here. *folder: "data_root/partial", the caller frees.
 * Refused where partial/ holds another run. */
qk_status qk_partial_make(const qk_plan *plan, const qk_merge_job *job, qk_units *part,
                          qk_merge_result *result, char **folder, qk_error *err);
