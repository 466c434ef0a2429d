/* The reference backend: every op as its formula reads, in double precision, one loop nest each.
 *
 * It is the ground truth that kernels/cpu and kernels/cuda are tested against, and the first file
 * to read: nothing here is fast and nothing is clever. Tensors have the same formats as on the CPU
 * backend, so what an op stores is rounded, but its own arithmetic is double.
 *
 * T tokens, D hidden, H query heads, K key heads, d head_dim, F ffn.
 *
 * next: kernels/cpu/backend_cpu.c */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

struct qk_device {
    qk_dtype compute;
};

struct qk_matrix {
    size_t out, in;
    float *w; /* [out, in], rounded to the compute format */
};

/* ---- elements ---- */

static double get(qk_tensor t, size_t row, size_t col)
{
    size_t i = row * t.stride + col;
    if (t.dtype == QK_F32) return (double)((const float *)t.data)[i];
    uint16_t h = ((const uint16_t *)t.data)[i];
    return (double)(t.dtype == QK_BF16 ? qk_bf16_to_f32(h) : qk_f16_to_f32(h));
}

static void set(qk_tensor t, size_t row, size_t col, double value)
{
    size_t i = row * t.stride + col;
    QK_ASSERT(t.dtype != QK_F16); /* activations are float32 or bfloat16 */
    if (t.dtype == QK_F32)
        ((float *)t.data)[i] = (float)value;
    else
        ((uint16_t *)t.data)[i] = qk_f32_to_bf16((float)value);
}

static float element(const void *data, size_t i, qk_dtype dtype)
{
    if (dtype == QK_F32) return ((const float *)data)[i];
    uint16_t h = ((const uint16_t *)data)[i];
    return dtype == QK_BF16 ? qk_bf16_to_f32(h) : qk_f16_to_f32(h);
}

static float round_to(float value, qk_dtype dtype)
{
    if (dtype == QK_BF16) return qk_bf16_to_f32(qk_f32_to_bf16(value));
    return dtype == QK_F16 ? qk_f16_to_f32(qk_f32_to_f16(value)) : value;
}

/* ---- device and memory ---- */

static qk_status ref_open(const qk_device_options *options, qk_device **out, qk_error *err)
{
    (void)err;
    *out = qk_zalloc(1, sizeof **out);
    (*out)->compute = options->compute;
    return QK_OK;
}

static void ref_close(qk_device *dev)
{
    free(dev);
}

static const char *ref_describe(const qk_device *dev)
{
    (void)dev;
    return "reference backend: naive, double precision, 1 thread";
}

static qk_status ref_alloc(qk_device *dev, qk_dtype dtype, size_t rows, size_t cols,
                           const char *what, qk_tensor *out, qk_error *err)
{
    (void)dev;
    *out = (qk_tensor){NULL, dtype, rows, cols, cols};
    size_t n;
    if (!qk_mul(rows, cols, &n)) n = SIZE_MAX;
    return qk_try_alloc(&out->data, n, qk_dtype_size(dtype), what, err);
}

static void ref_free(qk_device *dev, qk_tensor *t)
{
    (void)dev;
    free(t->data);
    *t = (qk_tensor){0};
}

static void ref_upload(qk_device *dev, qk_tensor t, const void *src, qk_dtype dtype)
{
    (void)dev;
    for (size_t r = 0; r < t.rows; r++)
        for (size_t c = 0; c < t.cols; c++) {
            size_t i = r * t.cols + c;
            if (t.dtype == QK_F16)
                ((uint16_t *)t.data)[r * t.stride + c] =
                    dtype == QK_F16 ? ((const uint16_t *)src)[i]
                                    : qk_f32_to_f16(element(src, i, dtype));
            else
                set(t, r, c, (double)element(src, i, dtype));
        }
}

static void ref_download(qk_device *dev, void *dst, qk_tensor t)
{
    (void)dev;
    size_t bytes = t.cols * qk_dtype_size(t.dtype);
    for (size_t r = 0; r < t.rows; r++)
        memcpy((char *)dst + r * bytes, (char *)t.data + r * t.stride * qk_dtype_size(t.dtype),
               bytes);
}

static qk_status ref_matrix_new(qk_device *dev, size_t out, size_t in, const char *what,
                                qk_matrix **m, qk_error *err)
{
    (void)dev;
    *m = qk_zalloc(1, sizeof **m);
    (*m)->out = out;
    (*m)->in = in;
    size_t n;
    if (!qk_mul(out, in, &n)) n = SIZE_MAX;
    qk_status s = qk_try_alloc((void **)&(*m)->w, n, sizeof(float), what, err);
    if (s != QK_OK) {
        free(*m);
        *m = NULL;
    }
    return s;
}

static void ref_matrix_load(qk_device *dev, qk_matrix *m, size_t first_out, size_t rows,
                            const void *src, qk_dtype src_dtype)
{
    QK_ASSERT(first_out <= m->out && rows <= m->out - first_out);
    for (size_t i = 0; i < rows * m->in; i++)
        m->w[first_out * m->in + i] = round_to(element(src, i, src_dtype), dev->compute);
}

static void ref_matrix_free(qk_device *dev, qk_matrix *m)
{
    (void)dev;
    if (m) free(m->w);
    free(m);
}

/* ---- ops on rows ---- */

static void ref_embed(qk_device *dev, qk_tensor x, qk_tensor table, const int32_t *ids, float scale)
{
    for (size_t t = 0; t < x.rows; t++)
        for (size_t c = 0; c < x.cols; c++) {
            float e = round_to((float)get(table, (size_t)ids[t], c), dev->compute);
            set(x, t, c, (double)scale * (double)e);
        }
}

/* 1 / sqrt(mean(x^2) + eps) of columns first .. first + n - 1. */
static double inverse_rms(qk_tensor x, size_t row, size_t first, size_t n, float eps)
{
    double sum = 0;
    for (size_t c = 0; c < n; c++) sum += get(x, row, first + c) * get(x, row, first + c);
    return 1 / sqrt(sum / (double)n + (double)eps);
}

static void ref_rmsnorm(qk_device *dev, qk_tensor y, qk_tensor x, const float *w, float eps,
                        bool plus_one)
{
    (void)dev;
    for (size_t t = 0; t < x.rows; t++) {
        double scale = inverse_rms(x, t, 0, x.cols, eps);
        for (size_t c = 0; c < x.cols; c++)
            set(y, t, c, get(x, t, c) * scale * ((double)w[c] + (plus_one ? 1 : 0)));
    }
}

static void ref_matmul(qk_device *dev, qk_tensor y, qk_tensor x, const qk_matrix *w,
                       const float *bias, bool accumulate)
{
    (void)dev;
    QK_ASSERT(x.cols == w->in && y.cols == w->out && y.rows == x.rows);
    for (size_t t = 0; t < y.rows; t++)
        for (size_t o = 0; o < w->out; o++) {
            double sum = (accumulate ? get(y, t, o) : 0) + (bias ? (double)bias[o] : 0);
            for (size_t i = 0; i < w->in; i++) sum += get(x, t, i) * (double)w->w[o * w->in + i];
            set(y, t, o, sum);
        }
}

static double activate(double x, qk_activation act)
{
    if (act == QK_SILU) return x / (1 + exp(-x)); /* x * sigmoid(x) */
    /* Hendrycks and Gimpel, 2016: the tanh approximation of x * Phi(x) */
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static void ref_glu(qk_device *dev, qk_tensor y, qk_tensor g, qk_activation act)
{
    (void)dev;
    QK_ASSERT(g.cols == 2 * y.cols);
    for (size_t t = 0; t < y.rows; t++)
        for (size_t c = 0; c < y.cols; c++)
            set(y, t, c, activate(get(g, t, c), act) * get(g, t, y.cols + c));
}

/* ---- capture ---- */

/* head: the first column of head 0 of this kind. */
static void copy_rows(qk_tensor qkv, size_t first_col, int d, const qk_row_copy *c,
                      size_t first_row)
{
    for (size_t h = 0; h < c->n_heads; h++)
        for (size_t r = 0; r < c->n_rows; r++) {
            size_t row = (size_t)c->rows[r];
            if (row < first_row || row - first_row >= qkv.rows) continue; /* another chunk's */
            for (int i = 0; i < d; i++)
                c->out[(h * c->n_rows + r) * (size_t)d + (size_t)i] =
                    (float)get(qkv, row - first_row, first_col + (size_t)(c->heads[h] * d + i));
        }
}

static void copy_captured(qk_tensor qkv, qk_heads heads, const qk_layer_capture *capture,
                          size_t first_row)
{
    if (!capture) return;
    for (size_t i = 0; i < capture->n_q; i++) copy_rows(qkv, 0, heads.d, &capture->q[i], first_row);
    for (size_t i = 0; i < capture->n_k; i++)
        copy_rows(qkv, (size_t)(heads.H * heads.d), heads.d, &capture->k[i], first_row);
}

static void ref_gather(qk_device *dev, qk_tensor qkv, qk_heads heads,
                       const qk_layer_capture *capture)
{
    (void)dev;
    copy_captured(qkv, heads, capture, 0);
}

/* ---- between projection and attention ---- */

static void norm_head(qk_tensor out, qk_tensor in, size_t row, size_t first, const float *w,
                      const qk_qkv_post *p)
{
    double scale = w ? inverse_rms(in, row, first, (size_t)p->heads.d, p->eps) : 1;
    for (int i = 0; i < p->heads.d; i++) {
        double weight = w ? (double)w[i] + (p->norm_plus_one ? 1 : 0) : 1;
        set(out, row, first + (size_t)i, get(in, row, first + (size_t)i) * scale * weight);
    }
}

/* (a, b) -> (a cos - b sin, b cos + a sin) for each pair. */
static void rotate_head(qk_tensor out, qk_tensor in, size_t row, size_t first, const float *cosines,
                        const float *sines, const qk_qkv_post *p)
{
    int half = p->rotary / 2;
    for (int i = 0; i < half; i++) {
        size_t a = first + (size_t)(p->interleaved ? 2 * i : i);
        size_t b = first + (size_t)(p->interleaved ? 2 * i + 1 : i + half);
        double x = get(in, row, a), y = get(in, row, b), c = cosines[i], s = sines[i];
        set(out, row, a, x * c - y * s);
        set(out, row, b, y * c + x * s);
    }
    for (int i = p->rotary; i < p->heads.d; i++)
        set(out, row, first + (size_t)i, get(in, row, first + (size_t)i));
}

static void ref_qkv_post(qk_device *dev, qk_tensor out, qk_tensor in, const qk_qkv_post *p,
                         size_t first_row)
{
    (void)dev;
    const qk_heads *h = &p->heads;
    size_t d = (size_t)h->d, width = qk_heads_width(*h), n_rotated = (size_t)(h->H + h->K);
    QK_ASSERT(in.cols == width && out.cols == width);
    /* float32 between norm and RoPE, so that out is rounded once. */
    qk_tensor row = {qk_alloc(width, sizeof(float)), QK_F32, 1, width, width};
    qk_tensor captured = {qk_alloc(in.rows * width, qk_dtype_size(out.dtype)), out.dtype, in.rows,
                          width, width};
    for (size_t t = 0; t < in.rows; t++) {
        for (size_t c = 0; c < width; c++) set(row, 0, c, get(in, t, c));
        for (size_t i = 0; i < n_rotated; i++)
            norm_head(row, row, 0, i * d, i < (size_t)h->H ? p->q_norm : p->k_norm, p);
        for (size_t c = 0; c < width; c++) set(captured, t, c, get(row, 0, c));
        size_t table = p->cos ? (size_t)p->table_row[first_row + t] * (size_t)(p->rotary / 2) : 0;
        for (size_t i = 0; i < n_rotated && p->cos; i++) {
            qk_tensor to = {(char *)out.data + t * out.stride * qk_dtype_size(out.dtype), out.dtype,
                            1, width, width};
            rotate_head(to, row, 0, i * d, p->cos + table, p->sin + table, p);
        }
        for (size_t c = p->cos ? n_rotated * d : 0; c < width; c++) set(out, t, c, get(row, 0, c));
    }
    copy_captured(captured, *h, p->capture, first_row);
    free(row.data);
    free(captured.data);
}

/* ---- attention ---- */

/* One query row of one head: softmax over keys first .. last, all of them at once. */
static void attend_row(qk_tensor o, qk_tensor qkv, const qk_attention *p, size_t t, int head,
                       size_t first, double *weights)
{
    const qk_heads *h = &p->heads;
    size_t d = (size_t)h->d, q_col = (size_t)head * d;
    size_t k_col = ((size_t)h->H + (size_t)(head / (h->H / h->K))) * d,
           v_col = k_col + (size_t)h->K * d;
    double largest = -INFINITY, sum = 0;
    for (size_t s = first; s <= t; s++) {
        double score = 0;
        for (size_t i = 0; i < d; i++) score += get(qkv, t, q_col + i) * get(qkv, s, k_col + i);
        score *= (double)p->scale;
        if (p->soft_cap > 0) score = (double)p->soft_cap * tanh(score / (double)p->soft_cap);
        weights[s - first] = score;
        if (score > largest) largest = score;
    }
    for (size_t s = first; s <= t; s++)
        sum += weights[s - first] = exp(weights[s - first] - largest);
    for (size_t i = 0; i < d; i++) {
        double value = 0;
        for (size_t s = first; s <= t; s++) value += weights[s - first] * get(qkv, s, v_col + i);
        set(o, t, q_col + i, value / sum);
    }
}

static void ref_attention(qk_device *dev, qk_tensor o, qk_tensor qkv, const qk_attention *p)
{
    (void)dev;
    QK_ASSERT(p->heads.has_v && qkv.cols == qk_heads_width(p->heads));
    copy_captured(qkv, p->heads, p->capture, 0);
    double *weights = qk_alloc(qkv.rows, sizeof *weights);
    /* Rows from the last to the first: o may stand where q was, and keys are not touched. */
    for (int s = 0; s < p->n_seq; s++)
        for (size_t t = (size_t)p->seq_start[s + 1]; t-- > (size_t)p->seq_start[s];) {
            size_t first = (size_t)p->seq_start[s];
            if (p->window && t - first >= (size_t)p->window) first = t - (size_t)p->window + 1;
            for (int head = 0; head < p->heads.H; head++)
                attend_row(o, qkv, p, t, head, first, weights);
        }
    free(weights);
}

static void ref_sync(qk_device *dev)
{
    (void)dev;
}

const qk_backend qk_backend_ref = {
    .name = "ref",
    .open = ref_open,
    .close = ref_close,
    .describe = ref_describe,
    .alloc = ref_alloc,
    .free = ref_free,
    .upload = ref_upload,
    .download = ref_download,
    .matrix_new = ref_matrix_new,
    .matrix_load = ref_matrix_load,
    .matrix_free = ref_matrix_free,
    .embed = ref_embed,
    .rmsnorm = ref_rmsnorm,
    .matmul = ref_matmul,
    .qkv_post = ref_qkv_post,
    .attention = ref_attention,
    .gather = ref_gather,
    .glu = ref_glu,
    .sync = ref_sync,
};
