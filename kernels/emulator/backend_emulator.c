/* See backend_emulator.h: device memory is host memory that the emulator knows by name.
 *
 * next: tests/test_cuda_emulator.c */
#include "kernels/emulator/backend_emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

typedef struct delivery {
    const void *from;
    qk_dtype dtype;
    size_t n, d;
    float **targets;
} delivery;

struct cuda_own {
    void **staged; /* until the next sync */
    size_t n_staged;
    void *scratches[CUDA_SCRATCHES];
    delivery *deliveries;
    size_t n_deliveries;
};

struct qk_matrix {
    size_t out, in;
    float *w; /* [out, in], rounded to the compute format */
};

emu_settings emu_backend_settings;
static char fault[400];
static uint64_t bank_conflicts, tensor_products;

const char *emu_backend_fault(void)
{
    static char last[sizeof fault];
    memcpy(last, fault, sizeof last);
    fault[0] = 0;
    return last;
}

uint64_t emu_backend_bank_conflicts(void)
{
    uint64_t n = bank_conflicts;
    bank_conflicts = 0;
    return n;
}

uint64_t emu_backend_tensor_products(void)
{
    uint64_t n = tensor_products;
    tensor_products = 0;
    return n;
}

/* ---- the machine ---- */

static void launch(qk_device *dev, const cuda_launch *l)
{
    (void)dev;
    if (fault[0]) return;
    QK_ASSERT(emu_threads(l->kernel, l->value) == l->threads);
    emu_launch e = {
        .kernel = l->kernel,
        .spec = l->value,
        .grid_x = (int)l->grid_x,
        .grid_y = (int)l->grid_y,
        .shared_bytes = l->shared_bytes,
        .args = l->args,
        .order = emu_backend_settings.order,
        .seed = emu_backend_settings.seed,
    };
    emu_result r;
    emu_run(&e, &r);
    bank_conflicts += r.bank_conflicts;
    tensor_products += r.tensor_products;
    if (!r.ok) memcpy(fault, r.message, sizeof fault);
}

/* Memory that begins at a multiple of 16, as a GPU's does, and holds NaN. */
static void *new_memory(size_t bytes)
{
    void *p = aligned_alloc(256, (bytes + 256) / 256 * 256);
    QK_ASSERT(p);
    memset(p, 0xFF, bytes);
    return p;
}

static void *stage(qk_device *dev, const void *src, size_t bytes, const char *what)
{
    struct cuda_own *own = dev->own;
    void *p = new_memory(bytes);
    if (src) memcpy(p, src, bytes);
    own->staged = qk_realloc(own->staged, own->n_staged + 1, sizeof *own->staged);
    own->staged[own->n_staged++] = p;
    emu_buffer_add(p, bytes, what, src == NULL);
    return p;
}

static void *scratch(qk_device *dev, int number, size_t bytes, const char *what)
{
    void **p = &dev->own->scratches[number];
    if (*p) emu_buffer_remove(*p);
    free(*p);
    *p = new_memory(bytes);
    emu_buffer_add(*p, bytes, what, true);
    return *p;
}

static void deliver(qk_device *dev, const void *from, qk_dtype dtype, size_t n, size_t d,
                    float **targets)
{
    struct cuda_own *own = dev->own;
    own->deliveries = qk_realloc(own->deliveries, own->n_deliveries + 1, sizeof *own->deliveries);
    own->deliveries[own->n_deliveries++] = (delivery){from, dtype, n, d, targets};
}

static void fetch(qk_device *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    memcpy(dst, src, bytes);
}

static const cuda_machine machine = {launch, stage, deliver, scratch, fetch};

static void finish(qk_device *dev)
{
    struct cuda_own *own = dev->own;
    for (size_t i = 0; i < own->n_deliveries; i++) {
        delivery *x = &own->deliveries[i];
        for (size_t r = 0; r < x->n; r++)
            for (size_t c = 0; x->targets[r] && c < x->d; c++)
                x->targets[r][c] = x->dtype == QK_F32
                                       ? ((const float *)x->from)[r * x->d + c]
                                       : qk_bf16_to_f32(((const uint16_t *)x->from)[r * x->d + c]);
        free(x->targets);
    }
    for (size_t i = 0; i < own->n_staged; i++) {
        emu_buffer_remove(own->staged[i]);
        free(own->staged[i]);
    }
    own->n_deliveries = own->n_staged = 0;
}

static void layer_end(qk_device *dev)
{
    (void)dev;
}

static qk_status sync_device(qk_device *dev, int layers, qk_error *err)
{
    (void)layers;
    (void)err;
    finish(dev);
    return QK_OK;
}

/* ---- device and memory ---- */

static qk_status open_device(const qk_device_options *options, qk_device **out, qk_error *err)
{
    (void)err;
    qk_device *dev = *out = qk_zalloc(1, sizeof **out);
    dev->machine = &machine;
    dev->capability = EMULATED_CAPABILITY;
    dev->own = qk_zalloc(1, sizeof *dev->own);
    dev->compute = options->compute;
    dev->rung = emu_backend_settings.rung;
    return QK_OK;
}

static void close_device(qk_device *dev)
{
    if (!dev) return;
    finish(dev);
    for (int i = 0; i < CUDA_SCRATCHES; i++) {
        if (dev->own->scratches[i]) emu_buffer_remove(dev->own->scratches[i]);
        free(dev->own->scratches[i]);
    }
    free(dev->own->staged);
    free(dev->own->deliveries);
    free(dev->own);
    free(dev->starts);
    free(dev);
}

static const char *describe(const qk_device *dev)
{
    (void)dev;
    return "CUDA kernels on the emulator";
}

static const char *numerics(const qk_device *dev)
{
    (void)dev;
    return "emulator";
}

static qk_status alloc(qk_device *dev, qk_dtype dtype, size_t rows, size_t cols, const char *what,
                       qk_tensor *out, qk_error *err)
{
    (void)dev;
    (void)err;
    size_t bytes = rows * cols * qk_dtype_size(dtype);
    *out = (qk_tensor){new_memory(bytes), dtype, rows, cols, cols};
    emu_buffer_add(out->data, bytes, what, true);
    return QK_OK;
}

static void free_tensor(qk_device *dev, qk_tensor *t)
{
    (void)dev;
    emu_buffer_remove(t->data);
    free(t->data);
    *t = (qk_tensor){0};
}

static float element(const void *data, size_t i, qk_dtype dtype)
{
    if (dtype == QK_F32) return ((const float *)data)[i];
    uint16_t h = ((const uint16_t *)data)[i];
    return dtype == QK_BF16 ? qk_bf16_to_f32(h) : qk_f16_to_f32(h);
}

static void put(qk_tensor t, size_t i, float v)
{
    if (t.dtype == QK_F32)
        ((float *)t.data)[i] = v;
    else
        ((uint16_t *)t.data)[i] = t.dtype == QK_BF16 ? qk_f32_to_bf16(v) : qk_f32_to_f16(v);
}

static void upload(qk_device *dev, qk_tensor t, const void *src, qk_dtype dtype)
{
    (void)dev;
    for (size_t r = 0; r < t.rows; r++)
        for (size_t c = 0; c < t.cols; c++)
            put(t, r * t.stride + c, element(src, r * t.cols + c, dtype));
}

static void download(qk_device *dev, void *dst, qk_tensor t)
{
    (void)dev;
    size_t bytes = t.cols * qk_dtype_size(t.dtype);
    for (size_t r = 0; r < t.rows; r++)
        memcpy((char *)dst + r * bytes, (char *)t.data + r * t.stride * qk_dtype_size(t.dtype),
               bytes);
}

/* ---- matrix products: cuBLASLt's part on a GPU ---- */

static qk_status matrix_new(qk_device *dev, size_t out, size_t in, const char *what, qk_matrix **m,
                            qk_error *err)
{
    (void)dev;
    *m = qk_zalloc(1, sizeof **m);
    (*m)->out = out;
    (*m)->in = in;
    return qk_try_alloc((void **)&(*m)->w, out * in, sizeof(float), what, err);
}

static void matrix_load(qk_device *dev, qk_matrix *m, size_t first_out, size_t rows,
                        const void *src, qk_dtype src_dtype)
{
    for (size_t i = 0; i < rows * m->in; i++)
        m->w[first_out * m->in + i] = qk_round_to(element(src, i, src_dtype), dev->compute);
}

static void matrix_free(qk_device *dev, qk_matrix *m)
{
    (void)dev;
    if (m) free(m->w);
    free(m);
}

static void matmul(qk_device *dev, qk_tensor y, qk_tensor x, const qk_matrix *w, const float *bias,
                   bool accumulate)
{
    (void)dev;
    QK_ASSERT(x.cols == w->in && y.cols == w->out && y.rows == x.rows && y.dtype == QK_F32);
    for (size_t t = 0; t < y.rows; t++)
        for (size_t o = 0; o < w->out; o++) {
            float *to = (float *)y.data + t * y.stride + o, sum = 0;
            for (size_t i = 0; i < w->in; i++)
                sum += element(x.data, t * x.stride + i, x.dtype) * w->w[o * w->in + i];
            *to = (accumulate ? *to : 0) + sum + (bias ? bias[o] : 0);
        }
}

static uint64_t free_memory(qk_device *dev)
{
    (void)dev;
    return 0;
}

const qk_backend qk_backend_emulator = {
    .name = "emulator",
    .depth = 2,
    .chunk = 512,
    .weight_size = {[QK_F32] = 4, [QK_F16] = 4, [QK_BF16] = 4},
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .numerics = numerics,
    .free_memory = free_memory,
    .alloc = alloc,
    .free = free_tensor,
    .upload = upload,
    .download = download,
    .matrix_new = matrix_new,
    .matrix_load = matrix_load,
    .matrix_free = matrix_free,
    .embed = cuda_embed,
    .rmsnorm = cuda_rmsnorm,
    .convert = cuda_convert,
    .add = cuda_add,
    .matmul = matmul,
    .qkv_post = cuda_qkv_post,
    .attention = cuda_attention,
    .gather = cuda_gather,
    .glu = cuda_glu,
    .route = cuda_route,
    .row_list = cuda_row_list,
    .take_rows = cuda_take_rows,
    .add_rows = cuda_add_rows,
    .layer_end = layer_end,
    .sync = sync_device,
};
