/* The host runtime of the CUDA backend (kernels/cuda) on the fake GPU (tests/fake_cuda): goldens in
 * every order of queued work, the ways of rows and memory, and what happens when any call fails.
 *
 *   test_cuda_runtime         what make CUDA=1 unit runs: a few goldens, every 7th failing call
 *   test_cuda_runtime full    all goldens, every call */
#include "tests/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/forward.h"
#include "engine/verify.h"
#include "kernels/cuda/backend_cuda.h"
#include "tests/fake_cuda/fake_cuda.h"

static bool full;

/* Nothing was done wrongly, nothing is left. */
static void check_clean(const char *what)
{
    const char *fault = fake_cuda_fault(), *leaks = fake_cuda_leaks();
    CHECK_MSG(!*fault, "%s: %s", what, fault);
    CHECK_MSG(!*leaks, "%s leaks %s", what, leaks);
    CHECK_MSG(!fake_cuda_hazard_count(), "%s frees what queued work uses", what);
}

/* ---- (1) goldens, in all orders: the same bits ---- */

typedef struct schedule {
    fake_order order;
    unsigned seed;
} schedule;

static const schedule schedules[] = {{FAKE_EAGER, 1}, {FAKE_LATEST, 1}, {FAKE_LAZY, 1},
                                     {FAKE_LAZY, 2},  {FAKE_LAZY, 3},   {FAKE_LAZY, 4}};
enum { SCHEDULES = sizeof schedules / sizeof *schedules };

static uint64_t fingerprint(const qk_verification *v)
{
    uint64_t h = 0xCBF29CE484222325;
    for (size_t i = 0; i < v->count; i++) {
        size_t n = 1;
        for (int k = 0; k < v->items[i].n_dims; k++) n *= v->items[i].shape[k];
        for (size_t k = 0; k < n; k++) h = (h ^ qk_float_bits(v->items[i].data[k])) * 0x100000001B3;
    }
    return h;
}

/* The largest number under "bf16_error". */
static double stated_bf16_error(const char *meta)
{
    qk_arena arena = {0};
    const qk_json *root;
    double largest = 0;
    CHECK(qk_json_parse_file(&arena, meta, 1 << 24, &root, &test_error) == QK_OK);
    const qk_json *errors = qk_json_get(root, "bf16_error");
    for (const qk_json *layer = errors ? errors->first : NULL; layer; layer = layer->next)
        for (const qk_json *e = layer->first; e; e = e->next)
            if (e->number > largest) largest = e->number;
    qk_arena_free(&arena);
    return largest;
}

static void judge(const char *name, const char *meta, const qk_verification *v, qk_dtype compute)
{
    double allowed = compute == QK_F32 ? 2e-6 * v->layers : stated_bf16_error(meta), worst = 0;
    CHECK_MSG(v->same_bits, "%s: bits depend on the batch", name);
    CHECK_MSG(allowed > 0, "%s states no bfloat16 error", name);
    for (size_t i = 0; i < v->count; i++) {
        if (v->items[i].layer < 0 && compute != QK_F32)
            continue; /* the hidden state has no bound */
        if (!(v->items[i].rms_error <= worst)) worst = v->items[i].rms_error;
    }
    CHECK_MSG(v->count >= 2 * (size_t)v->layers && worst <= allowed,
              "%s: off by %.3g, allowed %.3g", name, worst, allowed);
}

static void check_golden(const char *folder, qk_dtype compute, int first, int n_schedules)
{
    char model[1024], golden[1024], meta[1024];
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(golden, sizeof golden, "%s/golden.safetensors", folder);
    snprintf(meta, sizeof meta, "%s/meta.json", folder);
    uint64_t bits = 0;
    for (int i = 0; i < n_schedules; i++) {
        const schedule *s = &schedules[(first + i) % SCHEDULES];
        fake_cuda_reset();
        fake_cuda_set_order(s->order, s->seed);
        qk_model_options options = {.backend = &qk_backend_cuda,
                                    .device = {.compute = compute, .threads = 1},
                                    .last_layer = -1};
        qk_verification v;
        qk_status status = qk_verify(&v, model, golden, &options, &test_error);
        CHECK_MSG(status == QK_OK, "%s: %s", folder, test_error.message);
        if (status == QK_OK) {
            judge(folder, meta, &v, compute);
            CHECK_MSG(!i || fingerprint(&v) == bits, "%s: bits depend on the order", folder);
            bits = fingerprint(&v);
            qk_verification_free(&v);
        }
        check_clean(folder);
    }
}

static void test_carried_golden(void)
{
    check_golden("tests/data/forward/qwen3", QK_BF16, 0, SCHEDULES);
    check_golden("tests/data/forward/qwen3", QK_F32, 0, SCHEDULES);
}

/* One order each, in turn; full: three. */
static void test_goldens(void)
{
    static const char *const few[] = {"qwen3_moe", "gemma3_text", "qwen2_bias", NULL};
    static const char *const all[] = {"gemma",
                                      "gemma2_softcap",
                                      "gemma3_text",
                                      "glm4_sandwich",
                                      "granite_multipliers",
                                      "glm_interleaved_partial",
                                      "llama3_1",
                                      "llama_linear_bias",
                                      "ministral3_yarn_q_scale",
                                      "mistral_v0_1_window",
                                      "mixtral",
                                      "olmo2_full_width_qk_norm",
                                      "phi3_fused",
                                      "phi3_longrope",
                                      "qwen2_bias",
                                      "qwen3",
                                      "qwen3_moe",
                                      "smollm3_nope_layers",
                                      NULL};
    int i = 0;
    for (const char *const *name = full ? all : few; *name; name++) {
        char path[256];
        snprintf(path, sizeof path, "forward/%s/meta.json", *name);
        char *meta = test_golden(path);
        if (!meta) SKIP("the golden %s is not there (QK_SHARED)", *name);
        *strrchr(meta, '/') = 0;
        check_golden(meta, QK_BF16, i++, full ? 3 : 1);
        check_golden(meta, QK_F32, i++, full ? 3 : 1);
        free(meta);
    }
}

/* ---- a small run: load, two batches, the hidden state, close ---- */

enum { LAYERS = 3, H = 4, K = 2, D = 32, HIDDEN = 64 }; /* tests/data/forward/qwen3 */
enum { BATCHES = 2, ROWS = 5, COPIES = 4, MOST_TOKENS = 17, UNTOUCHED = 0xAB };
static const char model_folder[] = "tests/data/forward/qwen3/model";

typedef struct rows {
    float pre_q[H][ROWS][D], pre_k[1][ROWS][D], q[2][ROWS][D], k[K][ROWS][D];
} rows;

typedef struct outcome {
    qk_status status;
    qk_error err;
    int batch; /* that runs */
    rows arrives[LAYERS], taken[BATCHES][LAYERS];
    bool delivered[BATCHES][LAYERS];
    float hidden[MOST_TOKENS][HIDDEN];
    uint64_t calls_before_close;
} outcome;

static const int32_t positions[BATCHES][ROWS] = {{0, 3, 6, 8, 11}, {1, 2, 9, 15, 16}};
static const int32_t heads[] = {0, 1, 2, 3}, last_heads[] = {1};

static const qk_layer_capture *copies_of(outcome *o, int layer, bool pre)
{
    static qk_row_copy all[2][2];
    static qk_layer_capture captures[2];
    rows *to = &o->arrives[layer];
    const int32_t *p = positions[o->batch];
    qk_row_copy *c = all[pre];
    c[0] = pre ? (qk_row_copy){p, heads, ROWS, H, &to->pre_q[0][0][0]}
               : (qk_row_copy){p, heads + 1, ROWS, 2, &to->q[0][0][0]};
    c[1] = pre ? (qk_row_copy){p, last_heads, ROWS, 1, &to->pre_k[0][0][0]}
               : (qk_row_copy){p, heads, ROWS, K, &to->k[0][0][0]};
    captures[pre] = (qk_layer_capture){&c[0], &c[1], 1, 1};
    return &captures[pre];
}

static const qk_layer_capture *pre_rope(void *o, int layer)
{
    return copies_of(o, layer, true);
}
static const qk_layer_capture *post_rope(void *o, int layer)
{
    return copies_of(o, layer, false);
}

static qk_status take(void *context, int layer, qk_error *err)
{
    outcome *o = context;
    (void)err;
    o->taken[o->batch][layer] = o->arrives[layer];
    o->delivered[o->batch][layer] = true;
    return QK_OK;
}

static qk_status run_batches(outcome *o, const qk_model *m)
{
    static const int32_t starts[BATCHES][3] = {{0, 7, 12}, {0, 9, 17}};
    int32_t ids[MOST_TOKENS];
    for (int i = 0; i < MOST_TOKENS; i++) ids[i] = 3 + 13 * i % 300;
    const qk_capture_hooks hooks = {o, pre_rope, post_rope, take};
    qk_forward *f = qk_forward_new(m);
    qk_status s = QK_OK;
    for (o->batch = 0; o->batch < BATCHES && s == QK_OK; o->batch++) {
        const qk_batch batch = {ids, starts[o->batch], 2};
        s = qk_forward_run(f, &batch, &hooks, &o->err);
    }
    if (s == QK_OK) s = qk_forward_hidden(f, &o->hidden[0][0], &o->err);
    o->calls_before_close = fake_cuda_calls("*");
    qk_forward_free(f);
    return s;
}

static void small_run(outcome *o, qk_dtype compute)
{
    memset(o, 0, sizeof *o);
    memset(o->arrives, UNTOUCHED, sizeof o->arrives);
    qk_model m;
    qk_model_options options = {.backend = &qk_backend_cuda,
                                .device = {.compute = compute, .threads = 1},
                                .last_layer = -1};
    o->status = qk_model_load(&m, model_folder, &options, &o->err);
    if (o->status != QK_OK) return;
    o->status = run_batches(o, &m);
    qk_model_free(&m);
}

/* Whatever was handed over is right, and all of it when all went well. */
static void check_rows(const outcome *o, const outcome *right, const char *what)
{
    for (int b = 0; b < BATCHES; b++)
        for (int l = 0; l < LAYERS; l++)
            CHECK_MSG(o->delivered[b][l]
                          ? !memcmp(&o->taken[b][l], &right->taken[b][l], sizeof o->taken[b][l])
                          : o->status != QK_OK,
                      "%s: rows of batch %d, layer %d are wrong or absent", what, b, l);
    CHECK_MSG(o->status != QK_OK || !memcmp(o->hidden, right->hidden, sizeof o->hidden),
              "%s: the hidden state is wrong", what);
}

static const outcome *right_outcome(void)
{
    static outcome right;
    fake_cuda_reset();
    small_run(&right, QK_BF16);
    CHECK_MSG(right.status == QK_OK, "%s", right.err.message);
    return &right;
}

/* ---- (3) any call fails ---- */

static char running[200]; /* what is tried now, for the handler */

static void say_and_end(int number)
{
    static const char text[] = "a signal while trying: ";
    ssize_t n = write(1, text, sizeof text - 1);
    n += write(1, running, strlen(running));
    n += write(1, "\n", 1);
    _exit(n ? 90 + number % 10 : 90);
}

/* Calls whose failure changes nothing that was asked for. */
static bool may_be_ignored(const char *call, bool closing)
{
    return closing || strstr(call, "Destroy") || strstr(call, "Free") || strstr(call, "Unload") ||
           strstr(call, "ProgramLog");
}

static bool message_names(const char *message, const char *call)
{
    char plain[80];
    snprintf(plain, sizeof plain, "%s", call);
    char *version = strstr(plain, "_v2");
    if (version) *version = 0;
    return strstr(message, plain) != NULL;
}

static void check_failure(const char *failure, const char *error, const outcome *right,
                          fake_order order, unsigned seed)
{
    static outcome o;
    fake_cuda_reset();
    fake_cuda_set_order(order, seed);
    fake_cuda_set_failures(failure);
    snprintf(running, sizeof running, "%s", failure);
    alarm(60);
    small_run(&o, QK_BF16);
    alarm(0);
    char what[160];
    const char *call = fake_cuda_failed_call();
    snprintf(what, sizeof what, "%s (%s)", failure, call);
    bool closing =
        o.calls_before_close && fake_cuda_calls("*") >= o.calls_before_close && o.status == QK_OK;
    CHECK_MSG(*call, "%s: was never reached", what);
    CHECK_MSG(o.status != QK_OK || may_be_ignored(call, closing), "%s: nobody noticed", what);
    if (o.status != QK_OK) {
        CHECK_MSG(message_names(o.err.message, call), "%s: the message is: %s", what,
                  o.err.message);
        CHECK_MSG(strstr(o.err.message, error), "%s: the message is: %s", what, o.err.message);
        CHECK_MSG(*o.err.hint, "%s: no hint", what);
    }
    check_rows(&o, right, what);
    check_clean(what);
}

static void test_every_failing_call(void)
{
    const outcome *right = right_outcome();
    int n = (int)fake_cuda_calls("*");
    CHECK(n > 300);
    for (int k = 1; k <= n; k += full ? 1 : 7) {
        char failure[40];
        snprintf(failure, sizeof failure, "*:%d:0", k);
        check_failure(failure, "", right, (fake_order)(k % 3), (unsigned)k);
    }
    printf("%d calls, each failed once%s\n", n, full ? "" : " (every 7th)");
}

int main(int argc, char **argv)
{
    full = argc > 1 && !strcmp(argv[1], "full");
    setenv("QKENGINE_CACHE", "off", 1); /* every run compiles, so that this can fail, too */
    qk_log_quiet(true);
    signal(SIGALRM, say_and_end);
    signal(SIGABRT, say_and_end);
    signal(SIGSEGV, say_and_end);
    RUN(test_carried_golden);
    RUN(test_goldens);
    RUN(test_every_failing_call);
    return test_summary("cuda runtime");
}
