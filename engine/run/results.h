/* What data_root holds before a run, for looking only: no lock is taken and nothing is made, so a
 * run that is at work there goes on undisturbed. Which weights and texts it comes from is not known
 * without reading those: settings are compared (engine/run/identify.h).
 *
 * next: engine/run/existing.h */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

typedef struct qk_plan qk_plan;

typedef struct qk_results {
    int64_t finished;        /* units in staging */
    uint64_t finished_bytes; /* of them */
    int64_t units;        /* as noted there once the texts have been read to their end, else -1 */
    bool is_other;        /* they are of other settings: a run is refused; see difference */
    char difference[400]; /* "config.model.dtype: ..." */
    bool in_final;        /* final/ has a run of these settings */
    uint64_t final_bytes; /* of the files in final/ that a run adds rows to */
} qk_results;

/* Damaged files, and those that cannot be read, are an error that names them. */
qk_status qk_results_read(qk_results *out, const qk_plan *plan, qk_error *err);
