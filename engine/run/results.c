/* See results.h. */
#include "engine/run/results.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/config/config.h"
#include "engine/output/manifest.h"
#include "engine/run/identify.h"
#include "engine/run/plan.h"
#include "engine/staging/staging.h"
#include "formats/sealed.h"

enum { MAX_IDENTITY = 64 << 20 };

/* How a run's identity differs from these settings; NULL: it does not. In the arena. */
static const char *settings_difference(const qk_json *then, const qk_identity *now, qk_arena *arena)
{
    const char *difference = NULL;
    for (const qk_json *part = now->tree->first; part && !difference; part = part->next)
        difference =
            qk_identity_difference_at(qk_json_get(then, part->key), part, part->key, arena);
    return difference;
}

static qk_status read_units(qk_results *out, const qk_staging *staging, qk_error *err)
{
    qk_units finished;
    QK_TRY(qk_staging_finished(staging, &finished, err));
    qk_status s = qk_staging_units(staging, &out->units, err);
    for (size_t i = 0; i < finished.count && s == QK_OK; i++) {
        char *path = qk_staging_unit(staging, finished.items[i]);
        uint64_t bytes = 0;
        s = qk_file_size(path, &bytes, err);
        if (s == QK_ERR_NOTFOUND) s = QK_OK; /* a run has merged just now */
        out->finished_bytes += bytes;
        out->finished++;
        free(path);
    }
    qk_units_free(&finished);
    return s;
}

static qk_status read_staging(qk_results *out, const qk_plan *plan, const qk_identity *now,
                              qk_arena *arena, qk_error *err)
{
    const char *folder = qk_arena_strf(arena, "%s/staging", plan->config->output.data_root);
    const char *path = qk_arena_strf(arena, "%s/identity.json", folder);
    const qk_staging staging = {.folder = folder, .lock = -1};
    const qk_json *then = NULL;
    bool there;
    QK_TRY(qk_has_folder(folder, &there, err));
    if (!there) return QK_OK;
    QK_TRY(read_units(out, &staging, err));
    if (!out->finished) return QK_OK;
    qk_status s = qk_sealed_json(arena, path, MAX_IDENTITY, &then, err);
    if (s == QK_ERR_NOTFOUND) return QK_OK; /* units say themselves whose they are */
    QK_TRY(s);
    const char *difference = settings_difference(then, now, arena);
    out->is_other = difference != NULL;
    if (difference) snprintf(out->difference, sizeof out->difference, "%s", difference);
    return QK_OK;
}

static qk_status read_final(qk_results *out, const qk_plan *plan, const qk_identity *now,
                            qk_arena *arena, qk_error *err)
{
    const qk_json *manifest = NULL;
    QK_TRY(qk_manifest_read(plan->split_folder, arena, &manifest, err));
    if (!manifest) return QK_OK;
    const qk_json *runs = qk_json_get(manifest, "runs"), *files = qk_json_get(manifest, "files");
    for (const qk_json *run = runs ? runs->first : NULL; run; run = run->next)
        out->in_final |= !settings_difference(qk_json_get(run, "identity"), now, arena);
    for (const qk_json *file = files ? files->first : NULL; file; file = file->next) {
        qk_manifest_file f;
        if (qk_manifest_find(manifest, file->key, &f)) out->final_bytes += f.bytes;
    }
    return QK_OK;
}

qk_status qk_results_read(qk_results *out, const qk_plan *plan, qk_error *err)
{
    qk_arena arena = {0};
    qk_identity now;
    *out = (qk_results){.units = -1};
    qk_status s = qk_identity_settings(&now, plan, &arena, err);
    if (s == QK_OK) s = read_staging(out, plan, &now, &arena, err);
    if (s == QK_OK) s = read_final(out, plan, &now, &arena, err);
    qk_arena_free(&arena);
    return s;
}
