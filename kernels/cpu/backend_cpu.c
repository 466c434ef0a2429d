/* The CPU backend: its op table, device and memory. Fast paths are in matmul.c, attention.c,
 * elementwise.c; their inner loops in isa/.
 *
 * next: kernels/cpu/isa/simd.h */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/available.h"
#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"

static qk_status cpu_open(const qk_device_options *options, qk_device **out, qk_error *err)
{
    const cpu_isa *isa = cpu_isa_find(options->isa);
    if (!isa) {
        char names[96];
        cpu_isa_names(names, sizeof names);
        return qk_fail(err, QK_ERR_CONFIG, "leave it out to get the best one",
                       "isa '%s': this processor cannot run it, or nobody knows it; here: %s",
                       options->isa, names);
    }
    const char *why;
    int usual = qk_threads(&why), threads = options->threads ? options->threads : usual;
    QK_TRY(qk_team_start(threads, err)); /* of whoever opens it: it computes in the same thread */
    qk_device *dev = qk_zalloc(1, sizeof *dev);
    dev->isa = isa;
    dev->compute = options->compute;
    dev->threads = threads;
    bool told = threads == usual && why;
    snprintf(dev->title, sizeof dev->title, "CPU, %s, %d thread%s%s%s%s", isa->title, threads,
             threads == 1 ? "" : "s", told ? " (" : "", told ? why : "", told ? ")" : "");
    *out = dev;
    return QK_OK;
}

static void cpu_close(qk_device *dev)
{
    if (!dev) return;
    free(dev->packed.data);
    free(dev->sums.data);
    free(dev->scratch.data);
    cpu_router_free(dev->router);
    free(dev);
}

static const char *cpu_describe(const qk_device *dev)
{
    return dev->title;
}

/* Only the tile registers of AMX add in an order of their own, and only bfloat16 uses them. */
static const char *cpu_numerics(const qk_device *dev)
{
    return dev->compute == QK_BF16 && !strcmp(dev->isa->name, "amx") ? "cpu amx" : "cpu";
}

static uint64_t cpu_free_memory(qk_device *dev)
{
    (void)dev;
    return qk_available_memory("");
}

void cpu_reserve(cpu_buffer *buffer, size_t bytes, const char *what)
{
    qk_error err;
    if (bytes <= buffer->bytes) return;
    free(buffer->data);
    if (qk_try_alloc(&buffer->data, bytes, 1, what, &err) != QK_OK) qk_no_memory(err.message);
    buffer->bytes = bytes;
}

static qk_status cpu_alloc(qk_device *dev, qk_dtype dtype, size_t rows, size_t cols,
                           const char *what, qk_tensor *out, qk_error *err)
{
    (void)dev;
    *out = (qk_tensor){NULL, dtype, rows, cols, cols};
    size_t n;
    if (!qk_mul(rows, cols, &n)) n = SIZE_MAX;
    return qk_try_alloc(&out->data, n, qk_dtype_size(dtype), what, err);
}

static void cpu_free(qk_device *dev, qk_tensor *t)
{
    (void)dev;
    free(t->data);
    *t = (qk_tensor){0};
}

typedef struct transfer {
    qk_tensor t;
    const void *src;
    qk_dtype dtype; /* of src */
} transfer;

static void upload_rows(void *context, size_t begin, size_t end, int member)
{
    const transfer *x = context;
    const qk_tensor t = x->t;
    (void)member;
    for (size_t r = begin; r < end; r++) {
        size_t at = r * t.stride, from = r * t.cols;
        if (x->dtype == t.dtype) {
            size_t size = qk_dtype_size(t.dtype);
            memcpy((char *)t.data + at * size, (const char *)x->src + from * size, t.cols * size);
            continue;
        }
        for (size_t c = 0; c < t.cols; c++)
            qk_element_set(t.data, at + c, t.dtype, qk_element(x->src, from + c, x->dtype));
    }
}

static void cpu_upload(qk_device *dev, qk_tensor t, const void *src, qk_dtype dtype)
{
    transfer x = {t, src, dtype};
    qk_loop(dev->threads, t.rows, upload_rows, &x);
}

static void cpu_download(qk_device *dev, void *dst, qk_tensor t)
{
    (void)dev;
    size_t size = qk_dtype_size(t.dtype);
    for (size_t r = 0; r < t.rows; r++)
        memcpy((char *)dst + r * t.cols * size, (char *)t.data + r * t.stride * size,
               t.cols * size);
}

static void cpu_layer_end(qk_device *dev)
{
    (void)dev;
}

static qk_status cpu_sync(qk_device *dev, int layers, qk_error *err)
{
    (void)dev;
    (void)layers;
    (void)err;
    return QK_OK;
}

const qk_backend qk_backend_cpu = {
    .name = "cpu",
    .depth = 1,
    .takes_early = true,
    .chunk = 512,
    .weight_size = {[QK_F32] = 4, [QK_F16] = 2, [QK_BF16] = 2},
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .numerics = cpu_numerics,
    .free_memory = cpu_free_memory,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_upload,
    .download = cpu_download,
    .matrix_new = cpu_matrix_new,
    .matrix_load = cpu_matrix_load,
    .matrix_free = cpu_matrix_free,
    .embed = cpu_embed,
    .rmsnorm = cpu_rmsnorm,
    .convert = cpu_convert,
    .add = cpu_add,
    .matmul = cpu_matmul,
    .qkv_post = cpu_qkv_post,
    .attention = cpu_attention,
    .gather = cpu_gather,
    .glu = cpu_glu,
    .route = cpu_route,
    .row_list = cpu_row_list,
    .take_rows = cpu_take_rows,
    .add_rows = cpu_add_rows,
    .layer_end = cpu_layer_end,
    .sync = cpu_sync,
};
