/* qkengine synth: a random checkpoint with the shape of a real model. See engine/tools/synth.h. */
#include "engine/tools/synth.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/base/team.h"
#include "engine/commands/cli.h"
#include "engine/families/presets.h"

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

static qk_status run(const qk_args *args, qk_error *err)
{
    static const qk_dtype dtypes[] = {QK_BF16, QK_F32, QK_F16}; /* as the words of --dtype */
    const char *like = qk_value(args, "like"), *folder = qk_arg(args, 0);
    if (qk_has(args, "list")) return list(err);
    qk_log_quiet(qk_has(args, "quiet"));
    if (!like || !folder)
        return qk_fail(err, QK_ERR_USAGE, "qkengine synth --list prints the names", "%s",
                       like ? "a folder is missing" : "--like NAME is missing");
    qk_synth_options options = {
        .dtype = dtypes[qk_value_word(args, "dtype")],
        .layers = (int)qk_value_int(args, "layers"),
        .seed = (uint64_t)qk_value_int(args, "seed"),
        .threads = (int)qk_value_int(args, "threads"),
    };
    qk_synth_result r;
    const qk_preset *preset;
    QK_TRY(qk_preset_need(like, &preset, err));
    qk_arena arena = {0};
    options.name = preset->name;
    options.config = qk_preset_config(preset, &arena);
    qk_interrupt_install(); /* half a file is not left behind */
    qk_status s = qk_team_start(options.threads, err);
    if (s == QK_OK) s = qk_synth(&options, folder, &r, err);
    qk_arena_free(&arena);
    if (s != QK_OK) return s;
    qk_info("%s: %zu tensors, %s parameters, %s in %s (%s/s)", folder, r.tensors,
            qk_human_count((double)r.parameters), qk_human_bytes((double)r.bytes),
            qk_human_seconds(r.seconds), qk_human_bytes((double)r.bytes / r.seconds));
    return QK_OK;
}

static const qk_option options[] = {
    {"like", "NAME", "the model whose config.json is taken: qwen3-8b or Qwen/Qwen3-8B",
     .type = QK_VALUE_PRESET},
    {"layers", "N", "only its first N layers", .type = QK_VALUE_INT, .least = 1, .most = INT32_MAX},
    {"dtype", "NAME", "number format of the weights", .type = QK_VALUE_WORD, .fallback = "bfloat16",
     .words = QK_WORDS("bfloat16", "float32", "float16")},
    {"seed", "S", "other weights", .type = QK_VALUE_INT, .fallback = "0"},
    {"threads", "N", "CPU threads; the bytes do not depend on them. Without it all",
     .type = QK_VALUE_INT, .least = 1, .most = 4096},
    {"list", .help = "print the models that are known"},
    {"quiet", .help = "only warnings and errors"},
    {0},
};

const qk_command qk_command_synth = {
    .name = "synth",
    .arguments = {{"FOLDER", QK_VALUE_FOLDER, .optional = true}}, /* --list needs none */
    .usage = "--like NAME FOLDER",
    .summary = "make a random checkpoint with the shape of a real model",
    .details =
        "For measuring and testing without a download: the published config.json, random weights "
        "of the text model (no output head), and a tokenizer with a token for each byte.",
    .options = options,
    .run = run,
};
