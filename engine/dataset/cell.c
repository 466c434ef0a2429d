/* See cell.h. */
#include "engine/dataset/cell.h"

#include <errno.h>
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

/* A string cell in a column of ints, as Arrow casts it. */
static qk_status cast_to_int(qk_id *id, qk_error *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(id->text, &end, 10);
    bool digits = *id->text == '-' || (*id->text >= '0' && *id->text <= '9');
    bool whole = end == id->text + id->buf.size;
    if (!whole || errno || !digits)
        return qk_fail(err, QK_ERR_DATA, "give the ids of all files one type",
                       "the id '%.80s' is no integer, while those of the first file are", id->text);
    id->id = value;
    return QK_OK;
}

qk_status qk_cell_to_id(const qk_cell *cell, qk_cell_kind column, qk_id *id, qk_error *err)
{
    qk_buf_clear(&id->buf);
    add_python_str(cell, &id->buf);
    id->text = qk_buf_str(&id->buf);
    bool number = cell->kind == QK_CELL_INT || cell->kind == QK_CELL_UINT;
    if (cell->kind == QK_CELL_TEXT && column == QK_CELL_INT) return cast_to_int(id, err);
    if (column == QK_CELL_TEXT && (cell->kind == QK_CELL_FLOAT || cell->kind == QK_CELL_BOOL))
        return qk_fail(err, QK_ERR_DATA, "give the ids of all files one type",
                       "the id %s is no string, while those of the first file are", id->text);
    if (number && column == QK_CELL_TEXT) {
        id->id = qk_example_id_from_text(id->text, id->buf.size);
        return QK_OK;
    }
    switch (cell->kind) {
    case QK_CELL_NULL: id->id = qk_example_id_from_null(); return QK_OK;
    case QK_CELL_BOOL:
    case QK_CELL_INT: id->id = cell->integer; return QK_OK;
    case QK_CELL_UINT: id->id = qk_example_id_from_uint64(cell->natural); return QK_OK;
    case QK_CELL_FLOAT: return qk_example_id_from_double(&id->id, cell->number, err);
    case QK_CELL_TEXT:
    case QK_CELL_OTHER: id->id = qk_example_id_from_text(id->text, id->buf.size); return QK_OK;
    }
    return QK_OK;
}
