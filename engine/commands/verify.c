/* qkengine verify MODEL GOLDEN: how far the forward pass is from stored true values. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/team.h"
#include "engine/commands/cli.h"
#include "engine/tools/verify.h"
#include "formats/safetensors.h"

/* The largest number under "bf16_error" of the meta.json beside a golden: how far the same forward
 * in bfloat16 is from float32 in transformers. 0 when there is none. */
static qk_status stated_bf16_error(const char *golden, double *largest, qk_error *err)
{
    const char *slash = strrchr(golden, '/');
    char *meta = qk_strf("%.*smeta.json", slash ? (int)(slash + 1 - golden) : 0, golden);
    qk_arena arena = {0};
    const qk_json *root;
    *largest = 0;
    qk_status s = qk_json_parse_if_there(&arena, meta, 1 << 24, &root, err);
    const qk_json *errors = s == QK_OK ? qk_json_get(root, "bf16_error") : NULL;
    for (const qk_json *layer = errors ? errors->first : NULL; layer; layer = layer->next)
        for (const qk_json *e = layer->first; e; e = e->next)
            if (e->number > *largest) *largest = e->number;
    qk_arena_free(&arena);
    free(meta);
    return s;
}

/* The goldens state no 16-bit error for the last hidden state: behind a router, a token whose best
 * experts are almost equal may go to either. */
static bool is_judged(const qk_verified *item, qk_dtype compute)
{
    return item->layer >= 0 || compute == QK_F32;
}

static bool is_within(const qk_verified *item, qk_dtype compute, double tolerance)
{
    return item->rms_error <= tolerance || !is_judged(item, compute);
}

static void print_json(const qk_verification *v, qk_dtype compute, double tolerance, bool passed)
{
    qk_json_out o = {0};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_bool(&o, "passed", passed);
    qk_json_add_num(&o, "tolerance", tolerance);
    qk_json_add_bool(&o, "same_bits", v->same_bits);
    qk_json_add_str(&o, "device", v->device);
    qk_json_add_int(&o, "tokens", v->tokens);
    qk_json_add_num(&o, "seconds", v->seconds);
    qk_json_begin(&o, "tensors", '{');
    for (size_t i = 0; i < v->count; i++) {
        qk_json_begin(&o, v->items[i].name, '{');
        qk_json_add_num(&o, "rms", v->items[i].rms_error);
        qk_json_add_num(&o, "max", v->items[i].max_error);
        qk_json_add_bool(&o, "judged", is_judged(&v->items[i], compute));
        qk_json_end(&o, '}');
    }
    qk_json_end(&o, '}');
    qk_json_end(&o, '}');
    qk_print_json(&o);
}

static void print_table(const qk_verification *v, qk_dtype compute, double tolerance, bool passed)
{
    printf("%-14s %12s %12s\n", "tensor", "RMS error", "largest");
    for (size_t i = 0; i < v->count; i++)
        printf("%-14s %12.3e %12.3e%s\n", v->items[i].name, v->items[i].rms_error,
               v->items[i].max_error,
               !is_judged(&v->items[i], compute)             ? "  (not judged in 16 bits)"
               : is_within(&v->items[i], compute, tolerance) ? ""
                                                             : "  <- too far");
    printf("\nerrors are relative to the RMS of the golden tensor; allowed RMS error %.3e\n",
           tolerance);
    printf("alone, together and in reverse order: %s\n",
           v->same_bits ? "the same bits" : "DIFFERENT BITS");
    printf("%lld tokens in %.3f s, %s\n%s\n", (long long)v->tokens, v->seconds, v->device,
           passed ? "passed" : "FAILED");
}

static qk_status dump(const qk_verification *v, const char *path, qk_error *err)
{
    qk_st_out_tensor *out = qk_zalloc(v->count, sizeof *out);
    for (size_t i = 0; i < v->count; i++) {
        out[i] = (qk_st_out_tensor){.name = v->items[i].name,
                                    .dtype = "F32",
                                    .n_dims = v->items[i].n_dims,
                                    .data = v->items[i].data};
        memcpy(out[i].shape, v->items[i].shape, sizeof out[i].shape);
    }
    qk_status s = qk_safetensors_write(path, out, v->count, err);
    free(out);
    return s;
}

static qk_status report(const qk_args *args, const qk_verification *v, qk_dtype compute,
                        qk_error *err)
{
    const char *path = qk_value(args, "dump");
    if (path) QK_TRY(dump(v, path, err));
    double tolerance = qk_value_num(args, "tolerance");
    /* What a golden allows (tests/README.md): 2e-6 relative RMS per layer in float32; in 16 bits
     * what the same rounding costs transformers. */
    if (!qk_has(args, "tolerance") && compute == QK_F32) tolerance = 2e-6 * v->layers;
    if (!qk_has(args, "tolerance") && compute != QK_F32) {
        QK_TRY(stated_bf16_error(qk_arg(args, 1), &tolerance, err));
        if (tolerance <= 0) tolerance = 3e-2;
    }
    bool passed = v->same_bits;
    for (size_t i = 0; i < v->count; i++) passed &= is_within(&v->items[i], compute, tolerance);
    if (qk_has(args, "json"))
        print_json(v, compute, tolerance, passed);
    else
        print_table(v, compute, tolerance, passed);
    if (passed) return QK_OK;
    return qk_fail(err, QK_ERR_DIFFERS, NULL, "%s: the forward pass is not within bounds",
                   qk_arg(args, 1));
}

static qk_status run(const qk_args *args, qk_error *err)
{
    static const qk_dtype dtypes[] = {QK_F32, QK_BF16, QK_F16}; /* as the words of --dtype */
    const char *backend = qk_value(args, "backend");
    qk_model_options options = {.last_layer = -1, .backend = qk_backend_find(backend)};
    options.device = (qk_device_options){.compute = dtypes[qk_value_word(args, "dtype")],
                                         .threads = (int)qk_value_int(args, "threads"),
                                         .isa = qk_value(args, "isa")};
    if (!options.backend)
        return qk_fail(err, QK_ERR_USAGE, NULL, "--backend %s: unknown; this build has %s", backend,
                       qk_backend_names());
    /* What is done besides the device's work. */
    if (options.device.threads) qk_threads_set(options.device.threads, "--threads");
    qk_verification v;
    QK_TRY(qk_team_start(0, err));
    QK_TRY(qk_verify(&v, qk_arg(args, 0), qk_arg(args, 1), &options, err));
    qk_status s = report(args, &v, options.device.compute, err);
    qk_verification_free(&v);
    return s;
}

static const qk_option options[] = {
    {"backend", "NAME", "what computes; ref is naive, in double precision", .type = QK_VALUE_WORD,
     .fallback = "cpu", .words = QK_WORDS("auto", "cpu", "ref", "cuda")},
    {"dtype", "NAME", "number format of weights and arithmetic", .type = QK_VALUE_WORD,
     .fallback = "float32", .words = QK_WORDS("float32", "bfloat16", "float16")},
    {"threads", "N", "CPU threads; 0 is as many as CPUs may be used", .type = QK_VALUE_INT,
     .fallback = "0", .most = 4096},
    {"isa", "NAME", "instruction set of the cpu backend, without it the best",
     .type = QK_VALUE_WORD, .words = QK_WORDS("portable", "avx2", "avx512", "avx512bf16", "amx")},
    {"tolerance", "X", "allowed relative RMS error instead of the standard one",
     .type = QK_VALUE_NUMBER},
    {"dump", "FILE", "write the computed tensors under the golden's names", .type = QK_VALUE_FILE},
    QK_OPTION_JSON("machine-readable result on standard output"),
    {0},
};

const qk_command qk_command_verify = {
    .name = "verify",
    .arguments = {{"MODEL", QK_VALUE_FOLDER}, {"GOLDEN.safetensors", QK_VALUE_FILE}},
    .summary = "compare the forward pass with stored true queries and keys",
    .details =
        "MODEL is a folder with config.json and safetensors. Every sequence of the golden runs "
        "alone, in one batch and in a reversed batch; all three must give the same bits.",
    .options = options,
    .run = run,
};
