/* Shortest digits of a double, laid out as Python does. See float_repr.h.
 *
 * printf's %.*e and strtod round correctly, so one pair of calls per length decides whether that
 * many digits are enough. */
#include "sampler/float_repr.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* value = 0.DIGITS * 10^point */
typedef struct decimal {
    char digits[20];
    int count, point;
} decimal;

/* The nearest decimal of `count` digits to value > 0. The character between the digits and the
 * exponent's sign depend on nothing but the format, the decimal point on the locale: skip it. */
static decimal nearest_decimal(double value, int count)
{
    char text[40];
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    decimal d = {.count = 0};
    char *p = text;
    for (; *p != 'e'; p++)
        if (isdigit((unsigned char)*p)) d.digits[d.count++] = *p;
    d.point = (int)strtol(p + 1, NULL, 10) + 1;
    return d;
}

static bool reads_back(const decimal *d, double value)
{
    char text[40]; /* digits and exponent without a decimal point */
    snprintf(text, sizeof text, "%se%d", d->digits, d->point - d->count);
    return strtod(text, NULL) == value;
}

/* The next larger decimal of the same length; false for 99..9. */
static bool step_up(decimal *d)
{
    int i = d->count - 1;
    for (; i >= 0 && d->digits[i] == '9'; i--) d->digits[i] = '0';
    if (i >= 0) d->digits[i]++;
    return i >= 0;
}

static decimal shortest_decimal(double value)
{
    decimal d = {.digits = "0", .count = 1, .point = 1};
    for (int count = 1; value > 0; count++) {
        d = nearest_decimal(value, count);
        if (reads_back(&d, value)) return d;
        /* Above a power of two doubles are twice as far apart as below it, so the nearest decimal
         * may lie below and fail while the one above is right: 2^-44. */
        if (step_up(&d) && reads_back(&d, value)) return d;
    }
    return d;
}

size_t qk_python_float_repr(double value, char out[QK_FLOAT_REPR_SIZE])
{
    if (isnan(value)) return (size_t)snprintf(out, QK_FLOAT_REPR_SIZE, "nan");
    const char *sign = signbit(value) ? "-" : "";
    if (isinf(value)) return (size_t)snprintf(out, QK_FLOAT_REPR_SIZE, "%sinf", sign);
    decimal d = shortest_decimal(fabs(value));
    const char *s = d.digits;
    int n = d.count, point = d.point, size = QK_FLOAT_REPR_SIZE, length;
    if (point < -3 || point > 16) /* d.ddde+XX, at least two digits of exponent */
        length = snprintf(out, (size_t)size, "%s%c%s%se%+03d", sign, s[0], n > 1 ? "." : "", s + 1,
                          point - 1);
    else if (point <= 0) /* 0.000ddd */
        length = snprintf(out, (size_t)size, "%s0.%.*s%s", sign, -point, "000", s);
    else if (point < n) /* dd.dd */
        length = snprintf(out, (size_t)size, "%s%.*s.%s", sign, point, s, s + point);
    else /* dd000.0 */
        length = snprintf(out, (size_t)size, "%s%s%.*s.0", sign, s, point - n, "000000000000000");
    return (size_t)length;
}
