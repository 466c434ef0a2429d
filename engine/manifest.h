/* manifest.json: what was run, so that a rerun knows whether it is the same, and a reader where
 * rows come from. It lies in final/<split>/ (prefix layout) or final/ (branch layout).
 *
 *   format     "qkengine manifest 1"
 *   head_dim, files {"l00h00q": {"rows": n, "bytes": n}, ...}, examples, tokens
 *   runs       one entry per run that added rows: fingerprint, identity, units, and the
 *              dataset_commit of a dataset of the Hub
 *
 * An identity is everything that decides the rows: engine version, configuration, the model's
 * effective config.json, SHA-256 of weights, tokenizer and dataset files, and the chosen heads. Of
 * a dataset of the Hub they are all the files of the selection, read or not, by the digests of the
 * commit's listing (git_sha1 where that is all it has): another commit with the same files is the
 * same run.
 * Batch size, threads, machine and time are not in it, and nothing else is in the file, so the same
 * run always writes the same bytes.
 *
 * next: engine/run.h */
#pragma once

#include "engine/base/file.h"
#include "engine/plan.h"

/* 40 or 64 digits and NUL. */
enum { QK_COMMIT_ROOM = 65 };

typedef struct qk_identity {
    const char *text; /* indented JSON, in the arena */
    const qk_json *tree;
    char fingerprint[65];                /* SHA-256 of the text */
    char dataset_commit[QK_COMMIT_ROOM]; /* of a dataset of the Hub, else ""; not in the text:
                                            engine/origin.h */
} qk_identity;

/* dataset_files: paths of the files that the rows come from. */
qk_status qk_identity_make(qk_identity *id, const qk_plan *plan, const qk_names *dataset_files,
                           qk_arena *arena, qk_error *err);
/* The first place where two identities differ: "config.capture.sampler.base_rate: 1.0 then, 2.0
 * now". In the arena; NULL when they are equal. */
const char *qk_identity_difference(const qk_json *then, const qk_json *now, qk_arena *arena);

/* One work unit in the manifest. */
typedef struct qk_unit_totals {
    int64_t examples, tokens;
    uint64_t rows;
} qk_unit_totals;

/* The manifest of a split folder; NULL tree when there is none. Trees live in the arena. */
qk_status qk_manifest_read(const char *split_folder, qk_arena *arena, const qk_json **out,
                           qk_error *err);
/* Whether the manifest holds this run and every file it lists is there with its size. */
qk_status qk_manifest_is_complete(const qk_json *manifest, const qk_identity *id,
                                  const char *split_folder, bool *complete, qk_error *err);

typedef struct qk_manifest_file {
    const char *name; /* "l00h00q" */
    uint64_t rows, bytes;
    uint64_t nonfinite; /* rows that hold NaN or infinity (capture.allow_nonfinite) */
} qk_manifest_file;

/* Text of the new manifest: the runs of `old` (may be NULL) without this fingerprint, then this
 * run. files are in name order. The caller frees the buffer. */
void qk_manifest_write(qk_buf *out, const qk_json *old, const qk_identity *id, int head_dim,
                       const qk_manifest_file *files, size_t n_files, int64_t examples,
                       int64_t tokens, const qk_unit_totals *units, size_t n_units);
/* The manifest of two that describe parts of one split: the runs of a (may be NULL), then those of
 * b that a lacks. The caller frees the buffer. */
void qk_manifest_join(qk_buf *out, const qk_json *a, const qk_json *b, int head_dim,
                      const qk_manifest_file *files, size_t n_files, int64_t examples,
                      int64_t tokens);
/* Whether `whole` holds every run of `part`. */
bool qk_manifest_covers(const qk_json *whole, const qk_json *part);
