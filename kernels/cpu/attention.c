/* Attention on the CPU: the list of work, longest first, and the copies of captured rows.
 *
 * An item is (sequence, key head, 64 queries). Late queries see more keys, so items are handed out
 * from the last to the first: the short ones fill the gaps at the end.
 *
 * next: kernels/cpu/elementwise.c */
#include <stdlib.h>

#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"

/* ---- captured rows ---- */

typedef struct copying {
    qk_tensor t;
    size_t first_col, d; /* first_col: column of head 0 of this kind */
    const qk_row_copy *c;
} copying;

/* Item h n_rows + r: row r of head h. */
static void copy_rows(void *context, size_t begin, size_t end, int member)
{
    const copying *x = context;
    const qk_row_copy *c = x->c;
    (void)member;
    for (size_t n = begin; n < end; n++) {
        size_t h = n / c->n_rows, row = (size_t)c->rows[n % c->n_rows];
        QK_ASSERT(row < x->t.rows);
        size_t at = row * x->t.stride + x->first_col + (size_t)c->heads[h] * x->d;
        float *out = c->out + n * x->d;
        for (size_t i = 0; i < x->d; i++) out[i] = qk_element(x->t.data, at + i, x->t.dtype);
    }
}

void cpu_gather(qk_device *dev, qk_tensor qkv, qk_heads heads, const qk_layer_capture *capture)
{
    size_t d = (size_t)heads.d, k = (size_t)heads.H * d;
    for (size_t i = 0; i < capture->n_q + capture->n_k; i++) {
        bool is_q = i < capture->n_q;
        const qk_row_copy *c = is_q ? &capture->q[i] : &capture->k[i - capture->n_q];
        copying x = {qkv, is_q ? 0 : k, d, c};
        qk_loop(dev->threads, c->n_heads * c->n_rows, copy_rows, &x);
    }
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

typedef struct attending {
    qk_tensor o, qkv;
    const qk_attention *p;
    const item *items;
    const cpu_attend *attend;
    float *scratch;
    size_t per_thread; /* floats of it */
} attending;

static void attend_items(void *context, size_t begin, size_t end, int member)
{
    const attending *a = context;
    for (size_t i = begin; i < end; i++) {
        cpu_attention_tile t = {
            .o = a->o,
            .qkv = a->qkv,
            .p = a->p,
            .seq_begin = (size_t)a->items[i].seq_begin,
            .first = (size_t)a->items[i].first,
            .rows = (size_t)a->items[i].rows,
            .kv_head = a->items[i].kv_head,
            .scratch = a->scratch + a->per_thread * (size_t)member,
        };
        a->attend->run(&t);
    }
}

void cpu_attention(qk_device *dev, qk_tensor o, qk_tensor qkv, const qk_attention *p)
{
    QK_ASSERT(p->heads.has_v && qkv.cols == qk_heads_width(p->heads) && p->heads.d <= 1024);
    /* Before o may overwrite q. */
    if (p->capture) cpu_gather(dev, qkv, p->heads, p->capture);
    const cpu_attend *attend = &dev->isa->attention[qkv.dtype];
    size_t per_thread = cpu_round_up(attend->scratch(p->heads), 16), n;
    cpu_reserve(&dev->scratch, per_thread * (size_t)dev->threads * sizeof(float), "attention");
    item *items = list_items(p, &n);
    attending a = {o, qkv, p, items, attend, dev->scratch.data, per_thread};
    qk_loop_each(dev->threads, n, attend_items, &a);
    free(items);
}
