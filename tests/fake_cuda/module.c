/* Modules, functions, launches: a module is what nvrtc.c made, a launch is one run of the emulator.
 *
 * next: tests/fake_cuda/nvrtc.c */
#include "tests/fake_cuda/module.h"

#include <stdio.h>

#include "engine/base/mem.h"
#include "kernels/cuda/args.h"
#include "kernels/emulator/emulator.h"
#include "tests/fake_cuda/fake.h"

enum { SHARED_WITHOUT_ASKING = 48 << 10, MAX_Y = 65535, MAX_FUNCTIONS = 8 };

typedef struct function {
    const void *module;
    char name[32];
    int spec, threads;
    int shared_limit;
    int has_window, has_soft_cap, has_capture, padded; /* the build's constants; -1: not said */
} function;

typedef struct module {
    fake_cubin cubin;
    void *functions[MAX_FUNCTIONS]; /* handles */
    int n_functions;
} module;

/* ---- modules ---- */

CUresult cuModuleLoadData(CUmodule *out, const void *image)
{
    FAKE_BEGIN_IN_CONTEXT("%p", image);
    fake_cubin c;
    if (!fake_cubin_read(&c, image)) FAKE_RESULT(CUDA_ERROR_INVALID_IMAGE);
    if (!fake_runs_on_device(c.arch)) FAKE_RESULT(CUDA_ERROR_NO_BINARY_FOR_GPU);
    module *m = qk_zalloc(1, sizeof *m);
    m->cubin = c;
    *out = fake_object_new(FAKE_MODULE, m);
    FAKE_RESULT(CUDA_SUCCESS);
}

void fake_module_free(void *body)
{
    module *m = body;
    for (int i = 0; i < m->n_functions; i++) fake_object_end(m->functions[i]);
    free(m);
}

CUresult cuModuleUnload(CUmodule handle)
{
    FAKE_BEGIN_IN_CONTEXT("%s", fake_object_name(handle));
    if (!fake_object_get(handle, FAKE_MODULE)) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    const fake_work *w = fake_pending_launch(handle);
    if (w) fake_fault("of %s, while %s of it is queued", fake_object_name(handle), w->what);
    fake_run_all();
    fake_object_end(handle);
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule handle, const char *name)
{
    FAKE_BEGIN_IN_CONTEXT("%s, %s", fake_object_name(handle), name);
    module *m = fake_object_get(handle, FAKE_MODULE);
    if (!m) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    const fake_cubin *c = &m->cubin;
    int threads = 0;
    for (int i = 0; i < c->n_kernels; i++)
        if (!strcmp(c->kernels[i], name)) threads = emu_threads(name, c->spec);
    if (!threads) {
        fake_fault("%s has no kernel %s", c->file, name);
        FAKE_RESULT(CUDA_ERROR_NOT_FOUND);
    }
    QK_ASSERT(m->n_functions < MAX_FUNCTIONS);
    function *f = qk_zalloc(1, sizeof *f);
    *f = (function){.module = handle,
                    .spec = c->spec,
                    .threads = threads,
                    .shared_limit = SHARED_WITHOUT_ASKING,
                    .has_window = c->has_window,
                    .has_soft_cap = c->has_soft_cap,
                    .has_capture = c->has_capture,
                    .padded = c->padded};
    snprintf(f->name, sizeof f->name, "%s", name);
    m->functions[m->n_functions++] = *out = fake_object_new(FAKE_FUNCTION, f);
    FAKE_RESULT(CUDA_SUCCESS);
}

/* ---- functions ---- */

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute what, int value)
{
    FAKE_BEGIN_IN_CONTEXT("%s, %d, %d", fake_object_name(handle), (int)what, value);
    function *f = fake_object_get(handle, FAKE_FUNCTION);
    if (!f) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    if (what != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
        value > fake_shared_limit()) {
        fake_fault("attribute %d of %s cannot be %d; shared memory ends at %d", (int)what, f->name,
                   value, fake_shared_limit());
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    }
    f->shared_limit = value;
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute what, CUfunction handle)
{
    FAKE_BEGIN_IN_CONTEXT("%s, %d", fake_object_name(handle), (int)what);
    const function *f = fake_object_get(handle, FAKE_FUNCTION);
    if (!f) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    const struct {
        CUfunction_attribute what;
        int value;
    } all[] = {{CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f->threads},
               {CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, 0},
               {CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, 0},
               {CU_FUNC_ATTRIBUTE_BINARY_VERSION, 10 * fake_options.major + fake_options.minor},
               {CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, f->shared_limit}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].what == what) {
            *value = all[i].value;
            FAKE_RESULT(CUDA_SUCCESS);
        }
    fake_fault("the fake does not know attribute %d", (int)what);
    FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
}

/* ---- launches ---- */

typedef struct launching {
    char name[32];
    int spec, grid_x, grid_y;
    size_t shared_bytes;
    unsigned seed;
} launching;

static void note_touched(const void *at, size_t bytes, bool write, void *work)
{
    fake_touch_address(work, (uintptr_t)at, bytes, write);
}

/* The work's args: the kernel's argument struct, and behind it what else is needed. */
static void run_kernel(fake_work *w)
{
    launching l;
    memcpy(&l, (const char *)w->args + w->args_bytes, sizeof l);
    int failure = fake_work_failure("kernel");
    if (failure) {
        fake_break((CUresult)failure, "injected");
        return;
    }
    static const emu_order orders[] = {EMU_EAGER, EMU_LAZY, EMU_LATEST};
    emu_launch e = {.kernel = l.name,
                    .spec = l.spec,
                    .grid_x = l.grid_x,
                    .grid_y = l.grid_y,
                    .shared_bytes = (l.shared_bytes + 3) / 4 * 4,
                    .args = w->args,
                    .order = orders[fake_options.order],
                    .seed = fake_options.order == FAKE_LAZY ? l.seed | 1 : 0};
    emu_result r;
    emu_run(&e, &r);
    emu_touched(note_touched, w);
    if (!r.ok) {
        fake_fault("%s", r.message);
        fake_break(CUDA_ERROR_ILLEGAL_ADDRESS, r.message);
    }
}

/* The emulated attention_v3 looks at its arguments where the build for a GPU has constants. */
static bool fits_build(const function *f, const void *args)
{
    const attention_args *a = args;
    if (strcmp(f->name, "attention_v3") != 0) return true;
    const char *wrong = NULL;
    if (f->has_window >= 0 && f->has_window != (a->window > 0)) wrong = "HAS_WINDOW";
    if (f->has_soft_cap >= 0 && f->has_soft_cap != (a->soft_cap > 0)) wrong = "HAS_SOFT_CAP";
    if (f->has_capture == 0 && (a->q.first || a->k.first)) wrong = "HAS_CAPTURE";
    if (f->padded == 0 && a->d != f->spec) wrong = "PADDED";
    if (wrong)
        fake_fault("attention_v3<%d>: window %d, soft cap %g, head size %d do not fit the build's "
                   "%s",
                   f->spec, a->window, (double)a->soft_cap, a->d, wrong);
    return !wrong;
}

static CUresult check_launch(const function *f, const unsigned grid[3], const unsigned block[3],
                             unsigned shared, void **params, void **extra)
{
    if (!grid[0] || !grid[1] || grid[2] != 1 || grid[0] > 0x7FFFFFFF || grid[1] > MAX_Y)
        fake_fault("%s: grid %u x %u x %u", f->name, grid[0], grid[1], grid[2]);
    else if (block[0] != (unsigned)f->threads || block[1] != 1 || block[2] != 1)
        fake_fault("%s: blocks of %u x %u x %u threads, and the kernel is written for %d", f->name,
                   block[0], block[1], block[2], f->threads);
    else if (shared > (unsigned)f->shared_limit)
        fake_fault("%s: %u bytes of shared memory, and only %d are allowed (cuFuncSetAttribute)",
                   f->name, shared, f->shared_limit);
    else if (!params || !params[0] || extra)
        fake_fault("%s: no arguments", f->name);
    else
        return fits_build(f, params[0]) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                        CUstream stream, void **params, void **extra)
{
    FAKE_BEGIN_IN_CONTEXT("%s, grid %u x %u, %u threads, %u bytes shared, %s",
                          fake_object_name(handle), grid_x, grid_y, block_x, shared,
                          fake_object_name(stream));
    const function *f = fake_object_get(handle, FAKE_FUNCTION);
    if (!f) FAKE_RESULT(CUDA_ERROR_INVALID_HANDLE);
    const unsigned grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    CUresult r = check_launch(f, grid, block, shared, params, extra);
    if (r) FAKE_RESULT(r);
    launching l = {.spec = f->spec,
                   .grid_x = (int)grid_x,
                   .grid_y = (int)grid_y,
                   .shared_bytes = shared,
                   .seed = fake_random()};
    memcpy(l.name, f->name, sizeof l.name);
    fake_work *w = fake_work_new("kernel", run_kernel);
    w->module = f->module;
    w->args_bytes = emu_args_bytes(f->name, f->spec);
    w->args = qk_alloc(1, w->args_bytes + sizeof l);
    memcpy(w->args, params[0], w->args_bytes);
    memcpy((char *)w->args + w->args_bytes, &l, sizeof l);
    w->what = (const char *)w->args + w->args_bytes; /* the name */
    FAKE_RESULT(fake_queue(stream, w) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE);
}
