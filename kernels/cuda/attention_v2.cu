/* Attention, second rung: tiles in shared memory and online softmax.
 *
 * A block takes 64 query rows of one head and walks through the keys 64 at a time. Each row keeps a
 * running maximum m, sum l and numerator o (Milakov and Gimelshein, 2018; Dao et al., 2022):
 *
 *   m' = max(m, rowmax S)   p = exp(S - m')   c = exp(m - m')   l = c l + sum p   o = c o + p v
 *
 *             64 keys                              d
 *          +-----------+                     +-----------+
 *   64 q   |  S -> p   |  x  V [64 keys, d]  |  o        |   thread (y, x): rows 4 y .. 4 y + 3,
 *          +-----------+                     +-----------+   columns x, x + 16, x + 32, ...
 *
 * What it adds to the first rung: K and V are read once per 64 rows instead of once per row, and
 * scores are formed once. Each number loaded from shared memory serves 4 multiply-adds.
 *
 * tile        64 x 64, 256 threads as 16 x 16        registers  4 x 4 scores + 4 x d/16 outputs
 * shared      Q 128 d + K or V 128 d + p 16640 bytes: 48 KB at d = 128, 80 KB at d = 256
 *             float32: Q 256 d + K or V 256 d + p, 80 KB at d = 128
 * FLOPs       4 d per (query, key), in float32: 67 TFLOP/s at most on an H100, tensor cores idle
 * bytes       4 d / 64 per pair from L2
 *
 * After the last key m + ln l is the log-sum-exp of the row, in the registers of 16 threads: where
 * it is captured, the first of them writes it.
 *
 * HEAD_DIM is the padded head size: numbers d .. HEAD_DIM - 1 of a row are zero here. Built with
 * HEAD_DIM_F32 instead, it reads and writes float32 rows: the best rung for them, up to d = 128.
 *
 * next: kernels/cuda/attention_v3.cu */
#include "kernels/cuda/capture.h"

#ifdef HEAD_DIM_F32
#define HEAD_DIM HEAD_DIM_F32
#define ELEMENT 4 /* bytes of a number */
#else
#define ELEMENT 2
#endif
#ifndef HEAD_DIM
#define HEAD_DIM 128
#endif
#define THREADS 256
#define BM 64
#define BN 64
#define COLUMNS (HEAD_DIM / 16) /* of o per thread */
#define P_STRIDE 65             /* floats; odd, so that a column of p lies in different banks */
#define Q_BYTES (BM * HEAD_DIM * ELEMENT)
#define KV_BYTES (BN * HEAD_DIM * ELEMENT)
#define ATTENTION_V2_SHARED (Q_BYTES + KV_BYTES + BM * P_STRIDE * 4)

/* ---- a tile of Q, K or V: pairs of numbers ---- */

/* Pair c (numbers 2 c, 2 c + 1) of row r. Pairs of a row are rotated by the row, so that 16 threads
 * that read one pair of 16 rows meet 16 banks. */
DEVICE u32 pair_at(u32 tile, int r, int c)
{
    return tile + 2u * ELEMENT * (u32)(r * (HEAD_DIM / 2) + (c + r) % (HEAD_DIM / 2));
}

typedef struct pair {
    float lo, hi;
} pair;

DEVICE pair ld_pair(u32 at)
{
    pair p;
#if ELEMENT == 4
    p.lo = ld_shared_f32(at);
    p.hi = ld_shared_f32(at + 4);
#else
    u32 both = ld_shared_u32(at);
    p.lo = low_bf16(both);
    p.hi = high_bf16(both);
#endif
    return p;
}

/* Number i of a projection row goes to shared memory, the one behind it too; zeros when outside. */
DEVICE void copy_pair(u32 to, const void *row, int i, int n)
{
#if ELEMENT == 4
    st_shared_f32(to, i < n ? ld_f32((const float *)row + i) : 0);
    st_shared_f32(to + 4, i + 1 < n ? ld_f32((const float *)row + i + 1) : 0);
#else
    u32 lo = i < n ? ld_u16((const bf16 *)row + i) : 0;
    u32 hi = i + 1 < n ? ld_u16((const bf16 *)row + i + 1) : 0;
    st_shared_u32(to, lo | hi << 16);
#endif
}

DEVICE u32 p_at(u32 p, int r, int c)
{
    return p + 4u * (u32)(r * P_STRIDE + c);
}

/* Rows row .. row + 63 (those before `end`) of columns col .. col + d - 1; the rest is zero. */
DEVICE void load_tile(const attention_args *a, u32 tile, int row, int end, int col)
{
    for (int i = thread_id(); i < BM * HEAD_DIM / 2; i += THREADS) {
        int r = i / (HEAD_DIM / 2), c = i % (HEAD_DIM / 2);
        const u8 *from = (const u8 *)a->qkv + ELEMENT * ((row + r) * a->qkv_stride + col);
        copy_pair(pair_at(tile, r, c), from, 2 * c, row + r < end ? a->d : 0);
    }
}

/* s = scale q . k for 4 x 4 (query, key) pairs; soft cap. */
DEVICE void scores(const attention_args *a, float s[4][4], u32 q_tile, u32 k_tile)
{
    int y = thread_id() / 16, x = thread_id() % 16;
    EACH (i, 4)
        EACH (j, 4) s[i][j] = 0;
    for (int c = 0; c < HEAD_DIM / 2; c++) {
        pair q[4], k[4];
        EACH (i, 4) q[i] = ld_pair(pair_at(q_tile, 4 * y + i, c));
        EACH (j, 4) k[j] = ld_pair(pair_at(k_tile, x + 16 * j, c));
        EACH (i, 4)
            EACH (j, 4) s[i][j] += q[i].lo * k[j].lo + q[i].hi * k[j].hi;
    }
    EACH (i, 4)
        EACH (j, 4) {
            s[i][j] *= a->scale;
            if (a->soft_cap > 0) s[i][j] = a->soft_cap * tanh_exact(s[i][j] / a->soft_cap);
        }
}

/* Keys that the query must not see score minus infinity. q, k: numbers within the sequence. */
DEVICE void mask_scores(const attention_args *a, float s[4][4], int first_q, int first_k)
{
    int y = thread_id() / 16, x = thread_id() % 16;
    EACH (i, 4)
        EACH (j, 4) {
            int q = first_q + 4 * y + i, k = first_k + x + 16 * j;
            if (k > q || (a->window > 0 && k <= q - a->window)) s[i][j] = minus_infinity();
        }
}

/* One step of online softmax for 4 rows; p goes to shared memory. A row's 64 scores are held by 16
 * neighbouring lanes. */
DEVICE void softmax_step(float s[4][4], float *m, float *l, float o[4][COLUMNS], u32 p)
{
    int y = thread_id() / 16, x = thread_id() % 16;
    EACH (i, 4) {
        float largest = larger(larger(s[i][0], s[i][1]), larger(s[i][2], s[i][3])), sum = 0;
        BUTTERFLY (mask, 8) largest = larger(largest, shuffle_xor(largest, mask));
        largest = larger(m[i], largest);
        float base = largest == minus_infinity() ? 0 : largest; /* nothing seen yet: p = 0 */
        float correction = exp2_fast((m[i] - base) * LOG2E);
        EACH (j, 4) {
            float e = exp2_fast((s[i][j] - base) * LOG2E);
            st_shared_f32(p_at(p, 4 * y + i, x + 16 * j), e);
            sum += e;
        }
        BUTTERFLY (mask, 8) sum += shuffle_xor(sum, mask);
        l[i] = l[i] * correction + sum;
        m[i] = largest;
        EACH (c, COLUMNS) o[i][c] *= correction;
    }
}

/* o += p v */
DEVICE void add_values(float o[4][COLUMNS], u32 p, u32 v_tile)
{
    int y = thread_id() / 16, x = thread_id() % 16;
    for (int k = 0; k < BN; k++) {
        float weight[4];
        EACH (i, 4) weight[i] = ld_shared_f32(p_at(p, 4 * y + i, k));
        EACH (c, COLUMNS / 2) {
            pair v = ld_pair(pair_at(v_tile, k, x + 16 * c));
            EACH (i, 4) {
                o[i][2 * c] += weight[i] * v.lo;
                o[i][2 * c + 1] += weight[i] * v.hi;
            }
        }
#if COLUMNS % 2 /* HEAD_DIM = 80: the last 16 numbers are 8 pairs */
        pair v = ld_pair(pair_at(v_tile, k, 8 * (COLUMNS - 1) + x / 2));
        EACH (i, 4) o[i][COLUMNS - 1] += weight[i] * (x % 2 ? v.hi : v.lo);
#endif
    }
}

/* The column of o[.][c]. */
DEVICE int column(int c)
{
    int x = thread_id() % 16;
    if (COLUMNS % 2 && c == COLUMNS - 1) return 16 * (COLUMNS - 1) + x;
    return 2 * (x + 16 * (c / 2)) + c % 2;
}

/* The 16 threads of a row have the same m and l. */
DEVICE void store_rows(const attention_args *a, const attention_tile *t, float o[4][COLUMNS],
                       const float *m, const float *l)
{
    int y = thread_id() / 16;
    EACH (i, 4) {
        int row = t->first + 4 * y + i;
        if (a->lse && row < t->seq_end && thread_id() % 16 == 0)
            capture_lse(a, row, t->head, m[i], l[i]);
        long long to = row * a->o_stride + t->head * a->d;
        EACH (c, COLUMNS)
            if (row < t->seq_end && column(c) < a->d) {
#if ELEMENT == 4
                st_f32((float *)a->o + to + column(c), o[i][c] / l[i]);
#else
                st_u16((bf16 *)a->o + to + column(c), f32_to_bf16(o[i][c] / l[i]));
#endif
            }
    }
}

#if ELEMENT == 4
KERNEL(attention_v2_f32, THREADS, attention_args)
#else
KERNEL(attention_v2, THREADS, attention_args)
#endif
{
    attention_tile t = load_tile_of_block(&a);
    u32 q_tile = shared_base(), kv_tile = q_tile + Q_BYTES, p = kv_tile + KV_BYTES;
    name_shared(q_tile, Q_BYTES, "Q");
    name_shared(kv_tile, KV_BYTES, "K or V");
    name_shared(p, BM * P_STRIDE * 4, "p");
    int end = t.first + BM < t.seq_end ? t.first + BM : t.seq_end;
    int kv_head = t.head / (a.H / a.K), k_col = (a.H + kv_head) * a.d, v_col = k_col + a.K * a.d;
    int first_q = t.first - t.seq_begin, first_k = 0; /* numbers within the sequence */
    if (a.window > 0 && first_q >= a.window) first_k = (first_q - a.window + 1) / BN * BN;
    float m[4], l[4] = {0}, o[4][COLUMNS];
    EACH (i, 4) {
        m[i] = minus_infinity();
        EACH (c, COLUMNS) o[i][c] = 0;
    }
    capture_tile(&a, &t, end, ELEMENT, thread_id() / WARP, THREADS / WARP);
    load_tile(&a, q_tile, t.first, end, t.head * a.d);
    for (int k = first_k; k < first_q + BM && t.seq_begin + k < t.seq_end; k += BN) {
        float s[4][4];
        sync_block(); /* V of the last step has been used */
        load_tile(&a, kv_tile, t.seq_begin + k, t.seq_end, k_col);
        sync_block();
        scores(&a, s, q_tile, kv_tile);
        mask_scores(&a, s, first_q, k);
        softmax_step(s, m, l, o, p);
        sync_block(); /* K has been used; p is there */
        load_tile(&a, kv_tile, t.seq_begin + k, t.seq_end, v_col);
        sync_block();
        add_values(o, p, kv_tile);
    }
    store_rows(&a, &t, o, m, l);
}
