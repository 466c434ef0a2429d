/* Modules and functions: a build of a kernel file becomes a module when an op first launches it.
 *
 * next: kernels/cuda/memory.c */
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "kernels/cuda/runtime.h"

enum { SHARED_WITHOUT_ASKING = 48 << 10 };

static bool same_build(const cuda_build *a, const cuda_build *b)
{
    return a->value == b->value && !strcmp(a->file, b->file) && !strcmp(a->macro, b->macro) &&
           !strcmp(a->defines, b->defines);
}

/* A driver does not load what a compiler of a later generation made. */
static void explain_versions(cuda_own *own)
{
    qk_error ignored;
    int driver = 0, major = 0, minor = 0;
    const cuda_nvrtc *rtc = cuda_nvrtc_get(&ignored);
    if (!rtc || rtc->nvrtcVersion(&major, &minor) != NVRTC_SUCCESS ||
        own->driver->cuDriverGetVersion(&driver) != CUDA_SUCCESS || driver / 1000 >= major)
        return;
    qk_fail(&own->failure, QK_ERR_UNSUPPORTED,
            "update the driver, or let LD_LIBRARY_PATH name an older libnvrtc",
            "the NVIDIA driver is too old: it knows CUDA %d.%d, the kernel compiler is of %d.%d",
            driver / 1000, driver % 1000 / 10, major, minor);
}

/* Loads what the caches or the compiler have. A kept cubin may be damaged: then it is compiled. */
static bool load(cuda_own *own, const cuda_build *build, CUmodule *module)
{
    for (int fresh = 0; fresh < 2; fresh++) {
        qk_buf cubin = {0};
        qk_error err;
        if (cuda_cubin(build, own->arch, fresh, &cubin, &err) != QK_OK) {
            own->failure = err;
            cuda_drain(own);
            qk_buf_free(&cubin);
            return false;
        }
        int result = (int)own->driver->cuModuleLoadData(module, cubin.data);
        qk_buf_free(&cubin);
        if (result != CUDA_ERROR_INVALID_IMAGE || fresh) {
            if (cuda_check(own, build->file, "cuModuleLoadData", result)) return true;
            explain_versions(own);
            return false;
        }
        qk_warn("a kept cubin of %s is damaged: it is compiled again", build->file);
    }
    return false;
}

static CUmodule module_of(cuda_own *own, const cuda_launch *l)
{
    cuda_module m = {.build = {l->file, l->macro, l->value, l->defines}};
    for (size_t i = 0; i < own->n_modules; i++)
        if (same_build(&own->modules[i].build, &m.build)) return own->modules[i].module;
    if (!load(own, &m.build, &m.module)) return NULL;
    own->modules = qk_realloc(own->modules, own->n_modules + 1, sizeof *own->modules);
    own->modules[own->n_modules++] = m;
    return m.module;
}

static cuda_function *find(cuda_own *own, const char *kernel, CUmodule module)
{
    for (size_t i = 0; i < own->n_functions; i++)
        if (own->functions[i].module == module && !strcmp(own->functions[i].kernel, kernel))
            return &own->functions[i];
    cuda_function f = {kernel, module, NULL, SHARED_WITHOUT_ASKING};
    if (!CUDA_CALL(own, kernel, cuModuleGetFunction, &f.function, module, kernel)) return NULL;
    own->functions = qk_realloc(own->functions, own->n_functions + 1, sizeof *own->functions);
    own->functions[own->n_functions] = f;
    return &own->functions[own->n_functions++];
}

CUfunction cuda_function_get(cuda_own *own, const cuda_launch *l)
{
    if (own->failure.status) return NULL;
    CUmodule module = module_of(own, l);
    cuda_function *f = module ? find(own, l->kernel, module) : NULL;
    if (!f || l->shared_bytes <= (size_t)f->shared_limit) return f ? f->function : NULL;
    f->shared_limit = (int)l->shared_bytes;
    return CUDA_CALL(own, l->kernel, cuFuncSetAttribute, f->function,
                     CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f->shared_limit)
               ? f->function
               : NULL;
}

void cuda_functions_close(cuda_own *own)
{
    for (size_t i = 0; i < own->n_modules; i++) own->driver->cuModuleUnload(own->modules[i].module);
    free(own->modules);
    free(own->functions);
}
