/* What `qkengine bench` has found: numbers for the four reports, none of which measures anything.
 *
 * next: engine/bench/measure.h, engine/bench/report.h */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/bench/stats.h"

/* Each does what the one before it does, and more; but GATHER, which is ROWS in another way. */
typedef enum qk_bench_stage {
    QK_BENCH_FORWARD, /* the forward alone */
    QK_BENCH_ROWS,    /* sampled rows taken in the kernels, and in host memory */
    QK_BENCH_GATHER,  /* sampled rows taken by a pass of its own; only with --against gather */
    QK_BENCH_UNIT,    /* positions drawn, rows checked, checksums, written, flushed to the disk */
    QK_BENCH_MERGED,  /* made Parquet: the processor time of one document more in the merge */
    QK_BENCH_STAGES,
} qk_bench_stage;

/* Of one document. */
typedef struct qk_bench_timing {
    bool measured;
    double seconds, least, most; /* of the wall clock: median and all of them */
    double cpu_seconds;          /* of all threads: median */
    double bytes;            /* forward: moved from and to memory, at least; else what it gives */
    qk_difference wall, cpu; /* beside the forward alone; of that itself nothing */
} qk_bench_timing;

typedef struct qk_bench_length {
    int tokens;
    size_t rounds;
    double flops; /* of the forward */
    double rows;  /* vectors taken of a document */
    int64_t files;
    double commit_seconds; /* of a unit, once for each: the end of QK_BENCH_UNIT, with its flush */
    double merge_seconds;  /* of one document alone: making the files and having them on the disk,
                           * once for a run */
    double merge_cpu_seconds; /* of each document more */
    qk_bench_timing stages[QK_BENCH_STAGES];
} qk_bench_length;

/* Of the machine itself; 0: not measured here. */
typedef struct qk_bench_peaks {
    double vector_flops; /* a second: fused multiply-adds in float32, all threads */
    double matrix_flops; /* the same in bfloat16, where there are instructions for it */
    double copy_bytes;   /* a second: read and written */
} qk_bench_peaks;

enum { QK_BENCH_LENGTHS = 8 };

typedef struct qk_bench_result {
    const char *model, *device, *dtype, *sampler, *disk, *build; /* borrowed */
    bool is_random;
    bool timed; /* false on the fake GPU, whose times mean nothing */
    int layers, q_heads, k_heads, head_dim;
    int threads; /* of the CPU; 0: something else computes */
    qk_bench_peaks peaks;
    qk_bench_length lengths[QK_BENCH_LENGTHS];
    size_t n_lengths;
    double seconds;
} qk_bench_result;
