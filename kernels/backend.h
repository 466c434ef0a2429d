/* The op table: everything a prefill needs from a processor. One forward pass
 * (engine/forward/forward.c) calls it; kernels/ref (double, naive: the ground truth), kernels/cpu
 * and kernels/cuda fill it.
 *
 * Dimension letters, everywhere in this project:
 *   T tokens   D hidden   H query heads   K key/value heads   d head_dim   F ffn   V vocabulary
 *
 * Number formats. `compute` is the format of the weights and of what is fed to a matrix product:
 *   QK_F32   weights and activations float32
 *   QK_BF16  weights bfloat16; the inputs of products, and q, k, v, are rounded to bfloat16
 *   QK_F16   weights float16; activations stay float32 (nothing can overflow)
 * Sums are always float32 or wider, and the residual stream x is always float32.
 *
 * Determinism. The result of a row depends on that row and, in attention, on its own sequence:
 * never on T, on its neighbours in the batch or on the number of threads. Bits are equal.
 *
 * Threads. A device handle belongs to one thread at a time, the one that opened it where it is a
 * GPU. A second thread opens a handle of its own: both are the same memory, and what one has made
 * and finished (sync) the other may use and free. How one goes on with the other's work is theirs
 * to say.
 *
 * Ops are void: shapes are ours, so a wrong one is a bug and aborts. Opening, allocating and
 * waiting can fail because of the outside world and return a status: a device that failed in
 * between does nothing any more, and the next sync says what happened.
 *
 * next: kernels/ref/ref.c, then kernels/cpu/ */
#pragma once

#include "engine/base/dtype.h"
#include "engine/base/mem.h"

/* A row-major matrix in the backend's memory, or a view into one. Plain data: only the backend may
 * follow `data` (on a GPU it is a device pointer). */
typedef struct qk_tensor {
    void *data;
    qk_dtype dtype;
    size_t rows, cols;
    size_t stride; /* elements from one row to the next, >= cols */
} qk_tensor;

/* Views: n rows from `first`; n columns from `first`. */
static inline qk_tensor qk_rows(qk_tensor t, size_t first, size_t n)
{
    QK_ASSERT(first <= t.rows && n <= t.rows - first);
    t.data = (char *)t.data + first * t.stride * qk_dtype_size(t.dtype);
    t.rows = n;
    return t;
}

static inline qk_tensor qk_cols(qk_tensor t, size_t first, size_t n)
{
    QK_ASSERT(first <= t.cols && n <= t.cols - first);
    t.data = (char *)t.data + first * qk_dtype_size(t.dtype);
    t.cols = n;
    return t;
}

/* The weight of a linear layer, [out, in], in the backend's own layout. Opaque. */
typedef struct qk_matrix qk_matrix;

/* One open device: threads, scratch memory, streams. Opaque. */
typedef struct qk_device qk_device;

typedef struct qk_device_options {
    qk_dtype compute;
    int threads;     /* CPU threads; 0: all that the machine offers */
    const char *isa; /* CPU: NULL for the best one, or a name */
} qk_device_options;

/* How a projection row is laid out: q heads, then k heads, then v heads, d numbers each. */
typedef struct qk_heads {
    int H, K, d;
    bool has_v; /* false in a last captured layer that computes q and k only */
} qk_heads;

static inline size_t qk_heads_width(qk_heads h)
{
    return (size_t)(h.H + h.K * (h.has_v ? 2 : 1)) * (size_t)h.d;
}

/* Rows that leave the device: for each head h and row r, out[(h * n_rows + r) * d ..] as float32.
 * rows index the tokens of the packed batch; heads index query heads or key heads. All pointers are
 * host memory; `out` and `lse` are filled when sync() returns, all else is read while the op is
 * called.
 *
 * lse, of copies of queries that attention takes: the logarithm of the sum of exp(score) over the
 * keys that the query sees, scores with scale and soft cap: exp(score - lse) is a probability. NaN
 * where a score is NaN. Everywhere else, before RoPE and in gather, it is NULL. */
typedef struct qk_row_copy {
    const int32_t *rows, *heads;
    size_t n_rows, n_heads;
    float *out; /* [n_heads, n_rows, d] */
    float *lse; /* [n_heads, n_rows], or NULL: not wanted */
} qk_row_copy;

/* What one layer gives away: lists of copies, from the queries, the keys and the values. Values
 * leave with the rows as attention sees them (heads.has_v), never before RoPE. */
typedef struct qk_layer_capture {
    const qk_row_copy *q, *k;
    size_t n_q, n_k;
    const qk_row_copy *v;
    size_t n_v;
} qk_layer_capture;

/* What happens to a projection row between its matrix product and attention, in this order:
 * RMS norm of q and of k (when the weights are given), capture before RoPE, rotary embedding,
 * scaling of the queries by position. */
typedef struct qk_qkv_post {
    qk_heads heads;
    const float *q_norm, *k_norm; /* [d] device memory, or NULL: each head has a norm of its own */
    bool norm_whole;              /* or one over all heads: q_norm [H d], k_norm [K d] */
    float eps;
    bool norm_plus_one;     /* the weight is stored as w - 1 */
    const float *cos, *sin; /* [table rows, rotary / 2] device memory; NULL: no rotary embedding */
    const float *q_scale;   /* [table rows] device memory: multiplies queries; NULL: 1 */
    const int32_t *table_row;        /* [T] host memory: the table row of each token */
    int rotary;                      /* how many of the d numbers turn, from the first; even */
    bool interleaved;                /* pairs are (2i, 2i+1) instead of (i, i + rotary/2) */
    const qk_layer_capture *capture; /* copies taken before RoPE, or NULL */
    /* Those of rows as attention sees them, without log-sum-exps, while they are in a cache; for
     * backends that take them early (qk_backend.takes_early), else NULL. */
    const qk_layer_capture *rotated;
} qk_qkv_post;

typedef struct qk_attention {
    qk_heads heads;
    const int32_t *seq_start; /* [n_seq + 1] host memory: token offsets; sequences never mix */
    int n_seq;
    int window;     /* a query sees itself and the window - 1 keys before it; 0: all before it */
    float scale;    /* multiplies q.k */
    float soft_cap; /* c: scores become c * tanh(score / c); 0: none */
    const qk_layer_capture *capture; /* copies of q, k and v as attention sees them, or NULL */
    /* [T] host memory, 0 or 1: rows whose output is used, among them all whose log-sum-exp is
     * captured; NULL: all. Of others o holds anything. */
    const uint8_t *wanted;
    bool taken; /* its rows have left in qkv_post: only log-sum-exps are wanted */
} qk_attention;

typedef enum qk_activation { QK_SILU, QK_GELU, QK_GELU_TANH } qk_activation;

/* Which rows of a batch go to which expert. Pair i says: row rows[i], times weights[i]. Expert e
 * has the pairs starts[e] .. starts[e + 1] - 1, their rows ascending. Owned by the device, until
 * the next route. */
typedef struct qk_routes {
    const int32_t *starts; /* [experts + 1] host memory */
    const int32_t *rows;   /* [T * top_k] device memory */
    const float *weights;  /* [T * top_k] device memory */
} qk_routes;

typedef struct qk_backend {
    const char *name; /* "cpu", "ref", "cuda" */
    int depth;        /* layers that may be queued at once: 1 where an op is done when it returns */
    size_t chunk;     /* tokens per matrix product that make it efficient; memory grows with it */
    /* Whether rows as attention sees them leave in qkv_post (CPU), not in attention (GPU), whose
     * kernels read them anyway. Attention and gather take them on every backend when asked. */
    bool takes_early;
    size_t weight_size[3]; /* bytes of a weight in a matrix, by compute format */

    /* Whether this machine has such a device; NULL: always. The error says why not. */
    bool (*present)(qk_error *why);
    qk_status (*open)(const qk_device_options *options, qk_device **out, qk_error *err);
    void (*close)(qk_device *dev); /* NULL-safe */
    /* "AVX-512 BF16, 2 threads": for people. Owned by the device. */
    const char *(*describe)(const qk_device *dev);
    /* "cpu", "cpu amx", "cuda sm_90a": devices that say the same compute the same bits. Static. */
    const char *(*numerics)(const qk_device *dev);

    /* Bytes of its memory that are free now; 0: unknown. */
    uint64_t (*free_memory)(qk_device *dev);
    /* Memory. `what` names it in error messages. upload and download move rows * cols elements of
     * the tensor's own dtype; upload converts from `dtype`, rounding to nearest. */
    qk_status (*alloc)(qk_device *dev, qk_dtype dtype, size_t rows, size_t cols, const char *what,
                       qk_tensor *out, qk_error *err);
    void (*free)(qk_device *dev, qk_tensor *t);
    void (*upload)(qk_device *dev, qk_tensor t, const void *src, qk_dtype dtype);
    void (*download)(qk_device *dev, void *dst, qk_tensor t);

    /* Weights. A matrix [out, in] is made empty and filled in slices of whole output rows, so that
     * q, k and v (or gate and up) share one. src: [rows, in] row-major, format src_dtype; it is
     * converted to the compute format and may be unmapped afterwards. */
    qk_status (*matrix_new)(qk_device *dev, size_t out, size_t in, const char *what, qk_matrix **m,
                            qk_error *err);
    void (*matrix_load)(qk_device *dev, qk_matrix *m, size_t first_out, size_t rows,
                        const void *src, qk_dtype src_dtype);
    void (*matrix_free)(qk_device *dev, qk_matrix *m); /* NULL-safe */

    /* x[t, :] = scale * table[ids[t], :].  x [T, D] float32, table [V, D], ids [T] host memory. */
    void (*embed)(qk_device *dev, qk_tensor x, qk_tensor table, const int32_t *ids, float scale);

    /* y = x / sqrt(mean(x^2) + eps) * w, or * (1 + w).  x [T, D] float32, w [D] float32 device
     * memory, y [T, D] float32 or bfloat16; y may be x. (Zhang and Sennrich, 2019) */
    void (*rmsnorm)(qk_device *dev, qk_tensor y, qk_tensor x, const float *w, float eps,
                    bool plus_one);

    /* y = x in y's format.  x [T, D] float32, y [T, D] float32 or bfloat16. */
    void (*convert)(qk_device *dev, qk_tensor y, qk_tensor x);

    /* x += scale * y; with w, x += scale * rmsnorm(y), which may leave y changed.
     * x, y [T, D] float32, w [D] float32 device memory or NULL. */
    void (*add)(qk_device *dev, qk_tensor x, qk_tensor y, const float *w, float eps, bool plus_one,
                float scale);

    /* y = x W^T, or y += x W^T, plus bias[out] when given (float32 device memory).
     * x [T, in] float32 (bfloat16 when compute is QK_BF16), y [T, out] float32. */
    void (*matmul)(qk_device *dev, qk_tensor y, qk_tensor x, const qk_matrix *w, const float *bias,
                   bool accumulate);

    /* Norm, capture and RoPE of projection rows, see qk_qkv_post. in [T, heads_width] float32;
     * out has the same shape and may be `in` when the formats agree; float32, or bfloat16 when
     * compute is QK_BF16. `in` may be left changed. Row 0 of `in` is token first_row of the batch
     * that the capture lists and table_row index. The captured values are rounded to out's format.
     */
    void (*qkv_post)(qk_device *dev, qk_tensor out, qk_tensor in, const qk_qkv_post *p,
                     size_t first_row);

    /* Causal softmax(scale * q k^T) v within each sequence. qkv [T, heads_width] as qkv_post wrote
     * it, o [T, H*d] of the same dtype; o may be the q columns of qkv. Query head h reads key head
     * h / (H/K). Online softmax (Milakov and Gimelshein, 2018; Dao et al., 2022): never T x T. */
    void (*attention)(qk_device *dev, qk_tensor o, qk_tensor qkv, const qk_attention *p);

    /* Only the copies of an attention call: for a last layer that stops at its projection. */
    void (*gather)(qk_device *dev, qk_tensor qkv, qk_heads heads, const qk_layer_capture *capture);

    /* y = act(g[:, 0:F]) * g[:, F:2F].  g [T, 2F] float32, y [T, F] float32 or bfloat16. */
    void (*glu)(qk_device *dev, qk_tensor y, qk_tensor g, qk_activation act);

    /* Mixture of experts (Shazeer et al., 2017; Fedus et al., 2022). For each row the top_k experts
     * with the largest softmax(logits), the lower number first when equal; their probabilities are
     * the weights, divided by their sum with `renormalise`. logits [T, experts] float32. */
    const qk_routes *(*route)(qk_device *dev, qk_tensor logits, int top_k, bool renormalise);
    /* n row numbers of host memory as device memory, for take_rows: until the layer's end, and as
     * long as they stay where they are. */
    const int32_t *(*row_list)(qk_device *dev, const int32_t *rows, size_t n);
    /* y[i, :] = x[rows[i], :].  y [n, D] of x's format, rows [n] device memory. */
    void (*take_rows)(qk_device *dev, qk_tensor y, qk_tensor x, const int32_t *rows);
    /* x[rows[i], :] += weights[i] * y[i, :], no row twice.  x, y float32. */
    void (*add_rows)(qk_device *dev, qk_tensor x, qk_tensor y, const int32_t *rows,
                     const float *weights);

    /* Ends a layer: the work queued since the last call belongs together. */
    void (*layer_end)(qk_device *dev);
    /* Waits, work and copies, until at most `layers` ended layers are unfinished; 0: for all. */
    qk_status (*sync)(qk_device *dev, int layers, qk_error *err);
} qk_backend;

/* NULL when this build has no such backend. "auto" is the fastest one that this build and this
 * machine have; when that is not the fastest of the build, the reason is logged once. */
const qk_backend *qk_backend_find(const char *name);
/* "cpu ref", for messages. */
const char *qk_backend_names(void);

extern const qk_backend qk_backend_ref, qk_backend_cpu;
