/* See stages.h. */
#include "engine/base/stages.h"

#include <stdatomic.h>
#include <stdint.h>

static _Atomic int64_t nanoseconds[QK_STAGES];

const char *qk_stage_name(qk_stage stage)
{
    static const char *const names[QK_STAGES] = {"tokenize", "wait",  "forward",
                                                 "rows",     "write", "merge"};
    return names[stage];
}

void qk_stage_add(qk_stage stage, double seconds)
{
    atomic_fetch_add(&nanoseconds[stage], (int64_t)(seconds * 1e9));
}

double qk_stage_seconds(qk_stage stage)
{
    return 1e-9 * (double)atomic_load(&nanoseconds[stage]);
}

void qk_stages_reset(void)
{
    for (int i = 0; i < QK_STAGES; i++) atomic_store(&nanoseconds[i], 0);
}
