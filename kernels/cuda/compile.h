/* From kernel source to machine code: the sources are part of the binary (sources.c), a
 * specialisation is compiled by NVRTC when it is first needed, and kept on disk.
 *
 *   cubin of (file, constants, architecture)
 *     -> $CACHE/cubins/KEY.cubin                      from an earlier run
 *     -> FOLDER/cubins or FOLDER/../share/qkengine/cubins, FOLDER that of the program: `make
 * cubins`
 *     -> NVRTC, and then into the cache
 *
 * KEY is the SHA-256 of sources and options, so a change of either never meets an old cubin. It
 * does not hold NVRTC's version: a machine without NVRTC could not know it.
 *
 * next: kernels/cuda/machine.c */
#pragma once

#include <stddef.h>

#include "engine/base/mem.h"

/* One build of one file. */
typedef struct cuda_build {
    const char *file;    /* "attention_v3" */
    const char *macro;   /* "HEAD_DIM", what the file is specialised by */
    int value;           /* 128 */
    const char *defines; /* more constants: "-DPADDED=1 ...", or "" */
} cuda_build;

typedef struct cuda_source {
    const char *name; /* "kernels/cuda/attention_v3.cu" */
    const char *text; /* NUL-terminated */
} cuda_source;
extern const cuda_source cuda_headers[], cuda_kernels[]; /* end with a NULL name */
/* One file more, found like the others by its name without folder and ending; it must stay. For
 * tests of the hardware: tests/gpu. */
void cuda_add_source(const cuda_source *source);

/* All builds that the ops can ask for, for compiling them ahead and for judging them. */
const cuda_build *cuda_builds(size_t *n);

/* The cubin for an architecture ("sm_90a"); fresh: compiled anew, because the one that was kept is
 * no good. The caller frees *out. */
qk_status cuda_cubin(const cuda_build *build, const char *arch, bool fresh, qk_buf *out,
                     qk_error *err);
/* By NVRTC, whatever the caches hold. log (may be NULL): what the compiler and, with
 * --ptxas-options=-v, the assembler said. */
qk_status cuda_compile(const cuda_build *build, const char *arch, const char *more_options,
                       qk_buf *out, qk_buf *log, qk_error *err);
/* "KEY.cubin"; the caller frees. */
char *cuda_cubin_name(const cuda_build *build, const char *arch);
