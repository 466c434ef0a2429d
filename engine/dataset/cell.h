/* From an id cell to the 64-bit example id and to Python's str() of the cell (sampler/example_id.h
 * has the rule). Private to engine/dataset/.
 *
 * A dataset's id column has one type, the card's or that of its first file. Cells of a later file
 * are cast to it as Arrow casts: integers among strings become their digits, strings of digits
 * integers, whole floats integers, integers floats. What would change a value is refused, and so is
 * what Arrow writes in its own way (floats among strings).
 *
 * next: engine/dataset/split.h */
#pragma once

#include "engine/dataset/source.h"

typedef struct qk_id {
    int64_t id;
    const char *text; /* str(cell), buf.size bytes that lie in `buf`; a string may hold NULs */
    qk_buf buf;
} qk_id;

/* `column` is the type that the column has, TEXT, INT, FLOAT or BOOL, where it may differ from the
 * cell's; else QK_CELL_NULL. Floats of 2^63 and more are refused. The caller frees id->buf. */
qk_status qk_cell_to_id(const qk_cell *cell, qk_cell_kind column, qk_id *id, qk_error *err);
