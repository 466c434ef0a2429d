/* The files of a measurement: a folder of its own, units in a staging folder there, and the dataset
 * that they become, which is removed at once.
 *
 * next: engine/capture/unit_file.h, engine/output/merge.h */
#pragma once

#include "engine/staging/staging.h"

typedef struct qk_head_plan qk_head_plan;
typedef struct qk_unit_writer qk_unit_writer;

typedef struct qk_bench_disk {
    char *folder; /* in --dir: qkengine-bench-XXXXXX */
    char *staging_folder;
    qk_staging staging;
    qk_identity identity;
    int64_t units; /* that are there */
    qk_arena arena;
} qk_bench_disk;

/* Makes the folder; qk_bench_disk_close removes it, also after a failure. Zero-initialise. */
qk_status qk_bench_disk_open(qk_bench_disk *d, const char *dir, qk_error *err);
void qk_bench_disk_close(qk_bench_disk *d);
/* "on tmpfs (memory)", "on the disk of /tmp": in the arena. */
const char *qk_bench_disk_text(qk_bench_disk *d, const char *dir);

/* The next unit, of one example with this many tokens. */
qk_status qk_bench_disk_begin(qk_bench_disk *d, qk_unit_writer **file, int head_dim, int32_t tokens,
                              qk_error *err);
/* Flushed and named; *bytes is its size. Frees file in any case. */
qk_status qk_bench_disk_commit(qk_bench_disk *d, qk_unit_writer *file, double *bytes,
                               qk_error *err);
/* All units become a dataset: how many bytes its files of heads have, and how many they are. Then
 * both are gone. */
qk_status qk_bench_disk_merge(qk_bench_disk *d, const qk_head_plan *heads, const int *window,
                              int head_dim, double *seconds, double *bytes, int64_t *files,
                              qk_error *err);
