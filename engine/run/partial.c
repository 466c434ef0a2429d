/* See partial.h. */
#include "engine/run/partial.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/config/config.h"
#include "engine/output/manifest.h"
#include "engine/run/existing.h"
#include "engine/run/plan.h"
#include "engine/staging/publish.h"
#include "engine/staging/staging.h"

/* An earlier part of the same run is replaced: it has the same files. */
static qk_status check_there(qk_plan *plan, const qk_identity *id, qk_error *err)
{
    qk_existing there = {.plan = plan, .identity = id};
    qk_status s = qk_existing_check(&there, err);
    const qk_json *runs = qk_json_get(there.manifest, "runs");
    bool same = runs && runs->count == 1 && qk_manifest_partial(there.manifest, &there.arena) &&
                qk_json_is_string(qk_json_get(runs->first, "fingerprint"), id->fingerprint);
    if (s == QK_OK && there.manifest && !same)
        s = qk_fail(err, QK_ERR_CONFIG, "move it away, or remove it",
                    "%s: holds something else than a part of this run", plan->split_folder);
    qk_existing_free(&there);
    return s;
}

/* Merges what is whole. A damaged unit is as good as not finished: a run computes it again. */
static qk_status merge(const qk_merge_job *job, qk_units *part, qk_merge_result *result,
                       qk_error *err)
{
    for (;;) {
        size_t kept = 0;
        qk_status s = qk_merge(job, result, err);
        if (s == QK_OK || result->damaged < 0) return s;
        for (size_t i = 0; i < part->count; i++)
            if (part->items[i] != result->damaged) part->items[kept++] = part->items[i];
        if (!kept || kept == part->count) return s;
        part->count = kept;
        qk_warn("%s; it is left out", err->message);
        QK_TRY(qk_publish_clean(job->work, err));
    }
}

qk_status qk_partial_make(const qk_plan *whole, const qk_merge_job *given, qk_units *part,
                          qk_merge_result *result, char **folder, qk_error *err)
{
    qk_plan plan = *whole; /* of which only the folders are others */
    qk_staging work;
    *folder = qk_path_join(whole->config->output.data_root, "partial");
    char *merging = qk_strf("%s.merging", *folder);
    char *split_folder = plan.prefix ? qk_path_join(*folder, plan.split) : qk_strdup(*folder);
    plan.final = *folder;
    plan.split_folder = split_folder;
    plan.old_split = NULL; /* chosen already */
    const qk_output out = qk_plan_output(&plan);
    qk_merge_job job = *given;
    job.out = &out;
    job.work = &work;
    job.old = NULL;
    job.part = part;
    qk_status s = qk_staging_open_alone(&work, merging, err);
    if (s == QK_OK) {
        s = qk_publish_recover(&work, plan.final, err);
        if (s == QK_OK) s = qk_publish_clean(&work, err);
        if (s == QK_OK) s = check_there(&plan, job.id, err);
        if (s == QK_OK) s = merge(&job, part, result, err);
        qk_publish_end(&work);
    }
    free(split_folder);
    free(merging);
    return s;
}
