/* sampler/example_id, float_repr, blake2b: every cell of the goldens, repr() of doubles, RFC 7693.
 */
#include "tests/test_sampler_vectors.h"

#include "sampler/blake2b.h"
#include "sampler/example_id.h"
#include "sampler/seed.h"

static void hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void test_blake2b(void)
{
    uint8_t digest[64], data[1000];
    char text[129];
    qk_blake2b(digest, 64, "abc", 3); /* RFC 7693, appendix A */
    hex(digest, 64, text);
    CHECK_STR(text, "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                    "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
    qk_blake2b(digest, 8, NULL, 0);
    hex(digest, 8, text);
    CHECK_STR(text, "e4a6a0577479b2b4");
    for (int i = 0; i < 1000; i++) data[i] = (uint8_t)(i * 7);
    uint8_t all[4 * 8]; /* lengths at and around blocks, against hashlib.blake2b(digest_size=8) */
    const size_t lengths[] = {128, 129, 256, 1000};
    for (int i = 0; i < 4; i++) qk_blake2b(all + 8 * i, 8, data, lengths[i]);
    hex(all, sizeof all, text);
    CHECK_STR(text, "3c50dc24acf9021ee5ae84605fae8733e87d780152aba41b1f723ea42bfc2187");
}

/* Decodes a hex field into bytes; "-" is the empty text. */
static size_t decode(const char *text, char *out)
{
    if (!strcmp(text, "-")) return 0;
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        out[i] = (char)strtol(pair, NULL, 16);
    }
    return n;
}

static void check_id(const vectors *v, int64_t id, int first_field)
{
    CHECK_INT(id, field_int(v, first_field));
    CHECK_INT(qk_example_id_stored(id), field_int(v, first_field + 1));
}

static void check_double(const vectors *v)
{
    char expected[64] = {0}, text[QK_FLOAT_REPR_SIZE];
    uint64_t bits = strtoull(field(v, 1), NULL, 16);
    double value;
    memcpy(&value, &bits, sizeof value);
    size_t n = decode(field(v, 2), expected);
    CHECK_INT(qk_python_float_repr(value, text), n);
    CHECK_STR(text, expected);
    qk_error err = {0};
    int64_t id = 0;
    qk_status status = qk_example_id_from_double(&id, value, &err);
    if (strcmp(field(v, 3), "-")) {
        CHECK_INT(status, QK_OK);
        check_id(v, id, 3);
        return;
    }
    char message[128];
    snprintf(message, sizeof message, "the id %s is a whole number beyond 64 bits", expected);
    CHECK_INT(status, QK_ERR_DATA);
    CHECK_STR(err.message, message);
}

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Item i of a series; the same doubles as repr_series() of the script makes. */
static double series_item(const char *series, int i)
{
    if (!strcmp(series, "random_bits")) return from_bits(qk_seed_mix((uint64_t)i + 1));
    if (!strcmp(series, "powers_of_two")) return ldexp(1.0, i - 1074);
    if (!strcmp(series, "ties")) return ldexp(1.0, 50) + i / 2 + (i % 2 ? 0.75 : 0.25);
    if (!strcmp(series, "thousandths")) return (i - 5000) / 1000.0;
    char text[16];
    snprintf(text, sizeof text, "1e%d", i - 323);
    return strtod(text, NULL);
}

static void check_reprs(const vectors *v)
{
    int n = (int)field_int(v, 2);
    char *all = malloc((size_t)n * QK_FLOAT_REPR_SIZE), *p = all, actual[17];
    for (int i = 0; i < n; i++) {
        p += qk_python_float_repr(series_item(field(v, 1), i), p);
        *p++ = '\n';
    }
    hash16(all, (size_t)(p - all), actual);
    CHECK_MSG(!strcmp(actual, field(v, 3)), "%s", field(v, 1));
    free(all);
}

static void test_cells(void)
{
    long texts = 0, doubles = 0, integers = 0, series = 0, nulls = 0;
    char text[2048];
    vectors v = vectors_open("ids.txt");
    while (vectors_next(&v)) {
        if (vectors_is(&v, "text")) {
            check_id(&v, qk_example_id_from_text(text, decode(field(&v, 1), text)), 2);
            texts++;
        } else if (vectors_is(&v, "null")) {
            check_id(&v, qk_example_id_from_null(), 2);
            nulls++;
        } else if (vectors_is(&v, "int64")) {
            check_id(&v, field_int(&v, 1), 2);
            integers++;
        } else if (vectors_is(&v, "uint64")) {
            check_id(&v, qk_example_id_from_uint64(field_uint(&v, 1)), 2);
            integers++;
        } else if (vectors_is(&v, "double")) {
            check_double(&v);
            doubles++;
        } else if (vectors_is(&v, "reprs")) {
            check_reprs(&v);
            series++;
        }
    }
    CHECK_INT(texts + doubles + integers + series + nulls, v.records);
    CHECK_INT(series, 5);
    CHECK_INT(nulls, 1);
    CHECK_MSG(texts > 80 && doubles > 70 && integers > 30, "%ld %ld %ld", texts, doubles, integers);
}

static void test_unsigned_integers(void)
{
    CHECK_INT(qk_example_id_from_uint64(0), 0);
    CHECK_INT(qk_example_id_from_uint64(INT64_MAX), INT64_MAX);
    CHECK_INT(qk_example_id_from_uint64((uint64_t)INT64_MAX + 1), -4436916390290898806);
}

/* Shapes of repr(): where the exponent starts, and a double whose nearest 16 digits fail. */
static void test_repr_layout(void)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1e-4, "0.0001"},
        {1e-5, "1e-05"},
        {-1.5e-7, "-1.5e-07"},
        {1e15, "1000000000000000.0"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e+16"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {1e100, "1e+100"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {0x1p-44, "5.684341886080802e-14"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
        {-NAN, "nan"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[QK_FLOAT_REPR_SIZE];
        CHECK_INT(qk_python_float_repr(cases[i].value, text), strlen(cases[i].text));
        CHECK_STR(text, cases[i].text);
    }
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_blake2b);
    RUN(test_cells);
    RUN(test_unsigned_integers);
    RUN(test_repr_layout);
    return test_summary("sampler ids");
}
