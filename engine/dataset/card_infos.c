/* See card_infos.h. */
#include "engine/dataset/card_infos.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "formats/json.h"

enum { MAX_BYTES = 64 << 20 }; /* class labels have all their names in it */

static qk_status parse_type(qk_id_type *out, const qk_json *feature, const char *path,
                            const char *column, qk_error *err)
{
    const qk_json *kind = qk_json_get(feature, "_type"), *dtype = qk_json_get(feature, "dtype");
    bool is_label = qk_json_is_string(kind, "ClassLabel");
    bool is_value = qk_json_is_string(kind, "Value");
    const qk_json *said = is_value ? dtype : kind;
    const char *name = said && said->type == QK_JSON_T_STRING ? said->text : "";
    if (!(is_label || is_value) || !qk_id_type_parse(out, is_label ? "int64" : name))
        return qk_fail(err, QK_ERR_UNSUPPORTED, "use a column of integers or strings",
                       "%s: features of '%s': ids of the type '%.80s' are not supported", path,
                       column, name);
    out->is_label = is_label;
    out->said_by = "dataset_infos.json";
    return QK_OK;
}

qk_status qk_card_infos_type(qk_id_type *out, const char *root, const char *config,
                             const char *column, qk_error *err)
{
    char *path = qk_path_join(root, "dataset_infos.json");
    qk_arena arena = {0};
    const qk_json *infos;
    *out = (qk_id_type){0};
    qk_status s = qk_json_parse_if_there(&arena, path, MAX_BYTES, &infos, err);
    if (s == QK_OK && infos && infos->type != QK_JSON_T_OBJECT)
        s = qk_fail(err, QK_ERR_FORMAT, "remove the file, or correct it",
                    "%s: must be an object, not %s", path, qk_json_type_name(infos));
    if (s == QK_OK && infos) {
        /* What it says of one configuration alone is about "default". */
        const qk_json *info = infos->count != 1            ? qk_json_get(infos, config)
                              : !strcmp(config, "default") ? infos->first
                                                           : NULL;
        const qk_json *features = qk_json_get(info, "features");
        const qk_json *feature = qk_json_get(features, column);
        if (feature) s = parse_type(out, feature, path, column, err);
    }
    qk_arena_free(&arena);
    free(path);
    return s;
}
