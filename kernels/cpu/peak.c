/* See peak.h. */
#include "kernels/cpu/peak.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/log.h"
#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"

enum { TRIES = 5 }; /* the best one counts: a peak is what nothing has disturbed */

/* ---- multiply-adds ---- */

typedef struct adding {
    double (*run)(size_t turns);
    size_t turns;
    double *rates, *seconds; /* [threads] of the processor's time: others may use it, too */
} adding;

static double thread_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add_up(void *context, size_t begin, size_t end, int member)
{
    const adding *a = context;
    (void)member;
    for (size_t i = begin; i < end; i++) {
        double began = thread_now(), flops = a->run(a->turns);
        a->seconds[i] = thread_now() - began;
        a->rates[i] = flops / a->seconds[i];
    }
}

/* Operations a second of one go of all threads. */
static double try_adding(const adding *a, int threads)
{
    double rate = 0;
    qk_loop_each(threads, (size_t)threads, add_up, (void *)a);
    for (int i = 0; i < threads; i++) rate += a->rates[i];
    return rate;
}

double qk_cpu_peak(qk_dtype dtype, int threads, double seconds)
{
    const cpu_isa *isa = cpu_isa_find(NULL);
    adding a = {.run = dtype == QK_BF16 ? isa->peak_bf16 : isa->peak_f32, .turns = 1000};
    if (!a.run) return 0;
    if (!threads) threads = qk_threads(NULL);
    a.rates = qk_zalloc(2 * (size_t)threads, sizeof *a.rates);
    a.seconds = a.rates + threads;
    double best = 0;
    for (try_adding(&a, threads); a.seconds[0] < seconds / TRIES / 2; a.turns *= 2)
        try_adding(&a, threads);
    for (int i = 0; i < TRIES; i++) {
        double rate = try_adding(&a, threads);
        if (rate > best) best = rate;
    }
    free(a.rates);
    return best;
}

/* ---- copies ---- */

enum { PIECE = 1 << 20, PIECES = 128 }; /* 128 MB and as much again: more than caches */

static void copy(void *context, size_t begin, size_t end, int member)
{
    char *const *arrays = context;
    (void)member;
    memcpy(arrays[0] + begin * PIECE, arrays[1] + begin * PIECE, (end - begin) * PIECE);
}

double qk_cpu_copy_rate(int threads, double seconds)
{
    const size_t bytes = (size_t)PIECE * PIECES;
    char *arrays[] = {qk_alloc(bytes, 1), qk_alloc(bytes, 1)};
    memset(arrays[0], 1, bytes);
    memset(arrays[1], 2, bytes);
    double began = qk_now(), best = 0;
    do {
        double start = qk_now();
        qk_loop(threads, PIECES, copy, arrays);
        double rate = 2 * (double)bytes / (qk_now() - start);
        if (rate > best) best = rate;
    } while (qk_now() - began < seconds);
    free(arrays[0]);
    free(arrays[1]);
    return best;
}
