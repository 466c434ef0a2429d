/* The fake cuBLASLt (tests/fake_cuda): right sums, and each mistake of a caller found by name. */
#include <cublasLt.h>
#include <cuda.h>

#include "engine/base/dtype.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/test.h"

#define GOOD(call) CHECK_INT(call, 0)
#define CAUGHT(call, text)                                                                         \
    do {                                                                                           \
        CHECK((int)(call) != 0);                                                                   \
        const char *fault_ = fake_cuda_fault();                                                    \
        CHECK_MSG(strstr(fault_, text), "the fault is \"%s\", and not \"%s\"", fault_, text);      \
    } while (0)

/* ---- one product y = x W^T, as kernels/cuda/gemm.c asks for it ---- */

enum { OUT = 24, IN = 37, TOKENS = 9, X_STRIDE = 40, Y_STRIDE = 28 };
enum { W_AT = 0, X_AT = 8192, Y_AT = 16384, BIAS_AT = 24576, BYTES = 32768 }; /* of device memory */

typedef struct product {
    cublasLtHandle_t blas;
    CUstream stream;
    CUdeviceptr memory;
    char *host; /* page-locked, the same places */
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulAlgo_t algorithm;
} product;

static void set_preference(product *p, cublasLtMatmulPreferenceAttributes_t what, uint32_t value)
{
    GOOD(cublasLtMatmulPreferenceSetAttribute(p->preference, what, &value, sizeof value));
}

static void choose(product *p)
{
    cublasLtMatmulHeuristicResult_t found;
    int n = 0;
    GOOD(cublasLtMatmulAlgoGetHeuristic(p->blas, p->desc, p->w, p->x, p->y, p->y, p->preference, 1,
                                        &found, &n));
    CHECK_INT(n, 1);
    p->algorithm = found.algo;
}

static void open_product(product *p, cudaDataType type, bool bias)
{
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    CUcontext context;
    fake_cuda_reset();
    fake_cuda_set_order(FAKE_LATEST, 0);
    memset(p, 0, sizeof *p);
    GOOD(cuInit(0));
    GOOD(cuDevicePrimaryCtxRetain(&context, 0));
    GOOD(cuCtxSetCurrent(context));
    GOOD(cuStreamCreate(&p->stream, CU_STREAM_NON_BLOCKING));
    GOOD(cuMemAlloc(&p->memory, BYTES));
    GOOD(cuMemHostAlloc((void **)&p->host, BYTES, 0));
    GOOD(cublasLtCreate(&p->blas));
    GOOD(cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    GOOD(cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                        sizeof transposed));
    CUdeviceptr at = p->memory + BIAS_AT;
    if (bias) {
        GOOD(cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                            sizeof epilogue));
        GOOD(cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &at,
                                            sizeof at));
    }
    GOOD(cublasLtMatrixLayoutCreate(&p->w, type, IN, OUT, IN));
    GOOD(cublasLtMatrixLayoutCreate(&p->x, type, IN, TOKENS, X_STRIDE));
    GOOD(cublasLtMatrixLayoutCreate(&p->y, CUDA_R_32F, OUT, TOKENS, Y_STRIDE));
    GOOD(cublasLtMatmulPreferenceCreate(&p->preference));
    set_preference(p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_NONE);
    choose(p);
}

static void close_product(product *p)
{
    GOOD(cuStreamSynchronize(p->stream));
    GOOD(cublasLtMatmulPreferenceDestroy(p->preference));
    GOOD(cublasLtMatrixLayoutDestroy(p->w));
    GOOD(cublasLtMatrixLayoutDestroy(p->x));
    GOOD(cublasLtMatrixLayoutDestroy(p->y));
    GOOD(cublasLtMatmulDescDestroy(p->desc));
    GOOD(cublasLtDestroy(p->blas));
    GOOD(cuMemFree(p->memory));
    GOOD(cuMemFreeHost(p->host));
    GOOD(cuStreamDestroy(p->stream));
    GOOD(cuDevicePrimaryCtxRelease(0));
    CHECK_STR(fake_cuda_fault(), "");
    CHECK_STR(fake_cuda_leaks(), "");
}

static int multiply(const product *p, cublasLtMatrixLayout_t x, cublasLtMatrixLayout_t y,
                    size_t x_at, const cublasLtMatmulAlgo_t *algorithm)
{
    const float one = 1, beta = 1;
    void *d = (void *)(p->memory + Y_AT);
    return (int)cublasLtMatmul(p->blas, p->desc, &one, (void *)(p->memory + W_AT), p->w,
                               (void *)(p->memory + x_at), x, &beta, d, y, d, y, algorithm, NULL, 0,
                               (cudaStream_t)p->stream);
}

/* ---- right sums ---- */

static float value(int i) /* exact in bfloat16 */
{
    return (float)((i * 37 + 11) % 61 - 30) / 32;
}

static void put(char *at, int i, cudaDataType type)
{
    if (type == CUDA_R_32F)
        ((float *)(void *)at)[i] = value(i);
    else
        ((uint16_t *)(void *)at)[i] = qk_f32_to_bf16(value(i));
}

/* y += x W^T + bias, against double. */
static void test_sums_of(cudaDataType type, bool bias)
{
    product p;
    open_product(&p, type, bias);
    for (int i = 0; i < OUT * IN; i++) put(p.host + W_AT, i, type);
    for (int i = 0; i < TOKENS * X_STRIDE; i++) put(p.host + X_AT, i, type);
    for (int i = 0; i < TOKENS * Y_STRIDE; i++) put(p.host + Y_AT, i, CUDA_R_32F);
    for (int i = 0; i < OUT; i++) put(p.host + BIAS_AT, i, CUDA_R_32F);
    GOOD(cuMemcpyHtoDAsync(p.memory, p.host, BYTES, p.stream));
    GOOD(multiply(&p, p.x, p.y, X_AT, &p.algorithm));
    GOOD(cuStreamSynchronize(p.stream));
    GOOD(cuMemcpyDtoHAsync(p.host, p.memory, BYTES, p.stream));
    GOOD(cuStreamSynchronize(p.stream));
    const float *y = (const float *)(void *)(p.host + Y_AT);
    for (int t = 0; t < TOKENS; t++)
        for (int o = 0; o < Y_STRIDE; o++) {
            double sum = value(t * Y_STRIDE + o) + (bias && o < OUT ? value(o) : 0);
            for (int k = 0; o < OUT && k < IN; k++)
                sum += (double)value(t * X_STRIDE + k) * value(o * IN + k);
            CHECK_CLOSE(y[t * Y_STRIDE + o], sum, 2e-6 * IN); /* and nothing between the rows */
        }
    close_product(&p);
}

static void test_sums(void)
{
    test_sums_of(CUDA_R_32F, false);
    test_sums_of(CUDA_R_32F, true);
    test_sums_of(CUDA_R_16BF, true);
}

/* ---- wrong callers ---- */

static void test_objects(void)
{
    product p;
    open_product(&p, CUDA_R_32F, false);
    cublasLtMatrixLayout_t l;
    cublasLtMatmulDesc_t d;
    const int number = 1;
    CAUGHT(cublasLtMatrixLayoutCreate(&l, CUDA_R_32F, 8, 2, 7), "leading dimension 7");
    CAUGHT(cublasLtMatrixLayoutCreate(&l, CUDA_R_64F, 8, 2, 8), "type 1");
    CAUGHT(cublasLtMatrixLayoutCreate(&l, CUDA_R_32F, 8, 0, 8), "8 x 0");
    CAUGHT(cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_16F, CUDA_R_32F), "sums in float32 only");
    CAUGHT(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, &number, 1),
           "has 4 bytes, not 1");
    CAUGHT(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_FILL_MODE, &number, 4),
           "does not know attribute");
    CAUGHT(cublasLtMatmulDescDestroy((cublasLtMatmulDesc_t)p.w),
           "cuBLASLt layout 1 is no cuBLASLt product");
    GOOD(cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    GOOD(cublasLtMatmulDescDestroy(d));
    CAUGHT(cublasLtMatmulDescDestroy(d), "cuBLASLt product 2 was destroyed");
    CHECK_STR(cublasLtGetStatusString(CUBLAS_STATUS_NOT_SUPPORTED), "CUBLAS_STATUS_NOT_SUPPORTED");
    CHECK(cublasLtGetVersion() >= 120000);
    close_product(&p);
}

static void test_shapes(void)
{
    product p;
    open_product(&p, CUDA_R_32F, false);
    cublasLtMatrixLayout_t narrow, short_y, half;
    GOOD(cublasLtMatrixLayoutCreate(&narrow, CUDA_R_32F, IN - 1, TOKENS, X_STRIDE));
    GOOD(cublasLtMatrixLayoutCreate(&short_y, CUDA_R_32F, OUT, TOKENS - 1, Y_STRIDE));
    GOOD(cublasLtMatrixLayoutCreate(&half, CUDA_R_16BF, IN, TOKENS, X_STRIDE));
    CAUGHT(multiply(&p, narrow, p.y, X_AT, &p.algorithm), "op(A) 24 x 37, op(B) 36 x 9");
    CAUGHT(multiply(&p, p.x, short_y, X_AT, &p.algorithm), "D 24 x 8");
    CAUGHT(multiply(&p, half, p.y, X_AT, &p.algorithm), "types 0 x 14");
    CAUGHT(multiply(&p, p.x, p.y, BYTES - 256, &p.algorithm), "B: ");
    cublasLtHandle_t gone;
    GOOD(cublasLtCreate(&gone));
    GOOD(cublasLtDestroy(gone));
    product q = p;
    q.blas = gone;
    CAUGHT(multiply(&q, p.x, p.y, X_AT, &p.algorithm), "cuBLASLt handle 2 was destroyed");
    GOOD(cublasLtMatrixLayoutDestroy(narrow));
    GOOD(cublasLtMatrixLayoutDestroy(short_y));
    GOOD(cublasLtMatrixLayoutDestroy(half));
    close_product(&p);
}

static void test_algorithms(void)
{
    product p, q;
    open_product(&p, CUDA_R_32F, false);
    cublasLtMatmulAlgo_t nonsense = {{1, 2, 3}};
    CAUGHT(multiply(&p, p.x, p.y, X_AT, NULL), "no algorithm");
    CAUGHT(multiply(&p, p.x, p.y, X_AT, &nonsense), "no algorithm of");
    CAUGHT(multiply(&p, p.x, p.y, X_AT + 4, &p.algorithm), "B is not aligned to the 256 bytes");
    q = p;
    GOOD(cublasLtMatrixLayoutCreate(&q.w, CUDA_R_32F, IN, OUT - 4, IN));
    GOOD(cublasLtMatrixLayoutCreate(&q.y, CUDA_R_32F, OUT - 4, TOKENS, Y_STRIDE));
    CAUGHT(multiply(&q, q.x, q.y, X_AT, &p.algorithm), "chosen for another product");
    GOOD(cublasLtMatrixLayoutDestroy(q.w));
    GOOD(cublasLtMatrixLayoutDestroy(q.y));
    set_preference(&p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 4);
    choose(&p);
    GOOD(multiply(&p, p.x, p.y, X_AT + 4, &p.algorithm));
    set_preference(&p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_MASK);
    choose(&p);
    CAUGHT(multiply(&p, p.x, p.y, X_AT, &p.algorithm), "may split sums");
    close_product(&p);
}

static void test_bias(void)
{
    product p;
    open_product(&p, CUDA_R_32F, true);
    CUdeviceptr wrong[] = {p.memory + BYTES - 16, p.memory + BIAS_AT + 4};
    const char *const faults[] = {"bias: 96 bytes at offset", "the bias is not aligned"};
    for (int i = 0; i < 2; i++) {
        GOOD(cublasLtMatmulDescSetAttribute(p.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &wrong[i],
                                            sizeof *wrong));
        CAUGHT(multiply(&p, p.x, p.y, X_AT, &p.algorithm), faults[i]);
    }
    close_product(&p);
}

/* A product that fails when it runs is seen at the next wait. */
static void test_failing_product(void)
{
    product p;
    open_product(&p, CUDA_R_32F, false);
    fake_cuda_set_failures("product:1:719");
    GOOD(multiply(&p, p.x, p.y, X_AT, &p.algorithm));
    CHECK_INT(cuStreamSynchronize(p.stream), CUDA_ERROR_LAUNCH_FAILED);
    CHECK_INT(multiply(&p, p.x, p.y, X_AT, &p.algorithm), CUBLAS_STATUS_EXECUTION_FAILED);
    GOOD(cuDevicePrimaryCtxRelease(0));
    CHECK_STR(fake_cuda_fault(), "");
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_sums);
    RUN(test_objects);
    RUN(test_shapes);
    RUN(test_algorithms);
    RUN(test_bias);
    RUN(test_failing_product);
    return test_summary("fake cublas");
}
