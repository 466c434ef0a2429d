/* Attention of which only some rows are wanted (qk_attention.wanted), and rows that are taken by a
 * list: on one backend, against the same backend that gives all rows. */
#pragma once

#include "kernels/backend.h"
#include "tests/test.h"

enum { WANTED_T = 300, WANTED_H = 4, WANTED_K = 2, WANTED_D = 32, WANTED_LSE = 4 };

/* o, float32 or bfloat16, and log-sum-exps of four rows of all heads. */
typedef struct wanted_output {
    float lse[WANTED_H * WANTED_LSE], q[WANTED_H * WANTED_LSE * WANTED_D];
    uint8_t o[WANTED_T * WANTED_H * WANTED_D * 4];
} wanted_output;

static inline void wanted_run(const qk_backend *b, qk_device *dev, qk_dtype format,
                              const float *values, int window, const uint8_t *wanted,
                              wanted_output *out)
{
    static const int32_t starts[] = {0, 131, 140, WANTED_T}, rows[] = {3, 133, 137, 290},
                         heads[] = {0, 1, 2, 3};
    qk_heads h = {WANTED_H, WANTED_K, WANTED_D, true};
    qk_tensor qkv;
    QK_ASSERT(b->alloc(dev, format, WANTED_T, qk_heads_width(h), "qkv", &qkv, &test_error) ==
              QK_OK);
    b->upload(dev, qkv, values, QK_F32);
    qk_row_copy q = {rows, heads, WANTED_LSE, WANTED_H, out->q, out->lse};
    qk_layer_capture capture = {.q = &q, .n_q = 1};
    qk_attention p = {.heads = h,
                      .seq_start = starts,
                      .n_seq = 3,
                      .window = window,
                      .scale = 0.2f,
                      .capture = &capture,
                      .wanted = wanted};
    qk_tensor o = qk_cols(qkv, 0, WANTED_H * WANTED_D);
    b->attention(dev, o, qkv, &p);
    b->download(dev, out->o, o);
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    b->free(dev, &qkv);
}

/* Some rows have the bits that they have among all. */
static inline void check_wanted(const qk_backend *b, qk_device *dev, qk_dtype format,
                                const char *name)
{
    static wanted_output all, some;
    static float values[WANTED_T * (WANTED_H + 2 * WANTED_K) * WANTED_D];
    uint64_t random = 3;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(random >> 40) / 8388608.0f - 1;
    }
    size_t row_bytes = WANTED_H * WANTED_D * qk_dtype_size(format);
    for (int window = 0; window < 60; window += 50) {
        wanted_run(b, dev, format, values, window, NULL, &all);
        for (int every = 7; every < 100; every = 5 * every + 2) {
            uint8_t wanted[WANTED_T];
            size_t wrong = 0;
            for (size_t t = 0; t < WANTED_T; t++) wanted[t] = t % (size_t)every == 0 || t / 32 == 9;
            wanted[3] = wanted[133] = wanted[137] = wanted[290] = 1;
            memset(&some, 0xEE, sizeof some);
            wanted_run(b, dev, format, values, window, wanted, &some);
            for (size_t t = 0; t < WANTED_T; t++)
                wrong += wanted[t] &&
                         memcmp(all.o + t * row_bytes, some.o + t * row_bytes, row_bytes) != 0;
            CHECK_MSG(!wrong, "%s, window %d, every %d: %zu rows are others", name, window, every,
                      wrong);
            CHECK(!memcmp(all.lse, some.lse, sizeof all.lse) && !isnan(all.lse[0]));
            CHECK(!memcmp(all.q, some.q, sizeof all.q));
        }
    }
}

/* Rows of host memory, of both formats that activations have. */
static inline void check_row_list(const qk_backend *b, qk_device *dev)
{
    enum { ROWS = 70, COLS = 12, TAKEN = 5 };
    static const int32_t rows[TAKEN] = {0, 3, 4, 44, ROWS - 1};
    static const qk_dtype formats[] = {QK_F32, QK_BF16};
    float values[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++) values[i] = (float)(i % 256);
    for (int f = 0; f < 2; f++) {
        qk_tensor x, y, same;
        uint8_t all[ROWS * COLS * 4], got[TAKEN * COLS * 4];
        QK_ASSERT(b->alloc(dev, formats[f], ROWS, COLS, "x", &x, &test_error) == QK_OK);
        QK_ASSERT(b->alloc(dev, formats[f], TAKEN, COLS, "y", &y, &test_error) == QK_OK);
        QK_ASSERT(b->alloc(dev, formats[f], TAKEN, COLS, "z", &same, &test_error) == QK_OK);
        b->upload(dev, x, values, QK_F32);
        b->take_rows(dev, y, x, b->row_list(dev, rows, TAKEN));
        if (formats[f] == QK_F32) b->convert(dev, same, y);
        b->download(dev, all, x);
        b->download(dev, got, formats[f] == QK_F32 ? same : y);
        CHECK(b->sync(dev, 0, &test_error) == QK_OK);
        size_t bytes = COLS * qk_dtype_size(formats[f]);
        for (size_t i = 0; i < TAKEN; i++)
            CHECK(!memcmp(got + i * bytes, all + (size_t)rows[i] * bytes, bytes));
        b->free(dev, &x), b->free(dev, &y), b->free(dev, &same);
    }
}
