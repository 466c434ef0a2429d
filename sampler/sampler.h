/* How positions are chosen, as a configuration says it; sampler/positions.h says what it means.
 *
 * next: sampler/positions.h */
#pragma once

#include <stdint.h>

typedef struct qk_listed qk_listed;

/* Positions are below this; the reference's arithmetic is known up to here. */
enum { QK_SAMPLER_MAX_TOKENS = 1 << 26 };

typedef enum qk_sampler_kind {
    QK_SAMPLE_LOG_UNIFORM,
    QK_SAMPLE_UNIFORM,
    QK_SAMPLE_ALL
} qk_sampler_kind;

/* capture.sampler and its neighbours in a configuration. */
typedef struct qk_sampler {
    qk_sampler_kind kind;
    double base_rate;        /* rows wanted per bucket, above 0; not read by QK_SAMPLE_ALL */
    int64_t min_bucket_size; /* positions, 1 .. 2^31; log_uniform rounds it up to a power of two */
    int64_t max_rows;        /* per example, layer and kind; 0 or less: no limit */
    int32_t first;           /* positions that are always kept; with a limit, no more than it */
    const qk_listed *listed; /* borrowed; NULL: positions are drawn */
} qk_sampler;
