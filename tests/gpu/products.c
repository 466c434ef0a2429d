/* Matrix products of the CUDA backend (cuBLASLt) against the naive double-precision ones: odd
 * shapes, views, bias, adding, the three number formats; and a row's bits for any number of rows.
 *
 *   products          on the GPU; status 77 where there is none
 *   products small    without the large shapes
 *
 * Errors allowed, from theory: n float32 additions in any order are off by at most n 2^-23 sum |x|
 * |w|, half of that when each rounds to nearest; random roundings by about 2^-24 sqrt(n) of the
 * result. TF32, which nobody asked for, would be off by 2^-12.
 *
 * next: tests/gpu/run.sh */
#include "tests/emulated.h"

typedef struct product_case {
    size_t T, in, out, x_pad, y_pad;
    bool bias, accumulate;
} product_case;

static void absolute(float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) v[i] = fabsf(v[i]);
}

/* y on one backend, as floats; with `sizes` of the absolute values of everything. The weight is
 * loaded in two slices. */
static float *run_product(const qk_backend *b, qk_dtype compute, const product_case *c, bool sizes)
{
    qk_device *dev = open_device(b, compute);
    size_t n_x = c->T * (c->in + c->x_pad), n_y = c->T * (c->out + c->y_pad);
    float *x = noises(n_x, 1), *w = noises(c->out * c->in, 2), *bias = noises(c->out, 3);
    float *y = noises(n_y, 4), *out = qk_alloc(c->T * c->out + 1, sizeof *out), *at = out;
    if (sizes)
        absolute(x, n_x), absolute(w, c->out * c->in), absolute(bias, c->out), absolute(y, n_y);
    qk_tensor tx =
        tensor(b, dev, "x", compute == QK_BF16 ? QK_BF16 : QK_F32, c->T, c->in + c->x_pad, x);
    qk_tensor ty = tensor(b, dev, "y", QK_F32, c->T, c->out + c->y_pad, y);
    qk_tensor tb = tensor(b, dev, "bias", QK_F32, 1, c->out, bias);
    qk_matrix *m;
    QK_ASSERT(b->matrix_new(dev, c->out, c->in, "w", &m, &test_error) == QK_OK);
    size_t half = c->out / 2;
    b->matrix_load(dev, m, 0, half, w, QK_F32);
    b->matrix_load(dev, m, half, c->out - half, w + half * c->in, QK_F32);
    b->matmul(dev, qk_cols(ty, c->y_pad, c->out), qk_cols(tx, c->x_pad, c->in), m,
              c->bias ? tb.data : NULL, c->accumulate);
    append_values(b, dev, qk_cols(ty, c->y_pad, c->out), &at);
    qk_status s = b->sync(dev, 0, &test_error);
    CHECK_MSG(s == QK_OK, "%s: %s", b->name, test_error.message);
    b->matrix_free(dev, m);
    b->free(dev, &tx), b->free(dev, &ty), b->free(dev, &tb);
    b->close(dev);
    free(x), free(w), free(bias), free(y);
    return out;
}

static void check_product(qk_dtype compute, const product_case *c)
{
    size_t n = c->T * c->out, bad = 0;
    float *want = run_product(&qk_backend_ref, compute, c, false);
    float *sizes = run_product(&qk_backend_ref, compute, c, true);
    float *got = run_product(tested, compute, c, false);
    double additions = (double)c->in + c->bias + c->accumulate;
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= additions * 0x1p-23 * (double)sizes[i]))
            bad = i + 1;
    difference d = compare(got, want, n);
    CHECK_MSG(!bad && d.rms <= 0x1p-23 * sqrt(additions),
              "%s T %zu in %zu out %zu pads %zu %zu bias %d add %d: rms %.3g, y[%zu] %g, not %g",
              qk_dtype_name(compute), c->T, c->in, c->out, c->x_pad, c->y_pad, c->bias,
              c->accumulate, d.rms, bad ? bad - 1 : 0, (double)got[bad ? bad - 1 : 0],
              (double)want[bad ? bad - 1 : 0]);
    free(want), free(sizes), free(got);
}

static void test_odd_shapes(void)
{
    static const product_case cases[] = {
        {1, 1, 1, 0, 0, false, false},     {1, 64, 64, 0, 0, true, false},
        {7, 33, 65, 0, 0, true, true},     {65, 96, 80, 32, 16, false, true},
        {5, 300, 17, 3, 1, true, false},   {130, 100, 257, 0, 0, false, false},
        {64, 577, 128, 0, 4, true, true},  {300, 128, 96, 8, 0, false, true},
        {2, 1000, 999, 1, 3, true, false},
    };
    static const qk_dtype formats[] = {QK_BF16, QK_F32, QK_F16};
    for (int f = 0; f < 3; f++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            check_product(formats[f], &cases[i]);
}

/* ---- blind to the batch ---- */

enum { MANY = 4096 };

/* y of rows first .. first + n - 1 must have the bits that they have among all. */
static void check_rows(qk_dtype compute, size_t in, size_t out, bool accumulate)
{
    static const size_t counts[] = {1, 7, 64, 65, 300, MANY - 1};
    const qk_backend *b = tested;
    qk_device *dev = open_device(b, compute);
    float *x = noises(MANY * in, 5), *w = noises(out * in, 6), *start = noises(MANY * out, 7);
    float *all = qk_alloc(MANY * out, sizeof *all), *some = qk_alloc(MANY * out, sizeof *some);
    qk_tensor tx = tensor(b, dev, "x", compute == QK_BF16 ? QK_BF16 : QK_F32, MANY, in, x);
    qk_tensor ty = tensor(b, dev, "y", QK_F32, MANY, out, start);
    qk_matrix *m;
    QK_ASSERT(b->matrix_new(dev, out, in, "w", &m, &test_error) == QK_OK);
    b->matrix_load(dev, m, 0, out, w, QK_F32);
    b->matmul(dev, ty, tx, m, NULL, accumulate);
    append_values(b, dev, ty, &(float *){all});
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int last = 0; last < 2; last++) {
            size_t n = counts[i], first = last ? MANY - n : 0;
            b->upload(dev, ty, start, QK_F32);
            b->matmul(dev, qk_rows(ty, first, n), qk_rows(tx, first, n), m, NULL, accumulate);
            append_values(b, dev, qk_rows(ty, first, n), &(float *){some});
            CHECK_MSG(!memcmp(some, all + first * out, n * out * sizeof *some),
                      "%s in %zu out %zu: rows %zu .. have other bits when they are %zu",
                      qk_dtype_name(compute), in, out, first, n);
        }
    CHECK(b->sync(dev, 0, &test_error) == QK_OK);
    b->matrix_free(dev, m);
    b->free(dev, &tx), b->free(dev, &ty);
    b->close(dev);
    free(x), free(w), free(start), free(all), free(some);
}

static bool small;

static void test_blind_to_the_batch(void)
{
    static const qk_dtype formats[] = {QK_BF16, QK_F32};
    for (int f = 0; f < 2; f++) {
        check_rows(formats[f], 48, 40, false);
        if (small) continue;
        check_rows(formats[f], 1024, 576, true);
        check_rows(formats[f], 4096, 6144, false);
    }
}

int main(int argc, char **argv)
{
    small = has_argument(argc, argv, "small");
    test_on_gpu();
    RUN(test_odd_shapes);
    RUN(test_blind_to_the_batch);
    return test_summary("gpu products");
}
