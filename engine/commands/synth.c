/* qkengine synth: a random checkpoint with the shape of a real model. See engine/tools/synth.h. */
#include "engine/tools/synth.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/base/thread.h"
#include "engine/commands/cli.h"

static qk_status list(qk_error *err)
{
    const qk_preset *p;
    printf("%-22s %-42s %12s %6s %5s %8s %8s\n", "name", "repository", "parameters", "layers",
           "heads", "kv_heads", "head_dim");
    for (size_t i = 0; (p = qk_preset_at(i)); i++) {
        qk_arena arena = {0};
        qk_spec s;
        qk_status status =
            qk_spec_from(&s, qk_preset_config(p, &arena), NULL, p->name, &arena, err);
        if (status == QK_OK)
            printf("%-22s %-42s %12llu %6d %5d %8d %8d\n", p->name, p->repository,
                   (unsigned long long)p->parameters, s.layers, s.H, s.K, s.d);
        qk_arena_free(&arena);
        QK_TRY(status);
    }
    return QK_OK;
}

static qk_status read_dtype(const qk_args *args, qk_dtype *out, qk_error *err)
{
    static const qk_dtype all[] = {QK_BF16, QK_F32, QK_F16};
    const char *name = qk_value(args, "dtype", "bfloat16");
    const char *names[4] = {0};
    for (int i = 0; i < 3; i++) {
        *out = all[i];
        names[i] = qk_dtype_name(all[i]);
        if (!strcmp(name, names[i])) return QK_OK;
    }
    const char *near = qk_nearest(name, names);
    return qk_fail(err, QK_ERR_USAGE, "known: bfloat16, float32, float16",
                   "--dtype '%.100s' is not known%s%s%s", name, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

static qk_status read_options(const qk_args *args, qk_synth_options *o, qk_error *err)
{
    int64_t layers, seed, threads;
    const char *like = qk_value(args, "like", NULL);
    if (!like || !qk_arg(args, 0))
        return qk_fail(err, QK_ERR_USAGE, "qkengine synth --list prints the names", "%s",
                       like ? "a folder is missing" : "--like NAME is missing");
    QK_TRY(qk_preset_need(like, &o->preset, err));
    QK_TRY(read_dtype(args, &o->dtype, err));
    QK_TRY(qk_value_int(args, "layers", 0, 1, &layers, err));
    QK_TRY(qk_value_int(args, "seed", 0, 0, &seed, err));
    QK_TRY(qk_value_int(args, "threads", 0, 1, &threads, err));
    if (layers > INT32_MAX || threads > 4096)
        return qk_fail(err, QK_ERR_USAGE, NULL, "--%s is too large",
                       threads > 4096 ? "threads" : "layers");
    o->layers = (int)layers, o->seed = (uint64_t)seed, o->threads = (int)threads;
    return QK_OK;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    if (qk_has(args, "list")) return list(err);
    qk_synth_options options = {0};
    qk_synth_result r;
    qk_log_quiet(qk_has(args, "quiet"));
    QK_TRY(read_options(args, &options, err));
    QK_TRY(qk_team_start(options.threads, err));
    qk_interrupt_install(); /* half a file is not left behind */
    QK_TRY(qk_synth(&options, qk_arg(args, 0), &r, err));
    qk_info("%s: %zu tensors, %s parameters, %s in %s (%s/s)", qk_arg(args, 0), r.tensors,
            qk_human_count((double)r.parameters), qk_human_bytes((double)r.bytes),
            qk_human_seconds(r.seconds), qk_human_bytes((double)r.bytes / r.seconds));
    return QK_OK;
}

static const qk_option options_known[] = {
    {"like", "NAME", "the model whose config.json is taken: qwen3-8b or Qwen/Qwen3-8B"},
    {"layers", "N", "only its first N layers"},
    {"dtype", "TYPE", "bfloat16 (unless given), float32 or float16"},
    {"seed", "S", "other weights (0)"},
    {"threads", "N", "CPU threads (all); the bytes do not depend on them"},
    {"list", NULL, "print the models that are known"},
    {"quiet", NULL, "only warnings and errors"},
    {NULL, NULL, NULL},
};

const qk_command qk_command_synth = {
    .name = "synth",
    .arguments = "--like NAME FOLDER",
    .summary = "make a random checkpoint with the shape of a real model",
    .details = "For measuring and testing without a download: the published config.json, random\n"
               "weights of the text model (no output head), and a tokenizer with a token for each "
               "byte.",
    .options = options_known,
    .least = 0,
    .most = 1,
    .run = run,
};
