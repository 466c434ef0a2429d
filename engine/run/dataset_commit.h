/* The commit of the Hub that a run's dataset was read at. It is no part of the identity, which goes
 * by what files hold (engine/output/manifest.h), but it is written down, in the manifest and beside
 * the units, for two ends: a dataset that has changed meanwhile is told as such, with the revision
 * that goes on; and a run that is resumed at another commit with the same files writes the bytes of
 * one that was never stopped.
 *
 *   data_root/staging/dataset_commit   of the first start
 *
 * next: engine/run/run.c */
#pragma once

#include "engine/staging/staging.h"

/* The dataset_commit of a run of a manifest, or NULL. */
const char *qk_dataset_commit_of(const qk_json *run);
/* Whether that difference of identities (or NULL) is one of the dataset's files, which were those
 * of another commit then. commit_then may be NULL: not known. */
bool qk_dataset_commit_has_moved(const qk_identity *now, const char *commit_then,
                                 const char *difference);
/* The error for it: names both commits, and the setting that goes on with the first. */
qk_status qk_dataset_commit_refuse(const qk_identity *now, const char *commit_then,
                                   const char *where, qk_error *err);

/* qk_staging_bind, and beside it: notes the commit, or takes over the one that is noted, or says
 * that the dataset has moved. */
qk_status qk_dataset_commit_bind(qk_staging *s, qk_identity *now, qk_error *err);
