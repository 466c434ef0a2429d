/* The list of backends: the one place that knows which of them this build has. See backend.h. */
#include "kernels/backend.h"

#include <string.h>

#include "engine/base/log.h"

#ifdef QK_CUDA
#include "kernels/cuda/backend_cuda.h"
#endif

/* The fastest first: "auto" takes the first that is present. */
static const qk_backend *const backends[] = {
#ifdef QK_CUDA
    &qk_backend_cuda,
#endif
    &qk_backend_cpu,
    &qk_backend_ref,
};

enum { COUNT = sizeof backends / sizeof *backends };

static const qk_backend *find_present(void)
{
    static const qk_backend *found;
    for (int i = 0; i < COUNT && !found; i++) {
        qk_error why;
        if (!backends[i]->present || backends[i]->present(&why))
            found = backends[i];
        else
            qk_info("backend %s: %s; going on with %s", backends[i]->name, why.message,
                    backends[i + 1]->name);
    }
    return found;
}

const qk_backend *qk_backend_find(const char *name)
{
    if (!strcmp(name, "auto")) return find_present();
    for (int i = 0; i < COUNT; i++)
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
