/* Example ids: from a dataset's cell to the 64-bit id behind every seed, and to what is stored.
 *
 *   integer, bool    itself
 *   integral float   that integer (3.0 is 3)
 *   anything else    blake2b with an 8-byte digest, little-endian, signed, of Python's str(value)
 *                    in UTF-8: "doc-1", "0.1", "None" for null, "18446744073709551615"
 *   stored           the low 32 bits, signed: different ids may share a stored one
 *
 * next: sampler/blake2b.h, sampler/float_repr.h */
#pragma once

#include "engine/base/error.h"
#include "sampler/float_repr.h"

#include <stdint.h>

/* The hash of a text: string cells, and every other type once written as Python's str() does. */
int64_t qk_example_id_from_text(const void *utf8, size_t n);
int64_t qk_example_id_from_null(void);
/* Beyond int64 the decimal digits are hashed. */
int64_t qk_example_id_from_uint64(uint64_t value);
/* A float32 cell is widened by the caller. Integral values outside int64 are refused, as no 64-bit
 * id can hold them (the reference overflows on them). */
qk_status qk_example_id_from_double(int64_t *out, double value, qk_error *err);

/* What the column example_id holds. */
int32_t qk_example_id_stored(int64_t id);
