/* See final_folder.h. */
#include "engine/output/final_folder.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/beneath.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/output/layout.h"
#include "engine/staging/publish.h"

static qk_status look_at_files(const qk_folder *f, qk_error *err)
{
    qk_names names;
    QK_TRY(qk_list_dir(f->path, &names, err));
    qk_status s = QK_OK;
    for (size_t i = 0; i < names.count && s == QK_OK; i++) {
        bool there;
        const char *name = names.items[i];
        char *data = qk_is_file_name(name) ? qk_strf("%s/data.parquet", name) : NULL;
        if (data || !strcmp(name, "manifest.json") || !strcmp(name, "examples.parquet"))
            s = qk_folder_has_file(f, data ? data : name, &there, err);
        free(data);
    }
    qk_names_free(&names);
    return s;
}

qk_status qk_final_check(const char *final, const char *split, qk_error *err)
{
    qk_folder top, in = {.fd = -1};
    qk_status s = qk_folder_open(&top, final, err);
    if (s != QK_OK) return s == QK_ERR_NOTFOUND ? QK_OK : s;
    if (split) s = qk_folder_open_in(&in, &top, split, false, err);
    if (s == QK_OK) s = look_at_files(split ? &in : &top, err);
    qk_folder_close(&in);
    qk_folder_close(&top);
    return s == QK_ERR_NOTFOUND ? QK_OK : s;
}

qk_status qk_final_is_split(const char *final, const char *name, bool *is_split, qk_error *err)
{
    char *path = qk_path_join(final, name);
    qk_path_info own, led_to;
    *is_split = false;
    qk_status s = qk_path_lstat(path, &own, err);
    if (s == QK_OK) s = qk_path_stat(path, &led_to, err);
    bool folder = s == QK_OK && led_to.type == QK_PATH_FOLDER && name[0] != '.';
    if (folder) s = qk_final_check(final, name, err);
    *is_split = folder && s == QK_OK;
    if (folder && s == QK_ERR_DATA) {
        qk_warn_once("%s; README.md leaves %s out", err->message, name);
        s = QK_OK;
    }
    free(path);
    return s;
}

qk_status qk_final_hold(const char *final, qk_staging *run, char **path, qk_error *err)
{
    size_t n = strlen(final);
    bool there = false;
    *run = (qk_staging){.lock = -1};
    *path = NULL;
    while (n > 1 && final[n - 1] == '/') n--;
    if (n < 5 || strncmp(final + n - 5, "final", 5) != 0 || (n > 5 && final[n - 6] != '/'))
        return QK_OK;
    char *staging = qk_strf("%.*sstaging", (int)(n - 5), final);
    qk_status s = qk_has_folder(staging, &there, err);
    if (s != QK_OK || !there) {
        free(staging);
        return s;
    }
    *path = staging;
    QK_TRY(qk_staging_open_alone(run, staging, err));
    return qk_publish_recover(run, final, err);
}
