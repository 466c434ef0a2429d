/* Runs CUDA kernels on the CPU, one block after another, every thread a fiber, and checks what no
 * GPU would tell: that each access is ordered by a barrier, that copies have been waited for, that
 * addresses are aligned and inside a buffer.
 *
 * What is checked, always and exactly (not by luck of a schedule):
 *
 *   race           two threads touch the same bytes, one writes, no barrier orders them: in shared
 *                  memory, in global memory, and between blocks, which nothing orders
 *   missing wait   bytes of an asynchronous copy are touched before copy_wait
 *   uninitialised  shared memory is read that nobody wrote
 *   bounds         an address is in no buffer, or misaligned, or a store goes to a read-only buffer
 *   deadlock       nobody can run; says what each warp waits for
 *   split warp     threads of a warp meet at different instructions
 *
 * What a schedule decides on top: the order of warps and lanes, and when asynchronous copies land.
 * Until then their destination holds NaN.
 *
 * What it cannot see: a misreading of the hardware's manual that kernel and emulator share, speed,
 * registers. The first needs one test per primitive on a real GPU.
 *
 * next: kernels/emulator/internal.h, then launch.c, sync.c, shadow.c, shared.c, global.c, tensor.c
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When an asynchronous copy lands: at once, at a random moment, or at the last one allowed. */
typedef enum emu_order { EMU_EAGER, EMU_LAZY, EMU_LATEST } emu_order;

typedef struct emu_launch {
    const char *kernel;
    int spec; /* QK_SPEC of the build that is meant */
    int grid_x, grid_y;
    size_t shared_bytes;
    const void *args;
    emu_order order;
    unsigned seed; /* 0: warps and lanes in order */
} emu_launch;

typedef struct emu_result {
    bool ok;
    char message[400]; /* the first fault: kernel, block, thread, buffer */
    /* Over the whole launch: how often two of the 8 rows of an ldmatrix matrix lay in the same
     * banks, and each such pair costs a trip to shared memory. */
    uint64_t bank_conflicts;
    uint64_t tensor_products; /* mma instructions */
} emu_result;

/* Runs a kernel; result->ok is false when something was wrong, and the launch stops there. */
void emu_run(const emu_launch *launch, emu_result *result);
/* Threads of a block of this kernel; 0: there is no such kernel. */
int emu_threads(const char *kernel, int spec);
/* Bytes of its argument struct. */
size_t emu_args_bytes(const char *kernel, int spec);

/* Global memory that kernels may touch. The memory stays the caller's. */
void emu_buffer_add(const void *data, size_t bytes, const char *name, bool writable);
void emu_buffer_remove(const void *data);

/* What launches read and wrote since the last call, in pieces of at most EMU_GRANULE bytes counted
 * from the start of each buffer. An access is noted where it begins. */
enum { EMU_GRANULE = 256 };
void emu_touched(void (*each)(const void *at, size_t bytes, bool write, void *more), void *more);
