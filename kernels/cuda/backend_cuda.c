/* The CUDA backend's place in the table. The kernels and the ops are here (cuda.h); what drives a
 * GPU is not written yet: opening it says so, and everything else runs with --backend cpu.
 *
 * next: kernels/cuda/cuda.h */
#include "kernels/backend.h"

extern const qk_backend qk_backend_cuda;

static qk_status cuda_open(const qk_device_options *options, qk_device **out, qk_error *err)
{
    (void)options;
    *out = NULL;
    return qk_fail(err, QK_ERR_UNSUPPORTED, "use inference.backend: cpu, or --backend cpu",
                   "this version cannot drive a GPU");
}

const qk_backend qk_backend_cuda = {.name = "cuda", .open = cuda_open};
