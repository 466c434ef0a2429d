/* From an id cell to the 64-bit example id and to Python's str() of the cell (sampler/example_id.h
 * has the rule). Private to engine/dataset/.
 *
 * A dataset's id column has one type, the card's or that of its first file. Cells of another one
 * are cast to it as Arrow casts: integers among strings become their digits, strings of digits
 * integers, whole floats integers, dates time stamps, decimals get another scale. What would change
 * a value is refused, and so is what Arrow writes or reads in a way of its own (floats among
 * strings, strings among dates): id_type.c has the pairs, cast.c the values.
 *
 * next: engine/dataset/pystr.h */
#pragma once

#include "engine/dataset/source.h"

typedef struct qk_id {
    int64_t id;
    const char *text; /* str(cell), buf.size bytes that lie in `buf`; a string may hold NULs */
    qk_buf buf, cast; /* cast: bytes of a cell that was cast */
} qk_id;

/* `type` is that of the cell, `column` the one to cast it to, or NULL. Floats of 2^63 and more are
 * refused. qk_id_free frees id->buf and id->cast. */
qk_status qk_cell_to_id(const qk_cell *cell, const qk_id_type *type, const qk_id_type *column,
                        qk_id *id, qk_error *err);
void qk_id_free(qk_id *id); /* zeroed: fine */

/* Casts a cell whose type the column takes (qk_id_type_takes). Bytes that are not the cell's own
 * are put in `keep`. false: it has no such value. */
bool qk_cell_cast(qk_cell *cell, const qk_id_type *type, const qk_id_type *column, qk_buf *keep);
