/* engine/base/nonfinite: the limits against the conversions themselves. */
#include "tests/test.h"

#include <math.h>

#include "engine/base/nonfinite.h"

static bool is_bad(float v, qk_dtype to)
{
    return !isfinite(qk_round_to(v, to));
}

/* Every float32 near the limits, and a stride over all of them. */
static void test_float32(void)
{
    static const qk_dtype formats[] = {QK_F32, QK_F16, QK_BF16};
    static const uint32_t near[] = {0x477FF000, 0x7F7F8000, 0x7F800000, 0x7FC00000, 0x7FFFFFFF, 0};
    size_t wrong = 0, looked = 0;
    for (int f = 0; f < 3; f++) {
        for (uint64_t u = 0; u <= UINT32_MAX; u += 65521, looked++) {
            float v = qk_bits_float((uint32_t)u);
            wrong += qk_nonfinite_count(&v, 1, QK_F32, formats[f]) != is_bad(v, formats[f]);
        }
        for (size_t i = 0; i < sizeof near / sizeof *near; i++)
            for (uint32_t by = 0; by < 4097; by++, looked++) {
                float v = qk_bits_float(near[i] - 2048 + by);
                wrong += qk_nonfinite_count(&v, 1, QK_F32, formats[f]) != is_bad(v, formats[f]);
            }
    }
    CHECK_INT(wrong, 0);
    CHECK(looked > 200000);
}

/* Every value of the 16-bit formats. */
static void test_halves(void)
{
    static const qk_dtype formats[] = {QK_F32, QK_F16, QK_BF16};
    size_t wrong = 0;
    for (int f = 0; f < 3; f++)
        for (uint32_t u = 0; u < 65536; u++) {
            uint16_t h = (uint16_t)u;
            wrong += qk_nonfinite_count(&h, 1, QK_BF16, formats[f]) !=
                     is_bad(qk_bf16_to_f32(h), formats[f]);
            wrong += qk_nonfinite_count(&h, 1, QK_F16, formats[f]) !=
                     is_bad(qk_f16_to_f32(h), formats[f]);
        }
    CHECK_INT(wrong, 0);
}

static void test_places(void)
{
    float v[] = {1, 65504, -65519.99f, 65520, -INFINITY, NAN, 3e38f, 0};
    CHECK_INT(qk_nonfinite_count(v, 8, QK_F32, QK_F32), 2);
    CHECK_INT(qk_nonfinite_first(v, 8, QK_F32, QK_F32), 4);
    CHECK_INT(qk_nonfinite_count(v, 8, QK_F32, QK_F16), 4);
    CHECK_INT(qk_nonfinite_first(v, 8, QK_F32, QK_F16), 3);
    CHECK_INT(qk_nonfinite_first(v, 3, QK_F32, QK_F16), 3); /* none */
    CHECK_INT(qk_nonfinite_rows(v, 4, 2), 1);
    CHECK_INT(qk_nonfinite_rows(v, 2, 4), 1);
    CHECK_INT(qk_nonfinite_rows(v, 0, 4), 0);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_float32);
    RUN(test_halves);
    RUN(test_places);
    return test_summary("nonfinite");
}
