/* CUDA ops that walk along rows: arguments, grids, shared memory. The kernels say what they
 * compute.
 *
 * next: kernels/cuda/ops_attention.c */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

enum { ROW_WARPS = 8 /* kernels/cuda/rmsnorm.cu */, ROUTE_WARPS = 4 /* experts.cu */ };

/* Threads of a block, as KERNEL() says in the kernel's file. */
static int threads_of(const char *kernel)
{
    static const struct {
        const char *kernel;
        int threads;
    } all[] = {{"embed", 256},        {"rmsnorm", 256},
               {"add", 256},          {"glu", 256},
               {"convert", 256},      {"qkv_post", 128},
               {"route_choose", 128}, {"route_sort", 128},
               {"take_rows", 128},    {"add_rows", 128},
               {"gather", 32},        {"attention_v1", 128},
               {"attention_v2", 256}, {"attention_v2_f32", 256},
               {"attention_v3", 128}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].kernel, kernel)) return all[i].threads;
    qk_fatal("nobody knows how many threads a block of %s has", kernel);
}

void cuda_run(qk_device *dev, const cuda_launch *l)
{
    if (!l->grid_x || !l->grid_y) return;
    cuda_launch whole = *l;
    whole.threads = threads_of(l->kernel);
    if (!l->defines) whole.defines = "";
    dev->machine->launch(dev, &whole);
}

/* One block per row. */
static void run_rows(qk_device *dev, const char *file, const char *kernel, int vec, size_t rows,
                     size_t shared_bytes, const void *args, size_t args_bytes)
{
    cuda_run(dev, &(cuda_launch){.file = file,
                                 .kernel = kernel,
                                 .macro = "VEC",
                                 .value = vec,
                                 .grid_x = rows,
                                 .grid_y = 1,
                                 .shared_bytes = shared_bytes,
                                 .args = args,
                                 .args_bytes = args_bytes});
}

/* Whether a row can be moved 4 elements at a time. */
static bool by_four(qk_tensor t)
{
    return t.cols % 4 == 0 && t.stride % 4 == 0 &&
           (uintptr_t)t.data % (4 * qk_dtype_size(t.dtype)) == 0;
}

static int vec_of(qk_tensor a, qk_tensor b)
{
    return by_four(a) && by_four(b) ? 4 : 1;
}

void cuda_embed(qk_device *dev, qk_tensor x, qk_tensor table, const int32_t *ids, float scale)
{
    for (size_t t = 0; t < x.rows; t++) QK_ASSERT(ids[t] >= 0 && (size_t)ids[t] < table.rows);
    embed_args a = {
        .x = x.data,
        .table = table.data,
        .ids = dev->machine->stage(dev, ids, x.rows * sizeof *ids, "token ids"),
        .x_stride = (long long)x.stride,
        .table_stride = (long long)table.stride,
        .D = (int)x.cols,
        .table_format = cuda_format(table.dtype),
        .round_to = cuda_format(dev->compute),
        .scale = scale,
    };
    run_rows(dev, "embed", "embed", vec_of(x, table), x.rows, 0, &a, sizeof a);
}

void cuda_rmsnorm(qk_device *dev, qk_tensor y, qk_tensor x, const float *w, float eps,
                  bool plus_one)
{
    QK_ASSERT(x.dtype == QK_F32 && y.dtype != QK_F16 && x.cols == y.cols);
    rmsnorm_args a = {y.data,
                      x.data,
                      w,
                      (long long)y.stride,
                      (long long)x.stride,
                      (int)x.cols,
                      cuda_format(y.dtype),
                      eps,
                      plus_one ? 1 : 0};
    run_rows(dev, "rmsnorm", "rmsnorm", vec_of(y, x), x.rows, 4 * (ROW_WARPS + x.cols), &a,
             sizeof a);
}

void cuda_convert(qk_device *dev, qk_tensor y, qk_tensor x)
{
    QK_ASSERT(x.dtype == QK_F32 && y.dtype != QK_F16 && x.cols == y.cols);
    convert_args a = {y.data,
                      x.data,
                      (long long)y.stride,
                      (long long)x.stride,
                      (int)x.cols,
                      cuda_format(y.dtype)};
    run_rows(dev, "glu", "convert", vec_of(y, x), x.rows, 0, &a, sizeof a);
}

void cuda_add(qk_device *dev, qk_tensor x, qk_tensor y, const float *w, float eps, bool plus_one,
              float scale)
{
    QK_ASSERT(x.dtype == QK_F32 && y.dtype == QK_F32 && x.cols == y.cols);
    add_args a = {
        x.data, y.data,           w,    (long long)x.stride, (long long)y.stride, (int)x.cols,
        eps,    plus_one ? 1 : 0, scale};
    run_rows(dev, "rmsnorm", "add", vec_of(x, y), x.rows, w ? 4 * (ROW_WARPS + x.cols) : 0, &a,
             sizeof a);
}

void cuda_glu(qk_device *dev, qk_tensor y, qk_tensor g, qk_activation act)
{
    QK_ASSERT(g.cols == 2 * y.cols && g.dtype == QK_F32 && y.dtype != QK_F16);
    static const int number[] = {[QK_SILU] = 0, [QK_GELU] = 1, [QK_GELU_TANH] = 2};
    glu_args a = {y.data,
                  g.data,
                  (long long)y.stride,
                  (long long)g.stride,
                  (int)y.cols,
                  cuda_format(y.dtype),
                  number[act]};
    run_rows(dev, "glu", "glu", vec_of(y, g), y.rows, 0, &a, sizeof a);
}

/* ---- mixture of experts ---- */

const qk_routes *cuda_route(qk_device *dev, qk_tensor logits, int top_k, bool renormalise)
{
    size_t T = logits.rows, E = logits.cols, pairs = T * (size_t)top_k;
    QK_ASSERT(logits.dtype == QK_F32 && top_k >= 1 && (size_t)top_k <= E);
    const cuda_machine *m = dev->machine;
    route_args a = {
        .logits = logits.data,
        .stride = (long long)logits.stride,
        .T = (int)T,
        .experts = (int)E,
        .top_k = top_k,
        .renormalise = renormalise,
        .chosen = m->scratch(dev, SCRATCH_CHOSEN, pairs * sizeof(int), "chosen experts"),
        .chosen_weights = m->scratch(dev, SCRATCH_CHOSEN_WEIGHTS, pairs * sizeof(float),
                                     "weights of chosen experts"),
        .starts =
            m->scratch(dev, SCRATCH_STARTS, (E + 1) * sizeof(int), "first pair of each expert"),
        .rows = m->scratch(dev, SCRATCH_ROWS, pairs * sizeof(int), "rows of experts"),
        .weights = m->scratch(dev, SCRATCH_WEIGHTS, pairs * sizeof(float), "weights of experts"),
    };
    cuda_launch l = {.file = "experts",
                     .macro = "VEC",
                     .value = 4,
                     .grid_y = 1,
                     .args = &a,
                     .args_bytes = sizeof a};
    l.kernel = "route_choose";
    l.grid_x = (T + ROUTE_WARPS - 1) / ROUTE_WARPS;
    l.shared_bytes = 4 * ROUTE_WARPS * E;
    cuda_run(dev, &l);
    l.kernel = "route_sort";
    l.grid_x = E;
    l.shared_bytes = 4 * ROUTE_WARPS;
    cuda_run(dev, &l);
    dev->starts = qk_realloc(dev->starts, E + 1, sizeof *dev->starts);
    m->fetch(dev, dev->starts, a.starts, (E + 1) * sizeof *dev->starts);
    dev->routes = (qk_routes){dev->starts, a.rows, a.weights};
    return &dev->routes;
}

const int32_t *cuda_row_list(qk_device *dev, const int32_t *rows, size_t n)
{
    return dev->machine->stage(dev, rows, n * sizeof *rows, "rows that go on");
}

void cuda_take_rows(qk_device *dev, qk_tensor y, qk_tensor x, const int32_t *rows)
{
    QK_ASSERT(x.dtype == y.dtype && x.cols == y.cols);
    take_rows_args a = {y.data,
                        x.data,
                        rows,
                        (long long)y.stride,
                        (long long)x.stride,
                        (int)x.cols,
                        cuda_format(x.dtype)};
    run_rows(dev, "experts", "take_rows", vec_of(y, x), y.rows, 0, &a, sizeof a);
}

void cuda_add_rows(qk_device *dev, qk_tensor x, qk_tensor y, const int32_t *rows,
                   const float *weights)
{
    QK_ASSERT(x.dtype == QK_F32 && y.dtype == QK_F32 && x.cols == y.cols);
    add_rows_args a = {x.data,     y.data, rows, weights, (long long)x.stride, (long long)y.stride,
                       (int)x.cols};
    run_rows(dev, "experts", "add_rows", vec_of(x, y), y.rows, 0, &a, sizeof a);
}
