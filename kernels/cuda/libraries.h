/* The three libraries of NVIDIA that drive a GPU, opened at run time: one binary runs with and
 * without them. Each is a struct of function pointers with the names and types of its header.
 *
 *   libcuda      the driver: memory, streams, launches (CUDA Driver API)
 *   libnvrtc     the compiler for kernels; needed only for what is not compiled yet
 *   libcublasLt  matrix products
 *
 * next: kernels/cuda/compile.h */
#pragma once

#include <stdbool.h>

#include <cublasLt.h>
#include <cuda.h>
#include <nvrtc.h>

#include "engine/base/error.h"

/* X(name in the header, symbol in the library). The symbol carries the version whose type the
 * header declares, except cuEventElapsedTime, whose first version every driver has. */
#define CUDA_DRIVER_CALLS(X)                                                                       \
    X(cuInit, "cuInit")                                                                            \
    X(cuDriverGetVersion, "cuDriverGetVersion")                                                    \
    X(cuDeviceGetCount, "cuDeviceGetCount")                                                        \
    X(cuDeviceGet, "cuDeviceGet")                                                                  \
    X(cuDeviceGetName, "cuDeviceGetName")                                                          \
    X(cuDeviceGetAttribute, "cuDeviceGetAttribute")                                                \
    X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain")                                        \
    X(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2")                                   \
    X(cuCtxSetCurrent, "cuCtxSetCurrent")                                                          \
    X(cuMemGetInfo, "cuMemGetInfo_v2")                                                             \
    X(cuMemAlloc, "cuMemAlloc_v2")                                                                 \
    X(cuMemFree, "cuMemFree_v2")                                                                   \
    X(cuMemHostAlloc, "cuMemHostAlloc")                                                            \
    X(cuMemFreeHost, "cuMemFreeHost")                                                              \
    X(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2")                                                   \
    X(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2")                                                   \
    X(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2")                                                   \
    X(cuMemsetD8Async, "cuMemsetD8Async")                                                          \
    X(cuStreamCreate, "cuStreamCreate")                                                            \
    X(cuStreamDestroy, "cuStreamDestroy_v2")                                                       \
    X(cuStreamSynchronize, "cuStreamSynchronize")                                                  \
    X(cuStreamWaitEvent, "cuStreamWaitEvent")                                                      \
    X(cuEventCreate, "cuEventCreate")                                                              \
    X(cuEventDestroy, "cuEventDestroy_v2")                                                         \
    X(cuEventRecord, "cuEventRecord")                                                              \
    X(cuEventSynchronize, "cuEventSynchronize")                                                    \
    X(cuEventElapsedTime, "cuEventElapsedTime")                                                    \
    X(cuModuleLoadData, "cuModuleLoadData")                                                        \
    X(cuModuleUnload, "cuModuleUnload")                                                            \
    X(cuModuleGetFunction, "cuModuleGetFunction")                                                  \
    X(cuFuncSetAttribute, "cuFuncSetAttribute")                                                    \
    X(cuFuncGetAttribute, "cuFuncGetAttribute")                                                    \
    X(cuLaunchKernel, "cuLaunchKernel")                                                            \
    X(cuGetErrorName, "cuGetErrorName")                                                            \
    X(cuGetErrorString, "cuGetErrorString")

#define NVRTC_CALLS(X)                                                                             \
    X(nvrtcVersion, "nvrtcVersion")                                                                \
    X(nvrtcCreateProgram, "nvrtcCreateProgram")                                                    \
    X(nvrtcCompileProgram, "nvrtcCompileProgram")                                                  \
    X(nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize")                                            \
    X(nvrtcGetProgramLog, "nvrtcGetProgramLog")                                                    \
    X(nvrtcGetCUBINSize, "nvrtcGetCUBINSize")                                                      \
    X(nvrtcGetCUBIN, "nvrtcGetCUBIN")                                                              \
    X(nvrtcDestroyProgram, "nvrtcDestroyProgram")                                                  \
    X(nvrtcGetErrorString, "nvrtcGetErrorString")

#define CUBLASLT_CALLS(X)                                                                          \
    X(cublasLtCreate, "cublasLtCreate")                                                            \
    X(cublasLtDestroy, "cublasLtDestroy")                                                          \
    X(cublasLtGetVersion, "cublasLtGetVersion")                                                    \
    X(cublasLtGetStatusString, "cublasLtGetStatusString")                                          \
    X(cublasLtMatmulDescCreate, "cublasLtMatmulDescCreate")                                        \
    X(cublasLtMatmulDescDestroy, "cublasLtMatmulDescDestroy")                                      \
    X(cublasLtMatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute")                            \
    X(cublasLtMatrixLayoutCreate, "cublasLtMatrixLayoutCreate")                                    \
    X(cublasLtMatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy")                                  \
    X(cublasLtMatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate")                            \
    X(cublasLtMatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy")                          \
    X(cublasLtMatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute")                \
    X(cublasLtMatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic")                            \
    X(cublasLtMatmul, "cublasLtMatmul")

#define CUDA_POINTER(name, symbol) __typeof__(&name) name;
typedef struct cuda_driver {
    CUDA_DRIVER_CALLS(CUDA_POINTER)
} cuda_driver;
typedef struct cuda_nvrtc {
    NVRTC_CALLS(CUDA_POINTER)
} cuda_nvrtc;
typedef struct cuda_blas {
    CUBLASLT_CALLS(CUDA_POINTER)
} cuda_blas;
#undef CUDA_POINTER

/* Each is opened once per process and stays open. NULL with an error that says which file is
 * missing and what brings it. */
const cuda_driver *cuda_driver_get(qk_error *err);
const cuda_nvrtc *cuda_nvrtc_get(qk_error *err);
const cuda_blas *cuda_blas_get(qk_error *err);
