/* The kernels' sources as part of the binary, so that a program that was copied alone can compile
 * them. See compile.h.
 *
 * next: kernels/cuda/compile.c */
#include "kernels/cuda/compile.h"

/* The assembler reads the file; it is found from the repository's root, where make runs. */
#define EMBED(symbol, path)                                                                        \
    extern const char symbol[];                                                                    \
    __asm__(".section .rodata,\"a\"\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.previous");

#define HEADERS(X)                                                                                 \
    X(source_args_h, "kernels/cuda/args.h")                                                        \
    X(source_port_h, "kernels/cuda/port.h")                                                        \
    X(source_rows_h, "kernels/cuda/rows.h")                                                        \
    X(source_capture_h, "kernels/cuda/capture.h")

#define KERNELS(X)                                                                                 \
    X(source_embed, "kernels/cuda/embed.cu")                                                       \
    X(source_rmsnorm, "kernels/cuda/rmsnorm.cu")                                                   \
    X(source_glu, "kernels/cuda/glu.cu")                                                           \
    X(source_qkv_post, "kernels/cuda/qkv_post.cu")                                                 \
    X(source_experts, "kernels/cuda/experts.cu")                                                   \
    X(source_gather, "kernels/cuda/gather.cu")                                                     \
    X(source_attention_v1, "kernels/cuda/attention_v1.cu")                                         \
    X(source_attention_v2, "kernels/cuda/attention_v2.cu")                                         \
    X(source_attention_v3, "kernels/cuda/attention_v3.cu")

HEADERS(EMBED)
KERNELS(EMBED)

#define ENTRY(symbol, path) {path, symbol},
const cuda_source cuda_headers[] = {HEADERS(ENTRY){0}};
const cuda_source cuda_kernels[] = {KERNELS(ENTRY){0}};
