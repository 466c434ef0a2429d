/* What a run takes of a dataset on this disk, when that is not all of it: with dataset.max_samples
 * or a slice that ends, nothing behind the last row may have to be read, so the identity of the run
 * cannot go by digests of files. It goes by the rows: SHA-256 of
 *
 *   for each row of the selection: its id (8 bytes), the length of the id's text (8; all ones
 *   without an id column), that text, the length of the text (8), the text
 *
 * That is all that a dataset gives to a run, so equal digests are the same run wherever the rows
 * lie and whatever stands behind them. It is known before the first unit: the rows are read once
 * more for it, which also tells a broken one at the start. The result is noted for the next start
 * as digests of files are (engine/base/sha256.h), under the SHA-256 of all that it depends on: the
 * settings, and the states of the card and of the files of the selection. A run without a limit
 * reads all of its files, and goes by their SHA-256.
 *
 * next: engine/output/manifest.h */
#pragma once

#include "engine/dataset/dataset.h"

typedef struct qk_rows_digest {
    int64_t rows;
    size_t files; /* of qk_dataset_files: up to the one with the last row */
    char hex[65];
} qk_rows_digest;

/* Whether a run with this configuration goes by its rows. It depends on nothing else. */
qk_status qk_rows_are_limited(const qk_config *config, bool *limited, qk_error *err);
/* Of a dataset of this configuration that stands before its first row, and does so afterwards: it
 * has the files that the run will read. watch: for them, see qk_dataset_watch. */
qk_status qk_rows_digest_make(qk_rows_digest *out, const qk_config *config, qk_dataset *dataset,
                              qk_watch *watch, qk_error *err);
