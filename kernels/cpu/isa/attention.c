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
 * Both products are strips of STRIP_ROWS rows times STRIP_VECTORS vectors of 16 keys, or of 16
 * columns of the head, with all sums in registers (kernels/cpu/isa/isa.h says why that shape):
 *
 *     S strip:  q [d][6]  x  keys [d][16]        for each of the d numbers: 1 x 2 loads of keys with
 *     o strip:  p [6][64] x  values [64][16]     AVX2, 6 broadcasts of q, 12 multiply-adds
 *
 * Of the last block, strips of keys that no row of the tile sees yet are not multiplied at all.
 *
 * Scratch, in floats, R rows rounded up to tiles, dp = head_dim rounded up to 16:
 *   queries [tiles][d][TILE_ROWS]   scores [R][KEYS]   o [R][dp]   m, l, corr, nan [R]
 *   keys [KEYS / 16][d][16]   values [KEYS][dp]
 *
 * next: kernels/cpu/attention.c */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa/fold.h"
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/transpose.h"

enum { KEYS = 64 };

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

/* ---- what comes from q, k, v, as float32 ---- */

/* n numbers from element `at` of an array of float32 or bfloat16. */
INLINE void widen(float *to, const void *data, size_t at, size_t n, qk_dtype dtype)
{
    if (dtype == QK_F32) {
        memcpy(to, (const float *)data + at, n * sizeof *to);
        return;
    }
    for (size_t i = 0; i < n; i++) to[i] = qk_bf16_to_f32(((const uint16_t *)data)[at + i]);
}

enum { PART = 128 }; /* columns that are transposed at a time */

/* Row r of the tile is query r / group, head r % group of the key head's own. */
static void load_queries(work *w)
{
    const cpu_attention_tile *t = w->t;
    float rows[TILE_ROWS][PART], *to = w->queries;
    v16 scale = v16_set1(t->p->scale);
    for (size_t first = 0; first < w->tiles * TILE_ROWS; first += TILE_ROWS)
        for (size_t i = 0; i < w->d; i += PART) {
            size_t n = w->d - i < PART ? w->d - i : PART;
            memset(rows, 0, sizeof rows);
            for (size_t r = first; r < first + TILE_ROWS && r < w->R; r++) {
                size_t head = (size_t)t->kv_head * w->group + r % w->group;
                size_t row = t->seq_begin + t->first + r / w->group;
                widen(rows[r - first], t->qkv.data, row * t->qkv.stride + head * w->d + i, n,
                      t->qkv.dtype);
                for (size_t c = 0; c < n; c += 16)
                    v16_store(rows[r - first] + c, v16_mul(v16_load(rows[r - first] + c), scale));
            }
            cpu_transpose(to, TILE_ROWS, rows, PART, TILE_ROWS, n);
            to += n * TILE_ROWS;
        }
    for (size_t r = 0; r < w->tiles * TILE_ROWS; r++) {
        w->m[r] = -INFINITY;
        w->l[r] = w->nan[r] = 0;
    }
    memset(w->out, 0, w->tiles * TILE_ROWS * w->dp * sizeof(float));
}

/* Keys s .. s + 3 from their first element `at` on; those from n on are zero. */
static void transpose_keys(work *w, size_t s, size_t n, size_t at)
{
    const qk_tensor qkv = w->t->qkv;
    float rows[4][PART], *to = w->keys + s / 16 * 16 * w->d + s % 16;
    if (qkv.dtype == QK_F32 && s + 4 <= n) {
        cpu_transpose(to, 16, (const float *)qkv.data + at, qkv.stride, 4, w->d);
        return;
    }
    for (size_t i = 0; i < w->d; i += PART) {
        size_t part = w->d - i < PART ? w->d - i : PART;
        memset(rows, 0, sizeof rows);
        for (size_t r = 0; r < 4 && s + r < n; r++)
            widen(rows[r], qkv.data, at + r * qkv.stride + i, part, qkv.dtype);
        cpu_transpose(to + i * 16, 16, rows, PART, 4, part);
    }
}

/* Keys first .. first + n - 1, transposed in strips of 16, and values; missing ones are zero. */
static void load_keys(work *w, size_t first, size_t n)
{
    const cpu_attention_tile *t = w->t;
    const qk_heads *h = &t->p->heads;
    size_t k_col = ((size_t)h->H + (size_t)t->kv_head) * w->d, v_col = k_col + (size_t)h->K * w->d;
    size_t at = (t->seq_begin + first) * t->qkv.stride;
    for (size_t s = 0; s < KEYS; s += 4) transpose_keys(w, s, n, at + k_col + s * t->qkv.stride);
    if (n < KEYS || w->dp > w->d) memset(w->values, 0, KEYS * w->dp * sizeof(float));
    for (size_t s = 0; s < n; s++)
        widen(w->values + s * w->dp, t->qkv.data, at + v_col + s * t->qkv.stride, w->d,
              t->qkv.dtype);
}

/* ---- the two products ---- */

/* sums[m, v] += the n products of left[i left_step + m left_row] and the vectors at
 * right + i right_step + v right_vector. */
INLINE void multiply(v16 sums[STRIP_ROWS][STRIP_VECTORS], int vectors, size_t n, const float *left,
                     size_t left_step, size_t left_row, const float *right, size_t right_step,
                     size_t right_vector)
{
    for (size_t i = 0; i < n; i++, left += left_step, right += right_step) {
        v16 b[STRIP_VECTORS];
        for (int v = 0; v < vectors; v++) b[v] = v16_load(right + (size_t)v * right_vector);
        for (int m = 0; m < STRIP_ROWS; m++) {
            v16 a = v16_set1(left[(size_t)m * left_row]);
            for (int v = 0; v < vectors; v++) sums[m][v] = v16_fma(a, b[v], sums[m][v]);
        }
    }
}

/* scores[r, col ..] = q_r . k for a strip of rows and of keys. */
INLINE void score_strip(const work *w, size_t row, size_t col)
{
    const float *q = w->queries + row / TILE_ROWS * TILE_ROWS * w->d + row % TILE_ROWS;
    v16 sums[STRIP_ROWS][STRIP_VECTORS];
    for (int m = 0; m < STRIP_ROWS; m++)
        for (int v = 0; v < STRIP_VECTORS; v++) sums[m][v] = v16_zero();
    multiply(sums, STRIP_VECTORS, w->d, q, TILE_ROWS, 1, w->keys + col * w->d, 16, 16 * w->d);
    for (int m = 0; m < STRIP_ROWS; m++)
        for (int v = 0; v < STRIP_VECTORS; v++)
            v16_store(w->scores + (row + (size_t)m) * KEYS + col + 16 * (size_t)v, sums[m][v]);
}

/* Scores of one tile; those of keys that none of its rows sees, before `from` and from `to` on, are
 * left as they are where a whole strip of them is. */
static void score_tile(const work *w, size_t tile, size_t from, size_t to)
{
    enum { COLS = 16 * STRIP_VECTORS };
    for (size_t row = tile * TILE_ROWS; row < (tile + 1) * TILE_ROWS; row += STRIP_ROWS)
        for (size_t col = from / COLS * COLS; col < to; col += COLS) score_strip(w, row, col);
}

/* out = corr out + p v for a strip of rows and `vectors` vectors of the head. */
INLINE void value_strip(const work *w, size_t row, size_t col, int vectors)
{
    v16 sums[STRIP_ROWS][STRIP_VECTORS];
    for (int m = 0; m < STRIP_ROWS; m++)
        for (int v = 0; v < vectors; v++) sums[m][v] = v16_zero();
    multiply(sums, vectors, KEYS, w->scores + row * KEYS, 1, KEYS, w->values + col, w->dp, 16);
    for (int m = 0; m < STRIP_ROWS; m++) {
        float *o = w->out + (row + (size_t)m) * w->dp + col;
        v16 c = v16_set1(w->corr[row + (size_t)m]);
        for (int v = 0; v < vectors; v++)
            v16_store(o + 16 * v, v16_fma(v16_load(o + 16 * v), c, sums[m][v]));
    }
}

static void value_tile(const work *w, size_t tile)
{
    enum { COLS = 16 * STRIP_VECTORS };
    for (size_t row = tile * TILE_ROWS; row < (tile + 1) * TILE_ROWS; row += STRIP_ROWS) {
        size_t col = 0;
        for (; col + COLS <= w->dp; col += COLS) value_strip(w, row, col, STRIP_VECTORS);
        for (; col < w->dp; col += 16) value_strip(w, row, col, 1);
    }
}

/* ---- between them: masks and softmax ---- */

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
    float change[16] = {1}; /* mostly: e^0 */
    if (now != old) v16_store(change, v16_exp(v16_set1(old - now)));
    w->corr[r] = change[0];
    w->l[r] = fmaf(w->l[r], change[0], v16_sum(sum));
    w->m[r] = now;
}

/* ---- a block of keys for all rows ---- */

/* Which keys of the block that starts at `begin` row r sees: from .. to - 1. */
typedef struct seen {
    size_t from, to;
} seen;

INLINE seen seen_by(const work *w, size_t r, size_t begin)
{
    const cpu_attention_tile *t = w->t;
    size_t window = (size_t)t->p->window;
    size_t q = t->first + (r < w->R ? r / w->group : t->rows - 1); /* its position */
    size_t low = window && q + 1 > window ? q + 1 - window : 0;
    seen s = {low > begin ? low - begin : 0, q + 1 > begin ? q + 1 - begin : 0};
    if (s.from > KEYS) s.from = KEYS;
    if (s.to > KEYS) s.to = KEYS;
    return s;
}

static void attend_block(work *w, size_t block)
{
    const cpu_attention_tile *t = w->t;
    size_t begin = block * KEYS, all = t->first + t->rows,
           n = all - begin < KEYS ? all - begin : KEYS;
    load_keys(w, begin, n);
    for (size_t tile = 0; tile < w->tiles; tile++) {
        size_t first = tile * TILE_ROWS, last = first + TILE_ROWS - 1;
        score_tile(w, tile, seen_by(w, first, begin).from, seen_by(w, last, begin).to);
        for (size_t r = first; r <= last; r++) {
            float *s = w->scores + r * KEYS;
            seen of_row = seen_by(w, r, begin);
            if (t->p->soft_cap > 0) cap_scores(s, t->p->soft_cap);
            if (of_row.from || of_row.to < KEYS) mask_scores(s, of_row.from, of_row.to);
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
        v16 scale = v16_set1(1 / w->l[r]);
        for (size_t i = 0; i < w->d; i += 16)
            v16_store_as(t->o.data, at + i, v16_mul(v16_load(from + i), scale), w->d - i,
                         t->o.dtype == QK_BF16);
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
