/* sampler/positions: buckets, masks, thresholds and row limits of the goldens, and their edges. */
#include "tests/test_sampler_vectors.h"

#include "sampler/mt19937.h"
#include "sampler/positions.h"

static qk_sampler sampler_of(const char *kind, int64_t size, const char *rate)
{
    return (qk_sampler){
        .kind = sampler_kind(kind), .base_rate = strtod(rate, NULL), .min_bucket_size = size};
}

static int32_t floor_log2(int64_t x)
{
    return 63 - __builtin_clzll((uint64_t)x);
}

/* The rule in floating point: floor(float32(log2(float32(p) + 1))). */
static int32_t log_bucket_by_rule(int32_t p)
{
    return (int32_t)floorf((float)log2((double)((float)p + 1.0f)));
}

/* Every position up to `last`, against exact arithmetic and the list of differences. */
static void check_log_range(int32_t last, int32_t differs[][4], int n_differs)
{
    const qk_sampler s = sampler_of("log_uniform", 1, "1");
    int next = 0;
    long wrong = 0;
    for (int32_t p = 0; p <= last; p++) {
        int32_t expected = floor_log2((int64_t)p + 1);
        while (next < n_differs && p > differs[next][1]) next++;
        if (next < n_differs && p >= differs[next][0]) {
            CHECK_INT(expected, differs[next][3]);
            expected = differs[next][2];
        }
        wrong += qk_sampler_bucket(&s, p) != expected;
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(next, n_differs);
}

static void check_log_rule_at_edges(void)
{
    const qk_sampler s = sampler_of("log_uniform", 1, "1");
    for (int b = 0; b <= 26; b++) {
        for (int32_t d = -3000; d <= 100; d++) {
            int32_t p = (1 << b) + d;
            if (p < 0 || p >= QK_SAMPLER_MAX_TOKENS) continue;
            CHECK_INT(qk_sampler_bucket(&s, p), log_bucket_by_rule(p));
        }
    }
}

static void check_bucket_samples(const vectors *v, const char *kind, const int64_t *positions,
                                 size_t n, int buckets_field)
{
    qk_sampler s = sampler_of(kind, field_int(v, 1), "1");
    size_t n_buckets;
    int64_t *buckets = field_list(v, buckets_field, &n_buckets);
    CHECK_INT(n_buckets, n);
    for (size_t i = 0; i < n && i < n_buckets; i++) {
        if (positions[i] < QK_SAMPLER_MAX_TOKENS)
            CHECK_INT(qk_sampler_bucket(&s, (int32_t)positions[i]), buckets[i]);
    }
    free(buckets);
}

/* Where float32 division starts to differ from integers, and how often up to `last`. */
static void check_uniform_range(const vectors *v, int32_t last)
{
    int64_t size = field_int(v, 1), count = 0, first[3] = {-1, -1, -1};
    qk_sampler s = sampler_of("uniform", size, "1");
    for (int64_t edge = 0; edge <= 1 << 24; edge += size) { /* monotonous: edges are enough */
        if (edge) CHECK_INT(qk_sampler_bucket(&s, (int32_t)edge - 1), edge / size - 1);
        CHECK_INT(qk_sampler_bucket(&s, (int32_t)edge), edge / size);
    }
    for (int32_t p = 1 << 24; p <= last; p++) {
        int64_t bucket = qk_sampler_bucket(&s, p);
        if (bucket != p / size && count++ == 0)
            first[0] = p, first[1] = bucket, first[2] = p / size;
    }
    CHECK_INT(count, field_int(v, 3));
    size_t n;
    int64_t *expected = field_list(v, 2, &n);
    CHECK_INT(n, count ? 3 : 0);
    CHECK(!memcmp(first, expected, n * sizeof *first));
    free(expected);
}

static void test_buckets(void)
{
    int32_t differs[16][4], n_differs = 0, log_last = 0, uniform_last = 0;
    int64_t *positions = NULL;
    size_t n = 0;
    vectors v = vectors_open("buckets.txt");
    while (vectors_next(&v)) {
        if (vectors_is(&v, "log_range")) log_last = (int32_t)field_int(&v, 1);
        if (vectors_is(&v, "uniform_range")) uniform_last = (int32_t)field_int(&v, 1);
        if (vectors_is(&v, "log_differs")) {
            for (int i = 0; i < 4; i++) differs[n_differs][i] = (int32_t)field_int(&v, i + 1);
            n_differs++;
        }
        if (strstr(v.fields[0], "_positions")) {
            free(positions);
            positions = field_list(&v, 1, &n);
        }
        if (vectors_is(&v, "log")) {
            qk_sampler s = sampler_of("log_uniform", field_int(&v, 1), "1");
            CHECK_INT(INT64_C(1) << qk_sampler_bucket(&s, 0), field_int(&v, 2));
            check_bucket_samples(&v, "log_uniform", positions, n, 3);
        }
        if (vectors_is(&v, "uniform")) {
            check_bucket_samples(&v, "uniform", positions, n, 4);
            check_bucket_samples(&v, "all", positions, n, 4);
            check_uniform_range(&v, uniform_last);
        }
    }
    free(positions);
    CHECK_INT(log_last, QK_SAMPLER_MAX_TOKENS - 1);
    CHECK_INT(n_differs, 6);
    check_log_range(log_last, differs, n_differs);
    check_log_rule_at_edges();
}

/* The mask of a "mask" or "every_length" line for n tokens. */
static void draw_line(const vectors *v, int32_t n_tokens, qk_sampled_rows *rows)
{
    qk_sampler s = sampler_of(field(v, 1), field_int(v, 2), field(v, 3));
    qk_draw d = {.layer = (int32_t)field_int(v, 4),
                 .mask_head = (int32_t)field_int(v, 5),
                 .kind = (qk_kind)*field(v, 6),
                 .example_id = field_int(v, 7),
                 .n_tokens = n_tokens};
    qk_sampler_draw(&s, &d, rows);
    for (int32_t i = 0; i < rows->count; i++)
        CHECK_INT(rows->buckets[i], qk_sampler_bucket(&s, rows->positions[i]));
}

static void check_mask_hash(const vectors *v, const char *expected, const qk_sampled_rows *rows)
{
    int64_t *wide = malloc(((size_t)rows->count + 1) * sizeof *wide);
    for (int32_t i = 0; i < rows->count; i++) wide[i] = rows->positions[i];
    check_hash(v, expected, wide, (size_t)rows->count);
    free(wide);
}

static void check_mask(const vectors *v, const int64_t *lengths, size_t n_lengths,
                       const int64_t *hashed, size_t n_hashed, qk_sampled_rows *rows)
{
    size_t n, n_first;
    int64_t *counts = field_list(v, 8, &n), *first = field_list(v, 10, &n_first);
    CHECK_INT(n, n_lengths);
    for (size_t i = 0; i < n_lengths; i++) {
        draw_line(v, (int32_t)lengths[i], rows);
        CHECK_INT(rows->count, counts[i]);
    }
    for (size_t i = 0; i < n_hashed; i++) {
        draw_line(v, (int32_t)hashed[i], rows);
        check_mask_hash(v, field(v, 9) + 17 * i, rows);
    }
    CHECK(n_first > 0 || rows->count == 0);
    for (size_t i = 0; i < n_first; i++) CHECK_INT(rows->positions[i], first[i]);
    free(counts), free(first);
}

static void check_every_length(const vectors *v, qk_sampled_rows *rows)
{
    enum { N = 20000 };
    int64_t *counts = malloc(N * sizeof *counts);
    size_t n;
    int64_t *kept = field_list(v, 11, &n);
    draw_line(v, N, rows);
    CHECK_INT(rows->count, n);
    for (size_t i = 0; i < n; i++) CHECK_INT(rows->positions[i], kept[i]);
    for (int32_t length = 1; length <= N; length++) {
        if (length <= 1300 || length % 97 == 0) { /* else a prefix, which was just checked */
            draw_line(v, length, rows);
            counts[length - 1] = rows->count;
        } else {
            counts[length - 1] = counts[length - 2];
            for (size_t i = 0; i < n; i++) counts[length - 1] += kept[i] == length - 1;
        }
    }
    CHECK_INT(counts[999], field_int(v, 8));
    CHECK_INT(counts[N - 1], field_int(v, 9));
    check_hash(v, field(v, 10), counts, N);
    free(counts), free(kept);
}

static bool is_kept(const qk_sampled_rows *rows, int64_t position)
{
    for (int32_t i = 0; i < rows->count; i++)
        if (rows->positions[i] == position) return true;
    return false;
}

/* A rate whose limit is the drawn value exactly, or just beside it. */
static void check_threshold(const vectors *v, qk_sampled_rows *rows)
{
    int64_t index = field_int(v, 4);
    qk_draw d = {.example_id = field_int(v, 1),
                 .layer = (int32_t)field_int(v, 2),
                 .kind = (qk_kind)*field(v, 3),
                 .mask_head = -1,
                 .n_tokens = 400};
    qk_mt19937 g;
    qk_mt19937_seed(&g, (uint32_t)qk_seed_shared_mask(d.example_id, d.layer, d.kind));
    for (int64_t i = 0; i < index; i++) qk_mt19937_next(&g);
    CHECK_INT(qk_torch_rand24(qk_mt19937_next(&g)), field_int(v, 5));
    qk_sampler s = sampler_of("uniform", field_int(v, 6), field(v, 7));
    qk_sampler_draw(&s, &d, rows);
    CHECK_INT(is_kept(rows, index), field_int(v, 8));
    s.kind = QK_SAMPLE_LOG_UNIFORM; /* the golden's log buckets are all 4: true below 31 */
    if (index >= 31) return;
    qk_sampler_draw(&s, &d, rows);
    CHECK_INT(is_kept(rows, index), field_int(v, 8));
}

static void test_masks(void)
{
    size_t n_lengths = 0, n_hashed = 0, masks = 0, thresholds = 0, every = 0;
    int64_t *lengths = NULL, *hashed = NULL;
    qk_sampled_rows rows = {0};
    vectors v = vectors_open("masks.txt");
    while (vectors_next(&v)) {
        if (vectors_is(&v, "lengths")) lengths = field_list(&v, 1, &n_lengths);
        if (vectors_is(&v, "hashed_lengths")) hashed = field_list(&v, 1, &n_hashed);
        if (vectors_is(&v, "mask")) {
            check_mask(&v, lengths, n_lengths, hashed, n_hashed, &rows);
            masks++;
        }
        if (vectors_is(&v, "every_length")) check_every_length(&v, &rows), every++;
        if (vectors_is(&v, "threshold")) check_threshold(&v, &rows), thresholds++;
    }
    CHECK_INT(masks, 168);
    CHECK_INT(n_hashed, 4);
    CHECK_INT(every, 1);
    CHECK_INT(thresholds, 48);
    qk_sampled_rows_free(&rows);
    free(lengths), free(hashed);
}

/* One case of max_rows.json: its chunk lines follow in the order the rows come out. */
static void check_limit_case(vectors *v, qk_sampled_rows *rows)
{
    qk_sampler s = sampler_of(field(v, 1), field_int(v, 2), field(v, 3));
    s.max_rows = field_int(v, 4);
    size_t n_heads, n_ids, n_lengths, n;
    int64_t *heads = field_list(v, 5, &n_heads), *ids = field_list(v, 8, &n_ids),
            *lengths = field_list(v, 9, &n_lengths);
    CHECK_INT(n_ids, n_lengths);
    for (int32_t layer = 0; layer <= 9; layer += 9) {
        for (int keys = 0; keys < 2; keys++) {
            for (size_t i = 0; i < n_ids; i++) {
                qk_draw d = {.example_id = ids[i],
                             .layer = layer,
                             .mask_head = -1,
                             .first_head = n_heads ? (int32_t)heads[0] : 0,
                             .kind = keys ? QK_KIND_K : QK_KIND_Q,
                             .n_tokens = (int32_t)lengths[i]};
                qk_sampler_draw(&s, &d, rows);
                if (rows->count == 0) continue;
                CHECK(vectors_next(v) && vectors_is(v, "chunk"));
                CHECK_INT(field_int(v, 1), layer);
                CHECK_INT(*field(v, 2), d.kind);
                CHECK_INT(field_int(v, 3), d.first_head);
                CHECK_INT(field_int(v, 4), ids[i]);
                int64_t *positions = field_list(v, 5, &n);
                CHECK_INT(rows->count, n);
                for (size_t r = 0; r < n && r < (size_t)rows->count; r++) {
                    CHECK_INT(rows->positions[r], positions[r]);
                    CHECK_INT(rows->buckets[r], qk_sampler_bucket(&s, rows->positions[r]));
                }
                free(positions);
            }
        }
    }
    free(heads), free(ids), free(lengths);
}

static void test_row_limits(void)
{
    int cases = 0;
    qk_sampled_rows rows = {0};
    vectors v = vectors_open("limits.txt");
    while (vectors_next(&v)) {
        CHECK(vectors_is(&v, "case")); /* a chunk here was not drawn */
        check_limit_case(&v, &rows);
        cases++;
    }
    CHECK_INT(cases, 11);
    qk_sampled_rows_free(&rows);
}

static void test_no_tokens_and_one(void)
{
    qk_sampled_rows rows = {0};
    for (int kind = QK_SAMPLE_LOG_UNIFORM; kind <= QK_SAMPLE_ALL; kind++) {
        qk_sampler s = {.kind = (qk_sampler_kind)kind, .base_rate = INFINITY, .min_bucket_size = 1};
        qk_draw d = {.mask_head = -1, .kind = QK_KIND_Q};
        qk_sampler_draw(&s, &d, &rows);
        CHECK_INT(rows.count, 0);
        CHECK_CLOSE(qk_sampler_expected_rows(&s, 0), 0, 0);
        d.n_tokens = 1;
        qk_sampler_draw(&s, &d, &rows);
        CHECK(rows.count == 1 && rows.positions[0] == 0 && rows.buckets[0] == 0);
        CHECK_CLOSE(qk_sampler_expected_rows(&s, 1), 1, 0);
    }
    qk_sampled_rows_free(&rows);
}

/* Rates and sizes far outside what anyone wants still keep everything, or almost nothing. */
static void test_extreme_rates(void)
{
    qk_sampled_rows rows = {0};
    const double rates[] = {1e-300, 1e-9, 0x1p31, 1e39, 1e308, INFINITY};
    for (int i = 0; i < 6; i++) {
        for (int kind = QK_SAMPLE_LOG_UNIFORM; kind <= QK_SAMPLE_UNIFORM; kind++) {
            qk_sampler s = {.kind = (qk_sampler_kind)kind,
                            .base_rate = rates[i],
                            .min_bucket_size = INT64_C(1) << 31};
            qk_draw d = {.mask_head = -1, .kind = QK_KIND_K, .n_tokens = 5000};
            qk_sampler_draw(&s, &d, &rows);
            CHECK_INT(rows.count, i < 2 ? 0 : 5000);
            CHECK_INT(qk_sampler_bucket(&s, 4999), kind == QK_SAMPLE_UNIFORM ? 0 : 31);
        }
    }
    qk_sampled_rows_free(&rows);
}

/* Across positions where a segment ends inside a block of 624 words, and past the quirks. */
static void test_long_context_against_the_plain_rule(void)
{
    enum { N = 4200000 };
    qk_sampled_rows rows = {0};
    qk_sampler s = sampler_of("log_uniform", 128, "300.7");
    qk_draw d = {.example_id = -5, .layer = 3, .mask_head = -1, .kind = QK_KIND_K, .n_tokens = N};
    qk_sampler_draw(&s, &d, &rows);
    qk_mt19937 g;
    qk_mt19937_seed(&g, (uint32_t)qk_seed_shared_mask(-5, 3, QK_KIND_K));
    int32_t next = 0;
    for (int32_t p = 0; p < N; p++) {
        float value = (float)qk_torch_rand24(qk_mt19937_next(&g)) / 16777216.0f;
        int32_t bucket = log_bucket_by_rule(p) < 7 ? 7 : log_bucket_by_rule(p);
        if (!(value < fminf(1.0f, 300.7f / exp2f((float)bucket)))) continue;
        if (next == rows.count || rows.positions[next] != p || rows.buckets[next] != bucket) break;
        next++;
    }
    CHECK_INT(next, rows.count);
    CHECK_CLOSE(rows.count, qk_sampler_expected_rows(&s, N), 4 * sqrt(rows.count));
    qk_sampled_rows_free(&rows);
}

static void test_expected_rows(void)
{
    qk_sampler s = sampler_of("uniform", 16, "4");
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 1000), 250, 0);
    s.max_rows = 100;
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 1000), 100, 0);
    s = sampler_of("log_uniform", 4, "2"); /* 7 at 1/2, 8 at 1/4, 16 at 1/8, 1 at 1/16 */
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 32), 3.5 + 2 + 2 + 0.0625, 0);
    s.kind = QK_SAMPLE_ALL;
    CHECK_CLOSE(qk_sampler_expected_rows(&s, 32), 32, 0);
}

/* The mean over examples comes out as expected: the draws and the plan agree. */
static void test_expected_rows_on_average(void)
{
    qk_sampled_rows rows = {0};
    qk_sampler s = sampler_of("log_uniform", 64, "10");
    double total = 0;
    for (int64_t id = 0; id < 2000; id++) {
        qk_draw d = {.example_id = id, .mask_head = -1, .kind = QK_KIND_Q, .n_tokens = 3000};
        qk_sampler_draw(&s, &d, &rows);
        total += rows.count;
    }
    double expected = qk_sampler_expected_rows(&s, 3000);
    CHECK_CLOSE(total / 2000, expected, 4 * sqrt(expected / 2000));
    qk_sampled_rows_free(&rows);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_buckets);
    RUN(test_masks);
    RUN(test_row_limits);
    RUN(test_no_tokens_and_one);
    RUN(test_extreme_rates);
    RUN(test_long_context_against_the_plain_rule);
    RUN(test_expected_rows);
    RUN(test_expected_rows_on_average);
    return test_summary("sampler positions");
}
