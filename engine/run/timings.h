/* data_root/timings.jsonl: a line for each process that has computed units or merged, with the
 * seconds of its stages. Beside final/, not in it: two runs of the same settings have the same
 * dataset, and never the same times. Nothing reads it, and it may be removed at any time.
 *
 * next: engine/base/stages.h */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/stages.h"

typedef struct qk_timings {
    bool merged;
    int64_t units, examples, tokens; /* that this process has computed */
    double seconds, stages[QK_STAGES];
} qk_timings;

/* "stages: forward 12.3 s, rows 0.2 s, ...", for people, in out. */
enum { QK_TIMINGS_TEXT = 256 };
void qk_timings_text(const double stages[QK_STAGES], char out[QK_TIMINGS_TEXT]);
/* Appends the line; that it cannot be written is a warning. */
void qk_timings_note(const char *data_root, const qk_timings *timings);
