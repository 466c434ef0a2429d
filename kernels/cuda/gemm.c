/* Matrix products: y = x W^T (+ bias) (+ y) by cuBLASLt.
 *
 * cuBLAS thinks in columns. A row-major [r, c] matrix is a column-major [c, r] one, so what it is
 * asked for is y^T = W x^T:   A = W [in, out] transposed   B = x [in, T]   D = y [out, T]
 * Inputs bfloat16 or float32, sums and output float32; adding to y is beta = 1 with C = D, the bias
 * an epilogue. float16 weights are kept as float32, because their activations are (backend.h).
 *
 * Same bits for a row, whatever T is: which kernel computes a product is decided once, for a fixed
 * number of tokens, and never by timing; kernels that split the inner sum over blocks are excluded.
 * What is left adds in an order that depends on the kernel alone.
 *
 * next: kernels/cuda/backend_cuda.c */
#include <stdlib.h>

#include "kernels/cuda/runtime.h"

enum { TOKENS = 4096 /* that a kernel is chosen for */, WIDEST_ALIGNMENT = 256 };

struct qk_matrix {
    size_t out, in;
    qk_dtype dtype;
    CUdeviceptr w;
};

/* What decides which kernel runs. */
typedef struct product_key {
    size_t out, in, x_stride, y_stride;
    size_t x_alignment, y_alignment; /* bytes, a power of two */
    qk_dtype dtype;
    bool bias, accumulate;
} product_key;

typedef struct product {
    product_key key;
    cublasLtMatmulDesc_t call;
    cublasLtMatrixLayout_t w;
    cublasLtMatmulAlgo_t algorithm;
} product;

struct cuda_products {
    const cuda_blas *blas;
    cublasLtHandle_t handle;
    product *items;
    size_t n;
};

/* Like CUDA_CALL for cuBLASLt. */
#define BLAS_CALL(own, doing, call, ...)                                                           \
    check(own, doing, #call,                                                                       \
          (own)->failure.status ? SKIPPED : (int)(own)->products->blas->call(__VA_ARGS__))
enum { SKIPPED = -1 };

static bool check(cuda_own *own, const char *doing, const char *call, int status)
{
    if (status == CUBLAS_STATUS_SUCCESS || status == SKIPPED)
        return status == CUBLAS_STATUS_SUCCESS;
    int cause = cuda_drain(own); /* a kernel that failed before makes every later call fail */
    if (cause) return cuda_check(own, doing, call, cause);
    qk_fail(&own->failure, QK_ERR_RESUME, "see whether cuBLAS and the driver belong together",
            "%s: %s: %s", doing, call,
            own->products->blas->cublasLtGetStatusString((cublasStatus_t)status));
    return false;
}

qk_status cuda_products_open(qk_device *dev, qk_error *err)
{
    const cuda_blas *blas = cuda_blas_get(err);
    if (!blas) return err->status;
    cuda_own *own = dev->own;
    own->products = qk_zalloc(1, sizeof *own->products);
    own->products->blas = blas;
    if (BLAS_CALL(own, "opening", cublasLtCreate, &own->products->handle)) return QK_OK;
    *err = own->failure;
    return err->status;
}

void cuda_products_close(cuda_own *own)
{
    cuda_products *p = own->products;
    if (!p) return;
    for (size_t i = 0; i < p->n; i++) {
        p->blas->cublasLtMatmulDescDestroy(p->items[i].call);
        p->blas->cublasLtMatrixLayoutDestroy(p->items[i].w);
    }
    if (p->handle) p->blas->cublasLtDestroy(p->handle);
    free(p->items);
    free(p);
}

/* ---- weights ---- */

qk_status cuda_matrix_new(qk_device *dev, size_t out, size_t in, const char *what, qk_matrix **m,
                          qk_error *err)
{
    qk_tensor t;
    *m = NULL;
    qk_dtype dtype = dev->compute == QK_BF16 ? QK_BF16 : QK_F32;
    QK_TRY(cuda_alloc(dev, dtype, out, in, what, &t, err));
    *m = qk_alloc(1, sizeof **m);
    **m = (qk_matrix){out, in, dtype, (CUdeviceptr)t.data};
    return QK_OK;
}

void cuda_matrix_load(qk_device *dev, qk_matrix *m, size_t first_out, size_t rows, const void *src,
                      qk_dtype src_dtype)
{
    CUdeviceptr to = m->w + first_out * m->in * qk_dtype_size(m->dtype);
    cuda_send(dev->own, to, m->dtype, dev->compute, src, src_dtype, 0, rows * m->in);
}

void cuda_matrix_free(qk_device *dev, qk_matrix *m)
{
    if (m) dev->own->driver->cuMemFree(m->w);
    free(m);
}

/* ---- products ---- */

/* Every row of a matrix begins at a multiple of this. */
static size_t alignment_of(qk_tensor t)
{
    uintptr_t all = (uintptr_t)t.data | t.stride * qk_dtype_size(t.dtype) | WIDEST_ALIGNMENT;
    return all & -all;
}

static bool same_key(const product_key *a, const product_key *b)
{
    return a->out == b->out && a->in == b->in && a->x_stride == b->x_stride &&
           a->y_stride == b->y_stride && a->x_alignment == b->x_alignment &&
           a->y_alignment == b->y_alignment && a->dtype == b->dtype && a->bias == b->bias &&
           a->accumulate == b->accumulate;
}

static cudaDataType_t blas_type(qk_dtype dtype)
{
    return dtype == QK_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static bool set_call(cuda_own *own, product *p)
{
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t add_bias = CUBLASLT_EPILOGUE_BIAS;
    const char *doing = "describing a matrix product";
    return BLAS_CALL(own, doing, cublasLtMatmulDescCreate, &p->call, CUBLAS_COMPUTE_32F,
                     CUDA_R_32F) &&
           BLAS_CALL(own, doing, cublasLtMatmulDescSetAttribute, p->call,
                     CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) &&
           (!p->key.bias || BLAS_CALL(own, doing, cublasLtMatmulDescSetAttribute, p->call,
                                      CUBLASLT_MATMUL_DESC_EPILOGUE, &add_bias, sizeof add_bias)) &&
           BLAS_CALL(own, doing, cublasLtMatrixLayoutCreate, &p->w, blas_type(p->key.dtype),
                     p->key.in, p->key.out, (int64_t)p->key.in);
}

static bool set_preference(cuda_own *own, const product_key *k,
                           cublasLtMatmulPreference_t preference)
{
    const uint32_t whole_sums = CUBLASLT_REDUCTION_SCHEME_NONE, w = WIDEST_ALIGNMENT,
                   x = (uint32_t)k->x_alignment, y = (uint32_t)k->y_alignment;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const uint32_t *value;
    } all[] = {{CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole_sums},
               {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &w},
               {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &x},
               {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &y},
               {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &y}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!BLAS_CALL(own, "choosing a matrix product", cublasLtMatmulPreferenceSetAttribute,
                       preference, all[i].attribute, all[i].value, sizeof *all[i].value))
            return false;
    return true;
}

/* x^T [in, T] and y^T [out, T]. */
static bool new_layouts(cuda_own *own, const product_key *k, size_t tokens,
                        cublasLtMatrixLayout_t *x, cublasLtMatrixLayout_t *y)
{
    const char *doing = "describing a matrix product";
    *x = *y = NULL;
    return BLAS_CALL(own, doing, cublasLtMatrixLayoutCreate, x, blas_type(k->dtype), k->in, tokens,
                     (int64_t)k->x_stride) &&
           BLAS_CALL(own, doing, cublasLtMatrixLayoutCreate, y, CUDA_R_32F, k->out, tokens,
                     (int64_t)k->y_stride);
}

static void free_layouts(cuda_own *own, cublasLtMatrixLayout_t x, cublasLtMatrixLayout_t y)
{
    if (x) own->products->blas->cublasLtMatrixLayoutDestroy(x);
    if (y) own->products->blas->cublasLtMatrixLayoutDestroy(y);
}

static bool choose(cuda_own *own, product *p)
{
    const char *doing = "choosing a matrix product";
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatrixLayout_t x, y;
    cublasLtMatmulHeuristicResult_t found;
    int n = 0;
    bool ok = new_layouts(own, &p->key, TOKENS, &x, &y) &&
              BLAS_CALL(own, doing, cublasLtMatmulPreferenceCreate, &preference) &&
              set_preference(own, &p->key, preference) &&
              BLAS_CALL(own, doing, cublasLtMatmulAlgoGetHeuristic, own->products->handle, p->call,
                        p->w, x, y, y, preference, 1, &found, &n);
    if (ok && !n)
        ok = check(own, doing, "cublasLtMatmulAlgoGetHeuristic", CUBLAS_STATUS_NOT_SUPPORTED);
    if (ok) p->algorithm = found.algo;
    if (preference) own->products->blas->cublasLtMatmulPreferenceDestroy(preference);
    free_layouts(own, x, y);
    return ok;
}

static product *find_product(cuda_own *own, const product_key *key)
{
    cuda_products *all = own->products;
    for (size_t i = 0; i < all->n; i++)
        if (same_key(&all->items[i].key, key)) return &all->items[i];
    product p = {.key = *key};
    if (set_call(own, &p) && choose(own, &p)) {
        all->items = qk_realloc(all->items, all->n + 1, sizeof *all->items);
        all->items[all->n] = p;
        return &all->items[all->n++];
    }
    if (p.call) all->blas->cublasLtMatmulDescDestroy(p.call);
    if (p.w) all->blas->cublasLtMatrixLayoutDestroy(p.w);
    return NULL;
}

void cuda_matmul(qk_device *dev, qk_tensor y, qk_tensor x, const qk_matrix *w, const float *bias,
                 bool accumulate)
{
    QK_ASSERT(x.cols == w->in && y.cols == w->out && y.rows == x.rows && y.dtype == QK_F32 &&
              x.dtype == w->dtype);
    cuda_own *own = dev->own;
    if (!y.rows || own->failure.status) return;
    const product_key key = {w->out,          w->in,    x.stride,     y.stride,  alignment_of(x),
                             alignment_of(y), w->dtype, bias != NULL, accumulate};
    const float one = 1, beta = accumulate ? 1 : 0;
    product *p = find_product(own, &key);
    cublasLtMatrixLayout_t x_layout = NULL, y_layout = NULL;
    if (p && new_layouts(own, &key, y.rows, &x_layout, &y_layout) &&
        (!bias || BLAS_CALL(own, "matrix product", cublasLtMatmulDescSetAttribute, p->call,
                            CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias)))
        BLAS_CALL(own, "matrix product", cublasLtMatmul, own->products->handle, p->call, &one,
                  (const void *)w->w, p->w, x.data, x_layout, &beta, y.data, y_layout, y.data,
                  y_layout, &p->algorithm, NULL, 0, own->compute);
    free_layouts(own, x_layout, y_layout);
}
