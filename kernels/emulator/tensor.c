/* The emulator's tensor cores: fragments are spread over a warp's 32 threads exactly as the PTX ISA
 * lays them out; see kernels/cuda/port.h.
 *
 * next: kernels/cuda/attention_v3.cu */
#include "kernels/emulator/internal.h"

/* ---- ldmatrix ---- */

static struct {
    u32 at[WARP];
    u32 *out[WARP];
} loads[MAX_WARPS];

/* Eight rows of 16 bytes arrive in one go when they lie in eight different columns of 16 bytes. */
static void count_load_conflicts(const u32 *at)
{
    u32 columns = 0;
    for (int r = 0; r < 8; r++) {
        u32 bit = 1u << (at[r] / 16 % 8);
        if (columns & bit) emu_count_conflicts(1);
        columns |= bit;
    }
}

static void load_matrices(bool transposed)
{
    int warp = emu_thread->warp, first = emu_warp_first();
    u16 m[4][8][8];
    for (int l = 0; l < WARP; l++)
        memcpy(
            m[l / 8][l % 8],
            emu_shared_read(loads[warp].at[l], 16, &emu_block.threads[first + l], true, "ldmatrix"),
            16);
    for (int i = 0; i < 4; i++) count_load_conflicts(&loads[warp].at[8 * i]);
    for (int l = 0; l < WARP; l++)
        for (int i = 0; i < 4; i++) {
            int r = l / 4, c = 2 * (l % 4);
            u16 lo = transposed ? m[i][c][r] : m[i][r][c];
            u16 hi = transposed ? m[i][c + 1][r] : m[i][r][c + 1];
            loads[warp].out[l][i] = lo | (u32)hi << 16;
        }
}

static void load(u32 *r, u32 at, bool transposed, const char *what)
{
    int warp = emu_thread->warp, lane = emu_thread->lane;
    loads[warp].at[lane] = at;
    loads[warp].out[lane] = r;
    if (emu_warp_meet(what)) {
        load_matrices(transposed);
        emu_warp_leave();
    }
}

void ldmatrix4(u32 *r, u32 at)
{
    load(r, at, false, "ldmatrix4");
}

void ldmatrix4_transposed(u32 *r, u32 at)
{
    load(r, at, true, "ldmatrix4_transposed");
}

/* ---- mma ---- */

static struct {
    float *d[WARP];
    u32 a[WARP][4], b[WARP][2];
} products[MAX_WARPS];

static void multiply(int warp)
{
    float a[16][16], b[16][8], d[16][8];
    for (int l = 0; l < WARP; l++) {
        int g = l / 4, c = 2 * (l % 4);
        const u32 *fa = products[warp].a[l], *fb = products[warp].b[l];
        for (int i = 0; i < 4; i++) {
            a[g + 8 * (i & 1)][c + 8 * (i >> 1)] = low_bf16(fa[i]);
            a[g + 8 * (i & 1)][c + 8 * (i >> 1) + 1] = high_bf16(fa[i]);
        }
        for (int i = 0; i < 2; i++) {
            b[c + 8 * i][g] = low_bf16(fb[i]);
            b[c + 8 * i + 1][g] = high_bf16(fb[i]);
        }
        for (int i = 0; i < 4; i++) d[g + 8 * (i >> 1)][c + (i & 1)] = products[warp].d[l][i];
    }
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++) d[i][j] += a[i][k] * b[k][j];
    for (int l = 0; l < WARP; l++)
        for (int i = 0; i < 4; i++)
            products[warp].d[l][i] = d[l / 4 + 8 * (i >> 1)][2 * (l % 4) + (i & 1)];
    emu_count_product();
}

void mma_16x8x16(float *d, const u32 *a, u32 b0, u32 b1)
{
    int warp = emu_thread->warp, lane = emu_thread->lane;
    products[warp].d[lane] = d;
    memcpy(products[warp].a[lane], a, 16);
    products[warp].b[lane][0] = b0;
    products[warp].b[lane][1] = b1;
    if (emu_warp_meet("mma_16x8x16")) {
        multiply(warp);
        emu_warp_leave();
    }
}
