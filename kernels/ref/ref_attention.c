/* The reference backend: captured rows, the step between projection and attention, attention. See
 * kernels/ref/ref.c. */
#include "kernels/ref/ref.h"

/* ---- capture ---- */

/* head: the first column of head 0 of this kind. */
static void copy_rows(qk_tensor qkv, size_t first_col, int d, const qk_row_copy *c,
                      size_t first_row)
{
    for (size_t h = 0; h < c->n_heads; h++)
        for (size_t r = 0; r < c->n_rows; r++) {
            size_t row = (size_t)c->rows[r];
            if (row < first_row || row - first_row >= qkv.rows) continue; /* another chunk's */
            for (int i = 0; i < d; i++)
                c->out[(h * c->n_rows + r) * (size_t)d + (size_t)i] =
                    (float)get(qkv, row - first_row, first_col + (size_t)(c->heads[h] * d + i));
        }
}

static void copy_captured(qk_tensor qkv, qk_heads heads, const qk_layer_capture *capture,
                          size_t first_row)
{
    if (!capture) return;
    for (size_t i = 0; i < capture->n_q; i++) copy_rows(qkv, 0, heads.d, &capture->q[i], first_row);
    for (size_t i = 0; i < capture->n_k; i++)
        copy_rows(qkv, (size_t)(heads.H * heads.d), heads.d, &capture->k[i], first_row);
    QK_ASSERT(heads.has_v || !capture->n_v);
    for (size_t i = 0; i < capture->n_v; i++)
        copy_rows(qkv, (size_t)((heads.H + heads.K) * heads.d), heads.d, &capture->v[i], first_row);
}

void ref_gather(qk_device *dev, qk_tensor qkv, qk_heads heads, const qk_layer_capture *capture)
{
    (void)dev;
    copy_captured(qkv, heads, capture, 0);
}

/* ---- between projection and attention ---- */

/* n columns from `first`: one head, or all heads of a kind. */
static void norm_part(qk_tensor row, size_t first, size_t n, const float *w, const qk_qkv_post *p)
{
    double scale = inverse_rms(row, 0, first, n, p->eps);
    for (size_t i = 0; i < n; i++) {
        double weight = (double)w[i] + (p->norm_plus_one ? 1 : 0);
        set(row, 0, first + i, get(row, 0, first + i) * scale * weight);
    }
}

static void norm_kind(qk_tensor row, size_t first, int heads, const float *w, const qk_qkv_post *p)
{
    size_t n = (size_t)heads, d = (size_t)p->heads.d;
    if (w && p->norm_whole) norm_part(row, first, n * d, w, p);
    for (size_t i = 0; w && !p->norm_whole && i < n; i++) norm_part(row, first + i * d, d, w, p);
}

/* (a, b) -> (a cos - b sin, b cos + a sin) for each pair. */
static void rotate_head(qk_tensor row, size_t first, const float *cosines, const float *sines,
                        const qk_qkv_post *p)
{
    int half = p->rotary / 2;
    for (int i = 0; i < half; i++) {
        size_t a = first + (size_t)(p->interleaved ? 2 * i : i);
        size_t b = first + (size_t)(p->interleaved ? 2 * i + 1 : i + half);
        double x = get(row, 0, a), y = get(row, 0, b), c = cosines[i], s = sines[i];
        set(row, 0, a, x * c - y * s);
        set(row, 0, b, y * c + x * s);
    }
}

void ref_qkv_post(qk_device *dev, qk_tensor out, qk_tensor in, const qk_qkv_post *p,
                  size_t first_row)
{
    (void)dev;
    const qk_heads *h = &p->heads;
    size_t d = (size_t)h->d, width = qk_heads_width(*h), n_rotated = (size_t)(h->H + h->K);
    QK_ASSERT(in.cols == width && out.cols == width);
    /* float32 until the row is done, so that out is rounded once. */
    qk_tensor row = {qk_alloc(width, sizeof(float)), QK_F32, 1, width, width};
    qk_tensor captured = {qk_alloc(in.rows * width, qk_dtype_size(out.dtype)), out.dtype, in.rows,
                          width, width};
    for (size_t t = 0; t < in.rows; t++) {
        for (size_t c = 0; c < width; c++) set(row, 0, c, get(in, t, c));
        norm_kind(row, 0, h->H, p->q_norm, p);
        norm_kind(row, (size_t)h->H * d, h->K, p->k_norm, p);
        for (size_t c = 0; c < width; c++) set(captured, t, c, get(row, 0, c));
        size_t position = (size_t)p->table_row[first_row + t];
        size_t table = position * (size_t)(p->rotary / 2);
        for (size_t i = 0; i < n_rotated && p->cos; i++)
            rotate_head(row, i * d, p->cos + table, p->sin + table, p);
        for (size_t c = 0; c < (size_t)h->H * d && p->q_scale; c++)
            set(row, 0, c, get(row, 0, c) * (double)p->q_scale[position]);
        for (size_t c = 0; c < width; c++) set(out, t, c, get(row, 0, c));
    }
    copy_captured(captured, *h, p->capture, first_row);
    free(row.data);
    free(captured.data);
}

/* ---- attention ---- */

/* One query row of one head: softmax over keys first .. last, all of them at once. Returns the
 * log-sum-exp of the scores: NaN when one of them is NaN or all are minus infinity. */
static double attend_row(qk_tensor o, qk_tensor qkv, const qk_attention *p, size_t t, int head,
                         size_t first, double *weights)
{
    const qk_heads *h = &p->heads;
    size_t d = (size_t)h->d, q_col = (size_t)head * d;
    size_t k_col = ((size_t)h->H + (size_t)(head / (h->H / h->K))) * d,
           v_col = k_col + (size_t)h->K * d;
    double largest = -INFINITY, sum = 0;
    for (size_t s = first; s <= t; s++) {
        double score = 0;
        for (size_t i = 0; i < d; i++) score += get(qkv, t, q_col + i) * get(qkv, s, k_col + i);
        score *= (double)p->scale;
        if (p->soft_cap > 0) score = (double)p->soft_cap * tanh(score / (double)p->soft_cap);
        weights[s - first] = score;
        if (score > largest) largest = score;
    }
    for (size_t s = first; s <= t; s++)
        sum += weights[s - first] = exp(weights[s - first] - largest);
    for (size_t i = 0; i < d; i++) {
        double value = 0;
        for (size_t s = first; s <= t; s++) value += weights[s - first] * get(qkv, s, v_col + i);
        set(o, t, q_col + i, value / sum);
    }
    return largest + log(sum);
}

/* lse [T, H] */
static void copy_lse(const qk_attention *p, const float *lse)
{
    for (size_t i = 0; p->capture && i < p->capture->n_q; i++) {
        const qk_row_copy *c = &p->capture->q[i];
        for (size_t n = 0; c->lse && n < c->n_heads * c->n_rows; n++) {
            QK_ASSERT(!p->wanted || p->wanted[c->rows[n % c->n_rows]]);
            c->lse[n] = lse[c->rows[n % c->n_rows] * p->heads.H + c->heads[n / c->n_rows]];
        }
    }
}

void ref_attention(qk_device *dev, qk_tensor o, qk_tensor qkv, const qk_attention *p)
{
    (void)dev;
    QK_ASSERT(p->heads.has_v && qkv.cols == qk_heads_width(p->heads));
    copy_captured(qkv, p->heads, p->capture, 0);
    double *weights = qk_alloc(qkv.rows, sizeof *weights);
    float *lse = qk_alloc(qkv.rows * (size_t)p->heads.H, sizeof *lse);
    /* Rows from the last to the first: o may stand where q was, and keys are not touched. */
    for (int s = 0; s < p->n_seq; s++)
        for (size_t t = (size_t)p->seq_start[s + 1]; t-- > (size_t)p->seq_start[s];) {
            size_t first = (size_t)p->seq_start[s];
            if (p->wanted && !p->wanted[t]) continue;
            if (p->window && t - first >= (size_t)p->window) first = t - (size_t)p->window + 1;
            for (int head = 0; head < p->heads.H; head++)
                lse[t * (size_t)p->heads.H + (size_t)head] =
                    (float)attend_row(o, qkv, p, t, head, first, weights);
        }
    copy_lse(p, lse);
    free(lse);
    free(weights);
}
