/* The fake GPU proves itself, second part: its compiler, failures that are ordered, and its log. */
#include <unistd.h>

#include "tests/fake_cuda/world.h"

/* ---- NVRTC ---- */

static void compile_wrongly(const char *fault, int skipped_header, const char *option)
{
    nvrtcProgram p = new_program("kernels/cuda/glu.cu", skipped_header);
    const char *options[] = {"--gpu-architecture=sm_90a", "-DVEC=4", option};
    CAUGHT(nvrtcCompileProgram(p, option ? 3 : 2, options), fault);
    size_t n = 0;
    char log[400];
    GOOD(nvrtcGetProgramLogSize(p, &n));
    CHECK(n > 10 && n < sizeof log);
    GOOD(nvrtcGetProgramLog(p, log));
    CHECK(strstr(log, fault) && strlen(log) == n - 1);
    CAUGHT(nvrtcGetCUBINSize(p, &n), "was not compiled");
    GOOD(nvrtcDestroyProgram(&p));
}

static void test_compiler(void)
{
    fake_cuda_reset();
    compile_wrongly("cannot open source file \"kernels/cuda/port.h\"", 1, NULL);
    compile_wrongly("unrecognized option --fast", -1, "--fast");
    compile_wrongly("unrecognized option --gpu-architecture=sm_91", -1, "--gpu-architecture=sm_91");
    compile_wrongly("the kernels have no constant SPEED", -1, "-DSPEED=9");
    compile_wrongly("is not -DNAME=NUMBER", -1, "-DVEC");
    compile_wrongly("no emulated build glu<3>", -1, "-DVEC=3");
    nvrtcProgram p;
    const char *option = "--gpu-architecture=sm_90a", *wrong = "-DVEC=4";
    GOOD(nvrtcCreateProgram(&p, "int x;", "kernels/cuda/glu.cu", 0, NULL, NULL));
    CAUGHT(nvrtcCompileProgram(p, 1, &option), "is not the text");
    CAUGHT(nvrtcCompileProgram(p, 1, &wrong), "no --gpu-architecture");
    nvrtcProgram copy = p;
    GOOD(nvrtcDestroyProgram(&p));
    CAUGHT(nvrtcCompileProgram(copy, 1, &option), "NVRTC program 7 was destroyed");
    CHECK_STR(nvrtcGetErrorString(NVRTC_ERROR_COMPILATION), "NVRTC_ERROR_COMPILATION");
    CHECK_STR(fake_cuda_leaks(), "");
}

static void test_cubins(void)
{
    static const char *const options[] = {"--gpu-architecture=sm_90a", "-DVEC=4",
                                          "--ptxas-options=-v"};
    open_context(FAKE_EAGER, 1);
    CUmodule m;
    char *cubin = compile("kernels/cuda/glu.cu", options, 3);
    GOOD(cuModuleLoadData(&m, cubin));
    GOOD(cuModuleUnload(m));
    fake_cuda_set_capability(9, 1);
    CHECK_INT(cuModuleLoadData(&m, cubin), CUDA_ERROR_NO_BINARY_FOR_GPU);
    fake_cuda_set_capability(9, 0);
    *strstr(cubin, "glu") = 'G';
    CHECK_INT(cuModuleLoadData(&m, cubin), CUDA_ERROR_INVALID_IMAGE);
    CHECK_INT(cuModuleLoadData(&m, "\177ELF"), CUDA_ERROR_INVALID_IMAGE);
    CHECK_INT(cuModuleLoadData(&m, ""), CUDA_ERROR_INVALID_IMAGE);
    free(cubin);
    GOOD(cuDevicePrimaryCtxRelease(0));
    CHECK_STR(fake_cuda_fault(), "");
}

/* ---- injected failures ---- */

static void test_failures(void)
{
    open_world(FAKE_EAGER, 1);
    CUdeviceptr c = 0;
    CUevent e;
    fake_cuda_set_failures("cuMemAlloc_v2:2:2,cuEventDestroy_v2:1:0");
    GOOD(cuMemAlloc(&c, 10));
    GOOD(cuMemFree(c));
    CHECK_INT(cuMemAlloc(&c, 10), CUDA_ERROR_OUT_OF_MEMORY);
    GOOD(cuEventCreate(&e, 0));
    CHECK_INT(cuEventDestroy(e), CUDA_ERROR_UNKNOWN);
    CHECK_STR(fake_cuda_fault(), "");
    CAUGHT(cuEventDestroy(e), "was destroyed"); /* an error, and it is gone all the same */
    fake_cuda_set_failures("*:2:0");
    GOOD(cuMemsetD8Async(a, 0, 4, first));
    cublasLtHandle_t blas;
    CHECK_INT(cublasLtCreate(&blas), CUBLAS_STATUS_INTERNAL_ERROR);
    GOOD(cuMemsetD8Async(a, 0, 4, first));
    uint64_t before = fake_cuda_calls("*");
    const char *text;
    GOOD(cuGetErrorName(CUDA_SUCCESS, &text)); /* cannot fail, so it has no number */
    CHECK_INT(fake_cuda_calls("*") - before, 0);
    CUfunction f;
    CUmodule m = load_convert(&f);
    fake_cuda_set_failures("kernel:2:719");
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    GOOD(launch_convert(f, b, a, first));
    GOOD(cuStreamSynchronize(first));
    GOOD(launch_convert(f, b, a, first));
    CHECK_INT(cuStreamSynchronize(first), CUDA_ERROR_LAUNCH_FAILED);
    CHECK_INT(cuModuleUnload(m), CUDA_ERROR_LAUNCH_FAILED);
    GOOD(cuDevicePrimaryCtxRelease(0));
}

static void test_log(void)
{
    char path[] = "/tmp/fake_cuda_log_XXXXXX", line[400] = "";
    int file = mkstemp(path);
    QK_ASSERT(file >= 0);
    close(file);
    open_world(FAKE_EAGER, 1);
    fake_cuda_set_log(path);
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    fake_cuda_set_log(NULL);
    FILE *log = fopen(path, "r");
    CHECK(fgets(line, sizeof line, log));
    CHECK(strstr(line, "cuMemcpyHtoDAsync_v2(1024 bytes, stream ") && strstr(line, ") = 0\n"));
    CHECK(fgets(line, sizeof line, log));
    CHECK(strstr(line, "runs: copy to the device"));
    fclose(log);
    unlink(path);
    close_world();
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_compiler);
    RUN(test_cubins);
    RUN(test_failures);
    RUN(test_log);
    return test_summary("fake nvrtc");
}
