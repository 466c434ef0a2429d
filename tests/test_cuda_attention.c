/* The attention ladder against the naive double-precision one: all head sizes, groups, windows,
 * soft caps, packed sequences, captured rows; under nine schedules that must all give the same
 * bits, and alone as in a batch. On the emulator, or on a GPU.
 *
 * Errors allowed, from theory: o is rounded to bfloat16, off by at most 2^-9 |o|, here and in the
 * reference, and v3 rounds p too, off by at most 2^-9 sum p |v|; together at most 3 2^-9 max |v|.
 * Random roundings have a root mean square of about 0.6 of that: 1.2e-3 relative for o
 * alone, 2.5e-3 with p.
 *
 * A log-sum-exp is not rounded: its error is a mean of errors of scores, and the relative error of
 * their sum. A score is a sum of d products of unit normals in some order, off by at most
 * 2^-24 (d + 8) / sqrt(2) times six sigmas, times the scale 1 / sqrt(d); times the factors that
 * make it an exponent of 2, off by 2^-22 of it; with a soft cap c by 4 2^-23 c. exp is within 2 ulp,
 * and sums of 64 a block by half an ulp each time: 2e-6 in all.
 *
 *   test_cuda_attention            a small matrix, for make unit
 *   test_cuda_attention full       the whole one, for make cuda-gates
 *   test_cuda_attention small v3   only one rung; stops at the first case that fails
 *   test_cuda_attention cuda ...   on a GPU */
#include "tests/emulated.h"

#include "kernels/cuda/cuda.h"
#include "tests/wanted.h"

typedef struct attention_case {
    int H, K, d, window;
    float soft_cap;
    int n_seq;
    int32_t starts[5];
} attention_case;

typedef struct outcome {
    float *o, *captured, *lse;
    size_t n, n_captured, n_lse;
    float largest_v;
} outcome;

static bool full;
static int only_rung; /* 0: all */
static bool in_place; /* o in the q columns, as engine/forward/forward.c has it */
static size_t late;   /* not 0: the first 64 keys are small, but one of them is this query's */

/* Some rows of each sequence's beginning, middle and end, for some heads; and two lists that share
 * rows. */
static size_t choose_rows(int32_t *rows, const attention_case *c, int step)
{
    size_t n = 0;
    for (int32_t t = 0; t < c->starts[c->n_seq]; t++)
        if (t % step == step / 2 || t + 1 == c->starts[c->n_seq]) rows[n++] = t;
    return n;
}

/* With keys taken from the last to the first, the first 64 change the maximum of one row only. */
static void make_late(const attention_case *c, float *v)
{
    size_t d = (size_t)c->d, width = qk_heads_width((qk_heads){c->H, c->K, c->d, true});
    for (size_t t = 0; t < (size_t)c->starts[c->n_seq]; t++) {
        float *q = v + t * width, *k = q + (size_t)c->H * d;
        for (size_t i = 0; t < 64 && i < d; i++) k[i] *= 0.01f;
        q[0] = t == late ? 8 : 0;
        k[0] = t == 5 ? 16 : 0;
    }
}

static outcome run_case(const qk_backend *b, const attention_case *c, qk_dtype dtype)
{
    qk_device *dev = open_device(b, dtype);
    qk_heads heads = {c->H, c->K, c->d, true};
    size_t T = (size_t)c->starts[c->n_seq], width = qk_heads_width(heads), d = (size_t)c->d;
    float *v = noises(T * width, 7);
    if (late) make_late(c, v);
    qk_tensor qkv = tensor(b, dev, "qkv", dtype, T, width, v);
    qk_tensor own = tensor(b, dev, "o", dtype, T, (size_t)c->H * d, NULL);
    int32_t *some = qk_alloc(T, sizeof *some), *more = qk_alloc(T, sizeof *more);
    size_t n_some = choose_rows(some, c, 5), n_more = choose_rows(more, c, 17);
    int32_t all_heads[64], last_head = c->H - 1, last_key = c->K - 1;
    for (int h = 0; h < c->H; h++) all_heads[h] = h;
    size_t sizes[6] = {n_some * (size_t)c->H * d, n_more * d, n_more * (size_t)c->K * d, n_some * d,
                       n_some * (size_t)c->K * d, n_more * d};
    outcome r = {.n = T * own.cols, .n_lse = n_some * (size_t)c->H + n_more};
    for (int i = 0; i < 6; i++) r.n_captured += sizes[i];
    r.captured = qk_alloc(r.n_captured + 1, sizeof(float));
    r.lse = qk_alloc(r.n_lse + 1, sizeof(float));
    memset(r.captured, 0xFF, r.n_captured * sizeof(float));
    memset(r.lse, 0xFF, r.n_lse * sizeof(float));
    float *at = r.captured, *after = r.lse + n_some * (size_t)c->H;
    /* The third is the second again, without a log-sum-exp. */
    qk_row_copy q[3] = {{some, all_heads, n_some, (size_t)c->H, at, r.lse},
                        {more, &last_head, n_more, 1, at + sizes[0], after},
                        {more, &last_head, n_more, 1, at + sizes[0], NULL}};
    at += sizes[0] + sizes[1];
    qk_row_copy k[2] = {{more, all_heads, n_more, (size_t)c->K, at, NULL},
                        {some, &last_key, n_some, 1, at + sizes[2], NULL}};
    at += sizes[2] + sizes[3];
    qk_row_copy value_rows[2] = {{some, all_heads, n_some, (size_t)c->K, at, NULL},
                                 {more, &last_key, n_more, 1, at + sizes[4], NULL}};
    qk_layer_capture capture = {q, k, 3, 2, value_rows, 2};
    qk_attention p = {heads,       c->starts,          c->n_seq, c->window, 1 / sqrtf((float)c->d),
                      c->soft_cap, .capture = &capture};
    qk_tensor o = in_place ? qk_cols(qkv, 0, own.cols) : own;
    b->attention(dev, o, qkv, &p);
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    r.o = qk_alloc(r.n, sizeof(float));
    float *out = r.o;
    append_values(b, dev, o, &out);
    for (size_t i = 0; i < T * width; i++)
        if (i % width >= width - (size_t)c->K * d) r.largest_v = fmaxf(r.largest_v, fabsf(v[i]));
    b->free(dev, &qkv), b->free(dev, &own);
    b->close(dev);
    free(v), free(some), free(more);
    return r;
}

static void free_outcome(outcome *r)
{
    free(r->o), free(r->captured), free(r->lse);
}

static const char *name_of(const attention_case *c, int rung, qk_dtype dtype)
{
    static char name[160];
    snprintf(name, sizeof name, "v%d %s d %d H %d K %d window %d cap %g, %d tokens in %d", rung,
             qk_dtype_name(dtype), c->d, c->H, c->K, c->window, (double)c->soft_cap,
             c->starts[c->n_seq], c->n_seq);
    return name;
}

static double allowed_lse(const attention_case *c, const outcome *want)
{
    double largest = 0, d = c->d;
    for (size_t i = 0; i < want->n_lse; i++) largest = fmax(largest, fabs((double)want->lse[i]));
    return 6 * 0x1p-24 * (d + 8) / sqrt(2 * d) + 0x1p-22 * largest +
           4 * 0x1p-23 * (double)c->soft_cap + 2e-6;
}

static void check_outcome(const char *name, const char *schedule, int rung, qk_dtype dtype,
                          const attention_case *c, const outcome *got, const outcome *want)
{
    const char *fault = tested_fault();
    CHECK_MSG(!fault[0], "%s (%s): %s", name, schedule, fault);
    if (fault[0]) return;
    double most = dtype == QK_F32 ? 4e-6 : 3 * (double)want->largest_v / 512;
    double rms = dtype == QK_F32 ? 1e-6 : rung == 3 ? 2.5e-3 : 1.2e-3;
    difference d = compare(got->o, want->o, want->n);
    CHECK_MSG(d.most <= most && d.rms <= rms,
              "%s (%s): off by %.3g (allowed %.3g), rms %.3g (%.3g)", name, schedule, d.most, most,
              d.rms, rms);
    CHECK_MSG(!memcmp(got->captured, want->captured, want->n_captured * sizeof(float)),
              "%s (%s): captured rows differ", name, schedule);
    d = compare(got->lse, want->lse, want->n_lse);
    CHECK_MSG(d.most <= allowed_lse(c, want), "%s (%s): log-sum-exp off by %.3g (allowed %.3g)",
              name, schedule, d.most, allowed_lse(c, want));
}

static void run_all_schedules(const attention_case *c, int rung, qk_dtype dtype, int schedules)
{
    outcome want = run_case(&qk_backend_ref, c, dtype), first = {0};
    const char *name = name_of(c, rung, dtype);
    use_rung(rung);
    schedules = schedules_of(schedules);
    for (int i = 0; i < schedules; i++) {
        /* One schedule of fewer than nine is the last and the most random. */
        const char *schedule = set_schedule(schedules == 1 ? SCHEDULES - 1 : i);
        outcome got = run_case(tested, c, dtype);
        check_outcome(name, schedule, rung, dtype, c, &got, &want);
        if (i)
            CHECK_MSG(!memcmp(first.o, got.o, got.n * sizeof(float)) &&
                          !memcmp(first.lse, got.lse, got.n_lse * sizeof(float)),
                      "%s: %s gives other bits", name, schedule);
        if (i) free_outcome(&got);
        if (!i) first = got;
    }
    uint64_t conflicts = emu_backend_bank_conflicts(), products = emu_backend_tensor_products();
    CHECK_MSG(on_gpu() || rung != 3 || (products > 0 && conflicts == 0),
              "%s: %llu bank conflicts in ldmatrix, %llu products", name,
              (unsigned long long)conflicts, (unsigned long long)products);
    free_outcome(&first), free_outcome(&want);
    if (only_rung && test_failed_checks) exit(1);
}

/* ---- the cases ---- */

static bool wanted(int rung)
{
    return !only_rung || only_rung == rung;
}

/* Shapes that are odd in every way, for all rungs; the first one is small and meets most code. */
static const attention_case odd_cases[] = {
    {4, 2, 64, 0, 0, 3, {0, 65, 66, 200}}, {1, 1, 64, 0, 0, 1, {0, 1}},
    {2, 1, 80, 9, 0, 2, {0, 7, 150}},      {16, 1, 96, 0, 0, 1, {0, 65}},
    {3, 1, 128, 0, 20, 2, {0, 70, 134}},   {4, 4, 128, 64, 0, 1, {0, 200}},
    {2, 1, 256, 33, 15, 2, {0, 64, 129}},  {2, 2, 48, 5, 0, 1, {0, 77}},
    {6, 3, 88, 0, 0, 2, {0, 0, 90}},       {2, 1, 160, 1, 0, 1, {0, 67}},
    {8, 2, 64, 100, 30, 2, {0, 129, 260}},
};
enum { N_ODD = sizeof odd_cases / sizeof *odd_cases };

static void test_v1(void)
{
    for (int i = 0; i < N_ODD; i++) {
        /* The slowest rung, here too: every score is five meetings of a warp. */
        if (full || i < 3) run_all_schedules(&odd_cases[i], 1, QK_BF16, full ? 3 : 1);
        if (full || i == 2) run_all_schedules(&odd_cases[i], 1, QK_F32, 1);
    }
    static const attention_case tiny = {3, 1, 5, 4, 0, 2, {0, 9, 20}}; /* a size no tile likes */
    run_all_schedules(&tiny, 1, QK_F32, SCHEDULES);
}

static void test_v2(void)
{
    for (int i = 0; i < N_ODD; i++) {
        run_all_schedules(&odd_cases[i], 2, QK_BF16, full ? SCHEDULES : 1);
        if (odd_cases[i].d <= 128 && (full || i % 2 == 0)) /* wider rows fall to the first rung */
            run_all_schedules(&odd_cases[i], 2, QK_F32, full ? SCHEDULES : 1);
    }
    static const attention_case odd_size = {3, 1, 50, 4, 0, 2, {0, 9, 70}};
    run_all_schedules(&odd_size, 2, QK_BF16, 3);
    run_all_schedules(&odd_size, 2, QK_F32, 3);
}

static void test_v3(void)
{
    for (int i = 0; i < N_ODD; i++)
        run_all_schedules(&odd_cases[i], 3, QK_BF16, full || i == 0 ? SCHEDULES : 3);
}

/* Every head size x length, with groups, windows and caps in turn. */
static void test_v3_matrix(void)
{
    static const int head_sizes[] = {64, 80, 96, 128, 256}, lengths[] = {1, 7, 64, 65, 300, 700};
    static const int heads[][2] = {{1, 1}, {2, 1}, {4, 1}, {16, 1}, {6, 2}, {5, 1}, {8, 1}};
    static const int windows[] = {0, 100, 0, 1, 65, 0, 300, 13, 0};
    static const float caps[] = {0, 0, 30, 0, 0, 0, 15};
    for (int i = 0, n = 0; i < 5; i++)
        for (int j = 0; j < 6; j++)
            for (int variant = 0; variant < 3; variant++, n++) {
                attention_case c = {.d = head_sizes[i],
                                    .window = windows[n % 9],
                                    .soft_cap = caps[n % 7],
                                    .n_seq = 1,
                                    .starts = {0, lengths[j]}};
                bool many =
                    lengths[j] < 300; /* heads repeat the work of a tile: few of long ones */
                c.H = many ? heads[n % 7][0] : 2;
                c.K = many ? heads[n % 7][1] : 1 + n % 2;
                if (variant == 2 && lengths[j] < 700) { /* packed between others */
                    c.n_seq = 3;
                    c.starts[1] = 7, c.starts[2] = 7 + lengths[j], c.starts[3] = 20 + lengths[j];
                }
                if (lengths[j] == 700 && variant == 1) continue;
                run_all_schedules(&c, 3, QK_BF16, SCHEDULES);
            }
}

/* o may take the place of q. */
static void test_in_place(void)
{
    in_place = true;
    for (int rung = 1; rung <= 3; rung++)
        if (wanted(rung)) run_all_schedules(&odd_cases[0], rung, QK_BF16, rung == 1 ? 1 : 3);
    in_place = false;
}

/* One row of a warp finds its largest score in the last block, all others found theirs before: the
 * vote for shrinking old sums (v3) must hear a single row, wherever it lies. */
static void test_one_late_key(void)
{
    static const attention_case c = {1, 1, 64, 0, 0, 1, {0, 200}};
    static const size_t rows[] = {128, 140, 150, 159, 199};
    for (int rung = 2; rung <= 3; rung++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            late = rows[i];
            if (wanted(rung)) run_all_schedules(&c, rung, QK_BF16, 1);
        }
    late = 0;
}

/* A sequence has the same bits alone and packed behind others. */
static void test_blind_to_the_batch(void)
{
    enum { H = 2, K = 1, D = 128, A = 75, B = 140 };
    qk_heads heads = {H, K, D, true};
    size_t width = qk_heads_width(heads);
    float *v = noises((A + B) * width, 9);
    const qk_backend *b = tested;
    for (int rung = 1; rung <= 3; rung++) {
        if (!wanted(rung)) continue;
        use_rung(rung);
        qk_device *dev = open_device(b, QK_BF16);
        int32_t packed[] = {0, A, A + B}, alone[] = {0, B}, both_heads[] = {0, 1};
        int32_t rows[] = {A, A + 77, A + B - 1}, rows_alone[] = {0, 77, B - 1};
        float out[3 * H * D], lse[3 * H], lse_alone[3 * H];
        qk_row_copy q = {rows, both_heads, 3, H, out, lse};
        qk_layer_capture capture = {&q, NULL, 1, 0, NULL, 0};
        qk_attention p = {heads, packed, 2, 50, 0.1f, 0, .capture = &capture};
        qk_tensor qkv = tensor(b, dev, "qkv", QK_BF16, A + B, width, v);
        qk_tensor both = tensor(b, dev, "o", QK_BF16, A + B, H * D, NULL);
        qk_tensor one = tensor(b, dev, "o", QK_BF16, B, H * D, NULL);
        b->attention(dev, both, qkv, &p);
        CHECK(b->sync(dev, 0, &test_error) == QK_OK);
        p.seq_start = alone;
        p.n_seq = 1;
        q.rows = rows_alone;
        q.lse = lse_alone;
        b->attention(dev, one, qk_rows(qkv, A, B), &p);
        CHECK(b->sync(dev, 0, &test_error) == QK_OK);
        CHECK_STR(tested_fault(), "");
        static float packed_o[B * H * D], alone_o[B * H * D];
        float *to = packed_o;
        append_values(b, dev, qk_rows(both, A, B), &to);
        append_values(b, dev, one, &(float *){alone_o});
        CHECK_MSG(!memcmp(alone_o, packed_o, sizeof alone_o) && !memcmp(lse, lse_alone, sizeof lse),
                  "v%d sees its neighbours", rung);
        b->free(dev, &qkv);
        b->free(dev, &both);
        b->free(dev, &one);
        b->close(dev);
    }
    free(v);
}

/* Tiles without a row that is wanted or captured are left out. */
static void check_tiles(void)
{
    static const int32_t starts[] = {0, 100, 400}, rows[] = {350}, heads[] = {0};
    uint8_t nobody[400] = {0};
    qk_row_copy key = {rows, heads, 1, 1, NULL, NULL};
    qk_layer_capture capture = {.k = &key, .n_k = 1};
    qk_attention p = {.heads = {2, 1, 8, true}, .seq_start = starts, .n_seq = 2};
    size_t n;
    free(cuda_tiles(&p, 64, &n));
    CHECK_INT(n, 2 * (2 + 5));
    p.wanted = nobody;
    free(cuda_tiles(&p, 64, &n));
    CHECK_INT(n, 0);
    nobody[99] = nobody[100] = 1;
    p.capture = &capture;
    attention_tile *tiles = cuda_tiles(&p, 64, &n);
    CHECK_INT(n, 2 * 3);
    for (size_t i = 0; i < n; i++)
        CHECK(tiles[i].first == 64 || tiles[i].first == 100 || tiles[i].first == 292);
    free(tiles);
}

static void test_wanted_rows(void)
{
    for (int rung = 1; rung <= 3; rung++) {
        if (!wanted(rung)) continue;
        use_rung(rung);
        for (int f = 0; f < (rung == 3 ? 1 : 2); f++) {
            qk_dtype format = f ? QK_F32 : QK_BF16;
            qk_device *dev = open_device(tested, format);
            check_wanted(tested, dev, format, "cuda");
            check_row_list(tested, dev);
            tested->close(dev);
        }
        CHECK_STR(tested_fault(), "");
    }
    check_tiles();
}

/* Nobody hears of a NaN by a number: rows with one among their scores have a log-sum-exp that is
 * none, and the others have theirs. */
static void test_nan(void)
{
    enum { T = 150, H = 2, D = 64, W = 4 * D, BAD = 70, WINDOW = 20 };
    static int32_t rows[T], heads[] = {0, 1};
    static float lse[H * T], out[H * T * D];
    for (int t = 0; t < T; t++) rows[t] = t;
    float *v = noises(T * W, 5);
    v[BAD * W + 2 * D] = NAN; /* a key */
    v[9 * W + D] = NAN;       /* a query of head 1 */
    for (int rung = 1; rung <= 3; rung++) {
        if (!wanted(rung)) continue;
        use_rung(rung);
        qk_device *dev = open_device(tested, QK_BF16);
        const int32_t starts[] = {0, T};
        qk_row_copy q = {rows, heads, T, H, out, lse};
        qk_layer_capture capture = {&q, NULL, 1, 0, NULL, 0};
        qk_attention p = {{H, 1, D, true}, starts, 1, WINDOW, 0.125f, 0, .capture = &capture};
        qk_tensor qkv = tensor(tested, dev, "qkv", QK_BF16, T, W, v);
        tested->attention(dev, qk_cols(qkv, 0, H * D), qkv, &p);
        CHECK(tested->sync(dev, 0, &test_error) == QK_OK);
        CHECK_STR(tested_fault(), "");
        int wrong = 0;
        for (int h = 0; h < H; h++)
            for (int t = 0; t < T; t++)
                wrong += ((t >= BAD && t < BAD + WINDOW) || (t == 9 && h == 1)) !=
                         (bool)isnan(lse[h * T + t]);
        CHECK_MSG(!wrong, "v%d: %d rows", rung, wrong);
        tested->free(dev, &qkv);
        tested->close(dev);
    }
    free(v);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, " small full cuda v1 v2 v3 ");
    full = test_word("full");
    for (int rung = 1; rung <= 3; rung++)
        if (test_word((char[]){'v', (char)('0' + rung), 0})) only_rung = rung;
    if (test_word("cuda")) test_on_gpu();
    if (wanted(1)) RUN(test_v1);
    if (wanted(2)) RUN(test_v2);
    if (wanted(3)) RUN(test_v3);
    RUN(test_in_place);
    RUN(test_one_late_key);
    RUN(test_blind_to_the_batch);
    RUN(test_nan);
    RUN(test_wanted_rows);
    if (full && wanted(3)) RUN(test_v3_matrix);
    return test_summary("cuda attention");
}
