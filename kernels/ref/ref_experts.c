/* The reference backend: mixture of experts, row by row. See kernels/ref/ref.c. */
#include "kernels/ref/ref.h"

void ref_forget_routes(qk_device *dev)
{
    free(dev->starts);
    free(dev->rows);
    free(dev->weights);
}

/* The top_k experts of one row, best first, and their softmax weights. */
static void choose_experts(qk_tensor logits, size_t t, int top_k, bool renormalise, int32_t *chosen,
                           double *weight)
{
    double largest = -INFINITY, total = 0, kept = 0;
    for (size_t e = 0; e < logits.cols; e++) largest = fmax(largest, get(logits, t, e));
    for (size_t e = 0; e < logits.cols; e++) total += exp(get(logits, t, e) - largest);
    for (int k = 0; k < top_k; k++) {
        int32_t best = -1;
        for (size_t e = 0; e < logits.cols; e++) {
            bool taken = false;
            for (int j = 0; j < k; j++) taken |= chosen[j] == (int32_t)e;
            if (!taken && (best < 0 || get(logits, t, e) > get(logits, t, (size_t)best)))
                best = (int32_t)e;
        }
        chosen[k] = best;
        kept += weight[k] = exp(get(logits, t, (size_t)best) - largest) / total;
    }
    for (int k = 0; k < top_k && renormalise; k++) weight[k] /= kept;
}

const qk_routes *ref_route(qk_device *dev, qk_tensor logits, int top_k, bool renormalise)
{
    size_t T = logits.rows, E = logits.cols, n = T * (size_t)top_k, at = 0;
    ref_forget_routes(dev);
    dev->starts = qk_alloc(E + 1, sizeof *dev->starts);
    dev->rows = qk_alloc(n, sizeof *dev->rows);
    dev->weights = qk_alloc(n, sizeof *dev->weights);
    int32_t *chosen = qk_alloc(n, sizeof *chosen);
    double *weight = qk_alloc(n, sizeof *weight);
    for (size_t t = 0; t < T; t++)
        choose_experts(logits, t, top_k, renormalise, chosen + t * (size_t)top_k,
                       weight + t * (size_t)top_k);
    for (size_t e = 0; e < E; e++) {
        dev->starts[e] = (int32_t)at;
        for (size_t i = 0; i < n; i++)
            if (chosen[i] == (int32_t)e) {
                dev->rows[at] = (int32_t)(i / (size_t)top_k);
                dev->weights[at++] = (float)weight[i];
            }
    }
    dev->starts[E] = (int32_t)at;
    free(chosen);
    free(weight);
    dev->routes = (qk_routes){dev->starts, dev->rows, dev->weights};
    return &dev->routes;
}

const int32_t *ref_row_list(qk_device *dev, const int32_t *rows, size_t n)
{
    (void)dev;
    (void)n;
    return rows;
}

void ref_take_rows(qk_device *dev, qk_tensor y, qk_tensor x, const int32_t *rows)
{
    (void)dev;
    for (size_t i = 0; i < y.rows; i++)
        for (size_t c = 0; c < y.cols; c++) set(y, i, c, get(x, (size_t)rows[i], c));
}

void ref_add_rows(qk_device *dev, qk_tensor x, qk_tensor y, const int32_t *rows,
                  const float *weights)
{
    (void)dev;
    for (size_t i = 0; i < y.rows; i++)
        for (size_t c = 0; c < y.cols; c++)
            set(x, (size_t)rows[i], c,
                get(x, (size_t)rows[i], c) + (double)weights[i] * get(y, i, c));
}
