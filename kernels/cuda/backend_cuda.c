/* The CUDA backend's place in the table. Its kernels are not written yet: opening it says so, and
 * everything else of the program runs with --backend cpu.
 *
 * next: kernels/backend.h */
#include "kernels/backend.h"

extern const qk_backend qk_backend_cuda;

static qk_status cuda_open(const qk_device_options *options, qk_device **out, qk_error *err)
{
    (void)options;
    *out = NULL;
    return qk_fail(err, QK_ERR_UNSUPPORTED, "use inference.backend: cpu, or --backend cpu",
                   "this version has no CUDA kernels");
}

const qk_backend qk_backend_cuda = {.name = "cuda", .open = cuda_open};
