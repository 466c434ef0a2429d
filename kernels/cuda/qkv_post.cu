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
 * One block of 128 threads per token. What makes it more than a copy is that RoPE needs an element
 * and its partner in one place:
 *
 *   VEC 1   any d. A warp takes a head, then every fourth; the head passes through the warp's
 *           own d floats of shared memory, where each lane finds the partners of its elements.
 *   VEC 4   d and rotary multiples of 8. A lane takes 8 numbers as two pieces of 4, chosen so that
 *           partners meet in its registers, and no number changes lanes:
 *
 *             head    | 0 .. 3 | 4 .. 7 |  ..  | r/2 .. r/2 + 3 |  ..  | r .. r + 7 |  ..  d
 *             lane      0 (a)    1 (a)           0 (b)                    r / 8 (a b)
 *
 *           (interleaved: lane j has 8 j .. 8 j + 7.) d / 8 lanes, rounded up to a power of two,
 *           are a head; a lane's cosines are the same for all heads of the token and loaded once.
 *
 *   shared memory   4 (8 + 4 d) bytes      (d = 128: 2 KB)
 *   bytes           4 (H + 2K) d read, 2 (H + 2K) d written per token: bound by memory
 *
 * next: kernels/cuda/capture.h, kernels/cuda/attention_v1.cu */
#define THREADS 128
#include "kernels/cuda/rows.h"

#define WARPS (THREADS / WARP)

/* A row and what it is, in the order of the projection: queries, keys, values. */
typedef struct head {
    int number, of_kind, is_q, is_k; /* of_kind: its number among the heads of its kind */
    const float *w;                  /* of its norm, or NULL */
    float norm;                      /* of norm_whole */
} head;

DEVICE head head_of(const qkv_post_args *a, int h, float q_norm, float k_norm)
{
    head x;
    x.number = h;
    x.is_q = h < a->H;
    x.is_k = !x.is_q && h < a->H + a->K;
    x.of_kind = x.is_q ? h : h - a->H;
    x.w = x.is_q ? a->q_norm : x.is_k ? a->k_norm : 0;
    if (x.w && a->norm_whole) x.w += x.of_kind * a->d;
    x.norm = x.is_q ? q_norm : k_norm;
    return x;
}

/* 1 / sqrt(mean(x^2) + eps) over n numbers, by the whole block. */
DEVICE float whole_norm(const float *x, int n, float eps, u32 scratch)
{
    float sum = 0;
    SWEEP (c, n) {
        float v[AHEAD][VEC];
        ld_sweep(v, x, c, n);
        EACH (u, AHEAD)
            EACH (i, VEC)
                if (PIECE(c, u) < n) sum += v[u][i] * v[u][i];
    }
    return 1 / square_root(block_sum(sum, scratch, WARPS) / (float)n + eps);
}

/* Where the captured rows of this token and head begin in the list of its kind, and end. */
DEVICE int first_capture(const qkv_post_args *a, const head *x, int *end)
{
    const int *first = x->is_q ? a->q.first : x->is_k ? a->k.first : 0;
    int word = (a->first_row + block_id()) / 32;
    *end = first ? ld_i32(first + word + 1) : 0;
    return first ? ld_i32(first + word) : 0;
}

/* Where entry e of that list goes in the kind's `out`, or -1: it is another token's or head's. */
DEVICE long long capture_offset(const qkv_post_args *a, const head *x, int e)
{
    const capture_kind *kind = x->is_q ? &a->q : &a->k;
    if (ld_i32(&kind->rows[e].row) != a->first_row + block_id()) return -1;
    int heads = x->is_q ? a->H : a->K;
    int base = ld_i32(kind->base + ld_i32(&kind->rows[e].copy) * heads + x->of_kind);
    return base < 0 ? -1 : (long long)(base + ld_i32(&kind->rows[e].index)) * a->d;
}

#if VEC == 4

enum { HEADS_AHEAD = 2 }; /* heads that a lane asks for at once: 64 bytes */

/* A lane's share of every head of the token. */
typedef struct share {
    int lanes, at[2]; /* lanes of a head; elements where the pieces begin */
    int inside;       /* not one of the lanes beyond d */
    int turns;        /* has a rotary embedding */
    float c[4], s[4];
} share;

DEVICE share share_of(const qkv_post_args *a, int position)
{
    share x;
    x.lanes = 1;
    while (8 * x.lanes < a->d) x.lanes *= 2;
    int j = thread_id() % x.lanes;
    x.inside = 8 * j < a->d;
    x.turns = a->cos && 8 * j < a->rotary;
    int halves = x.turns && !a->interleaved;
    x.at[0] = halves ? 4 * j : 8 * j;
    x.at[1] = halves ? 4 * j + a->rotary / 2 : 8 * j + 4;
    if (x.turns) {
        ld_f32x4(x.c, a->cos + (long long)position * (a->rotary / 2) + 4 * j);
        ld_f32x4(x.s, a->sin + (long long)position * (a->rotary / 2) + 4 * j);
    }
    return x;
}

/* v[p][i]: number i of piece p. All lanes of the warp come here. */
DEVICE void normalise(const qkv_post_args *a, const share *mine, const head *x, float v[2][4])
{
    float sum = 0, norm = x->norm;
    EACH (p, 2)
        EACH (i, 4) sum += v[p][i] * v[p][i];
    for (int mask = mine->lanes / 2; mask; mask /= 2) sum += shuffle_xor(sum, mask);
    if (!x->w || !mine->inside) return;
    if (!a->norm_whole) norm = 1 / square_root(sum / (float)a->d + a->eps);
    EACH (p, 2) {
        float w[4];
        ld_f32x4(w, x->w + mine->at[p]);
        EACH (i, 4) v[p][i] = v[p][i] * norm * (w[i] + a->shift);
    }
}

DEVICE void turn_pair(float *x, float *y, float cosine, float sine)
{
    float turned = *x * cosine - *y * sine;
    *y = *y * cosine + *x * sine;
    *x = turned;
}

/* Two loops, so that every index is known to the compiler: registers have no addresses. */
DEVICE void turn(const share *mine, int interleaved, float v[2][4])
{
    if (interleaved)
        EACH (i, 4)
            turn_pair(&v[i / 2][i % 2 * 2], &v[i / 2][i % 2 * 2 + 1], mine->c[i], mine->s[i]);
    else
        EACH (i, 4) turn_pair(&v[0][i], &v[1][i], mine->c[i], mine->s[i]);
}

DEVICE void store_pieces(const share *mine, void *to, long long at, float v[2][4], int format)
{
    EACH (p, 2) st_vec(to, at + mine->at[p], v[p], format);
}

/* From a head's numbers in registers to its row of `out`. */
DEVICE void finish_head(const qkv_post_args *a, const share *mine, const head *x, float scale,
                        float v[2][4])
{
    if (a->q_norm || a->k_norm) normalise(a, mine, x, v);
    if (x->number >= a->H + a->K * (a->has_v ? 2 : 1) || !mine->inside) return;
    int end, e = first_capture(a, x, &end);
    for (; e < end; e++) {
        long long to = capture_offset(a, x, e);
        if (to >= 0) store_pieces(mine, x->is_q ? a->q.out : a->k.out, to, v, a->out_format);
    }
    if (mine->turns && (x->is_q || x->is_k)) turn(mine, a->interleaved, v);
    EACH (p, 2)
        EACH (i, 4)
            if (x->is_q) v[p][i] *= scale;
    store_pieces(mine, a->out, block_id() * a->out_stride + x->number * a->d, v, a->out_format);
}

DEVICE void process_heads(const qkv_post_args *a, float q_norm, float k_norm)
{
    int position = ld_i32(a->table_row + block_id()), heads = a->H + a->K * (a->has_v ? 2 : 1);
    float scale = a->q_scale ? ld_f32(a->q_scale + position) : 1;
    share mine = share_of(a, position);
    int group = thread_id() / mine.lanes, groups = THREADS / mine.lanes;
    const float *row = a->in + block_id() * a->in_stride;
    for (int first = 0; first < heads; first += HEADS_AHEAD * groups) {
        float v[HEADS_AHEAD][2][4];
        EACH (u, HEADS_AHEAD) {
            int h = first + u * groups + group;
            EACH (p, 2) {
                EACH (i, 4) v[u][p][i] = 0;
                if (h < heads && mine.inside) ld_f32x4(v[u][p], row + h * a->d + mine.at[p]);
            }
        }
        EACH (u, HEADS_AHEAD) {
            head x = head_of(a, first + u * groups + group, q_norm, k_norm);
            finish_head(a, &mine, &x, scale, v[u]);
        }
    }
}

#else

/* The warp's own stretch of shared memory: element i of its head. */
DEVICE u32 staged(int d, int i)
{
    return shared_base() + 4u * 2 * WARPS + 4u * (u32)(thread_id() / WARP * d + i);
}

/* The head to shared memory, normed. */
DEVICE void stage_head(const qkv_post_args *a, const float *from, const head *x)
{
    int d = a->d, lane = thread_id() % WARP;
    float sum = 0, norm = x->norm;
    for (int c = lane; c < d; c += WARP) {
        float v = ld_f32(from + c);
        sum += v * v;
        st_shared_f32(staged(d, c), v);
    }
    if (x->w && !a->norm_whole) norm = 1 / square_root(warp_sum(sum) / (float)d + a->eps);
    if (x->w) /* a thread's own elements: nobody else has looked at them yet */
        for (int c = lane; c < d; c += WARP)
            st_shared_f32(staged(d, c),
                          ld_shared_f32(staged(d, c)) * norm * (ld_f32(x->w + c) + a->shift));
    sync_warp();
}

DEVICE void capture_staged(const qkv_post_args *a, const head *x)
{
    int end, e = first_capture(a, x, &end);
    for (; e < end; e++) {
        long long to = capture_offset(a, x, e);
        for (int c = thread_id() % WARP; to >= 0 && c < a->d; c += WARP) {
            float v = ld_shared_f32(staged(a->d, c));
            st_vec(x->is_q ? a->q.out : a->k.out, to + c, &v, a->out_format);
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

DEVICE void process_heads(const qkv_post_args *a, float q_norm, float k_norm)
{
    long long position = ld_i32(a->table_row + block_id()), row = block_id();
    int heads = a->H + a->K * (a->has_v ? 2 : 1), d = a->d;
    float scale = a->q_scale ? ld_f32(a->q_scale + position) : 1;
    for (int h = thread_id() / WARP; h < heads; h += WARPS) {
        head x = head_of(a, h, q_norm, k_norm);
        stage_head(a, a->in + row * a->in_stride + h * d, &x);
        capture_staged(a, &x);
        for (int c = thread_id() % WARP; c < d; c += WARP) {
            float v = x.is_q || x.is_k ? rotated(a, c, position * (a->rotary / 2))
                                       : ld_shared_f32(staged(d, c));
            if (x.is_q) v *= scale;
            st_vec(a->out, row * a->out_stride + h * d + c, &v, a->out_format);
        }
        sync_warp(); /* before the next head takes the place */
    }
}

#endif

KERNEL(qkv_post, THREADS, qkv_post_args)
{
    const float *row = a.in + block_id() * a.in_stride;
    float q_norm = 0, k_norm = 0;
    name_shared(shared_base(), 4u * 2 * WARPS, "sums");
    name_shared(shared_base() + 4u * 2 * WARPS, 4u * (u32)(WARPS * a.d), "heads");
    if (a.norm_whole && a.q_norm) q_norm = whole_norm(row, a.H * a.d, a.eps, shared_base());
    if (a.norm_whole && a.k_norm)
        k_norm = whole_norm(row + a.H * a.d, a.K * a.d, a.eps, shared_base() + 4u * WARPS);
    /* In place nobody writes before all have read: the sums end with a barrier. */
    process_heads(&a, q_norm, k_norm);
}
