/* Between projection and attention, one pass over memory:
 *
 *   row  ->  RMS norm of each q and k head (or of all heads at once)
 *        ->  capture of sampled rows, before RoPE
 *        ->  rotary embedding of the first `rotary` numbers of each head:
 *              (x, y) -> (x cos - y sin, y cos + x sin)          (Su et al., 2021)
 *              pairs (i, i + rotary / 2), or (2 i, 2 i + 1) when interleaved
 *        ->  queries times q_scale[position]
 *        ->  rounded once to the format that attention reads
 *
 * in, out [n, (H + 2K) d]. The bias is added by the matrix product; values v are only converted.
 * One block of 4 warps per token; a warp takes a head, then every fourth. The head passes through
 * shared memory, because the partner of an element in RoPE is held by another thread.
 *
 *      global -> | x0 x1 .. x(d-1) |  warp's own d floats  -> partner & cos/sin -> global
 *
 *   shared memory   4 (8 + 4 d) bytes      (d = 128: 2 KB)
 *   bytes           4 (H + 2K) d read, 2 (H + 2K) d written per token: bound by memory
 *
 * next: kernels/cuda/capture.h, kernels/cuda/attention_v1.cu */
#include "kernels/cuda/rows.h"

#define THREADS 128
#define WARPS (THREADS / WARP)

/* The warp's own stretch of shared memory: element i of its head. */
DEVICE u32 staged(int d, int i)
{
    return shared_base() + 4u * 2 * WARPS + 4u * (u32)(thread_id() / WARP * d + i);
}

/* 1 / sqrt(mean(x^2) + eps) over n numbers, by the whole block. */
DEVICE float whole_norm(const float *x, int n, float eps, u32 scratch)
{
    float sum = 0;
    for (int c = thread_id() * VEC; c < n; c += THREADS * VEC) {
        float v[VEC];
        ld_vec(v, x + c);
        EACH (i, VEC) sum += v[i] * v[i];
    }
    return 1 / square_root(block_sum(sum, scratch, WARPS) / (float)n + eps);
}

/* x [d] to shared memory, normed: by `norm` when it is not 0, else by the head's own when own. */
DEVICE void stage_head(const qkv_post_args *a, const float *x, const float *w, float norm, int own)
{
    int d = a->d, lane = thread_id() % WARP;
    float sum = 0;
    for (int c = lane * VEC; c < d; c += WARP * VEC) {
        float v[VEC];
        ld_vec(v, x + c);
        EACH (i, VEC) {
            sum += v[i] * v[i];
            st_shared_f32(staged(d, c + i), v[i]);
        }
    }
    if (own) norm = 1 / square_root(warp_sum(sum) / (float)d + a->eps);
    if (w) /* a thread's own elements: nobody else has looked at them yet */
        for (int c = lane * VEC; c < d; c += WARP * VEC)
            for (int i = 0; i < VEC; i++)
                st_shared_f32(staged(d, c + i), ld_shared_f32(staged(d, c + i)) * norm *
                                                    (ld_f32(w + c + i) + a->shift));
    sync_warp();
}

/* Rows of the batch's capture lists that are this token and head. */
DEVICE void capture_staged(const qkv_post_args *a, const capture_kind *kind, int head, int heads)
{
    if (!kind->first) return;
    int token = a->first_row + block_id(), d = a->d;
    int last = ld_i32(kind->first + token / 32 + 1);
    for (int e = ld_i32(kind->first + token / 32); e < last; e++) {
        if (ld_i32(&kind->rows[e].row) != token) continue;
        int place = ld_i32(kind->place + ld_i32(&kind->rows[e].copy) * heads + head);
        if (place < 0) continue;
        long long to = (long long)(place + ld_i32(&kind->rows[e].index)) * d;
        for (int c = thread_id() % WARP * VEC; c < d; c += WARP * VEC) {
            float v[VEC];
            EACH (i, VEC) v[i] = ld_shared_f32(staged(d, c + i));
            st_vec(kind->out, to + c, v, a->out_format);
        }
    }
}

/* Element c of the head after RoPE; table: the token's first entry in cos and sin. */
DEVICE float rotated(const qkv_post_args *a, int c, long long table)
{
    int half = a->rotary / 2, d = a->d;
    float x = ld_shared_f32(staged(d, c));
    if (!a->cos || c >= a->rotary) return x;
    int pair = a->interleaved ? c / 2 : c % half;
    int is_second = a->interleaved ? c % 2 : c >= half;
    int partner = a->interleaved ? (c ^ 1) : is_second ? c - half : c + half;
    float y = ld_shared_f32(staged(d, partner));
    float cosine = ld_f32(a->cos + table + pair), sine = ld_f32(a->sin + table + pair);
    return is_second ? x * cosine + y * sine : x * cosine - y * sine;
}

/* One warp: head h of the row, queries first, then keys, then values. */
DEVICE void process_head(const qkv_post_args *a, int h, float q_norm, float k_norm)
{
    int is_q = h < a->H, is_k = !is_q && h < a->H + a->K, d = a->d;
    int of_kind = is_q ? h : h - a->H; /* its number among q or k heads */
    const float *w = is_q ? a->q_norm : is_k ? a->k_norm : 0;
    if (w && a->norm_whole) w += of_kind * d;
    stage_head(a, a->in + (long long)block_id() * a->in_stride + h * d, w, is_q ? q_norm : k_norm,
               w && !a->norm_whole);
    if (is_q) capture_staged(a, &a->q, of_kind, a->H);
    if (is_k) capture_staged(a, &a->k, of_kind, a->K);
    long long position = ld_i32(a->table_row + block_id());
    float scale = is_q && a->q_scale ? ld_f32(a->q_scale + position) : 1;
    for (int c = thread_id() % WARP * VEC; c < d; c += WARP * VEC) {
        float v[VEC];
        EACH (i, VEC)
            v[i] = is_q || is_k ? rotated(a, c + i, position * (a->rotary / 2)) * scale
                                : ld_shared_f32(staged(d, c + i));
        st_vec(a->out, (long long)block_id() * a->out_stride + h * d + c, v, a->out_format);
    }
    sync_warp(); /* before the next head takes the place */
}

KERNEL(qkv_post, THREADS, qkv_post_args)
{
    const float *row = a.in + (long long)block_id() * a.in_stride;
    int heads = a.H + a.K * (a.has_v ? 2 : 1), warp = thread_id() / WARP;
    float q_norm = 0, k_norm = 0;
    name_shared(shared_base(), 4u * 2 * WARPS, "sums");
    name_shared(shared_base() + 4u * 2 * WARPS, 4u * (u32)(WARPS * a.d), "heads");
    if (a.norm_whole && a.q_norm) q_norm = whole_norm(row, a.H * a.d, a.eps, shared_base());
    if (a.norm_whole && a.k_norm)
        k_norm = whole_norm(row + a.H * a.d, a.K * a.d, a.eps, shared_base() + 4u * WARPS);
    /* In place nobody writes before all have read: the sums end with a barrier. */
    for (int h = warp; h < heads; h += WARPS) process_head(&a, h, q_norm, k_norm);
}
