/* sampler/mt19937, python_random, seed: words, shuffles, samples and seeds of the goldens. */
#include "tests/test_sampler_vectors.h"

#include "engine/base/error.h"
#include "sampler/python_random.h"
#include "sampler/seed.h"

static void test_first_words_of_the_header(void)
{
    qk_mt19937 g;
    qk_mt19937_seed(&g, 0);
    CHECK_INT(qk_mt19937_next(&g), 2357136044);
    CHECK_INT(qk_mt19937_next(&g), 2546248239);
    CHECK_INT(qk_mt19937_next(&g), 3071714933);
    qk_mt19937_seed(&g, 5489);
    CHECK_INT(qk_mt19937_next(&g), 3499211612);
    for (int i = 1; i < 9999; i++) qk_mt19937_next(&g);
    CHECK_INT(qk_mt19937_next(&g), 4123659995); /* the 10000th, as the C++ standard requires */
    const uint32_t key[] = {0x123, 0x234, 0x345, 0x456};
    qk_mt19937_seed_array(&g, key, 4);
    CHECK_INT(qk_mt19937_next(&g), 1067595299);
    CHECK_INT(qk_mt19937_next(&g), 955945823);
    CHECK_INT(qk_mt19937_next(&g), 477289528);
}

static void check_rand(const vectors *v)
{
    enum { N = 100001 };
    qk_mt19937 g;
    qk_mt19937_seed(&g, (uint32_t)field_uint(v, 1));
    int64_t *values = malloc(N * sizeof *values);
    for (int i = 0; i < N; i++) values[i] = qk_torch_rand24(qk_mt19937_next(&g));
    check_hash(v, field(v, 2), values, N - 1);
    CHECK_INT(values[N - 2], field_int(v, 3));
    CHECK_INT(values[N - 1], field_int(v, 4));
    size_t n;
    int64_t *first = field_list(v, 5, &n);
    CHECK_INT(n, 32);
    CHECK(!memcmp(first, values, n * sizeof *values));
    free(first);
    free(values);
}

static int64_t *widen(const int32_t *items, size_t n)
{
    int64_t *wide = malloc((n + 1) * sizeof *wide);
    for (size_t i = 0; i < n; i++) wide[i] = items[i];
    return wide;
}

static int32_t *torch_randperm(uint64_t seed, size_t n, size_t keep)
{
    qk_mt19937 g;
    qk_mt19937_seed(&g, (uint32_t)seed);
    int32_t *items = malloc((n + 1) * sizeof *items);
    for (size_t i = 0; i < n; i++) items[i] = (int32_t)i;
    qk_torch_shuffle(&g, items, n, keep);
    return items;
}

static void check_randperm(const vectors *v)
{
    uint64_t seed = field_uint(v, 1);
    size_t n = (size_t)field_int(v, 2), n_first;
    int32_t *items = torch_randperm(seed, n, n), *half = torch_randperm(seed, n, n / 2);
    CHECK(!memcmp(items, half, n / 2 * sizeof *items)); /* a part is the part of the whole */
    int64_t *wide = widen(items, n), *first = field_list(v, 4, &n_first);
    check_hash(v, field(v, 3), wide, n);
    CHECK(!memcmp(first, wide, n_first * sizeof *first));
    free(items), free(half), free(wide), free(first);
}

static qk_mt19937 python_random(const vectors *v)
{
    qk_mt19937 g;
    qk_error err;
    qk_python_seed seed;
    CHECK_INT(qk_python_seed_parse(&seed, field(v, 1), 10, &err), QK_OK);
    qk_python_seed_apply(&g, &seed);
    return g;
}

static void check_getrandbits(const vectors *v)
{
    qk_mt19937 g = python_random(v);
    size_t n;
    int64_t *expected = field_list(v, 2, &n);
    CHECK_INT(n, 8);
    for (size_t i = 0; i < n; i++) CHECK_INT(qk_python_getrandbits(&g, 32), expected[i]);
    free(expected);
}

static void check_randbelow(const vectors *v)
{
    qk_mt19937 g = python_random(v);
    size_t n;
    int64_t *expected = field_list(v, 3, &n);
    CHECK_INT(n, 12);
    for (size_t i = 0; i < n; i++)
        CHECK_INT(qk_python_randbelow(&g, (uint32_t)field_int(v, 2)), expected[i]);
    free(expected);
}

static void check_sample(const vectors *v)
{
    qk_mt19937 g = python_random(v);
    uint32_t n = (uint32_t)field_int(v, 2), k = (uint32_t)field_int(v, 3);
    uint32_t *picks = malloc((k + 1) * sizeof *picks);
    qk_python_sample(&g, n, k, picks);
    int64_t *wide = malloc((k + 1) * sizeof *wide);
    for (uint32_t i = 0; i < k; i++) wide[i] = picks[i];
    check_hash(v, field(v, 4), wide, k);
    size_t n_first;
    int64_t *first = field_list(v, 5, &n_first);
    CHECK(!memcmp(first, wide, n_first * sizeof *first));
    free(picks), free(wide), free(first);
}

static void check_seed(const vectors *v)
{
    int64_t id = field_int(v, 1);
    if (vectors_is(v, "mix")) {
        CHECK(qk_seed_mix((uint64_t)id) == field_uint(v, 2));
    } else if (vectors_is(v, "combine")) {
        CHECK(qk_seed_combine(field_uint(v, 1), field_uint(v, 2)) == field_uint(v, 3));
    } else if (vectors_is(v, "shared")) {
        qk_kind kind = (qk_kind)*field(v, 3);
        CHECK(qk_seed_shared_mask(id, (int32_t)field_int(v, 2), kind) == field_uint(v, 4));
    } else {
        int32_t layer = (int32_t)field_int(v, 2), head = (int32_t)field_int(v, 3);
        qk_kind kind = (qk_kind)*field(v, 4);
        uint64_t seed = vectors_is(v, "head") ? qk_seed_head_mask(id, layer, head, kind)
                                              : qk_seed_row_limit(id, layer, head, kind);
        CHECK(seed == field_uint(v, 5));
    }
}

static void test_goldens(void)
{
    static const struct {
        const char *kind;
        void (*check)(const vectors *);
        long expected;
    } kinds[] = {
        {"rand", check_rand, 21},
        {"randperm", check_randperm, 64},
        {"getrandbits32", check_getrandbits, 33},
        {"randbelow", check_randbelow, 330},
        {"sample", check_sample, 192},
        {"shared", check_seed, 240},
        {"head", check_seed, 480},
        {"limit", check_seed, 480},
        {"mix", check_seed, 20},
        {"combine", check_seed, 16},
    };
    enum { KINDS = sizeof kinds / sizeof *kinds };
    long seen[KINDS] = {0}, known = 0;
    vectors v = vectors_open("random.txt");
    while (vectors_next(&v)) {
        for (int i = 0; i < KINDS; i++) {
            if (!vectors_is(&v, kinds[i].kind)) continue;
            kinds[i].check(&v);
            seen[i]++, known++;
        }
    }
    CHECK_INT(known, v.records);
    for (int i = 0; i < KINDS; i++)
        CHECK_MSG(seen[i] == kinds[i].expected, "%ld records of %s", seen[i], kinds[i].kind);
}

static void test_seeds_of_any_size(void)
{
    qk_error err;
    qk_python_seed a;
    CHECK_INT(qk_python_seed_parse(&a, "-9223372036854775808", 10, &err), QK_OK);
    CHECK(a.count == 2 && a.words[0] == 0 && a.words[1] == 0x80000000u);
    CHECK_INT(qk_python_seed_parse(&a, "0", 10, &err), QK_OK);
    CHECK(a.count == 1 && a.words[0] == 0);
    CHECK_INT(qk_python_seed_parse(&a, "-7", 10, &err), QK_OK);
    CHECK(a.count == 1 && a.words[0] == 7);
    CHECK_INT(qk_python_seed_parse(&a, "+000000000000000000000000000004294967296", 10, &err),
              QK_OK);
    CHECK(a.count == 2 && a.words[0] == 0 && a.words[1] == 1);

    qk_mt19937 g; /* random.Random(0).getrandbits(32) */
    qk_python_seed_apply(&g, &(qk_python_seed){0});
    CHECK_INT(qk_python_getrandbits(&g, 32), 3626764237);

    CHECK_INT(qk_python_seed_parse(&a, "0x10", 10, &err), QK_ERR_CONFIG);
    CHECK_STR(err.message, "the seed \"0x10\" is not an integer");
    CHECK_INT(qk_python_seed_parse(&a, "-", 10, &err), QK_ERR_CONFIG);
    CHECK_INT(qk_python_seed_parse(&a, "", 16, &err), QK_ERR_CONFIG);
    CHECK_INT(qk_python_seed_parse(&a, "__", 10, &err), QK_ERR_CONFIG);
    CHECK_INT(qk_python_seed_parse(&a, "12g", 16, &err), QK_ERR_CONFIG);
}

/* `c`, repeated n times behind `start`. */
static char *repeated(const char *start, char c, size_t n)
{
    char *text = qk_alloc(strlen(start) + n + 1, 1);
    strcpy(text, start);
    memset(text + strlen(start), c, n);
    text[strlen(start) + n] = 0;
    return text;
}

/* random.Random(seed).getrandbits(32), twice, of CPython 3.11. */
static void test_long_seeds(void)
{
    static const struct {
        const char *start;
        char c;
        size_t n;
        uint32_t base, first, second;
    } cases[] = {
        {"31415926535897932384626433832795028841971693993751058209749445923078164062862089986280348"
         "25342117067",
         '9', 1, 10, 1716044888, 4082873838},
        {"-314159265358979323846264338327950288419716939937513", '1', 0, 10, 559454761, 3723493219},
        {"18_446_744_073_709_551_616", '0', 0, 10, 4198958755, 3158798261},
        {"1844674407370955161", '5', 1, 10, 93740670, 1068495656},
        {"-922337203685477580", '9', 1, 10, 3142093607, 3219185990},
        {"", 'f', 300, 16, 1024690924, 3179247485},
        {"", '1', 70, 2, 4193284042, 660825013},
        {"", '7', 4300, 10, 1903352425, 921523826},
        {"1", '0', 3575, 16, 2922753330, 2640637300},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = repeated(cases[i].start, cases[i].c, cases[i].n);
        qk_python_seed seed;
        qk_mt19937 g;
        qk_error err;
        qk_buf decimal = {0};
        CHECK_INT(qk_python_seed_parse(&seed, text, cases[i].base, &err), QK_OK);
        qk_python_seed_apply(&g, &seed);
        CHECK_INT(qk_python_getrandbits(&g, 32), cases[i].first);
        CHECK_INT(qk_python_getrandbits(&g, 32), cases[i].second);
        qk_python_seed_add_decimal(&seed, &decimal);
        if (cases[i].base == 10 && !strchr(text, '_'))
            CHECK_STR(qk_buf_str(&decimal), text + (*text == '-'));
        qk_buf_free(&decimal);
        free(text);
    }
    char *text = repeated("", '9', 4310);
    qk_error err;
    qk_python_seed seed;
    CHECK_INT(qk_python_seed_parse(&seed, text, 10, &err), QK_ERR_CONFIG);
    CHECK_STR(err.message, "the seed 99999999999999999999... has more than 14304 bits");
    free(text);
}

static void test_degenerate_draws(void)
{
    qk_mt19937 g;
    qk_mt19937_seed(&g, 1);
    uint32_t out = 77;
    qk_python_sample(&g, 0, 0, &out);
    qk_python_sample(&g, 5, 0, &out);
    qk_torch_shuffle(&g, NULL, 0, 0);
    int32_t one = 5;
    qk_torch_shuffle(&g, &one, 1, 1);
    CHECK(out == 77 && one == 5 && g.used == QK_MT_WORDS); /* nothing was drawn */
    qk_python_sample(&g, 1, 1, &out);
    CHECK_INT(out, 0);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_first_words_of_the_header);
    RUN(test_goldens);
    RUN(test_seeds_of_any_size);
    RUN(test_long_seeds);
    RUN(test_degenerate_draws);
    return test_summary("sampler random");
}
