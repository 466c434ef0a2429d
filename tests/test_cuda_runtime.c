/* The host runtime of the CUDA backend (kernels/cuda) on the fake GPU (tests/fake_cuda): goldens in
 * every order of queued work, what waits for what, what leaves the device, which build runs.
 *
 *   test_cuda_runtime         what make CUDA=1 unit runs: a few goldens
 *   test_cuda_runtime full    all of them
 *   test_cuda_runtime quick   only one, for seeded bugs */
#include "tests/fake_run.h"
#include "tests/golden_bound.h"

#include <unistd.h>

#include "engine/base/file.h"
#include "engine/tools/verify.h"
#include "kernels/backend.h"

static bool full, quick;

/* ---- goldens, in all orders, with all layers in memory and with two: the same bits ---- */

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
                                    .last_layer = -1,
                                    .layers_in_memory = (first + i) % 2 ? 2 : 0};
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
    check_golden("tests/data/forward/qwen3", QK_F32, 0, quick ? 1 : SCHEDULES);
}

/* One order each, in turn; full: three. */
static void test_goldens(void)
{
    static const char *const one[] = {"qwen3_moe", NULL};
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
    for (const char *const *name = full ? all : quick ? one : few; *name; name++) {
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

/* ---- what the runtime asks of the driver, from the log ---- */

typedef struct call_log {
    char *text;
    char *lines[4000];
    int n;
} call_log;

/* The calls of one batch of a small run, without those that load and close. */
static void read_calls(call_log *log, const char *path)
{
    qk_buf b = {0};
    CHECK(qk_read_file(&b, path, 1 << 24, &test_error) == QK_OK);
    log->text = qk_strf("%s", qk_buf_str(&b));
    log->n = 0;
    char *save = NULL;
    for (char *l = strtok_r(log->text, "\n", &save); l && log->n < 4000;
         l = strtok_r(NULL, "\n", &save))
        if (*l != ' ') log->lines[log->n++] = l; /* blanks: work that runs */
    qk_buf_free(&b);
}

static bool is_call(const char *line, const char *name, const char *stream)
{
    return !strncmp(line, name, strlen(name)) && (!stream || strstr(line, stream));
}

static int count(const call_log *log, int from, int to, const char *name, const char *stream)
{
    int n = 0;
    for (int i = from; i < to; i++) n += is_call(log->lines[i], name, stream);
    return n;
}

/* The number of the last line before `to` that is this call, or -1. */
static int last_call(const call_log *log, int to, const char *name, const char *stream)
{
    while (--to >= 0 && !is_call(log->lines[to], name, stream)) continue;
    return to;
}

/* Rows of layer l come back while layer l + 1 is queued; the host waits for events of layers, never
 * for the end of the compute stream, until all layers are queued; and what leaves the device is the
 * sampled rows. Stream 1 is compute, stream 2 copies. */
static void test_what_waits_for_what(void)
{
    char path[] = "/tmp/qk_calls_XXXXXX";
    int file = mkstemp(path);
    QK_ASSERT(file >= 0);
    close(file);
    static outcome o;
    fake_cuda_reset();
    fake_cuda_set_order(FAKE_LATEST, 1);
    log_path = path;
    small_run(&o, QK_BF16);
    log_path = NULL;
    CHECK(o.status == QK_OK);
    call_log log;
    read_calls(&log, path);
    unlink(path);
    int end = last_call(&log, log.n, "cuLaunchKernel", "stream 1");
    CHECK(end > 50);
    CHECK_INT(count(&log, 0, end, "cuStreamSynchronize", NULL), 0);
    CHECK_INT(count(&log, 0, log.n, "cuStreamSynchronize", "stream 1"), 1);
    CHECK_INT(count(&log, 0, log.n, "cuLaunchKernel", "stream 2"), 0);
    CHECK_INT(count(&log, 0, log.n, "cuMemcpyDtoHAsync", "stream 1"), 0);
    CHECK_INT(count(&log, 0, log.n, "cuMemcpyDtoHAsync", "stream 2"), LAYERS * COPIES);
    for (int i = 0; i < log.n; i++) /* each copy follows a wait of its stream for an event */
        if (is_call(log.lines[i], "cuMemcpyDtoHAsync", NULL))
            CHECK_MSG(is_call(log.lines[i - 1], "cuStreamWaitEvent", "stream 2"), "%s",
                      log.lines[i]);
    int i = 0;
    while (i < log.n && !is_call(log.lines[i], "cuLaunchKernel", NULL)) i++;
    while (i < log.n && !is_call(log.lines[i], "cuEventSynchronize", NULL)) i++;
    CHECK_INT(count(&log, 0, i, "cuMemcpyDtoHAsync", NULL), 2 * COPIES); /* two layers are queued */
    size_t rows_of_layer = ROWS * (H + 1 + 2 + K);
    CHECK_INT(o.bytes_to_host, LAYERS * rows_of_layer * D * sizeof(uint16_t));
    free(log.text);
    check_clean("a small run");
}

/* ---- builds of attention_v3: the host picks the one whose constants fit ---- */

enum { T = 40, HEADS = 4, KEY_HEADS = 2, MAX_D = 256 };

typedef struct attention_case {
    int d, window;
    float soft_cap;
    bool capture;
} attention_case;

typedef struct attention_run {
    float o[T * HEADS * MAX_D], captured[2 * MAX_D], values[MAX_D], lse[2];
} attention_run;

/* Sequences of 27 and 13 tokens; the capture wants heads 1 and 3 of token 30 with their
 * log-sum-exps, again without, and its value head 1. */
static void attend(attention_run *run, const qk_backend *b, qk_device *dev, const attention_case *c)
{
    const size_t d = (size_t)c->d, width = (HEADS + 2 * KEY_HEADS) * d;
    static const int32_t starts[] = {0, 27, T}, row[] = {30}, wanted[] = {1, 3};
    const qk_row_copy copies[] = {{row, wanted, 1, 2, run->captured, NULL},
                                  {row, wanted, 1, 2, run->captured, run->lse}},
                      value = {row, wanted, 1, 1, run->values, NULL};
    const qk_layer_capture captures = {copies, NULL, 2, 0, &value, 1};
    const qk_attention p = {
        {HEADS, KEY_HEADS, c->d, true},          starts, 2, c->window, 0.125f, c->soft_cap,
        .capture = c->capture ? &captures : NULL};
    static float values[T * (HEADS + 2 * KEY_HEADS) * MAX_D];
    static uint16_t out[T * HEADS * MAX_D];
    qk_tensor qkv, o;
    for (size_t i = 0; i < T * width; i++) values[i] = sinf((float)i * 1.7f) * 2;
    CHECK(b->alloc(dev, QK_BF16, T, width, "qkv", &qkv, &test_error) == QK_OK);
    CHECK(b->alloc(dev, QK_BF16, T, HEADS * d, "o", &o, &test_error) == QK_OK);
    b->upload(dev, qkv, values, QK_F32);
    b->attention(dev, o, qkv, &p);
    b->layer_end(dev);
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    b->download(dev, out, o);
    for (size_t i = 0; i < T * HEADS * d; i++) run->o[i] = qk_bf16_to_f32(out[i]);
    b->free(dev, &qkv);
    b->free(dev, &o);
}

static void test_builds_of_attention(void)
{
    static attention_run got, want;
    static const attention_case all[] = {
        {64, 0, 0, false}, {64, 7, 0, false}, {64, 0, 3, false},
        {64, 7, 3, false}, {64, 0, 0, true},  {64, 7, 0, true},
        {64, 0, 3, true},  {64, 7, 3, true},  {48, 7, 0, true}, /* padded */
        {256, 0, 0, true} /* more shared memory than without asking */
    };
    const qk_device_options options = {.compute = QK_BF16, .threads = 1};
    qk_device *cuda, *ref;
    fake_cuda_reset();
    QK_ASSERT(qk_backend_cuda.open(&options, &cuda, &test_error) == QK_OK);
    QK_ASSERT(qk_backend_ref.open(&options, &ref, &test_error) == QK_OK);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        float error = 0, size = 0;
        attend(&got, &qk_backend_cuda, cuda, &all[i]);
        attend(&want, &qk_backend_ref, ref, &all[i]);
        for (int k = 0; k < T * HEADS * all[i].d; k++) {
            error += (got.o[k] - want.o[k]) * (got.o[k] - want.o[k]);
            size += want.o[k] * want.o[k];
        }
        CHECK_MSG(sqrtf(error / size) < 0.004f, "case %zu: off by %g", i,
                  (double)sqrtf(error / size)); /* a bfloat16 has 2^-9 */
        CHECK(!all[i].capture ||
              !memcmp(got.captured, want.captured, 2 * (size_t)all[i].d * sizeof(float)));
        CHECK(!all[i].capture ||
              !memcmp(got.values, want.values, (size_t)all[i].d * sizeof(float)));
        for (int h = 0; h < 2 && all[i].capture; h++) /* test_cuda_attention has the bound */
            CHECK_CLOSE((double)got.lse[h], (double)want.lse[h], 2e-5);
    }
    qk_backend_cuda.close(cuda);
    qk_backend_ref.close(ref);
    check_clean("attention");
}

/* ---- products: views of any alignment, bias, adding; the rest of y stays ---- */

enum { P_ROWS = 9, P_IN = 24, P_OUT = 20, P_STRIDE = 28 };

typedef struct product_case {
    qk_dtype compute;
    size_t first, rows; /* of x and y */
    bool bias, accumulate;
} product_case;

static float wave(size_t i)
{
    return sinf((float)i * 2.3f);
}

/* The whole y, of which the case writes some rows. */
static void multiply(float y[P_ROWS * P_STRIDE], const qk_backend *b, qk_device *dev,
                     const product_case *c)
{
    float values[P_ROWS * P_STRIDE];
    qk_tensor x, out, bias;
    qk_matrix *w;
    for (size_t i = 0; i < P_ROWS * P_STRIDE; i++) values[i] = wave(i);
    CHECK(b->alloc(dev, c->compute, P_ROWS, P_IN, "x", &x, &test_error) == QK_OK);
    CHECK(b->alloc(dev, QK_F32, P_ROWS, P_STRIDE, "y", &out, &test_error) == QK_OK);
    CHECK(b->alloc(dev, QK_F32, 1, P_OUT, "bias", &bias, &test_error) == QK_OK);
    CHECK(b->matrix_new(dev, P_OUT, P_IN, "w", &w, &test_error) == QK_OK);
    if (test_failed_checks) return;
    b->upload(dev, x, values, QK_F32);
    b->upload(dev, out, values, QK_F32);
    b->upload(dev, bias, values, QK_F32);
    b->matrix_load(dev, w, 0, P_OUT / 2, values, QK_F32);
    b->matrix_load(dev, w, P_OUT / 2, P_OUT / 2, values + 1, QK_F32);
    /* Columns 4 .. 23 of y. */
    b->matmul(dev, qk_cols(qk_rows(out, c->first, c->rows), 4, P_OUT),
              qk_rows(x, c->first, c->rows), w, c->bias ? bias.data : NULL, c->accumulate);
    b->download(dev, y, out);
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    b->matrix_free(dev, w);
    b->free(dev, &x);
    b->free(dev, &out);
    b->free(dev, &bias);
}

static void test_products_of(qk_dtype compute)
{
    const qk_device_options options = {.compute = compute, .threads = 1};
    float whole[P_ROWS * P_STRIDE], got[P_ROWS * P_STRIDE], want[P_ROWS * P_STRIDE];
    qk_device *cuda, *ref;
    QK_ASSERT(qk_backend_cuda.open(&options, &cuda, &test_error) == QK_OK);
    QK_ASSERT(qk_backend_ref.open(&options, &ref, &test_error) == QK_OK);
    for (int i = 0; i < 4; i++) {
        product_case c = {compute, 0, P_ROWS, i & 1, i & 2};
        multiply(whole, &qk_backend_cuda, cuda, &c);
        multiply(want, &qk_backend_ref, ref, &c);
        for (int k = 0; k < P_ROWS * P_STRIDE; k++) CHECK_CLOSE(whole[k], want[k], 2e-5);
        c.rows = 1;
        for (c.first = 0; c.first < P_ROWS; c.first++) {
            multiply(got, &qk_backend_cuda, cuda, &c);
            multiply(want, &qk_backend_ref, ref, &c);
            const float *row = got + c.first * P_STRIDE;
            CHECK(!memcmp(row, whole + c.first * P_STRIDE, P_STRIDE * sizeof(float)));
            for (int k = 0; k < P_ROWS * P_STRIDE; k++) CHECK_CLOSE(got[k], want[k], 2e-5);
        }
    }
    qk_backend_cuda.close(cuda);
    qk_backend_ref.close(ref);
    check_clean("products");
}

static void test_products(void)
{
    fake_cuda_reset();
    test_products_of(QK_BF16);
    test_products_of(QK_F32);
}

/* ---- layers that take turns in memory ---- */

/* A second thread uploads on a stream of its own: nothing but what waits for it orders the two. */
static void test_layers_in_turn(void)
{
    static outcome o;
    const outcome *right = right_outcome();
    size_t peak = fake_cuda_memory_peak();
    for (unsigned i = 0; i < (quick ? 6 : 18); i++) {
        fake_cuda_reset();
        fake_cuda_set_order((fake_order)(i % 3), i);
        small_run_with(&o, QK_BF16, 2, 0);
        CHECK_MSG(o.status == QK_OK, "%s", o.err.message);
        check_rows(&o, right, "two layers in memory");
        check_clean("two layers in memory");
        CHECK(fake_cuda_memory_peak() < peak);
    }
}

/* Given up while layers are on their way, sooner or later: nothing is freed that is still filled.
 */
static void test_layers_given_up(void)
{
    const qk_model_options o = {.backend = &qk_backend_cuda,
                                .device = {.compute = QK_BF16, .threads = 1},
                                .last_layer = -1,
                                .layers_in_memory = 2};
    for (unsigned i = 0; i < 40; i++) {
        qk_model m;
        fake_cuda_reset();
        fake_cuda_set_order(FAKE_LATEST, 1);
        CHECK(qk_model_load(&m, model_folder, &o, &test_error) == QK_OK);
        usleep(50 * i);
        qk_model_free(&m);
        check_clean("given up");
    }
}

/* ---- kept cubins ---- */

static void each_file(const char *folder, void (*act)(const char *path))
{
    qk_names names;
    CHECK(qk_list_dir(folder, &names, &test_error) == QK_OK);
    for (size_t i = 0; i < names.count; i++) {
        char *path = qk_path_join(folder, names.items[i]);
        act(path);
        free(path);
    }
    qk_names_free(&names);
}

static void damage(const char *path)
{
    CHECK(qk_write_file(path, "not a cubin", 12, &test_error) == QK_OK);
}

static void remove_it(const char *path)
{
    CHECK(unlink(path) == 0);
}

/* The first run compiles, the second does not; where what was kept is damaged, the third does. */
static void test_kept_cubins(void)
{
    static outcome o;
    const outcome *right = right_outcome();
    int builds = (int)fake_cuda_calls("nvrtcCompileProgram");
    CHECK(builds > 4);
    char cache[] = "/tmp/qk_cubins_XXXXXX", folder[64];
    QK_ASSERT(mkdtemp(cache));
    snprintf(folder, sizeof folder, "%s/cubins", cache);
    setenv("QKENGINE_CACHE", cache, 1);
    for (int i = 0; i < 4; i++) {
        fake_cuda_reset();
        small_run(&o, QK_BF16);
        CHECK_MSG(o.status == QK_OK, "%s", o.err.message);
        CHECK_INT(fake_cuda_calls("nvrtcCompileProgram"), i % 2 ? 0 : builds);
        check_rows(&o, right, "kept cubins");
        check_clean("kept cubins");
        if (i == 1) each_file(folder, damage);
    }
    setenv("QKENGINE_CACHE", "off", 1);
    each_file(folder, remove_it);
    rmdir(folder);
    rmdir(cache);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, " full quick ");
    full = test_word("full");
    quick = test_word("quick");
    setenv("QKENGINE_CACHE", "off", 1);
    qk_log_quiet(true);
    RUN(test_what_waits_for_what);
    RUN(test_builds_of_attention);
    RUN(test_products);
    RUN(test_layers_in_turn);
    RUN(test_layers_given_up);
    RUN(test_kept_cubins);
    RUN(test_carried_golden);
    RUN(test_goldens);
    return test_summary("cuda runtime");
}
