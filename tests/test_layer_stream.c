/* engine/model/layer_budget, engine/model/layer_stream, engine/base/available: the same bits whatever stays in memory, in an
 * order that no layer's weights change in while the device may need them, and whatever goes wrong
 * with the files, the forward or the loader. */
#include "tests/generated.h"
#include "tests/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/available.h"
#include "engine/base/log.h"
#include "engine/forward/forward.h"
#include "engine/model/weights.h"
#include "formats/safetensors.h"

/* ---- a forward of everything ---- */

enum { TOKENS = 40, BATCHES = 3, MAX_LAYERS = 8 };

typedef struct rows { /* of one batch, [heads, T, d]; lse [H, T] */
    float *q[MAX_LAYERS], *k[MAX_LAYERS], *v[MAX_LAYERS], *lse[MAX_LAYERS];
} rows;

typedef struct capture {
    const qk_model *m;
    size_t T;
    int32_t tokens[TOKENS], heads[64];
    rows to;
    qk_row_copy q[MAX_LAYERS], k[MAX_LAYERS], v[MAX_LAYERS];
    qk_layer_capture all[MAX_LAYERS];
    int fail_at; /* layer_done of this layer fails; -1: none */
} capture;

static const qk_layer_capture *want(void *context, int l)
{
    capture *c = context;
    qk_last_layer needs = qk_layer_needs(l, c->m->n_layers, c->m->last);
    size_t H = (size_t)c->m->spec.H, K = (size_t)c->m->spec.K;
    float *lse = needs >= QK_LAST_ATTENTION ? c->to.lse[l] : NULL;
    c->q[l] = (qk_row_copy){c->tokens, c->heads, c->T, H, c->to.q[l], lse};
    c->k[l] = (qk_row_copy){c->tokens, c->heads, c->T, K, c->to.k[l], NULL};
    c->v[l] = (qk_row_copy){c->tokens, c->heads, c->T, K, c->to.v[l], NULL};
    c->all[l] = (qk_layer_capture){&c->q[l], &c->k[l], 1, 1, &c->v[l], needs >= QK_LAST_QKV};
    return &c->all[l];
}

static qk_status layer_done(void *context, int l, qk_error *err)
{
    const capture *c = context;
    return l == c->fail_at ? qk_fail(err, QK_ERR_IO, NULL, "given up") : QK_OK;
}

/* Batches of one, two and three sequences. */
static const int32_t starts[BATCHES][4] = {{0, 9, 9, 9}, {0, 11, 24, 24}, {0, 17, 18, TOKENS}};

static qk_status run_batch(qk_forward *f, const qk_model *m, int number, int fail_at, qk_buf *out,
                           qk_error *err)
{
    static capture c;
    c.m = m;
    c.T = (size_t)starts[number][number + 1];
    c.fail_at = fail_at;
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++) ids[i] = (7 + 13 * i + number) % m->spec.V, c.tokens[i] = i;
    for (int i = 0; i < 64; i++) c.heads[i] = i;
    size_t d = (size_t)m->spec.d, q = (size_t)m->spec.H * c.T * d, k = (size_t)m->spec.K * c.T * d;
    QK_ASSERT(m->n_layers <= MAX_LAYERS && m->spec.H <= 64);
    size_t layer = q + 2 * k + (size_t)m->spec.H * c.T;
    float *all = qk_zalloc((size_t)m->n_layers * layer, sizeof *all), *at = all;
    for (int l = 0; l < m->n_layers; l++, at += layer) {
        c.to.q[l] = at, c.to.k[l] = at + q, c.to.v[l] = at + q + k;
        c.to.lse[l] = at + q + 2 * k;
    }
    const qk_batch batch = {ids, starts[number], number + 1};
    const qk_capture_hooks hooks = {&c, NULL, want, layer_done, NULL};
    qk_status s = qk_forward_run(f, &batch, &hooks, err);
    if (s == QK_OK) qk_buf_add(out, all, (size_t)m->n_layers * layer * sizeof *all);
    if (s == QK_OK && m->last == QK_LAST_WHOLE) {
        float *hidden = qk_alloc(c.T * (size_t)m->spec.D, sizeof *hidden);
        s = qk_forward_hidden(f, hidden, err);
        qk_buf_add(out, hidden, c.T * (size_t)m->spec.D * sizeof *hidden);
        free(hidden);
    }
    free(all);
    return s;
}

/* All rows of all batches. fail_at: the second batch is given up there once, and then run whole. */
static qk_status run_model(const char *folder, const qk_model_options *o, int fail_at, qk_buf *out,
                           qk_error *err)
{
    qk_model m;
    qk_buf_clear(out);
    QK_TRY(qk_model_load(&m, folder, o, err));
    qk_forward *f = qk_forward_new(&m);
    qk_status s = QK_OK;
    for (int b = 0; b < BATCHES && s == QK_OK; b++) {
        if (b == 1 && fail_at >= 0) CHECK(run_batch(f, &m, b, fail_at, out, err) == QK_ERR_IO);
        s = run_batch(f, &m, b, -1, out, err);
    }
    qk_forward_free(f);
    qk_model_free(&m);
    return s;
}

/* ---- the same bits ---- */

static void check_same(const char *folder, const qk_model_options *o, int layers)
{
    qk_model_options other = *o;
    qk_buf all = {0}, some = {0};
    qk_error err = {0};
    CHECK_MSG(run_model(folder, o, -1, &all, &err) == QK_OK, "%s: %s", folder, err.message);
    for (int n = 2; n < layers; n++) {
        other.layers_in_memory = n;
        qk_status s = run_model(folder, &other, -1, &some, &err);
        CHECK_MSG(s == QK_OK, "%s, %d layers: %s", folder, n, err.message);
        CHECK_MSG(all.size && all.size == some.size && !memcmp(all.data, some.data, all.size),
                  "%s, %s, last layer %d to its %d, %d layers in memory: other bits", folder,
                  qk_dtype_name(o->device.compute), o->last_layer, (int)o->last_needs, n);
    }
    qk_buf_free(&all);
    qk_buf_free(&some);
}

/* Whole, as far as the last layer's q and k, its values and its attention, and a layer less. */
static int check_model(const char *folder)
{
    static const qk_dtype formats[] = {QK_F32, QK_BF16};
    qk_arena arena = {0};
    qk_spec spec;
    qk_status s = qk_spec_read(&spec, folder, NULL, &arena, &test_error);
    CHECK_MSG(s == QK_OK, "%s", test_error.message);
    int layers = s == QK_OK ? spec.layers : 0;
    qk_arena_free(&arena);
    for (int i = 0; i < 2; i++)
        for (int last = -1; last < layers; last += last < 0 ? layers - 1 : 1) {
            qk_model_options o = {.backend = qk_backend_find("cpu"),
                                  .device = {.compute = formats[i], .threads = 2},
                                  .last_layer = last};
            check_same(folder, &o, last < 0 ? layers : last + 1);
            for (o.last_needs++; last == layers - 1 && o.last_needs < QK_LAST_WHOLE; o.last_needs++)
                check_same(folder, &o, layers);
        }
    return layers;
}

static int check_models_in(const char *parent)
{
    DIR *dir = opendir(parent);
    int n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *folder = qk_strf("%s/%s/model", parent, e->d_name);
        if (e->d_name[0] != '.' && test_has_folder(folder)) n += check_model(folder) > 2;
        free(folder);
    }
    if (dir) closedir(dir);
    return n;
}

static void test_same_bits_of_carried_models(void)
{
    CHECK_INT(check_models_in("tests/data/forward"), 3);
}

static void test_same_bits_of_goldens(void)
{
    char *readme = test_whole_golden("README.md"), made[] = "/tmp/qk_generated_XXXXXX", *parent;
    if (readme) {
        parent = qk_strf("%.*s/forward", (int)(strrchr(readme, '/') - readme), readme);
    } else {
        CHECK(mkdtemp(made));
        generated_all(made, generated_model);
        parent = qk_strdup(made);
    }
    int n = check_models_in(parent);
    CHECK_MSG(n >= 20, "%d models", n);
    if (!readme) generated_remove(made);
    free(parent);
    free(readme);
}

/* ---- a device that looks at the order: weights change only when nobody needs them ---- */

enum { MAX_MATRICES = 256 };

/* A matrix is whole when all its rows were loaded, and busy until the layer that multiplied with it
 * has been waited for. */
static struct {
    const qk_backend *under;
    qk_matrix *matrix[MAX_MATRICES];
    size_t out[MAX_MATRICES], loaded[MAX_MATRICES];
    int64_t busy[MAX_MATRICES]; /* layers that had ended when it was used, plus one; 0: never */
    int64_t ended, finished;
    int living, most_living;
    char fault[200];
    pthread_mutex_t lock;
    unsigned seed;
    int slow_loads, slow_products; /* microseconds, at most */
} spy = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void dawdle(int microseconds)
{
    if (!microseconds) return;
    pthread_mutex_lock(&spy.lock);
    spy.seed = spy.seed * 1664525 + 1013904223;
    unsigned n = spy.seed >> 8;
    pthread_mutex_unlock(&spy.lock);
    usleep(n % (unsigned)microseconds);
}

static int spy_find(const qk_matrix *m)
{
    for (int i = 0; i < MAX_MATRICES; i++)
        if (spy.matrix[i] == m) return i;
    qk_fatal("an unknown matrix");
}

static void fault(const char *what, int i)
{
    if (!*spy.fault) snprintf(spy.fault, sizeof spy.fault, "%s: matrix %d", what, i);
}

static void look_whether_idle(const char *what, int i)
{
    if (spy.busy[i] > spy.finished) fault(what, i);
}

static qk_status spy_matrix_new(qk_device *dev, size_t out, size_t in, const char *what,
                                qk_matrix **m, qk_error *err)
{
    QK_TRY(spy.under->matrix_new(dev, out, in, what, m, err));
    pthread_mutex_lock(&spy.lock);
    int i = spy_find(NULL);
    spy.matrix[i] = *m;
    spy.out[i] = out;
    spy.loaded[i] = 0;
    spy.busy[i] = 0;
    if (++spy.living > spy.most_living) spy.most_living = spy.living;
    pthread_mutex_unlock(&spy.lock);
    return QK_OK;
}

static void spy_matrix_load(qk_device *dev, qk_matrix *m, size_t first, size_t n, const void *src,
                            qk_dtype dtype)
{
    pthread_mutex_lock(&spy.lock);
    int i = spy_find(m);
    look_whether_idle("overwritten while it is used", i);
    if (!first) spy.loaded[i] = 0;
    pthread_mutex_unlock(&spy.lock);
    dawdle(spy.slow_loads);
    spy.under->matrix_load(dev, m, first, n, src, dtype);
    pthread_mutex_lock(&spy.lock);
    spy.loaded[i] += n;
    pthread_mutex_unlock(&spy.lock);
}

static void spy_matrix_free(qk_device *dev, qk_matrix *m)
{
    pthread_mutex_lock(&spy.lock);
    if (m) {
        int i = spy_find(m);
        look_whether_idle("freed while it is used", i);
        spy.matrix[i] = NULL;
        spy.living--;
    }
    pthread_mutex_unlock(&spy.lock);
    spy.under->matrix_free(dev, m);
}

static void spy_matmul(qk_device *dev, qk_tensor y, qk_tensor x, const qk_matrix *w,
                       const float *bias, bool accumulate)
{
    pthread_mutex_lock(&spy.lock);
    int i = spy_find(w);
    if (spy.loaded[i] != spy.out[i]) fault("used before it is whole", i);
    spy.busy[i] = spy.ended + 1;
    pthread_mutex_unlock(&spy.lock);
    dawdle(spy.slow_products);
    spy.under->matmul(dev, y, x, w, bias, accumulate);
    pthread_mutex_lock(&spy.lock);
    if (spy.loaded[i] != spy.out[i]) fault("changed under a product", i);
    pthread_mutex_unlock(&spy.lock);
}

static void spy_layer_end(qk_device *dev)
{
    pthread_mutex_lock(&spy.lock);
    spy.ended++;
    pthread_mutex_unlock(&spy.lock);
    spy.under->layer_end(dev);
}

/* The loader syncs its own handle, which has no layers. */
static pthread_t spy_forward;

static qk_status spy_sync(qk_device *dev, int layers, qk_error *err)
{
    pthread_mutex_lock(&spy.lock);
    if (pthread_equal(pthread_self(), spy_forward)) spy.finished = spy.ended - layers;
    if (!layers && pthread_equal(pthread_self(), spy_forward)) spy.finished = spy.ended + 1;
    pthread_mutex_unlock(&spy.lock);
    return spy.under->sync(dev, layers, err);
}

static qk_backend spying(int depth)
{
    qk_backend b = *(spy.under = qk_backend_find("cpu"));
    b.depth = depth;
    b.matrix_new = spy_matrix_new;
    b.matrix_load = spy_matrix_load;
    b.matrix_free = spy_matrix_free;
    b.matmul = spy_matmul;
    b.layer_end = spy_layer_end;
    b.sync = spy_sync;
    spy_forward = pthread_self();
    spy.most_living = 0;
    spy.ended = spy.finished = 0;
    return b;
}

/* qwen3: three layers, all read again with two places. */
static const char qwen3[] = "tests/data/forward/qwen3/model";

static void test_order(void)
{
    qk_buf all = {0}, some = {0};
    qk_error err = {0};
    qk_model_options o = {.backend = qk_backend_find("cpu"),
                          .device = {.compute = QK_F32, .threads = 1},
                          .last_layer = -1};
    CHECK(run_model(qwen3, &o, -1, &all, &err) == QK_OK);
    o.layers_in_memory = 2;
    for (int i = 0; i < 40; i++) {
        qk_backend b = spying(1 + i % 2);
        o.backend = &b;
        spy.seed = (unsigned)i;
        spy.slow_loads = i & 2 ? 300 : 0;
        spy.slow_products = i & 4 ? 300 : 0;
        /* Given up after any layer, then begun again. */
        qk_status s = run_model(qwen3, &o, i < 10 ? -1 : i % 3, &some, &err);
        CHECK_MSG(s == QK_OK, "%s", err.message);
        CHECK_STR(spy.fault, "");
        CHECK(some.size == all.size && !memcmp(all.data, some.data, all.size));
        CHECK_INT(spy.living, 0);
        CHECK_INT(spy.most_living, 2 * 4); /* qkv, o, gate and up, down of two layers */
    }
    qk_buf_free(&all);
    qk_buf_free(&some);
}

/* Stopped and freed at any moment. */
static void test_stop(void)
{
    qk_error err = {0};
    qk_buf out = {0};
    for (int i = 0; i < 60; i++) {
        qk_backend b = spying(1 + i % 2);
        qk_model_options o = {.backend = &b,
                              .device = {.compute = QK_BF16, .threads = 1},
                              .last_layer = i % 3 ? -1 : 2,
                              .layers_in_memory = 2};
        qk_model m;
        spy.seed = (unsigned)i;
        spy.slow_loads = 500;
        spy.slow_products = 0;
        CHECK(qk_model_load(&m, qwen3, &o, &err) == QK_OK);
        qk_forward *f = qk_forward_new(&m);
        usleep((unsigned)(i * 37 % 2000));
        if (i % 4)
            CHECK(run_batch(f, &m, 0, i % 5 - 1, &out, &err) ==
                  (i % 5 && i % 5 < 4 ? QK_ERR_IO : QK_OK));
        qk_forward_free(f);
        qk_model_free(&m);
        CHECK_STR(spy.fault, "");
        CHECK_INT(spy.living, 0);
    }
    qk_buf_free(&out);
}

/* ---- files that change ---- */

static char folder[64];

static char *in_folder(const char *name)
{
    return qk_path_join(folder, name);
}

static void copy_model(void)
{
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (int i = 0; i < 2; i++) {
        char *from = qk_path_join(qwen3, names[i]), *to = in_folder(names[i]);
        qk_buf bytes;
        CHECK(qk_read_file(&bytes, from, SIZE_MAX, &test_error) == QK_OK);
        CHECK(qk_write_file(to, bytes.data, bytes.size, &test_error) == QK_OK);
        qk_buf_free(&bytes);
        free(from);
        free(to);
    }
}

/* Puts an infinity or so into the middle of a tensor. */
static void damage(const char *name)
{
    char *path = in_folder("model.safetensors");
    qk_checkpoint c;
    CHECK(qk_checkpoint_open(&c, path, &test_error) == QK_OK);
    const qk_st_tensor *t = qk_checkpoint_find(&c, name);
    QK_ASSERT(t);
    long at = (long)(t->offset + t->bytes / 8 * 4);
    qk_checkpoint_close(&c);
    FILE *f = fopen(path, "r+b");
    const uint8_t bad[] = {0xFF, 0xFF, 0xFF, 0xFF};
    CHECK(f && !fseek(f, at, SEEK_SET) && fwrite(bad, 4, 1, f) == 1 && !fclose(f));
    free(path);
}

static qk_model_options two_layers(void)
{
    return (qk_model_options){.backend = qk_backend_find("cpu"),
                              .device = {.compute = QK_F32, .threads = 1},
                              .last_layer = -1,
                              .layers_in_memory = 2};
}

static void test_damaged_values(void)
{
    static const char *const names[] = {"model.layers.0.self_attn.k_proj.weight",
                                        "model.layers.1.mlp.down_proj.weight",
                                        "model.layers.2.self_attn.o_proj.weight"};
    qk_model_options o = two_layers();
    qk_buf out = {0};
    for (int i = 0; i < 3; i++) {
        qk_error err = {0};
        copy_model();
        damage(names[i]);
        CHECK(run_model(folder, &o, -1, &out, &err) == QK_ERR_DATA);
        CHECK_MSG(strstr(err.message, names[i]) && strstr(err.message, "NaN or infinite"), "%s",
                  err.message);
        CHECK_INT(out.size, 0);
    }
    qk_buf_free(&out);
}

/* Layers were read before, so the program knows the file; then something happens to it. */
static qk_status change_file(void (*change)(const char *path), qk_error *err)
{
    qk_model m;
    qk_model_options o = two_layers();
    qk_buf out = {0};
    char *path = in_folder("model.safetensors");
    copy_model();
    CHECK(qk_model_load(&m, folder, &o, err) == QK_OK);
    qk_forward *f = qk_forward_new(&m);
    CHECK(run_batch(f, &m, 0, -1, &out, err) == QK_OK);
    change(path);
    qk_status s = QK_OK;
    for (int i = 0; i < 3 && s == QK_OK; i++) s = run_batch(f, &m, 1, -1, &out, err);
    qk_forward_free(f);
    qk_model_free(&m);
    qk_buf_free(&out);
    free(path);
    return s;
}

static void cut(const char *path)
{
    CHECK(truncate(path, 4096) == 0);
}
static void write_into(const char *path)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1, .tv_nsec = 1}};
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0); /* as any write would leave another time */
}
static void remove_file(const char *path)
{
    CHECK(unlink(path) == 0);
}

static void test_changing_files(void)
{
    qk_error err = {0};
    CHECK(change_file(cut, &err) == QK_ERR_DATA);
    CHECK_MSG(strstr(err.message, "ends within tensor") || strstr(err.message, "was changed"), "%s",
              err.message);
    CHECK(change_file(write_into, &err) == QK_ERR_DATA);
    CHECK_MSG(strstr(err.message, "model.safetensors: was changed while it was in use"), "%s",
              err.message);
    /* What is open stays, whatever its name means now. */
    CHECK_MSG(change_file(remove_file, &err) == QK_OK, "%s", err.message);
}

/* One matrix from a file that was cut off, and once more with the stop sign up. */
static void test_reading_a_matrix(void)
{
    char *path = in_folder("model.safetensors");
    qk_checkpoint c;
    qk_error err = {0};
    atomic_bool stop = false;
    qk_weight_reader r = {.checkpoint = &c, .backend = qk_backend_find("cpu"), .stop = &stop};
    copy_model();
    CHECK(qk_checkpoint_open(&c, path, &err) == QK_OK);
    CHECK(r.backend->open(&(qk_device_options){.threads = 1}, &r.device, &err) == QK_OK);
    const qk_st_tensor *t = qk_checkpoint_find(&c, "model.layers.2.mlp.up_proj.weight");
    qk_matrix *m = NULL;
    CHECK(t && qk_weights_matrix(&r, &t, 1, &m, &err) == QK_OK);
    qk_matrix *same = m;
    stop = true;
    CHECK(qk_weights_matrix(&r, &t, 1, &m, &err) == QK_ERR_RESUME);
    stop = false;
    cut(path);
    CHECK(qk_weights_matrix(&r, &t, 1, &m, &err) == QK_ERR_DATA && m == same);
    CHECK_MSG(strstr(err.message, "ends within tensor 'model.layers.2.mlp.up_proj.weight'"), "%s",
              err.message);
    r.backend->matrix_free(r.device, m);
    r.backend->close(r.device);
    qk_weight_reader_free(&r);
    qk_checkpoint_close(&c);
    free(path);
}

/* ---- which layers stay ---- */

static void test_layer_budget(void)
{
    static const uint64_t bytes[] = {100, 100, 0, 60, 60, 100, 100, 30}; /* one is absent */
    const qk_model_size size = {8, 7, 50, bytes};
    static const struct {
        int wanted;
        uint64_t free, reserve;
        int in_memory;
        uint64_t bytes, again;
        const char *stays;
    } all[] = {
        {0, 0, 0, 7, 600, 0, "11111111"},        /* nobody knows: everything */
        {0, 640, 0, 7, 600, 0, "11111111"},      /* 15/16 of it are just enough */
        {0, 638, 0, 6, 540, 260, "01101011"},    /* two places of 100, four stay */
        {0, 1040, 376, 6, 540, 260, "01101011"}, /* the reserve is not for weights */
        {0, 400, 0, 4, 340, 460, "00101001"},
        {0, 270, 100, 2, 250, 550, "00100000"}, /* warned of */
        {2, 10, 100, 2, 250, 550, "00100000"},  /* he knows better */
        {5, 0, 0, 5, 440, 360, "00110101"},
        {99, 640, 0, 7, 600, 0, "11111111"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        qk_arena arena = {0};
        qk_layer_budget r;
        qk_layer_budget_limits limits = {all[i].wanted, all[i].free, all[i].reserve};
        CHECK(qk_layer_budget_choose(&r, &size, &limits, &arena, &test_error) == QK_OK);
        CHECK_INT(r.in_memory, all[i].in_memory);
        CHECK_INT(r.bytes, all[i].bytes);
        CHECK_INT(r.read_again, all[i].again);
        for (int l = 0; l < 8; l++)
            CHECK_MSG(r.stays[l] == (all[i].stays[l] == '1'), "case %zu, layer %d", i, l);
        qk_arena_free(&arena);
    }
    qk_arena arena = {0};
    qk_layer_budget r;
    CHECK(qk_layer_budget_choose(&r, &size, &(qk_layer_budget_limits){0, 249, 7}, &arena,
                                 &test_error) == QK_ERR_CONFIG);
    CHECK_MSG(strstr(test_error.message, "need 250") && strstr(test_error.message, "249"), "%s",
              test_error.message);
    qk_arena_free(&arena);
}

/* ---- free memory ---- */

static void put(const char *name, const char *text)
{
    char *path = in_folder(name), *slash = strrchr(path, '/');
    *slash = 0;
    CHECK(qk_make_dirs(path, &test_error) == QK_OK);
    *slash = '/';
    CHECK(qk_write_file(path, text, strlen(text), &test_error) == QK_OK);
    free(path);
}

static void test_free_memory(void)
{
    uint64_t here = qk_available_memory("");
    CHECK(here > 1 << 20);
    CHECK_INT(qk_available_memory("/nonexistent"), 0);
    put("proc/meminfo", "MemTotal:  9 kB\nMemFree: 2 kB\nMemAvailable:     4000 kB\n");
    CHECK_INT(qk_available_memory(folder), 4000 << 10);
    /* Version 2: a group without a limit in one that has 1,000,000; 300,000 are file pages. */
    put("proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n");
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    put("sys/fs/cgroup/a/b/memory.current", "700000\n");
    put("sys/fs/cgroup/a/memory.max", "1000000\n");
    put("sys/fs/cgroup/a/memory.current", "700000\n");
    put("sys/fs/cgroup/a/memory.stat", "anon 400000\nfile 300000\nfile_mapped 5\n");
    CHECK_INT(qk_available_memory(folder), 600000);
    /* Version 1, in a container: the path is the host's, only the top is there. */
    put("proc/self/cgroup", "3:cpu:/docker/x\n4:memory:/docker/x\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "500000\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "450000\n");
    put("sys/fs/cgroup/memory/memory.stat", "cache 1\ntotal_cache 50000\n");
    CHECK_INT(qk_available_memory(folder), 100000);
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "950000\n");
    CHECK_INT(qk_available_memory(folder), 1);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    snprintf(folder, sizeof folder, "/tmp/qk_layer_stream_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    qk_log_quiet(true);
    RUN(test_same_bits_of_carried_models);
    RUN(test_same_bits_of_goldens);
    RUN(test_order);
    RUN(test_stop);
    RUN(test_damaged_values);
    RUN(test_changing_files);
    RUN(test_reading_a_matrix);
    RUN(test_layer_budget);
    RUN(test_free_memory);
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command)) return 1;
    return test_summary("layer stream");
}
