/* The disk of a run: what it needs, and what there is.
 *
 *   staging   unit files: rows as they were captured, float32
 *   final     head files, packed; those of the same split that are there already are written anew
 *   peak      both: units go when the new files of final/ are whole. Those that they replace lie
 *             there until then, and have taken their share of the disk before
 *
 * How far rows can be packed is a property of the vectors. Measured on SmolLM2 135M: all rows of
 * three layers take 0.80 of their bytes with float32 arithmetic, whose low bits are noise, and 0.33
 * with bfloat16, whose float32 are half zeros; 0.88 and 0.44 with output.vector_encoding: plain. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/error.h"

typedef struct qk_estimate qk_estimate;
typedef struct qk_plan qk_plan;
typedef struct qk_results qk_results;
typedef struct qk_tokenizer qk_tokenizer;

typedef struct qk_disk_need {
    double staging, final, peak; /* bytes, about */
    double missing;              /* of the peak, what is not there yet */
} qk_disk_need;

/* Of what the estimate counts; results: what is there already. */
qk_disk_need qk_disk_need_of(const qk_plan *plan, const qk_estimate *e, const qk_results *results);

typedef struct qk_disk {
    uint64_t free; /* bytes that this user may take */
    bool writable; /* data_root, or where it has to be made */
    bool is_file;  /* there is a file in its place: not writable */
    char *folder;  /* which is that */
} qk_disk;

/* folder is freed by the caller. */
qk_status qk_disk_of(const char *data_root, qk_disk *out, qk_error *err);
/* Warns where data_root cannot be written, or lacks what is missing. */
void qk_disk_warn(const qk_disk *disk, const qk_disk_need *need, const char *data_root);

/* All of that at the start of a run whose dataset lies on this disk, by its first texts. examples:
 * as in qk_estimate_start. What cannot be read is passed over: the run says so itself. */
void qk_check_disk(const qk_plan *plan, const qk_tokenizer *tokenizer, int64_t examples);
