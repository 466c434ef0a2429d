/* See beside.h. */
#include "engine/config/beside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/log.h"

/* The path as it is beside the configuration, where it is there and not here; else NULL. The caller
 * frees. below: what must be in it, or "". */
static char *find_beside(const qk_config *c, const char *path, const char *below)
{
    const char *name = qk_path_name(c->file);
    qk_path_info here, there;
    qk_error ignored;
    if (!path || *path == '/' || name == c->file) return NULL;
    char *found = qk_strf("%.*s%s%s", (int)(name - c->file), c->file, path, below);
    bool only_there = qk_path_stat(path, &here, &ignored) == QK_OK &&
                      qk_path_stat(found, &there, &ignored) == QK_OK &&
                      here.type == QK_PATH_ABSENT && there.type != QK_PATH_ABSENT;
    found[strlen(found) - strlen(below)] = 0;
    if (only_there) return found;
    free(found);
    return NULL;
}

void qk_config_explain_paths(const qk_config *c, qk_error *err)
{
    const char *const paths[] = {c->dataset.path, c->model.name, c->tokenizer.name,
                                 c->output.data_root};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (!paths[i] || !strstr(err->message, paths[i])) continue;
        char *found = find_beside(c, paths[i], "");
        if (found)
            snprintf(err->hint, sizeof err->hint,
                     "%.400s is there: paths are relative to the folder that you are in", found);
        free(found);
    }
}

void qk_config_check_root(const qk_config *c)
{
    static const char *const parts[] = {"/staging", "/final"};
    char *found = NULL;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !found; i++)
        found = find_beside(c, c->output.data_root, parts[i]);
    if (found)
        qk_warn(
            "output.data_root: '%s' is begun in the folder that you are in; there are results in "
            "%s, too",
            c->output.data_root, found);
    free(found);
}
