/* engine/base/decimal.h: the shortest decimals of doubles, as Python's repr() has them.
 *
 * usage: test_decimal        the tests
 *        test_decimal print  a double per line on stdin, as C's %a or any decimal writes it; prints
 *                            repr() and the JSON number: tests/interop/decimals.py */
#include "tests/test.h"

#include "engine/base/decimal.h"
#include "formats/json.h"
#include "sampler/float_repr.h"

/* value, what qk_decimal_text makes of it, Python's repr() */
static const struct {
    double value;
    const char *text, *repr;
} cases[] = {
    {0.0, "0", "0.0"},
    {-0.0, "-0", "-0.0"},
    {1, "1", "1.0"},
    {10, "1e+01", "10.0"},
    {1500, "1.5e+03", "1500.0"},
    {1234567, "1234567", "1234567.0"},
    {0.1, "0.1", "0.1"},
    {-0.0001, "-0.0001", "-0.0001"},
    {1e-5, "1e-05", "1e-05"},
    {2.5e-7, "2.5e-07", "2.5e-07"},
    {0.1f, "0.10000000149011612", "0.10000000149011612"},
    {1.0 / 3, "0.3333333333333333", "0.3333333333333333"},
    {0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"},
    {9007199254740993.0, "9007199254740992", "9007199254740992.0"},
    {9999999999999998.0, "9999999999999998", "9999999999999998.0"},
    {1e22, "1e+22", "1e+22"},
    {1e23, "1e+23", "1e+23"},
    {5e-324, "5e-324", "5e-324"},
    {2.2250738585072011e-308, "2.225073858507201e-308", "2.225073858507201e-308"},
    {2.2250738585072014e-308, "2.2250738585072014e-308", "2.2250738585072014e-308"},
    {1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308"},
    /* The nearest decimal of their length does not read back. */
    {0x1p-44, "5.684341886080802e-14", "5.684341886080802e-14"},
    {0x1p-24, "5.960464477539063e-08", "5.960464477539063e-08"},
    {0x1p89, "6.189700196426902e+26", "6.189700196426902e+26"},
    {0x1p976, "6.386688990511104e+293", "6.386688990511104e+293"},
    /* Of two decimals of one length that read back, the nearer. */
    {2e-323, "2e-323", "2e-323"},
    {0x1.fffffffffffffp-1022, "4.4501477170144023e-308", "4.4501477170144023e-308"},
    {5e-323, "5e-323", "5e-323"},
};

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[QK_DECIMAL_TEXT], repr[QK_FLOAT_REPR_SIZE];
        CHECK_INT(qk_decimal_text(cases[i].value, text), strlen(cases[i].text));
        CHECK_STR(text, cases[i].text);
        CHECK_INT(qk_python_float_repr(cases[i].value, repr), strlen(cases[i].repr));
        CHECK_STR(repr, cases[i].repr);
    }
}

/* 0.DIGITS * 10^point of an integer of `count` digits. */
static double read(uint64_t digits, int count, int point)
{
    char text[64];
    snprintf(text, sizeof text, "%" PRIu64 "e%d", digits, point - count);
    return strtod(text, NULL);
}

/* What can be said of every value > 0 without an oracle. *moved: whether the decimal is another one
 * than printf's nearest of that length. */
static void check_value(double value, bool *moved)
{
    qk_decimal d = qk_decimal_of(value);
    uint64_t digits = strtoull(d.digits, NULL, 10);
    char nearest[40];
    CHECK(d.count >= 1 && d.count <= QK_DECIMAL_DIGITS && (size_t)d.count == strlen(d.digits));
    CHECK(d.digits[0] != '0' && d.digits[d.count - 1] != '0');
    CHECK_MSG(read(digits, d.count, d.point) == value, "%a", value);
    /* The two decimals around it with a digit less do not read back. */
    for (int up = 0; up < 2 && d.count > 1; up++)
        CHECK_MSG(read(digits / 10 + (uint64_t)up, d.count - 1, d.point) != value, "%a", value);
    snprintf(nearest, sizeof nearest, "%.*e", d.count - 1, value);
    *moved = strtod(nearest, NULL) != read(digits, d.count, d.point);
    char text[QK_DECIMAL_TEXT], printed[QK_DECIMAL_TEXT];
    qk_decimal_text(value, text);
    snprintf(printed, sizeof printed, "%.*g", d.count, value);
    if (!*moved) CHECK_STR(text, printed);
}

static void test_powers_of_two(void)
{
    bool moved;
    int count = 0;
    for (int e = -1074; e <= 1023; e++) {
        check_value(ldexp(1, e), &moved);
        count += moved;
        if (e > -1074) check_value(nextafter(ldexp(1, e), 0), &moved);
        check_value(nextafter(ldexp(1, e), INFINITY), &moved);
    }
    CHECK_INT(count, 46);
}

static uint64_t next_bits(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

static void test_random_values(void)
{
    uint64_t state = 7;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = next_bits(&state) >> 1;
        uint32_t narrow = (uint32_t)(next_bits(&state) >> 33);
        if (i % 10 == 0) bits >>= 12; /* subnormal */
        double value;
        float single;
        memcpy(&value, &bits, sizeof value);
        memcpy(&single, &narrow, sizeof single);
        bool moved = false;
        if (isfinite(value) && value > 0) check_value(value, &moved);
        CHECK(!moved);
        if (isfinite(single) && single > 0) check_value((double)single, &moved);
    }
}

static int print(void)
{
    char line[128], repr[QK_FLOAT_REPR_SIZE];
    while (fgets(line, sizeof line, stdin)) {
        double value = strtod(line, NULL);
        qk_python_float_repr(value, repr);
        qk_json_out o = {0};
        qk_json_add_num(&o, NULL, value);
        printf("%s %s\n", repr, qk_buf_str(&o.buf));
        qk_buf_free(&o.buf);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "print")) return print();
    test_begin(argc, argv, "");
    RUN(test_cases);
    RUN(test_powers_of_two);
    RUN(test_random_values);
    return test_summary("decimal");
}
