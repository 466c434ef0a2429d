/* Attention on the CPU: the list of work, longest first, and the log-sum-exps of captured rows.
 *
 * An item is (sequence, key head, 64 queries, or pieces of them that somebody wants). Late queries see
 * more keys, so items are handed out from the last to the first: the short ones fill the gaps at the
 * end.
 *
 * Captured rows have mostly left before (kernels/cpu/capture.c); if not, they are copied before
 * attention begins, for its output may take their memory. Log-sum-exps are what is left of a row when its last key has been seen, m + ln l: the item that
 * has the query gives it to all that want it, one logarithm for each.
 *
 * next: kernels/cpu/elementwise.c */
#include <math.h>
#include <stdlib.h>

#include "engine/base/team.h"
#include "kernels/cpu/cpu.h"

/* ---- log-sum-exp ---- */

/* ln x of a finite x > 0 within 1e-12, in exactly rounded steps: libm's last bits are not the same
 * everywhere.
 *   x = 2^e f, f in sqrt(1/2) .. sqrt(2);  ln f = 2 (t + t^3 / 3 + t^5 / 5 + ..), t = (f-1)/(f+1) */
static double natural_log(double x)
{
    int e;
    double f = frexp(x, &e);
    if (f < 0x1.6a09e667f3bcdp-1) f *= 2, e--;
    double t = (f - 1) / (f + 1), square = t * t, sum = 0;
    for (int k = 13; k > 0; k -= 2) sum = sum * square + 2.0 / k;
    return t * sum + e * 0x1.62e42fefa39efp-1; /* ln 2 */
}

void cpu_give_lse(const cpu_attention_tile *t, const float *m, double unit, const float *l,
                  const float *nan)
{
    const qk_heads *heads = &t->p->heads;
    size_t group = (size_t)(heads->H / heads->K);
    for (size_t i = 0; i < t->n_lse; i++) {
        const cpu_lse_row *wish = &t->lse[i];
        const qk_row_copy *copy = &t->p->capture->q[wish->copy];
        size_t first = ((size_t)wish->row - t->seq_begin - t->first) * group;
        for (size_t h = 0; h < copy->n_heads; h++) {
            if (copy->heads[h] / (int32_t)group != t->kv_head) continue;
            size_t r = first + (size_t)copy->heads[h] % group;
            copy->lse[h * copy->n_rows + (size_t)wish->index] =
                l[r] > 0 && !isnan(nan[r]) ? (float)(unit * (double)m[r] + natural_log(l[r])) : NAN;
        }
    }
}

static int by_row(const void *a, const void *b)
{
    const cpu_lse_row *x = a, *y = b;
    return (x->row > y->row) - (x->row < y->row);
}

/* NULL when nobody wants one. */
static cpu_lse_row *list_lse(const qk_layer_capture *capture, size_t *count)
{
    *count = 0;
    for (size_t i = 0; capture && i < capture->n_q; i++)
        if (capture->q[i].lse) *count += capture->q[i].n_rows;
    if (!*count) return NULL;
    cpu_lse_row *wishes = qk_alloc(*count, sizeof *wishes), *at = wishes;
    for (size_t i = 0; i < capture->n_q; i++)
        for (size_t r = 0; capture->q[i].lse && r < capture->q[i].n_rows; r++)
            *at++ = (cpu_lse_row){capture->q[i].rows[r], (int32_t)i, (int32_t)r};
    qsort(wishes, *count, sizeof *wishes, by_row);
    return wishes;
}

/* Those of rows first .. first + n - 1. */
static const cpu_lse_row *find_lse(const cpu_lse_row *wishes, size_t count, size_t first, size_t n,
                                   size_t *found)
{
    size_t low = 0, high = count, end;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((size_t)wishes[middle].row < first)
            low = middle + 1;
        else
            high = middle;
    }
    for (end = low; end < count && (size_t)wishes[end].row < first + n;) end++;
    *found = end - low;
    return wishes + low;
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

/* Queries that nobody wants are computed where leaving them out would cost more: a piece of its own
 * loads all keys again, which is about as much as so many rows (query, head). */
enum { ROWS_WORTH_A_PIECE = 24 };

/* The last wanted query of the piece that begins with the wanted query `from`; of rows up to `end`. */
static int32_t piece_end(const qk_attention *p, int32_t from, int32_t end)
{
    int32_t gap = ROWS_WORTH_A_PIECE / (p->heads.H / p->heads.K), last = from;
    if (!p->wanted) return end - 1;
    for (int32_t t = from + 1; t < end && t - last <= gap + 1; t++)
        if (p->wanted[t]) last = t;
    return last;
}

static item *list_items(const qk_attention *p, size_t *count)
{
    item *items = NULL;
    size_t capacity = 0;
    *count = 0;
    for (int s = 0; s < p->n_seq; s++) {
        int32_t begin = p->seq_start[s], end = p->seq_start[s + 1];
        for (int32_t first = begin; first < end;) {
            int32_t tile = begin + ((first - begin) / CPU_QUERIES + 1) * CPU_QUERIES;
            if (tile > end) tile = end;
            while (first < tile && p->wanted && !p->wanted[first]) first++;
            if (first == tile) continue;
            int32_t last = piece_end(p, first, tile);
            for (int k = 0; k < p->heads.K; k++) {
                QK_GROW(items, *count, capacity);
                items[(*count)++] = (item){begin, first - begin, last + 1 - first, k};
            }
            first = last + 1;
        }
    }
    if (*count) qsort(items, *count, sizeof *items, longest_first);
    return items;
}

typedef struct attending {
    qk_tensor o, qkv;
    const qk_attention *p;
    const item *items;
    const cpu_attend *attend;
    float *scratch;
    size_t per_thread;      /* floats of it */
    const cpu_lse_row *lse; /* by row, or NULL */
    size_t n_lse;
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
        if (a->lse) t.lse = find_lse(a->lse, a->n_lse, t.seq_begin + t.first, t.rows, &t.n_lse);
        a->attend->run(&t);
    }
}

void cpu_attention(qk_device *dev, qk_tensor o, qk_tensor qkv, const qk_attention *p)
{
    QK_ASSERT(p->heads.has_v && qkv.cols == qk_heads_width(p->heads) && p->heads.d <= 1024);
    /* Before o may overwrite q. */
    if (p->capture && !p->taken) cpu_gather(dev, qkv, p->heads, p->capture);
    const cpu_attend *attend = &dev->isa->attention[qkv.dtype];
    size_t per_thread = cpu_round_up(attend->scratch(p->heads), 16), n;
    cpu_reserve(&dev->scratch, per_thread * (size_t)dev->threads * sizeof(float), "attention");
    item *items = list_items(p, &n);
    attending a = {o, qkv, p, items, attend, dev->scratch.data, per_thread, .n_lse = 0};
    cpu_lse_row *lse = list_lse(p->capture, &a.n_lse);
    a.lse = lse;
    qk_loop_each(dev->threads, n, attend_items, &a);
    free(items);
    free(lse);
}
