/* The list of backends: the one place that knows which of them this build has. See backend.h. */
#include "kernels/backend.h"

#include <string.h>

#ifdef QK_CUDA
extern const qk_backend qk_backend_cuda;
#endif

/* The first one is what "auto" means. */
static const qk_backend *const backends[] = {
    &qk_backend_cpu,
    &qk_backend_ref,
#ifdef QK_CUDA
    &qk_backend_cuda,
#endif
};

const qk_backend *qk_backend_find(const char *name)
{
    if (!strcmp(name, "auto")) return backends[0];
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (!strcmp(backends[i]->name, name)) return backends[i];
    return NULL;
}

const char *qk_backend_names(void)
{
#ifdef QK_CUDA
    return "cuda, cpu, ref";
#else
    return "cpu, ref";
#endif
}
