/* What cuBLASLt's objects say, for cublaslt.c and product.c. */
#pragma once

#include <cublasLt.h>

#include "tests/fake_cuda/fake.h"

typedef struct blas_desc {
    cublasOperation_t trans[2]; /* of A and B */
    cublasLtEpilogue_t epilogue;
    const void *bias; /* device address */
} blas_desc;

typedef struct blas_layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
} blas_layout;

typedef struct blas_preference {
    uint32_t reductions;   /* mask of cublasLtReductionScheme_t; 0: no split of the inner sum */
    uint32_t alignment[4]; /* of A, B, C, D, bytes */
    uint64_t workspace;
} blas_preference;

#undef FAKE_RESULT
#define FAKE_RESULT(r) return (cublasStatus_t)fake_end(r)
