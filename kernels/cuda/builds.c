/* Every specialisation of every kernel file: one list for compiling ahead, and for the test that
 * reads what the assembler says about each.
 *
 * next: kernels/cuda/compile.c */
#include "kernels/cuda/compile.h"
#include "kernels/cuda/cuda.h"

static const char *const plain[] = {"", NULL};
static const char *const v3[] = {V3_DEFINES(0, 0, 0), V3_DEFINES(0, 0, 1),
                                 V3_DEFINES(0, 1, 0), V3_DEFINES(0, 1, 1),
                                 V3_DEFINES(1, 0, 0), V3_DEFINES(1, 0, 1),
                                 V3_DEFINES(1, 1, 0), V3_DEFINES(1, 1, 1),
                                 V3_PADDED,           NULL};

enum { MAX_BUILDS = 128 };

/* A file is built for every value times every list of defines. */
static const struct {
    const char *file, *macro;
    int n_values, values[5];
    const char *const *defines;
} files[] = {
    {"embed", "VEC", 2, {1, 4}, plain},
    {"rmsnorm", "VEC", 2, {1, 4}, plain},
    {"glu", "VEC", 2, {1, 4}, plain},
    {"qkv_post", "VEC", 2, {1, 4}, plain},
    {"experts", "VEC", 2, {1, 4}, plain},
    {"gather", "FORMAT", 2, {KERNEL_F32, KERNEL_BF16}, plain},
    {"attention_v1", "FORMAT", 2, {KERNEL_F32, KERNEL_BF16}, plain},
    {"attention_v2", "HEAD_DIM", 5, {64, 80, 96, 128, 256}, plain},
    {"attention_v2", "HEAD_DIM_F32", 4, {64, 80, 96, 128}, plain},
    {"attention_v3", "HEAD_DIM", 5, {64, 80, 96, 128, 256}, v3},
};

const cuda_build *cuda_builds(size_t *n)
{
    static cuda_build builds[MAX_BUILDS];
    *n = 0;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++)
        for (int v = 0; v < files[f].n_values; v++)
            for (const char *const *d = files[f].defines; *d; d++) {
                QK_ASSERT(*n < MAX_BUILDS);
                builds[(*n)++] =
                    (cuda_build){files[f].file, files[f].macro, files[f].values[v], *d};
            }
    return builds;
}
