/* See stats.h. */
#include "engine/bench/stats.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/mem.h"

static const double WANTED = 0.95;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double middle_of(const double *sorted, size_t n)
{
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

double qk_median(double *values, size_t n)
{
    QK_ASSERT(n);
    qsort(values, n, sizeof *values, ascending);
    return middle_of(values, n);
}

/* 1 - 2 P(B(n, 1/2) < k) for k = 1, 2, ... as long as it is enough. */
size_t qk_interval_rank(size_t n, double *confidence)
{
    QK_ASSERT(n);
    double exactly = exp2(-(double)n), below = exactly; /* P(B = 0), P(B < 1) */
    size_t k = 1;
    *confidence = 1 - 2 * below;
    for (size_t next = 2; 2 * next <= n; next++) {
        exactly *= (double)(n - next + 2) / (double)(next - 1);
        below += exactly;
        if (1 - 2 * below < WANTED) break;
        k = next;
        *confidence = 1 - 2 * below;
    }
    return k;
}

qk_difference qk_difference_of(const double *with, const double *without, size_t n)
{
    qk_difference d = {.n = n};
    if (!n) return d;
    double *ratios = qk_alloc(n, sizeof *ratios);
    for (size_t i = 0; i < n; i++) ratios[i] = 100 * (with[i] / without[i] - 1);
    d.percent = qk_median(ratios, n);
    size_t k = qk_interval_rank(n, &d.confidence);
    d.low = ratios[k - 1];
    d.high = ratios[n - k];
    free(ratios);
    return d;
}

qk_verdict qk_difference_judge(const qk_difference *d)
{
    if (!d->n) return QK_UNMEASURED;
    if (d->confidence < WANTED) return QK_FEW;
    return d->low > 0 ? QK_TOLD : QK_NOISE;
}

double qk_noise_of(const qk_difference *d)
{
    return fmax(fabs(d->low), fabs(d->high));
}
