/* See check.h. */
#include "engine/push/check.h"

#include <stdlib.h>
#include <string.h>

#include "engine/output/dataset_card.h"
#include "engine/output/manifest.h"

/* below: "" or "split/". name: of the data file, NULL for examples.parquet. */
static qk_status check_file(const qk_push_files *files, const char *folder, const char *below,
                            const qk_manifest_file *f, qk_error *err)
{
    static const char hint[] = "restore it from a copy, or run it again in another data_root";
    char *name = f->name ? qk_strf("%s%s/data.parquet", below, f->name)
                         : qk_strf("%sexamples.parquet", below);
    const qk_push_file *here = qk_push_files_find(files, name);
    qk_status s = QK_OK;
    if (!here)
        s = qk_fail(err, QK_ERR_DATA, hint, "%s/%s: is missing, but manifest.json lists it", folder,
                    name);
    else if (here->size != f->bytes || (*f->sha256 && strcmp(here->sha256, f->sha256) != 0))
        s = qk_fail(err, QK_ERR_DAMAGED, hint,
                    "%s: is damaged or was changed: its size and SHA-256 are not those of "
                    "manifest.json",
                    here->path);
    free(name);
    return s;
}

static qk_status check_manifest(const qk_push_files *files, const char *folder,
                                const qk_push_file *manifest, bool *sealed, qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *root = NULL;
    size_t n = (size_t)(qk_path_name(manifest->name) - manifest->name);
    char *below = qk_strf("%.*s", (int)n, manifest->name);
    qk_status s = qk_manifest_read_file(manifest->path, &arena, &root, err);
    *sealed |= qk_manifest_is_sealed(root);
    const qk_json *list = qk_json_get(root, "files");
    qk_manifest_file file;
    for (const qk_json *f = list ? list->first : NULL; f && s == QK_OK; f = f->next)
        if (qk_manifest_find(root, f->key, &file)) s = check_file(files, folder, below, &file, err);
    if (s == QK_OK && qk_manifest_find(root, NULL, &file)) {
        file.name = NULL;
        s = check_file(files, folder, below, &file, err);
    }
    free(below);
    qk_arena_free(&arena);
    return s;
}

/* "manifest.json" or "split/manifest.json" */
static bool is_manifest(const char *name)
{
    const char *slash = strchr(name, '/');
    return !strcmp(slash ? slash + 1 : name, "manifest.json");
}

qk_status qk_push_check(const qk_push_files *files, const char *folder, qk_error *err)
{
    bool sealed = false;
    for (size_t i = 0; i < files->count; i++)
        if (is_manifest(files->items[i].name))
            QK_TRY(check_manifest(files, folder, &files->items[i], &sealed, err));
    if (sealed) qk_card_check(folder);
    return QK_OK;
}
