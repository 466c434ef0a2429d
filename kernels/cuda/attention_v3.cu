/* Attention, third rung: tensor cores. For sm_80 and newer; the shipped kernel until a v4 for
 * Hopper (TMA, wgmma) takes its place there.
 *
 * The same walk as the second rung; what changes is who multiplies and how numbers travel.
 *   mma        a warp multiplies 16 x 16 by 16 x 8 bfloat16 tiles: 4096 FLOPs per instruction
 *   ldmatrix   brings four 8 x 8 tiles from shared memory in the layout that mma wants
 *   registers  p never leaves them: the layout in which mma leaves S is the one it takes p in
 *   cp.async   the next tile comes while this one is used: V_n during Q K_n, K_(n-1) during p V_n
 *   swizzle    chunks of 16 bytes change places within a row, by row: the 8 rows of an 8 x 8 tile
 *              then lie in 8 different banks, and so do the 8 chunks that 8 lanes copy
 *
 *             BN keys                                 one warp: 16 MT rows, all BN keys, all of d
 *          +-----------+      time ->
 *   warp 0 |           |      load   K_n | V_n        | K_n-1        |
 *   warp 1 |  S -> p   |      tensor     | Q K_n      | p V_n        |
 *   warp 2 |           |                 ^ wait+sync  ^ wait+sync
 *   warp 3 +-----------+
 *
 * Keys are taken from the diagonal down, so the masked blocks come first (and, with a window, last)
 * and the long middle runs without a mask. exp is 2^x with log2 e folded into the scale; the row
 * sum is kept per thread and added up once at the end. m is a score before the scale (or, with a
 * soft cap c, before the factor c), so a captured log-sum-exp is that times m, plus ln l.
 *
 * A scheduler issues one instruction per clock, for products and for everything else, so what is
 * not a product must be little: one xor takes a lane from fragment to fragment, one pointer walks
 * through keys and values, and old sums shrink only in blocks where some maximum of the warp grew.
 *
 *   HEAD_DIM   MT (BM)   BN       shared memory   registers of a thread: o 8 MT HEAD_DIM / 16,
 *      64      2 (128)   64            32 KB      S 8 MT BN / 16, and some 50 for fragments and
 *      80      2 (128)   64            40 KB      addresses; 255 is the limit, none are spilled
 *      96      2 (128)   64            48 KB      (kernels/cuda/budgets.txt)
 *     128      2 (128)   64 or 32      64, 48 KB  FLOPs  4 d per (query, key), T^2 / 2 pairs a head
 *     256      1 (64)    64 or 32      96, 64 KB  bytes  4 d / BM per pair from L2
 *
 * (BN: 64 where two blocks of that share an SM, see args.h.)
 *
 * Not measured yet: no GPU. From public measurements of kernels of this design: 280 to 340 TFLOP/s
 * on an H100 (causal, d = 128, 16k tokens), 170 to 185 on an A100.
 *
 * HAS_WINDOW, HAS_SOFT_CAP, HAS_CAPTURE and PADDED (d < HEAD_DIM) are constants in a specialised
 * build and otherwise decided at run time, with the same results. d is a multiple of 8.
 *
 * next: kernels/README.md for what the three rungs have in common */
#include "kernels/cuda/capture.h"

#ifndef HEAD_DIM
#define HEAD_DIM 128
#endif
#define THREADS 128
#define WARPS 4
#define BM V3_QUERIES(HEAD_DIM)
#define BN V3_KEYS(HEAD_DIM, CAPABILITY)
#define MT (BM / WARPS / 16)  /* 16-row tiles per warp */
#define CHUNKS (HEAD_DIM / 8) /* of 16 bytes in a row */
#define Q_BYTES (BM * HEAD_DIM * 2)
#define KV_BYTES (BN * HEAD_DIM * 2)

#ifndef HAS_WINDOW
#define HAS_WINDOW (a->window > 0)
#endif
#ifndef HAS_SOFT_CAP
#define HAS_SOFT_CAP (a->soft_cap > 0)
#endif
#ifndef HAS_CAPTURE
#define HAS_CAPTURE 1
#endif
#ifndef PADDED
#define PADDED (a->d < HEAD_DIM)
#endif

typedef struct state {
    float o[MT][HEAD_DIM / 8][4]; /* numerators, as mma leaves them */
    float m[MT][2], l[MT][2];     /* maxima, and this thread's part of the sums: rows g and g + 8 */
    float s[MT][BN / 8][4];       /* scores, then p */
} state;

/* ---- shared memory ---- */

/* Where chunk c of row r lies: at c ^ swizzle(r). Rows of 8 n chunks all start in the same bank, so
 * 8 rows need 8 places; rows of 8 n + 4 chunks start in two banks, rows of 8 n + 2 in four, and
 * need fewer: chunks move within groups of GROUP. */
#define GROUP (CHUNKS % 8 == 0 ? 8 : CHUNKS % 4 == 0 ? 4 : 2)

DEVICE u32 chunk_at(u32 tile, int row, int chunk)
{
    u32 r = (u32)row, c = (u32)chunk, swizzle = r / (8 / GROUP) % GROUP;
    return tile + 16 * (r * CHUNKS + (c ^ swizzle));
}

/* From a lane's place in the first fragment to its place in all others, in one instruction or none:
 * from chunk 0 or 1 of a row to that 2 k further, and 8 n rows down, which have the same swizzle.
 */
DEVICE u32 across(u32 at, int k)
{
    return (at ^ (u32)(16 * (2 * k % GROUP))) + (u32)(16 * (2 * k / GROUP * GROUP));
}

DEVICE u32 down(u32 at, int rows)
{
    return at + (u32)(16 * rows * CHUNKS);
}

/* Who copies what: a thread keeps its column of chunks and goes down the rows. 128 is no multiple
 * of 10 or 12, so with these some threads copy nothing, and the last step goes beyond the end. */
#define COPY_ROWS (THREADS / CHUNKS)
#define COPY_STEPS(rows) (((rows) + COPY_ROWS - 1) / COPY_ROWS)

/* Starts the copy of `rows` rows, of which the first `valid` are there; the rest becomes zero.
 * from: this thread's chunk in row thread_id() / CHUNKS; it ends COPY_STEPS(rows) steps below. */
DEVICE void load_tile(const attention_args *a, u32 tile, const bf16 **from, int rows, int valid)
{
    int first = thread_id() / CHUNKS, c = thread_id() % CHUNKS;
    EACH (i, COPY_STEPS(rows)) {
        int r = first + i * COPY_ROWS;
        if ((THREADS % CHUNKS == 0 || first < COPY_ROWS) && (rows % COPY_ROWS == 0 || r < rows))
            copy_async16(chunk_at(tile, r, c), *from, r < valid && (!PADDED || 8 * c < a->d));
        *from += COPY_ROWS * a->qkv_stride;
    }
}

/* ---- S = Q K^T ---- */

DEVICE void multiply_qk(state *x, u32 q_at, u32 k_at)
{
    EACH (t, MT)
        EACH (j, BN / 8)
            EACH (e, 4) x->s[t][j][e] = 0;
    EACH (k, HEAD_DIM / 16) {
        u32 q[MT][4];
        EACH (t, MT) ldmatrix4(q[t], down(across(q_at, k), 16 * t));
        EACH (j, BN / 16) {
            u32 b[4]; /* keys 16 j .. + 7: b[0], b[1]; the next 8: b[2], b[3] */
            ldmatrix4(b, down(across(k_at, k), 16 * j));
            EACH (t, MT) {
                mma_16x8x16(x->s[t][2 * j], q[t], b[0], b[1]);
                mma_16x8x16(x->s[t][2 * j + 1], q[t], b[2], b[3]);
            }
        }
    }
}

/* ---- p = softmax, one step ---- */

/* tanh(x) from 2 log2 e x, by 2^x: 1e-7 of 1, where the hardware's tanh.approx is off by 5e-4. */
DEVICE float cap(float x)
{
    return 1 - 2 * reciprocal_fast(exp2_fast(x) + 1);
}

/* Scores of keys that the query must not see become minus infinity. ahead: how many tokens the
 * tile's first query stands behind the block's first key. */
DEVICE void mask_scores(const attention_args *a, state *x, int ahead)
{
    int lane = thread_id() % WARP;
    int behind = ahead + thread_id() / WARP * 16 * MT + lane / 4 - 2 * (lane % 4);
    EACH (t, MT)
        EACH (h, 2) {
            int q = behind + 16 * t + 8 * h; /* counted from this thread's first key */
            EACH (j, BN / 8)
                EACH (i, 2) {
                    int k = 8 * j + i;
                    if (k > q || (HAS_WINDOW && k <= q - a->window))
                        x->s[t][j][2 * h + i] = minus_infinity();
                }
        }
}

/* The new maxima; what was summed up under the old ones shrinks. A row is held by the 4 lanes of a
 * quad. In the long middle of a sequence maxima seldom grow, and then all of this is one vote. */
DEVICE void raise_maxima(const attention_args *a, state *x)
{
    float correction[MT][2];
    int raised = 0;
    EACH (t, MT)
        EACH (h, 2) {
            float old = x->m[t][h], largest = old;
            EACH (j, BN / 8)
                largest = larger(largest, larger(x->s[t][j][2 * h], x->s[t][j][2 * h + 1]));
            largest = larger(largest, shuffle_xor(largest, 1));
            largest = larger(largest, shuffle_xor(largest, 2));
            x->m[t][h] = largest;
            /* Exactly 1, so that a row does not feel whether others voted. */
            correction[t][h] = largest == old ? 1 : exp2_fast((old - largest) * a->unit);
            raised |= largest > old;
        }
    if (!warp_ballot(raised)) return;
    EACH (t, MT)
        EACH (h, 2) {
            x->l[t][h] *= correction[t][h];
            EACH (j, HEAD_DIM / 8) {
                x->o[t][j][2 * h] *= correction[t][h];
                x->o[t][j][2 * h + 1] *= correction[t][h];
            }
        }
}

DEVICE void softmax_step(const attention_args *a, state *x)
{
    raise_maxima(a, x);
    EACH (t, MT)
        EACH (h, 2) {
            float m = x->m[t][h];
            float base = m == minus_infinity() ? 0 : m * a->unit; /* or nothing seen: p = 0 */
            EACH (j, BN / 8)
                EACH (i, 2) {
                    int e = 2 * h + i;
                    x->s[t][j][e] = exp2_fast(x->s[t][j][e] * a->unit - base);
                    x->l[t][h] += x->s[t][j][e];
                }
        }
}

/* ---- o += p V ---- */

DEVICE void multiply_pv(state *x, u32 v_at)
{
    EACH (k, BN / 16) {
        u32 p[MT][4]; /* 16 keys: the S tiles 2 k and 2 k + 1, rounded */
        EACH (t, MT)
            EACH (i, 4)
                p[t][i] = pack_bf16(x->s[t][2 * k + i / 2][2 * (i % 2)],
                                    x->s[t][2 * k + i / 2][2 * (i % 2) + 1]);
        EACH (j, HEAD_DIM / 16) {
            u32 b[4];
            ldmatrix4_transposed(b, down(across(v_at, j), 16 * k));
            EACH (t, MT) {
                mma_16x8x16(x->o[t][2 * j], p[t], b[0], b[1]);
                mma_16x8x16(x->o[t][2 * j + 1], p[t], b[2], b[3]);
            }
        }
    }
}

/* ---- beginning and end ---- */

DEVICE void clear(state *x)
{
    EACH (t, MT) {
        EACH (h, 2) {
            x->m[t][h] = minus_infinity();
            x->l[t][h] = 0;
        }
        EACH (j, HEAD_DIM / 8)
            EACH (e, 4) x->o[t][j][e] = 0;
    }
}

/* Reads its tile again, because registers are short in the loop. */
DEVICE void store_rows(const attention_args *a, state *x)
{
    attention_tile tile = load_tile_of_block(a);
    int lane = thread_id() % WARP, d = PADDED ? a->d : HEAD_DIM;
    EACH (t, MT)
        EACH (h, 2) {
            float sum = x->l[t][h];
            sum += shuffle_xor(sum, 1);
            sum += shuffle_xor(sum, 2);
            int row = tile.first + thread_id() / WARP * 16 * MT + 16 * t + lane / 4 + 8 * h;
            if (row >= tile.seq_end) continue;
            if (HAS_CAPTURE && a->lse && lane % 4 == 0)
                capture_lse(a, row, tile.head,
                            x->m[t][h] * (HAS_SOFT_CAP && a->soft_cap > 0 ? a->soft_cap : a->scale),
                            sum);
            bf16 *to = (bf16 *)a->o + row * a->o_stride + tile.head * d + 2 * (lane % 4);
            EACH (j, HEAD_DIM / 8)
                if (8 * j < d)
                    st_u32(to + 8 * j,
                           pack_bf16(x->o[t][j][2 * h] / sum, x->o[t][j][2 * h + 1] / sum));
        }
}

/* This thread's chunk of a row, at a column of the projection rows. */
DEVICE const bf16 *chunk_of_row(const attention_args *a, int row, int col)
{
    return (const bf16 *)a->qkv + (row + thread_id() / CHUNKS) * a->qkv_stride + col +
           8 * (thread_id() % CHUNKS);
}

DEVICE void attend_tile(const attention_args *a)
{
    attention_tile t = load_tile_of_block(a);
    u32 q_tile = shared_base(), k_tile = q_tile + Q_BYTES, v_tile = k_tile + KV_BYTES;
    name_shared(q_tile, Q_BYTES, "Q");
    name_shared(k_tile, KV_BYTES, "K");
    name_shared(v_tile, KV_BYTES, "V");
    int lane = thread_id() % WARP, row = thread_id() / WARP * 16 * MT;
    /* lanes 0-15: 16 queries, left half; lanes 16-31: right half; then 8 keys by halves, twice */
    u32 q_at = chunk_at(q_tile, row + lane % 16, lane / 16);
    u32 k_at = chunk_at(k_tile, lane % 8 + lane / 16 * 8, lane / 8 % 2);
    u32 v_at = chunk_at(v_tile, lane % 16, lane / 16);
    int d = PADDED ? a->d : HEAD_DIM, kv_head = t.head / (a->H / a->K);
    int k_col = (a->H + kv_head) * d;
    /* One pointer walks from K_n to V_n and to K_(n-1): each copy leaves it below its tile. */
    long long below = COPY_STEPS(BN) * COPY_ROWS * a->qkv_stride;
    long long to_v = a->K * d - below, to_k = -a->K * d - below - BN * a->qkv_stride;
    int end = t.first + BM < t.seq_end ? t.first + BM : t.seq_end;
    /* Blocks of keys lo .. hi - 1, counted from the sequence's first token. ahead: how many tokens
     * the tile's first query stands behind the first key of a block. */
    int first_q = t.first - t.seq_begin, hi = (end - t.seq_begin + BN - 1) / BN, lo = 0;
    if (HAS_WINDOW && first_q >= a->window) lo = (first_q - a->window + 1) / BN;
    int ahead = first_q - (hi - 1) * BN, last = first_q - lo * BN;
    state x;
    clear(&x);
    if (HAS_CAPTURE) capture_tile(a, &t, end, 2, thread_id() / WARP, WARPS);
    const bf16 *from = chunk_of_row(a, t.first, t.head * d);
    load_tile(a, q_tile, &from, BM, end - t.first);
    from = chunk_of_row(a, t.first - ahead, k_col);
    int valid = t.seq_end - t.first + ahead; /* rows of the block; more than BN: all */
    load_tile(a, k_tile, &from, BN, valid);
    copy_commit();
    for (; ahead <= last; ahead += BN) {
        copy_wait(0);
        sync_block(); /* K_n is there for all, and Q; all are done with V_(n+1) */
        from += to_v;
        load_tile(a, v_tile, &from, BN, valid);
        copy_commit();
        multiply_qk(&x, q_at, k_at);
        if (HAS_SOFT_CAP &&
            a->soft_cap > 0) /* a branch, so that Q K is not mixed with it: registers */
            EACH (i, MT)
                EACH (j, BN / 8)
                    EACH (e, 4) x.s[i][j][e] = cap(x.s[i][j][e] * a->cap_unit);
        if (ahead < BN - 1 || (HAS_WINDOW && ahead + BM > a->window)) mask_scores(a, &x, ahead);
        softmax_step(a, &x);
        copy_wait(0);
        sync_block(); /* V_n is there for all; all are done with K_n */
        from += to_k;
        valid = BN; /* only the first block can be cut */
        if (ahead < last) load_tile(a, k_tile, &from, BN, valid);
        copy_commit();
        multiply_pv(&x, v_at);
    }
    store_rows(a, &x);
}

KERNEL(attention_v3, THREADS, attention_args)
{
    attend_tile(&a);
}
