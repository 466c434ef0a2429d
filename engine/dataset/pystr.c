/* See pystr.h. */
#include "engine/dataset/pystr.h"

#include <stdlib.h>
#include <string.h>

#include "engine/dataset/pytime.h"
#include "sampler/float_repr.h"

static const int64_t day_us = INT64_C(86400000000);

/* ---- bytes ---- */

static void add_bytes(qk_buf *out, const char *bytes, size_t n)
{
    bool apostrophe = n && memchr(bytes, '\'', n), quote = n && memchr(bytes, '"', n);
    char delimiter = apostrophe && !quote ? '"' : '\'';
    qk_buf_addf(out, "b%c", delimiter);
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)bytes[i];
        if (c == delimiter || c == '\\')
            qk_buf_addf(out, "\\%c", c);
        else if (c == '\t' || c == '\n' || c == '\r')
            qk_buf_addf(out, "\\%c", c == '\t' ? 't' : c == '\n' ? 'n' : 'r');
        else if (c < 0x20 || c >= 0x7F)
            qk_buf_addf(out, "\\x%02x", c);
        else
            qk_buf_add_byte(out, c);
    }
    qk_buf_add_byte(out, (uint8_t)delimiter);
}

/* ---- decimals ---- */

/* The scale stays; an E is written when the first digit is more than six places behind the point.
 */
static void add_decimal(qk_buf *out, const char *digits, size_t length, int scale)
{
    bool negative = length && *digits == '-';
    if (negative) digits++, length--;
    int count = (int)length, before = count - scale, point = before > -6 ? before : 1;
    if (negative) qk_buf_add_byte(out, '-');
    if (point <= 0) {
        qk_buf_add_str(out, "0.");
        for (int i = point; i < 0; i++) qk_buf_add_byte(out, '0');
        qk_buf_add(out, digits, length);
    } else {
        qk_buf_add(out, digits, (size_t)point);
        if (point < count) qk_buf_addf(out, ".%.*s", count - point, digits + point);
    }
    if (point != before) qk_buf_addf(out, "E%+d", before - point);
}

/* ---- dates and times ---- */

static qk_status outside(qk_error *err)
{
    return qk_fail(err, QK_ERR_DATA, NULL, "the id is a date that Python's years 1 to 9999 lack");
}

bool qk_split_time(int64_t value, int unit, int64_t *us, int *ns)
{
    int64_t rest, factor = unit == 0 ? 1000000 : unit == 3 ? 1000 : 1;
    *ns = 0;
    *us = value;
    if (unit < 9) return !__builtin_mul_overflow(value, factor, us);
    *us = qk_floor_div(value, 1000, &rest);
    *ns = (int)rest;
    return value != INT64_MIN; /* which pandas takes for no time at all */
}

/* Python has microseconds; time stamps and durations of nanoseconds are those of pandas. `before`
 * is what stands in front, where a point may be. */
static void add_nanoseconds(qk_buf *out, const char *before, int ns)
{
    if (ns && !strchr(before, '.')) qk_buf_add_str(out, ".000000");
    if (ns) qk_buf_addf(out, "%03d", ns);
}

static qk_status add_stamp(qk_buf *out, int64_t value, const qk_id_type *type, qk_error *err)
{
    char stamp[QK_PYTIME_SIZE];
    int64_t us;
    int ns, minutes = 0;
    if (!qk_split_time(value, type->unit, &us, &ns) || !qk_pytime_stamp(stamp, us, false))
        return outside(err);
    if (*type->zone && !qk_id_zone_offset(type->zone, &minutes))
        return qk_fail(err, QK_ERR_UNSUPPORTED,
                       "convert the column to UTC, to an offset such as +02:00, or to strings",
                       "the id is a time of the zone '%s', whose clock only a database tells that "
                       "differs from machine to machine",
                       type->zone);
    /* The clock of pandas counts in nanoseconds as well. */
    if (type->unit == 9 && __builtin_add_overflow(value, minutes * INT64_C(60000000000), &value))
        return outside(err);
    if (minutes && !qk_pytime_stamp(stamp, us + minutes * INT64_C(60000000), false))
        return outside(err);
    qk_buf_add_str(out, stamp);
    add_nanoseconds(out, stamp, ns);
    int away = abs(minutes);
    if (*type->zone) qk_buf_addf(out, "%c%02d:%02d", minutes < 0 ? '-' : '+', away / 60, away % 60);
    return QK_OK;
}

static qk_status add_clock(qk_buf *out, int64_t value, int unit, qk_error *err)
{
    char clock[QK_PYTIME_SIZE];
    int64_t us;
    int ns;
    if (!qk_split_time(value, unit, &us, &ns) || ns || !qk_pytime_clock(clock, us))
        return qk_fail(err, QK_ERR_DATA, NULL, "the id is a time of day that Python cannot hold");
    qk_buf_add_str(out, clock);
    return QK_OK;
}

/* str(datetime.timedelta), or that of pandas' Timedelta: days and a clock that runs forward. */
static qk_status add_duration(qk_buf *out, int64_t value, int unit, qk_error *err)
{
    char clock[QK_PYTIME_SIZE];
    int64_t us, rest, most_days = 999999999;
    int ns;
    bool fits = qk_split_time(value, unit, &us, &ns);
    int64_t days = fits ? qk_floor_div(us, day_us, &rest) : most_days + 1;
    if (days < -most_days || days > most_days)
        return qk_fail(err, QK_ERR_DATA, NULL, "the id is a duration that Python cannot hold");
    qk_pytime_clock(clock, rest);
    if (unit == 9) {
        qk_buf_addf(out, "%lld days %s%s", (long long)days, days < 0 ? "+" : "", clock);
        add_nanoseconds(out, clock, ns);
        return QK_OK;
    }
    if (days) qk_buf_addf(out, "%lld day%s, ", (long long)days, llabs(days) == 1 ? "" : "s");
    qk_buf_add_str(out, clock + (*clock == '0')); /* hours have no zero in front */
    return QK_OK;
}

qk_status qk_cell_python_str(qk_buf *out, const qk_cell *cell, const qk_id_type *type,
                             qk_error *err)
{
    char digits[QK_FLOAT_REPR_SIZE], date[QK_PYTIME_SIZE];
    int64_t days;
    switch (cell->kind) {
    case QK_CELL_NULL: qk_buf_add_str(out, "None"); break;
    case QK_CELL_BOOL: qk_buf_add_str(out, cell->integer ? "True" : "False"); break;
    case QK_CELL_INT: qk_buf_addf(out, "%lld", (long long)cell->integer); break;
    case QK_CELL_UINT: qk_buf_addf(out, "%llu", (unsigned long long)cell->natural); break;
    case QK_CELL_FLOAT:
        qk_python_float_repr(cell->number, digits);
        qk_buf_add_str(out, digits);
        break;
    case QK_CELL_TEXT: qk_buf_add(out, cell->text, cell->length); break;
    case QK_CELL_BYTES: add_bytes(out, cell->text, cell->length); break;
    case QK_CELL_UUID:
        for (size_t i = 0; i < cell->length; i++)
            qk_buf_addf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                        (uint8_t)cell->text[i]);
        break;
    case QK_CELL_DECIMAL: add_decimal(out, cell->text, cell->length, type->scale); break;
    case QK_CELL_DATE:
        days = type->bits == 64 ? qk_floor_div(cell->integer, 86400000, NULL) : cell->integer;
        if (!qk_pytime_date(date, days)) return outside(err);
        qk_buf_add_str(out, date);
        break;
    case QK_CELL_TIME: return add_clock(out, cell->integer, type->unit, err);
    case QK_CELL_STAMP: return add_stamp(out, cell->integer, type, err);
    case QK_CELL_DURATION: return add_duration(out, cell->integer, type->unit, err);
    }
    return QK_OK;
}
