/* Attention of one query tile of one key head, bfloat16, in tile registers. The mathematics and the
 * walk over the keys are those of kernels/cpu/isa/attention.c; here everything is transposed, so
 * that a lane is a query and no sum ever crosses lanes:
 *
 *     S^T [64 keys][32 rows]  = K [64][d]    Q^T [d][32]      products of bfloat16 are exact
 *     P   = 2^(S factor - m)                                  m, l: one number for each lane
 *     O^T [d][32 rows]       += V^T [d][64]  P^T [64][32]     after O^T *= 2^(m before - m)
 *
 * A strip of 32 rows (query, head) is the right factor of both products, a panel as in a matrix
 * product; keys and values are the left one. S^T leaves the registers with neighbouring keys in
 * neighbouring rows, which are the pairs that P^T as a panel wants: only V has to be transposed.
 *
 * p in float32 becomes hi + lo, two bfloat16 numbers that hold 16 of its 24 bits, and V^T is
 * multiplied with both: an error of 2^-17 p instead of the 2^-9 p of one.
 *
 * FLOPs: 2 d for a score, 4 d for its two weights; and about 30 instructions of 16 lanes, which
 * take three times as long. Bytes: keys and values of a block once for all strips, from L2 or L3.
 *
 * Scratch, R rows rounded up to strips, dp = head_dim rounded up to 32:
 *   queries [strips][dp/2][32][2] bfloat16   out [strips][dp][32] float32
 *   m, l, nan [strips][32]
 *   keys [2][dp/32][2][16][32]   values [dp/32][2][2][16][32] bfloat16
 *   scores [64][32] float32      high, low [32][32][2] bfloat16
 *
 * next: kernels/cpu/attention.c */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/isa/amx.h"
#include "kernels/cpu/isa/isa.h"

enum { KEYS = 64, STRIP = AMX_COLS, LANES = 16 };

typedef struct work {
    const cpu_attention_tile *t;
    size_t group, d, steps, R, strips; /* steps: d in units of 32; R: rows in use */
    float factor;                      /* 2^(factor s) is e^(scale s); after a cap e^s */
    uint16_t *queries, *keys, *values;
    float *out, *m, *l, *scores;
    float *nan; /* as in kernels/cpu/isa/attention.c */
    uint32_t *high, *low;
} work;

/* Sizes of the parts in floats, in their order in memory. */
typedef struct parts {
    size_t queries, out, row, keys, values, scores, weights;
} parts;

static parts parts_of(size_t strips, size_t steps)
{
    size_t dp = steps * AMX_DEPTH;
    return (parts){
        .queries = strips * dp / 2 * STRIP,
        .out = strips * dp * STRIP,
        .row = strips * STRIP,
        .keys = KEYS * dp / 2,
        .values = KEYS * dp / 2,
        .scores = KEYS * STRIP,
        .weights = KEYS / 2 * STRIP,
    };
}

size_t QK_NAME(cpu_tiles_attention_floats)(qk_heads h)
{
    size_t R = (size_t)(h.H / h.K) * CPU_QUERIES;
    parts p =
        parts_of(cpu_round_up(R, STRIP) / STRIP, cpu_round_up((size_t)h.d, AMX_DEPTH) / AMX_DEPTH);
    return p.queries + p.out + 3 * p.row + p.keys + p.values + p.scores + 2 * p.weights;
}

static work make_work(const cpu_attention_tile *t)
{
    const qk_heads *h = &t->p->heads;
    work w = {.t = t, .group = (size_t)(h->H / h->K), .d = (size_t)h->d};
    w.steps = cpu_round_up(w.d, AMX_DEPTH) / AMX_DEPTH;
    w.R = w.group * t->rows;
    w.strips = cpu_round_up(w.R, STRIP) / STRIP;
    w.factor = 0x1.715476p+0f * (t->p->soft_cap > 0 ? 1 : t->p->scale); /* 1 / ln 2 */
    parts p = parts_of(w.strips, w.steps);
    float *at = t->scratch;
    w.queries = (uint16_t *)at, at += p.queries;
    w.out = at, at += p.out;
    w.m = at, at += p.row;
    w.l = at, at += p.row;
    w.nan = at, at += p.row;
    w.keys = (uint16_t *)at, at += p.keys;
    w.values = (uint16_t *)at, at += p.values;
    w.scores = at, at += p.scores;
    w.high = (uint32_t *)at, at += p.weights;
    w.low = (uint32_t *)at;
    return w;
}

/* ---- packing ---- */

/* 32 numbers, or what is left of the head, from column col + 32 step of a row of qkv. */
INLINE __m512i read_step(const work *w, size_t row, size_t col, size_t step)
{
    const qk_tensor *qkv = &w->t->qkv;
    const uint16_t *data = qkv->data;
    size_t at = (w->t->seq_begin + row) * qkv->stride + col + step * AMX_DEPTH;
    return amx_load_bf16(data + at, w->d - step * AMX_DEPTH);
}

/* Row r of the tile is query r / group, head r % group of the key head's own. */
static void load_queries(work *w)
{
    const cpu_attention_tile *t = w->t;
    size_t first_head = (size_t)t->kv_head * w->group;
    for (size_t r = 0; r < w->strips * STRIP; r += LANES)
        for (size_t step = 0; step < w->steps; step++) {
            __m512i x[LANES];
            for (size_t i = 0; i < LANES; i++) {
                size_t row = t->first + (r + i) / w->group, head = first_head + (r + i) % w->group;
                x[i] = r + i < w->R ? read_step(w, row, head * w->d, step) : _mm512_setzero_si512();
            }
            amx_transpose(x);
            uint32_t *panel = (uint32_t *)w->queries + r / STRIP * w->steps * AMX_STEP / 4;
            for (size_t i = 0; i < LANES; i++)
                _mm512_store_si512(panel + (step * 16 + i) * STRIP + r % STRIP, x[i]);
        }
    for (size_t r = 0; r < w->strips * STRIP; r++) {
        w->m[r] = -0x1p127f; /* finite: m - m is 0 before the first key too */
        w->l[r] = w->nan[r] = 0;
    }
    memset(w->out, 0, w->strips * w->steps * AMX_DEPTH * STRIP * sizeof(float));
}

/* Keys first .. first + n - 1 as they are; missing ones are zero. */
static void load_keys(work *w, size_t first, size_t n)
{
    const qk_heads *h = &w->t->p->heads;
    size_t col = ((size_t)h->H + (size_t)w->t->kv_head) * w->d;
    for (size_t s = 0; s < KEYS; s++) {
        char *to = (char *)w->keys + s / 32 * w->steps * AMX_STEP + amx_row(s % 32);
        for (size_t step = 0; step < w->steps; step++)
            _mm512_store_si512(to + step * AMX_STEP,
                               s < n ? read_step(w, first + s, col, step) : _mm512_setzero_si512());
    }
}

/* Values transposed: [d][keys]. A row holds words of two neighbouring d; two rows give the words
 * of two neighbouring keys, one for the even d and one for the odd one. */
static void load_values(work *w, size_t first, size_t n)
{
    const qk_heads *h = &w->t->p->heads;
    size_t col = ((size_t)h->H + (size_t)h->K + (size_t)w->t->kv_head) * w->d;
    __m512i low_half = _mm512_set1_epi32(0xFFFF);
    for (size_t step = 0; step < w->steps; step++)
        for (size_t s = 0; s < KEYS; s += 32) {
            __m512i even[16], odd[16];
            for (size_t j = 0; j < 16; j++) {
                size_t key = s + 2 * j;
                __m512i zero = _mm512_setzero_si512(),
                        a = key < n ? read_step(w, first + key, col, step) : zero,
                        b = key + 1 < n ? read_step(w, first + key + 1, col, step) : zero;
                even[j] = _mm512_or_si512(_mm512_and_si512(a, low_half), _mm512_slli_epi32(b, 16));
                odd[j] =
                    _mm512_or_si512(_mm512_srli_epi32(a, 16), _mm512_andnot_si512(low_half, b));
            }
            amx_transpose(even);
            amx_transpose(odd);
            char *to = (char *)w->values + (step * 2 + s / 32) * AMX_STEP;
            for (size_t i = 0; i < 16; i++) {
                _mm512_store_si512(to + amx_row(2 * i), even[i]);
                _mm512_store_si512(to + amx_row(2 * i + 1), odd[i]);
            }
        }
}

/* ---- one block of keys for 16 rows ---- */

/* Which keys of a block the 16 rows from r on see: from <= s < to. */
typedef struct view {
    __m512i from, to;
    bool all;
} view;

static view view_of(const work *w, size_t r, size_t begin)
{
    const cpu_attention_tile *t = w->t;
    size_t window = (size_t)t->p->window;
    int32_t from[LANES], to[LANES];
    view v = {.all = true};
    for (size_t i = 0; i < LANES; i++) {
        size_t q = t->first + (r + i < w->R ? (r + i) / w->group : t->rows - 1); /* its position */
        size_t low = window && q + 1 > window ? q + 1 - window : 0;
        from[i] = low > begin ? (int32_t)(low - begin) : 0;
        to[i] = q + 1 > begin ? (int32_t)(q + 1 - begin) : 0;
        v.all = v.all && !from[i] && to[i] >= KEYS;
    }
    v.from = _mm512_loadu_si512(from);
    v.to = _mm512_loadu_si512(to);
    return v;
}

static void cap_scores(const work *w, float *s)
{
    v16 cap = v16_set1(w->t->p->soft_cap), scale = v16_set1(w->t->p->scale);
    for (size_t key = 0; key < KEYS; key++, s += STRIP)
        v16_store(s, v16_mul(cap, v16_tanh(v16_div(v16_mul(v16_load(s), scale), cap))));
}

/* Minus infinity where a row must not attend. */
static void mask_scores(float *s, const view *v)
{
    for (int key = 0; key < KEYS; key++, s += STRIP) {
        __m512i k = _mm512_set1_epi32(key);
        __mmask16 seen = _mm512_cmple_epi32_mask(v->from, k) & _mm512_cmplt_epi32_mask(k, v->to);
        v16_store(s, _mm512_mask_blend_ps(seen, v16_set1(-INFINITY), v16_load(s)));
    }
}

/* Those of 16 rows whose lanes hold a NaN for any key. */
static void note_nan(float *nan, const float *s)
{
    __mmask16 found = 0;
    for (int key = 0; key < KEYS; key++, s += STRIP)
        found |= _mm512_cmp_ps_mask(v16_load(s), v16_load(s), _CMP_UNORD_Q);
    v16_store(nan, _mm512_mask_blend_ps(found, v16_load(nan), v16_set1(NAN)));
}

/* 2^x for x <= 0 (a little above is fine), within 2e-7 of it; 0 below -200.
 *   x = n + r, |r| <= 1/2;  2^x = 2^n p(r), p fitted with p(0) = 1 to 1e-7. */
INLINE v16 exp2_below_zero(v16 x)
{
    static const float p[] = {0.0013264728f, 0.009671513f, 0.055507336f, 0.24022242f, 0.693147f, 1};
    v16 t = v16_max(x, v16_set1(-200)), n = _mm512_roundscale_ps(t, 8); /* ties to even */
    v16 r = v16_sub(t, n), y = v16_set1(p[0]);
    for (int i = 1; i < 6; i++) y = v16_fma(y, r, v16_set1(p[i]));
    return _mm512_scalef_ps(y, n);
}

/* Two vectors, keys 2j and 2j + 1, as pairs of bfloat16: p = high + low. */
INLINE void split_weights(v16 even, v16 odd, uint32_t *high, uint32_t *low)
{
    __m512i upper = _mm512_set1_epi32((int)0xFFFF0000);
    __m512i a = _mm512_and_si512(_mm512_castps_si512(even), upper),
            b = _mm512_and_si512(_mm512_castps_si512(odd), upper);
    _mm512_store_si512(high, _mm512_or_si512(_mm512_srli_epi32(a, 16), b));
    /* what is left is exact, and rounded to bfloat16: even numbers below, odd ones above */
    __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                     23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(v16_sub(odd, _mm512_castsi512_ps(b)),
                                                v16_sub(even, _mm512_castsi512_ps(a)));
    _mm512_store_si512(low, _mm512_permutexvar_epi16(order, both));
}

/* Scores [KEYS][.] of 16 rows to weights, their running maximum and sum, and their part of out
 * (a column of 16 in each of the d rows) scaled down to the new maximum. */
static void softmax_lanes(work *w, size_t r)
{
    size_t lane = r % STRIP;
    const float *s = w->scores + lane;
    v16 factor = v16_set1(w->factor), old = v16_load(w->m + r), now = old, other = old;
    for (size_t key = 0; key < KEYS; key += 2) {
        now = v16_max(v16_mul(v16_load(s + key * STRIP), factor), now);
        other = v16_max(v16_mul(v16_load(s + (key + 1) * STRIP), factor), other);
    }
    now = v16_max(now, other);
    v16 sum = v16_zero(), shift = v16_sub(v16_zero(), now);
    for (size_t key = 0; key < KEYS; key += 2) {
        v16 even = exp2_below_zero(v16_fma(v16_load(s + key * STRIP), factor, shift));
        v16 odd = exp2_below_zero(v16_fma(v16_load(s + (key + 1) * STRIP), factor, shift));
        split_weights(even, odd, w->high + key / 2 * STRIP + lane, w->low + key / 2 * STRIP + lane);
        sum = v16_add(sum, v16_add(even, odd));
    }
    v16 change = exp2_below_zero(v16_sub(old, now));
    v16_store(w->l + r, v16_fma(v16_load(w->l + r), change, sum));
    v16_store(w->m + r, now);
    if (!_mm512_cmp_ps_mask(old, now, _CMP_NEQ_UQ)) return; /* change is 1 in every lane */
    float *out = w->out + r / STRIP * STRIP * w->steps * AMX_DEPTH + lane;
    for (size_t i = 0; i < w->steps * AMX_DEPTH; i++, out += STRIP)
        v16_store(out, v16_mul(v16_load(out), change));
}

/* ---- the tile ---- */

static void attend_strip(work *w, size_t strip, size_t begin)
{
    const uint16_t *queries = w->queries + strip * w->steps * AMX_STEP / 2;
    for (size_t half = 0; half < KEYS / 32; half++) {
        amx_zero();
        amx_product(w->keys + half * w->steps * AMX_STEP / 2, queries, w->steps);
        amx_store(w->scores + half * 32 * STRIP, STRIP);
    }
    for (size_t lane = 0; lane < STRIP; lane += LANES) {
        size_t r = strip * STRIP + lane;
        view v = view_of(w, r, begin);
        if (w->t->p->soft_cap > 0) cap_scores(w, w->scores + lane);
        if (!v.all) mask_scores(w->scores + lane, &v);
        if (w->t->n_lse) note_nan(w->nan + r, w->scores + lane);
        softmax_lanes(w, r);
    }
    for (size_t step = 0; step < w->steps; step++) {
        float *out = w->out + (strip * w->steps + step) * AMX_DEPTH * STRIP;
        const uint16_t *values = w->values + step * 2 * AMX_STEP / 2;
        amx_load(out, STRIP);
        amx_product(values, w->high, KEYS / AMX_DEPTH);
        amx_product(values, w->low, KEYS / AMX_DEPTH);
        amx_store(out, STRIP);
    }
}

/* o = out / l, transposed back, 16 rows and 16 numbers of the head at a time. */
static void store_rows(const work *w)
{
    const cpu_attention_tile *t = w->t;
    for (size_t r = 0; r < w->R; r += LANES) {
        v16 scale = v16_div(v16_set1(1), v16_load(w->l + r));
        for (size_t i = 0; i < w->d; i += 16) {
            const float *from = w->out + (r / STRIP * w->steps * AMX_DEPTH + i) * STRIP + r % STRIP;
            __m512i x[16];
            for (size_t j = 0; j < 16; j++)
                x[j] = _mm512_castps_si512(v16_mul(v16_load(from + j * STRIP), scale));
            amx_transpose(x);
            for (size_t j = 0; j < LANES && r + j < w->R; j++) {
                size_t row = t->seq_begin + t->first + (r + j) / w->group,
                       head = (size_t)t->kv_head * w->group + (r + j) % w->group;
                uint16_t *to = (uint16_t *)t->o.data + row * t->o.stride + head * w->d + i;
                v16_store_bf16(to, _mm512_castsi512_ps(x[j]), w->d - i);
            }
        }
    }
}

void QK_NAME(cpu_tiles_attention)(const cpu_attention_tile *t)
{
    work w = make_work(t);
    size_t window = (size_t)t->p->window, last = t->first + t->rows - 1;
    size_t first_key = window && t->first + 1 > window ? t->first + 1 - window : 0;
    load_queries(&w);
    amx_begin();
    for (size_t block = first_key / KEYS; block <= last / KEYS; block++) {
        size_t begin = block * KEYS, n = last + 1 - begin < KEYS ? last + 1 - begin : KEYS;
        load_keys(&w, begin, n);
        load_values(&w, begin, n);
        for (size_t strip = 0; strip < w.strips; strip++) attend_strip(&w, strip, begin);
    }
    amx_end();
    cpu_give_lse(t, w.m, 0x1.62e42fefa39efp-1, w.l, w.nan); /* ln 2: m is an exponent of 2 */
    store_rows(&w);
}
