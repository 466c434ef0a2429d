/* Device memory, page-locked host memory, and the copies between them.
 *
 * Device memory is a part of the address space that the host may not touch: its pages are readable
 * only while work runs, so a host that follows a device pointer dies at once. New memory holds NaN.
 * Kernels see it through the emulator, which knows where each allocation begins and ends.
 *
 * A copy reads its source when it runs. Two mistakes of callers are found whatever the order is:
 * a source that changed while its copy was queued, and (because the place is filled with NaN when
 * nothing queued still reads it) a destination that is read too early.
 *
 * next: tests/fake_cuda/context.c */
#include <stdio.h>
#include <sys/mman.h>

#include "engine/base/mem.h"
#include "kernels/emulator/emulator.h"
#include "tests/fake_cuda/fake.h"

enum { ALIGNMENT = 256, PAGE = 4096 };

typedef struct range {
    struct range *next;
    uintptr_t at;
    size_t bytes;
    void *handle;
} range;

static range *device_ranges, *host_ranges;
static char *arena; /* addresses for device memory; four times as many as memory */
static size_t arena_bytes, next_at, high; /* high: behind the last byte that was ever given out */
static size_t used, peak;
static bool is_open;
static uint64_t bytes_to_host;

/* ---- the arena ---- */

void fake_memory_open(void)
{
    if (is_open || !high) return;
    QK_ASSERT(!mprotect(arena, (high + PAGE - 1) / PAGE * PAGE, PROT_READ | PROT_WRITE));
    is_open = true;
}

void fake_memory_close(void)
{
    if (!is_open) return;
    QK_ASSERT(!mprotect(arena, (high + PAGE - 1) / PAGE * PAGE, PROT_NONE));
    is_open = false;
}

void fake_memory_reset(void)
{
    if (arena) munmap(arena, arena_bytes);
    arena = NULL;
    is_open = false;
    arena_bytes = next_at = high = used = peak = 0;
    bytes_to_host = 0;
}

static void reserve(void)
{
    if (arena) return;
    arena_bytes = (4 * fake_options.memory + PAGE) / PAGE * PAGE;
    void *p =
        mmap(NULL, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    QK_ASSERT(p != MAP_FAILED);
    arena = p;
}

/* The allocation that overlaps [at, at + bytes), or NULL. */
static range *overlapping(range *list, uintptr_t at, size_t bytes)
{
    for (range *r = list; r; r = r->next)
        if (r->at < at + bytes && at < r->at + r->bytes) return r;
    return NULL;
}

/* Goes round and round, so that addresses come back late. Between two allocations lies a gap. */
static uintptr_t find_place(size_t bytes)
{
    size_t wanted = (bytes + 2 * ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    for (int rounds = 0; rounds < 2;) {
        if (next_at + wanted > arena_bytes) {
            next_at = 0;
            rounds++;
            continue;
        }
        uintptr_t at = (uintptr_t)arena + next_at;
        const range *other = overlapping(device_ranges, at, wanted);
        next_at = other ? (other->at - (uintptr_t)arena + other->bytes + 2 * ALIGNMENT - 1) /
                              ALIGNMENT * ALIGNMENT
                        : next_at + wanted;
        if (!other) return at;
    }
    return 0;
}

/* ---- looking things up ---- */

static bool inside(range *list, uintptr_t at, size_t bytes, const char *what, const char *kind)
{
    if (!bytes) return true;
    const range *r = overlapping(list, at, 1);
    if (!r)
        fake_fault("%s: %#zx is in no %s", what, (size_t)at, kind);
    else if (bytes > r->bytes - (at - r->at))
        fake_fault("%s: %zu bytes at offset %zu of %s, which has %zu", what, bytes,
                   (size_t)(at - r->at), fake_object_name(r->handle), r->bytes);
    else
        return true;
    return false;
}

bool fake_device_range(uintptr_t at, size_t bytes, const char *what)
{
    return inside(device_ranges, at, bytes, what, "device memory");
}

bool fake_host_range(uintptr_t at, size_t bytes, const char *what)
{
    return inside(host_ranges, at, bytes, what, "page-locked memory (cuMemHostAlloc)");
}

static range *starting_at(range *list, uintptr_t at)
{
    range *r = overlapping(list, at, 1);
    return r && r->at == at ? r : NULL;
}

static void unlink_range(range **list, const range *r)
{
    while (*list != r) list = &(*list)->next;
    *list = r->next;
}

/* ---- device memory ---- */

CUresult cuMemGetInfo(size_t *left, size_t *total)
{
    FAKE_BEGIN_IN_CONTEXT("%s", "");
    *total = fake_options.memory;
    *left = fake_options.memory - used;
    FAKE_RESULT(CUDA_SUCCESS);
}

CUresult cuMemAlloc(CUdeviceptr *out, size_t bytes)
{
    FAKE_BEGIN_IN_CONTEXT("%zu bytes", bytes);
    if (!out || !bytes) {
        fake_fault("of %zu bytes", bytes);
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    }
    reserve();
    uintptr_t at = bytes <= fake_options.memory - used ? find_place(bytes) : 0;
    if (!at) FAKE_RESULT(CUDA_ERROR_OUT_OF_MEMORY);
    used += bytes;
    if (used > peak) peak = used;
    size_t end = at - (uintptr_t)arena + bytes;
    if (end > high) {
        fake_memory_close(); /* and open again, now up to here */
        high = end;
    }
    fake_memory_open();
    memset((void *)at, 0xFF, bytes);
    range *r = qk_zalloc(1, sizeof *r);
    *r = (range){device_ranges, at, bytes, fake_object_new(FAKE_DEVICE_MEMORY, r)};
    device_ranges = r;
    emu_buffer_add((void *)at, bytes, fake_object_name(r->handle), true);
    *out = at;
    FAKE_RESULT(CUDA_SUCCESS);
}

void fake_device_memory_free(void *body)
{
    range *r = body;
    unlink_range(&device_ranges, r);
    emu_buffer_remove((void *)r->at);
    uintptr_t first = (r->at + PAGE - 1) / PAGE * PAGE, end = (r->at + r->bytes) / PAGE * PAGE;
    if (end > first) madvise((void *)first, end - first, MADV_DONTNEED);
    used -= r->bytes;
    free(r);
}

CUresult cuMemFree(CUdeviceptr at)
{
    FAKE_BEGIN_IN_CONTEXT("%#llx", (unsigned long long)at);
    const range *r = starting_at(device_ranges, at);
    if (!r) {
        fake_fault("%#llx is no address that cuMemAlloc gave (or is free already)",
                   (unsigned long long)at);
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    }
    const fake_work *w = fake_pending_use(at, r->bytes, false);
    if (w) fake_hazard("of %s, which a queued %s uses", fake_object_name(r->handle), w->what);
    fake_run_all();
    fake_object_end(r->handle);
    FAKE_RESULT(fake_sticky);
}

/* ---- page-locked host memory ---- */

CUresult cuMemHostAlloc(void **out, size_t bytes, unsigned flags)
{
    FAKE_BEGIN_IN_CONTEXT("%zu bytes, flags=%u", bytes, flags);
    const unsigned known = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_WRITECOMBINED;
    if (!out || !bytes || flags & ~known) {
        fake_fault("of %zu bytes, flags %u", bytes, flags);
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    }
    void *p = bytes < SIZE_MAX / 2 ? aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE) : NULL;
    if (!p) FAKE_RESULT(CUDA_ERROR_OUT_OF_MEMORY);
    memset(p, 0xFF, bytes);
    range *r = qk_zalloc(1, sizeof *r);
    *r = (range){host_ranges, (uintptr_t)p, bytes, fake_object_new(FAKE_PINNED, r)};
    host_ranges = r;
    *out = p;
    FAKE_RESULT(CUDA_SUCCESS);
}

void fake_pinned_free(void *body)
{
    range *r = body;
    unlink_range(&host_ranges, r);
    memset((void *)r->at, 0xFF, r->bytes);
    free((void *)r->at);
    free(r);
}

CUresult cuMemFreeHost(void *p)
{
    FAKE_BEGIN_IN_CONTEXT("%p", p);
    const range *r = starting_at(host_ranges, (uintptr_t)p);
    if (!r) {
        fake_fault("%p is no address that cuMemHostAlloc gave (or is free already)", p);
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    }
    const fake_work *w = fake_pending_use(r->at, r->bytes, false);
    if (w) fake_fault("of %s, which a queued %s uses", fake_object_name(r->handle), w->what);
    fake_run_all();
    fake_object_end(r->handle);
    FAKE_RESULT(fake_sticky);
}

/* ---- copies ---- */

typedef struct copying {
    uintptr_t to, from;
    size_t bytes;
    int value;  /* of a fill */
    bool check; /* the source is host memory that nothing queued writes: it must not change */
    uint64_t check_sum;
} copying;

static void run_copy(fake_work *w)
{
    const copying *c = w->args;
    if (c->check && fake_hash(0, (void *)c->from, c->bytes) != c->check_sum)
        fake_fault("a %s runs, and its page-locked source has changed since it was queued",
                   w->what);
    memmove((void *)c->to, (void *)c->from, c->bytes);
}

static void run_fill(fake_work *w)
{
    const copying *c = w->args;
    memset((void *)c->to, c->value, c->bytes);
}

static fake_work *new_copy(const char *what, void (*run)(fake_work *), copying c)
{
    fake_work *w = fake_work_new(what, run);
    w->args = qk_alloc(1, sizeof c);
    memcpy(w->args, &c, sizeof c);
    fake_work_uses(w, c.to, c.bytes, true);
    if (c.from) fake_work_uses(w, c.from, c.bytes, false);
    return w;
}

static CUresult queue(CUstream stream, fake_work *w)
{
    return fake_queue(stream, w) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    FAKE_BEGIN_IN_CONTEXT("%zu bytes, %s", bytes, fake_object_name(stream));
    copying c = {.to = to, .from = (uintptr_t)from, .bytes = bytes};
    if (!fake_device_range(to, bytes, "destination") || !fake_host_range(c.from, bytes, "source"))
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    c.check = !fake_pending_use(c.from, bytes, true);
    if (c.check) c.check_sum = fake_hash(0, from, bytes);
    FAKE_RESULT(queue(stream, new_copy("copy to the device", run_copy, c)));
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    FAKE_BEGIN_IN_CONTEXT("%zu bytes, %s", bytes, fake_object_name(stream));
    copying c = {.to = (uintptr_t)to, .from = from, .bytes = bytes};
    if (!fake_device_range(from, bytes, "source") || !fake_host_range(c.to, bytes, "destination"))
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    bytes_to_host += bytes;
    if (!fake_pending_use(c.to, bytes, false)) memset(to, 0xFF, bytes);
    FAKE_RESULT(queue(stream, new_copy("copy to the host", run_copy, c)));
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    FAKE_BEGIN_IN_CONTEXT("%zu bytes, %s", bytes, fake_object_name(stream));
    copying c = {.to = to, .from = from, .bytes = bytes};
    if (!fake_device_range(to, bytes, "destination") || !fake_device_range(from, bytes, "source"))
        FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    FAKE_RESULT(queue(stream, new_copy("copy on the device", run_copy, c)));
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream)
{
    FAKE_BEGIN_IN_CONTEXT("%zu bytes, %s", bytes, fake_object_name(stream));
    if (!fake_device_range(to, bytes, "destination")) FAKE_RESULT(CUDA_ERROR_INVALID_VALUE);
    copying c = {.to = to, .bytes = bytes, .value = value};
    FAKE_RESULT(queue(stream, new_copy("fill", run_fill, c)));
}

/* ---- for tests ---- */

uint64_t fake_cuda_bytes_to_host(void)
{
    return bytes_to_host;
}

size_t fake_cuda_memory_used(void)
{
    return used;
}

size_t fake_cuda_memory_peak(void)
{
    return peak;
}
