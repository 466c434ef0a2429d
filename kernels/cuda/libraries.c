/* See libraries.h.
 *
 * next: kernels/cuda/compile.c */
#include "kernels/cuda/libraries.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

typedef struct symbol {
    const char *name;
    size_t offset; /* of the pointer in the library's struct */
} symbol;

#define DRIVER_SYMBOL(name, symbol) {symbol, offsetof(cuda_driver, name)},
#define NVRTC_SYMBOL(name, symbol) {symbol, offsetof(cuda_nvrtc, name)},
#define BLAS_SYMBOL(name, symbol) {symbol, offsetof(cuda_blas, name)},
static const symbol driver_symbols[] = {CUDA_DRIVER_CALLS(DRIVER_SYMBOL){0}};
static const symbol nvrtc_symbols[] = {NVRTC_CALLS(NVRTC_SYMBOL){0}};
static const symbol blas_symbols[] = {CUBLASLT_CALLS(BLAS_SYMBOL){0}};

/* Searched by name, newest first, where the loader searches and then in the toolkit's folder. */
typedef struct library {
    const char *files[4];
    const char *what, *hint;
    const symbol *symbols;
} library;

static const library driver_library = {
    {"libcuda.so.1"},
    "the NVIDIA driver",
    "install the NVIDIA driver on a machine with a GPU, or go on with --backend cpu",
    driver_symbols};
static const library nvrtc_library = {
    {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"},
    "the kernel compiler of the CUDA toolkit",
    "install the CUDA toolkit (or the package nvidia-cuda-nvrtc) and let LD_LIBRARY_PATH or "
    "CUDA_HOME name its folder, or compile the kernels elsewhere with 'make cubins'",
    nvrtc_symbols};
static const library blas_library = {
    {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"},
    "cuBLASLt of the CUDA toolkit",
    "install the CUDA toolkit (or the package nvidia-cublas) and let LD_LIBRARY_PATH or CUDA_HOME "
    "name its folder",
    blas_symbols};

static void *open_file(const library *l)
{
    const char *home = getenv("CUDA_HOME");
    for (int i = 0; i < 4 && l->files[i]; i++) {
        void *handle = dlopen(l->files[i], RTLD_NOW | RTLD_LOCAL);
        if (handle) return handle;
    }
    for (int i = 0; i < 4 && l->files[i]; i++) {
        char *path = qk_strf("%s/lib64/%s", home ? home : "/usr/local/cuda", l->files[i]);
        void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        free(path);
        if (handle) return handle;
    }
    return NULL;
}

static qk_status open_library(const library *l, void *table, qk_error *err)
{
    void *handle = open_file(l);
    if (!handle)
        return qk_fail(err, QK_ERR_UNSUPPORTED, l->hint, "%s is not here: %s cannot be loaded",
                       l->what, l->files[0]);
    for (const symbol *s = l->symbols; s->name; s++) {
        void *address = dlsym(handle, s->name);
        if (!address) {
            dlclose(handle);
            return qk_fail(err, QK_ERR_UNSUPPORTED, "install a newer one", "%s has no %s: too old",
                           l->what, s->name);
        }
        memcpy((char *)table + s->offset, &address, sizeof address);
    }
    return QK_OK;
}

/* Opens on the first call that finds the library; a failure is tried again. */
static const void *get(const library *l, void *table, bool *open, qk_error *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (!*open) *open = open_library(l, table, err) == QK_OK;
    bool ok = *open;
    pthread_mutex_unlock(&lock);
    return ok ? table : NULL;
}

const cuda_driver *cuda_driver_get(qk_error *err)
{
    static cuda_driver table;
    static bool open;
    return get(&driver_library, &table, &open, err);
}

const cuda_nvrtc *cuda_nvrtc_get(qk_error *err)
{
    static cuda_nvrtc table;
    static bool open;
    return get(&nvrtc_library, &table, &open, err);
}

const cuda_blas *cuda_blas_get(qk_error *err)
{
    static cuda_blas table;
    static bool open;
    return get(&blas_library, &table, &open, err);
}
