/* Mixture of experts: which row goes to which expert, and moving rows there and back.
 * (Shazeer et al., 2017; Fedus et al., 2022)
 *
 *   route_choose   per row: softmax of the logits, the top_k largest (the lower number first when
 *                  equal), their probabilities as weights. One warp per row, 4 rows per block.
 *   route_sort     pairs (row, weight) grouped by expert, rows ascending in each. One block per
 *                  expert: it counts who comes before its own and then writes its pairs in order.
 *   take_rows      y[i, :] = x[rows[i], :]
 *   add_rows       x[rows[i], :] += weights[i] y[i, :], no row twice
 *
 *   chosen  2 5 | 2 7 | 5 2        expert 2: before it 0, rows 0 1 2
 *           row 0 row 1 row 2      expert 5: before it 3, rows 0 2
 *
 * No atomics: each pair's place is a count of pairs, so it is the same in every run. route_sort
 * reads T top_k numbers per block from the L2 cache: 128 experts, 4096 rows, top 8: 17 MB.
 *
 * next: kernels/cuda/attention_v1.cu */
#include "kernels/cuda/rows.h"

#define THREADS 128
#define WARPS (THREADS / WARP)

/* The largest of v over the warp and the lowest e that has it. */
DEVICE void warp_best(float *v, int *e)
{
    BUTTERFLY (mask, 16) {
        float other = shuffle_xor(*v, mask);
        int other_e = shuffle_xor_int(*e, mask);
        if (other > *v || (other == *v && other_e < *e)) {
            *v = other;
            *e = other_e;
        }
    }
}

/* Probabilities of a row's experts, in the warp's stretch of shared memory (4 experts bytes). */
DEVICE void softmax_row(const float *logits, int experts, u32 p)
{
    int lane = thread_id() % WARP;
    float largest = minus_infinity(), sum = 0;
    for (int e = lane; e < experts; e += WARP) largest = larger(largest, ld_f32(logits + e));
    BUTTERFLY (mask, 16) largest = larger(largest, shuffle_xor(largest, mask));
    for (int e = lane; e < experts; e += WARP) sum += exp_exact(ld_f32(logits + e) - largest);
    sum = warp_sum(sum);
    for (int e = lane; e < experts; e += WARP)
        st_shared_f32(p + 4u * (u32)e, exp_exact(ld_f32(logits + e) - largest) / sum);
}

KERNEL(route_choose, THREADS, route_args)
{
    int lane = thread_id() % WARP, warp = thread_id() / WARP;
    int row = block_id() * WARPS + warp;
    if (row >= a.T) return;
    u32 p = shared_base() + 4u * (u32)(warp * a.experts);
    name_shared(shared_base(), 4u * (u32)(WARPS * a.experts), "probabilities");
    softmax_row(a.logits + row * a.stride, a.experts, p);
    int *chosen = a.chosen + (long long)row * a.top_k;
    float *weights = a.chosen_weights + (long long)row * a.top_k, kept = 0;
    for (int k = 0; k < a.top_k; k++) {
        float best = -2;
        int best_e = a.experts;
        for (int e = lane; e < a.experts; e += WARP) { /* the thread's own: ascending e */
            float v = ld_shared_f32(p + 4u * (u32)e);
            if (v > best) best = v, best_e = e;
        }
        warp_best(&best, &best_e);
        if (best_e % WARP == lane) { /* its owner takes it out and writes it down */
            st_shared_f32(p + 4u * (u32)best_e, -1);
            st_i32(chosen + k, best_e);
            st_f32(weights + k, best);
        }
        kept += best;
    }
    sync_warp();
    for (int k = lane; a.renormalise && k < a.top_k; k += WARP)
        st_f32(weights + k, ld_f32(weights + k) / kept);
}

/* How many of the block's threads before this one say yes, and how many do in all. */
DEVICE int rank_in_block(int yes, u32 counts, int *total)
{
    int lane = thread_id() % WARP, warp = thread_id() / WARP, before = 0;
    u32 votes = warp_ballot(yes);
    sync_block(); /* the last round's counts have been read */
    if (lane == 0) st_shared_u32(counts + 4u * (u32)warp, (u32)count_bits(votes));
    sync_block();
    *total = 0;
    for (int w = 0; w < WARPS; w++) {
        int n = (int)ld_shared_u32(counts + 4u * (u32)w);
        if (w < warp) before += n;
        *total += n;
    }
    return before + count_bits(votes & ((1u << lane) - 1));
}

KERNEL(route_sort, THREADS, route_args)
{
    int expert = block_id(), pairs = a.T * a.top_k, at = 0, total;
    name_shared(shared_base(), 4u * WARPS, "counts");
    for (int i = 0; i < pairs; i += THREADS) { /* pairs of lower experts come first */
        int mine = i + thread_id() < pairs;
        rank_in_block(mine && ld_i32(a.chosen + i + thread_id()) < expert, shared_base(), &total);
        at += total;
    }
    if (thread_id() == 0) st_i32(a.starts + expert, at);
    for (int i = 0; i < pairs; i += THREADS) {
        int pair = i + thread_id();
        int yes = pair < pairs && ld_i32(a.chosen + pair) == expert;
        int rank = rank_in_block(yes, shared_base(), &total);
        if (yes) {
            st_i32(a.rows + at + rank, pair / a.top_k);
            st_f32(a.weights + at + rank, ld_f32(a.chosen_weights + pair));
        }
        at += total;
    }
    if (thread_id() == 0 && expert == a.experts - 1) st_i32(a.starts + a.experts, at);
}

KERNEL(take_rows, THREADS, take_rows_args)
{
    long long i = block_id(), row = ld_i32(a.rows + i);
    if (a.format == KERNEL_F32) {
        for (int c = thread_id() * VEC; c < a.cols; c += THREADS * VEC) {
            float v[VEC];
            ld_vec(v, (const float *)a.x + row * a.x_stride + c);
            st_vec(a.y, i * a.y_stride + c, v, KERNEL_F32);
        }
        return;
    }
    const bf16 *from = (const bf16 *)a.x + row * a.x_stride;
    bf16 *to = (bf16 *)a.y + i * a.y_stride;
    for (int c = thread_id() * VEC; c < a.cols; c += THREADS * VEC) {
#if VEC == 4
        u32 v[2];
        ld_u32x2(v, from + c);
        st_u32x2(to + c, v);
#else
        st_u16(to + c, ld_u16(from + c));
#endif
    }
}

KERNEL(add_rows, THREADS, add_rows_args)
{
    long long i = block_id();
    float *x = a.x + ld_i32(a.rows + i) * a.x_stride;
    float weight = ld_f32(a.weights + i);
    for (int c = thread_id() * VEC; c < a.cols; c += THREADS * VEC) {
        float sum[VEC], y[VEC];
        ld_vec(sum, x + c);
        ld_vec(y, a.y + i * a.y_stride + c);
        EACH (j, VEC) sum[j] += weight * y[j];
        st_vec(x, c, sum, KERNEL_F32);
    }
}
