/* Attention, first rung: the formula, one warp per query row.
 *
 *   o = sum_j p_j v_j / sum_j p_j,   p_j = exp(s_j - max s),   s_j = scale q . k_j
 *
 * over the keys j that the row may see: those of its own sequence, not after it and, with a window,
 * not more than window - 1 before it. With a soft cap c, s becomes c tanh(s / c).
 *
 *                  keys ->
 *            q row  [. . . . x]     pass 1: the largest score
 *                   [. . . . x]     pass 2: the same scores again, p and the sums
 *
 * tile        1 query row per warp, 4 per block      registers  ~60: q and o, d / 32 numbers each
 * shared      none                                   list  tiles of 4 rows (lists.c)
 * FLOPs       6 d per (query, key): q . k twice, p v once; causal: T^2 / 2 pairs per head
 * bytes       6 d per pair: K twice and V once for every row, from L2. That is the problem.
 *
 * Every lane holds elements lane, lane + 32, ... of the row, so loads are coalesced and a dot
 * product ends with five shuffles. The log-sum-exp of a captured row is max s + ln sum p: the warp
 * has both.
 *
 * This is also the kernel for float32 and for head sizes that the others do not take (d <= 256).
 *
 * next: kernels/cuda/attention_v2.cu */
#include "kernels/cuda/capture.h"

#ifndef FORMAT
#define FORMAT KERNEL_BF16
#endif
#define ELEMENT (FORMAT == KERNEL_F32 ? 4 : 2)
#define WARPS 4
#define PARTS 8 /* numbers per lane: d <= 256 */

DEVICE float element(const void *base, long long at)
{
    return FORMAT == KERNEL_F32 ? ld_f32((const float *)base + at)
                                : bf16_to_f32(ld_u16((const bf16 *)base + at));
}

/* This lane's numbers of the d at base[at ..]. */
DEVICE void load_row(float *v, const void *base, long long at, int d)
{
    int lane = thread_id() % WARP;
    EACH (i, PARTS) v[i] = i * WARP + lane < d ? element(base, at + i * WARP + lane) : 0;
}

/* s_j in each lane: the score of the row q against the key at base[at ..]. */
DEVICE float score(const attention_args *a, const float *q, long long at)
{
    float k[PARTS], s = 0;
    load_row(k, a->qkv, at, a->d);
    EACH (i, PARTS) s += q[i] * k[i];
    BUTTERFLY (mask, 16) s += shuffle_xor(s, mask);
    s *= a->scale;
    return a->soft_cap > 0 ? a->soft_cap * tanh_exact(s / a->soft_cap) : s;
}

/* One query row, by one warp. k, v: where the sequence's first key and value stand. */
DEVICE void attend_row(const attention_args *a, const attention_tile *t, int row)
{
    int d = a->d, lane = thread_id() % WARP, kv_head = t->head / (a->H / a->K);
    long long q_at = row * a->qkv_stride + t->head * d, k_col = (a->H + kv_head) * d,
              v_col = k_col + a->K * d;
    int first = t->seq_begin;
    if (a->window > 0 && row - first >= a->window) first = row - a->window + 1;
    float q[PARTS], o[PARTS] = {0}, largest = minus_infinity(), sum = 0;
    load_row(q, a->qkv, q_at, d);
    for (int j = first; j <= row; j++)
        largest = larger(largest, score(a, q, j * a->qkv_stride + k_col));
    for (int j = first; j <= row; j++) {
        float v[PARTS], p = exp2_fast((score(a, q, j * a->qkv_stride + k_col) - largest) * LOG2E);
        load_row(v, a->qkv, j * a->qkv_stride + v_col, d);
        sum += p;
        EACH (i, PARTS) o[i] += p * v[i];
    }
    if (a->lse && lane == 0) capture_lse(a, row, t->head, largest, sum);
    long long to = row * a->o_stride + t->head * d + lane;
    for (int i = 0; i * WARP + lane < d; i++) {
        if (FORMAT == KERNEL_F32)
            st_f32((float *)a->o + to + i * WARP, o[i] / sum);
        else
            st_u16((bf16 *)a->o + to + i * WARP, f32_to_bf16(o[i] / sum));
    }
}

KERNEL(attention_v1, WARPS *WARP, attention_args)
{
    attention_tile t = load_tile_of_block(&a);
    int warp = thread_id() / WARP, end = t.first + WARPS;
    if (end > t.seq_end) end = t.seq_end;
    capture_tile(&a, &t, end, ELEMENT, warp, WARPS);
    sync_block(); /* o may stand where q was: rows are captured before they are overwritten */
    if (t.first + warp < end) attend_row(&a, &t, t.first + warp);
}
