/* See hub_dataset.h. */
#include "engine/dataset/hub_dataset.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "hub/ahead.h"

struct qk_hub_dataset {
    qk_hub hub;
    qk_snapshot snapshot;
    qk_ahead *ahead;
    qk_names files;
    qk_dataset_remote remote;
    bool lacks;
};

/* ---- what the dataset asks for ---- */

/* Inside the repository, of a path in the snapshot's folder. */
static const char *name_of(const qk_hub_dataset *d, const char *path)
{
    return path + strlen(d->remote.folder) + 1;
}

static qk_status holds(void *context, const char *path, bool *has, qk_error *err)
{
    const qk_hub_dataset *d = context;
    return qk_snapshot_holds(&d->snapshot, name_of(d, path), has, err);
}

static qk_status need(void *context, const qk_names *paths, const char *reason, qk_error *err)
{
    qk_hub_dataset *d = context;
    qk_names names = {0};
    for (size_t i = 0; i < paths->count; i++) qk_names_add(&names, name_of(d, paths->items[i]));
    qk_status s = qk_ahead_need(d->ahead, &names, reason, err);
    d->lacks |= s != QK_OK;
    qk_names_free(&names);
    return s == QK_OK ? s : qk_error_prefix(err, "dataset.path");
}

static void soon(void *context, const char *path)
{
    const qk_hub_dataset *d = context;
    qk_ahead_soon(d->ahead, name_of(d, path));
}

/* ---- opening ---- */

static qk_status open_snapshot(qk_hub_dataset *d, const qk_config *config, qk_error *err)
{
    static const char *const card_files[] = {"README.md", ".huggingface.yaml", "dataset_infos.json",
                                             NULL};
    qk_snapshot *s = &d->snapshot;
    QK_TRY(qk_snapshot_open(s, &d->hub, QK_REPO_DATASET, config->dataset.path,
                            config->dataset.revision, err));
    d->ahead = qk_ahead_new(s);
    if (s->from_cache && !s->listing_is_kept)
        qk_warn("%s: the cache does not say which files it has; those that are not in it are not "
                "seen",
                config->dataset.path);
    for (size_t i = 0; i < s->listing.count; i++) qk_names_add(&d->files, s->listing.files[i].path);
    return qk_snapshot_fetch_present(s, card_files, err);
}

qk_status qk_hub_dataset_open(qk_hub_dataset **out, const qk_config *config, bool offline,
                              qk_error *err)
{
    qk_hub_dataset *d = qk_zalloc(1, sizeof *d);
    *out = NULL;
    d->snapshot.cache.root = d->snapshot.cache.blobs = -1;
    qk_status s = qk_hub_open(&d->hub, NULL, err);
    d->hub.offline |= offline;
    if (s == QK_OK) s = open_snapshot(d, config, err);
    if (s != QK_OK) {
        qk_hub_dataset_close(d);
        return qk_error_prefix(err, "dataset.path");
    }
    d->remote = (qk_dataset_remote){.folder = qk_snapshot_folder(&d->snapshot),
                                    .files = &d->files,
                                    .context = d,
                                    .holds = holds,
                                    .need = need,
                                    .soon = soon};
    *out = d;
    return QK_OK;
}

const qk_dataset_remote *qk_hub_dataset_remote(const qk_hub_dataset *d)
{
    return &d->remote;
}

const char *qk_hub_dataset_commit(const qk_hub_dataset *d)
{
    return d->snapshot.cache.commit;
}

const char *qk_hub_dataset_digest(const qk_hub_dataset *d, const char *path)
{
    const qk_hub_file *file = qk_hub_listing_find(&d->snapshot.listing, name_of(d, path));
    QK_ASSERT(file);
    return file->digest;
}

bool qk_hub_dataset_lacks(const qk_hub_dataset *d)
{
    return d->lacks;
}

void qk_hub_dataset_stop(qk_hub_dataset *d)
{
    d->hub.stop = true;
}

void qk_hub_dataset_close(qk_hub_dataset *d)
{
    if (!d) return;
    d->hub.stop = true;
    qk_ahead_free(d->ahead);
    qk_snapshot_close(&d->snapshot);
    qk_names_free(&d->files);
    qk_hub_close(&d->hub);
    free(d);
}
