/* The reference backend: every op as its formula reads, in double precision, one loop nest each.
 *
 * It is the ground truth that kernels/cpu and kernels/cuda are tested against, and the first file
 * to read: nothing here is fast and nothing is clever. Tensors have the same formats as on the CPU
 * backend, so what an op stores is rounded, but its own arithmetic is double.
 *
 * T tokens, D hidden, H query heads, K key heads, d head_dim, F ffn.
 *
 * next: kernels/ref/ref_attention.c, kernels/cpu/backend_cpu.c */
#include "kernels/ref/ref.h"

#include "engine/base/available.h"

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
    if (dev) ref_forget_routes(dev);
    free(dev);
}

static const char *ref_describe(const qk_device *dev)
{
    (void)dev;
    return "reference backend: naive, double precision, 1 thread";
}

static const char *ref_numerics(const qk_device *dev)
{
    (void)dev;
    return "ref";
}

static uint64_t ref_free_memory(qk_device *dev)
{
    (void)dev;
    return qk_available_memory("");
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
                                    : qk_f32_to_f16(qk_element(src, i, dtype));
            else
                set(t, r, c, (double)qk_element(src, i, dtype));
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
        m->w[first_out * m->in + i] = qk_round_to(qk_element(src, i, src_dtype), dev->compute);
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
            float e = qk_round_to((float)get(table, (size_t)ids[t], c), dev->compute);
            set(x, t, c, (double)scale * (double)e);
        }
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
    if (act == QK_SILU) return x / (1 + exp(-x));            /* x * sigmoid(x) */
    if (act == QK_GELU) return 0.5 * x * erfc(-x / sqrt(2)); /* x * Phi(x) */
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

static void ref_convert(qk_device *dev, qk_tensor y, qk_tensor x)
{
    (void)dev;
    for (size_t t = 0; t < x.rows; t++)
        for (size_t c = 0; c < x.cols; c++) set(y, t, c, get(x, t, c));
}

static void ref_add(qk_device *dev, qk_tensor x, qk_tensor y, const float *w, float eps,
                    bool plus_one, float scale)
{
    (void)dev;
    for (size_t t = 0; t < x.rows; t++) {
        double norm = w ? inverse_rms(y, t, 0, y.cols, eps) : 1;
        for (size_t c = 0; c < x.cols; c++) {
            double weight = w ? (double)w[c] + (plus_one ? 1 : 0) : 1;
            set(x, t, c, get(x, t, c) + (double)scale * get(y, t, c) * norm * weight);
        }
    }
}

static void ref_layer_end(qk_device *dev)
{
    (void)dev;
}

static qk_status ref_sync(qk_device *dev, int layers, qk_error *err)
{
    (void)dev;
    (void)layers;
    (void)err;
    return QK_OK;
}

const qk_backend qk_backend_ref = {
    .name = "ref",
    .depth = 1,
    .chunk = 512,
    .weight_size = {[QK_F32] = 4, [QK_F16] = 4, [QK_BF16] = 4},
    .open = ref_open,
    .close = ref_close,
    .describe = ref_describe,
    .numerics = ref_numerics,
    .free_memory = ref_free_memory,
    .alloc = ref_alloc,
    .free = ref_free,
    .upload = ref_upload,
    .download = ref_download,
    .matrix_new = ref_matrix_new,
    .matrix_load = ref_matrix_load,
    .matrix_free = ref_matrix_free,
    .embed = ref_embed,
    .rmsnorm = ref_rmsnorm,
    .convert = ref_convert,
    .add = ref_add,
    .matmul = ref_matmul,
    .qkv_post = ref_qkv_post,
    .attention = ref_attention,
    .gather = ref_gather,
    .glu = ref_glu,
    .route = ref_route,
    .row_list = ref_row_list,
    .take_rows = ref_take_rows,
    .add_rows = ref_add_rows,
    .layer_end = ref_layer_end,
    .sync = ref_sync,
};
