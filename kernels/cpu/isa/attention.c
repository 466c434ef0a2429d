/* Attention of one query tile of one key head: causal softmax(scale q k^T) v, online.
 *
 * The H/K query heads that share a key head form one tall tile of rows, so that keys and values are
 * read once for all of them. Keys come in blocks of KEYS, counted from the start of the sequence:
 *
 *     rows (query, head)      keys 0..63   64..127   128..191
 *     t=130 head 0          [ ########## ######### ###        ]    S = q k^T of one block,
 *     t=130 head 1          [ ########## ######### ###        ]    m, l: running maximum and sum,
 *     t=131 head 0          [ ########## ######### ####       ]    o: running numerator
 *
 *   m' = max(m, rowmax S)   p = exp(S - m')   c = exp(m - m')   l = c l + sum p   o = c o + p v
 *
 * (Milakov and Gimelshein, 2018; Dao et al., 2022.) A block in which a row sees no key leaves that
 * row exactly as it was, so the bits of a row do not depend on the tile it is in, and T x T is
 * never stored. Arithmetic is float32 for both storage formats. In the end m + ln l is the row's
 * log-sum-exp, for those that want it.
 *
 * Scratch, in floats, R rows rounded up to tiles, dp = head_dim rounded up to 16:
 *   queries [tiles][d][TILE_ROWS]   scores [R][KEYS]   o [R][dp]   m, l, corr, nan [R]
 *   keys [KEYS / 16][d][16]   values [KEYS][dp]
 *
 * next: kernels/cpu/attention.c */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa/fold.h"
#include "kernels/cpu/isa/isa.h"

enum { KEYS = 64 };

/* Rows of scores and of output that are summed together: 4 x 4 vectors of sums. */
enum { STRIP_VECTORS = 4 };

typedef struct work {
    const cpu_attention_tile *t;
    size_t group, d, dp, R, tiles; /* R: rows in use; tiles: of TILE_ROWS, the last one padded */
    float *queries, *scores, *out, *m, *l, *corr, *keys, *values;
    float *nan; /* NaN once a score was: v16_exp makes that a weight of 0. For the log-sum-exp */
} work;

size_t QK_NAME(cpu_attention_floats)(qk_heads h)
{
    size_t d = (size_t)h.d, dp = cpu_round_up(d, 16),
           R = cpu_round_up((size_t)(h.H / h.K) * CPU_QUERIES, TILE_ROWS);
    return R * d + R * KEYS + R * dp + 4 * R + KEYS * d + KEYS * dp + 64;
}

static work make_work(const cpu_attention_tile *t)
{
    const qk_heads *h = &t->p->heads;
    work w = {.t = t, .group = (size_t)(h->H / h->K), .d = (size_t)h->d};
    w.dp = cpu_round_up(w.d, 16);
    w.R = w.group * t->rows;
    w.tiles = cpu_round_up(w.R, TILE_ROWS) / TILE_ROWS;
    size_t R = w.tiles * TILE_ROWS;
    w.queries = t->scratch;
    w.scores = w.queries + R * w.d;
    w.out = w.scores + R * KEYS;
    w.m = w.out + R * w.dp;
    w.l = w.m + R;
    w.corr = w.l + R;
    w.nan = w.corr + R;
    w.keys = w.nan + R;
    w.values = w.keys + KEYS * w.d;
    return w;
}

/* n numbers from column col of a row of qkv as float32: where they are, or converted in `scratch`. */
INLINE const float *read_row(const cpu_attention_tile *t, size_t row, size_t col, size_t n,
                             float *scratch)
{
    size_t at = (t->seq_begin + row) * t->qkv.stride + col;
    if (t->qkv.dtype == QK_F32) return (const float *)t->qkv.data + at;
    const uint16_t *h = (const uint16_t *)t->qkv.data + at;
    for (size_t i = 0; i < n; i++) scratch[i] = qk_bf16_to_f32(h[i]);
    return scratch;
}

/* Row r of the tile is query r / group, head r % group of the key head's own. */
static void load_queries(work *w)
{
    const cpu_attention_tile *t = w->t;
    float scratch[1024];
    memset(w->queries, 0, w->tiles * TILE_ROWS * w->d * sizeof(float));
    for (size_t r = 0; r < w->tiles * TILE_ROWS; r++) {
        w->m[r] = -INFINITY;
        w->l[r] = w->nan[r] = 0;
        if (r >= w->R) continue;
        size_t head = (size_t)t->kv_head * w->group + r % w->group;
        const float *row = read_row(t, t->first + r / w->group, head * w->d, w->d, scratch);
        float *to = w->queries + r / TILE_ROWS * TILE_ROWS * w->d + r % TILE_ROWS;
        for (size_t i = 0; i < w->d; i++) to[i * TILE_ROWS] = row[i] * t->p->scale;
    }
    memset(w->out, 0, w->tiles * TILE_ROWS * w->dp * sizeof(float));
}

/* Keys first .. first + n - 1, transposed in strips of 16, and values; missing ones are zero. */
static void load_keys(work *w, size_t first, size_t n)
{
    const cpu_attention_tile *t = w->t;
    const qk_heads *h = &t->p->heads;
    size_t k_col = ((size_t)h->H + (size_t)t->kv_head) * w->d, v_col = k_col + (size_t)h->K * w->d;
    float scratch[1024];
    if (n < KEYS) memset(w->keys, 0, KEYS * w->d * sizeof(float));
    if (n < KEYS || w->dp > w->d) memset(w->values, 0, KEYS * w->dp * sizeof(float));
    for (size_t s = 0; s < n; s++) {
        const float *key = read_row(t, first + s, k_col, w->d, scratch);
        float *to = w->keys + s / 16 * 16 * w->d + s % 16;
        for (size_t i = 0; i < w->d; i++) to[i * 16] = key[i];
        const float *value = read_row(t, first + s, v_col, w->d, scratch);
        memcpy(w->values + s * w->dp, value, w->d * sizeof(float));
    }
}

/* scores[r, 0..63] = q_r . k, for the rows of one tile, STRIP rows at a time. */
enum { STRIP = TILE_ROWS == 12 ? 6 : 2 };

static void score_tile(const work *w, size_t tile)
{
    for (int first = 0; first < TILE_ROWS; first += STRIP) {
        const float *q = w->queries + tile * TILE_ROWS * w->d + first;
        v16 acc[STRIP][STRIP_VECTORS];
        for (int m = 0; m < STRIP; m++)
            for (int v = 0; v < STRIP_VECTORS; v++) acc[m][v] = v16_zero();
        for (size_t i = 0; i < w->d; i++) {
            v16 k[STRIP_VECTORS];
            for (int v = 0; v < STRIP_VECTORS; v++)
                k[v] = v16_load(w->keys + ((size_t)v * w->d + i) * 16);
            for (int m = 0; m < STRIP; m++) {
                v16 a = v16_set1(q[i * TILE_ROWS + (size_t)m]);
                for (int v = 0; v < STRIP_VECTORS; v++) acc[m][v] = v16_fma(a, k[v], acc[m][v]);
            }
        }
        float *s = w->scores + (tile * TILE_ROWS + (size_t)first) * KEYS;
        for (int m = 0; m < STRIP; m++)
            for (int v = 0; v < STRIP_VECTORS; v++) v16_store(s + m * KEYS + 16 * v, acc[m][v]);
    }
}

INLINE void cap_scores(float *s, float cap)
{
    for (int v = 0; v < KEYS; v += 16) {
        v16 x = v16_div(v16_load(s + v), v16_set1(cap));
        v16_store(s + v, v16_mul(v16_set1(cap), v16_tanh(x)));
    }
}

/* Keys a query may not see get minus infinity: those before `from` and from `to` on. */
INLINE void mask_scores(float *s, size_t from, size_t to)
{
    for (size_t i = 0; i < KEYS; i++)
        if (i < from || i >= to) s[i] = -INFINITY;
}

INLINE bool has_nan(const float *s)
{
    int found = 0;
    for (int i = 0; i < KEYS; i++) found |= s[i] != s[i];
    return found;
}

/* Scores of one row to weights, and its running maximum and sum. */
static void softmax_row(work *w, size_t r)
{
    float *s = w->scores + r * KEYS, old = w->m[r];
    v16 top = v16_load(s);
    for (int v = 16; v < KEYS; v += 16) top = v16_max(top, v16_load(s + v));
    float block = v16_max_lane(top), now = block > old ? block : old;
    if (now == -INFINITY) { /* no key so far */
        w->corr[r] = 1;
        memset(s, 0, KEYS * sizeof(float));
        return;
    }
    v16 sum = v16_zero(), shift = v16_set1(now);
    for (int v = 0; v < KEYS; v += 16) {
        v16 p = v16_exp(v16_sub(v16_load(s + v), shift));
        v16_store(s + v, p);
        sum = v16_add(sum, p);
    }
    float change[16];
    v16_store(change, v16_exp(v16_set1(old - now)));
    w->corr[r] = change[0];
    w->l[r] = fmaf(w->l[r], change[0], v16_sum(sum));
    w->m[r] = now;
}

/* out = corr out + p v for STRIP rows and STRIP_VECTORS vectors of the head. */
INLINE void add_values(const work *w, size_t row, size_t col, int vectors)
{
    const float *p = w->scores + row * KEYS;
    v16 acc[STRIP][STRIP_VECTORS];
    for (int m = 0; m < STRIP; m++)
        for (int v = 0; v < vectors; v++) acc[m][v] = v16_zero();
    for (size_t s = 0; s < KEYS; s++) {
        v16 x[STRIP_VECTORS];
        for (int v = 0; v < vectors; v++)
            x[v] = v16_load(w->values + s * w->dp + col + 16 * (size_t)v);
        for (int m = 0; m < STRIP; m++) {
            v16 a = v16_set1(p[(size_t)m * KEYS + s]);
            for (int v = 0; v < vectors; v++) acc[m][v] = v16_fma(a, x[v], acc[m][v]);
        }
    }
    for (int m = 0; m < STRIP; m++) {
        float *o = w->out + (row + (size_t)m) * w->dp + col;
        v16 c = v16_set1(w->corr[row + (size_t)m]);
        for (int v = 0; v < vectors; v++)
            v16_store(o + 16 * v, v16_fma(v16_load(o + 16 * v), c, acc[m][v]));
    }
}

static void value_tile(const work *w, size_t tile)
{
    for (size_t row = tile * TILE_ROWS; row < (tile + 1) * TILE_ROWS; row += STRIP) {
        size_t col = 0;
        for (; col + 16 * STRIP_VECTORS <= w->dp; col += 16 * STRIP_VECTORS)
            add_values(w, row, col, STRIP_VECTORS);
        for (; col < w->dp; col += 16) add_values(w, row, col, 1);
    }
}

/* One block of keys for all rows. */
static void attend_block(work *w, size_t block)
{
    const cpu_attention_tile *t = w->t;
    size_t begin = block * KEYS, seen = t->first + t->rows,
           n = seen - begin < KEYS ? seen - begin : KEYS;
    load_keys(w, begin, n);
    for (size_t tile = 0; tile < w->tiles; tile++) {
        score_tile(w, tile);
        for (size_t r = tile * TILE_ROWS; r < (tile + 1) * TILE_ROWS; r++) {
            size_t q = t->first + (r < w->R ? r / w->group : t->rows - 1); /* its position */
            size_t low =
                t->p->window && q + 1 > (size_t)t->p->window ? q + 1 - (size_t)t->p->window : 0;
            float *s = w->scores + r * KEYS;
            if (t->p->soft_cap > 0) cap_scores(s, t->p->soft_cap);
            size_t from = low > begin ? low - begin : 0, to = q + 1 > begin ? q + 1 - begin : 0;
            if (from || to < KEYS) mask_scores(s, from, to);
            if (t->n_lse && has_nan(s)) w->nan[r] = NAN;
            softmax_row(w, r);
        }
        value_tile(w, tile);
    }
}

static void store_rows(const work *w)
{
    const cpu_attention_tile *t = w->t;
    for (size_t r = 0; r < w->R; r++) {
        size_t head = (size_t)t->kv_head * w->group + r % w->group;
        size_t at = (t->seq_begin + t->first + r / w->group) * t->o.stride + head * w->d;
        const float *from = w->out + r * w->dp;
        float scale = 1 / w->l[r];
        if (t->o.dtype == QK_F32)
            for (size_t i = 0; i < w->d; i++) ((float *)t->o.data)[at + i] = from[i] * scale;
        else
            for (size_t i = 0; i < w->d; i++)
                ((uint16_t *)t->o.data)[at + i] = qk_f32_to_bf16(from[i] * scale);
    }
}

void QK_NAME(cpu_attention_tile_run)(const cpu_attention_tile *t)
{
    work w = make_work(t);
    size_t window = (size_t)t->p->window, last = t->first + t->rows - 1;
    size_t first_key = window && t->first + 1 > window ? t->first + 1 - window : 0;
    load_queries(&w);
    for (size_t block = first_key / KEYS; block <= last / KEYS; block++) attend_block(&w, block);
    cpu_give_lse(t, w.m, 1, w.l, w.nan);
    store_rows(&w);
}
