/* sampler/positions beyond the reference: first positions, listed ones, and what they leave as it
 * was. */
#include "tests/test.h"

#include "sampler/listed.h"
#include "sampler/mt19937.h"
#include "sampler/positions.h"

enum { MOST = 3000 };

static qk_mt19937 dice;

static int64_t roll(int64_t n) /* 0 .. n-1 */
{
    return (int64_t)qk_mt19937_next(&dice) % n;
}

static qk_sampler random_sampler(void)
{
    return (qk_sampler){
        .kind = (qk_sampler_kind)roll(3),
        .base_rate = (double)(roll(400) + 1) / 16,
        .min_bucket_size = roll(3) ? 1 << roll(10) : roll(1000) + 1,
        .max_rows = roll(2) ? 0 : roll(60) + 1,
    };
}

static qk_draw random_draw(void)
{
    return (qk_draw){
        .example_id = roll(1 << 30) - (1 << 29),
        .layer = (int32_t)roll(40),
        .mask_head = (int32_t)roll(5) - 1,
        .first_head = (int32_t)roll(8),
        .kind = roll(2) ? QK_KIND_Q : QK_KIND_K,
        .n_tokens = (int32_t)(roll(4) ? roll(200) : roll(MOST)),
    };
}

static bool has(const qk_sampled_rows *rows, int32_t position)
{
    for (int32_t i = 0; i < rows->count; i++)
        if (rows->positions[i] == position) return true;
    return false;
}

/* Without a limit: 0 .. first-1 and, behind them, what is drawn without `first`. With one: the first
 * ones ascending and the others in a random order, which is that of max_rows where first is 0. */
static void check_first(const qk_sampler *with, const qk_draw *d, qk_sampled_rows *rows,
                        qk_sampled_rows *plain)
{
    qk_sampler s = *with;
    qk_sampler_draw(with, d, rows);
    s.first = 0;
    s.max_rows = 0;
    qk_sampler_draw(&s, d, plain);
    int32_t first = with->first < d->n_tokens ? with->first : d->n_tokens, expected = first;
    long wrong = 0;
    for (int32_t i = 0; i < plain->count; i++) expected += plain->positions[i] >= first;
    if (with->max_rows > 0 && expected > with->max_rows) expected = (int32_t)with->max_rows;
    CHECK_INT(rows->count, expected);
    for (int32_t i = 0; i < rows->count; i++) {
        int32_t p = rows->positions[i];
        wrong += i < first ? p != i : p < first || !has(plain, p);
        wrong += rows->buckets[i] != qk_sampler_bucket(with, p);
        for (int32_t j = 0; j < i && j < 64; j++) wrong += rows->positions[j] == p;
    }
    bool limited = with->max_rows > 0 && rows->count == with->max_rows;
    for (int32_t i = 1; i < rows->count && !limited; i++)
        wrong += rows->positions[i] <= rows->positions[i - 1];
    CHECK_INT(wrong, 0);
}

static void test_first_changes_nothing_else(void)
{
    qk_sampled_rows rows = {0}, plain = {0};
    qk_mt19937_seed(&dice, 15);
    for (int i = 0; i < 20000 / test_share(); i++) {
        qk_sampler s = random_sampler();
        qk_draw d = random_draw();
        s.first = (int32_t)roll(s.max_rows > 0 ? s.max_rows + 1 : roll(2) ? 5 : MOST);
        check_first(&s, &d, &rows, &plain);
    }
    qk_sampled_rows_free(&rows);
    qk_sampled_rows_free(&plain);
}

/* The limit's random order is that of the others alone, from the seed that it always had. */
static void test_first_within_a_limit(void)
{
    enum { N = 100, FIRST = 3, LIMIT = 10 };
    qk_sampler s = {.kind = QK_SAMPLE_ALL, .min_bucket_size = 8, .max_rows = LIMIT, .first = FIRST};
    qk_draw d = {.layer = 2, .mask_head = -1, .first_head = 1, .kind = QK_KIND_K, .n_tokens = N};
    qk_sampled_rows rows = {0};
    qk_mt19937 g;
    int32_t others[N - FIRST];
    for (int32_t i = 0; i < N - FIRST; i++) others[i] = FIRST + i;
    qk_mt19937_seed(&g, (uint32_t)qk_seed_row_limit(0, 2, 1, QK_KIND_K));
    qk_torch_shuffle(&g, others, N - FIRST, LIMIT - FIRST);
    qk_sampler_draw(&s, &d, &rows);
    CHECK_INT(rows.count, LIMIT);
    for (int32_t i = 0; i < LIMIT; i++)
        CHECK_INT(rows.positions[i], i < FIRST ? i : others[i - FIRST]);
    s.first = LIMIT; /* nothing is left for the others */
    qk_sampler_draw(&s, &d, &rows);
    CHECK(rows.count == LIMIT && rows.positions[LIMIT - 1] == LIMIT - 1);
    qk_sampled_rows_free(&rows);
}

static void test_expected_rows(void)
{
    qk_sampler s = {.kind = QK_SAMPLE_UNIFORM, .base_rate = 2, .min_bucket_size = 8};
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 80), 20, 1e-9);
    s.first = 4;
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 80), 4 + 19, 1e-9);
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 3), 3, 1e-9);
    s.max_rows = 5;
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 80), 5, 0);
    /* Over many draws it is the mean, which the first ones are in. */
    s = (qk_sampler){.base_rate = 1, .min_bucket_size = 8, .first = 2};
    qk_sampled_rows rows = {0};
    double sum = 0;
    enum { DRAWS = 4000, N = 500 };
    for (int64_t id = 0; id < DRAWS; id++) {
        qk_draw d = {.example_id = id, .mask_head = -1, .kind = QK_KIND_Q, .n_tokens = N};
        qk_sampler_draw(&s, &d, &rows);
        sum += rows.count;
        CHECK(rows.count >= 2 && rows.positions[0] == 0 && rows.positions[1] == 1);
    }
    CHECK_CLOSE(sum / DRAWS, qk_sampler_expected_rows(&s, N), 0.2);
    qk_sampled_rows_free(&rows);
}

/* ---- listed positions ---- */

static const qk_listed_example listed_examples[] = {{-7, 0, 3, 1}, {5, 3, 0, 2}, {900, 3, 2, 3}};
static const int32_t listed_positions[] = {2, 9, 40, 0, 1, 6};
static const qk_listed few = {
    .examples = listed_examples, .positions = listed_positions, .n_examples = 3, .n_positions = 6};

static void check_listed(const qk_sampler *s, int64_t id, int32_t n_tokens, int32_t count,
                         const int32_t *expected)
{
    qk_sampled_rows rows = {0};
    qk_draw d = {.example_id = id, .layer = 1, .mask_head = 3, .n_tokens = n_tokens};
    for (int kind = 0; kind < 2; kind++) {
        d.kind = kind ? QK_KIND_K : QK_KIND_Q;
        qk_sampler_draw(s, &d, &rows);
        CHECK_INT(rows.count, count);
        for (int32_t i = 0; i < rows.count && i < count; i++) {
            CHECK_INT(rows.positions[i], expected[i]);
            CHECK_INT(rows.buckets[i], qk_sampler_bucket(s, expected[i]));
        }
    }
    qk_sampled_rows_free(&rows);
}

static void test_listed(void)
{
    qk_listed listed = few;
    qk_sampler s = {.kind = QK_SAMPLE_UNIFORM, .min_bucket_size = 8, .max_rows = 1};
    s.listed = &listed;
    check_listed(&s, -7, 100, 3, (const int32_t[]){2, 9, 40});
    check_listed(&s, -7, 40, 2, (const int32_t[]){2, 9}); /* below the length alone */
    check_listed(&s, -7, 0, 0, NULL);
    check_listed(&s, 5, 100, 0, NULL);
    check_listed(&s, 900, 100, 2, (const int32_t[]){0, 1});
    for (int64_t id = -10; id < 10; id++)
        if (id != -7) check_listed(&s, id, 100, 0, NULL);
    listed.others = (qk_listed_example){0, 5, 1, 4};
    listed.has_others = true;
    check_listed(&s, 6, 100, 1, (const int32_t[]){6});
    check_listed(&s, INT64_MIN, 100, 1, (const int32_t[]){6});
    check_listed(&s, INT64_MAX, 100, 1, (const int32_t[]){6});
    check_listed(&s, 5, 100, 0, NULL); /* its own list has none */
    s.first = 4;                       /* beside them */
    check_listed(&s, -7, 100, 6, (const int32_t[]){0, 1, 2, 3, 9, 40});
    check_listed(&s, -7, 3, 3, (const int32_t[]){0, 1, 2});
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 100), 4, 0);
    s.first = 0;
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 100), 1.5, 0);
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 1), 1, 0);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_first_changes_nothing_else);
    RUN(test_first_within_a_limit);
    RUN(test_expected_rows);
    RUN(test_listed);
    return test_summary("sampler listed");
}
