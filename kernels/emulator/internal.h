/* What the files of the emulator share: threads, meetings, shadows.
 *
 * next: kernels/emulator/launch.c */
#pragma once

#include "kernels/cuda/port.h"
#include "kernels/emulator/emulator.h"

enum { MAX_THREADS = 1024, MAX_WARPS = MAX_THREADS / WARP, MAX_COPIES = 512 };

/* ---- who touched a place last ----
 *
 * A barrier orders what came before it, in the threads that took part, before what comes after.
 * Each thread counts its barriers (clock) and knows for every warp up to which clock that warp's
 * doings are visible to it (thread.seen). Inside a warp, sync_warp and barriers count as epochs. */
typedef struct stamp {
    u32 block; /* serial number over all launches; 0: nobody */
    u32 clock, epoch;
    u16 thread;
    u16 many; /* other lanes of the warp did the same in this epoch */
} stamp;

typedef struct shadow {
    stamp write, read;
    stamp other_read; /* the last read by another warp than `read` */
} shadow;

typedef struct copy {
    u32 to;
    const void *from;
    int valid, group;
} copy;

typedef struct thread {
    void *stack_pointer;
    char *stack;
    int id, warp, lane;
    bool alive;
    const u32 *wait_on; /* runs when *wait_on differs from wait_value; NULL: runs */
    u32 wait_value;
    const char *waits_for;
    u32 seen[MAX_WARPS]; /* seen[own warp] is its clock */
    u32 epoch;
    copy copies[MAX_COPIES];
    int n_copies, group;
} thread;

/* n threads meet; the last one opens the gate for the others by counting the generation up. */
typedef struct meeting {
    u32 generation;
    int arrived;
    const char *what;
    u32 seen[2][MAX_WARPS]; /* of all that arrived, for even and odd generations */
} meeting;

typedef struct block_state {
    thread *threads;
    int n_threads, x, y;
    u32 serial;
    meeting all, named[16], warp[MAX_WARPS];
} block_state;

extern block_state emu_block;
extern thread *emu_thread; /* the one that runs */

/* ---- launch.c ---- */
/* Ends the launch with a message "kernel<spec>: block (x, y) thread t: ...". Does not return. */
void emu_fault(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Back to the scheduler until *gate differs from value. */
void emu_wait(const u32 *gate, u32 value, const char *what);
void emu_progress(void); /* somebody was let through: this is no deadlock */
u32 emu_random(void);
emu_order emu_copy_order(void);
u32 emu_first_block(void); /* serial number of the launch's first block */
void emu_count_conflicts(int n);
void emu_count_product(void);

/* ---- fiber.c ---- */
/* Stores where we are in *save and goes on at `to`. */
void emu_switch(void **save, void *to);
/* A stack pointer that starts `entry` when it is switched to; it must never return. */
void *emu_stack_for(char *stack, size_t bytes, void (*entry)(void));

/* ---- sync.c ---- */
/* The 32 threads of the running thread's warp meet; true for the last one, which then does the
 * work for all and calls emu_warp_leave. The others return, with false, when it has done so. */
bool emu_warp_meet(const char *what);
void emu_warp_leave(void);
int emu_warp_first(void); /* thread number of lane 0 of the running warp */
void emu_sync_reset(void);

/* ---- shadow.c ---- */
/* Note an access by t; NULL, or what is wrong with it, in a static buffer. */
const char *emu_shadow_read(shadow *s, const thread *t, bool whole_warp);
const char *emu_shadow_write(shadow *s, const thread *t);

/* ---- shared.c ---- */
void emu_shared_open(size_t bytes);
void emu_shared_reset(void); /* a new block */
/* Checks a read of n bytes at `at` by thread t and returns where they are. */
const u8 *emu_shared_read(u32 at, u32 n, const thread *t, bool whole_warp, const char *what);
void emu_copies_land_randomly(thread *t);

/* ---- global.c ---- */
/* Checks that `bytes` at p lie in one buffer, aligned to `align`, and notes the access. */
void emu_global_read(const void *p, u32 bytes, u32 align, const char *what);
void emu_global_write(const void *p, u32 bytes, u32 align, const char *what);
