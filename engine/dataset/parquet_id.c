/* See parquet_id.h. */
#include "engine/dataset/parquet_id.h"

#include <string.h>

#include "engine/base/dtype.h"
#include "engine/base/text.h"
#include "engine/dataset/pytime.h"

enum { MOST_DECIMAL_BYTES = 32, MOST_SCALE = 76, MOST_DIGITS = 78, UUID_BYTES = 16 };

/* ---- bytes ---- */

static void add_bytes(qk_buf *out, const qk_pq_bytes *b)
{
    bool apostrophe = b->size && memchr(b->data, '\'', b->size),
         quote = b->size && memchr(b->data, '"', b->size);
    char delimiter = apostrophe && !quote ? '"' : '\'';
    qk_buf_addf(out, "b%c", delimiter);
    for (size_t i = 0; i < b->size; i++) {
        uint8_t c = b->data[i];
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

static void add_uuid(qk_buf *out, const qk_pq_bytes *b)
{
    for (size_t i = 0; i < b->size; i++)
        qk_buf_addf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b->data[i]);
}

/* ---- decimals ---- */

/* Digits of a big-endian number in two's complement; *negative is its sign. Returns how many. */
static int digits_of(const uint8_t *bytes, size_t n, char digits[MOST_DIGITS], bool *negative)
{
    uint8_t number[MOST_DECIMAL_BYTES];
    int count = 0;
    memcpy(number, bytes, n);
    *negative = n && number[0] & 0x80;
    for (size_t i = n, carry = 1; *negative && i-- > 0;) {
        carry += (uint8_t)~number[i];
        number[i] = (uint8_t)carry;
        carry >>= 8;
    }
    for (bool more = true; more;) { /* digits from the last to the first */
        unsigned rest = 0;
        more = false;
        for (size_t i = 0; i < n; i++) {
            unsigned value = rest << 8 | number[i];
            number[i] = (uint8_t)(value / 10);
            rest = value % 10;
            more |= number[i] != 0;
        }
        digits[count++] = (char)('0' + rest);
    }
    for (int i = 0; i < count / 2; i++) {
        char c = digits[i];
        digits[i] = digits[count - 1 - i];
        digits[count - 1 - i] = c;
    }
    return count;
}

/* str(decimal.Decimal): the scale stays; an E is written when the first digit is more than six
 * places behind the point. */
static void add_decimal(qk_buf *out, const uint8_t *bytes, size_t n, int scale)
{
    char digits[MOST_DIGITS];
    bool negative;
    int count = digits_of(bytes, n, digits, &negative), before = count - scale;
    int point = before > -6 ? before : 1;
    if (negative) qk_buf_add_byte(out, '-');
    if (point <= 0) {
        qk_buf_add_str(out, "0.");
        for (int i = point; i < 0; i++) qk_buf_add_byte(out, '0');
        qk_buf_add(out, digits, (size_t)count);
    } else {
        qk_buf_add(out, digits, (size_t)point);
        if (point < count) qk_buf_addf(out, ".%.*s", count - point, digits + point);
    }
    if (point != before) qk_buf_addf(out, "E%+d", before - point);
}

static void add_int_decimal(qk_buf *out, int64_t value, int scale)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)value >> (56 - 8 * i));
    add_decimal(out, bytes, 8, scale);
}

/* ---- dates and times ---- */

static qk_status outside(qk_error *err)
{
    return qk_fail(err, QK_ERR_DATA, NULL, "the id is a date that Python's years 1 to 9999 lack");
}

/* Python has microseconds; time stamps of nanoseconds are those of pandas. */
static qk_status add_stamp(qk_buf *out, int64_t value, const qk_pq_logical *l, qk_error *err)
{
    char stamp[QK_PYTIME_SIZE];
    int64_t us = value, ns = 0;
    if (l->unit == 9) {
        ns = value % 1000;
        us = value / 1000;
        if (ns < 0) ns += 1000, us--;
    } else if (l->unit == 3 && __builtin_mul_overflow(value, 1000, &us)) {
        return outside(err);
    }
    if (!qk_pytime_stamp(stamp, us, false)) return outside(err);
    qk_buf_add_str(out, stamp);
    if (ns && !strchr(stamp, '.')) qk_buf_add_str(out, ".000000");
    if (ns) qk_buf_addf(out, "%03d", (int)ns);
    if (l->utc) qk_buf_add_str(out, "+00:00");
    return QK_OK;
}

static qk_status add_clock(qk_buf *out, int64_t value, const qk_pq_logical *l, qk_error *err)
{
    char clock[QK_PYTIME_SIZE];
    int64_t us = value;
    bool fits = l->unit == 9 ? value % 1000 == 0
                             : !__builtin_mul_overflow(value, l->unit == 3 ? 1000 : 1, &us);
    if (l->unit == 9) us = value / 1000;
    if (!fits || !qk_pytime_clock(clock, us))
        return qk_fail(err, QK_ERR_DATA, NULL, "the id is a time of day that Python cannot hold");
    qk_buf_add_str(out, clock);
    return QK_OK;
}

static qk_status add_date(qk_buf *out, int64_t days, qk_error *err)
{
    char date[QK_PYTIME_SIZE];
    if (!qk_pytime_date(date, days)) return outside(err);
    qk_buf_add_str(out, date);
    return QK_OK;
}

/* INT96: nanoseconds of the day, then the Julian day, in which 1970-01-01 is 2440588. */
static qk_status add_int96(qk_buf *out, const uint8_t *bytes, qk_error *err)
{
    static const qk_pq_logical logical = {.meaning = QK_PQ_M_TIMESTAMP, .unit = 9};
    int64_t ns, stamp;
    int32_t day;
    memcpy(&ns, bytes, 8);
    memcpy(&day, bytes + 8, 4);
    if (__builtin_mul_overflow((int64_t)day - 2440588, INT64_C(86400000000000), &stamp) ||
        __builtin_add_overflow(stamp, ns, &stamp))
        return outside(err);
    return add_stamp(out, stamp, &logical, err);
}

/* ---- cells ---- */

static qk_status refuse(const qk_pq_leaf *leaf, qk_error *err)
{
    char name[40];
    return qk_fail(err, QK_ERR_UNSUPPORTED, "use a column of integers or strings",
                   "the column '%s' is %s%s%s, which cannot be an id", leaf->path,
                   qk_pq_type_name((int)leaf->type), leaf->logical.meaning ? " " : "",
                   qk_pq_logical_name(&leaf->logical, name));
}

static bool is_integer(const qk_pq_leaf *leaf)
{
    return leaf->type == QK_PQ_T_INT32 || leaf->type == QK_PQ_T_INT64;
}

qk_status qk_parquet_id_check(const qk_pq_leaf *leaf, qk_error *err)
{
    const qk_pq_logical *l = &leaf->logical;
    bool bytes = leaf->type == QK_PQ_T_BYTES || leaf->type == QK_PQ_T_FIXED, fits = true;
    if (leaf->max_rep)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "use a column of integers or strings",
                       "the column '%s' is repeated (a list), which cannot be an id", leaf->path);
    switch (l->meaning) {
    case QK_PQ_M_NONE:
    case QK_PQ_M_NULL: break;
    case QK_PQ_M_STRING:
    case QK_PQ_M_ENUM:
    case QK_PQ_M_JSON:
    case QK_PQ_M_BSON: fits = leaf->type == QK_PQ_T_BYTES; break;
    case QK_PQ_M_DECIMAL:
        fits = (is_integer(leaf) || bytes) && l->scale >= 0 && l->scale <= MOST_SCALE &&
               leaf->fixed_length <= MOST_DECIMAL_BYTES;
        break;
    case QK_PQ_M_DATE: fits = leaf->type == QK_PQ_T_INT32; break;
    case QK_PQ_M_TIME:
    case QK_PQ_M_TIMESTAMP: fits = is_integer(leaf) && l->unit; break;
    case QK_PQ_M_INT: fits = is_integer(leaf); break;
    case QK_PQ_M_FLOAT16: fits = leaf->type == QK_PQ_T_FIXED && leaf->fixed_length == 2; break;
    case QK_PQ_M_UUID:
        fits = leaf->type == QK_PQ_T_FIXED && leaf->fixed_length == UUID_BYTES;
        break;
    default: fits = false;
    }
    return fits ? QK_OK : refuse(leaf, err);
}

static void set_integer(qk_cell *cell, const qk_pq_leaf *leaf, int64_t value)
{
    bool is_unsigned = leaf->logical.meaning == QK_PQ_M_INT && !leaf->logical.is_signed;
    if (is_unsigned && leaf->type == QK_PQ_T_INT32) value = (uint32_t)value;
    cell->kind = is_unsigned && value < 0 ? QK_CELL_UINT : QK_CELL_INT;
    cell->integer = value;
    cell->natural = (uint64_t)value;
}

static qk_status from_integer(qk_cell *cell, const qk_pq_leaf *leaf, int64_t value, qk_buf *text,
                              qk_error *err)
{
    const qk_pq_logical *l = &leaf->logical;
    switch (l->meaning) {
    case QK_PQ_M_DATE: return add_date(text, value, err);
    case QK_PQ_M_TIME: return add_clock(text, value, l, err);
    case QK_PQ_M_TIMESTAMP: return add_stamp(text, value, l, err);
    case QK_PQ_M_DECIMAL: add_int_decimal(text, value, l->scale); return QK_OK;
    default: set_integer(cell, leaf, value); return QK_OK;
    }
}

static qk_status from_bytes(qk_cell *cell, const qk_pq_leaf *leaf, const qk_pq_bytes *b,
                            qk_buf *text, qk_error *err)
{
    uint16_t half;
    switch (leaf->logical.meaning) {
    case QK_PQ_M_STRING:
    case QK_PQ_M_JSON:
        *cell = (qk_cell){.kind = QK_CELL_TEXT, .text = (const char *)b->data, .length = b->size};
        if (qk_utf8_check(b->data, b->size) == b->size) return QK_OK;
        return qk_fail(err, QK_ERR_FORMAT, NULL, "'%s' is not valid UTF-8", leaf->path);
    case QK_PQ_M_DECIMAL:
        if (b->size > MOST_DECIMAL_BYTES)
            return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "a decimal of %zu bytes", b->size);
        add_decimal(text, b->data, b->size, leaf->logical.scale);
        return QK_OK;
    case QK_PQ_M_UUID: add_uuid(text, b); return QK_OK;
    case QK_PQ_M_FLOAT16:
        memcpy(&half, b->data, 2);
        *cell = (qk_cell){.kind = QK_CELL_FLOAT, .number = (double)qk_f16_to_f32(half)};
        return QK_OK;
    default:
        if (leaf->type == QK_PQ_T_INT96) return add_int96(text, b->data, err);
        add_bytes(text, b);
        return QK_OK;
    }
}

qk_status qk_parquet_id(qk_cell *cell, const qk_pq_leaf *leaf, const qk_pq_batch *batch, size_t i,
                        qk_buf *text, qk_error *err)
{
    const void *v = batch->values;
    qk_status status = QK_OK;
    *cell = (qk_cell){.kind = QK_CELL_NULL};
    if (!batch->valid[i]) return QK_OK;
    qk_buf_clear(text);
    cell->kind = QK_CELL_OTHER;
    switch (leaf->type) {
    case QK_PQ_T_BOOLEAN:
        *cell = (qk_cell){.kind = QK_CELL_BOOL, .integer = ((const uint8_t *)v)[i]};
        break;
    case QK_PQ_T_INT32:
        status = from_integer(cell, leaf, ((const int32_t *)v)[i], text, err);
        break;
    case QK_PQ_T_INT64:
        status = from_integer(cell, leaf, ((const int64_t *)v)[i], text, err);
        break;
    case QK_PQ_T_FLOAT:
        *cell = (qk_cell){.kind = QK_CELL_FLOAT, .number = (double)((const float *)v)[i]};
        break;
    case QK_PQ_T_DOUBLE:
        *cell = (qk_cell){.kind = QK_CELL_FLOAT, .number = ((const double *)v)[i]};
        break;
    default: status = from_bytes(cell, leaf, (const qk_pq_bytes *)v + i, text, err);
    }
    if (cell->kind == QK_CELL_OTHER) {
        cell->text = qk_buf_str(text);
        cell->length = text->size;
    }
    return status;
}
