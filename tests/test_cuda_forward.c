/* The whole forward pass with the CUDA kernels, on the emulator or a GPU: q and k of every layer
 * and head against the goldens of tiny models (or generated.h where they are not there), within what they allow (bfloat16: what
 * the same rounding costs transformers, from each golden's meta.json; float32: 2e-6 per layer); and
 * the same bits alone, together and in reverse order.
 *
 *   test_cuda_forward         the four families of make unit
 *   test_cuda_forward full    more of them, and all rungs of the attention ladder
 *   test_cuda_forward all     every golden that is there
 *   test_cuda_forward cuda ...   on a GPU */
#include "tests/emulated.h"

#include <dirent.h>

#include "engine/tools/verify.h"
#include "tests/generated.h"
#include "tests/golden_bound.h"
#include "tests/slice_runs.h"

static void check_golden(const char *name, const char *folder, qk_dtype compute, int rung)
{
    char model[1024], golden[1024], meta[1024];
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(golden, sizeof golden, "%s/golden.safetensors", folder);
    snprintf(meta, sizeof meta, "%s/meta.json", folder);
    use_rung(rung);
    qk_model_options options = {
        .backend = tested, .device = {.compute = compute, .threads = 1}, .last_layer = -1};
    qk_verification v;
    qk_status s = qk_verify(&v, model, golden, &options, &test_error);
    CHECK_MSG(s == QK_OK, "%s: %s", name, test_error.message);
    CHECK_STR(tested_fault(), "");
    if (s != QK_OK) return;
    double allowed = compute == QK_F32 ? 2e-6 * v.layers : stated_bf16_error(meta), worst = 0;
    size_t judged = 0;
    CHECK_MSG(allowed > 0, "%s states no bfloat16 error", name);
    CHECK_MSG(v.same_bits, "%s: bits depend on the batch", name);
    for (size_t i = 0; i < v.count; i++) {
        if (v.items[i].layer < 0 && compute != QK_F32) continue; /* the hidden state has no bound */
        judged++;
        if (!(v.items[i].rms_error <= worst)) worst = v.items[i].rms_error;
    }
    printf("%-26s %s  %3zu tensors, rms %.3g, allowed %.3g\n", name, qk_dtype_name(compute), judged,
           worst, allowed);
    CHECK_MSG(judged >= 2 * (size_t)v.layers && worst <= allowed,
              "%s %s: off by %.3g, allowed %.3g", name, qk_dtype_name(compute), worst, allowed);
    qk_verification_free(&v);
}

static bool full;

static void check_named(const char *name, qk_dtype compute, int rung)
{
    char path[256];
    snprintf(path, sizeof path, "forward/%s/meta.json", name);
    char *meta = test_whole_golden(path);
    if (!meta) {
        char made[] = "/tmp/qk_generated_XXXXXX";
        CHECK(mkdtemp(made) && generated_golden(name, made));
        check_golden(name, made, compute, rung);
        generated_remove(made);
        return;
    }
    *strrchr(meta, '/') = 0;
    check_golden(name, meta, compute, rung);
    free(meta);
}

static void test_llama3_1(void)
{
    check_named("llama3_1", QK_BF16, 0);
}
static void test_qwen3(void)
{
    check_named("qwen3", QK_BF16, 0);
    check_named("qwen3", QK_F32, 0);
    for (int rung = 1; rung < 3 && full; rung++) check_named("qwen3", QK_BF16, rung);
}
static void test_gemma3_text(void)
{
    check_named("gemma3_text", QK_BF16, 0);
}
static void test_glm_interleaved_partial(void)
{
    check_named("glm_interleaved_partial", QK_BF16, 0);
}

/* The golden that this repository carries itself. */
static void test_carried(void)
{
    check_golden("tests/data/forward/qwen3", "tests/data/forward/qwen3", QK_BF16, 0);
}

/* Soft caps, experts, norms over all heads, float16, scales: one golden each. */
static void test_more_families(void)
{
    static const char *const names[] = {
        "gemma2_softcap",           "qwen3_moe",  "mixtral",
        "olmo2_full_width_qk_norm", "qwen2_bias", "ministral3_yarn_q_scale",
        "granite_multipliers"};
    for (size_t i = 0; full && i < sizeof names / sizeof *names; i++) {
        check_named(names[i], QK_BF16, 0);
        check_named(names[i], QK_F32, 0);
    }
}

/* Every folder of goldens below `folder`, in both formats. */
static void check_folder(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort), goldens = 0;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char path[512], file[600];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        snprintf(file, sizeof file, "%s/golden.safetensors", path);
        if (test_has_file(file)) {
            check_golden(name, path, QK_BF16, 0);
            check_golden(name, path, QK_F32, 0);
            goldens++;
        }
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    CHECK_MSG(goldens > 0, "%s holds no golden", folder);
}

static void test_all_shared(void)
{
    char *folder = test_whole_golden("forward/qwen3/meta.json");
    if (!folder) SKIP("the goldens are not there (QK_SHARED)");
    for (int i = 0; i < 2; i++) *strrchr(folder, '/') = 0;
    check_folder(folder);
    free(folder);
}

static void test_all_carried(void)
{
    check_folder("tests/data/forward");
}

/* Windows in all layers: a text begins late, too. */
static void narrow(qk_spec *s)
{
    for (int l = 0; l < s->layers; l++) s->layer[l].window = 9 + l;
}

/* What only some rows are computed for is what it is with all of them (engine/forward/slice.h). */
static void check_slice(const char *name, qk_dtype compute, int rung, void (*change)(qk_spec *))
{
    char model[256];
    snprintf(model, sizeof model, "tests/data/forward/%s/model", name);
    use_rung(rung);
    for (int c = 0; c < SLICE_CASES; c++)
        if ((full && c % 3 == rung) || strstr(slice_cases[c].name, "listed") ||
            slice_cases[c].layer == 2)
            slice_check(tested, compute, model, &slice_cases[c], change);
    use_rung(0);
    CHECK_STR(tested_fault(), "");
}

static void test_slice(void)
{
    check_slice("qwen3", QK_BF16, 0, NULL);
    check_slice("qwen3", QK_BF16, 0, narrow);
    for (int rung = 0; rung < 3 && full; rung++) check_slice("olmo3_windows", QK_F32, rung, NULL);
    for (int rung = 1; rung < 3 && full; rung++) check_slice("qwen3", QK_BF16, rung, narrow);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, " full all cuda ");
    full = test_word("full");
    if (test_word("cuda")) test_on_gpu();
    set_schedule(SCHEDULES - 1);
    if (test_word("all")) {
        RUN(test_all_carried);
        RUN(test_all_shared);
        return test_summary("cuda forward");
    }
    RUN(test_carried);
    RUN(test_llama3_1);
    RUN(test_qwen3);
    RUN(test_gemma3_text);
    RUN(test_glm_interleaved_partial);
    RUN(test_more_families);
    RUN(test_slice);
    return test_summary("cuda forward");
}
