/* cuBLASLt's objects: handles, products, layouts, preferences, their attributes and sizes.
 *
 * next: tests/fake_cuda/product.c */
#include "engine/base/mem.h"
#include "tests/fake_cuda/blas.h"

/* ---- handles ---- */

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    FAKE_BEGIN("%s", "");
    if (fake_context()) FAKE_RESULT(CUBLAS_STATUS_NOT_INITIALIZED);
    *out = fake_object_new(FAKE_BLAS, qk_zalloc(1, 1));
    FAKE_RESULT(CUBLAS_STATUS_SUCCESS);
}

static int destroy(const void *handle, fake_kind kind)
{
    if (!fake_object_get(handle, kind)) return CUBLAS_STATUS_INVALID_VALUE;
    fake_object_end(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    FAKE_BEGIN("%s", fake_object_name(handle));
    FAKE_RESULT(destroy(handle, FAKE_BLAS));
}

size_t cublasLtGetVersion(void)
{
    fake_begin_sure(__func__);
    fake_end(0);
    return 130000;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    static const struct {
        cublasStatus_t status;
        const char *name;
    } all[] = {{CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS"},
               {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED"},
               {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED"},
               {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE"},
               {CUBLAS_STATUS_ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH"},
               {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED"},
               {CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR"},
               {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED"}};
    fake_begin_sure(__func__);
    fake_end(0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].status == status) return all[i].name;
    return "<unknown>";
}

/* ---- products ---- */

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    FAKE_BEGIN("%d, %d", (int)compute, (int)scale);
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) {
        fake_fault("the fake sums in float32 only, not in type %d", (int)compute);
        FAKE_RESULT(CUBLAS_STATUS_NOT_SUPPORTED);
    }
    blas_desc *d = qk_zalloc(1, sizeof *d);
    *d = (blas_desc){{CUBLAS_OP_N, CUBLAS_OP_N}, CUBLASLT_EPILOGUE_DEFAULT, NULL};
    *out = fake_object_new(FAKE_DESC, d);
    FAKE_RESULT(CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle)
{
    FAKE_BEGIN("%s", fake_object_name(handle));
    FAKE_RESULT(destroy(handle, FAKE_DESC));
}

/* An attribute of an object: where it is kept, and its size. */
typedef struct attribute {
    int number;
    void *at;
    size_t bytes;
} attribute;

static int set(const attribute *list, size_t n, int number, const void *value, size_t bytes)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].number != number) continue;
        if (value && bytes == list[i].bytes) {
            memcpy(list[i].at, value, bytes);
            return CUBLAS_STATUS_SUCCESS;
        }
        fake_fault("attribute %d has %zu bytes, not %zu", number, list[i].bytes, bytes);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    fake_fault("the fake does not know attribute %d", number);
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t what,
                                              const void *value, size_t bytes)
{
    FAKE_BEGIN("%s, %d", fake_object_name(handle), (int)what);
    blas_desc *d = fake_object_get(handle, FAKE_DESC);
    if (!d) FAKE_RESULT(CUBLAS_STATUS_INVALID_VALUE);
    const attribute all[] = {
        {CUBLASLT_MATMUL_DESC_TRANSA, &d->trans[0], sizeof d->trans[0]},
        {CUBLASLT_MATMUL_DESC_TRANSB, &d->trans[1], sizeof d->trans[1]},
        {CUBLASLT_MATMUL_DESC_EPILOGUE, &d->epilogue, sizeof d->epilogue},
        {CUBLASLT_MATMUL_DESC_BIAS_POINTER, &d->bias, sizeof d->bias},
    };
    FAKE_RESULT(set(all, sizeof all / sizeof *all, (int)what, value, bytes));
}

/* ---- layouts ---- */

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    FAKE_BEGIN("type %d, %llu x %llu, ld %lld", (int)type, (unsigned long long)rows,
               (unsigned long long)cols, (long long)ld);
    if ((type != CUDA_R_32F && type != CUDA_R_16BF) || !rows || !cols || ld < (int64_t)rows) {
        fake_fault("type %d, %llu x %llu, leading dimension %lld", (int)type,
                   (unsigned long long)rows, (unsigned long long)cols, (long long)ld);
        FAKE_RESULT(CUBLAS_STATUS_INVALID_VALUE);
    }
    blas_layout *l = qk_zalloc(1, sizeof *l);
    *l = (blas_layout){type, rows, cols, ld};
    *out = fake_object_new(FAKE_LAYOUT, l);
    FAKE_RESULT(CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle)
{
    FAKE_BEGIN("%s", fake_object_name(handle));
    FAKE_RESULT(destroy(handle, FAKE_LAYOUT));
}

/* ---- preferences ---- */

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    FAKE_BEGIN("%s", "");
    blas_preference *p = qk_zalloc(1, sizeof *p);
    *p = (blas_preference){CUBLASLT_REDUCTION_SCHEME_MASK, {256, 256, 256, 256}, 0};
    *out = fake_object_new(FAKE_PREFERENCE, p);
    FAKE_RESULT(CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle)
{
    FAKE_BEGIN("%s", fake_object_name(handle));
    FAKE_RESULT(destroy(handle, FAKE_PREFERENCE));
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t what,
                                                    const void *value, size_t bytes)
{
    FAKE_BEGIN("%s, %d", fake_object_name(handle), (int)what);
    blas_preference *p = fake_object_get(handle, FAKE_PREFERENCE);
    if (!p) FAKE_RESULT(CUBLAS_STATUS_INVALID_VALUE);
    const attribute all[] = {
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &p->reductions, sizeof p->reductions},
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &p->workspace, sizeof p->workspace},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &p->alignment[0], sizeof *p->alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &p->alignment[1], sizeof *p->alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &p->alignment[2], sizeof *p->alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &p->alignment[3], sizeof *p->alignment},
    };
    FAKE_RESULT(set(all, sizeof all / sizeof *all, (int)what, value, bytes));
}
