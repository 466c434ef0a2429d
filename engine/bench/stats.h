/* What a series of measurements says, and what it does not.
 *
 * A difference is told from pairs: the two ways are measured one after the other, many times, and
 * each round gives a ratio, in which the drift of the machine cancels. The difference is the median
 * of the ratios less 1. Its interval makes no assumption about the noise: of n ratios in order, the
 * k-th and the k-th from the end enclose the median of all that could be measured unless fewer than
 * k of n fair coins show heads, so their confidence is 1 - 2 P(B(n, 1/2) < k). The widest k that
 * leaves 95 % is taken; below six pairs there is none, and a difference is not told at all.
 *
 * next: engine/bench/measure.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Sorts values; the mean of the two in the middle when n is even. n > 0. */
double qk_median(double *values, size_t n);

/* Which order statistic, counted from 1, bounds an interval of the median of n values, and with
 * what confidence; 1 where none has 95 %. n > 0. */
size_t qk_interval_rank(size_t n, double *confidence);

typedef struct qk_difference {
    size_t n;          /* pairs; 0: not measured */
    double percent;    /* the median */
    double low, high;  /* its interval, per cent */
    double confidence; /* of the interval: 0.95 to 1, or less where the pairs are few */
} qk_difference;

/* Of n pairs: how much more per cent `with` is than `without`. */
qk_difference qk_difference_of(const double *with, const double *without, size_t n);

typedef enum qk_verdict {
    QK_TOLD,  /* the interval is above 0: the number means something */
    QK_NOISE, /* it holds 0, or lies below it, and no work makes a forward faster: all that is known
               * is that the difference is within qk_noise_of */
    QK_FEW,   /* too few pairs for either */
    QK_UNMEASURED,
} qk_verdict;
qk_verdict qk_difference_judge(const qk_difference *d);
/* The farther end of the interval, per cent, without its sign. */
double qk_noise_of(const qk_difference *d);
