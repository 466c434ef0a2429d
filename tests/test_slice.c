/* engine/forward/slice: which rows a layer has, on paper and against a walk through every single
 * dependency; and whole captures, which must have the bytes that they have without the slice. */
#include "tests/generated.h"
#include "tests/slice_runs.h"
#include "tests/test.h"

#include "engine/forward/row_set.h"
#include "engine/forward/slice.h"

enum { LAYERS = 5, TOKENS = 1000, SEQUENCES = 4 };

/* ---- sets of rows ---- */

static void test_row_sets(void)
{
    uint64_t random = 7;
    for (int round = 0; round < 200; round++) {
        uint64_t set[4] = {0};
        bool in[256] = {false};
        size_t ends[2], first = 0, last = 0, n = 0, low = 256, high = 0;
        for (int i = 0; i < 2; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            ends[i] = (random >> 33) % 257;
        }
        size_t begin = ends[0] < ends[1] ? ends[0] : ends[1],
               end = ends[0] < ends[1] ? ends[1] : ends[0];
        qk_row_add_range(set, begin, end);
        qk_row_add(set, 200);
        for (size_t r = 0; r < 256; r++) in[r] = (r >= begin && r < end) || r == 200;
        for (size_t r = 0; r < 256; r++) CHECK(qk_row_in(set, r) == in[r]);
        size_t from = ends[0] / 2, to = 256 - ends[1] / 3;
        for (size_t r = from; r < to; r++) {
            n += in[r];
            if (in[r] && low == 256) low = r;
            if (in[r]) high = r;
        }
        CHECK_INT(qk_row_count(set, from, to), n);
        CHECK(qk_row_span(set, from, to, &first, &last) == (n > 0));
        if (n) CHECK(first == low && last == high);
    }
}

/* ---- on paper ---- */

/* What each layer captures. */
typedef struct wishes {
    bool rows[LAYERS][TOKENS], lse[LAYERS][TOKENS];
} wishes;

static void want(void *context, int layer, uint64_t *rows, uint64_t *with_lse)
{
    const wishes *w = context;
    for (size_t t = 0; t < TOKENS; t++) {
        if (w->rows[layer][t]) qk_row_add(rows, t);
        if (w->lse[layer][t]) qk_row_add(with_lse, t);
    }
}

static qk_spec spec_of(qk_layer_spec *layers)
{
    return (qk_spec){.layers = LAYERS, .layer = layers, .D = 8, .H = 2, .K = 1, .d = 4, .F = 16};
}

/* Two texts of 600 and 400 tokens; rows 10 and 500 are captured in layer 2, and in layer 4, the last
 * one, row 300 of the first text and row 5 of the second. */
static void test_paper(void)
{
    static wishes w;
    qk_layer_spec layers[LAYERS] = {{0}};
    static const int32_t starts[] = {0, 600, TOKENS};
    const qk_spec spec = spec_of(layers);
    const qk_batch batch = {NULL, starts, 2};
    const qk_capture_hooks hooks = {.context = &w, .wanted = want};
    w.rows[2][10] = w.rows[2][500] = w.rows[4][300] = w.rows[4][605] = true;
    qk_slice *s = qk_slice_new();
    qk_slice_plan(s, &(qk_slice_model){&spec, LAYERS, QK_LAST_QK}, &batch, &hooks);
    CHECK(!qk_slice_is_whole(s));
    CHECK_INT(qk_slice_rows(s), 501 + 6);
    const qk_layer_rows *r = qk_slice_layer(s, 0);
    CHECK(r->n == 507 && r->n_keep == 507 && r->attends && !r->wanted && !r->moves);
    CHECK(r->tokens[500] == 500 && r->tokens[501] == 600);
    CHECK(r->n_seq == 2 && r->seq_start[1] == 501 && r->seq_start[2] == 507);
    /* Rows 301 to 499 are keys of row 500 here, and that is all. */
    r = qk_slice_layer(s, 1);
    CHECK(r->n == 507 && r->n_keep == 308 && r->moves);
    CHECK(r->keep[300] == 300 && r->keep[301] == 500 && r->keep[302] == 501);
    CHECK(r->wanted && r->wanted[300] && !r->wanted[301] && r->wanted[500] && r->wanted[501]);
    /* Row 500 gives what is wanted of it and attends to nothing. */
    r = qk_slice_layer(s, 2);
    CHECK(r->n == 308 && r->n_keep == 307 && r->tokens[301] == 500 && r->tokens[302] == 600);
    CHECK(r->n_seq == 3 && r->seq_start[1] == 301 && r->seq_start[2] == 302);
    CHECK(r->moves && r->keep[301] == 302 && r->wanted && !r->wanted[301]);
    r = qk_slice_layer(s, 3);
    CHECK_INT(r->n, 307);
    CHECK(r->n_keep == 2 && r->keep[0] == 300 && r->keep[1] == 306);
    r = qk_slice_layer(s, 4);
    CHECK(r->n == 2 && r->tokens[0] == 300 && r->tokens[1] == 605 && !r->attends && !r->n_keep);
    /* Nothing is wanted: nothing is done. */
    memset(&w, 0, sizeof w);
    qk_slice_plan(s, &(qk_slice_model){&spec, LAYERS, QK_LAST_QK}, &batch, &hooks);
    CHECK_INT(qk_slice_rows(s), 0);
    for (int l = 0; l < LAYERS; l++) CHECK_INT(qk_slice_layer(s, l)->n, 0);
    /* Nobody says what is wanted: all is done. */
    qk_slice_plan(s, &(qk_slice_model){&spec, LAYERS, QK_LAST_WHOLE}, &batch,
                  &(qk_capture_hooks){0});
    CHECK(qk_slice_is_whole(s));
    for (int l = 0; l < LAYERS; l++) {
        r = qk_slice_layer(s, l);
        CHECK(r->n == TOKENS && r->n_keep == TOKENS && r->attends && !r->wanted && !r->moves);
        CHECK(r->n_seq == 2 && r->seq_start[1] == 600 && r->seq_start[2] == TOKENS);
    }
    qk_slice_free(s);
}

/* A long text whose rows go on, but for two in front: they stay where they are. */
static void test_few_rows_do_not_move_many(void)
{
    static wishes w;
    qk_layer_spec layers[LAYERS] = {{0}};
    static const int32_t starts[] = {0, 10, TOKENS};
    const qk_spec spec = spec_of(layers);
    const qk_batch batch = {NULL, starts, 2};
    const qk_capture_hooks hooks = {.context = &w, .wanted = want};
    w.rows[1][9] = w.rows[2][7] = w.rows[3][TOKENS - 1] = true;
    qk_slice *s = qk_slice_new();
    qk_slice_plan(s, &(qk_slice_model){&spec, 4, QK_LAST_QK}, &batch, &hooks);
    CHECK_INT(qk_slice_layer(s, 0)->n, TOKENS);
    const qk_layer_rows *r = qk_slice_layer(s, 1);
    CHECK(r->n == TOKENS && r->n_keep == TOKENS && !r->moves); /* 8 and 9 end here */
    CHECK(r->wanted[7] && !r->wanted[8] && !r->wanted[9] && r->wanted[10]);
    r = qk_slice_layer(s, 2);
    CHECK(r->n == TOKENS && r->n_seq == 1 + 1 && r->seq_start[1] == 10);
    CHECK(r->n_keep == 1 && r->keep[0] == TOKENS - 1);
    qk_slice_free(s);
}

/* ---- every single dependency ---- */

static uint64_t state = 99;

static uint32_t roll(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

/* Rows that layer l must have, walking back from its captured rows and the rows behind it. */
static void depend(const qk_spec *s, const int32_t *starts, int l, const wishes *w,
                   const bool *after, bool *rows)
{
    for (int t = 0; t < TOKENS; t++) {
        rows[t] |= s->layer[l].absent ? after[t] : w->rows[l][t];
        if (s->layer[l].absent || !(after[t] || w->lse[l][t])) continue;
        int window = s->layer[l].window, begin = 0;
        for (int i = 0; i < SEQUENCES && starts[i] <= t; i++) begin = starts[i];
        for (int key = t; key >= begin && (!window || key > t - window); key--) rows[key] = true;
    }
}

/* How many queries have a sequence that a window has cut. */
static size_t check_layer(const qk_layer_rows *r, const qk_spec *spec, const int32_t *starts, int l,
                          const wishes *w, const bool *must, const bool *after)
{
    static int32_t index[TOKENS];
    size_t missing = 0, kept = 0, needed = 0, cut = 0;
    memset(index, -1, sizeof index);
    for (size_t i = 0; i < r->n; i++) index[r->tokens[i]] = (int32_t)i;
    for (int t = 0; t < TOKENS; t++) missing += must[t] && index[t] < 0;
    CHECK_INT(missing, 0);
    for (size_t i = 0; i < r->n_keep; i++) kept += after[r->tokens[r->keep[i]]];
    for (int t = 0; t < TOKENS; t++) needed += after[t];
    CHECK(kept == needed && r->n_keep >= needed);
    for (int i = 0; i < r->n_seq; i++) CHECK(r->seq_start[i] < r->seq_start[i + 1]);
    CHECK(!r->n_seq || (r->seq_start[0] == 0 && (size_t)r->seq_start[r->n_seq] == r->n));
    for (int t = 0; t < TOKENS; t++) {
        if (!after[t] && !w->lse[l][t]) continue;
        /* A query, with its keys in one piece that begins where blocks may. */
        int window = spec->layer[l].window, seq = 0, begin = 0;
        for (int i = 0; i < SEQUENCES && starts[i] <= t; i++) begin = starts[i];
        while (r->seq_start[seq + 1] <= index[t]) seq++;
        int first = r->tokens[r->seq_start[seq]];
        int reach = window && t - begin >= window ? t - window + 1 : begin;
        CHECK(first >= begin && (first - begin) % QK_SLICE_STEP == 0 && first <= reach);
        CHECK(t - first == index[t] - r->seq_start[seq]);
        CHECK(r->attends && (!r->wanted || r->wanted[index[t]]));
        cut += first > begin;
    }
    if (cut) CHECK(spec->layer[l].window > 0);
    return cut;
}

static void test_every_dependency(void)
{
    static wishes w;
    static bool must[LAYERS + 1][TOKENS];
    qk_slice *s = qk_slice_new();
    size_t sliced = 0, cut = 0;
    for (int round = 0; round < 60; round++) {
        qk_layer_spec layers[LAYERS] = {{0}};
        const qk_spec spec = spec_of(layers);
        int32_t starts[SEQUENCES + 1] = {0};
        for (int i = 1; i < SEQUENCES; i++)
            starts[i] = starts[i - 1] + (int32_t)roll(2 + (TOKENS - (uint32_t)starts[i - 1]) / 2);
        starts[SEQUENCES] = TOKENS;
        memset(&w, 0, sizeof w);
        memset(must, 0, sizeof must);
        int windows = round % 3;
        for (int l = 0; l < LAYERS; l++) {
            layers[l].window = windows == 2 || (windows && roll(2)) ? 5 + (int)roll(60) : 0;
            layers[l].absent = l && l < LAYERS - 1 && !roll(6);
            for (uint32_t n = roll(windows == 2 ? 2 : 12); n-- > 0 && !layers[l].absent;) {
                uint32_t t = roll(TOKENS);
                w.rows[l][t] = true;
                if (!roll(3)) w.lse[l][t] = true;
            }
        }
        for (int l = LAYERS - 1; l >= 0; l--) depend(&spec, starts, l, &w, must[l + 1], must[l]);
        const qk_batch batch = {NULL, starts, SEQUENCES};
        const qk_capture_hooks hooks = {.context = &w, .wanted = want};
        qk_slice_plan(s, &(qk_slice_model){&spec, LAYERS, QK_LAST_ATTENTION}, &batch, &hooks);
        for (int l = 0; l < LAYERS; l++) {
            if (layers[l].absent) continue;
            const qk_layer_rows *r = qk_slice_layer(s, l);
            cut += check_layer(r, &spec, starts, l, &w, must[l], must[l + 1]);
            sliced += TOKENS - r->n;
        }
    }
    CHECK(sliced > 50000 && cut > 100);
    qk_slice_free(s);
}

/* ---- the same bytes ---- */

static const char *const backends[] = {"cpu", "ref"};

static void check_folder(const char *folder, int first_case, int step, qk_dtype compute)
{
    for (int b = 0; b < (compute == QK_F32 ? 2 : 1); b++)
        for (int c = first_case; c < SLICE_CASES; c += b ? 3 * step : step)
            slice_check(qk_backend_find(backends[b]), compute, folder, &slice_cases[c], NULL);
}

static void test_same_bytes(void)
{
    static const char *const names[] = {"qwen3", "llama_bf16_sharded", "olmo3_windows"};
    for (int i = 0; i < 3; i++) {
        char *folder = qk_strf("tests/data/forward/%s/model", names[i]);
        check_folder(folder, 0, 1, QK_F32);
        check_folder(folder, 0, 1, QK_BF16);
        free(folder);
    }
}

/* Each with some of the cases. */
static void test_families(void)
{
    static const char *const names[] = {
        "gemma",
        "gemma2_softcap",
        "gemma3_text",
        "glm4_sandwich",
        "glm_interleaved_partial",
        "granite_multipliers",
        "llama_dynamic_ntk",
        "ministral3_yarn_q_scale",
        "ministral_mixed_windows",
        "mistral_v0_1_window",
        "mixtral",
        "mllama_text",
        "olmo2_full_width_qk_norm",
        "phi3_fused",
        "phi3_longrope",
        "qwen2_bias",
        "qwen2_window_from_layer",
        "qwen3_moe",
        "smollm3_nope_layers",
    };
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        char made_here[] = "/tmp/qk_slice_model_XXXXXX";
        CHECK(mkdtemp(made_here) && generated_model(names[i], made_here));
        char *folder = qk_path_join(made_here, "model");
        check_folder(folder, i % 3, 3, QK_F32);
        check_folder(folder, (i + 1) % 3, 3, QK_BF16);
        free(folder);
        generated_remove(made_here);
    }
}

/* Windows in all layers: a text begins late, too. */
static void narrow(qk_spec *s)
{
    for (int l = 0; l < s->layers; l++) s->layer[l].window = 9 + l;
}

static void test_windows_everywhere(void)
{
    for (int c = 0; c < SLICE_CASES; c++)
        for (int b = 0; b < 2; b++)
            slice_check(qk_backend_find(backends[b]), QK_F32, "tests/data/forward/qwen3/model",
                        &slice_cases[c], narrow);
}

/* Rows go through the wide parts of a layer in many pieces. */
static void test_small_chunks(void)
{
    qk_backend small = *qk_backend_find("cpu");
    small.chunk = 16;
    for (int c = 0; c < SLICE_CASES; c++)
        slice_check(&small, c % 2 ? QK_F32 : QK_BF16, "tests/data/forward/qwen3/model",
                    &slice_cases[c], c % 3 ? NULL : narrow);
}

/* Where weights are read again for each batch, too; a layer that no row enters is left out of a
 * pass, and the next one begins in front. */
static void test_weights_read_again(void)
{
    slice_layers_in_memory = 2;
    for (int c = 0; c < SLICE_CASES; c++)
        if (slice_cases[c].layer == 0)
            slice_check(qk_backend_find("cpu"), QK_F32, "tests/data/forward/olmo3_windows/model",
                        &slice_cases[c], NULL);
    slice_layers_in_memory = 0;
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_row_sets);
    RUN(test_paper);
    RUN(test_few_rows_do_not_move_many);
    RUN(test_every_dependency);
    RUN(test_same_bytes);
    RUN(test_families);
    RUN(test_windows_everywhere);
    RUN(test_small_chunks);
    RUN(test_weights_read_again);
    return test_summary("slice");
}
