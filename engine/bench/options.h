/* What is measured, as the command line says it.
 *
 * next: engine/bench/measure.h */
#pragma once

#include "engine/base/dtype.h"
#include "engine/base/error.h"
#include "engine/bench/result.h"
#include "sampler/sampler.h"

typedef struct qk_preset qk_preset;

typedef struct qk_bench_options {
    const char *folder;      /* of a model; or */
    const qk_preset *preset; /* random weights of this shape */
    int layers;              /* its first ones; 0: all */
    qk_dtype dtype;
    const char *backend;
    int threads; /* 0: all */
    int tokens[QK_BENCH_LENGTHS];
    size_t n_tokens; /* 0: 512, and up to 4096 */
    qk_sampler sampler;
    int rounds;      /* 0: as many as the time allows */
    bool gather;     /* a stage more */
    const char *dir; /* where a folder for units and datasets is made, and removed at the end */
} qk_bench_options;

/* "512,4096": lengths of documents, each from 1 on and no two the same. */
qk_status qk_bench_parse_tokens(const char *text, qk_bench_options *o, qk_error *err);
/* "all", "uniform", "log_uniform:128/16": the type, capture.min_bucket_size and
 * capture.sampler.base_rate; without the numbers, or the last one, their defaults. */
qk_status qk_bench_parse_sampler(const char *text, qk_sampler *out, qk_error *err);
