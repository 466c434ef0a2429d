/* What the host hands to the kernels: one argument struct per kernel, passed by value.
 *
 * This header is compiled by NVRTC (as C++) and by the host's C compiler, so it holds only plain
 * types whose size both agree on, and includes nothing. Pointers are device pointers. Strides are
 * elements from one row to the next.
 *
 *   T tokens   D hidden   H query heads   K key/value heads   d head_dim   F ffn   V vocabulary
 *
 * next: kernels/cuda/port.h */
#pragma once

/* Number formats as kernels see them. */
enum { KERNEL_F32, KERNEL_BF16, KERNEL_F16 };

/* ---- captured rows ----
 *
 * A layer's capture is a list of copies; copy c wants some heads of some rows. The host turns all
 * copies of one kind (queries, keys, or values) into one list of (row, copy, index) ascending by row:
 *
 *   entries of tokens 32 w .. 32 w + 31:  rows[first[w]] .. rows[first[w + 1] - 1]
 *   head h of an entry goes to row        base[copy * heads + h] + index   of out, or nowhere (-1)
 *
 * so a kernel that holds a few tokens finds theirs with two loads, and most find none. */
typedef struct capture_row {
    int row, copy, index;
} capture_row;

typedef struct capture_kind {
    const int *first; /* [T / 32 + 2]; NULL: nothing is captured */
    const capture_row *rows;
    const int *base; /* [copies, heads] */
    void *out;       /* [out rows, d], in the format of the projection rows */
} capture_kind;

/* ---- attention ---- */

/* One piece of work: queries first .. first + BM - 1 (cut at seq_end) of one head. */
typedef struct attention_tile {
    int first, seq_begin, seq_end, head;
} attention_tile;

/* The tiles of attention_v3, which the host has to know: it cuts the queries and asks for the
 * memory. 64 keys where two blocks of that share the memory of an SM, else 32.
 *
 *   cc            compute capability, 90 for 9.0
 *   SM_SHARED_KB  shared memory of an SM; a block takes 1 KB more than it asks for
 *                 (CUDA C++ programming guide, "Technical Specifications per Compute Capability")
 */
#define SM_SHARED_KB(cc) ((cc) == 80 || (cc) == 87 ? 164 : (cc) >= 90 && (cc) < 120 ? 228 : 100)
#define EMULATED_CAPABILITY 90 /* kernels/emulator */
#define V3_QUERIES(head_dim) ((head_dim) == 256 ? 64 : 128)
#define V3_SHARED(head_dim, keys) (2 * (head_dim) * (V3_QUERIES(head_dim) + 2 * (keys)))
#define V3_KEYS(head_dim, cc)                                                                      \
    (2 * (V3_SHARED(head_dim, 64) + 1024) <= 1024 * SM_SHARED_KB(cc) ? 64 : 32)

typedef struct attention_args {
    const void *qkv; /* [T, (H + 2 K) d] */
    void *o;         /* [T, H d]; may be the q columns of qkv */
    const attention_tile *tiles;
    long long qkv_stride, o_stride;
    int H, K, d;
    int window;            /* 0: none */
    float scale, soft_cap; /* 0: none */
    float unit, cap_unit;  /* for v3: what turns a score, capped or not, into an exponent of 2; and
                              q.k into one of its soft cap's */
    capture_kind q, k, v;
    float *lse; /* [rows of q.out] log-sum-exps, or NULL: not wanted */
} attention_args;

typedef struct gather_args {
    const void *qkv;
    long long stride;
    int d, first_col; /* column of head 0 */
    int heads;
    capture_kind kind;
} gather_args;

/* ---- rows ---- */

typedef struct embed_args {
    float *x;          /* [T, D] */
    const void *table; /* [V, D] */
    const int *ids;    /* [T] */
    long long x_stride, table_stride;
    int D, table_format, round_to; /* KERNEL_* */
    float scale;
} embed_args;

typedef struct rmsnorm_args {
    void *y;        /* [T, D] */
    const float *x; /* [T, D] */
    const float *w; /* [D] */
    long long y_stride, x_stride;
    int D, y_format;
    float eps, shift; /* shift: added to w, 0 or 1 */
} rmsnorm_args;

typedef struct add_args {
    float *x;       /* [T, D] */
    const float *y; /* [T, D] */
    const float *w; /* [D], or NULL: no norm */
    long long x_stride, y_stride;
    int D;
    float eps, shift, scale;
} add_args;

typedef struct convert_args {
    void *y;
    const float *x;
    long long y_stride, x_stride;
    int cols, y_format;
} convert_args;

typedef struct qkv_post_args {
    void *out;       /* [n, (H + K (+ K)) d] */
    const float *in; /* the same shape; may be out */
    long long out_stride, in_stride;
    int H, K, d, has_v, out_format;
    const float *q_norm, *k_norm; /* [d], or [H d] and [K d] with norm_whole; or NULL */
    int norm_whole;
    float eps, shift;
    const float *cos, *sin; /* [table rows, rotary / 2], or NULL */
    const float *q_scale;   /* [table rows], or NULL */
    const int *table_row;   /* [n] */
    int rotary, interleaved;
    int first_row; /* token number of row 0, for the capture lists */
    capture_kind q, k;
} qkv_post_args;

typedef struct glu_args {
    void *y;        /* [T, F] */
    const float *g; /* [T, 2 F] */
    long long y_stride, g_stride;
    int F, y_format, activation; /* 0 silu, 1 gelu, 2 gelu_tanh */
} glu_args;

/* ---- mixture of experts ---- */

typedef struct route_args {
    const float *logits; /* [T, experts] */
    long long stride;
    int T, experts, top_k, renormalise;
    int *chosen;           /* [T, top_k] experts, best first */
    float *chosen_weights; /* [T, top_k] */
    int *starts;           /* [experts + 1] */
    int *rows;             /* [T top_k] */
    float *weights;        /* [T top_k] */
} route_args;

typedef struct take_rows_args {
    void *y;         /* [n, cols] */
    const void *x;   /* of the same format */
    const int *rows; /* [n] */
    long long y_stride, x_stride;
    int cols, format;
} take_rows_args;

typedef struct add_rows_args {
    float *x;             /* x[rows[i], :] += weights[i] y[i, :] */
    const float *y;       /* [n, cols] */
    const int *rows;      /* [n] */
    const float *weights; /* [n] */
    long long x_stride, y_stride;
    int cols;
} add_rows_args;
