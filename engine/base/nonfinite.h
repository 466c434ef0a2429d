/* NaN and infinity, and numbers that become infinite when a narrower format takes them: nothing
 * that passes through here may reach the output unseen.
 *
 * Without its sign, every bit pattern from one limit on is such a number, so looking is one
 * comparison a value:
 *
 *   float32 0x7F800000   bfloat16 0x7F80   float16 0x7C00     infinity itself
 *   float32 as bfloat16  0x7F7F8000    half a step above the largest one: ties go to even
 *   float32 as float16   0x477FF000    65520
 *   bfloat16 as float16  0x4780        65536
 *
 * next: engine/model/weights.h, engine/capture/capture.h */
#pragma once

#include "engine/base/dtype.h"

/* How many of n values are not finite once they are rounded to the format `to`. */
size_t qk_nonfinite_count(const void *values, size_t n, qk_dtype dtype, qk_dtype to);
/* The first of them; n when there is none. */
size_t qk_nonfinite_first(const void *values, size_t n, qk_dtype dtype, qk_dtype to);
/* Rows of [rows, d] that hold at least one. */
size_t qk_nonfinite_rows(const float *values, size_t rows, size_t d);
