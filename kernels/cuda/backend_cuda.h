/* The op table on an NVIDIA GPU of compute capability 8.0 or newer. In builds with `make CUDA=1`.
 *
 * next: kernels/cuda/backend_cuda.c */
#pragma once

#include "kernels/backend.h"

extern const qk_backend qk_backend_cuda;

/* The rung of the attention ladder that devices opened from now on use, 1..3; 0, as at the start:
 * the best. For tests and `make lab`. */
void cuda_use_rung(int rung);
