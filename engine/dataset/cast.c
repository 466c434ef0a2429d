/* Casts of id cells, as Arrow makes them where that is exact. See cell.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engine/base/dtype.h"
#include "engine/base/text.h"
#include "engine/dataset/cell.h"
#include "engine/dataset/pystr.h"
#include "engine/dataset/pytime.h"
#include "formats/json.h"

enum { MAX_PARSED = 19 }; /* digits of a text that are read as an integer */

static bool is_digits(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return n > 0;
}

/* Whether an integer is one of a type; then it is an INT, or above int64 a UINT. */
static bool fits(const qk_cell *c, const qk_id_type *to)
{
    bool is_signed = to->kind == QK_CELL_INT;
    if (c->kind == QK_CELL_UINT) return !is_signed && to->bits == 64;
    if (!is_signed && c->integer < 0) return false;
    if (to->bits == 64) return true;
    int64_t end = INT64_C(1) << (is_signed ? to->bits - 1 : to->bits);
    return c->integer < end && c->integer >= (is_signed ? -end : 0);
}

/* ---- to integers ---- */

/* -?digits, as many as surely fit in 64 bits. */
static bool parse_int(const char *text, size_t n, qk_cell *c)
{
    bool negative = n && *text == '-';
    uint64_t value = 0;
    if (negative) text++, n--;
    if (n > MAX_PARSED || !is_digits(text, n)) return false;
    for (size_t i = 0; i < n; i++) value = value * 10 + (uint64_t)(text[i] - '0');
    bool large = value > INT64_MAX;
    if (large && negative) return false;
    *c = (qk_cell){.kind = large ? QK_CELL_UINT : QK_CELL_INT, .natural = value};
    c->integer = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static bool to_int(qk_cell *c, const qk_id_type *from, const qk_id_type *to)
{
    double number = c->number;
    const char *text = c->text;
    size_t n = c->length, sign = n && *text == '-', drop = (size_t)from->scale;
    switch (c->kind) {
    case QK_CELL_TEXT:
        if ((sign && to->kind == QK_CELL_UINT) || !parse_int(text, n, c)) return false;
        break;
    case QK_CELL_DECIMAL: /* digits behind the point must be zeros */
        for (size_t i = 0; i < drop && i < n - sign; i++)
            if (text[n - 1 - i] != '0') return false;
        if (!(n - sign > drop ? parse_int(text, n - drop, c) : parse_int("0", 1, c))) return false;
        break;
    case QK_CELL_FLOAT:
        if (!(number >= -0x1p63 && number < 0x1p63) || number != floor(number)) return false;
        c->integer = (int64_t)number;
        c->kind = QK_CELL_INT;
        break;
    case QK_CELL_UINT: break;
    default: c->kind = QK_CELL_INT; /* truth values and counts */
    }
    return fits(c, to);
}

/* ---- to other numbers ---- */

/* A number that every reader of numbers takes, and all alike. */
static bool parse_float(const char *text, size_t n, double *out)
{
    bool ignored;
    int64_t integer;
    size_t sign = n && (*text == '-' || *text == '+'), at = sign, start;
    for (start = at; at < n && is_digits(text + at, 1); at++) {
    }
    if (at == start) return false;
    if (at < n && text[at] == '.') {
        for (start = ++at; at < n && is_digits(text + at, 1); at++) {
        }
        if (at == start) return false;
    }
    if (at != n) return false;
    bool plus = sign && *text == '+';
    *out = qk_json_number(text + plus, n - plus, &ignored, &integer);
    return true;
}

/* Integers up to 2^digits of the format are floats of the same value; beyond, Arrow refuses, or
 * (of 16 bits) does not check. */
static bool to_float(qk_cell *c, const qk_id_type *to)
{
    int64_t max = INT64_C(1) << (to->bits == 64 ? 53 : to->bits == 32 ? 24 : 11);
    switch (c->kind) {
    case QK_CELL_UINT: return false;
    case QK_CELL_INT:
    case QK_CELL_BOOL:
        if (c->integer > max || c->integer < -max) return false;
        c->number = (double)c->integer;
        break;
    case QK_CELL_TEXT:
        if (!parse_float(c->text, c->length, &c->number)) return false;
        break;
    default: break;
    }
    c->kind = QK_CELL_FLOAT;
    if (to->bits == 64) return true;
    double rounded = (float)c->number;
    if (to->bits == 16) {
        rounded = qk_f16_to_f32(qk_f32_to_f16((float)c->number));
        if (rounded != c->number && !isnan(c->number)) return false;
    }
    c->number = rounded;
    return true;
}

static bool to_bool(qk_cell *c)
{
    switch (c->kind) {
    case QK_CELL_UINT: c->integer = 1; break;
    case QK_CELL_INT: c->integer = c->integer != 0; break;
    case QK_CELL_FLOAT: c->integer = c->number != 0; break;
    case QK_CELL_TEXT: {
        bool yes = (c->length == 4 && !strncasecmp(c->text, "true", 4)) ||
                   (c->length == 1 && *c->text == '1');
        if (!yes && !(c->length == 5 && !strncasecmp(c->text, "false", 5)) &&
            !(c->length == 1 && *c->text == '0'))
            return false;
        c->integer = yes;
        break;
    }
    default: return false;
    }
    c->kind = QK_CELL_BOOL;
    return true;
}

/* Digits of another scale: zeros come, or only zeros go. */
static bool to_decimal(qk_cell *c, const qk_id_type *from, const qk_id_type *to, qk_buf *keep)
{
    char digits[24];
    int scale = c->kind == QK_CELL_DECIMAL ? from->scale : 0, more = to->scale - scale;
    if (c->kind == QK_CELL_INT) snprintf(digits, sizeof digits, "%lld", (long long)c->integer);
    if (c->kind == QK_CELL_UINT)
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)c->natural);
    if (c->kind != QK_CELL_DECIMAL) c->text = digits, c->length = strlen(digits);
    size_t sign = *c->text == '-', n = c->length;
    bool zero = n == 1 && *c->text == '0';
    for (; !zero && more < 0; more++, n--)
        if (n - sign <= 1 || c->text[n - 1] != '0') return false;
    qk_buf_clear(keep);
    qk_buf_add(keep, c->text, n);
    for (; !zero && more > 0; more--) qk_buf_add_byte(keep, '0');
    *c = (qk_cell){.kind = QK_CELL_DECIMAL, .text = qk_buf_str(keep), .length = keep->size};
    return c->length - sign <= (size_t)to->precision;
}

/* ---- to times ---- */

/* Units of 10^-from seconds in units of 10^-to. */
static bool rescale(int64_t *value, int from, int to)
{
    for (; from < to; from += 3)
        if (__builtin_mul_overflow(*value, 1000, value)) return false;
    for (; from > to; from -= 3) {
        if (*value % 1000) return false;
        *value /= 1000;
    }
    return true;
}

/* The clock of a time stamp: days, and the rest of the day in its own units. Beyond the years that
 * Python has Arrow's own numbers overflow, and what it takes for the time of day is anything. */
static bool split_stamp(int64_t value, const qk_id_type *stamp, int64_t *days, int64_t *rest)
{
    int64_t second = stamp->unit == 0   ? 1
                     : stamp->unit == 3 ? 1000
                     : stamp->unit == 6 ? 1000000
                                        : 1000000000;
    int minutes = 0;
    char date[QK_PYTIME_SIZE];
    if (*stamp->zone && !qk_id_zone_offset(stamp->zone, &minutes)) return false;
    if (__builtin_add_overflow(value, minutes * 60 * second, &value)) return false;
    *days = qk_floor_div(value, 86400 * second, rest);
    return qk_pytime_date(date, *days);
}

static bool to_time(qk_cell *c, const qk_id_type *from, const qk_id_type *to)
{
    int64_t days, rest, *value = &c->integer;
    switch (c->kind) {
    case QK_CELL_INT: break;
    case QK_CELL_DATE:
        if (to->kind == QK_CELL_STAMP) {
            if (from->bits == 64) return rescale(value, 3, to->unit);
            if (__builtin_mul_overflow(*value, 86400, value) || !rescale(value, 0, to->unit))
                return false;
        } else if (from->bits != to->bits) {
            *value = from->bits == 64 ? qk_floor_div(*value, 86400000, NULL) : *value * 86400000;
        }
        break;
    case QK_CELL_STAMP:
        if (to->kind == QK_CELL_STAMP) {
            if (!rescale(value, from->unit, to->unit)) return false;
            break;
        }
        if (!split_stamp(*value, from, &days, &rest)) return false;
        if (to->kind == QK_CELL_DATE) {
            *value = to->bits == 64 ? days * 86400000 : days;
        } else {
            *value = rest;
            if (!rescale(value, from->unit, to->unit)) return false;
        }
        break;
    default:
        if (!rescale(value, from->unit, to->unit)) return false;
    }
    c->kind = to->kind;
    return true;
}

/* ---- to texts ---- */

/* With as many digits behind the point as the unit has. */
static bool add_clock(qk_buf *out, int64_t rest, int unit)
{
    char clock[QK_PYTIME_SIZE];
    int64_t us;
    int ns;
    if (!qk_split_time(rest, unit, &us, &ns) || !qk_pytime_clock(clock, us)) return false;
    qk_buf_addf(out, "%.8s", clock);
    if (unit)
        qk_buf_addf(out, ".%0*d", unit < 6 ? unit : 6,
                    (int)(us % 1000000) / (unit == 3 ? 1000 : 1));
    if (unit == 9) qk_buf_addf(out, "%03d", ns);
    return true;
}

static bool add_stamp(qk_buf *out, int64_t value, const qk_id_type *stamp)
{
    char date[QK_PYTIME_SIZE];
    int64_t days, rest;
    int minutes = 0;
    if (!split_stamp(value, stamp, &days, &rest) || !qk_pytime_date(date, days)) return false;
    qk_buf_addf(out, "%s ", date);
    if (!add_clock(out, rest, stamp->unit)) return false;
    if (!*stamp->zone) return true;
    qk_id_zone_offset(stamp->zone, &minutes);
    int away = minutes < 0 ? -minutes : minutes;
    if (!minutes)
        qk_buf_add_byte(out, 'Z');
    else
        qk_buf_addf(out, "%c%02d%02d", minutes < 0 ? '-' : '+', away / 60, away % 60);
    return true;
}

static bool to_text(qk_cell *c, const qk_id_type *from, qk_buf *keep)
{
    const char *bytes = c->text;
    qk_error none = {0};
    bool is_text = true;
    qk_buf_clear(keep);
    switch (c->kind) {
    case QK_CELL_BYTES:
        is_text = qk_utf8_check((const uint8_t *)bytes, c->length) == c->length;
        c->kind = QK_CELL_TEXT;
        return is_text;
    case QK_CELL_BOOL: qk_buf_add_str(keep, c->integer ? "true" : "false"); break;
    case QK_CELL_DURATION: qk_buf_addf(keep, "%lld", (long long)c->integer); break;
    case QK_CELL_TIME: is_text = add_clock(keep, c->integer, from->unit); break;
    case QK_CELL_STAMP: is_text = add_stamp(keep, c->integer, from); break;
    default: is_text = qk_cell_python_str(keep, c, from, &none) == QK_OK; /* as Python writes it */
    }
    *c = (qk_cell){.kind = QK_CELL_TEXT, .text = qk_buf_str(keep), .length = keep->size};
    return is_text;
}

bool qk_cell_cast(qk_cell *c, const qk_id_type *from, const qk_id_type *to, qk_buf *keep)
{
    if (c->kind == QK_CELL_NULL) return true;
    switch (to->kind) {
    case QK_CELL_INT:
    case QK_CELL_UINT: return to_int(c, from, to);
    case QK_CELL_FLOAT: return to_float(c, to);
    case QK_CELL_BOOL: return c->kind == QK_CELL_BOOL || to_bool(c);
    case QK_CELL_TEXT: return c->kind == QK_CELL_TEXT || to_text(c, from, keep);
    case QK_CELL_BYTES: c->kind = QK_CELL_BYTES; return true;
    case QK_CELL_DECIMAL: return to_decimal(c, from, to, keep);
    case QK_CELL_DATE:
    case QK_CELL_TIME:
    case QK_CELL_STAMP:
    case QK_CELL_DURATION: return to_time(c, from, to);
    default: return true; /* the same type */
    }
}
