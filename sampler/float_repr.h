/* A double as CPython's repr() prints it.
 *
 * The digits are the shortest decimal's (engine/base/decimal.h). Exponents -4 .. 15 are written out
 * (0.0001, 1234567.0), others as 1e-05, 1.5e+16; then inf, -inf, nan. A float32 is widened first:
 * 0.1f is 0.10000000149011612.
 *
 * next: sampler/example_id.h */
#pragma once

#include <stddef.h>

enum { QK_FLOAT_REPR_SIZE = 32 };

/* Writes the text with its NUL and returns its length. */
size_t qk_python_float_repr(double value, char out[QK_FLOAT_REPR_SIZE]);
