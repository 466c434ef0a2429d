/* A GPU without a GPU: the driver API, NVRTC and cuBLASLt on top of kernels/emulator, as one shared
 * library under the names that kernels/cuda opens. It checks every call. This header is for tests
 * that link it: settings, faults, counts. The environment sets the same for whole programs:
 *
 *   FAKE_CUDA_ORDER=eager|lazy|latest  FAKE_CUDA_SEED=7     when queued work runs
 *   FAKE_CUDA_MEMORY=2147483648  FAKE_CUDA_CAPABILITY=9.0  FAKE_CUDA_DRIVER=13000
 *   FAKE_CUDA_DEVICES=1
 *   FAKE_CUDA_FAIL=cuMemAlloc_v2:3:2   the third call of that function returns error 2
 *   FAKE_CUDA_LOG=file                 a line per call and per piece of work
 *
 * next: tests/fake_cuda/README.md, then fake.h */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* When queued work runs: at once; at seeded random moments, streams in any order that events allow;
 * only when somebody waits for it, and then only what he waits for. */
typedef enum fake_order { FAKE_EAGER, FAKE_LAZY, FAKE_LATEST } fake_order;

/* As in a fresh process: no objects, no counts, the environment's settings. */
void fake_cuda_reset(void);

void fake_cuda_set_order(fake_order order, unsigned seed);
void fake_cuda_set_memory(size_t bytes);
void fake_cuda_set_capability(int major, int minor);
void fake_cuda_set_driver(int version); /* 13000: CUDA 13.0 */
void fake_cuda_set_devices(int n);
/* "NAME:N:ERROR,...": the N-th call of NAME from now on returns ERROR (0: one that fits the
 * library). A NAME of * is every call that can fail; "kernel" and "product" are pieces of work,
 * which fail when they run. NULL: nothing fails. */
void fake_cuda_set_failures(const char *what);
const char *fake_cuda_failed_call(void);  /* the name of the last one that failed so; "" for none */
void fake_cuda_set_log(const char *path); /* NULL: none; a file that exists is emptied */

/* What callers did wrong since the last call: "" or the first fault. */
const char *fake_cuda_fault(void);
uint64_t fake_cuda_fault_count(void); /* all faults since the reset */
/* Memory that was freed while queued work used it: the driver waited, as it may, not must. */
uint64_t fake_cuda_hazard_count(void);
/* "" or what still lives, and what lived when its context was released: "2 events, 1 stream". */
const char *fake_cuda_leaks(void);

/* Calls of a function since the reset; "*": those that can fail; "kernel", "product": work done. */
uint64_t fake_cuda_calls(const char *name);
uint64_t fake_cuda_bytes_to_host(void);
size_t fake_cuda_memory_used(void); /* now */
size_t fake_cuda_memory_peak(void); /* since the reset */
