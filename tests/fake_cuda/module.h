/* What stands in a "cubin" of the fake NVRTC: text that names a source file and its constants.
 *
 *   fake cubin\narch sm_90a\nfile kernels/cuda/glu.cu\nspec 4\nconstants -1 -1 -1 -1\n
 *   kernel glu\nkernel convert\nsum 0123456789abcdef\n\0     sum: fake_hash of all before it
 *
 * next: tests/fake_cuda/nvrtc.c */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { FAKE_MOST_KERNELS = 32 }; /* of one file */

typedef struct fake_cubin {
    char arch[16], file[80];
    int spec;
    int has_window, has_soft_cap, has_capture, padded; /* -1: not said */
    char kernels[FAKE_MOST_KERNELS][32];
    int n_kernels;
} fake_cubin;

/* The text; the caller frees. *bytes with the final NUL. */
char *fake_cubin_write(const fake_cubin *c, size_t *bytes);
/* False when it is anything else or damaged. */
bool fake_cubin_read(fake_cubin *c, const void *image);
