/* The LFS batch call: where to send the bytes of large files, whole or in parts.
 *
 *   request  {"operation":"upload","transfers":["basic","multipart"],"objects":[{"oid","size"}],
 *             "hash_algo":"sha256","ref":{"name":BRANCH}}
 *   reply    per object: "actions" {"upload":{"href","header"},"verify":{"href"}}; no actions: the
 *            bytes are there already; "error": they are not wanted
 *   parts    header {"chunk_size":N,"00001":URL,...}: ceil(size / N) of them
 *
 * Source: git-lfs batch API; huggingface_hub's lfs module for "multipart".
 *
 * next: hub/upload.h */
#pragma once

#include "formats/json.h"

typedef struct qk_lfs_object {
    const char *oid; /* SHA-256 */
    uint64_t size;
} qk_lfs_object;

/* Where one object goes; strings live in the arena of the parse. */
typedef struct qk_lfs_action {
    const char *upload; /* URL; NULL: stored already */
    const char *verify; /* URL or NULL */
    uint64_t chunk;     /* bytes of a part; 0: one PUT of all */
    const char **parts; /* [n_parts] URLs in order */
    size_t n_parts;
} qk_lfs_action;

enum { QK_LFS_MAX_OBJECTS = 256, QK_LFS_MAX_PARTS = 10000 };

/* The request body for objects with different oids. */
void qk_lfs_batch_body(qk_buf *out, const qk_lfs_object *objects, size_t n, const char *branch);
/* Reads the reply into actions [n], one per object. */
qk_status qk_lfs_batch_parse(qk_lfs_action *actions, const qk_lfs_object *objects, size_t n,
                             const qk_buf *reply, qk_arena *arena, qk_error *err);
/* Body of the completion: etags [n_parts] verbatim. */
void qk_lfs_complete_body(qk_buf *out, const char *oid, char *const *etags, size_t n_parts);
void qk_lfs_verify_body(qk_buf *out, const char *oid, uint64_t size);
