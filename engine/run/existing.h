/* What final/ holds before this run adds to it: whether the run may, and whether it is there
 * already.
 *
 *   branch layout   final/ belongs to one run: the same identity, or it is refused
 *   prefix layout   a split folder takes the rows of several runs of one meaning
 *                   (engine/output/compatibility.h)
 *
 * next: engine/output/manifest.h */
#pragma once

#include "engine/staging/identity.h"
#include "engine/staging/numerics.h"

typedef struct qk_plan qk_plan;

typedef struct qk_existing {
    qk_plan *plan; /* borrowed, set by the caller; its split is chosen by what is there */
    const qk_identity *identity;
    const qk_json *manifest;   /* as qk_existing_check has read it; NULL: there is none */
    qk_numerics_existing rows; /* what computed the rows that this run adds to */
    qk_arena arena;            /* of the manifest */
} qk_existing;

/* Reads the manifest; an error when this run may not write to final/. */
qk_status qk_existing_check(qk_existing *e, qk_error *err);
/* Whether that manifest has this run. */
qk_status qk_existing_is_complete(const qk_existing *e, bool *complete, qk_error *err);
/* The same of the manifest that lies there now, without holding the folder: manifest.json is
 * renamed last. */
qk_status qk_existing_has_become_complete(const qk_existing *e, bool *complete, qk_error *err);
/* Reads every byte that the manifest vouches for: what is said to be complete is. */
qk_status qk_existing_verify(const qk_existing *e, qk_error *err);
/* Prefix layout: rows of two commits of the dataset are fine, but hardly what was meant. */
void qk_existing_warn_of_commits(const qk_existing *e);
void qk_existing_free(qk_existing *e);
