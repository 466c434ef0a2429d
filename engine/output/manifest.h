/* manifest.json: what was run, so that a rerun knows whether it is the same, and a reader where
 * rows come from. It lies in final/<split>/ (prefix layout) or final/ (branch layout).
 *
 *   format     "qkengine manifest 2"
 *   head_dim, files {"l00h00q": {"rows": n, "bytes": n, "sha256": "..."}, ...}, examples, tokens
 *   examples_file {"bytes": n, "sha256": "..."}   examples.parquet
 *   attention  what the model does with queries, keys and values: the part of "qkengine.attention"
 *              that no run says (engine/output/attention.h); absent in older files
 *   runs       one entry per run that added rows: fingerprint, identity, units, the
 *              dataset_commit of a dataset of the Hub, and the numerics that computed them
 *              (engine/staging/numerics.h)
 *              A run of which only some units are there (qkengine merge --partial) has in its entry
 *              "partial": {"of": units of the run or null, "units": [numbers of those that are there]}.
 *              It is not that run: who asks whether a manifest has the run gets no.
 *   sha256     last: of all that is before these 64 digits
 *
 * Format 1, of older files, had none of the digests; it is read, and believed. Files of either
 * format may have a member "build", how the program was built: it is passed over, and gone where
 * the manifest is written anew.
 *
 * Nothing in it is of the machine, of the build, of time, or of how the run was split up, so the
 * same run always writes the same bytes.
 *
 * next: engine/output/compatibility.h */
#pragma once

#include "engine/base/file.h"
#include "engine/staging/identity.h"

/* One work unit in the manifest. */
typedef struct qk_unit_totals {
    int64_t examples, tokens;
    uint64_t rows;
} qk_unit_totals;

/* The manifest of a split folder; NULL tree when there is none. Trees live in the arena. What is
 * read is whole, and of the types above: QK_ERR_DAMAGED or QK_ERR_FORMAT otherwise. */
qk_status qk_manifest_read(const char *split_folder, qk_arena *arena, const qk_json **out,
                           qk_error *err);
/* The same of a file that is there under any name. */
qk_status qk_manifest_read_file(const char *path, qk_arena *arena, const qk_json **out,
                                qk_error *err);
/* Whether it is of the format that has digests. */
bool qk_manifest_is_sealed(const qk_json *manifest);
bool qk_manifest_has_run(const qk_json *manifest, const char *fingerprint);
/* "12 of 75 units", or "12 units" where it is not known of how many: of the first run that is there in
 * part; NULL when all are whole. In the arena. */
const char *qk_manifest_partial(const qk_json *manifest, qk_arena *arena);
/* What computed the rows ("cpu amx"); NULL when no run says so. Lies in the tree. */
const char *qk_manifest_numerics(const qk_json *manifest);
/* Whether the manifest holds this run and every file it lists is there with its size. */
qk_status qk_manifest_is_complete(const qk_json *manifest, const qk_identity *id,
                                  const char *split_folder, bool *complete, qk_error *err);
/* Reads all files that the manifest lists: one that is not there, or not as it was written, is an
 * error with its name. */
qk_status qk_manifest_check(const qk_json *manifest, const char *split_folder, qk_error *err);

typedef struct qk_manifest_file {
    const char *name; /* "l00h00q" */
    uint64_t rows, bytes;
    char sha256[65];    /* "": not known, and not written */
    uint64_t nonfinite; /* rows that hold NaN or infinity (capture.allow_nonfinite) */
} qk_manifest_file;
/* What a manifest says of a file; of examples.parquet for NULL. false when it does not list it. */
bool qk_manifest_find(const qk_json *manifest, const char *name, qk_manifest_file *out);

/* A run that adds its rows. */
typedef struct qk_manifest_run {
    const qk_identity *id;
    const char *numerics; /* "" when nothing was computed */
    const qk_unit_totals *units;
    size_t n_units;
    const qk_json *attention; /* or NULL */
    const int64_t *partial;   /* [n_units] numbers of the units; NULL: they are the whole run */
    int64_t of;               /* units of the run, for `partial`; -1: not known */
} qk_manifest_run;

/* What a manifest is made of; borrowed. Its runs are those of `first` without that of `run`, then
 * those of `second` that `first` lacks, then `run`; a part of a run that is there whole is left out. */
typedef struct qk_manifest {
    int head_dim;
    const qk_manifest_file *files, *examples_file; /* files: in name order */
    size_t n_files;
    int64_t examples, tokens;
    const qk_json *first, *second; /* manifests, or NULL */
    const qk_manifest_run *run;    /* or NULL */
} qk_manifest;
/* Visits its runs; run: as a manifest lists it, NULL: m->run. */
void qk_manifest_each_run(const qk_manifest *m, void (*visit)(void *context, const qk_json *run),
                          void *context);
/* Its member "attention": that of `first`, or else of `second`, or of `run`; NULL: not known. */
const qk_json *qk_manifest_attention(const qk_manifest *m);
/* Its text; the caller frees the buffer. */
void qk_manifest_write(qk_buf *out, const qk_manifest *m);
/* Whether `whole` holds every run of `part`, and `part` no rows beside those: a run adds its rows
 * to files of another program, too, and no run says where those came from. */
bool qk_manifest_covers(const qk_json *whole, const qk_json *part);
