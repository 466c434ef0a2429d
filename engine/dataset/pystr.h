/* A value as Python's str() writes the object that `datasets` makes of it, which is what example
 * ids are hashed from. Private to engine/dataset/.
 *
 *   decimal    1.00   0E-10 (exponents below -6)      bytes  b'abc\x00'   b"it's"
 *   timestamp  see pytime.h; of nanoseconds, nine digits when the last three are not zero; with a
 *              zone its own clock and offset: 2024-05-06 09:00:00+02:00
 *   duration   1 day, 0:00:05.000250   -1 day, 23:59:55; of nanoseconds 0 days 00:00:05
 *   uuid       01234567-89ab-cdef-0123-456789abcdef
 *
 * next: engine/dataset/pytime.h */
#pragma once

#include "engine/dataset/source.h"

/* Appends to `out`. QK_ERR_DATA for what Python cannot hold, such as years outside 1 to 9999. */
qk_status qk_cell_python_str(qk_buf *out, const qk_cell *cell, const qk_id_type *type,
                             qk_error *err);

/* Units of 10^-unit seconds as microseconds and, of nanoseconds, what is left; false when they do
 * not fit. */
bool qk_split_time(int64_t value, int unit, int64_t *us, int *ns);
