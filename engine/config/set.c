/* --set section.key=value: puts a value, itself YAML, into the tree of the file before it is read.
 * A path that has no maps yet gets them, so "capture.sampler.type=all" works on any file. Whether
 * the key exists is checked with the rest. See config/keys.h. */
#include <string.h>

#include "engine/config/keys.h"

static void mark(qk_yaml *v, const char *setting)
{
    v->setting = setting;
    for (qk_yaml *child = v->first; child; child = child->next) mark(child, setting);
}

qk_status qk_config_apply_setting(qk_arena *arena, qk_yaml *root, const char *setting,
                                  qk_error *err)
{
    static const char usage[] = "write --set section.key=value, for example "
                                "--set capture.layers=0,1";
    const char *equals = strchr(setting, '=');
    if (!equals || equals == setting)
        return qk_fail(err, QK_ERR_USAGE, usage, "--set %.200s: no key and value", setting);
    char *path = qk_arena_strndup(arena, setting, (size_t)(equals - setting));
    const char *position = qk_arena_strf(arena, "--set %s", path);
    const char *text = equals + 1;
    qk_yaml *value;
    if (qk_yaml_parse(arena, text, strlen(text), position, &value, err) != QK_OK)
        return err->status = QK_ERR_USAGE;
    if (!value) { /* nothing behind the '=' is null, as it is behind a ':' */
        value = qk_arena_alloc(arena, 1, sizeof *value);
        value->type = QK_YAML_NULL;
        value->text = "";
    }
    mark(value, position);

    qk_yaml *map = root;
    char *name = path;
    for (char *dot; (dot = strchr(name, '.')); name = dot + 1) {
        *dot = 0;
        qk_yaml *inner = qk_yaml_get(map, name);
        if (!inner || inner->type == QK_YAML_NULL) {
            inner = qk_arena_alloc(arena, 1, sizeof *inner);
            inner->type = QK_YAML_MAP;
            inner->setting = position;
            qk_yaml_put(map, name, inner);
        }
        if (inner->type != QK_YAML_MAP)
            return qk_fail(err, QK_ERR_USAGE, usage, "%.200s: '%s' is no map", position, name);
        map = inner;
    }
    if (!*name) return qk_fail(err, QK_ERR_USAGE, usage, "%.200s: the key is empty", position);
    qk_yaml_put(map, name, value);
    return QK_OK;
}
