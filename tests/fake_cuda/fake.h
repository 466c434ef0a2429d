/* What the files of the fake GPU share. One lock guards everything: fake_enter takes it, fake_end
 * gives it back, and in between a call may run any queued work.
 *
 * next: tests/fake_cuda/state.c, objects.c, queue.c, races.c, memory.c, context.c, module.c,
 * nvrtc.c, cublaslt.c */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cuda.h>

#include "engine/base/error.h"
#include "tests/fake_cuda/fake_cuda.h"

/* ---- state.c: settings, calls, faults ---- */

typedef struct fake_settings {
    fake_order order;
    unsigned seed;
    size_t memory;
    int major, minor, driver, devices;
} fake_settings;
extern fake_settings fake_options;

/* The error that every later call returns: a kernel went wrong. */
extern CUresult fake_sticky;

/* Takes the lock: before the arguments of fake_begin are worked out, which may name objects. */
void fake_enter(void);
/* Begins an exported call: counts, notes its arguments. Returns 0, or the error that
 * somebody wants it to return (then the call ends at once; calls that destroy do their work
 * first, and fake_end returns it). */
int fake_begin(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for calls that cannot fail. */
void fake_begin_sure(const char *name);
/* Whether the call of this name destroys something and `wrong` only says that a kernel failed. */
bool fake_destroys(const char *name, int wrong);
int fake_end(int result);
/* The caller made a mistake; "CALL: " is put before it. */
void fake_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fake_hazard(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Notes what dies with its context, as a leak. */
void fake_context_leaks(void);
void fake_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The error that a piece of work ("kernel", "product") shall end with, or 0. */
int fake_work_failure(const char *name);
/* The current piece of work went wrong: everything after it fails. */
void fake_break(CUresult error, const char *message);
uint32_t fake_random(void);
uint64_t fake_hash(uint64_t hash, const void *data, size_t n); /* begin with 0 */

/* ---- objects.c: everything that a caller holds a handle of ---- */

typedef enum fake_kind {
    FAKE_STREAM,
    FAKE_EVENT,
    FAKE_MODULE,
    FAKE_FUNCTION,
    FAKE_DEVICE_MEMORY,
    FAKE_PINNED,
    FAKE_BLAS,
    FAKE_BOUND_KINDS, /* up to here they die with their context */
    FAKE_PROGRAM = FAKE_BOUND_KINDS,
    FAKE_DESC,
    FAKE_LAYOUT,
    FAKE_PREFERENCE,
    FAKE_KINDS
} fake_kind;

/* A handle is no address: following it ends the program. */
void *fake_object_new(fake_kind kind, void *body);
/* The body; NULL, with a fault, when it is no living object of that kind. */
void *fake_object_get(const void *handle, fake_kind kind);
/* "stream 2", of whatever the handle is; in one of a few static buffers. */
const char *fake_object_name(const void *handle);
/* Forgets it and frees its body as its kind wants it. */
void fake_object_end(const void *handle);
void fake_objects_end(fake_kind first, fake_kind end);
void fake_objects_reset(void); /* ends all, and numbers begin anew */
/* How many live, in words; "" for none. */
void fake_objects_count(fake_kind first, fake_kind end, char *text, size_t capacity);

/* How each kind's body is freed. */
void fake_stream_free(void *body);
void fake_event_free(void *body);
void fake_module_free(void *body);
void fake_device_memory_free(void *body);
void fake_pinned_free(void *body);
void fake_program_free(void *body);

/* ---- queue.c: streams, events, work ---- */

/* How far each stream had come, in pieces of work: what is counted here came before. */
enum { FAKE_STREAMS = 16 };
typedef struct fake_clock {
    uint32_t tick[FAKE_STREAMS];
} fake_clock;

typedef struct fake_use {
    uintptr_t at;
    size_t bytes;
    bool write;
} fake_use;

typedef struct fake_work {
    struct fake_work *next;
    const char *what;                /* "copy to the device", a kernel's name */
    void (*run)(struct fake_work *); /* may call fake_break */
    struct fake_mark *records, *waits;
    fake_use uses[5]; /* memory that it touches, device and host alike */
    int n_uses;
    int slot; /* of its stream */
    fake_clock clock;
    const void *module; /* handle, of a launch */
    void *args;         /* freed afterwards; a kernel's are searched for addresses */
    size_t args_bytes;
} fake_work;

fake_work *fake_work_new(const char *what, void (*run)(fake_work *));
void fake_work_uses(fake_work *w, uintptr_t at, size_t bytes, bool write);
/* Queues it; false, with a fault, when there is no such stream (then w is freed). */
bool fake_queue(CUstream stream, fake_work *w);
/* Work that has not run and touches [at, at + bytes), or writes it; NULL: none. */
const fake_work *fake_pending_use(uintptr_t at, size_t bytes, bool writes_only);
const fake_work *fake_pending_launch(const void *module);
void fake_run_some(void); /* what the order allows after a call */
void fake_run_all(void);

/* ---- races.c ---- */

/* Who touched the pieces of an allocation last, for `bytes` of it; free() frees it. */
typedef struct fake_history fake_history;
fake_history *fake_history_new(size_t bytes);
/* w touches [offset, offset + bytes): a fault when other work did and nothing orders the two. */
void fake_touch(const fake_work *w, fake_history *h, size_t offset, size_t bytes, bool write,
                const char *name);

/* ---- memory.c ---- */

/* The same for an address of any allocation. */
void fake_touch_address(const fake_work *w, uintptr_t at, size_t bytes, bool write);

/* Whether [at, at + bytes) lies in one living allocation; else a fault that names `what`. */
bool fake_device_range(uintptr_t at, size_t bytes, const char *what);
bool fake_host_range(uintptr_t at, size_t bytes, const char *what);
/* Device memory is touched between these two only; close is called by fake_end. */
void fake_memory_open(void);
void fake_memory_close(void);
void fake_memory_reset(void);

/* ---- context.c ---- */

/* CUDA_SUCCESS, or why the calling thread cannot work: no context, or what went wrong before. */
CUresult fake_context(void);
void fake_context_reset(void);
/* "sm_90a" of the device is what a cubin for it may say. */
bool fake_runs_on_device(const char *arch);
int fake_shared_limit(void); /* most dynamic shared memory of a block, bytes */

/* ---- for the exported calls ---- */

#define FAKE_RESULT(r) return (CUresult)fake_end(r)
#define FAKE_BEGIN(...)                                                                            \
    do {                                                                                           \
        fake_enter();                                                                              \
        int injected_ = fake_begin(__func__, __VA_ARGS__);                                         \
        if (injected_) FAKE_RESULT(injected_);                                                     \
    } while (0)
/* Calls that need the context of their thread. After a kernel went wrong all of them fail; those
 * that destroy do so all the same. */
#define FAKE_BEGIN_IN_CONTEXT(...)                                                                 \
    do {                                                                                           \
        FAKE_BEGIN(__VA_ARGS__);                                                                   \
        CUresult wrong_ = fake_context();                                                          \
        if (wrong_ && !fake_destroys(__func__, wrong_)) FAKE_RESULT(wrong_);                       \
    } while (0)
