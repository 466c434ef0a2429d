/* Ids of a Parquet column as cells: what Python's str() makes of a value of each type, which is
 * what example ids are hashed from. Private to engine/dataset/.
 *
 *   decimal    1.00   0E-10 (exponents below -6)      bytes  b'abc\x00'   b"it's"
 *   timestamp  see pytime.h; of nanoseconds, nine digits when the last three are not zero
 *   uuid       01234567-89ab-cdef-0123-456789abcdef
 *
 * next: engine/dataset/cell.h */
#pragma once

#include "engine/dataset/source.h"
#include "formats/parquet_read.h"

/* QK_ERR_UNSUPPORTED when values of this column cannot be ids. */
qk_status qk_parquet_id_check(const qk_pq_leaf *leaf, qk_error *err);
/* Value i of a batch. The cell's text lives in the batch or in *text. Messages name no place. */
qk_status qk_parquet_id(qk_cell *cell, const qk_pq_leaf *leaf, const qk_pq_batch *batch, size_t i,
                        qk_buf *text, qk_error *err);
