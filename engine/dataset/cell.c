/* See cell.h. */
#include "engine/dataset/cell.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sampler/example_id.h"
#include "sampler/float_repr.h"

static void add_python_str(const qk_cell *cell, qk_buf *buf)
{
    char digits[QK_FLOAT_REPR_SIZE];
    switch (cell->kind) {
    case QK_CELL_NULL: qk_buf_add_str(buf, "None"); return;
    case QK_CELL_BOOL: qk_buf_add_str(buf, cell->integer ? "True" : "False"); return;
    case QK_CELL_INT: qk_buf_addf(buf, "%lld", (long long)cell->integer); return;
    case QK_CELL_UINT: qk_buf_addf(buf, "%llu", (unsigned long long)cell->natural); return;
    case QK_CELL_FLOAT:
        qk_python_float_repr(cell->number, digits);
        qk_buf_add_str(buf, digits);
        return;
    case QK_CELL_TEXT:
    case QK_CELL_OTHER: qk_buf_add(buf, cell->text, cell->length); return;
    }
}

static qk_status wrong_type(const qk_id *id, const char *what, qk_error *err)
{
    return qk_fail(err, QK_ERR_DATA, "give the ids of all files one type",
                   "the id '%.80s' is no %s, while those of the first file are", id->text, what);
}

/* A string cell in a column of ints, as Arrow casts it. */
static qk_status parse_int(const qk_id *id, int64_t *out, qk_error *err)
{
    char *end;
    errno = 0;
    *out = strtoll(id->text, &end, 10);
    bool digits = *id->text == '-' || (*id->text >= '0' && *id->text <= '9');
    bool whole = end == id->text + id->buf.size;
    return !whole || errno || !digits ? wrong_type(id, "integer", err) : QK_OK;
}

static qk_status cast_to_int(const qk_id *id, qk_cell *cell, qk_error *err)
{
    double number = cell->number;
    switch (cell->kind) {
    case QK_CELL_TEXT: QK_TRY(parse_int(id, &cell->integer, err)); break;
    case QK_CELL_FLOAT:
        if (number != floor(number) || number < -0x1p63 || number >= 0x1p63)
            return wrong_type(id, "integer", err);
        cell->integer = (int64_t)number;
        break;
    case QK_CELL_BOOL: break;
    default: return QK_OK;
    }
    cell->kind = QK_CELL_INT;
    return QK_OK;
}

static qk_status cast_to_float(const qk_id *id, qk_cell *cell, qk_error *err)
{
    const int64_t exact = INT64_C(1) << 53;
    switch (cell->kind) {
    case QK_CELL_UINT: return wrong_type(id, "float", err);
    case QK_CELL_INT:
        if (cell->integer > exact || cell->integer < -exact) return wrong_type(id, "float", err);
        break;
    case QK_CELL_TEXT: return wrong_type(id, "number", err);
    case QK_CELL_BOOL: break;
    default: return QK_OK;
    }
    cell->number = (double)cell->integer;
    cell->kind = QK_CELL_FLOAT;
    return QK_OK;
}

static qk_status cast_to_bool(const qk_id *id, qk_cell *cell, qk_error *err)
{
    switch (cell->kind) {
    case QK_CELL_TEXT: return wrong_type(id, "truth value", err);
    case QK_CELL_UINT: cell->integer = 1; break;
    case QK_CELL_INT: cell->integer = cell->integer != 0; break;
    case QK_CELL_FLOAT: cell->integer = cell->number != 0; break;
    default: return QK_OK;
    }
    cell->kind = QK_CELL_BOOL;
    return QK_OK;
}

/* Text of numbers is their digits; other values Arrow writes in its own way. */
static qk_status cast_to_text(const qk_id *id, qk_cell *cell, qk_error *err)
{
    if (cell->kind == QK_CELL_FLOAT || cell->kind == QK_CELL_BOOL)
        return wrong_type(id, "string", err);
    if (cell->kind == QK_CELL_INT || cell->kind == QK_CELL_UINT) cell->kind = QK_CELL_OTHER;
    return QK_OK;
}

static qk_status cast(const qk_id *id, qk_cell *cell, qk_cell_kind column, qk_error *err)
{
    switch (column) {
    case QK_CELL_INT: return cast_to_int(id, cell, err);
    case QK_CELL_FLOAT: return cast_to_float(id, cell, err);
    case QK_CELL_BOOL: return cast_to_bool(id, cell, err);
    case QK_CELL_TEXT: return cast_to_text(id, cell, err);
    default: return QK_OK;
    }
}

static void set_text(qk_id *id, const qk_cell *cell)
{
    qk_buf_clear(&id->buf);
    add_python_str(cell, &id->buf);
    id->text = qk_buf_str(&id->buf);
}

qk_status qk_cell_to_id(const qk_cell *given, qk_cell_kind column, qk_id *id, qk_error *err)
{
    qk_cell cell = *given;
    set_text(id, &cell);
    QK_TRY(cast(id, &cell, column, err));
    switch (cell.kind) {
    case QK_CELL_NULL: id->id = qk_example_id_from_null(); break;
    case QK_CELL_BOOL:
    case QK_CELL_INT: id->id = cell.integer; break;
    case QK_CELL_UINT: id->id = qk_example_id_from_uint64(cell.natural); break;
    case QK_CELL_FLOAT: QK_TRY(qk_example_id_from_double(&id->id, cell.number, err)); break;
    case QK_CELL_TEXT:
    case QK_CELL_OTHER: id->id = qk_example_id_from_text(id->text, id->buf.size); return QK_OK;
    }
    if (cell.kind != given->kind) set_text(id, &cell);
    return QK_OK;
}
