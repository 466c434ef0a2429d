/* The devices, the primary context of one of them, and the names of errors.
 *
 * next: tests/fake_cuda/module.c */
#include <stdio.h>

#include "tests/fake_cuda/fake.h"

static bool initialised;
static int retained;
static CUdevice owner;   /* the device whose context it is */
static uintptr_t serial; /* of the context that lives or lived last: its handle */
static _Thread_local uintptr_t current;

static CUcontext handle_of(uintptr_t number)
{
    return (CUcontext)(0xC0DE000000000000u + number);
}

void fake_context_reset(void)
{
    initialised = false;
    retained = 0;
}

CUresult fake_context(void)
{
    CUresult wrong = CUDA_SUCCESS;
    if (!initialised)
        wrong = CUDA_ERROR_NOT_INITIALIZED;
    else if (!current)
        wrong = CUDA_ERROR_INVALID_CONTEXT;
    else if (!retained || current != serial)
        wrong = CUDA_ERROR_CONTEXT_IS_DESTROYED;
    if (!wrong) return fake_sticky;
    fake_fault(wrong == CUDA_ERROR_NOT_INITIALIZED ? "cuInit was not called"
               : wrong == CUDA_ERROR_INVALID_CONTEXT
                   ? "this thread has no context (cuCtxSetCurrent is per thread)"
                   : "the context of this thread was released");
    return wrong;
}

/* ---- the devices ---- */

static bool no_device(CUdevice device)
{
    if (!initialised) fake_fault("cuInit was not called");
    bool there = device >= 0 && device < fake_options.devices;
    if (!there) fake_fault("there is no device %d", device);
    return !initialised || !there;
}

CUresult cuInit(unsigned flags)
{
    FAKE_BEGIN("%u", flags);
    if (flags) FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    if (!fake_options.devices) FAKE_RESULT(CUDA_ERROR_NO_DEVICE);
    initialised = true;
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuDriverGetVersion(int *version)
{
    FAKE_BEGIN("%s", "");
    *version = fake_options.driver;
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuDeviceGetCount(int *n)
{
    FAKE_BEGIN("%s", "");
    *n = fake_options.devices;
    FAKE_RESULT(initialised ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED);
}

CUresult cuDeviceGet(CUdevice *device, int number)
{
    FAKE_BEGIN("%d", number);
    *device = number;
    FAKE_RESULT(no_device(number) ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS);
}

CUresult cuDeviceGetName(char *name, int capacity, CUdevice device)
{
    FAKE_BEGIN("%d", device);
    if (no_device(device)) FAKE_RESULT(CUDA_ERROR_INVALID_DEVICE);
    snprintf(name, (size_t)capacity, "fake GPU (emulator)");
    FAKE_RESULT(CUDA_SUCCESS);
}

/* Most shared memory that a block may ask for: CUDA programming guide, technical specifications. */
int fake_shared_limit(void)
{
    static const struct {
        int major, minor, kilobytes;
    } all[] = {{8, 0, 163}, {8, 7, 163}, {9, 0, 227}, {10, 0, 227}, {10, 3, 227}, {11, 0, 227}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].major == fake_options.major && all[i].minor == fake_options.minor)
            return all[i].kilobytes << 10;
    return 99 << 10;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute what, CUdevice device)
{
    FAKE_BEGIN("%d, %d", (int)what, device);
    if (no_device(device)) FAKE_RESULT(CUDA_ERROR_INVALID_DEVICE);
    const struct {
        CUdevice_attribute what;
        int value;
    } all[] = {{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, fake_options.major},
               {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, fake_options.minor},
               {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
               {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
               {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 1},
               {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 48 << 10},
               {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, fake_shared_limit()},
               {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 0x7FFFFFFF},
               {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
               {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].what == what) {
            *value = all[i].value;
            FAKE_RESULT(CUDA_SUCCESS);
        }
    fake_fault("the fake does not know attribute %d", (int)what);
    FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
}

/* Code for sm_XY runs on X.Z with Z >= Y, code for sm_XYa on X.Y alone. */
bool fake_runs_on_device(const char *arch)
{
    char *end;
    if (strncmp(arch, "sm_", 3) != 0) return false;
    long number = strtol(arch + 3, &end, 10);
    int major = (int)(number / 10), minor = (int)(number % 10);
    return major == fake_options.major &&
           (strcmp(end, "a") != 0 ? minor <= fake_options.minor : minor == fake_options.minor);
}

/* ---- its context ---- */

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    FAKE_BEGIN("%d", device);
    if (no_device(device)) FAKE_RESULT(CUDA_ERROR_INVALID_DEVICE);
    if (retained && device != owner)
        fake_fault("a second device's context, of which there are none");
    if (!retained++) serial++;
    owner = device;
    *context = handle_of(serial);
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    FAKE_BEGIN("%d", device);
    if (no_device(device)) FAKE_RESULT(CUDA_ERROR_INVALID_DEVICE);
    if (!retained || device != owner) {
        fake_fault("more often than cuDevicePrimaryCtxRetain");
        FAKE_RESULT(CUDA_ERROR_INVALID_CONTEXT);
    }
    if (--retained) FAKE_RESULT(CUDA_SUCCESS);
    fake_context_leaks();
    fake_objects_end(0, FAKE_BOUND_KINDS);
    fake_sticky = CUDA_SUCCESS; /* a new context begins anew */
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuCtxSetCurrent(CUcontext context)
{
    FAKE_BEGIN("%#zx", (size_t)context);
    if (!initialised) FAKE_RESULT(CUDA_ERROR_NOT_INITIALIZED);
    if (context && (!retained || context != handle_of(serial))) {
        fake_fault("this context was released, or never was one");
        FAKE_RESULT(CUDA_ERROR_INVALID_CONTEXT);
    }
    current = context ? serial : 0;
    FAKE_RESULT(CUDA_SUCCESS);
}

/* ---- errors ---- */

#define ERRORS(X)                                                                                  \
    X(CUDA_SUCCESS, "no error")                                                                    \
    X(CUDA_ERROR_INVALID_VALUE, "invalid argument")                                                \
    X(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")                                                   \
    X(CUDA_ERROR_NOT_INITIALIZED, "initialization error")                                          \
    X(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")                                  \
    X(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")                                         \
    X(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid")                                  \
    X(CUDA_ERROR_INVALID_CONTEXT, "invalid device context")                                        \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device")    \
    X(CUDA_ERROR_ECC_UNCORRECTABLE, "uncorrectable ECC error encountered")                         \
    X(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle")                                        \
    X(CUDA_ERROR_NOT_FOUND, "named symbol not found")                                              \
    X(CUDA_ERROR_NOT_READY, "device not ready")                                                    \
    X(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")                      \
    X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch")               \
    X(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed")                                     \
    X(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure")                                      \
    X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "system has unsupported display driver / cuda driver "    \
                                         "combination")                                            \
    X(CUDA_ERROR_UNKNOWN, "unknown error")

static const struct {
    CUresult error;
    const char *name, *words;
} errors[] = {
#define ENTRY(error, words) {error, #error, words},
    ERRORS(ENTRY)};

static CUresult find_error(CUresult error, const char **text, bool name)
{
    *text = NULL;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error) *text = name ? errors[i].name : errors[i].words;
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorName(CUresult error, const char **text)
{
    fake_begin_sure(__func__);
    FAKE_RESULT(find_error(error, text, true));
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
    fake_begin_sure(__func__);
    FAKE_RESULT(find_error(error, text, false));
}
