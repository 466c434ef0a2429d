/* The fake GPU (tests/fake_cuda) proves itself: right callers pass in every order, and each mistake
 * that it claims to find is made once and found, by name. The compiler, failures to order and the
 * log: test_fake_nvrtc.c. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fake_cuda/world.h"

/* ---- right callers ---- */

/* in -> a -> kernel -> b | event | -> out on the other stream, twice through the same buffers. */
static void use_both_streams(fake_order order, unsigned seed)
{
    open_world(order, seed);
    CUfunction f;
    CUmodule m = load_convert(&f);
    CUevent computed, copied;
    GOOD(cuEventCreate(&computed, CU_EVENT_DISABLE_TIMING));
    GOOD(cuEventCreate(&copied, CU_EVENT_DISABLE_TIMING));
    for (int round = 0; round < 2; round++) {
        GOOD(cuEventSynchronize(copied));
        for (int i = 0; i < N; i++) in[i] = (float)(i + round);
        GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
        GOOD(launch_convert(f, b, a, first));
        GOOD(cuEventRecord(computed, first));
        GOOD(cuStreamWaitEvent(second, computed, 0));
        GOOD(cuMemcpyDtoHAsync(out, b, BYTES, second));
        GOOD(cuEventRecord(copied, second));
        GOOD(cuMemsetD8Async(a, 0, BYTES, first));
    }
    GOOD(cuEventSynchronize(copied));
    for (int i = 0; i < N; i++) CHECK(out[i] == (float)(i + 1));
    GOOD(cuStreamSynchronize(first));
    GOOD(cuEventDestroy(computed));
    GOOD(cuEventDestroy(copied));
    GOOD(cuModuleUnload(m));
    CHECK_INT(fake_cuda_hazard_count(), 0);
    CHECK_INT(fake_cuda_calls("kernel"), 2);
    CHECK_INT(fake_cuda_calls("cuMemsetD8Async"), 2);
    CHECK_INT(fake_cuda_bytes_to_host(), 2 * BYTES);
    close_world();
}

static void test_right_use(void)
{
    use_both_streams(FAKE_EAGER, 0);
    use_both_streams(FAKE_LATEST, 0);
    for (unsigned seed = 1; seed < 20; seed++) use_both_streams(FAKE_LAZY, seed);
}

static void test_copy_on_device(void)
{
    open_world(FAKE_LATEST, 0);
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    GOOD(cuMemcpyDtoDAsync(b, a, BYTES, first));
    GOOD(cuMemcpyDtoHAsync(out, b, BYTES, first));
    GOOD(cuStreamSynchronize(first));
    CHECK(!memcmp(in, out, BYTES));
    close_world();
}

/* A wait holds for what was recorded when it was called, not for later records. */
static void test_events(void)
{
    open_world(FAKE_LATEST, 0);
    CUevent e, timed[2];
    float milliseconds = -1;
    GOOD(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
    GOOD(cuEventCreate(&timed[0], 0));
    GOOD(cuEventCreate(&timed[1], 0));
    GOOD(cuEventSynchronize(e)); /* never recorded: nothing to wait for */
    GOOD(cuEventRecord(timed[0], first));
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    GOOD(cuEventRecord(e, first));
    GOOD(cuStreamWaitEvent(second, e, 0));
    GOOD(cuMemcpyDtoHAsync(out, a, BYTES, second));
    GOOD(cuEventRecord(e, second));
    GOOD(cuEventRecord(timed[1], second));
    CHECK_INT(cuEventElapsedTime(&milliseconds, timed[0], timed[1]), CUDA_ERROR_NOT_READY);
    GOOD(cuEventSynchronize(e));
    CHECK(!memcmp(in, out, BYTES));
    GOOD(cuEventSynchronize(timed[1]));
    GOOD(cuEventElapsedTime(&milliseconds, timed[0], timed[1]));
    CHECK(milliseconds > 0);
    CAUGHT(cuEventElapsedTime(&milliseconds, timed[0], e), "not timed");
    GOOD(cuEventDestroy(e));
    GOOD(cuEventDestroy(timed[0]));
    GOOD(cuEventDestroy(timed[1]));
    close_world();
}

static CUevent waited_for;

static void *wait_in_thread(void *result)
{
    *(int *)result = cuCtxSetCurrent(context);
    for (int i = 0; i < 50; i++) *(int *)result |= cuEventSynchronize(waited_for);
    return NULL;
}

static void test_two_threads(void)
{
    open_world(FAKE_LAZY, 3);
    pthread_t thread;
    int result = -1;
    GOOD(cuEventCreate(&waited_for, CU_EVENT_DISABLE_TIMING));
    QK_ASSERT(!pthread_create(&thread, NULL, wait_in_thread, &result));
    for (int i = 0; i < 50; i++) {
        GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
        GOOD(cuEventRecord(waited_for, first));
    }
    pthread_join(thread, NULL);
    CHECK_INT(result, 0);
    GOOD(cuEventDestroy(waited_for));
    close_world();
}

/* ---- order ---- */

static void test_missing_event_wait(void)
{
    for (fake_order order = FAKE_EAGER; order <= FAKE_LATEST; order++) {
        open_world(order, 1);
        GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
        GOOD(cuMemcpyDtoHAsync(out, a, BYTES, second));
        GOOD(cuStreamSynchronize(second));
        GOOD(cuStreamSynchronize(first));
        CHECK_FAULT("race: copy to");
        close_world();
    }
    open_world(FAKE_LATEST, 1); /* and the values are wrong */
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    GOOD(cuMemcpyDtoHAsync(out, a, BYTES, second));
    GOOD(cuStreamSynchronize(second));
    CHECK(isnan(out[1]));
    GOOD(cuStreamSynchronize(first));
    fake_cuda_fault();
    close_world();
}

/* What a kernel touched is known exactly: another part of the same memory is no race. */
static void test_kernel_race(void)
{
    for (int apart = 0; apart < 2; apart++) {
        open_world(FAKE_EAGER, 1);
        CUfunction f;
        CUmodule m = load_convert(&f);
        GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
        convert_args args = {(void *)b, (const float *)a, COLS, COLS, COLS, KERNEL_F32};
        void *params[] = {&args};
        GOOD(cuLaunchKernel(f, 2, 1, 1, THREADS, 1, 1, 0, first, params, NULL)); /* half of b */
        GOOD(cuMemcpyDtoHAsync(out, b + (apart ? BYTES / 2 : 0), BYTES / 2, second));
        GOOD(cuStreamSynchronize(second));
        CHECK_FAULT(apart ? "" : "race: copy to the host reads device allocation 2 near byte 0");
        GOOD(cuStreamSynchronize(first));
        GOOD(cuModuleUnload(m));
        close_world();
    }
}

static void test_host_waited(void) /* the host may order two streams, too */
{
    open_world(FAKE_LATEST, 1);
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    GOOD(cuStreamSynchronize(first));
    GOOD(cuMemcpyDtoHAsync(out, a, BYTES, second));
    GOOD(cuStreamSynchronize(second));
    CHECK(!memcmp(in, out, BYTES));
    close_world();
}

static void test_source_reused_too_early(void)
{
    open_world(FAKE_LATEST, 1);
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    in[5] = -1;
    GOOD(cuStreamSynchronize(first));
    CHECK_FAULT("source has changed");
    close_world();
}

static void test_read_too_early(void)
{
    open_world(FAKE_LATEST, 1);
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    memset(out, 0, BYTES);
    GOOD(cuMemcpyDtoHAsync(out, a, BYTES, first));
    CHECK(isnan(out[0])); /* not the zeros, which could look right */
    GOOD(cuStreamSynchronize(first));
    CHECK(out[7] == 7);
    close_world();
}

static void test_lazy_order_varies(void)
{
    int early = 0;
    for (unsigned seed = 1; seed < 30; seed++) {
        open_world(FAKE_LAZY, seed);
        GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
        GOOD(cuMemcpyDtoHAsync(out, a, BYTES, first));
        early += !isnan(out[0]);
        close_world();
    }
    CHECK_MSG(early > 2 && early < 27, "%d of 29 were early", early);
}

/* ---- memory ---- */

static void test_memory_begins_as_nan(void)
{
    open_world(FAKE_EAGER, 1);
    GOOD(cuMemcpyDtoHAsync(out, a, BYTES, first));
    for (int i = 0; i < N; i++) CHECK(isnan(out[i]));
    close_world();
}

static void test_host_follows_device_pointer(void)
{
    open_world(FAKE_EAGER, 1);
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        if (!freopen("/dev/null", "w", stderr)) _exit(0);
        _exit(*(volatile const char *)a == 0 ? 0 : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
    close_world();
}

static void test_wrong_copies(void)
{
    static float pageable[N];
    open_world(FAKE_LAZY, 1);
    CAUGHT(cuMemcpyHtoDAsync(a, pageable, BYTES, first), "source: ");
    CAUGHT(cuMemcpyDtoHAsync(pageable, a, BYTES, first), "no page-locked memory");
    CAUGHT(cuMemcpyHtoDAsync(a, in, BYTES + 4, first), "destination: 1028 bytes at offset 0");
    CAUGHT(cuMemcpyHtoDAsync(a + 4, in, BYTES, first), "at offset 4 of device allocation 1");
    CAUGHT(cuMemcpyDtoHAsync(out + 1, a, BYTES, first), "at offset 4 of page-locked buffer 2");
    CAUGHT(cuMemcpyDtoDAsync(b, a, BYTES + 1, first), "destination");
    CAUGHT(cuMemcpyHtoDAsync((CUdeviceptr)in, in, 4, first), "in no device memory");
    CAUGHT(cuMemsetD8Async(b + BYTES, 0, 1, first), "in no device memory");
    CAUGHT(cuMemcpyHtoDAsync(a, in, BYTES, NULL), "NULL is no stream");
    CAUGHT(cuMemAlloc(&a, 0), "0 bytes");
    close_world();
}

static void test_wrong_frees(void)
{
    open_world(FAKE_LATEST, 1);
    CUdeviceptr c;
    void *host;
    GOOD(cuMemAlloc(&c, 100));
    CAUGHT(cuMemFree(c + 1), "no address that cuMemAlloc gave");
    GOOD(cuMemFree(c));
    CAUGHT(cuMemFree(c), "free already");
    GOOD(cuMemHostAlloc(&host, 100, 0));
    CAUGHT(cuMemFree((CUdeviceptr)host), "no address");
    GOOD(cuMemcpyHtoDAsync(a, host, 100, first));
    GOOD(cuMemFreeHost(host));
    CHECK_FAULT("a queued copy to the device uses");
    CAUGHT(cuMemFreeHost(host), "free already");
    GOOD(cuMemAlloc(&c, 100));
    GOOD(cuMemsetD8Async(c, 0, 100, first));
    CHECK_INT(fake_cuda_hazard_count(), 0);
    GOOD(cuMemFree(c)); /* the driver waits; the manual only says that it may */
    CHECK_INT(fake_cuda_hazard_count(), 1);
    close_world();
}

static void test_short_memory(void)
{
    open_world(FAKE_EAGER, 1);
    CUdeviceptr c;
    size_t left, total;
    fake_cuda_set_memory(1 << 20);
    CHECK_INT(cuMemAlloc(&c, 1 << 20), CUDA_ERROR_OUT_OF_MEMORY);
    CHECK_INT(cuMemAlloc(&c, SIZE_MAX), CUDA_ERROR_OUT_OF_MEMORY);
    GOOD(cuMemGetInfo(&left, &total));
    CHECK_INT(total, 1 << 20);
    CHECK_INT(left, (1 << 20) - 2 * BYTES);
    CHECK_INT(fake_cuda_memory_used(), 2 * BYTES);
    GOOD(cuMemAlloc(&c, left));
    GOOD(cuMemFree(c));
    CHECK_INT(fake_cuda_memory_peak(), 1 << 20);
    close_world();
}

/* ---- launches ---- */

static void test_wrong_launches(void)
{
    open_world(FAKE_EAGER, 1);
    CUfunction f, none;
    CUmodule m = load_convert(&f);
    convert_args args = {(void *)b, (const float *)a, COLS, COLS, COLS, KERNEL_F32};
    void *p[] = {&args};
    CAUGHT(cuLaunchKernel(f, 0, 1, 1, THREADS, 1, 1, 0, first, p, NULL), "grid 0 x 1 x 1");
    CAUGHT(cuLaunchKernel(f, 1, 65536, 1, THREADS, 1, 1, 0, first, p, NULL), "grid 1 x 65536");
    CAUGHT(cuLaunchKernel(f, 1, 1, 1, 128, 1, 1, 0, first, p, NULL), "is written for 256");
    CAUGHT(cuLaunchKernel(f, 1, 1, 1, THREADS, 1, 1, 0, first, NULL, NULL), "no arguments");
    CAUGHT(cuLaunchKernel(f, 1, 1, 1, THREADS, 1, 1, 50000, first, p, NULL), "only 49152");
    CAUGHT(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 232449),
           "ends at 232448");
    CAUGHT(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS, 4), "attribute 4");
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    GOOD(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 232448));
    GOOD(cuLaunchKernel(f, 1, 1, 1, THREADS, 1, 1, 50000, first, p, NULL));
    CAUGHT(cuModuleGetFunction(&none, m, "embed"), "has no kernel embed");
    GOOD(cuModuleUnload(m));
    CAUGHT(launch_convert(f, b, a, first), "was destroyed");
    CAUGHT(cuModuleUnload(m), "module 1 was destroyed");
    close_world();
}

static void test_shared_memory_by_device(void)
{
    open_context(FAKE_EAGER, 1);
    fake_cuda_set_capability(8, 6);
    const char *const options[] = {"--gpu-architecture=sm_86", "-DVEC=4"};
    CUmodule m = load("kernels/cuda/glu.cu", options, 2);
    CUfunction f;
    GOOD(cuModuleGetFunction(&f, m, "glu"));
    CAUGHT(cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 101377),
           "ends at 101376");
    GOOD(cuModuleUnload(m));
    GOOD(cuDevicePrimaryCtxRelease(0));
}

static void test_kernel_fault(void)
{
    open_world(FAKE_LATEST, 1);
    CUfunction f;
    load_convert(&f);
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    GOOD(launch_convert(f, b, a + 4 * COLS, first)); /* its last row ends behind a */
    CHECK_STR(fake_cuda_fault(), "");
    CHECK_INT(cuStreamSynchronize(first), CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK_FAULT("convert<4>: block (3, 0)");
    size_t left, total;
    CHECK_INT(cuMemGetInfo(&left, &total), CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK_INT(cuMemcpyHtoDAsync(a, in, BYTES, first), CUDA_ERROR_ILLEGAL_ADDRESS);
    GOOD(cuDevicePrimaryCtxRelease(0));
    CHECK_STR(fake_cuda_leaks(),
              "2 streams, 1 module, 2 device allocations, 2 page-locked buffers");
    use_both_streams(FAKE_EAGER, 0); /* a new context works again */
}

static void test_kernel_uses_freed_memory(void)
{
    open_world(FAKE_EAGER, 1);
    CUfunction f;
    load_convert(&f);
    CUdeviceptr c;
    GOOD(cuMemAlloc(&c, BYTES));
    GOOD(cuMemFree(c));
    launch_convert(f, b, c, first);
    CHECK_INT(cuStreamSynchronize(first), CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK_FAULT("in no buffer");
    GOOD(cuDevicePrimaryCtxRelease(0));
}

static void test_module_goes_while_queued(void)
{
    open_world(FAKE_LATEST, 1);
    CUfunction f;
    CUmodule m = load_convert(&f);
    GOOD(cuMemcpyHtoDAsync(a, in, BYTES, first));
    GOOD(launch_convert(f, b, a, first));
    GOOD(cuModuleUnload(m));
    CHECK_FAULT("while convert of it is queued");
    close_world();
}

/* The emulated attention_v3 has no constants; a launch must fit those of the build it asked for. */
static void test_build_constants(void)
{
    static const char *const options[] = {
        "--gpu-architecture=sm_90a", "-DHEAD_DIM=64",   "-DHAS_WINDOW=0",
        "-DHAS_SOFT_CAP=0",          "-DHAS_CAPTURE=0", "-DPADDED=0"};
    open_world(FAKE_LATEST, 1);
    CUmodule m = load("kernels/cuda/attention_v3.cu", options, 6);
    CUfunction f;
    GOOD(cuModuleGetFunction(&f, m, "attention_v3"));
    attention_args right = {.H = 1, .K = 1, .d = 64}, wrong[4] = {right, right, right, right};
    wrong[0].window = 5;
    wrong[1].soft_cap = 2;
    wrong[2].k.first = (const int *)a;
    wrong[3].d = 48;
    static const char *const names[] = {"HAS_WINDOW", "HAS_SOFT_CAP", "HAS_CAPTURE", "PADDED"};
    for (int i = 0; i < 4; i++) {
        void *p[] = {&wrong[i]};
        CAUGHT(cuLaunchKernel(f, 1, 1, 1, 128, 1, 1, 0, first, p, NULL), names[i]);
    }
    GOOD(cuModuleUnload(m));
    close_world();
}

/* ---- objects, contexts ---- */

static void test_destroyed_objects(void)
{
    open_world(FAKE_EAGER, 1);
    CUstream s;
    CUevent e;
    GOOD(cuStreamCreate(&s, 0));
    GOOD(cuEventCreate(&e, 0));
    CAUGHT(cuStreamDestroy((CUstream)e), "event 1 is no stream");
    GOOD(cuStreamDestroy(s));
    GOOD(cuEventDestroy(e));
    CAUGHT(cuStreamSynchronize(s), "cuStreamSynchronize: stream 3 was destroyed");
    CAUGHT(cuEventRecord(e, first), "event 1 was destroyed");
    CAUGHT(cuStreamWaitEvent(first, e, 0), "event 1 was destroyed");
    CAUGHT(cuEventSynchronize((CUevent)in), "an unknown handle is no event");
    close_world();
}

static void *without_context(void *result)
{
    size_t left, total;
    *(CUresult *)result = cuMemGetInfo(&left, &total);
    return NULL;
}

static void test_contexts(void)
{
    fake_cuda_reset();
    CUstream s;
    CUdevice device;
    CAUGHT(cuDeviceGet(&device, 0), "cuInit was not called");
    CAUGHT(cuStreamCreate(&s, 0), "cuInit was not called");
    open_world(FAKE_EAGER, 1);
    pthread_t thread;
    CUresult r = CUDA_SUCCESS;
    QK_ASSERT(!pthread_create(&thread, NULL, without_context, &r));
    pthread_join(thread, NULL);
    CAUGHT(r, "this thread has no context");
    close_world();
    CAUGHT(cuStreamCreate(&s, 0), "the context of this thread was released");
    CAUGHT(cuCtxSetCurrent(context), "was released");
    CAUGHT(cuDevicePrimaryCtxRelease(0), "more often than");
    CAUGHT(cuDeviceGet(&device, 1), "no device 1");
}

static void test_leaks(void)
{
    open_context(FAKE_EAGER, 1);
    CUevent e;
    CUdeviceptr p;
    cublasLtHandle_t blas;
    cublasLtMatrixLayout_t layout;
    GOOD(cuEventCreate(&e, 0));
    GOOD(cuEventCreate(&e, 0));
    GOOD(cuMemAlloc(&p, 10));
    GOOD(cublasLtCreate(&blas));
    GOOD(cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 2, 2, 2));
    CHECK_STR(fake_cuda_leaks(),
              "2 events, 1 device allocation, 1 cuBLASLt handle, 1 cuBLASLt layout");
    GOOD(cuDevicePrimaryCtxRelease(0));
    CHECK_STR(fake_cuda_leaks(),
              "2 events, 1 device allocation, 1 cuBLASLt handle, 1 cuBLASLt layout");
    GOOD(cublasLtMatrixLayoutDestroy(layout));
    CHECK_STR(fake_cuda_leaks(), "2 events, 1 device allocation, 1 cuBLASLt handle");
    fake_cuda_reset();
    CHECK_STR(fake_cuda_leaks(), "");
}

static void test_settings(void)
{
    fake_cuda_reset();
    fake_cuda_set_devices(0);
    CHECK_INT(cuInit(0), CUDA_ERROR_NO_DEVICE);
    open_context(FAKE_EAGER, 1);
    char name[64];
    int version, major;
    fake_cuda_set_driver(11080);
    fake_cuda_set_capability(7, 5);
    GOOD(cuDriverGetVersion(&version));
    CHECK_INT(version, 11080);
    GOOD(cuDeviceGetName(name, sizeof name, 0));
    CHECK_STR(name, "fake GPU (emulator)");
    GOOD(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
    CHECK_INT(major, 7);
    CAUGHT(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_ECC_ENABLED, 0), "does not know");
    GOOD(cuDevicePrimaryCtxRelease(0));
    const char *text;
    GOOD(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    CHECK_STR(text, "CUDA_ERROR_ILLEGAL_ADDRESS");
    CHECK_INT(cuGetErrorString((CUresult)12345, &text), CUDA_ERROR_INVALID_VALUE);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    RUN(test_right_use);
    RUN(test_copy_on_device);
    RUN(test_events);
    RUN(test_two_threads);
    RUN(test_missing_event_wait);
    RUN(test_kernel_race);
    RUN(test_host_waited);
    RUN(test_source_reused_too_early);
    RUN(test_read_too_early);
    RUN(test_lazy_order_varies);
    RUN(test_memory_begins_as_nan);
    RUN(test_host_follows_device_pointer);
    RUN(test_wrong_copies);
    RUN(test_wrong_frees);
    RUN(test_short_memory);
    RUN(test_wrong_launches);
    RUN(test_shared_memory_by_device);
    RUN(test_kernel_fault);
    RUN(test_kernel_uses_freed_memory);
    RUN(test_module_goes_while_queued);
    RUN(test_build_constants);
    RUN(test_destroyed_objects);
    RUN(test_contexts);
    RUN(test_leaks);
    RUN(test_settings);
    return test_summary("fake cuda");
}
