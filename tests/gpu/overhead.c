/* make gpu-bench: what capture costs. A forward over one long sequence of a model on disk, without
 * capture and with sampled rows of every head, queries and keys, of every layer.
 *
 *   overhead MODEL_FOLDER TOKENS ROWS      status 77 where there is no GPU
 *
 * The time is that of the host's clock from the first token id to the last row in host memory: the
 * copies and the host's conversion of rows are a part of what capture costs. The median of ten.
 *
 * next: tests/gpu/run.sh */
#include "tests/emulated.h"

#include "engine/base/log.h"
#include "engine/forward/forward.h"
#include "engine/model/model.h"

enum { TIMES = 10, WARM_UP = 2, IN_FLIGHT = 2 };

/* Rows of the layers in flight, and the lists that name them. */
typedef struct sampled {
    int32_t *rows, *heads;
    qk_row_copy q[IN_FLIGHT], k[IN_FLIGHT];
    qk_layer_capture layers[IN_FLIGHT];
    int done; /* layers whose rows arrived */
} sampled;

static const qk_layer_capture *want(void *context, int layer)
{
    sampled *s = context;
    return &s->layers[layer % IN_FLIGHT];
}

static qk_status take(void *context, int layer, qk_error *err)
{
    sampled *s = context;
    (void)layer, (void)err;
    s->done++;
    return QK_OK;
}

static void open_sampled(sampled *s, const qk_spec *spec, int tokens, int rows)
{
    *s = (sampled){.rows = qk_alloc((size_t)rows, sizeof *s->rows),
                   .heads = qk_alloc((size_t)spec->H, sizeof *s->heads)};
    for (int i = 0; i < rows; i++) s->rows[i] = (int32_t)((int64_t)i * tokens / rows);
    for (int h = 0; h < spec->H; h++) s->heads[h] = h;
    for (int i = 0; i < IN_FLIGHT; i++) {
        size_t n = (size_t)rows, H = (size_t)spec->H, K = (size_t)spec->K, d = (size_t)spec->d;
        s->q[i] = (qk_row_copy){s->rows, s->heads, n, H, qk_alloc(n * H * d, sizeof(float)), NULL};
        s->k[i] = (qk_row_copy){s->rows, s->heads, n, K, qk_alloc(n * K * d, sizeof(float)), NULL};
        s->layers[i] = (qk_layer_capture){&s->q[i], &s->k[i], 1, 1, NULL, 0};
    }
}

static void close_sampled(sampled *s)
{
    for (int i = 0; i < IN_FLIGHT; i++) free(s->q[i].out), free(s->k[i].out);
    free(s->rows), free(s->heads);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void end_on(qk_status status, const qk_error *err)
{
    if (status == QK_OK) return;
    printf("FAILED: %s\n", err->message);
    exit(1);
}

/* Milliseconds of a forward. */
static double time_forward(qk_forward *f, const qk_batch *batch, const qk_capture_hooks *hooks)
{
    double ms[TIMES];
    for (int i = -WARM_UP; i < TIMES; i++) {
        double start = qk_now();
        end_on(qk_forward_run(f, batch, hooks, &test_error), &test_error);
        if (i >= 0) ms[i] = 1000 * (qk_now() - start);
    }
    qsort(ms, TIMES, sizeof *ms, by_size);
    return (ms[TIMES / 2 - 1] + ms[TIMES / 2]) / 2;
}

static void measure(const char *folder, int tokens, int rows)
{
    qk_model_options options = {
        .backend = tested, .device = {.compute = QK_BF16}, .last_layer = -1};
    qk_model model;
    end_on(qk_model_load(&model, folder, &options, &test_error), &test_error);
    const qk_spec *spec = &model.spec;
    int32_t *ids = qk_alloc((size_t)tokens, sizeof *ids), starts[] = {0, tokens};
    for (int t = 0; t < tokens; t++) ids[t] = (int32_t)((int64_t)t * 7919 % spec->V);
    qk_batch batch = {ids, starts, 1};
    qk_forward *f = qk_forward_new(&model);
    sampled s;
    open_sampled(&s, spec, tokens, rows);
    double without = time_forward(f, &batch, &(qk_capture_hooks){0});
    double with = time_forward(f, &batch, &(qk_capture_hooks){&s, NULL, want, take, NULL});
    int expected = spec->layers * (TIMES + WARM_UP);
    if (s.done != expected) qk_fatal("%d layers were taken, not %d", s.done, expected);
    double flops = qk_forward_flops(spec, -1, QK_LAST_WHOLE, tokens);
    printf("\n| forward of %d layers, %d tokens, D %d, H %d, K %d, d %d | ms | TFLOP/s |\n"
           "|---|---:|---:|\n| without capture | %.1f | %.0f |\n"
           "| with %d rows of all heads, q and k | %.1f | %.0f |\n\nCapture costs %.1f %%.\n",
           spec->layers, tokens, spec->D, spec->H, spec->K, spec->d, without, flops / without / 1e9,
           rows, with, flops / with / 1e9, 100 * (with / without - 1));
    close_sampled(&s);
    qk_forward_free(f);
    qk_model_free(&model);
    free(ids);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        printf("usage: overhead MODEL_FOLDER TOKENS ROWS\n");
        return 2;
    }
    test_on_gpu();
    measure(argv[1], atoi(argv[2]), atoi(argv[3]));
    return 0;
}
