/* Every specialisation of every kernel file: one list for the host, for compiling ahead, and for
 * the test that reads what the assembler says about each.
 *
 * next: kernels/cuda/compile.c */
#include "kernels/cuda/compile.h"
#include "kernels/cuda/cuda.h"

#define VEC(file)                                                                                  \
    {file, "VEC", 1, ""},                                                                          \
    {                                                                                              \
        file, "VEC", 4, ""                                                                         \
    }
#define FORMAT(file)                                                                               \
    {file, "FORMAT", KERNEL_F32, ""},                                                              \
    {                                                                                              \
        file, "FORMAT", KERNEL_BF16, ""                                                            \
    }
#define V2(dim)                                                                                    \
    {                                                                                              \
        "attention_v2", "HEAD_DIM", dim, ""                                                        \
    }
#define V3(dim, defines)                                                                           \
    {                                                                                              \
        "attention_v3", "HEAD_DIM", dim, defines                                                   \
    }
#define V3_ALL(dim)                                                                                \
    V3(dim, V3_DEFINES(0, 0, 0)), V3(dim, V3_DEFINES(0, 0, 1)), V3(dim, V3_DEFINES(0, 1, 0)),      \
        V3(dim, V3_DEFINES(0, 1, 1)), V3(dim, V3_DEFINES(1, 0, 0)), V3(dim, V3_DEFINES(1, 0, 1)),  \
        V3(dim, V3_DEFINES(1, 1, 0)), V3(dim, V3_DEFINES(1, 1, 1)), V3(dim, V3_PADDED)

static const cuda_build builds[] = {
    VEC("embed"),
    VEC("rmsnorm"),
    VEC("glu"),
    VEC("qkv_post"),
    VEC("experts"),
    FORMAT("gather"),
    FORMAT("attention_v1"),
    V2(64),
    V2(80),
    V2(96),
    V2(128),
    V2(256),
    V3_ALL(64),
    V3_ALL(80),
    V3_ALL(96),
    V3_ALL(128),
    V3_ALL(256),
};

const cuda_build *cuda_builds(size_t *n)
{
    *n = sizeof builds / sizeof *builds;
    return builds;
}
