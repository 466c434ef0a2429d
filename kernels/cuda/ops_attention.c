/* CUDA ops around attention: which rung takes which shape, the lists, the captured rows' way out.
 *
 * next: kernels/cuda/attention_v1.cu */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

/* ---- the ladder ---- */

typedef struct rung {
    int number;
    const char *file, *kernel, *macro;
    int queries;        /* per tile; 0: as args.h says */
    int element, extra; /* shared memory of v2: 64 queries, 64 keys, and p */
} rung;

static const int head_dims[] = {64, 80, 96, 128, 256};
static const float LOG2_E = 1.4426950408889634f;

enum { V2_TILE = 64, P_BYTES = 64 * 65 * 4 };

/* As in the kernels' headers. The first one that takes a shape is the best. */
static const rung rungs[] = {
    {3, "attention_v3", "attention_v3", "HEAD_DIM", 0, 2, 0},
    {2, "attention_v2", "attention_v2", "HEAD_DIM", V2_TILE, 2, P_BYTES},
    {2, "attention_v2", "attention_v2_f32", "HEAD_DIM_F32", V2_TILE, 4, P_BYTES},
    {1, "attention_v1", "attention_v1", "FORMAT", 4, 0, 0},
};

/* The padded head size; d itself must be a multiple of 8 for 16-byte copies. */
static int padded(int d)
{
    for (int i = 0; i < 5; i++)
        if (d <= head_dims[i]) return head_dims[i];
    return 0;
}

static size_t shared_bytes(const rung *r, int head_dim, int capability)
{
    if (r->number == 3) return (size_t)V3_SHARED(head_dim, V3_KEYS(head_dim, capability));
    return (size_t)(r->element * head_dim * 2 * V2_TILE + r->extra);
}

size_t cuda_attention_shared(const char *kernel, int head_dim, int capability)
{
    for (size_t i = 0; i < sizeof rungs / sizeof *rungs; i++)
        if (!strcmp(rungs[i].kernel, kernel)) return shared_bytes(&rungs[i], head_dim, capability);
    qk_fatal("there is no attention kernel %s", kernel);
}

static bool takes(const rung *r, qk_tensor qkv, qk_tensor o, int d)
{
    if (r->number == 3) /* tensor cores: bfloat16, and rows whose heads are aligned to 16 bytes */
        return qkv.dtype == QK_BF16 && d % 8 == 0 && qkv.stride % 8 == 0 && o.stride % 2 == 0 &&
               (uintptr_t)qkv.data % 16 == 0 && (uintptr_t)o.data % 4 == 0;
    if (r->element == 4) return qkv.dtype == QK_F32 && d <= 128;
    return r->number == 1 || qkv.dtype == QK_BF16;
}

static const rung *choose_rung(const qk_device *dev, qk_tensor qkv, qk_tensor o, int d)
{
    const rung *r = rungs;
    while ((dev->rung && r->number > dev->rung) || !takes(r, qkv, o, d)) r++;
    return r;
}

/* ---- captured rows ---- */

/* The list on the device; afterwards finish_capture sends the rows home. */
static capture_kind begin_capture(qk_device *dev, cuda_capture *c, const qk_row_copy *copies,
                                  size_t n, int heads, int d, qk_dtype dtype, size_t first_row,
                                  size_t n_tokens)
{
    capture_kind kind = {0};
    cuda_capture_list(c, copies, n, heads, d, first_row, n_tokens);
    if (!c->n_out) return kind;
    const cuda_machine *m = dev->machine;
    kind.first = m->stage(dev, c->first, c->n_first * sizeof *c->first, "captures by token");
    kind.rows = m->stage(dev, c->rows, c->n_rows * sizeof *c->rows, "captured rows' list");
    kind.base = m->stage(dev, c->base, c->n_bases * sizeof *c->base, "captures by head");
    kind.out = m->stage(dev, NULL, c->n_out * (size_t)d * qk_dtype_size(dtype), "captured rows");
    return kind;
}

static void finish_capture(qk_device *dev, cuda_capture *c, const capture_kind *kind, int d,
                           qk_dtype dtype)
{
    if (c->n_out) {
        dev->machine->deliver(dev, kind->out, dtype, c->n_out, (size_t)d, c->targets);
        c->targets = NULL;
    }
    cuda_capture_free(c);
}

/* ---- ops ---- */

void cuda_qkv_post(qk_device *dev, qk_tensor out, qk_tensor in, const qk_qkv_post *p,
                   size_t first_row)
{
    const qk_heads *h = &p->heads;
    static const qk_layer_capture nothing;
    const qk_layer_capture *capture = p->capture ? p->capture : &nothing;
    size_t width = qk_heads_width(*h);
    QK_ASSERT(in.cols == width && out.cols == width && in.dtype == QK_F32 && out.dtype != QK_F16);
    cuda_capture q, k;
    qkv_post_args a = {
        .out = out.data,
        .in = in.data,
        .out_stride = (long long)out.stride,
        .in_stride = (long long)in.stride,
        .H = h->H,
        .K = h->K,
        .d = h->d,
        .has_v = h->has_v,
        .out_format = cuda_format(out.dtype),
        .q_norm = p->q_norm,
        .k_norm = p->k_norm,
        .norm_whole = p->norm_whole,
        .eps = p->eps,
        .shift = p->norm_plus_one ? 1 : 0,
        .cos = p->cos,
        .sin = p->sin,
        .q_scale = p->q_scale,
        .table_row = dev->machine->stage(dev, p->table_row + first_row,
                                         in.rows * sizeof *p->table_row, "RoPE rows"),
        .rotary = p->rotary,
        .interleaved = p->interleaved,
        .first_row = (int)first_row,
        .q = begin_capture(dev, &q, capture->q, capture->n_q, h->H, h->d, out.dtype, first_row,
                           in.rows),
        .k = begin_capture(dev, &k, capture->k, capture->n_k, h->K, h->d, out.dtype, first_row,
                           in.rows),
    };
    bool four = h->d % 8 == 0 && h->d <= 256 && p->rotary % 8 == 0 && in.stride % 4 == 0 &&
                out.stride % 4 == 0 && (uintptr_t)in.data % 16 == 0 &&
                (uintptr_t)out.data % 16 == 0;
    cuda_run(dev, &(cuda_launch){.file = "qkv_post",
                                 .kernel = "qkv_post",
                                 .macro = "VEC",
                                 .value = four ? 4 : 1,
                                 .grid_x = in.rows,
                                 .grid_y = 1,
                                 .shared_bytes = 4 * (8 + 4 * (size_t)h->d),
                                 .args = &a,
                                 .args_bytes = sizeof a});
    finish_capture(dev, &q, &a.q, h->d, out.dtype);
    finish_capture(dev, &k, &a.k, h->d, out.dtype);
}

/* The build whose constants say what this call needs; see kernels/cuda/builds.c. */
static const char *v3_defines(const qk_attention *p, bool captures, bool is_padded)
{
    static const char *const all[2][2][2] = {
        {{V3_DEFINES(0, 0, 0), V3_DEFINES(0, 0, 1)}, {V3_DEFINES(0, 1, 0), V3_DEFINES(0, 1, 1)}},
        {{V3_DEFINES(1, 0, 0), V3_DEFINES(1, 0, 1)}, {V3_DEFINES(1, 1, 0), V3_DEFINES(1, 1, 1)}},
    };
    return is_padded ? V3_PADDED : all[p->window > 0][p->soft_cap > 0][captures];
}

void cuda_attention(qk_device *dev, qk_tensor o, qk_tensor qkv, const qk_attention *p)
{
    const qk_heads *h = &p->heads;
    static const qk_layer_capture nothing;
    const qk_layer_capture *capture = p->capture ? p->capture : &nothing;
    QK_ASSERT(h->has_v && qkv.cols == qk_heads_width(*h) && o.dtype == qkv.dtype && h->d <= 256);
    int dim = padded(h->d);
    const rung *r = choose_rung(dev, qkv, o, h->d);
    size_t n;
    attention_tile *tiles = cuda_tiles(p, r->queries ? r->queries : V3_QUERIES(dim), &n);
    const cuda_machine *m = dev->machine;
    cuda_capture q, k, v;
    attention_args a = {
        .qkv = qkv.data,
        .o = o.data,
        .tiles = m->stage(dev, tiles, n * sizeof *tiles, "attention tiles"),
        .qkv_stride = (long long)qkv.stride,
        .o_stride = (long long)o.stride,
        .H = h->H,
        .K = h->K,
        .d = h->d,
        .window = p->window,
        .scale = p->scale,
        .soft_cap = p->soft_cap,
        .unit = LOG2_E * (p->soft_cap > 0 ? p->soft_cap : p->scale),
        .cap_unit = p->soft_cap > 0 ? 2 * LOG2_E * p->scale / p->soft_cap : 0,
        .q = begin_capture(dev, &q, capture->q, capture->n_q, h->H, h->d, qkv.dtype, 0, qkv.rows),
        .k = begin_capture(dev, &k, capture->k, capture->n_k, h->K, h->d, qkv.dtype, 0, qkv.rows),
        .v = begin_capture(dev, &v, capture->v, capture->n_v, h->K, h->d, qkv.dtype, 0, qkv.rows),
    };
    if (q.n_out && q.lse_targets)
        a.lse = m->stage(dev, NULL, q.n_out * sizeof *a.lse, "captured log-sum-exps");
    cuda_launch l = {.file = r->file,
                     .kernel = r->kernel,
                     .macro = r->macro,
                     .value = r->number == 1 ? cuda_format(qkv.dtype) : dim,
                     .grid_x = n,
                     .grid_y = 1,
                     .shared_bytes = shared_bytes(r, dim, dev->capability),
                     .args = &a,
                     .args_bytes = sizeof a};
    if (r->number == 3) l.defines = v3_defines(p, a.q.first || a.k.first || a.v.first, h->d < dim);
    cuda_run(dev, &l);
    if (a.lse) {
        m->deliver(dev, a.lse, QK_F32, q.n_out, 1, q.lse_targets);
        q.lse_targets = NULL;
    }
    finish_capture(dev, &q, &a.q, h->d, qkv.dtype);
    finish_capture(dev, &k, &a.k, h->d, qkv.dtype);
    finish_capture(dev, &v, &a.v, h->d, qkv.dtype);
    free(tiles);
}

static void gather_kind(qk_device *dev, qk_tensor qkv, int first_col, int heads, int d,
                        const qk_row_copy *copies, size_t n)
{
    cuda_capture c;
    gather_args a = {
        .qkv = qkv.data,
        .stride = (long long)qkv.stride,
        .d = d,
        .first_col = first_col,
        .heads = heads,
    };
    a.kind = begin_capture(dev, &c, copies, n, heads, d, qkv.dtype, 0, qkv.rows);
    if (c.n_out)
        cuda_run(dev, &(cuda_launch){.file = "gather",
                                     .kernel = "gather",
                                     .macro = "FORMAT",
                                     .value = cuda_format(qkv.dtype),
                                     .grid_x = c.n_rows,
                                     .grid_y = (size_t)heads,
                                     .args = &a,
                                     .args_bytes = sizeof a});
    finish_capture(dev, &c, &a.kind, d, qkv.dtype);
}

void cuda_gather(qk_device *dev, qk_tensor qkv, qk_heads heads, const qk_layer_capture *capture)
{
    gather_kind(dev, qkv, 0, heads.H, heads.d, capture->q, capture->n_q);
    gather_kind(dev, qkv, heads.H * heads.d, heads.K, heads.d, capture->k, capture->n_k);
    QK_ASSERT(heads.has_v || !capture->n_v);
    gather_kind(dev, qkv, (heads.H + heads.K) * heads.d, heads.K, heads.d, capture->v,
                capture->n_v);
}
