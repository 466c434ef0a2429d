/* What this processor could do at best, to hold what it does against: fused multiply-adds on
 * registers alone, as many at a time as the instruction set has, and copies between two arrays that
 * no cache holds. Nothing here is part of a computation.
 *
 * next: kernels/cpu/isa/peak.c */
#pragma once

#include "engine/base/dtype.h"

/* Floating point operations a second of all threads (0: all that the machine offers), measured for
 * about that many seconds. bfloat16: of the instructions for it; 0 where there are none. */
double qk_cpu_peak(qk_dtype dtype, int threads, double seconds);
/* Bytes a second, those read and those written. */
double qk_cpu_copy_rate(int threads, double seconds);
