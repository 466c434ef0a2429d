/* The host half of the CUDA ops: it turns an op of kernels/backend.h into lists and launches. It
 * knows no driver: a cuda_machine runs the launches, and there are two of them, the GPU's and the
 * emulator's, so what the tests prove without a GPU is what runs on one.
 *
 * next: kernels/cuda/lists.c, kernels/cuda/ops.c */
#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/args.h"

typedef struct cuda_launch {
    const char *file;   /* "attention_v3": kernels/cuda/attention_v3.cu */
    const char *kernel; /* the function's name */
    const char *macro;  /* the constant that the file is specialised by, or NULL */
    int value;
    size_t grid_x, grid_y;
    size_t shared_bytes;
    const void *args;
    size_t args_bytes;
    const char *defines; /* more constants of the build, "-DPADDED=1", or NULL */
    int threads;         /* of a block; cuda_run fills it in */
} cuda_launch;

/* Device memory that outlives a layer and grows: what an op leaves for later ops. */
enum {
    SCRATCH_CHOSEN,
    SCRATCH_CHOSEN_WEIGHTS,
    SCRATCH_STARTS,
    SCRATCH_ROWS,
    SCRATCH_WEIGHTS,
    CUDA_SCRATCHES
};

typedef struct cuda_machine {
    /* Queues a launch. args may be overwritten when it returns. */
    void (*launch)(qk_device *dev, const cuda_launch *l);
    /* Memory on the device until the layer's end, filled from host memory (src NULL: not filled),
     * which may be overwritten when it returns. */
    void *(*stage)(qk_device *dev, const void *src, size_t bytes, const char *what);
    /* Queues the way of captured rows to the host: row i of `from` [n, d] becomes float32 at
     * targets[i] (NULL: nowhere), before sync returns. Takes over targets (malloc). */
    void (*deliver)(qk_device *dev, const void *from, qk_dtype dtype, size_t n, size_t d,
                    float **targets);
    /* Scratch memory on the device until this number is asked for again: at least `bytes`, not filled. */
    void *(*scratch)(qk_device *dev, int number, size_t bytes, const char *what);
    /* Waits, and copies device memory to the host; zeros when the device has failed. */
    void (*fetch)(qk_device *dev, void *dst, const void *src, size_t bytes);
} cuda_machine;

typedef struct cuda_own cuda_own;

struct qk_device {
    const cuda_machine *machine;
    cuda_own *own; /* the machine's */
    qk_dtype compute;
    int capability;  /* compute capability, 90 for 9.0 */
    int rung;        /* of the attention ladder, 1..3; 0: the best that takes the shape */
    int32_t *starts; /* of the last route, host memory */
    qk_routes routes;
};

/* ---- lists.c ---- */

/* Tiles of bm queries for all sequences and heads, *n of them, without those in which no row is
 * wanted or captured; the caller frees. All heads that
 * read one key head stand together, so that its keys stay in the L2 cache; among them the tiles
 * that see the most keys come first, and short ones fill the end. */
attention_tile *cuda_tiles(const qk_attention *p, int bm, size_t *n);

/* The copies of one kind that take rows of tokens first_row .. first_row + n_tokens - 1, as
 * kernels/cuda/args.h describes them. */
typedef struct cuda_capture {
    int *first;
    size_t n_first;
    capture_row *rows;
    size_t n_rows;
    int *base;
    size_t n_bases;
    float **targets; /* [n_out] where each captured row goes on the host */
    size_t n_out;
    float *
        *lse_targets; /* [n_out] and its log-sum-exp: NULL where it is not wanted; NULL: none is */
} cuda_capture;

/* heads: of this kind; a copy names no head twice. */
void cuda_capture_list(cuda_capture *c, const qk_row_copy *copies, size_t n_copies, int heads,
                       int d, size_t first_row, size_t n_tokens);
void cuda_capture_free(cuda_capture *c);

/* ---- ops.c: slots of the op table ---- */
void cuda_embed(qk_device *, qk_tensor, qk_tensor, const int32_t *, float);
void cuda_rmsnorm(qk_device *, qk_tensor, qk_tensor, const float *, float, bool);
void cuda_convert(qk_device *, qk_tensor, qk_tensor);
void cuda_add(qk_device *, qk_tensor, qk_tensor, const float *, float, bool, float);
void cuda_glu(qk_device *, qk_tensor, qk_tensor, qk_activation);
const qk_routes *cuda_route(qk_device *, qk_tensor, int, bool);
const int32_t *cuda_row_list(qk_device *, const int32_t *, size_t);
void cuda_take_rows(qk_device *, qk_tensor, qk_tensor, const int32_t *);
void cuda_add_rows(qk_device *, qk_tensor, qk_tensor, const int32_t *, const float *);

/* ---- ops_attention.c ---- */
void cuda_qkv_post(qk_device *, qk_tensor, qk_tensor, const qk_qkv_post *, size_t);
void cuda_attention(qk_device *, qk_tensor, qk_tensor, const qk_attention *);
void cuda_gather(qk_device *, qk_tensor, qk_heads, const qk_layer_capture *);
/* Dynamic shared memory of a kernel of the attention ladder for a padded head size, and a compute
 * capability. */
size_t cuda_attention_shared(const char *kernel, int head_dim, int capability);

/* The builds of attention_v3 whose branches are constants. */
#define V3_DEFINES(window, soft_cap, capture)                                                      \
    "-DHAS_WINDOW=" #window " -DHAS_SOFT_CAP=" #soft_cap " -DHAS_CAPTURE=" #capture " -DPADDED=0"
#define V3_PADDED "-DPADDED=1"

/* Queues a launch of `kernel` in kernels/cuda/FILE.cu. args: a struct of kernels/cuda/args.h. */
void cuda_run(qk_device *dev, const cuda_launch *l);

static inline int cuda_format(qk_dtype t)
{
    return t == QK_F32 ? KERNEL_F32 : t == QK_BF16 ? KERNEL_BF16 : KERNEL_F16;
}
