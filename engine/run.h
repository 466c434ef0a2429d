/* `qkengine run`: the whole pipeline.
 *
 *   plan -> dataset -> tokenizer -> model -> for each work unit: forward, capture, unit file
 *        -> merge into final/
 *
 * Crash-safe: staging/ holds finished units; the same command skips them. final/ changes only when
 * everything is ready, by renames that a restart completes (engine/commit.h). Nothing is ever
 * removed that this program did not write.
 *
 *   data_root/staging/identity.json   what the units belong to
 *   data_root/staging/unit-NNNNNN.qku one finished unit each (engine/sink.h)
 *   data_root/staging/units.json      how many units there are, once the dataset has ended
 *   data_root/staging/dataset_commit  of a dataset of the Hub: what the first start read
 *   data_root/staging/lock            held while a run works here
 *
 * next: engine/merge.h */
#pragma once

#include "engine/config.h"

typedef struct qk_run_result {
    bool already_complete;
    int64_t examples, tokens; /* read by this run; units found finished are not counted */
    int64_t units, units_found;
    uint64_t rows_final, rows_added, files;
    double seconds_forward, seconds_total;
    char final_folder[4096];
} qk_run_result;

qk_status qk_run(const qk_config *config, qk_run_result *result, qk_error *err);
