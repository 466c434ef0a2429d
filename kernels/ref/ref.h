/* What the files of the reference backend share: the device, the matrix, one element at a time.
 *
 * next: kernels/ref/ref.c */
#pragma once

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

struct qk_device {
    qk_dtype compute;
    int32_t *starts, *rows; /* of the last route */
    float *weights;
    qk_routes routes;
};

struct qk_matrix {
    size_t out, in;
    float *w; /* [out, in], rounded to the compute format */
};

static inline double get(qk_tensor t, size_t row, size_t col)
{
    size_t i = row * t.stride + col;
    if (t.dtype == QK_F32) return (double)((const float *)t.data)[i];
    uint16_t h = ((const uint16_t *)t.data)[i];
    return (double)(t.dtype == QK_BF16 ? qk_bf16_to_f32(h) : qk_f16_to_f32(h));
}

static inline void set(qk_tensor t, size_t row, size_t col, double value)
{
    size_t i = row * t.stride + col;
    QK_ASSERT(t.dtype != QK_F16); /* activations are float32 or bfloat16 */
    if (t.dtype == QK_F32)
        ((float *)t.data)[i] = (float)value;
    else
        ((uint16_t *)t.data)[i] = qk_f32_to_bf16((float)value);
}

/* 1 / sqrt(mean(x^2) + eps) of columns first .. first + n - 1. */
static inline double inverse_rms(qk_tensor x, size_t row, size_t first, size_t n, float eps)
{
    double sum = 0;
    for (size_t c = 0; c < n; c++) sum += get(x, row, first + c) * get(x, row, first + c);
    return 1 / sqrt(sum / (double)n + (double)eps);
}

/* kernels/ref/ref_attention.c and ref_experts.c: slots of the op table */
void ref_qkv_post(qk_device *, qk_tensor, qk_tensor, const qk_qkv_post *, size_t);
void ref_attention(qk_device *, qk_tensor, qk_tensor, const qk_attention *);
void ref_gather(qk_device *, qk_tensor, qk_heads, const qk_layer_capture *);
const qk_routes *ref_route(qk_device *, qk_tensor, int, bool);
const int32_t *ref_row_list(qk_device *, const int32_t *, size_t);
void ref_take_rows(qk_device *, qk_tensor, qk_tensor, const int32_t *);
void ref_add_rows(qk_device *, qk_tensor, qk_tensor, const int32_t *, const float *);
void ref_forget_routes(qk_device *);
