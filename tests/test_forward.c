/* engine/forward, engine/model: the last captured layer ends after q and k, after v, or after
 * attention. Whatever it ends with, its rows and those of the layers before it have the bits that
 * the whole model gives them, no matrix is made that none of them needs, and the plan's numbers
 * are those of what is made. */
#include "tests/generated.h"
#include "tests/test.h"

#include "engine/forward/forward.h"
#include "engine/model/model.h"

enum { TOKENS = 37, MAX_LAYERS = 8, MAX_HEADS = 16, MAX_D = 64 };

typedef struct rows {
    float q[MAX_HEADS * TOKENS * MAX_D], k[MAX_HEADS * TOKENS * MAX_D];
    float v[MAX_HEADS * TOKENS * MAX_D], lse[MAX_HEADS * TOKENS];
} rows;

typedef struct run {
    const qk_model *m;
    int32_t tokens[TOKENS], heads[MAX_HEADS];
    rows layer[MAX_LAYERS];
    qk_row_copy copies[MAX_LAYERS][3];
    qk_layer_capture captures[MAX_LAYERS];
} run;

/* All that the layer has. */
static const qk_layer_capture *want(void *context, int l)
{
    run *r = context;
    const qk_spec *s = &r->m->spec;
    size_t H = (size_t)s->H, K = (size_t)s->K;
    rows *to = &r->layer[l];
    qk_row_copy *c = r->copies[l];
    qk_last_layer needs = qk_layer_needs(l, r->m->n_layers, r->m->last);
    float *lse = needs >= QK_LAST_ATTENTION ? to->lse : NULL;
    c[0] = (qk_row_copy){r->tokens, r->heads, TOKENS, H, to->q, lse};
    c[1] = (qk_row_copy){r->tokens, r->heads, TOKENS, K, to->k, NULL};
    c[2] = (qk_row_copy){r->tokens, r->heads, TOKENS, K, to->v, NULL};
    r->captures[l] = (qk_layer_capture){&c[0], &c[1], 1, 1, &c[2], needs >= QK_LAST_QKV};
    return &r->captures[l];
}

/* ---- what is made ---- */

static const qk_backend *under;
static uint64_t made; /* numbers in matrices */

static qk_status count_matrix(qk_device *dev, size_t out, size_t in, const char *what,
                              qk_matrix **m, qk_error *err)
{
    made += (uint64_t)out * in;
    return under->matrix_new(dev, out, in, what, m, err);
}

static uint64_t planned(const qk_model *m, const qk_model_options *o)
{
    qk_arena arena = {0};
    qk_model_size size;
    uint64_t bytes = 0;
    qk_model_size_of(&size, &m->spec, m->backend, m->compute, o->last_layer, m->last, &arena);
    for (int l = 0; l < size.layers; l++) bytes += size.layer[l];
    qk_arena_free(&arena);
    return bytes / m->backend->weight_size[m->compute];
}

/* Runs two sequences, of 20 and 17 tokens. */
static bool run_model(run *r, const char *folder, const qk_model_options *o)
{
    static const int32_t starts[] = {0, 20, TOKENS};
    int32_t ids[TOKENS];
    qk_model m;
    memset(r, 0, sizeof *r);
    made = 0;
    qk_status s = qk_model_load(&m, folder, o, &test_error);
    CHECK_MSG(s == QK_OK, "%s: %s", folder, test_error.message);
    if (s != QK_OK) return false;
    QK_ASSERT(m.n_layers <= MAX_LAYERS && m.spec.H <= MAX_HEADS && m.spec.d <= MAX_D);
    CHECK_MSG(made == planned(&m, o), "%s: %llu numbers in matrices, planned %llu", folder,
              (unsigned long long)made, (unsigned long long)planned(&m, o));
    r->m = &m;
    for (int i = 0; i < TOKENS; i++) ids[i] = (5 + 11 * i) % m.spec.V, r->tokens[i] = i;
    for (int h = 0; h < MAX_HEADS; h++) r->heads[h] = h;
    qk_forward *f = qk_forward_new(&m);
    const qk_batch batch = {ids, starts, 2};
    const qk_capture_hooks hooks = {r, NULL, want, NULL, NULL};
    CHECK(qk_forward_run(f, &batch, &hooks, &test_error) == QK_OK);
    qk_forward_free(f);
    qk_model_free(&m);
    return true;
}

/* ---- the same rows ---- */

static void compare(const char *name, const run *got, const run *whole, const qk_model_options *o)
{
    for (int l = 0; l <= o->last_layer; l++) {
        qk_last_layer needs = qk_layer_needs(l, o->last_layer + 1, o->last_needs);
        const rows *a = &got->layer[l], *b = &whole->layer[l];
        bool same = !memcmp(a->q, b->q, sizeof a->q) && !memcmp(a->k, b->k, sizeof a->k);
        if (needs >= QK_LAST_QKV) same &= !memcmp(a->v, b->v, sizeof a->v);
        if (needs >= QK_LAST_ATTENTION) same &= !memcmp(a->lse, b->lse, sizeof a->lse);
        CHECK_MSG(same, "%s %s, last layer %d to its %d: other rows in layer %d", name,
                  qk_dtype_name(o->device.compute), o->last_layer, (int)o->last_needs, l);
    }
}

static void check_model(const char *name, const char *folder, const char *backend, qk_dtype compute)
{
    static run whole, got;
    qk_backend counting = *(under = qk_backend_find(backend));
    counting.matrix_new = count_matrix;
    qk_model_options o = {
        .backend = &counting, .device = {.compute = compute, .threads = 2}, .last_layer = -1};
    qk_arena arena = {0};
    qk_spec spec;
    CHECK(qk_spec_read(&spec, folder, NULL, &arena, &test_error) == QK_OK);
    if (!run_model(&whole, folder, &o)) return;
    CHECK(whole.layer[0].v[0] != 0 && whole.layer[0].lse[TOKENS - 1] != 0);
    uint64_t before = 0;
    for (o.last_layer = 0; o.last_layer < spec.layers; o.last_layer++)
        for (o.last_needs = QK_LAST_QK; o.last_needs < QK_LAST_WHOLE; o.last_needs++) {
            if (!run_model(&got, folder, &o)) return;
            CHECK(o.last_needs == QK_LAST_ATTENTION ? made == before : made > before);
            before = made;
            compare(name, &got, &whole, &o);
        }
    qk_arena_free(&arena);
}

static void test_carried(void)
{
    static const char *const names[] = {"qwen3", "llama_bf16_sharded", "olmo3_windows"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *folder = qk_strf("tests/data/forward/%s/model", names[i]);
        check_model(names[i], folder, "cpu", QK_F32);
        check_model(names[i], folder, "cpu", QK_BF16);
        check_model(names[i], folder, "ref", QK_F32);
        free(folder);
    }
}

/* Biases, q, k and v in one tensor, experts, soft caps. */
static void test_families(void)
{
    static const char *const names[] = {"qwen2_bias", "phi3_fused", "mixtral", "gemma2_softcap"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char made_here[] = "/tmp/qk_forward_XXXXXX";
        CHECK(mkdtemp(made_here) && generated_model(names[i], made_here));
        char *folder = qk_path_join(made_here, "model");
        check_model(names[i], folder, "cpu", QK_F32);
        check_model(names[i], folder, "cpu", QK_BF16);
        free(folder);
        generated_remove(made_here);
    }
}

/* ---- what it costs ---- */

static void test_flops(void)
{
    qk_arena arena = {0};
    qk_spec s;
    CHECK(qk_spec_read(&s, "tests/data/forward/olmo3_windows/model", NULL, &arena, &test_error) ==
          QK_OK);
    double length = 1000, d = s.d, q = s.H * d, k = s.K * d, D = s.D;
    for (int l = 0; l < s.layers; l++) {
        double flops[3], seen = s.layer[l].window ? s.layer[l].window : (length + 1) / 2;
        for (int needs = QK_LAST_QK; needs < QK_LAST_WHOLE; needs++)
            flops[needs] = qk_forward_flops(&s, l, (qk_last_layer)needs, length);
        CHECK_CLOSE(flops[QK_LAST_QKV] - flops[QK_LAST_QK], 2 * length * D * k, 1);
        CHECK_CLOSE(flops[QK_LAST_ATTENTION] - flops[QK_LAST_QKV], 4 * length * seen * q, 1);
        double next = l + 1 < s.layers ? qk_forward_flops(&s, l + 1, QK_LAST_QK, length) -
                                             2 * length * D * (q + k)
                                       : qk_forward_flops(&s, -1, QK_LAST_WHOLE, length);
        CHECK_CLOSE(next - flops[QK_LAST_ATTENTION], 2 * length * (q * D + 3 * D * s.F), 1);
    }
    qk_arena_free(&arena);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_carried);
    RUN(test_families);
    RUN(test_flops);
    return test_summary("forward");
}
