/* qkengine inspect PATH: what a checkpoint, tokenizer, Parquet file, output of a run or dataset
 * holds. This file decides which of them it is. */
#include "engine/commands/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/diff.h"
#include "engine/manifest.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static bool has_file(const char *folder, const char *name)
{
    char *path = qk_path_join(folder, name);
    bool there = qk_is_file(path);
    free(path);
    return there;
}

void qk_inspect_print(qk_json_out *o)
{
    puts(qk_buf_str(&o->buf));
    qk_buf_free(&o->buf);
}

/* manifest.json, or a file of a layer and head: no dataset of somebody else has those. */
static bool is_output(const char *folder)
{
    qk_names found = {0};
    qk_error ignored;
    if (has_file(folder, "manifest.json")) return true;
    bool output = qk_find_data_files(folder, &found, &ignored) == QK_OK;
    int layer, head;
    output = output && sscanf(qk_path_name(found.items[0]), "l%dh%d", &layer, &head) == 2;
    qk_names_free(&found);
    return output;
}

static qk_status inspect_file(const char *path, const qk_args *args, qk_error *err)
{
    bool json = qk_has(args, "json");
    if (ends_with(path, ".safetensors")) return qk_inspect_checkpoint(path, json, err);
    if (!strcmp(qk_path_name(path), "tokenizer.json")) {
        char *folder = qk_strf("%.*s", (int)(strlen(path) - strlen("tokenizer.json")), path);
        qk_status s = qk_inspect_tokenizer(*folder ? folder : ".", json, err);
        free(folder);
        return s;
    }
    if (ends_with(path, ".parquet") && !qk_has(args, "rows"))
        return qk_inspect_parquet(path, json, err);
    return qk_inspect_data(path, args, err);
}

static qk_status inspect_model_folder(const char *path, bool json, qk_error *err)
{
    QK_TRY(qk_inspect_checkpoint(path, json, err));
    if (json || !has_file(path, "tokenizer.json")) return QK_OK;
    putchar('\n');
    return qk_inspect_tokenizer(path, json, err);
}

static qk_status run(const qk_args *args, qk_error *err)
{
    const char *path = qk_arg(args, 0);
    bool json = qk_has(args, "json");
    bool as_data = qk_has(args, "config") || qk_has(args, "split") || qk_has(args, "rows");
    if (!qk_is_dir(path)) return inspect_file(path, args, err);
    if (as_data) return qk_inspect_data(path, args, err);
    if (has_file(path, "model.safetensors") || has_file(path, "model.safetensors.index.json"))
        return inspect_model_folder(path, json, err);
    if (has_file(path, "tokenizer.json")) return qk_inspect_tokenizer(path, json, err);
    if (is_output(path)) return qk_inspect_output(path, json, err);
    return qk_inspect_data(path, args, err);
}

static const qk_option options[] = {
    {"config", "NAME", "only this configuration of a dataset"},
    {"split", "SPLIT", "rows of this split, or part of one: train[:10]"},
    {"rows", "N", "how many rows of a dataset to show (3)"},
    {"text-column", "NAME", "their column of texts (text)"},
    {"id-column", "NAME", "their column of ids (id, where there is one)"},
    {"full", NULL, "do not cut their texts to 100 bytes"},
    {"json", NULL, "for programs"},
    {NULL, NULL, NULL},
};

const qk_command qk_command_inspect = {
    .name = "inspect",
    .arguments = "PATH",
    .summary = "show what a checkpoint, tokenizer, Parquet file or dataset folder holds",
    .details =
        "Of a dataset: its configurations, splits and files, which rule found them, columns,\n"
        "and the first rows with the id that each gets. Rows in Parquet files are counted\n"
        "from their footers; in other files they are not counted.",
    .options = options,
    .least = 1,
    .most = 1,
    .run = run,
};
