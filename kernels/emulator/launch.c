/* The emulator's launch: blocks one after another, in each the warps take turns.
 *
 * A turn runs every thread of a warp until it waits or ends. When a whole round lets nobody
 * through, the block is deadlocked. Seeds turn the order of warps and lanes around and let warps
 * miss rounds, so that a warp may be far ahead of another.
 *
 * next: kernels/emulator/sync.c */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "kernels/emulator/internal.h"

enum { STACK_BYTES = 128 * 1024, MAX_KERNELS = 256 };

typedef struct kernel {
    const char *name;
    int spec, threads;
    size_t args_bytes;
    void (*run)(const void *args);
} kernel;

static kernel kernels[MAX_KERNELS];
static int n_kernels;

block_state emu_block;
thread *emu_thread;
static const emu_launch *launch;
static const kernel *running;
static emu_result *result;
static void *scheduler;
static u64 progress;
static u32 random_state, next_serial = 1, first_serial;

/* ---- the list of kernels ---- */

void emu_register(const char *name, int spec, int threads, size_t args_bytes,
                  void (*run)(const void *args))
{
    QK_ASSERT(n_kernels < MAX_KERNELS && threads % WARP == 0 && threads <= MAX_THREADS);
    kernels[n_kernels++] = (kernel){name, spec, threads, args_bytes, run};
}

static const kernel *find(const char *name, int spec)
{
    for (int i = 0; i < n_kernels; i++)
        if (!strcmp(kernels[i].name, name) && kernels[i].spec == spec) return &kernels[i];
    return NULL;
}

int emu_threads(const char *name, int spec)
{
    const kernel *k = find(name, spec);
    return k ? k->threads : 0;
}

size_t emu_args_bytes(const char *name, int spec)
{
    const kernel *k = find(name, spec);
    return k ? k->args_bytes : 0;
}

/* ---- for the other files ---- */

static void put_message(const char *format, va_list args)
{
    char text[300];
    vsnprintf(text, sizeof text, format, args);
    snprintf(result->message, sizeof result->message, "%s<%d>: block (%d, %d) thread %d: %s",
             running->name, running->spec, emu_block.x, emu_block.y, emu_thread->id, text);
    result->ok = false;
}

void emu_fault(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_message(format, args);
    va_end(args);
    for (;;) emu_switch(&emu_thread->stack_pointer, scheduler); /* never chosen again */
}

void emu_wait(const u32 *gate, u32 value, const char *what)
{
    emu_thread->wait_on = gate;
    emu_thread->wait_value = value;
    emu_thread->waits_for = what;
    emu_switch(&emu_thread->stack_pointer, scheduler);
}

void emu_progress(void)
{
    progress++;
}

u32 emu_random(void) /* Marsaglia, 2003: xorshift */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

emu_order emu_copy_order(void)
{
    return launch->order;
}

u32 emu_first_block(void)
{
    return first_serial;
}

void emu_count_conflicts(int n)
{
    result->bank_conflicts += (u64)n;
}

void emu_count_product(void)
{
    result->tensor_products++;
}

int thread_id(void)
{
    return emu_thread->id;
}
int block_id(void)
{
    return emu_block.x;
}
int block_id_y(void)
{
    return emu_block.y;
}

/* ---- one block ---- */

static void thread_main(void)
{
    running->run(launch->args);
    if (emu_thread->n_copies) emu_fault("ends with asynchronous copies that it never waited for");
    emu_thread->alive = false;
    emu_progress();
    for (;;) emu_switch(&emu_thread->stack_pointer, scheduler);
}

static void start_threads(void)
{
    for (int i = 0; i < emu_block.n_threads; i++) {
        thread *t = &emu_block.threads[i];
        char *stack = t->stack ? t->stack : malloc(STACK_BYTES);
        QK_ASSERT(stack);
        t->stack = stack;
        t->id = i;
        t->warp = i / WARP;
        t->lane = i % WARP;
        t->alive = true;
        t->wait_on = NULL;
        t->n_copies = t->group = 0;
        t->epoch = 1;
        memset(t->seen, 0, sizeof t->seen);
        t->seen[t->warp] = 1;
        t->stack_pointer = emu_stack_for(stack, STACK_BYTES, thread_main);
    }
    emu_sync_reset();
    emu_shared_reset();
}

/* Runs each thread of a warp that can run; false: none is alive. */
static bool run_warp(int warp)
{
    bool alive = false;
    int turn = launch->seed ? (int)(emu_random() % WARP) : 0;
    for (int l = 0; l < WARP && result->ok; l++) {
        thread *t = &emu_block.threads[warp * WARP + (l + turn) % WARP];
        alive |= t->alive;
        if (!t->alive || (t->wait_on && *t->wait_on == t->wait_value)) continue;
        t->wait_on = NULL;
        emu_thread = t;
        if (launch->order == EMU_LAZY) emu_copies_land_randomly(t);
        emu_switch(&scheduler, t->stack_pointer);
    }
    return alive;
}

static void report_deadlock(void)
{
    char list[200] = "";
    size_t used = 0;
    for (int i = 0; i < emu_block.n_threads; i++) {
        thread *t = &emu_block.threads[i];
        if (t->lane && t[-1].alive == t->alive && t[-1].waits_for == t->waits_for) continue;
        used += (size_t)snprintf(list + used, sizeof list - used, " thread %d %s;", i,
                                 t->alive ? t->waits_for : "has ended");
        if (used >= sizeof list) break;
    }
    snprintf(result->message, sizeof result->message, "%s<%d>: block (%d, %d): deadlock:%s",
             running->name, running->spec, emu_block.x, emu_block.y, list);
    result->ok = false;
}

static void run_block(int x, int y)
{
    emu_block.x = x;
    emu_block.y = y;
    emu_block.serial = next_serial++;
    start_threads();
    int warps = emu_block.n_threads / WARP;
    for (bool alive = true; alive && result->ok;) {
        u64 before = progress;
        bool skipped = false;
        int turn = launch->seed ? (int)(emu_random() % (u32)warps) : 0;
        alive = false;
        for (int w = 0; w < warps && result->ok; w++) {
            if (launch->seed && emu_random() % 4 == 0) {
                skipped = alive = true;
                continue;
            }
            alive |= run_warp((w + turn) % warps);
        }
        if (alive && result->ok && progress == before && !skipped) report_deadlock();
    }
}

/* Threads are kept from launch to launch: their stacks are what costs. */
static thread *all_threads(void)
{
    static thread *threads;
    if (!threads) threads = calloc(MAX_THREADS, sizeof *threads);
    QK_ASSERT(threads);
    return threads;
}

void emu_run(const emu_launch *l, emu_result *r)
{
    launch = l;
    result = r;
    *r = (emu_result){.ok = true};
    running = find(l->kernel, l->spec);
    if (!running) qk_fatal("the emulator has no kernel %s<%d>", l->kernel, l->spec);
    random_state = l->seed * 2654435761u + 12345;
    if (!random_state) random_state = 1;
    emu_block.threads = all_threads();
    emu_block.n_threads = running->threads;
    first_serial = next_serial;
    emu_shared_open(l->shared_bytes);
    for (int y = 0; y < l->grid_y && r->ok; y++)
        for (int x = 0; x < l->grid_x && r->ok; x++) run_block(x, y);
}
