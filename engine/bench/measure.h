/* The measuring of `qkengine bench`: one document of random tokens for each length, through the
 * forward in several ways ("stages"), the ways in turns, so that the drift of the machine cancels:
 *
 *   round 0   forward    + rows     + unit
 *   round 1   + unit     + rows     forward
 *   round 2   + rows     + unit     forward       and so on: begun one further, every other backwards
 *
 * The units of all rounds, of one document each, are merged into a dataset at the end, and before
 * them the one of a first pass alone. What the second merge takes longer, in processor time, is what
 * its documents cost, and is added to their rounds' units; the time of the first, making the files and
 * waiting for the disk, is there once in a run, and told apart.
 *
 * next: engine/bench/stats.h, engine/bench/rows.h, engine/bench/disk.h */
#pragma once

#include "engine/bench/options.h"

/* What the result's texts point to. */
typedef struct qk_bench qk_bench;

/* Frees *bench with qk_bench_free, also after a failure. */
qk_status qk_bench_run(const qk_bench_options *options, qk_bench_result *result, qk_bench **bench,
                       qk_error *err);
void qk_bench_free(qk_bench *bench); /* NULL-safe */

/* Which stage is the i-th of a round, of n that take turns. */
size_t qk_bench_turn(size_t round, size_t i, size_t n);
