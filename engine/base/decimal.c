/* See decimal.h.
 *
 * printf's %.*e and strtod round correctly, to even at ties, so one pair of calls tells whether
 * that many digits are enough:
 *
 *   - A decimal of up to 15 digits is the nearest decimal of 15 digits, zeros added, to the double
 *     that it reads as: doubles are closer together than such decimals are (DBL_DIG). So where the
 *     15 digits nearest to the value read back, they are the answer once their zeros are cut off,
 *     and where they do not, no shorter ones can. Below DBL_MIN doubles have fewer bits, and any
 *     number of digits may be the first that is enough: all are tried.
 *   - The nearest 17 digits always read back.
 *   - The nearest decimal of a length may fail while another one of that length is right. Numbers
 *     that read as a double reach half way to its neighbours, and below a power of two that is half
 *     as far as above it. Where the nearest one lies below such a double and fails, the next one up
 *     can be near enough: 2^-44 is 5.6843418860808015e-14, of 16 digits 5.684341886080801e-14 is
 *     below it and too far, and 5.684341886080802e-14 is right. No other one can: it would lie on
 *     the side where the nearer one failed, or be farther away on a side that reaches less far. */
#include "engine/base/decimal.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* The nearest decimal of `count` digits to value > 0. The character between the digits and the
 * exponent's sign depend on nothing but the format, the decimal point on the locale: skip it. */
static qk_decimal nearest(double value, int count)
{
    char text[40];
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    qk_decimal d = {.count = 0};
    char *p = text;
    for (; *p != 'e'; p++)
        if (isdigit((unsigned char)*p)) d.digits[d.count++] = *p;
    d.point = (int)strtol(p + 1, NULL, 10) + 1;
    return d;
}

static bool reads_back(const qk_decimal *d, double value)
{
    char text[40]; /* digits and exponent without a decimal point */
    snprintf(text, sizeof text, "%se%d", d->digits, d->point - d->count);
    return strtod(text, NULL) == value;
}

/* The next larger decimal of the same length; false for 99..9, which 1 would have been before. */
static bool step_up(qk_decimal *d)
{
    int i = d->count - 1;
    for (; i >= 0 && d->digits[i] == '9'; i--) d->digits[i] = '0';
    if (i >= 0) d->digits[i]++;
    return i >= 0;
}

qk_decimal qk_decimal_of(double value)
{
    qk_decimal d = {.digits = "0", .count = 1, .point = 1};
    for (int count = value < DBL_MIN ? 1 : DBL_DIG; value > 0; count++) {
        d = nearest(value, count);
        if (reads_back(&d, value) || (step_up(&d) && reads_back(&d, value))) break;
    }
    while (d.count > 1 && d.digits[d.count - 1] == '0') d.digits[--d.count] = 0;
    return d;
}

size_t qk_decimal_text(double value, char out[QK_DECIMAL_TEXT])
{
    qk_decimal d = qk_decimal_of(fabs(value));
    const char *sign = signbit(value) ? "-" : "", *s = d.digits;
    int n = d.count, exponent = d.point - 1, length;
    if (exponent < -4 || exponent >= n) /* d.ddde+XX */
        length = snprintf(out, QK_DECIMAL_TEXT, "%s%c%s%se%+03d", sign, s[0], n > 1 ? "." : "",
                          s + 1, exponent);
    else if (exponent < 0) /* 0.000ddd */
        length = snprintf(out, QK_DECIMAL_TEXT, "%s0.%.*s%s", sign, -exponent - 1, "000", s);
    else /* dd.dd */
        length = snprintf(out, QK_DECIMAL_TEXT, "%s%.*s%s%s", sign, exponent + 1, s,
                          exponent + 1 < n ? "." : "", s + exponent + 1);
    return (size_t)length;
}
