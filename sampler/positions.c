/* Masks, buckets and the row limit. See positions.h; next: sampler/heads.h */
#include "sampler/positions.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "sampler/listed.h"
#include "sampler/mt19937.h"

static const char *const KIND_NAMES[] = {"log_uniform", "uniform", "all"};

const char *qk_sampler_kind_name(qk_sampler_kind kind)
{
    return KIND_NAMES[kind];
}

/* First position of log bucket b: 2^b - 1, but from b = 21 on float32(log2(p + 1)) is b already for
 * the last few positions before it. */
static const int32_t LOG_FIRST[] = {0,       1,       3,       7,        15,       31,      63,
                                    127,     255,     511,     1023,     2047,     4095,    8191,
                                    16383,   32767,   65535,   131071,   262143,   524287,  1048575,
                                    2097150, 4194301, 8388602, 16777204, 33554410, 67108819};
enum { LOG_BUCKETS = sizeof LOG_FIRST / sizeof *LOG_FIRST };

int32_t qk_sampler_bucket(const qk_sampler *s, int32_t position)
{
    QK_ASSERT(position >= 0 && position < QK_SAMPLER_MAX_TOKENS);
    if (s->kind != QK_SAMPLE_LOG_UNIFORM)
        return (int32_t)((float)position / (float)s->min_bucket_size); /* floor: not negative */
    int32_t bucket = 31 - __builtin_clz((uint32_t)position + 1);
    uint64_t size = (uint64_t)s->min_bucket_size; /* lowest = ceil(log2(size)): 0 .. 31 */
    int32_t lowest = size == 1 ? 0 : 64 - __builtin_clzll(size - 1);
    if (bucket + 1 < LOG_BUCKETS && position >= LOG_FIRST[bucket + 1]) bucket++;
    return bucket > lowest ? bucket : lowest;
}

/* Positions first .. end-1 that share one limit: kept when rand24 < limit. */
typedef struct segment {
    int32_t first, end;
    uint32_t limit; /* 0 .. 2^24 */
} segment;

/* How many of the 2^24 values of torch.rand, all exact in float32, are below `limit`. */
static uint32_t values_below(float limit)
{
    return (uint32_t)ceil(fmin((double)limit, 1.0) * 0x1p24);
}

/* The segment that starts at `first`, not beyond n. */
static segment segment_at(const qk_sampler *s, int32_t first, int32_t n)
{
    if (first < s->first) return (segment){first, s->first < n ? s->first : n, 1u << 24};
    if (s->kind == QK_SAMPLE_ALL) return (segment){first, n, 1u << 24};
    if (s->kind == QK_SAMPLE_UNIFORM) { /* divided in double, compared in float32 */
        double limit = fmin(s->base_rate / (double)s->min_bucket_size, 1.0);
        return (segment){first, n, values_below((float)limit)};
    }
    int32_t b = qk_sampler_bucket(s, first);
    int32_t end = b + 1 < LOG_BUCKETS && LOG_FIRST[b + 1] < n ? LOG_FIRST[b + 1] : n;
    float rate = (float)fmin(s->base_rate, 0x1p32); /* 2^32 keeps everything in every bucket */
    return (segment){first, end, values_below(rate / ldexpf(1.0f, b))};
}

double qk_sampler_expected_rows(const qk_sampler *s, int32_t n_tokens)
{
    double rows = 0;
    if (s->listed) return fmin(fmax(qk_listed_mean(s->listed), s->first), n_tokens);
    for (int32_t p = 0; p < n_tokens;) {
        segment part = segment_at(s, p, n_tokens);
        rows += (double)(part.end - part.first) * part.limit * 0x1p-24;
        p = part.end;
    }
    return s->max_rows > 0 ? fmin(rows, (double)s->max_rows) : rows;
}

static void reserve(qk_sampled_rows *rows, int32_t extra)
{
    if (extra <= rows->capacity - rows->count) return;
    int32_t capacity = rows->count + (extra > rows->count ? extra : rows->count);
    rows->positions = qk_realloc(rows->positions, (size_t)capacity, sizeof *rows->positions);
    rows->buckets = qk_realloc(rows->buckets, (size_t)capacity, sizeof *rows->buckets);
    rows->capacity = capacity;
}

/* Draws for a segment, a block of the generator's words at a time. */
static void draw_segment(qk_mt19937 *g, segment part, qk_sampled_rows *rows)
{
    for (int32_t p = part.first; p < part.end;) {
        if (g->used == QK_MT_WORDS) qk_mt19937_refill(g);
        int32_t left = (int32_t)(QK_MT_WORDS - g->used),
                n = part.end - p < left ? part.end - p : left;
        const uint32_t *words = g->words + g->used;
        reserve(rows, n);
        int32_t *out = rows->positions, count = rows->count;
        for (int32_t i = 0; i < n; i++) { /* without a branch: half of them would be mispredicted */
            out[count] = p + i;
            count += qk_torch_rand24(words[i]) < part.limit;
        }
        rows->count = count;
        g->used += (uint32_t)n;
        p += n;
    }
}

static void draw_mask(const qk_sampler *s, const qk_draw *d, qk_sampled_rows *rows)
{
    qk_mt19937 g;
    uint64_t seed = d->mask_head < 0
                        ? qk_seed_shared_mask(d->example_id, d->layer, d->kind)
                        : qk_seed_head_mask(d->example_id, d->layer, d->mask_head, d->kind);
    qk_mt19937_seed(&g, (uint32_t)seed);
    for (int32_t p = 0; p < d->n_tokens;) {
        segment part = segment_at(s, p, d->n_tokens);
        draw_segment(&g, part, rows);
        p = part.end;
    }
}

/* Those below s->first, and listed ones behind them. */
static void take_listed(const qk_sampler *s, const qk_draw *d, qk_sampled_rows *rows)
{
    int32_t count, first = s->first < d->n_tokens ? s->first : d->n_tokens;
    const int32_t *listed = qk_listed_of(s->listed, d->example_id, &count);
    reserve(rows, first + count);
    for (int32_t p = 0; p < first; p++) rows->positions[rows->count++] = p;
    for (int32_t i = 0; i < count && listed[i] < d->n_tokens; i++)
        if (listed[i] >= first) rows->positions[rows->count++] = listed[i];
}

/* The row limit: positions below s->first stay where they are. */
static void limit_rows(const qk_sampler *s, const qk_draw *d, qk_sampled_rows *rows)
{
    if (s->max_rows <= 0 || rows->count <= s->max_rows) return;
    size_t first = (size_t)(s->first < d->n_tokens ? s->first : d->n_tokens);
    size_t limit = (size_t)s->max_rows, count = (size_t)rows->count;
    QK_ASSERT(first <= limit);
    qk_mt19937 g;
    uint64_t seed = qk_seed_row_limit(d->example_id, d->layer, d->first_head, d->kind);
    qk_mt19937_seed(&g, (uint32_t)seed);
    qk_torch_shuffle(&g, rows->positions + first, count - first, limit - first);
    rows->count = (int32_t)limit;
}

void qk_sampler_draw(const qk_sampler *s, const qk_draw *d, qk_sampled_rows *rows)
{
    QK_ASSERT(d->n_tokens >= 0 && d->n_tokens <= QK_SAMPLER_MAX_TOKENS);
    rows->count = 0;
    if (s->listed) {
        take_listed(s, d, rows);
    } else if (s->kind == QK_SAMPLE_ALL) {
        reserve(rows, d->n_tokens);
        for (int32_t p = 0; p < d->n_tokens; p++) rows->positions[p] = p;
        rows->count = d->n_tokens;
    } else {
        draw_mask(s, d, rows);
    }
    if (!s->listed) limit_rows(s, d, rows);
    for (int32_t i = 0; i < rows->count; i++)
        rows->buckets[i] = qk_sampler_bucket(s, rows->positions[i]);
}

void qk_sampled_rows_free(qk_sampled_rows *rows)
{
    free(rows->positions);
    free(rows->buckets);
    *rows = (qk_sampled_rows){0};
}
