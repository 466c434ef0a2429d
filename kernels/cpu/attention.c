/* Attention on the CPU: the list of work, longest first, and the copies of captured rows.
 *
 * An item is (sequence, key head, 64 queries). Late queries see more keys, so items are handed out
 * from the last to the first: the short ones fill the gaps at the end.
 *
 * next: kernels/cpu/elementwise.c */
#include <omp.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

/* ---- captured rows ---- */

/* first_col: column of head 0 of this kind. */
static void copy_rows(const qk_device *dev, qk_tensor t, size_t first_col, size_t d,
                      const qk_row_copy *c)
{
#pragma omp parallel for schedule(static) num_threads(dev->threads) collapse(2)
    for (size_t h = 0; h < c->n_heads; h++)
        for (size_t r = 0; r < c->n_rows; r++) {
            QK_ASSERT((size_t)c->rows[r] < t.rows);
            size_t at = (size_t)c->rows[r] * t.stride + first_col + (size_t)c->heads[h] * d;
            float *out = c->out + (h * c->n_rows + r) * d;
            for (size_t i = 0; i < d; i++) out[i] = qk_element(t.data, at + i, t.dtype);
        }
}

void cpu_gather(qk_device *dev, qk_tensor qkv, qk_heads heads, const qk_layer_capture *capture)
{
    size_t d = (size_t)heads.d;
    for (size_t i = 0; i < capture->n_q; i++) copy_rows(dev, qkv, 0, d, &capture->q[i]);
    for (size_t i = 0; i < capture->n_k; i++)
        copy_rows(dev, qkv, (size_t)heads.H * d, d, &capture->k[i]);
}

/* ---- work items ---- */

typedef struct item {
    int32_t seq_begin, first, rows, kv_head;
} item;

static int longest_first(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->first != y->first) return x->first > y->first ? -1 : 1;
    return x->seq_begin != y->seq_begin ? (x->seq_begin < y->seq_begin ? -1 : 1)
                                        : x->kv_head - y->kv_head;
}

static item *list_items(const qk_attention *p, size_t *count)
{
    size_t n = 0;
    for (int s = 0; s < p->n_seq; s++)
        n += (size_t)(p->seq_start[s + 1] - p->seq_start[s] + CPU_QUERIES - 1) / CPU_QUERIES;
    item *items = qk_alloc(n * (size_t)p->heads.K, sizeof *items), *at = items;
    for (int s = 0; s < p->n_seq; s++) {
        int32_t begin = p->seq_start[s], length = p->seq_start[s + 1] - begin;
        for (int32_t first = 0; first < length; first += CPU_QUERIES)
            for (int k = 0; k < p->heads.K; k++)
                *at++ = (item){begin, first,
                               length - first < CPU_QUERIES ? length - first : CPU_QUERIES, k};
    }
    *count = (size_t)(at - items);
    qsort(items, *count, sizeof *items, longest_first);
    return items;
}

void cpu_attention(qk_device *dev, qk_tensor o, qk_tensor qkv, const qk_attention *p)
{
    QK_ASSERT(p->heads.has_v && qkv.cols == qk_heads_width(p->heads) && p->heads.d <= 1024);
    /* Before o may overwrite q. */
    if (p->capture) cpu_gather(dev, qkv, p->heads, p->capture);
    const cpu_attend *attend = &dev->isa->attention[qkv.dtype];
    size_t per_thread = cpu_round_up(attend->scratch(p->heads), 16), n;
    cpu_reserve(&dev->scratch, per_thread * (size_t)dev->threads * sizeof(float), "attention");
    float *scratch = dev->scratch.data;
    item *items = list_items(p, &n);
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->threads)
    for (size_t i = 0; i < n; i++) {
        cpu_attention_tile t = {
            .o = o,
            .qkv = qkv,
            .p = p,
            .seq_begin = (size_t)items[i].seq_begin,
            .first = (size_t)items[i].first,
            .rows = (size_t)items[i].rows,
            .kv_head = items[i].kv_head,
            .scratch = scratch + per_thread * (size_t)omp_get_thread_num(),
        };
        attend->run(&t);
    }
    free(items);
}
