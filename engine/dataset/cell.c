/* See cell.h. */
#include "engine/dataset/cell.h"

#include <stdio.h>

#include "engine/dataset/pystr.h"
#include "sampler/example_id.h"

static qk_status cast(qk_cell *cell, const qk_id_type *type, const qk_id_type *column, qk_id *id,
                      qk_error *err)
{
    char name[QK_ID_TYPE_NAME], of[QK_ID_TYPE_NAME + 20];
    const char *by = column->said_by;
    qk_cell given = *cell;
    qk_error none = {0};
    bool takes = qk_id_type_takes(column, type);
    if (takes && qk_cell_cast(cell, type, column, &id->cast)) return QK_OK;
    qk_buf_clear(&id->buf);
    qk_cell_python_str(&id->buf, &given, type, &none);
    snprintf(of, sizeof of, " of the type %s", qk_id_type_name(type, name));
    return qk_fail(err, QK_ERR_DATA, "give the ids of all files one type",
                   "the id '%.80s'%s is no %s, %s%s%s", qk_buf_str(&id->buf), takes ? "" : of,
                   qk_id_type_name(column, name), by ? "as " : "while those of the first file are",
                   by ? by : "", by ? " has it" : "");
}

qk_status qk_cell_to_id(const qk_cell *given, const qk_id_type *type, const qk_id_type *column,
                        qk_id *id, qk_error *err)
{
    qk_cell cell = *given;
    if (column && !qk_id_type_is(column, type)) QK_TRY(cast(&cell, type, column, id, err));
    qk_buf_clear(&id->buf);
    QK_TRY(qk_cell_python_str(&id->buf, &cell, column ? column : type, err));
    id->text = qk_buf_str(&id->buf);
    switch (cell.kind) {
    case QK_CELL_NULL: id->id = qk_example_id_from_null(); break;
    case QK_CELL_BOOL:
    case QK_CELL_INT: id->id = cell.integer; break;
    case QK_CELL_UINT: id->id = qk_example_id_from_uint64(cell.natural); break;
    case QK_CELL_FLOAT: return qk_example_id_from_double(&id->id, cell.number, err);
    default: id->id = qk_example_id_from_text(id->text, id->buf.size);
    }
    return QK_OK;
}

void qk_id_free(qk_id *id)
{
    qk_buf_free(&id->buf);
    qk_buf_free(&id->cast);
    *id = (qk_id){0};
}
