/* engine/bench: what a series of measurements says, how the command line is read, the reports of
 * numbers that are made up, and the model that lies in no file.
 *
 * `test_bench page FILE` writes the page of those numbers and exits: tests/interop/bench.py looks at
 * it in a browser. */
#include "tests/test.h"

#include <unistd.h>

#include "engine/bench/measure.h"
#include "engine/bench/random_model.h"
#include "engine/bench/report.h"
#include "engine/bench/rows.h"
#include "engine/families/presets.h"
#include "engine/forward/forward.h"
#include "engine/model/model.h"
#include "engine/tools/synth.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/peak.h"

/* ---- statistics ---- */

static void test_median(void)
{
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2}, one[] = {7};
    CHECK(qk_median(odd, 3) == 2 && qk_median(even, 4) == 2.5 && qk_median(one, 1) == 7);
}

/* Ranks and confidences as tables of the binomial distribution have them. */
static void test_ranks(void)
{
    static const struct {
        size_t n, rank;
        double confidence;
    } known[] = {{1, 1, 0},         {2, 1, 0.5},     {5, 1, 0.9375},  {6, 1, 0.96875},
                 {8, 1, 0.9921875}, {9, 2, 0.9609},  {10, 2, 0.9785}, {12, 3, 0.9614},
                 {15, 4, 0.9648},   {20, 6, 0.9586}, {25, 8, 0.9567}, {100, 40, 0.9648}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double confidence;
        size_t rank = qk_interval_rank(known[i].n, &confidence);
        CHECK_MSG(rank == known[i].rank && fabs(confidence - known[i].confidence) < 1e-4,
                  "n %zu: rank %zu, confidence %.6f", known[i].n, rank, confidence);
    }
}

static qk_difference difference_of(const double *percent, size_t n)
{
    double with[32], without[32];
    for (size_t i = 0; i < n; i++) {
        without[i] = 2 + (double)i; /* drifts: only the ratios count */
        with[i] = without[i] * (1 + percent[i] / 100);
    }
    return qk_difference_of(with, without, n);
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void test_differences(void)
{
    const double clear[] = {0.3, 0.5, 0.2, 0.4, 0.6, 0.1}, hidden[] = {0.3, -0.2, 0.4, 0.1, 0.2, 0},
                 faster[] = {-0.3, -0.2, -0.4, -0.1, -0.2, -0.5}, few[] = {1, 1, 1, 1, 1};
    qk_difference d = difference_of(clear, 6);
    CHECK(near(d.percent, 0.35) && near(d.low, 0.1) && near(d.high, 0.6) && d.n == 6);
    CHECK(qk_difference_judge(&d) == QK_TOLD);
    d = difference_of(hidden, 6);
    CHECK(qk_difference_judge(&d) == QK_NOISE && near(qk_noise_of(&d), 0.4));
    d = difference_of(faster, 6);
    CHECK(qk_difference_judge(&d) == QK_NOISE && near(qk_noise_of(&d), 0.5));
    d = difference_of(few, 5);
    CHECK(qk_difference_judge(&d) == QK_FEW && near(d.confidence, 0.9375));
    d = difference_of(few, 0);
    CHECK(qk_difference_judge(&d) == QK_UNMEASURED);
}

/* One round in seven that others disturbed does not move the median, and widens the interval. */
static void test_outlier(void)
{
    const double disturbed[] = {0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 250};
    qk_difference d = difference_of(disturbed, 7);
    CHECK(near(d.percent, 0.3) && near(d.low, 0.3) && near(d.high, 250));
}

/* ---- turns ---- */

/* Every stage has every place as often, over as many rounds as make a circle. */
static void test_turns(void)
{
    for (size_t n = 3; n <= 4; n++) {
        int places[4][4] = {{0}};
        for (size_t r = 0; r < 2 * n; r++) {
            bool there[4] = {false};
            for (size_t i = 0; i < n; i++) {
                size_t stage = qk_bench_turn(r, i, n);
                CHECK(stage < n && !there[stage]);
                there[stage] = true;
                places[stage][i]++;
            }
        }
        for (size_t s = 0; s < n; s++)
            for (size_t i = 0; i < n; i++) CHECK_INT(places[s][i], 2);
    }
    for (size_t i = 0; i < 3; i++) /* forth and back */
        CHECK(qk_bench_turn(0, i, 3) == i && qk_bench_turn(1, i, 3) == 2 - i);
}

/* ---- the command line ---- */

static void test_tokens(void)
{
    qk_bench_options o = {0};
    CHECK_INT(qk_bench_parse_tokens("512", &o, &test_error), QK_OK);
    CHECK(o.n_tokens == 1 && o.tokens[0] == 512);
    CHECK_INT(qk_bench_parse_tokens("1,4096,16384", &o, &test_error), QK_OK);
    CHECK(o.n_tokens == 3 && o.tokens[0] == 1 && o.tokens[2] == 16384);
    static const char *const wrong[] = {"",     "0",    "-1",    "512,",    ",512",
                                        "5 12", "4e3",  "512;1", "512,512", "99999999999999999999",
                                        "0x10", " 512", "1,,2",  "2097152", "1,2,3,4,5,6,7,8,9"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK_MSG(qk_bench_parse_tokens(wrong[i], &o, &test_error) == QK_ERR_USAGE, "%s", wrong[i]);
}

static void test_samplers(void)
{
    qk_sampler s;
    CHECK_INT(qk_bench_parse_sampler("log_uniform:64/16", &s, &test_error), QK_OK);
    CHECK(s.kind == QK_SAMPLE_LOG_UNIFORM && s.min_bucket_size == 64 && s.base_rate == 16);
    CHECK_INT(qk_bench_parse_sampler("uniform:32", &s, &test_error), QK_OK);
    CHECK(s.kind == QK_SAMPLE_UNIFORM && s.min_bucket_size == 32 && s.base_rate == 1);
    CHECK_INT(qk_bench_parse_sampler("uniform:32/.5", &s, &test_error), QK_OK);
    CHECK(s.base_rate == 0.5);
    CHECK_INT(qk_bench_parse_sampler("all", &s, &test_error), QK_OK);
    CHECK(s.kind == QK_SAMPLE_ALL && s.min_bucket_size == 128 && s.max_rows == 0);
    static const char *const wrong[] = {
        "",           "log",           "all:128/2",         "uniform:",
        "uniform:/1", "uniform:0",     "uniform:1/0",       "uniform:1/-2",
        "uniform:-1", "uniform:1/x",   "uniform:1/nan",     "uniform:1/1e999",
        "uniform:1/", "uniform:1/2/3", "uniform:4294967296"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK_MSG(qk_bench_parse_sampler(wrong[i], &s, &test_error) == QK_ERR_USAGE, "%s",
                  wrong[i]);
}

/* ---- reports ---- */

static qk_bench_timing timing(double seconds, double bytes, qk_difference wall)
{
    return (qk_bench_timing){.measured = true,
                             .seconds = seconds,
                             .least = seconds - 0.25,
                             .most = seconds + 0.25,
                             .cpu_seconds = 2 * seconds,
                             .bytes = bytes,
                             .wall = wall,
                             .cpu = wall};
}

static qk_bench_result made_up(void)
{
    const qk_difference none = {0}, told = {12, 0.3125, 0.125, 0.5, 0.96},
                        more = {12, 2, 1.5, 3, 0.96}, noise = {12, 0.0625, -0.375, 0.25, 0.96},
                        few = {5, 1, -1, 3, 0.9375};
    qk_bench_result r = {.model = "a <model>, \"b\" & c",
                         .device = "CPU, AVX2, 2 threads",
                         .dtype = "float32",
                         .sampler = "log_uniform:128/16",
                         .disk = "/tmp",
                         .build = "0.0.0",
                         .is_random = true,
                         .timed = true,
                         .layers = 2,
                         .q_heads = 8,
                         .k_heads = 4,
                         .head_dim = 64,
                         .threads = 2,
                         .peaks = {1e11, 0, 2e10},
                         .n_lengths = 2,
                         .seconds = 60};
    r.lengths[0] = (qk_bench_length){.tokens = 512,
                                     .rounds = 12,
                                     .flops = 4e10,
                                     .rows = 1000,
                                     .files = 12,
                                     .commit_seconds = 0.0125,
                                     .merge_seconds = 1.5,
                                     .merge_cpu_seconds = 0.5,
                                     .stages = {[QK_BENCH_FORWARD] = timing(1, 4e9, none),
                                                [QK_BENCH_ROWS] = timing(1, 256e3, noise),
                                                [QK_BENCH_UNIT] = timing(1.03125, 260e3, told),
                                                [QK_BENCH_MERGED] = timing(1.02, 200e3, more)}};
    r.lengths[1] = r.lengths[0];
    r.lengths[1].tokens = 4096;
    r.lengths[1].flops = 6e11;
    r.lengths[1].rounds = 5;
    r.lengths[1].stages[QK_BENCH_FORWARD].seconds = 10;
    r.lengths[1].stages[QK_BENCH_GATHER] = timing(10, 256e3, more);
    r.lengths[1].stages[QK_BENCH_UNIT].wall = few;
    return r;
}

static void test_added(void)
{
    static const struct {
        qk_difference d;
        const char *text;
    } known[] = {
        {{12, 0.3125, 0.125, 0.5, 0.96}, "+0.31 % (0.12 to 0.50)"},
        {{12, 0.1, -0.3, 0.35, 0.96}, "below 0.4 %"},
        {{12, 0.1, -0.4, 0.35, 0.96}, "below 0.4 %"},
        {{12, 0.01, -0.02, 0.031, 0.96}, "below 0.04 %"},
        {{12, 1, -12.01, 3, 0.96}, "below 12.1 %"},
        {{3, 1, -1, 3, 0.75}, "? (-1.0 to 3.0)"},
        {{0}, "-"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char text[QK_ADDED_TEXT];
        qk_bench_added_text(&known[i].d, text);
        CHECK_STR(text, known[i].text);
    }
}

static void test_text(void)
{
    static const char wanted[] =
        "model   a <model>, \"b\" & c (random weights), float32, 2 layers, 8 query and 4 key heads "
        "of "
        "64\n"
        "device  CPU, AVX2, 2 threads\n"
        "rows    log_uniform:128/16, queries and keys of every head\n"
        "files   in /tmp\n"
        "peaks   100 GFLOP/s of float32 multiply-adds, 20.0 GB/s copied\n"
        "\n"
        "512 tokens: 12 rounds; 1.0 k rows of a document\n"
        "  of a document     seconds             tokens/s     bytes  added to the forward    added "
        "CPU "
        "time\n"
        "  forward           1.00 (0.75-1.25)         512    4.0 GB\n"
        "  + rows taken      1.00 (0.75-1.25)         512    256 kB  below 0.4 %             below "
        "0.4 "
        "%\n"
        "  + unit written    1.03 (0.78-1.28)         496    260 kB  +0.31 % (0.12 to 0.50)  +0.31 "
        "% "
        "(0.12 to 0.50)\n"
        "  + merged          1.02 (0.77-1.27)         502    200 kB  +2.00 % (1.50 to 3.00)  +2.00 "
        "% "
        "(1.50 to 3.00)\n"
        "  once for each unit: its commit, 12.5 ms, which is in the above\n"
        "  once for a run: making 12 files and having them on the disk, 1.50 s, which is not\n"
        "  forward: 40.0 GFLOP/s, 40 % of the peak, by CPU time 40 %; 4.0 GB/s, 20 % of copies\n"
        "\n"
        "added: the median of the rounds' ratios and its interval of 95 %;  below: no more than "
        "the "
        "noise of this machine;  ?: too few rounds\n";
    qk_bench_result r = made_up();
    qk_buf out = {0};
    r.n_lengths = 1;
    qk_bench_text(&r, &out);
    CHECK_STR(qk_buf_str(&out), wanted);
    qk_buf_free(&out);
}

static void test_csv(void)
{
    qk_bench_result r = made_up();
    qk_buf out = {0};
    qk_bench_csv(&r, &out);
    const char *text = qk_buf_str(&out), *second = strchr(text, '\n') + 1;
    CHECK(!strncmp(text, "model,device,dtype,layers,sampler,tokens,rounds,stage,", 54));
    static const char row[] =
        "\"a <model>, \"\"b\"\" & c\",\"CPU, AVX2, 2 threads\",float32,2,log_uniform:128/16,512,12,"
        "forward,1,0.75,1.25,2,512,4e+09,4e+10,,,,,unmeasured,,,,,unmeasured\n";
    CHECK(!strncmp(second, row, sizeof row - 1));
    /* A difference that the noise hides is no number. */
    CHECK(strstr(text, ",rows,1,0.75,1.25,2,512,256000,,,-0.375,0.25,0.96,noise,"));
    CHECK(strstr(text, ",unit,1.03125,0.78125,1.28125,2.0625,496.485,260000,,0.3125,0.125,0.5,"));
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++) lines++;
    CHECK_INT(lines, 1 + 4 + 5);
    qk_buf_free(&out);
}

static void test_json(void)
{
    qk_bench_result r = made_up();
    qk_json_out out = {0};
    qk_arena arena = {0};
    const qk_json *tree;
    qk_bench_json(&r, &out);
    CHECK_INT(qk_json_parse(&arena, (char *)out.buf.data, out.buf.size, "json", &tree, &test_error),
              QK_OK);
    CHECK(qk_json_is_string(qk_json_get(tree, "model"), r.model));
    CHECK(qk_json_get(qk_json_get(tree, "peaks"), "bfloat16_flops_per_second")->type ==
          QK_JSON_T_NULL);
    const qk_json *length = qk_json_get(tree, "lengths")->first;
    const qk_json *rows = qk_json_get(length, "stages")->first->next, *unit = rows->next;
    const qk_json *hidden = qk_json_get(rows, "added"), *told = qk_json_get(unit, "added");
    CHECK(qk_json_is_string(qk_json_get(hidden, "verdict"), "noise"));
    CHECK(qk_json_get(hidden, "percent")->type == QK_JSON_T_NULL);
    CHECK(qk_json_get(hidden, "high")->number == 0.25);
    CHECK(qk_json_get(told, "percent")->number == 0.3125);
    qk_buf_free(&out.buf);
    qk_arena_free(&arena);
}

/* Tags open and close in order, names and values of attributes are quoted, no text has a bare '<'. */
static void check_tags(const char *text)
{
    char open[64][16];
    int depth = 0;
    for (const char *at = text; (at = strchr(at, '<')); at++) {
        char name[16];
        bool closes = at[1] == '/';
        size_t n = strcspn(at + 1 + closes, " >/");
        const char *end = strchr(at, '>');
        CHECK(end && n && n < sizeof name);
        if (!end || !n || n >= sizeof name) return;
        snprintf(name, sizeof name, "%.*s", (int)n, at + 1 + closes);
        if (*name == '!' || !strcmp(name, "meta") || end[-1] == '/') continue;
        if (!closes) {
            CHECK(depth < 64);
            memcpy(open[depth++], name, sizeof name);
            continue;
        }
        CHECK_MSG(depth && !strcmp(open[depth - 1], name), "</%s> within <%s>", name,
                  depth ? open[depth - 1] : "nothing");
        if (depth) depth--;
    }
    CHECK_INT(depth, 0);
}

static void test_html(void)
{
    qk_bench_result r = made_up();
    qk_buf out = {0};
    qk_bench_html(&r, &out);
    const char *text = qk_buf_str(&out);
    check_tags(text);
    CHECK(strstr(text, "a &lt;model&gt;, &quot;b&quot; &amp; c"));
    CHECK(!strstr(text, "<model>") && !strstr(text, "http:") && !strstr(text, "https:"));
    CHECK(strstr(text, "name=\"viewport\"") && strstr(text, "prefers-color-scheme:dark"));
    static const char *const charts[] = {"stages", "added", "roofline"};
    for (size_t i = 0; i < 3; i++) {
        char *title = qk_strf("<title id=\"%s-title\">", charts[i]);
        CHECK(strstr(text, title));
        free(title);
    }
    CHECK(strstr(text, "below 0.4 %") && strstr(text, "<table>"));
    CHECK(!strstr(text, "nan") && !strstr(text, "inf\""));
    qk_buf_free(&out);
}

/* The fake GPU's times mean nothing, and neither does a roof that was not measured. */
static void test_untimed(void)
{
    qk_bench_result r = made_up();
    qk_buf text = {0}, page = {0};
    r.timed = false;
    r.peaks = (qk_bench_peaks){0};
    for (int s = 0; s < QK_BENCH_STAGES; s++)
        r.lengths[0].stages[s].wall = r.lengths[0].stages[s].cpu = (qk_difference){0};
    r.n_lengths = 1;
    qk_bench_text(&r, &text);
    CHECK(strstr(qk_buf_str(&text), "peaks   -\n"));
    CHECK(
        strstr(qk_buf_str(&text), "  forward           -                          -    4.0 GB\n"));
    CHECK(!strstr(qk_buf_str(&text), "FLOP/s") && !strstr(qk_buf_str(&text), " s,"));
    qk_bench_html(&r, &page);
    check_tags(qk_buf_str(&page));
    CHECK(!strstr(qk_buf_str(&page), "<svg"));
    qk_buf_free(&text);
    qk_buf_free(&page);
}

/* ---- peaks ---- */

/* Every instruction set that runs here counts what it does; one that multiplies bfloat16 says so. */
static void test_peaks(void)
{
    char names[128], *rest = NULL;
    cpu_isa_names(names, sizeof names);
    int known = 0;
    for (char *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
        const cpu_isa *isa = cpu_isa_find(name);
        double one = isa->peak_f32(1);
        CHECK(one >= 2 * 16 && isa->peak_f32(10) == 10 * one);
        bool bf16 = !strcmp(name, "amx") || !strcmp(name, "avx512bf16");
        CHECK(bf16 == (isa->peak_bf16 != NULL));
        if (bf16) CHECK(isa->peak_bf16(10) > isa->peak_f32(10));
        known++;
    }
    CHECK(known > 0);
    CHECK(qk_cpu_peak(QK_F32, 2, 0.01) > 0 && qk_cpu_copy_rate(2, 0) > 0);
}

/* ---- the model ---- */

enum { TOKENS = 9 };

static void run_hidden(const char *folder, const qk_random_model *random, float *out)
{
    qk_model model;
    qk_model_options options = {
        .backend = &qk_backend_cpu, .device = {.compute = QK_BF16, .threads = 2}, .last_layer = -1};
    int32_t ids[TOKENS] = {1, 4000, 17, 4095, 0, 99, 2048, 3, 3}, starts[] = {0, TOKENS};
    if (random) qk_random_model_give(random, &options);
    CHECK_INT(qk_model_load(&model, folder, &options, &test_error), QK_OK);
    qk_forward *f = qk_forward_new(&model);
    const qk_batch batch = {ids, starts, 1};
    CHECK_INT(qk_forward_run(f, &batch, &(qk_capture_hooks){0}, &test_error), QK_OK);
    CHECK_INT(qk_forward_hidden(f, out, &test_error), QK_OK);
    qk_forward_free(f);
    qk_model_free(&model);
}

/* The model in memory is the one that `qkengine synth` writes; fused tensors, experts and windows are
 * those of tests/interop/bench.py. */
static void test_random_model(void)
{
    char folder[] = "/tmp/qk_bench_XXXXXX";
    const qk_preset *preset = qk_preset_find("smollm2-135m");
    qk_random_model *random;
    qk_arena arena = {0};
    CHECK(mkdtemp(folder));
    const qk_synth_options options = {.name = preset->name,
                                      .config = qk_preset_config(preset, &arena),
                                      .layers = 2,
                                      .dtype = QK_BF16};
    qk_synth_result written;
    CHECK_INT(qk_synth(&options, folder, &written, &test_error), QK_OK);
    CHECK_INT(qk_random_model_make(&random, preset, 2, QK_BF16, &test_error), QK_OK);
    float *a = qk_zalloc(2 * TOKENS * 576, sizeof *a), *b = a + TOKENS * 576;
    run_hidden(folder, NULL, a);
    run_hidden("memory", random, b);
    CHECK(a[5] != 0 && !memcmp(a, b, TOKENS * 576 * sizeof *a));
    free(a);
    qk_random_model_free(random);
    qk_remove_tree(folder, &test_error);
    CHECK_INT(qk_random_model_make(&random, preset, 31, QK_BF16, &test_error), QK_ERR_USAGE);
    qk_random_model_free(random);
    qk_arena_free(&arena);
}

static int write_page(const char *path)
{
    qk_bench_result r = made_up();
    qk_buf out = {0};
    qk_bench_html(&r, &out);
    qk_status s = qk_write_file(path, out.data, out.size, &test_error);
    qk_buf_free(&out);
    return s != QK_OK;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "page")) return write_page(argv[2]);
    test_begin(argc, argv, "");
    RUN(test_median);
    RUN(test_ranks);
    RUN(test_differences);
    RUN(test_outlier);
    RUN(test_turns);
    RUN(test_tokens);
    RUN(test_samplers);
    RUN(test_added);
    RUN(test_text);
    RUN(test_csv);
    RUN(test_json);
    RUN(test_html);
    RUN(test_untimed);
    RUN(test_peaks);
    RUN(test_random_model);
    return test_summary("bench");
}
