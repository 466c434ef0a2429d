/* The shortest decimal of a double: the fewest digits that read back as the same double and, of
 * those that are as short, the nearest to it. This is what Python's repr() prints (Steele and
 * White, "How to print floating-point numbers accurately", 1990; David Gay's dtoa in mode 0).
 *
 * next: sampler/float_repr.h, formats/json.h */
#pragma once

#include <stddef.h>

enum { QK_DECIMAL_DIGITS = 17, QK_DECIMAL_TEXT = 32 };

/* 0.DIGITS * 10^point, without a zero at either end; zero is "0" and point 1. */
typedef struct qk_decimal {
    char digits[QK_DECIMAL_DIGITS + 3];
    int count, point;
} qk_decimal;

/* Of a value that is finite and >= 0. */
qk_decimal qk_decimal_of(double value);

/* Those digits as C's %g lays them out: 0.1, 1500, 1e+02, 5e-324, -0; a number of JSON and of
 * YAML. The value is finite. Writes the text with its NUL and returns its length. */
size_t qk_decimal_text(double value, char out[QK_DECIMAL_TEXT]);
