/* make gpu-bench: each op of the CUDA backend at the shapes of Qwen3-8B with 16,384 tokens, as
 * tables that can be pasted into kernels/SPEED.md.
 *
 *   bench [small]      status 77 where there is no GPU
 *   bench which        only says which GPU it is
 *
 * GB/s counts the bytes that an op must move: every input and output once. TFLOP/s: 2 T in out for
 * a product; for attention see timing.h.
 *
 * What capture costs in a whole forward says `qkengine bench`, which run.sh calls behind this.
 *
 * next: tests/gpu/run.sh */
#include "tests/gpu/timing.h"

typedef struct shape {
    size_t T, D, F, V;
    qk_heads heads;
} shape;

static const shape qwen3_8b = {16384, 4096, 12288, 32768, {32, 8, 128, true}};
static const shape tiny = {40, 64, 96, 100, {4, 2, 16, true}};

/* ---- ops that walk along rows ---- */

/* Everything that an op could want. */
typedef struct rows_call {
    const shape *s;
    qk_tensor x, y, half, half2, wide, wide_half, g, glu, table, w, cos, sin;
    int32_t *ids, *positions;
    const int32_t *rows; /* device memory: a permutation */
    const float *weights;
} rows_call;

#define OP(name, ...)                                                                              \
    static void call_##name(gpu *g, void *context)                                                 \
    {                                                                                              \
        rows_call *c = context;                                                                    \
        __VA_ARGS__;                                                                               \
    }
OP(embed, g->b->embed(g->dev, c->x, c->table, c->ids, 1))
OP(rmsnorm, g->b->rmsnorm(g->dev, c->half, c->x, c->w.data, 1e-6f, false))
OP(convert, g->b->convert(g->dev, c->half, c->x))
OP(add, g->b->add(g->dev, c->x, c->y, NULL, 0, false, 1e-3f))
OP(add_norm, g->b->add(g->dev, c->x, c->y, c->w.data, 1e-6f, false, 1e-3f))
OP(glu, g->b->glu(g->dev, c->glu, c->g, QK_SILU))
OP(take_rows, g->b->take_rows(g->dev, c->half, c->half2, c->rows))
OP(add_rows, g->b->add_rows(g->dev, c->x, c->y, c->rows, c->weights))

static void call_qkv_post(gpu *g, void *context)
{
    rows_call *c = context;
    qk_qkv_post p = {.heads = c->s->heads,
                     .q_norm = c->w.data,
                     .k_norm = c->w.data,
                     .eps = 1e-6f,
                     .cos = c->cos.data,
                     .sin = c->sin.data,
                     .table_row = c->positions,
                     .rotary = c->s->heads.d};
    g->b->qkv_post(g->dev, c->wide_half, c->wide, &p, 0);
}

static void open_rows(gpu *g, rows_call *c, const shape *s)
{
    size_t width = qk_heads_width(s->heads), half = (size_t)s->heads.d / 2;
    *c = (rows_call){.s = s};
    c->x = randoms(g, QK_F32, s->T, s->D), c->y = randoms(g, QK_F32, s->T, s->D);
    c->half = randoms(g, QK_BF16, s->T, s->D), c->half2 = randoms(g, QK_BF16, s->T, s->D);
    c->wide = randoms(g, QK_F32, s->T, width), c->wide_half = empty(g, QK_BF16, s->T, width);
    c->g = randoms(g, QK_F32, s->T, 2 * s->F), c->glu = empty(g, QK_BF16, s->T, s->F);
    c->table = randoms(g, QK_BF16, s->V, s->D), c->w = randoms(g, QK_F32, 1, s->D);
    c->cos = randoms(g, QK_F32, s->T, half), c->sin = randoms(g, QK_F32, s->T, half);
    c->ids = qk_alloc(s->T, sizeof *c->ids), c->positions = qk_alloc(s->T, sizeof *c->positions);
    for (size_t t = 0; t < s->T; t++) {
        c->ids[t] = (int32_t)(t * 7919 % s->V);
        c->positions[t] = (int32_t)t;
    }
    /* One expert takes all rows: the order is the rows' own, the weights are 1. */
    qk_tensor logits = randoms(g, QK_F32, s->T, 1);
    const qk_routes *r = g->b->route(g->dev, logits, 1, true);
    c->rows = r->rows, c->weights = r->weights;
    drop(g, &logits);
}

static void close_rows(gpu *g, rows_call *c)
{
    qk_tensor *all[] = {&c->x, &c->y,   &c->half,  &c->half2, &c->wide, &c->wide_half,
                        &c->g, &c->glu, &c->table, &c->w,     &c->cos,  &c->sin};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(g, all[i]);
    free(c->ids), free(c->positions);
}

static void measure_rows(gpu *g, const shape *s)
{
    rows_call c;
    open_rows(g, &c, s);
    double D = (double)s->D, F = (double)s->F, W = (double)qk_heads_width(s->heads);
    const struct {
        const char *name;
        void (*call)(gpu *, void *);
        double bytes; /* per token */
    } all[] = {
        {"embed", call_embed, 2 * D + 4 * D},
        {"rmsnorm to bf16", call_rmsnorm, 4 * D + 2 * D},
        {"convert to bf16", call_convert, 4 * D + 2 * D},
        {"add", call_add, 3 * 4 * D},
        {"add with norm", call_add_norm, 3 * 4 * D},
        {"qkv_post", call_qkv_post, 4 * W + 2 * W},
        {"glu (SiLU)", call_glu, 8 * F + 2 * F},
        {"take_rows, bf16", call_take_rows, 2 * 2 * D},
        {"add_rows", call_add_rows, 3 * 4 * D},
    };
    printf("\n| op, %zu tokens, D %zu, F %zu | ms | GB/s | of copying |\n|---|---:|---:|---:|\n",
           s->T, s->D, s->F);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        double ms = time_of(g, all[i].call, &c), rate = all[i].bytes * (double)s->T / ms / 1e6;
        printf("| %s | %.3f | %.0f | %s |\n", all[i].name, ms, rate, percent(rate, g->copy_rate));
    }
    close_rows(g, &c);
}

/* ---- products ---- */

typedef struct product_call {
    qk_tensor x, y;
    qk_matrix *m;
    bool accumulate;
} product_call;

static void call_product(gpu *g, void *context)
{
    product_call *c = context;
    g->b->matmul(g->dev, c->y, c->x, c->m, NULL, c->accumulate);
}

static void measure_product(gpu *g, const char *name, size_t T, size_t in, size_t out, bool add)
{
    product_call c = {.x = randoms(g, QK_BF16, T, in), .y = randoms(g, QK_F32, T, out)};
    c.accumulate = add;
    if (g->b->matrix_new(g->dev, out, in, name, &c.m, &test_error)) must(g, false);
    float *w = noises(in * out, 8);
    g->b->matrix_load(g->dev, c.m, 0, out, w, QK_F32);
    free(w);
    double ms = time_of(g, call_product, &c),
           rate = 2 * (double)T * (double)in * (double)out / ms / 1e9;
    printf("| %s | %zu | %zu | %zu | %.3f | %.0f | %s |\n", name, T, in, out, ms, rate,
           percent(rate, g->peak));
    g->b->matrix_free(g->dev, c.m);
    drop(g, &c.x), drop(g, &c.y);
}

static void measure_products(gpu *g, const shape *s)
{
    size_t qkv = qk_heads_width(s->heads), q = (size_t)(s->heads.H * s->heads.d);
    printf("\n| product | tokens | in | out | ms | TFLOP/s | of peak |\n"
           "|---|---:|---:|---:|---:|---:|---:|\n");
    for (size_t T = s->T / 4; T <= s->T; T *= 4) {
        measure_product(g, "q, k, v", T, s->D, qkv, false);
        measure_product(g, "o, added", T, q, s->D, true);
        measure_product(g, "gate, up", T, s->D, 2 * s->F, false);
        measure_product(g, "down, added", T, s->F, s->D, true);
    }
}

/* ---- attention ---- */

/* One row of the table. float32 does not run on the tensor cores, so it has no part of their peak.
 */
static void measure_rung(gpu *g, const shape *s, int rung, qk_dtype dtype, int d, int T)
{
    int H = s->heads.H, K = s->heads.K;
    double ms = time_attention(g, rung, dtype, H, K, d, T),
           rate = attention_flops(H, d, T) / ms / 1e9;
    printf("| v%d, %s | %d | %d | %.3f | %.1f | %s |\n", rung, qk_dtype_name(dtype), d, T, ms, rate,
           dtype == QK_BF16 ? percent(rate, g->peak) : "-");
}

static void measure_attention(gpu *g, const shape *s)
{
    static const int dims[] = {64, 128, 256}, lengths[] = {2048, 8192, 16384},
                     tiny_lengths[] = {20, 66, 100};
    const int *T = g->small ? tiny_lengths : lengths;
    printf("\n| attention, %d heads on %d, causal | d | tokens | ms | TFLOP/s | of peak |\n"
           "|---|---:|---:|---:|---:|---:|\n",
           s->heads.H, s->heads.K);
    for (int rung = 1; rung <= 3; rung++)
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < (rung == 1 ? 1 : 3); j++)
                measure_rung(g, s, rung, QK_BF16, dims[i], T[j]);
    for (int i = 0; i < 2; i++) measure_rung(g, s, 2, QK_F32, dims[i], T[1]);
}

int main(int argc, char **argv)
{
    gpu g;
    if (has_argument(argc, argv, "which")) {
        test_on_gpu();
        puts(tested->describe(first_device));
        return 0;
    }
    gpu_begin(&g, argc, argv);
    const shape *s = g.small ? &tiny : &qwen3_8b;
    measure_rows(&g, s);
    measure_products(&g, s);
    measure_attention(&g, s);
    gpu_close(&g);
    return 0;
}
