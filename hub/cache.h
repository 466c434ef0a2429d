/* One repository in the cache that huggingface_hub and others share.
 *
 *   CACHE/models--owner--name/refs/REVISION             the commit, 40 digits, no newline
 *                             blobs/DIGEST              contents
 *                             blobs/DIGEST.qk.incomplete  a download of ours, resumable
 *                             snapshots/COMMIT/PATH     link ../../blobs/DIGEST, or the content
 *                             .no_exist/COMMIT/PATH     asked for, and not in that commit
 *                             trees/COMMIT.json         hub/listing.h
 *   CACHE/.locks/models--owner--name/DIGEST.lock        flock while a blob is made
 *
 * Nothing else is put there: huggingface_hub calls unknown names a damaged cache (1.4.1 even a
 * CACHEDIR.TAG). Below the repository's folder no link is followed on the way to a file that is
 * written, so a planted link cannot lead out of it. Files get their final names by rename only.
 *
 * next: hub/download.h */
#pragma once

#include "engine/base/file.h"
#include "engine/base/input.h"
#include "hub/listing.h"

typedef struct qk_cache {
    const qk_hub *hub;
    char *folder;    /* of the repository */
    char *snapshot;  /* folder/snapshots/commit, "" before the commit is known */
    char commit[72]; /* "" before it is known */
    int root, blobs; /* descriptors after qk_cache_prepare, else -1 */
} qk_cache;

/* Touches nothing. The hub is borrowed. */
void qk_cache_open(qk_cache *cache, const qk_hub *hub, const qk_repo *repo);
void qk_cache_close(qk_cache *cache);
void qk_cache_set_commit(qk_cache *cache, const char *commit);

/* The commit that refs/REVISION holds, or that the revision itself is; "": not known here. */
qk_status qk_cache_read_ref(const qk_cache *cache, const char *revision, char commit[72],
                            qk_error *err);
/* The file is there, complete as far as its size tells. size UINT64_MAX: any. */
qk_status qk_cache_has(const qk_cache *cache, const char *path, uint64_t size, bool *has,
                       qk_error *err);

/* The digest of a snapshot's file, by the name of the blob that it is a link to; "" for a copy. */
qk_status qk_cache_digest(const qk_cache *cache, const char *path, char digest[72], qk_error *err);

/* Whether nobody but this user and root can have written a file of the cache: by owner and mode of
 * it and of its folder. */
bool qk_cache_is_own(const char *path);

/* Makes the folders of the commit. */
qk_status qk_cache_prepare(qk_cache *cache, qk_error *err);
/* Writes refs/REVISION when it says something else; not for a revision that is the commit. */
qk_status qk_cache_write_ref(qk_cache *cache, const char *revision, qk_error *err);
/* Writes "trees/COMMIT.json" and the like under the repository's folder, by a rename. */
qk_status qk_cache_write(qk_cache *cache, const char *name, const void *bytes, size_t n,
                         qk_error *err);
/* Leaves a mark in .no_exist; failures do not matter. */
void qk_cache_note_absent(qk_cache *cache, const char *path);

/* Takes DIGEST.lock without waiting; *busy: another process has it. *lock is its descriptor, or -1;
 * close() frees it. A file system without locks gives it to everybody. */
qk_status qk_cache_lock(const qk_cache *cache, const char *digest, int *lock, bool *busy,
                        qk_error *err);
/* The resumable temporary file of a blob, opened for reading and writing. */
qk_status qk_cache_open_partial(const qk_cache *cache, const char *digest, int *fd, qk_error *err);
void qk_cache_drop_partial(const qk_cache *cache, const char *digest);
/* A finished temporary file becomes the blob, and the snapshot's file. */
qk_status qk_cache_install(const qk_cache *cache, const qk_hub_file *file, qk_error *err);
/* An existing blob becomes the snapshot's file. */
qk_status qk_cache_link(const qk_cache *cache, const qk_hub_file *file, qk_error *err);
qk_status qk_cache_has_blob(const qk_cache *cache, const qk_hub_file *file, bool *has,
                            qk_error *err);
/* Takes a wrong content away: the snapshot's file and, when it is the same as `wrong`, the blob.
 * Not while another process makes that blob (*busy). */
qk_status qk_cache_drop(const qk_cache *cache, const qk_hub_file *file, const qk_file_state *wrong,
                        bool *busy, qk_error *err);
/* Names of the files of the snapshot that are there, sorted. */
qk_status qk_cache_list(const qk_cache *cache, qk_names *out, qk_error *err);
