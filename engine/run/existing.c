/* See existing.h. */
#include "engine/run/existing.h"

#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/output/compatibility.h"
#include "engine/output/dataset_card.h"
#include "engine/output/final_folder.h"
#include "engine/output/layout.h"
#include "engine/run/dataset_commit.h"
#include "engine/run/plan.h"

/* Whether a folder of final/ holds rows of a run in prefix layout. */
static qk_status has_prefix_layout(const char *final, bool *has, qk_error *err)
{
    qk_names names;
    *has = false;
    QK_TRY(qk_list_dir(final, &names, err));
    qk_status s = QK_OK;
    for (size_t i = 0; i < names.count && s == QK_OK && !*has; i++) {
        char *path = qk_strf("%s/%s/manifest.json", final, names.items[i]);
        if (names.items[i][0] != '.') s = qk_has_file(path, has, err);
        free(path);
    }
    qk_names_free(&names);
    return s;
}

/* Data files without a manifest are another program's. In branch layout they would be overwritten;
 * in prefix layout rows are added to those of the older reference, whose meaning no file tells. */
static qk_status check_foreign_files(const qk_plan *plan, qk_error *err)
{
    qk_names files = {0};
    bool there;
    QK_TRY(qk_has_folder(plan->split_folder, &there, err));
    if (!there) return QK_OK;
    qk_status found = qk_find_data_files(plan->split_folder, &files, err);
    qk_names_free(&files);
    if (found != QK_OK) return found == QK_ERR_NOTFOUND ? QK_OK : found;
    if (!plan->prefix) QK_TRY(has_prefix_layout(plan->final, &there, err));
    if (!plan->prefix && there)
        return qk_fail(
            err, QK_ERR_CONFIG, "choose another output.data_root, or output.layout: prefix",
            "%s: holds a folder per model, this run would put its files at the root", plan->final);
    if (!plan->prefix)
        return qk_fail(err, QK_ERR_CONFIG,
                       "choose another output.data_root, or move the files away",
                       "%s: holds data files but no manifest.json: another program wrote them",
                       plan->split_folder);
    qk_warn_once("%s: holds data files but no manifest.json: rows are added to them, though "
                 "nothing says whether they come from the same weights and settings",
                 plan->split_folder);
    return QK_OK;
}

/* One card and one push cover a folder of one layout. */
static qk_status refuse_branch_layout(const qk_plan *plan, qk_error *err)
{
    char *path = qk_path_join(plan->final, "manifest.json");
    bool there;
    qk_status s = qk_has_file(path, &there, err);
    if (there)
        s = qk_fail(err, QK_ERR_CONFIG, "choose another output.data_root, or output.layout: branch",
                    "%s: holds one run at its root, this one would put a folder per model there",
                    plan->final);
    free(path);
    return s;
}

static qk_status check_prefix(qk_existing *e, qk_error *err)
{
    const char *difference = qk_compatibility_new_run(e->manifest, e->identity, &e->arena);
    if (!difference) return QK_OK;
    return qk_fail(err, QK_ERR_CONFIG,
                   "choose another output.data_root, or a name for this one with output.split: one "
                   "folder holds vectors of one model, computed in one way",
                   "%s: holds rows of another meaning; %s", e->plan->split_folder, difference);
}

static qk_status check_branch(qk_existing *e, qk_error *err)
{
    const qk_json *runs = qk_json_get(e->manifest, "runs"), *first = runs ? runs->first : NULL;
    const qk_json *then = first ? qk_json_get(first, "identity") : NULL;
    const char *difference = qk_identity_difference(then, e->identity->tree, &e->arena);
    const char *commit = qk_dataset_commit_of(first);
    if (!difference) return QK_OK;
    if (qk_dataset_commit_has_moved(e->identity, commit, difference))
        return qk_dataset_commit_refuse(e->identity, commit, e->plan->final, err);
    return qk_fail(
        err, QK_ERR_CONFIG,
        "choose another output.data_root or hf_branch: a branch holds one set of options",
        "%s: was written with other settings; %s", e->plan->final, difference);
}

qk_status qk_existing_check(qk_existing *e, qk_error *err)
{
    qk_plan *plan = e->plan;
    qk_existing_free(e); /* what an earlier check has read */
    QK_TRY(qk_plan_find_split(plan, err));
    QK_TRY(qk_final_check(plan->final, plan->prefix ? plan->split : NULL, err));
    if (plan->prefix) QK_TRY(refuse_branch_layout(plan, err));
    QK_TRY(qk_manifest_read(plan->split_folder, &e->arena, &e->manifest, err));
    e->rows = (qk_numerics_existing){plan->prefix ? qk_manifest_numerics(e->manifest) : NULL,
                                     plan->split_folder};
    if (!e->manifest) return check_foreign_files(plan, err);
    return plan->prefix ? check_prefix(e, err) : check_branch(e, err);
}

qk_status qk_existing_is_complete(const qk_existing *e, bool *complete, qk_error *err)
{
    return qk_manifest_is_complete(e->manifest, e->identity, e->plan->split_folder, complete, err);
}

qk_status qk_existing_has_become_complete(const qk_existing *e, bool *complete, qk_error *err)
{
    qk_existing now = {.plan = e->plan, .identity = e->identity};
    *complete = false;
    qk_status s = qk_manifest_read(e->plan->split_folder, &now.arena, &now.manifest, err);
    if (s == QK_OK) s = qk_existing_is_complete(&now, complete, err);
    qk_existing_free(&now);
    return s;
}

qk_status qk_existing_verify(const qk_existing *e, qk_error *err)
{
    if (qk_manifest_is_sealed(e->manifest)) qk_card_check(e->plan->final);
    return qk_manifest_check(e->manifest, e->plan->split_folder, err);
}

void qk_existing_warn_of_commits(const qk_existing *e)
{
    qk_arena arena = {0};
    const qk_json *runs = qk_json_get(e->manifest, "runs");
    for (const qk_json *run = runs ? runs->first : NULL; run; run = run->next) {
        const char *commit = qk_dataset_commit_of(run);
        const char *difference =
            qk_identity_difference(qk_json_get(run, "identity"), e->identity->tree, &arena);
        if (!qk_dataset_commit_has_moved(e->identity, commit, difference)) continue;
        qk_warn("%s holds rows of the dataset's commit %s, and gets those of %s, where it is now; "
                "dataset.revision: %s stays with the first",
                e->plan->split_folder, commit, e->identity->dataset_commit, commit);
    }
    qk_arena_free(&arena);
}

void qk_existing_free(qk_existing *e)
{
    qk_arena_free(&e->arena);
    e->manifest = NULL;
    e->rows = (qk_numerics_existing){0};
}
