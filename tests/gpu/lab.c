/* make lab: the ladders of kernels/cuda, rung by rung. The last rung of each is the shipped kernel,
 * called through the op table as the product does.
 *
 *   lab [small]        status 77 where there is no GPU
 *
 * next: kernels/cuda/attention_v1.cu */
#include "tests/gpu/timing.h"

/* ---- attention ---- */

static void climb_attention(gpu *g, int first, int T)
{
    static const char *const ideas[] = {"the formula, one warp per query", "tiles in shared memory",
                                        "tensor cores (shipped)"};
    enum { H = 32, K = 8, D = 128 };
    int heads = g->small ? 4 : H, key_heads = g->small ? 2 : K;
    double before = 0;
    printf("\n| attention, %d heads on %d, d %d, %d tokens | idea | ms | TFLOP/s | of peak | times "
           "faster |\n|---|---|---:|---:|---:|---:|\n",
           heads, key_heads, D, T);
    for (int rung = first; rung <= 3; rung++) {
        double ms = time_attention(g, rung == 3 ? 0 : rung, QK_BF16, heads, key_heads, D, T);
        double rate = attention_flops(heads, D, T) / ms / 1e9;
        printf("| v%d | %s | %.3f | %.2f | %s | ", rung, ideas[rung - 1], ms, rate,
               percent(rate, g->peak));
        printf(before > 0 ? "%.1f |\n" : "|\n", before / ms);
        before = ms;
    }
}

/* ---- one pass over memory ---- */

typedef struct row_call {
    qk_tensor x, y, w;
} row_call;

static void call_rmsnorm(gpu *g, void *context)
{
    row_call *c = context;
    g->b->rmsnorm(g->dev, c->y, c->x, c->w.data, 1e-6f, false);
}

static void call_glu(gpu *g, void *context)
{
    row_call *c = context;
    g->b->glu(g->dev, c->y, c->x, QK_SILU);
}

/* The same op on rows that begin beside a multiple of 16 bytes, and on such that begin at one.
 * bytes: that it must move per row. */
static void climb_rows(gpu *g, const char *name, void (*call)(gpu *, void *), size_t in, size_t out,
                       double bytes)
{
    size_t T = g->small ? 30 : 16384;
    qk_tensor wide = randoms(g, QK_F32, T, in + 4), to = empty(g, QK_BF16, T, out + 4);
    row_call c = {.w = randoms(g, QK_F32, 1, in)};
    double before = 0;
    printf("\n| %s, %zu tokens | idea | ms | GB/s | of copying | times faster |\n"
           "|---|---|---:|---:|---:|---:|\n",
           name, T);
    for (int four = 0; four < 2; four++) {
        c.x = qk_cols(wide, four ? 4 : 1, in), c.y = qk_cols(to, four ? 4 : 1, out);
        double ms = time_of(g, call, &c), rate = bytes * (double)T / ms / 1e6;
        printf("| VEC %d | %s | %.3f | %.0f | %s | ", four ? 4 : 1,
               four ? "16 bytes per load (shipped)" : "one number per load", ms, rate,
               percent(rate, g->copy_rate));
        printf(before > 0 ? "%.1f |\n" : "|\n", before / ms);
        before = ms;
    }
    drop(g, &wide), drop(g, &to), drop(g, &c.w);
}

int main(int argc, char **argv)
{
    gpu g;
    gpu_begin(&g, argc, argv);
    enum { D = 4096, F = 12288 };
    climb_attention(&g, 1, g.small ? 40 : 2048);
    climb_attention(&g, 2, g.small ? 70 : 16384);
    climb_rows(&g, "rmsnorm", call_rmsnorm, D, D, 6.0 * D);
    climb_rows(&g, "glu", call_glu, 2 * F, F, 10.0 * F);
    printf("\nMatrix products have one rung, cuBLASLt: make gpu-bench.\n");
    gpu_close(&g);
    return 0;
}
