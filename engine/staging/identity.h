/* What a run is: everything that decides its rows, as one tree of settings.
 *
 * QK_OUTPUT_VERSION, configuration, the model's effective config.json, SHA-256 of weights, tokenizer
 * and dataset files, and the chosen heads. Of a dataset of the Hub they are all the files of the
 * selection, read or not, by the digests of the commit's listing (git_sha1 where that is all it
 * has): another commit with the same files is the same run. Of one on this disk that is not read to
 * its end it is the rows (dataset_rows, engine/dataset/rows_digest.h). Where it is files, what the
 * card says of the type of ids is named as well (dataset_id_type): "7" and 7 are other ids.
 * Batch size, threads, machine, time and how the program was built are not in it.
 *
 * next: engine/run/identify.h, which makes it; engine/output/compatibility.h */
#pragma once

#include "formats/json.h"

/* 40 or 64 digits and NUL. */
enum { QK_COMMIT_SIZE = 65 };

typedef struct qk_identity {
    const char *text; /* indented JSON, in the arena */
    const qk_json *tree;
    char fingerprint[65];                /* SHA-256 of the text */
    char dataset_commit[QK_COMMIT_SIZE]; /* of a dataset of the Hub, else ""; not in the text:
                                            engine/run/dataset_commit.h */
} qk_identity;

/* From its JSON text: tree and fingerprint; the commit is the caller's. Both live in the arena. */
qk_status qk_identity_parse(qk_identity *id, const char *text, size_t size, qk_arena *arena,
                            qk_error *err);
/* The first place where two identities differ: "config.capture.sampler.base_rate: 1.0 then, 2.0
 * now". In the arena; NULL when they are equal. */
const char *qk_identity_difference(const qk_json *then, const qk_json *now, qk_arena *arena);
/* The same for parts of them that lie at `path`. */
const char *qk_identity_difference_at(const qk_json *then, const qk_json *now, const char *path,
                                      qk_arena *arena);
