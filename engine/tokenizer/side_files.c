/* The files beside tokenizer.json. See load.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/tokenizer/load.h"

enum { MAX_CONFIG = 64 << 20 };

/* The object in a JSON file of the folder, or NULL when there is no such file. */
static qk_status read_object(qk_arena *arena, const char *folder, const char *name,
                             const qk_json **out, qk_error *err)
{
    char *path = qk_path_join(folder, name);
    qk_status s = qk_json_parse_if_there(arena, path, MAX_CONFIG, out, err);
    if (s == QK_OK && *out && (*out)->type != QK_JSON_T_OBJECT)
        s = qk_fail(err, QK_ERR_FORMAT, NULL, "%s: an object expected, found %s", path,
                    qk_json_type_name(*out));
    free(path);
    return s;
}

qk_status qk_side_files_read(qk_side_files *out, qk_arena *arena, const char *folder, qk_error *err)
{
    *out = (qk_side_files){0};
    QK_TRY(read_object(arena, folder, "tokenizer_config.json", &out->config, err));
    QK_TRY(read_object(arena, folder, "config.json", &out->model, err));
    if (qk_json_get(out->config, "added_tokens_decoder")) return QK_OK;
    QK_TRY(read_object(arena, folder, "special_tokens_map.json", &out->map, err));
    return read_object(arena, folder, "added_tokens.json", &out->added, err);
}

qk_status qk_side_refuse(const qk_loader *l, const char *name, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    char *path = qk_path_join(l->folder, name);
    qk_fail(l->err, QK_ERR_UNSUPPORTED, QK_REFUSAL_HINT, "%s: %s", path, what);
    free(path);
    return QK_ERR_UNSUPPORTED;
}

qk_status qk_tokenizer_files(const char *folder, qk_names *out, qk_error *err)
{
    qk_arena arena = {0};
    qk_side_files side;
    qk_status s = qk_side_files_read(&side, &arena, folder, err);
    const struct {
        const char *name;
        const qk_json *read;
    } files[] = {{"tokenizer_config.json", side.config},
                 {"special_tokens_map.json", side.map},
                 {"added_tokens.json", side.added}};
    for (size_t i = 0; s == QK_OK && i < sizeof files / sizeof *files; i++) {
        if (!files[i].read) continue;
        char *path = qk_path_join(folder, files[i].name);
        qk_names_add(out, path);
        free(path);
    }
    qk_arena_free(&arena);
    return s;
}
