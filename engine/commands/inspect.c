/* qkengine inspect PATH: what a checkpoint, tokenizer, Parquet file, output of a run or dataset
 * holds. This file decides which of them it is. */
#include "engine/commands/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/near_path.h"
#include "engine/output/layout.h"
#include "engine/output/manifest.h"
#include "engine/tools/diff.h"
#include "hub/names.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static qk_status has(const char *folder, const char *name, bool *there, qk_error *err)
{
    char *path = qk_path_join(folder, name);
    qk_status s = qk_has_file(path, there, err);
    free(path);
    return s;
}

/* manifest.json, or a file of a layer and head: no dataset of somebody else has those. */
static qk_status has_output(const char *folder, bool *output, qk_error *err)
{
    qk_names found = {0};
    QK_TRY(has(folder, "manifest.json", output, err));
    if (*output) return QK_OK;
    qk_status s = qk_find_data_files(folder, &found, err);
    int layer, head;
    *output = s == QK_OK && sscanf(qk_path_name(found.items[0]), "l%dh%d", &layer, &head) == 2;
    qk_names_free(&found);
    return s == QK_ERR_NOTFOUND ? QK_OK : s;
}

/* An option of datasets that was given, or NULL: then the path is looked at as one. */
static const char *data_option(const qk_args *args)
{
    static const char *const names[] = {"config",      "split",     "rows",
                                        "text-column", "id-column", "full"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (qk_has(args, names[i])) return names[i];
    return NULL;
}

static qk_status inspect_file(const char *path, const qk_args *args, qk_error *err)
{
    bool json = qk_has(args, "json");
    const char *option = data_option(args);
    bool is_model =
        ends_with(path, ".safetensors") || !strcmp(qk_path_name(path), "tokenizer.json");
    if (is_model && option)
        return qk_fail(err, QK_ERR_USAGE, NULL, "inspect %s: --%s is for datasets", path, option);
    if (ends_with(path, ".safetensors")) return qk_inspect_checkpoint(path, json, err);
    if (!strcmp(qk_path_name(path), "tokenizer.json")) {
        char *folder = qk_strf("%.*s", (int)(strlen(path) - strlen("tokenizer.json")), path);
        qk_status s = qk_inspect_tokenizer(*folder ? folder : ".", json, err);
        free(folder);
        return s;
    }
    if (ends_with(path, ".yaml") || ends_with(path, ".yml"))
        return qk_fail(err, QK_ERR_CONFIG, "qkengine plan says what a run of it would do",
                       "%s: is a configuration, and no data", path);
    if (ends_with(path, ".parquet") && !option) return qk_inspect_parquet(path, json, err);
    return qk_inspect_data(path, args, err);
}

/* Of a path that is not there: the nearest name in its folder, or what would do. */
static qk_status explain_absent(const char *path, qk_error *err)
{
    qk_path_info info;
    qk_error ignored;
    if (qk_path_stat(path, &info, &ignored) != QK_OK || info.type != QK_PATH_ABSENT)
        return err->status;
    char *near = qk_near_path(path);
    if (near)
        snprintf(err->hint, sizeof err->hint, "did you mean '%.400s'?", near);
    else if (!qk_looks_like_repo(path))
        snprintf(err->hint, sizeof err->hint, "%s",
                 "give a folder or a file that is here: a model, a tokenizer.json, a Parquet file, "
                 "final/ of a run or a dataset; or OWNER/NAME of a dataset on the Hub");
    free(near);
    return err->status;
}

static qk_status run(const qk_args *args, qk_error *err)
{
    const char *path = qk_arg(args, 0);
    bool json = qk_has(args, "json");
    bool folder, single, index, tokenizer, output;
    QK_TRY(qk_has_folder(path, &folder, err));
    if (!folder) return inspect_file(path, args, err) ? explain_absent(path, err) : QK_OK;
    if (data_option(args)) return qk_inspect_data(path, args, err);
    QK_TRY(has(path, "model.safetensors", &single, err));
    QK_TRY(has(path, "model.safetensors.index.json", &index, err));
    QK_TRY(has(path, "tokenizer.json", &tokenizer, err));
    if (single || index) {
        QK_TRY(qk_inspect_checkpoint(path, json, err));
        if (json || !tokenizer) return QK_OK;
        putchar('\n');
    }
    if (tokenizer) return qk_inspect_tokenizer(path, json, err);
    QK_TRY(has_output(path, &output, err));
    return output ? qk_inspect_output(path, json, err) : qk_inspect_data(path, args, err);
}

static const qk_option options[] = {
    {"config", "NAME", .help = "only this configuration of a dataset"},
    {"split", "SPLIT", .help = "rows of this split, or part of one: train[:10]"},
    {"rows", "N", "how many rows of a dataset to show", .type = QK_VALUE_INT, .fallback = "3"},
    {"text-column", "NAME", .help = "their column of texts (text)"},
    {"id-column", "NAME", .help = "their column of ids (id, where there is one)"},
    {"full", .help = "do not cut their texts to 100 bytes"},
    QK_OPTION_JSON("for programs"),
    {0},
};

const qk_command qk_command_inspect = {
    .name = "inspect",
    .arguments = {{"PATH", QK_VALUE_FILE}},
    .summary = "show what a checkpoint, tokenizer, Parquet file or dataset holds",
    .details =
        "Of a dataset: its configurations, splits and files, which rule found them, columns, and "
        "the first rows with the id that each gets. Rows in Parquet files are counted from their "
        "footers; in other files they are not counted.",
    .options = options,
    .run = run,
};
