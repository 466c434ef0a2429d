/* Captured rows on the CPU: whole rows of q, k and v, as float32, where they are still in a cache.
 *
 * The step between projection and attention has a chunk of tokens at hand, before and after RoPE;
 * what is captured of them leaves then. A list names rows of the whole batch, so each thread goes
 * through a part of each list and takes the rows that the chunk has, all their heads:
 *
 *     rows of a list    3  90  512  700  701 ..         out [head][row of the list][d]
 *     chunk 512..1023           |    |    |    ->       row 512: d numbers to each head's part
 *
 * next: kernels/cpu/attention.c */
#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"

typedef struct taking {
    const qk_device *dev;
    qk_tensor chunk;
    size_t first_row, first_col, d; /* first_col: of head 0 of this kind */
    qk_dtype rounded;
    const qk_row_copy *c;
} taking;

static void take_listed(void *context, size_t begin, size_t end, int member)
{
    const taking *x = context;
    const qk_row_copy *c = x->c;
    (void)member;
    for (size_t r = begin; r < end; r++) {
        size_t row = (size_t)c->rows[r] - x->first_row; /* huge where it is before the chunk */
        if (row >= x->chunk.rows) continue;
        size_t at = row * x->chunk.stride + x->first_col;
        for (size_t h = 0; h < c->n_heads; h++)
            x->dev->isa->copy_row(c->out + (h * c->n_rows + r) * x->d, x->chunk,
                                  at + (size_t)c->heads[h] * x->d, x->d, x->rounded);
    }
}

void cpu_capture(qk_device *dev, qk_tensor chunk, size_t first_row, qk_heads heads,
                 const qk_layer_capture *capture, qk_dtype rounded)
{
    size_t d = (size_t)heads.d;
    QK_ASSERT(heads.has_v || !capture->n_v);
    const struct kind {
        const qk_row_copy *copies;
        size_t n, first_col;
    } kinds[] = {{capture->q, capture->n_q, 0},
                 {capture->k, capture->n_k, (size_t)heads.H * d},
                 {capture->v, capture->n_v, (size_t)(heads.H + heads.K) * d}};
    for (const struct kind *k = kinds; k < kinds + 3; k++)
        for (size_t i = 0; i < k->n; i++) {
            taking x = {dev, chunk, first_row, k->first_col, d, rounded, &k->copies[i]};
            qk_loop(dev->threads, k->copies[i].n_rows, take_listed, &x);
        }
}

void cpu_gather(qk_device *dev, qk_tensor qkv, qk_heads heads, const qk_layer_capture *capture)
{
    cpu_capture(dev, qkv, 0, heads, capture, qkv.dtype);
}
