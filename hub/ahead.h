/* The contents of a snapshot for somebody who reads through its files: each is fetched when it is
 * needed, and the one after it meanwhile, on a thread of its own.
 *
 * One fetch goes on at a time, so that memory is that of one (hub/download.h) and no more than one
 * file lies in the cache that nobody has read yet. What fails in the background is tried again when
 * the file is needed, and only then told.
 *
 * next: engine/dataset/hub_dataset.h */
#pragma once

#include "hub/pull.h"

typedef struct qk_ahead qk_ahead;

/* The snapshot is borrowed, and until the end only this may fetch into it. */
qk_ahead *qk_ahead_new(qk_snapshot *snapshot);
/* Waits until the files are complete in the snapshot's folder. reason: see qk_snapshot, or NULL. */
qk_status qk_ahead_need(qk_ahead *a, const qk_names *paths, const char *reason, qk_error *err);
/* The file will be needed next. Does nothing while another one is on its way. */
void qk_ahead_soon(qk_ahead *a, const char *path);
/* Waits for a fetch that is going on: who cannot wait sets hub->stop first. NULL-safe. */
void qk_ahead_free(qk_ahead *a);
