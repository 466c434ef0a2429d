/* Matrix products: D = alpha op(A) op(B) + beta C (+ bias), columns as cuBLAS counts them.
 *
 * An algorithm remembers what it was chosen for, and a product must ask it for the same. Each
 * element is the sum of 16 partial sums over the inner dimension, always in the same order.
 *
 * next: tests/test_fake_cuda.c */
#include <stdio.h>

#include "engine/base/dtype.h"
#include "engine/base/mem.h"
#include "tests/fake_cuda/blas.h"

enum { A, B, C, D, LANES = 16, BIAS_ALIGNMENT = 16 };

/* What stands in cublasLtMatmulAlgo_t. */
typedef struct algorithm {
    char magic[8];
    uint32_t rows, inner; /* of D, of the sum; the number of columns is free */
    uint32_t workspace;
    uint16_t alignment[4]; /* bytes that it relies on */
    uint16_t epilogue, reductions;
    uint8_t types[4], trans[4]; /* cudaDataType of A, B, C, D; cublasOperation_t of A and B */
} algorithm;
_Static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "must fit");

typedef struct product {
    blas_desc desc;
    blas_layout m[4]; /* A, B, C, D */
    uintptr_t at[4];
    float alpha, beta;
} product;

/* ---- shapes ---- */

static uint64_t rows_of(const product *p, int i) /* of op(A), op(B) */
{
    return p->desc.trans[i] == CUBLAS_OP_N ? p->m[i].rows : p->m[i].cols;
}

static uint64_t cols_of(const product *p, int i)
{
    return p->desc.trans[i] == CUBLAS_OP_N ? p->m[i].cols : p->m[i].rows;
}

static size_t size_of(cudaDataType type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

static size_t bytes_of(const blas_layout *l)
{
    return ((size_t)(l->cols - 1) * (size_t)l->ld + l->rows) * size_of(l->type);
}

/* Fills desc and m from handles; false, with a fault, when they do not belong together. */
static bool read_shapes(product *p, const void *handle, cublasLtMatmulDesc_t desc,
                        const cublasLtMatrixLayout_t layouts[4])
{
    const blas_desc *d = fake_object_get(desc, FAKE_DESC);
    if (!d || !fake_object_get(handle, FAKE_BLAS)) return false;
    p->desc = *d;
    for (int i = 0; i < 4; i++) {
        const blas_layout *l = fake_object_get(layouts[i], FAKE_LAYOUT);
        if (!l) return false;
        p->m[i] = *l;
    }
    const blas_layout *m = p->m;
    if (cols_of(p, A) != rows_of(p, B) || rows_of(p, A) != m[D].rows ||
        cols_of(p, B) != m[D].cols || m[C].rows != m[D].rows || m[C].cols != m[D].cols)
        fake_fault("op(A) %llu x %llu, op(B) %llu x %llu, C %llu x %llu, D %llu x %llu",
                   (unsigned long long)rows_of(p, A), (unsigned long long)cols_of(p, A),
                   (unsigned long long)rows_of(p, B), (unsigned long long)cols_of(p, B),
                   (unsigned long long)m[C].rows, (unsigned long long)m[C].cols,
                   (unsigned long long)m[D].rows, (unsigned long long)m[D].cols);
    else if (m[A].type != m[B].type || m[C].type != CUDA_R_32F || m[D].type != CUDA_R_32F)
        fake_fault("types %d x %d + %d = %d", (int)m[A].type, (int)m[B].type, (int)m[C].type,
                   (int)m[D].type);
    else if (d->epilogue != CUBLASLT_EPILOGUE_DEFAULT && d->epilogue != CUBLASLT_EPILOGUE_BIAS)
        fake_fault("the fake does not know epilogue %d", (int)d->epilogue);
    else
        return true;
    return false;
}

static algorithm describe(const product *p, const blas_preference *preference)
{
    algorithm a = {.magic = "QKALGO",
                   .rows = (uint32_t)p->m[D].rows,
                   .inner = (uint32_t)cols_of(p, A),
                   .trans = {(uint8_t)p->desc.trans[A], (uint8_t)p->desc.trans[B]},
                   .epilogue = (uint16_t)p->desc.epilogue,
                   .reductions = (uint16_t)preference->reductions,
                   .workspace = (uint32_t)preference->workspace};
    for (int i = 0; i < 4; i++) {
        a.types[i] = (uint8_t)p->m[i].type;
        a.alignment[i] = (uint16_t)preference->alignment[i];
    }
    return a;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t out[], int *n)
{
    FAKE_BEGIN("%s, %s", fake_object_name(desc), fake_object_name(preference));
    product p = {0};
    const cublasLtMatrixLayout_t layouts[] = {a, b, c, d};
    const blas_preference *wishes = fake_object_get(preference, FAKE_PREFERENCE);
    *n = 0;
    if (!wishes || most < 1 || !read_shapes(&p, handle, desc, layouts))
        FAKE_RESULT(CUBLAS_STATUS_INVALID_VALUE);
    algorithm chosen = describe(&p, wishes);
    memset(&out[0], 0, sizeof out[0]);
    memcpy(&out[0].algo, &chosen, sizeof chosen);
    out[0].state = CUBLAS_STATUS_SUCCESS;
    *n = 1;
    FAKE_RESULT(CUBLAS_STATUS_SUCCESS);
}

/* ---- computing ---- */

/* op(M) so that the inner dimension lies together: A as [rows of D][inner], B as [columns][inner].
 */
static float *gather(const product *p, int i, size_t inner, size_t outer)
{
    const blas_layout *l = &p->m[i];
    bool together = (p->desc.trans[i] == CUBLAS_OP_T) == (i == A);
    float *out = qk_alloc(inner * outer, sizeof *out);
    for (size_t o = 0; o < outer; o++)
        for (size_t k = 0; k < inner; k++) {
            size_t at = together ? o * (size_t)l->ld + k : k * (size_t)l->ld + o;
            if (l->type == CUDA_R_32F) {
                out[o * inner + k] = ((const float *)p->at[i])[at];
                continue;
            }
            out[o * inner + k] = qk_bf16_to_f32(((const uint16_t *)p->at[i])[at]);
        }
    return out;
}

static float dot(const float *x, const float *y, size_t n)
{
    float part[LANES] = {0};
    size_t k = 0;
    for (; k + LANES <= n; k += LANES)
        for (int l = 0; l < LANES; l++) part[l] += x[k + (size_t)l] * y[k + (size_t)l];
    for (int l = 0; k < n; k++, l++) part[l] += x[k] * y[k];
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) part[l] += part[l + half];
    return part[0];
}

static void run_product(fake_work *w)
{
    const product *p = w->args;
    int failure = fake_work_failure("product");
    if (failure) {
        fake_break((CUresult)failure, "injected");
        return;
    }
    size_t inner = cols_of(p, A), rows = p->m[D].rows, cols = p->m[D].cols;
    float *a = gather(p, A, inner, rows), *b = gather(p, B, inner, cols);
    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < rows; r++) {
            float v = p->alpha * dot(a + r * inner, b + c * inner, inner);
            if (p->beta != 0) v += p->beta * ((const float *)p->at[C])[c * (size_t)p->m[C].ld + r];
            if (p->desc.epilogue == CUBLASLT_EPILOGUE_BIAS) v += ((const float *)p->desc.bias)[r];
            ((float *)p->at[D])[c * (size_t)p->m[D].ld + r] = v;
        }
    free(a);
    free(b);
}

/* ---- the call ---- */

static bool check_algorithm(const product *p, const cublasLtMatmulAlgo_t *given)
{
    algorithm a;
    if (!given) {
        fake_fault("no algorithm: cuBLASLt would choose one by the number of rows, and bits would "
                   "depend on the batch");
        return false;
    }
    memcpy(&a, given, sizeof a);
    blas_preference same = {a.reductions,
                            {a.alignment[0], a.alignment[1], a.alignment[2], a.alignment[3]},
                            a.workspace};
    algorithm wanted = describe(p, &same);
    if (strncmp(a.magic, "QKALGO", 8) != 0)
        fake_fault("this is no algorithm of cublasLtMatmulAlgoGetHeuristic");
    else if (memcmp(&a, &wanted, sizeof a) != 0)
        fake_fault("the algorithm was chosen for another product: %u rows, sums of %u, and here "
                   "%u and %u (or types, transposition or epilogue differ)",
                   a.rows, a.inner, wanted.rows, wanted.inner);
    else if (a.reductions != CUBLASLT_REDUCTION_SCHEME_NONE)
        fake_fault("the algorithm may split sums (preference REDUCTION_SCHEME_MASK %u): bits would "
                   "depend on the batch",
                   a.reductions);
    else
        for (int i = 0; i < 5; i++) {
            if (i == 4) return true;
            if (a.alignment[i] && p->at[i] % a.alignment[i]) {
                fake_fault("%c is not aligned to the %u bytes that its algorithm was chosen for",
                           "ABCD"[i], a.alignment[i]);
                break;
            }
        }
    return false;
}

static bool check_memory(const product *p)
{
    static const char *const names[] = {"A", "B", "C", "D"};
    for (int i = 0; i < 4; i++) {
        if (i == C && p->beta == 0) continue;
        if (!fake_device_range(p->at[i], bytes_of(&p->m[i]), names[i])) return false;
        if (p->at[i] % size_of(p->m[i].type)) {
            fake_fault("%s is misaligned", names[i]);
            return false;
        }
    }
    if (p->at[C] == p->at[D] && p->m[C].ld != p->m[D].ld) {
        fake_fault("C and D are the same memory with different leading dimensions");
        return false;
    }
    if (p->desc.epilogue != CUBLASLT_EPILOGUE_BIAS) return true;
    if ((uintptr_t)p->desc.bias % BIAS_ALIGNMENT) {
        fake_fault("the bias is not aligned to %d bytes, and its algorithm was chosen without it",
                   BIAS_ALIGNMENT);
        return false;
    }
    return fake_device_range((uintptr_t)p->desc.bias, p->m[D].rows * sizeof(float), "bias");
}

static fake_work *new_work(const product *p)
{
    fake_work *w = fake_work_new("matrix product", run_product);
    w->args = qk_alloc(1, sizeof *p);
    memcpy(w->args, p, sizeof *p);
    for (int i = 0; i < 4; i++)
        if (i != C || p->beta != 0) fake_work_uses(w, p->at[i], bytes_of(&p->m[i]), i == D);
    if (p->desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
        fake_work_uses(w, (uintptr_t)p->desc.bias, p->m[D].rows * sizeof(float), false);
    return w;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *chosen,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    FAKE_BEGIN("%s, %s, %zu bytes of workspace, %s", fake_object_name(handle),
               fake_object_name(desc), workspace_bytes, fake_object_name(stream));
    CUresult wrong = fake_context();
    if (wrong)
        FAKE_RESULT(fake_sticky ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_NOT_INITIALIZED);
    product p = {.at = {(uintptr_t)a, (uintptr_t)b, (uintptr_t)c, (uintptr_t)d}};
    const cublasLtMatrixLayout_t layouts[] = {a_layout, b_layout, c_layout, d_layout};
    if (!alpha || !beta || !read_shapes(&p, handle, desc, layouts))
        FAKE_RESULT(CUBLAS_STATUS_INVALID_VALUE);
    memcpy(&p.alpha, alpha, sizeof p.alpha);
    memcpy(&p.beta, beta, sizeof p.beta);
    if (workspace || workspace_bytes) {
        fake_fault("the fake needs no workspace and knows none");
        FAKE_RESULT(CUBLAS_STATUS_NOT_SUPPORTED);
    }
    if (!check_algorithm(&p, chosen) || !check_memory(&p)) FAKE_RESULT(CUBLAS_STATUS_INVALID_VALUE);
    FAKE_RESULT(fake_queue((CUstream)stream, new_work(&p)) ? CUBLAS_STATUS_SUCCESS
                                                           : CUBLAS_STATUS_INVALID_VALUE);
}
