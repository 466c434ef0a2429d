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
#define THREADS 128
#include "kernels/cuda/rows.h"

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

DEVICE void take_row_f32(const float *from, float *to, int cols)
{
    SWEEP (c, cols) {
        float v[AHEAD][VEC];
        ld_sweep(v, from, c, cols);
        EACH (u, AHEAD)
            if (PIECE(c, u) < cols) st_vec(to, PIECE(c, u), v[u], KERNEL_F32);
    }
}

DEVICE void take_row_bf16(const bf16 *from, bf16 *to, int cols)
{
    SWEEP (c, cols) {
#if VEC == 4
        u32 v[AHEAD][2];
        EACH (u, AHEAD)
            if (PIECE(c, u) < cols) ld_u32x2(v[u], from + PIECE(c, u));
        EACH (u, AHEAD)
            if (PIECE(c, u) < cols) st_u32x2(to + PIECE(c, u), v[u]);
#else
        EACH (u, AHEAD)
            if (PIECE(c, u) < cols) st_u16(to + PIECE(c, u), ld_u16(from + PIECE(c, u)));
#endif
    }
}

KERNEL(take_rows, THREADS, take_rows_args)
{
    long long from = ld_i32(a.rows + block_id()) * a.x_stride, to = block_id() * a.y_stride;
    if (a.format == KERNEL_F32)
        take_row_f32((const float *)a.x + from, (float *)a.y + to, a.cols);
    else
        take_row_bf16((const bf16 *)a.x + from, (bf16 *)a.y + to, a.cols);
}

KERNEL(add_rows, THREADS, add_rows_args)
{
    long long i = block_id();
    float *x = a.x + ld_i32(a.rows + i) * a.x_stride;
    float weight = ld_f32(a.weights + i);
    SWEEP (c, a.cols) {
        float sum[AHEAD][VEC], y[AHEAD][VEC];
        ld_sweep(sum, x, c, a.cols);
        ld_sweep(y, a.y + i * a.y_stride, c, a.cols);
        EACH (u, AHEAD) {
            if (PIECE(c, u) >= a.cols) continue;
            EACH (j, VEC) sum[u][j] += weight * y[u][j];
            st_vec(x, PIECE(c, u), sum[u], KERNEL_F32);
        }
    }
}
