/* See dataset_commit.h. */
#include "engine/run/dataset_commit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/names.h"

const char *qk_dataset_commit_of(const qk_json *run)
{
    const qk_json *commit = qk_json_get(run, "dataset_commit");
    bool known = commit && commit->type == QK_JSON_T_STRING && qk_is_commit(commit->text);
    return known ? commit->text : NULL;
}

bool qk_dataset_commit_has_moved(const qk_identity *now, const char *commit_then,
                                 const char *difference)
{
    static const char files[] = "dataset_files";
    return difference && commit_then && *now->dataset_commit &&
           !strncmp(difference, files, strlen(files)) &&
           strcmp(commit_then, now->dataset_commit) != 0;
}

qk_status qk_dataset_commit_refuse(const qk_identity *now, const char *commit_then,
                                   const char *where, qk_error *err)
{
    char *hint = qk_strf("set dataset.revision: %s to go on with the first, or choose another "
                         "output.data_root for the rows of the second",
                         commit_then);
    qk_fail(err, QK_ERR_CONFIG, hint,
            "%s: was begun with the dataset's commit %s; it is %s now, and has other files", where,
            commit_then, now->dataset_commit);
    free(hint);
    return err->status;
}

/* ---- beside the units ---- */

/* "" when none is noted. */
static qk_status read_note(const qk_staging *s, char commit[QK_COMMIT_SIZE], qk_error *err)
{
    char *text;
    *commit = 0;
    QK_TRY(qk_staging_commit(s, &text, err));
    bool valid = text && qk_is_commit(text);
    if (valid) snprintf(commit, QK_COMMIT_SIZE, "%s", text);
    qk_status status = QK_OK;
    if (text && !valid)
        status = qk_fail(err, QK_ERR_DAMAGED, "remove this file and run the same command again",
                         "%s/dataset_commit: is no commit", s->folder);
    free(text);
    return status;
}

/* Replaces the error of qk_staging_bind by that of a dataset that has moved where it fits better.
 * It is an error in any case: what cannot be read here only leaves the first one. */
static qk_status explain(const qk_staging *s, const qk_identity *now, qk_error *err)
{
    qk_arena arena = {0};
    const char *difference;
    qk_error ignored;
    char commit[QK_COMMIT_SIZE];
    if (read_note(s, commit, &ignored) == QK_OK && *commit &&
        qk_staging_difference(s, now, &arena, &difference, &ignored) == QK_OK &&
        qk_dataset_commit_has_moved(now, commit, difference))
        qk_dataset_commit_refuse(now, commit, s->folder, err);
    qk_arena_free(&arena);
    return err->status;
}

qk_status qk_dataset_commit_bind(qk_staging *s, qk_identity *now, qk_error *err)
{
    char commit[QK_COMMIT_SIZE];
    if (qk_staging_bind(s, now, err) != QK_OK) return explain(s, now, err);
    QK_TRY(read_note(s, commit, err));
    if (!*commit && *now->dataset_commit) { /* of several that begin at once, one notes its own */
        QK_TRY(qk_staging_set_commit(s, now->dataset_commit, err));
        QK_TRY(read_note(s, commit, err));
    }
    if (*commit && *now->dataset_commit) strcpy(now->dataset_commit, commit);
    return QK_OK;
}
