/* Example ids. See example_id.h; next: sampler/seed.h */
#include "sampler/example_id.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "sampler/blake2b.h"

int64_t qk_example_id_from_text(const void *utf8, size_t n)
{
    uint8_t digest[8];
    qk_blake2b(digest, sizeof digest, utf8, n);
    uint64_t id = 0;
    for (int i = 0; i < 8; i++) id |= (uint64_t)digest[i] << (8 * i);
    return (int64_t)id; /* gcc and clang keep the bits */
}

int64_t qk_example_id_from_null(void)
{
    return qk_example_id_from_text("None", 4);
}

int64_t qk_example_id_from_uint64(uint64_t value)
{
    if (value <= INT64_MAX) return (int64_t)value;
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64, value);
    return qk_example_id_from_text(text, (size_t)n);
}

qk_status qk_example_id_from_double(int64_t *out, double value, qk_error *err)
{
    char text[QK_FLOAT_REPR_SIZE];
    size_t n = qk_python_float_repr(value, text);
    if (!isfinite(value) || value != trunc(value)) {
        *out = qk_example_id_from_text(text, n);
        return QK_OK;
    }
    if (value < -0x1p63 || value >= 0x1p63)
        return qk_fail(err, QK_ERR_DATA, "store such ids as integers or as text",
                       "the id %s is a whole number beyond 64 bits", text);
    *out = (int64_t)value;
    return QK_OK;
}

int32_t qk_example_id_stored(int64_t id)
{
    return (int32_t)(uint32_t)id;
}
