/* See float_repr.h. */
#include "sampler/float_repr.h"

#include <math.h>
#include <stdio.h>

#include "engine/base/decimal.h"

size_t qk_python_float_repr(double value, char out[QK_FLOAT_REPR_SIZE])
{
    if (isnan(value)) return (size_t)snprintf(out, QK_FLOAT_REPR_SIZE, "nan");
    const char *sign = signbit(value) ? "-" : "";
    if (isinf(value)) return (size_t)snprintf(out, QK_FLOAT_REPR_SIZE, "%sinf", sign);
    qk_decimal d = qk_decimal_of(fabs(value));
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
