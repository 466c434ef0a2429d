/* See parquet_id.h. */
#include "engine/dataset/parquet_id.h"

#include <string.h>

#include "engine/base/dtype.h"
#include "engine/base/text.h"

enum { MAX_DECIMAL_BYTES = 32, MAX_SCALE = 76, MAX_DIGITS = 78, UUID_BYTES = 16 };

/* ---- the type ---- */

static bool is_integer(const qk_pq_leaf *leaf)
{
    return leaf->type == QK_PQ_T_INT32 || leaf->type == QK_PQ_T_INT64;
}

/* Of a column that is no more than its physical type. */
static void set_plain_type(qk_id_type *t, const qk_pq_leaf *leaf)
{
    switch (leaf->type) {
    case QK_PQ_T_BOOLEAN: t->kind = QK_CELL_BOOL; break;
    case QK_PQ_T_INT32:
    case QK_PQ_T_INT64:
        t->kind = QK_CELL_INT;
        t->bits = leaf->type == QK_PQ_T_INT32 ? 32 : 64;
        break;
    case QK_PQ_T_INT96:
        t->kind = QK_CELL_STAMP;
        t->unit = 9;
        break;
    case QK_PQ_T_FLOAT:
    case QK_PQ_T_DOUBLE:
        t->kind = QK_CELL_FLOAT;
        t->bits = leaf->type == QK_PQ_T_FLOAT ? 32 : 64;
        break;
    case QK_PQ_T_BYTES:
    case QK_PQ_T_FIXED:
        t->kind = QK_CELL_BYTES;
        t->width = leaf->fixed_length;
        break;
    }
}

static bool set_number_type(qk_id_type *t, const qk_pq_leaf *leaf)
{
    const qk_pq_logical *l = &leaf->logical;
    bool bytes = leaf->type == QK_PQ_T_BYTES || leaf->type == QK_PQ_T_FIXED;
    switch (l->meaning) {
    case QK_PQ_M_INT:
        t->kind = l->is_signed ? QK_CELL_INT : QK_CELL_UINT;
        t->bits = l->bits;
        return is_integer(leaf) &&
               (l->bits == 8 || l->bits == 16 || l->bits == 32 || l->bits == 64);
    case QK_PQ_M_FLOAT16:
        t->kind = QK_CELL_FLOAT;
        t->bits = 16;
        return leaf->type == QK_PQ_T_FIXED && leaf->fixed_length == 2;
    default: /* DECIMAL */
        t->kind = QK_CELL_DECIMAL;
        t->precision = l->precision;
        t->scale = l->scale;
        t->bits = l->precision > 38 ? 256 : 128;
        return (is_integer(leaf) || bytes) && l->scale >= 0 && l->scale <= MAX_SCALE &&
               leaf->fixed_length <= MAX_DECIMAL_BYTES;
    }
}

/* What Parquet alone says; false when such values cannot be ids. */
static bool set_type(qk_id_type *t, const qk_pq_leaf *leaf)
{
    const qk_pq_logical *l = &leaf->logical;
    switch (l->meaning) {
    case QK_PQ_M_NONE: set_plain_type(t, leaf); return true;
    case QK_PQ_M_NULL: t->kind = QK_CELL_NULL; return true;
    case QK_PQ_M_STRING:
    case QK_PQ_M_JSON: t->kind = QK_CELL_TEXT; return leaf->type == QK_PQ_T_BYTES;
    case QK_PQ_M_ENUM:
    case QK_PQ_M_BSON: t->kind = QK_CELL_BYTES; return leaf->type == QK_PQ_T_BYTES;
    case QK_PQ_M_INT:
    case QK_PQ_M_FLOAT16:
    case QK_PQ_M_DECIMAL: return set_number_type(t, leaf);
    case QK_PQ_M_DATE:
        t->kind = QK_CELL_DATE;
        t->bits = 32;
        return leaf->type == QK_PQ_T_INT32;
    case QK_PQ_M_TIME:
    case QK_PQ_M_TIMESTAMP:
        t->kind = l->meaning == QK_PQ_M_TIME ? QK_CELL_TIME : QK_CELL_STAMP;
        t->unit = l->unit;
        if (t->kind == QK_CELL_STAMP && l->utc) strcpy(t->zone, "UTC");
        return is_integer(leaf) && l->unit;
    case QK_PQ_M_UUID:
        t->kind = QK_CELL_UUID;
        return leaf->type == QK_PQ_T_FIXED && leaf->fixed_length == UUID_BYTES;
    default: return false;
    }
}

/* What only Arrow says: where Parquet can hold it, as pyarrow does. */
static qk_status set_arrow_type(qk_id_type *t, const qk_pq_leaf *leaf, const qk_arrow_type *arrow,
                                qk_error *err)
{
    if (*arrow->extension && t->kind != QK_CELL_UUID)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "use a column of integers or strings",
                       "the column '%s' is of the extension type '%s', which cannot be an id",
                       leaf->path, arrow->extension);
    if (arrow->member == QK_ARROW_TIMESTAMP && *t->zone && *arrow->zone)
        memcpy(t->zone, arrow->zone, sizeof t->zone);
    if (arrow->member == QK_ARROW_DURATION && t->kind == QK_CELL_INT && t->bits == 64) {
        t->kind = QK_CELL_DURATION;
        t->bits = 0;
        t->unit = arrow->unit;
    }
    if (arrow->member == QK_ARROW_DECIMAL && t->kind == QK_CELL_DECIMAL) t->bits = arrow->bits;
    t->is_dictionary = arrow->is_dictionary && t->kind == QK_CELL_TEXT;
    t->is_view = arrow->member == QK_ARROW_UTF8_VIEW && t->kind == QK_CELL_TEXT;
    return QK_OK;
}

qk_status qk_parquet_id_type(qk_id_type *out, const qk_pq_leaf *leaf, const qk_arrow_type *arrow,
                             qk_error *err)
{
    char name[40];
    *out = (qk_id_type){.is_known = true};
    if (leaf->max_rep)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "use a column of integers or strings",
                       "the column '%s' is repeated (a list), which cannot be an id", leaf->path);
    if (set_type(out, leaf)) return set_arrow_type(out, leaf, arrow, err);
    return qk_fail(err, QK_ERR_UNSUPPORTED, "use a column of integers or strings",
                   "the column '%s' is %s%s%s, which cannot be an id", leaf->path,
                   qk_pq_type_name((int)leaf->type), leaf->logical.meaning ? " " : "",
                   qk_pq_logical_name(&leaf->logical, name));
}

/* ---- values ---- */

/* Digits of a big-endian number in two's complement, behind its sign. */
static void add_digits(qk_buf *out, const uint8_t *bytes, size_t n)
{
    uint8_t number[MAX_DECIMAL_BYTES];
    char digits[MAX_DIGITS];
    int count = 0;
    if (n) memcpy(number, bytes, n);
    bool negative = n && number[0] & 0x80;
    for (size_t i = n, carry = 1; negative && i-- > 0;) {
        carry += (uint8_t)~number[i];
        number[i] = (uint8_t)carry;
        carry >>= 8;
    }
    for (bool more = true; more;) { /* from the last to the first */
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
    if (negative) qk_buf_add_byte(out, '-');
    while (count) qk_buf_add_byte(out, (uint8_t)digits[--count]);
}

static void from_integer(qk_cell *cell, const qk_id_type *type, int64_t value, qk_buf *text)
{
    cell->kind = type->kind;
    cell->integer = value;
    if (type->kind == QK_CELL_INT || type->kind == QK_CELL_UINT) {
        /* Narrow integers are what their low bits say. */
        int unused = 64 - type->bits;
        uint64_t bits = (uint64_t)value << unused;
        cell->natural = bits >> unused;
        if (type->kind == QK_CELL_INT) cell->integer = (int64_t)bits >> unused;
        if (type->kind == QK_CELL_UINT) cell->integer = (int64_t)cell->natural;
        if (cell->integer >= 0) cell->kind = QK_CELL_INT;
    }
    if (type->kind == QK_CELL_DECIMAL) qk_buf_addf(text, "%lld", (long long)value);
}

/* INT96: nanoseconds of the day, then the Julian day, in which 1970-01-01 is 2440588. */
static qk_status from_int96(qk_cell *cell, const uint8_t *bytes, qk_error *err)
{
    int64_t ns;
    int32_t day;
    memcpy(&ns, bytes, 8);
    memcpy(&day, bytes + 8, 4);
    cell->kind = QK_CELL_STAMP;
    if (!__builtin_mul_overflow((int64_t)day - 2440588, INT64_C(86400000000000), &cell->integer) &&
        !__builtin_add_overflow(cell->integer, ns, &cell->integer))
        return QK_OK;
    return qk_fail(err, QK_ERR_DATA, NULL, "the id is a date that Python's years 1 to 9999 lack");
}

static qk_status from_bytes(qk_cell *cell, const qk_pq_leaf *leaf, const qk_id_type *type,
                            const qk_pq_bytes *b, qk_buf *text, qk_error *err)
{
    uint16_t half;
    *cell = (qk_cell){.kind = type->kind, .text = (const char *)b->data, .length = b->size};
    switch (type->kind) {
    case QK_CELL_STAMP: return from_int96(cell, b->data, err);
    case QK_CELL_FLOAT:
        memcpy(&half, b->data, 2);
        *cell = (qk_cell){.kind = QK_CELL_FLOAT, .number = (double)qk_f16_to_f32(half)};
        return QK_OK;
    case QK_CELL_DECIMAL:
        if (b->size > MAX_DECIMAL_BYTES)
            return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "a decimal of %zu bytes", b->size);
        add_digits(text, b->data, b->size);
        return QK_OK;
    case QK_CELL_TEXT:
        if (qk_utf8_check(b->data, b->size) == b->size) return QK_OK;
        return qk_fail(err, QK_ERR_FORMAT, NULL, "'%s' is not valid UTF-8", leaf->path);
    default: return QK_OK;
    }
}

qk_status qk_parquet_id(qk_cell *cell, const qk_pq_leaf *leaf, const qk_id_type *type,
                        const qk_pq_batch *batch, size_t i, qk_buf *text, qk_error *err)
{
    const void *v = batch->values;
    qk_status status = QK_OK;
    *cell = (qk_cell){.kind = QK_CELL_NULL};
    if (!batch->valid[i] || type->kind == QK_CELL_NULL) return QK_OK;
    qk_buf_clear(text);
    switch (leaf->type) {
    case QK_PQ_T_BOOLEAN:
        *cell = (qk_cell){.kind = QK_CELL_BOOL, .integer = ((const uint8_t *)v)[i]};
        break;
    case QK_PQ_T_INT32: from_integer(cell, type, ((const int32_t *)v)[i], text); break;
    case QK_PQ_T_INT64: from_integer(cell, type, ((const int64_t *)v)[i], text); break;
    case QK_PQ_T_FLOAT:
        *cell = (qk_cell){.kind = QK_CELL_FLOAT, .number = (double)((const float *)v)[i]};
        break;
    case QK_PQ_T_DOUBLE:
        *cell = (qk_cell){.kind = QK_CELL_FLOAT, .number = ((const double *)v)[i]};
        break;
    default: status = from_bytes(cell, leaf, type, (const qk_pq_bytes *)v + i, text, err);
    }
    if (cell->kind == QK_CELL_DECIMAL) {
        cell->text = qk_buf_str(text);
        cell->length = text->size;
    }
    return status;
}
