/* The lists that drive the attention kernels: pieces of work, and captured rows. Plain C, made once
 * per batch (tiles) or layer (captures), so that a kernel decides nothing.
 *
 * next: kernels/cuda/ops_attention.c */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

/* ---- tiles ---- */

typedef struct piece {
    attention_tile tile;
    int kv_head, keys;
} piece;

static int order(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    if (x->kv_head != y->kv_head) return x->kv_head - y->kv_head;
    if (x->keys != y->keys) return y->keys - x->keys;
    if (x->tile.first != y->tile.first) return x->tile.first < y->tile.first ? -1 : 1;
    return x->tile.head - y->tile.head;
}

/* Rows that a tile has something to do for: wanted, or captured, which tiles do, too. NULL: all. */
static uint8_t *busy_rows(const qk_attention *p)
{
    if (!p->wanted) return NULL;
    size_t T = (size_t)p->seq_start[p->n_seq];
    uint8_t *busy = qk_alloc(T, 1);
    memcpy(busy, p->wanted, T);
    static const qk_layer_capture nothing;
    const qk_layer_capture *c = p->capture ? p->capture : &nothing;
    const qk_row_copy *const lists[] = {c->q, c->k, c->v};
    const size_t counts[] = {c->n_q, c->n_k, c->n_v};
    for (int kind = 0; kind < 3; kind++)
        for (size_t i = 0; i < counts[kind]; i++)
            for (size_t r = 0; r < lists[kind][i].n_rows; r++) busy[lists[kind][i].rows[r]] = 1;
    return busy;
}

static bool is_busy(const uint8_t *busy, int first, int end, int bm)
{
    size_t n = (size_t)(end - first < bm ? end - first : bm);
    return !busy || memchr(busy + first, 1, n);
}

attention_tile *cuda_tiles(const qk_attention *p, int bm, size_t *n)
{
    uint8_t *busy = busy_rows(p);
    size_t rows = 0, at = 0;
    for (int s = 0; s < p->n_seq; s++)
        rows += (size_t)((p->seq_start[s + 1] - p->seq_start[s] + bm - 1) / bm);
    *n = rows * (size_t)p->heads.H;
    piece *pieces = qk_alloc(*n, sizeof *pieces);
    for (int s = 0; s < p->n_seq; s++)
        for (int first = p->seq_start[s]; first < p->seq_start[s + 1]; first += bm)
            for (int h = 0; h < p->heads.H && is_busy(busy, first, p->seq_start[s + 1], bm); h++) {
                int keys = first - p->seq_start[s] + bm;
                if (p->window && keys > p->window + bm) keys = p->window + bm;
                pieces[at++] = (piece){{first, p->seq_start[s], p->seq_start[s + 1], h},
                                       h / (p->heads.H / p->heads.K),
                                       keys};
            }
    QK_ASSERT(busy ? at <= *n : at == *n);
    *n = at;
    free(busy);
    qsort(pieces, *n, sizeof *pieces, order);
    attention_tile *tiles = qk_alloc(*n, sizeof *tiles);
    for (size_t i = 0; i < *n; i++) tiles[i] = pieces[i].tile;
    free(pieces);
    return tiles;
}

/* ---- captured rows ---- */

static int by_row(const void *a, const void *b)
{
    const capture_row *x = a, *y = b;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    return x->copy != y->copy ? x->copy - y->copy : x->index - y->index;
}

static bool inside(int32_t row, size_t first_row, size_t n_tokens)
{
    return (size_t)row >= first_row && (size_t)row - first_row < n_tokens;
}

/* The rows of one copy, and the base of its heads: head h of its i-th row inside goes to row
 * at + h * (rows inside) + i of what is captured. */
static void add_copy(cuda_capture *c, const qk_row_copy *copy, int number, int heads, int d,
                     size_t first_row, size_t n_tokens)
{
    size_t before = c->n_rows;
    for (size_t r = 0; r < copy->n_rows; r++)
        if (inside(copy->rows[r], first_row, n_tokens)) {
            int index = (int)(c->n_rows - before);
            c->rows[c->n_rows++] = (capture_row){copy->rows[r], number, index};
        }
    int *base = c->base + number * heads;
    for (int h = 0; h < heads; h++) base[h] = -1;
    for (size_t h = 0; h < copy->n_heads; h++) {
        QK_ASSERT(copy->heads[h] < heads && base[copy->heads[h]] < 0);
        base[copy->heads[h]] = (int)c->n_out;
        for (size_t r = 0; r < copy->n_rows; r++) {
            size_t i = h * copy->n_rows + r;
            if (!inside(copy->rows[r], first_row, n_tokens)) continue;
            if (copy->lse) c->lse_targets[c->n_out] = copy->lse + i;
            c->targets[c->n_out++] = copy->out + i * (size_t)d;
        }
    }
}

void cuda_capture_list(cuda_capture *c, const qk_row_copy *copies, size_t n_copies, int heads,
                       int d, size_t first_row, size_t n_tokens)
{
    size_t rows = 0, out = 0, words = (first_row + n_tokens) / 32 + 2;
    bool lse = false;
    for (size_t i = 0; i < n_copies; i++) {
        lse |= copies[i].lse != NULL;
        rows += copies[i].n_rows;
        out += copies[i].n_rows * copies[i].n_heads;
    }
    *c = (cuda_capture){.n_first = words, .n_bases = n_copies * (size_t)heads};
    c->rows = qk_alloc(rows + 1, sizeof *c->rows);
    c->base = qk_alloc(c->n_bases + 1, sizeof *c->base);
    c->targets = qk_alloc(out + 1, sizeof *c->targets);
    if (lse) c->lse_targets = qk_zalloc(out + 1, sizeof *c->lse_targets);
    for (size_t i = 0; i < n_copies; i++)
        add_copy(c, &copies[i], (int)i, heads, d, first_row, n_tokens);
    qsort(c->rows, c->n_rows, sizeof *c->rows, by_row);
    c->first = qk_alloc(words, sizeof *c->first);
    size_t at = 0;
    for (size_t w = 0; w < words; w++) {
        while (at < c->n_rows && (size_t)c->rows[at].row < 32 * w) at++;
        c->first[w] = (int)at;
    }
}

void cuda_capture_free(cuda_capture *c)
{
    free(c->first);
    free(c->rows);
    free(c->base);
    free(c->targets);
    free(c->lse_targets);
    *c = (cuda_capture){0};
}
