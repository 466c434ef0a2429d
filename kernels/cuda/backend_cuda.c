/* See backend_cuda.h: opening and closing a GPU, its errors, its op table.
 *
 * next: kernels/cuda/port.h, the hardware as kernels see it */
#include "kernels/cuda/backend_cuda.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/launcher.h"
#include "engine/base/log.h"
#include "kernels/cuda/runtime.h"

/* ---- errors ---- */

static const char *advice(int result)
{
    static const struct {
        int result;
        const char *hint;
    } all[] = {
        {CUDA_ERROR_OUT_OF_MEMORY, CUDA_NO_MEMORY_HINT},
        {CUDA_ERROR_NO_DEVICE, "see nvidia-smi and CUDA_VISIBLE_DEVICES, or use --backend cpu"},
        {CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "the driver was updated: restart the machine"},
        {CUDA_ERROR_SYSTEM_NOT_READY, "start nvidia-fabricmanager, or restart the machine"},
        {CUDA_ERROR_DEVICE_UNAVAILABLE, "another program has the GPU for itself: see nvidia-smi"},
        {CUDA_ERROR_NO_BINARY_FOR_GPU, "remove the folder 'cubins' of the cache and try again"},
        {CUDA_ERROR_ECC_UNCORRECTABLE, "the GPU's memory is failing: use another GPU"},
        {CUDA_ERROR_ILLEGAL_ADDRESS,
         "a bug of qkengine or a failing GPU: what is finished is kept, the same command goes on"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].result == result) return all[i].hint;
    return "what is finished is kept: the same command goes on; see nvidia-smi and dmesg";
}

const char *cuda_error_text(const cuda_driver *driver, int result)
{
    static _Thread_local char text[160];
    const char *name = NULL, *words = NULL;
    driver->cuGetErrorName((CUresult)result, &name);
    driver->cuGetErrorString((CUresult)result, &words);
    snprintf(text, sizeof text, "%s (%s)", name ? name : "unknown error", words ? words : "?");
    return text;
}

bool cuda_check(cuda_own *own, const char *doing, const char *call, int result)
{
    if (result == CUDA_SUCCESS || result == CUDA_SKIPPED) return result == CUDA_SUCCESS;
    char available[80] = "";
    size_t left = 0, total = 0;
    if (result == CUDA_ERROR_OUT_OF_MEMORY &&
        own->driver->cuMemGetInfo(&left, &total) == CUDA_SUCCESS)
        snprintf(available, sizeof available, "; %s of %s are free", qk_human_bytes((double)left),
                 qk_human_bytes((double)total));
    /* The same command finds too little memory again; a failing GPU may be another one then. */
    qk_status status = result == CUDA_ERROR_OUT_OF_MEMORY ? QK_ERR_IO : QK_ERR_RESUME;
    qk_fail(&own->failure, status, advice(result), "GPU, %s: %s: %s%s", doing, call,
            cuda_error_text(own->driver, result), available);
    cuda_drain(own);
    return false;
}

int cuda_drain(cuda_own *own)
{
    CUresult a = CUDA_SUCCESS, b = CUDA_SUCCESS;
    if (own->compute) a = own->driver->cuStreamSynchronize(own->compute);
    if (own->copy) b = own->driver->cuStreamSynchronize(own->copy);
    return (int)(a ? a : b);
}

/* ---- open ---- */

static int rung;

void cuda_use_rung(int number)
{
    rung = number;
}

/* A GPU before anything is taken of it. */
typedef struct gpu {
    const cuda_driver *driver;
    CUdevice device;
    int number, count; /* of those that CUDA_VISIBLE_DEVICES shows */
    int version;       /* of CUDA that the driver knows: 13000 */
    int major, minor;
} gpu;

enum { OLDEST_DRIVER = 12000, OLDEST_GPU = 8 };

/* *call: the last one that was asked. Processes that a launcher has started on one machine take a GPU
 * each, in turn; a process that nobody has numbered takes the first. */
static CUresult ask(gpu *g, const char **call)
{
#define ASK(name, ...) (r == CUDA_SUCCESS ? (*call = #name, r = g->driver->name(__VA_ARGS__)) : r)
    CUresult r = CUDA_SUCCESS;
    int64_t local = qk_launch_local(getenv);
    ASK(cuInit, 0);
    ASK(cuDeviceGetCount, &g->count);
    if (r == CUDA_SUCCESS && g->count == 0) r = CUDA_ERROR_NO_DEVICE;
    if (r == CUDA_SUCCESS && local > 0) g->number = (int)(local % g->count);
    ASK(cuDriverGetVersion, &g->version);
    ASK(cuDeviceGet, &g->device, g->number);
    ASK(cuDeviceGetAttribute, &g->major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, g->device);
    ASK(cuDeviceGetAttribute, &g->minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, g->device);
#undef ASK
    return r;
}

static qk_status find_gpu(gpu *g, qk_error *err)
{
    *g = (gpu){.driver = cuda_driver_get(err)};
    if (!g->driver) return err->status;
    const char *call = "";
    CUresult r = ask(g, &call);
    if (r != CUDA_SUCCESS)
        return qk_fail(err, QK_ERR_UNSUPPORTED, advice((int)r), "no GPU: %s: %s", call,
                       cuda_error_text(g->driver, (int)r));
    if (g->version < OLDEST_DRIVER)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "update the NVIDIA driver",
                       "the NVIDIA driver is too old: it knows CUDA %d.%d, and 12.0 is needed",
                       g->version / 1000, g->version % 1000 / 10);
    if (g->major < OLDEST_GPU)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "use --backend cpu",
                       "this GPU has compute capability %d.%d; the kernels need 8.0 (Ampere) or "
                       "newer",
                       g->major, g->minor);
    return QK_OK;
}

static bool cuda_present(qk_error *why)
{
    gpu g;
    return find_gpu(&g, why) == QK_OK;
}

/* "NVIDIA H100 80GB HBM3, sm_90a, 79.1 GB, driver for CUDA 13.0"; ", GPU 2 of 0-3" where there are
 * several. */
static void describe_gpu(cuda_own *own, const gpu *g)
{
    char name[100] = "?", which[40] = "";
    size_t left = 0, total = 0;
    CUDA_CALL(own, "opening", cuDeviceGetName, name, sizeof name, own->device);
    CUDA_CALL(own, "opening", cuMemGetInfo, &left, &total);
    snprintf(own->arch, sizeof own->arch, "sm_%d%d%s", g->major, g->minor,
             g->major >= 9 ? "a" : "");
    snprintf(own->numerics, sizeof own->numerics, "cuda %s", own->arch);
    if (g->count > 1) snprintf(which, sizeof which, ", GPU %d of 0-%d", g->number, g->count - 1);
    snprintf(own->title, sizeof own->title, "%s, %s, %s, driver for CUDA %d.%d%s", name, own->arch,
             qk_human_bytes((double)total), g->version / 1000, g->version % 1000 / 10, which);
}

static qk_status open_gpu(qk_device *dev, qk_error *err)
{
    cuda_own *own = dev->own;
    gpu g;
    QK_TRY(find_gpu(&g, err));
    own->driver = g.driver;
    own->device = g.device;
    CUDA_CALL(own, "opening", cuDevicePrimaryCtxRetain, &own->context, own->device);
    CUDA_CALL(own, "opening", cuCtxSetCurrent, own->context);
    dev->capability = 10 * g.major + g.minor;
    describe_gpu(own, &g);
    CUDA_CALL(own, "opening", cuStreamCreate, &own->compute, CU_STREAM_NON_BLOCKING);
    CUDA_CALL(own, "opening", cuStreamCreate, &own->copy, CU_STREAM_NON_BLOCKING);
    cuda_segments_open(own);
    cuda_memory_open(own);
    if (own->failure.status) *err = own->failure;
    QK_TRY(own->failure.status);
    return cuda_products_open(dev, err);
}

static void cuda_close(qk_device *dev)
{
    if (!dev) return;
    cuda_own *own = dev->own;
    const cuda_driver *driver = own->driver;
    if (driver && own->context) {
        cuda_drain(own);
        cuda_products_close(own);
        cuda_functions_close(own);
        cuda_segments_close(own);
        cuda_memory_close(own);
        if (own->compute) driver->cuStreamDestroy(own->compute);
        if (own->copy) driver->cuStreamDestroy(own->copy);
        driver->cuDevicePrimaryCtxRelease(own->device);
    }
    free(dev->starts);
    free(own);
    free(dev);
}

static qk_status cuda_open(const qk_device_options *options, qk_device **out, qk_error *err)
{
    qk_device *dev = qk_zalloc(1, sizeof *dev);
    dev->machine = &cuda_gpu;
    dev->own = qk_zalloc(1, sizeof *dev->own);
    dev->compute = options->compute;
    dev->rung = rung;
    qk_status s = open_gpu(dev, err);
    *out = s == QK_OK ? dev : NULL;
    if (s != QK_OK) cuda_close(dev);
    return s;
}

static const char *cuda_describe(const qk_device *dev)
{
    return dev->own->title;
}

static const char *cuda_numerics(const qk_device *dev)
{
    return dev->own->numerics;
}

static uint64_t cuda_free_memory(qk_device *dev)
{
    size_t left = 0, total = 0;
    CUDA_CALL(dev->own, "looking for free memory", cuMemGetInfo, &left, &total);
    return left;
}

const qk_backend qk_backend_cuda = {
    .name = "cuda",
    .depth = 2,
    .chunk = 4096,
    .weight_size = {[QK_F32] = 4, [QK_F16] = 4, [QK_BF16] = 2},
    .present = cuda_present,
    .open = cuda_open,
    .close = cuda_close,
    .describe = cuda_describe,
    .numerics = cuda_numerics,
    .free_memory = cuda_free_memory,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .matrix_new = cuda_matrix_new,
    .matrix_load = cuda_matrix_load,
    .matrix_free = cuda_matrix_free,
    .embed = cuda_embed,
    .rmsnorm = cuda_rmsnorm,
    .convert = cuda_convert,
    .add = cuda_add,
    .matmul = cuda_matmul,
    .qkv_post = cuda_qkv_post,
    .attention = cuda_attention,
    .gather = cuda_gather,
    .glu = cuda_glu,
    .route = cuda_route,
    .row_list = cuda_row_list,
    .take_rows = cuda_take_rows,
    .add_rows = cuda_add_rows,
    .layer_end = cuda_layer_end,
    .sync = cuda_sync,
};
