/* See pull.h. */
#include "hub/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "hub/content.h"
#include "hub/download.h"
#include "hub/errors.h"

/* ---- what the cache knows ---- */

static char *listing_path(const qk_snapshot *s)
{
    return qk_strf("%s/trees/%s.json", s->cache.folder, s->cache.commit);
}

static qk_status read_kept_listing(qk_snapshot *s, qk_error *err)
{
    char *path = listing_path(s);
    qk_status status = qk_has_file(path, &s->listing_is_kept, err);
    if (status == QK_OK && s->listing_is_kept) status = qk_hub_listing_read(&s->listing, path, err);
    s->listing_is_kept &= status == QK_OK;
    free(path);
    return status;
}

/* The files that lie in the snapshot, for a cache without a kept listing. */
static qk_status list_snapshot(qk_snapshot *s, qk_error *err)
{
    qk_names names = {0};
    qk_hub_listing *l = &s->listing;
    qk_status status = qk_cache_list(&s->cache, &names, err);
    for (size_t i = 0; i < names.count && status == QK_OK; i++) {
        char digest[72];
        status = qk_cache_digest(&s->cache, names.items[i], digest, err);
        QK_GROW(l->files, l->count, l->capacity);
        l->files[l->count++] = (qk_hub_file){.path = qk_arena_strf(&l->arena, "%s", names.items[i]),
                                             .size = UINT64_MAX,
                                             .digest = qk_arena_strf(&l->arena, "%s", digest),
                                             .oid = ""};
    }
    qk_names_free(&names);
    return status;
}

static qk_status open_cached(qk_snapshot *s, qk_error *err)
{
    char commit[72];
    s->from_cache = true;
    bool known = false;
    QK_TRY(qk_cache_read_ref(&s->cache, s->repo.revision, commit, err));
    if (*commit) {
        qk_cache_set_commit(&s->cache, commit);
        QK_TRY(qk_has_folder(s->cache.snapshot, &known, err));
    }
    if (!known) {
        *err = s->why;
        return qk_error_prefix(err, "%s at '%s' is not in the cache (%s)", s->repo.id,
                               s->repo.revision, s->hub->cache);
    }
    /* One that is there and cannot be read is not replaced by what lies in the snapshot: that may
     * be a part of it. */
    QK_TRY(read_kept_listing(s, err));
    return s->listing_is_kept ? QK_OK : list_snapshot(s, err);
}

/* ---- what the Hub knows ---- */

/* Trouble that leaves the cache as good as it was. Not a wrong proxy, TLS or an answer that says
 * no. */
static bool may_use_cache(const qk_http_reply *reply)
{
    if (reply->failure == QK_HTTP_NOT_SENT || reply->failure == QK_HTTP_BROKEN)
        return !reply->proxied;
    return reply->failure == QK_HTTP_REPLIED && reply->status >= 500;
}

/* Contents are compared with the listing, so one that somebody else may have written says nothing:
 * then the Hub is asked, and what it says is kept instead. */
static qk_status list_again(qk_snapshot *s, qk_http *http, const char *commit, qk_error *err)
{
    qk_hub_listing kept = s->listing;
    s->listing = (qk_hub_listing){0};
    qk_status status = qk_hub_list(&s->listing, http, &s->repo, commit, err);
    bool same = status == QK_OK && s->listing.count == kept.count;
    for (size_t i = 0; same && i < kept.count; i++) {
        const qk_hub_file *x = &kept.files[i], *y = qk_hub_listing_find(&s->listing, x->path);
        same = y && x->size == y->size && !strcmp(x->digest, y->digest);
    }
    s->listing_is_kept = same;
    qk_hub_listing_free(&kept);
    return status;
}

static qk_status ask_hub(qk_snapshot *s, qk_http *http, qk_http_reply *reply, qk_error *err)
{
    char commit[72];
    if (qk_is_commit(s->repo.revision))
        snprintf(commit, sizeof commit, "%s", s->repo.revision);
    else
        QK_TRY(qk_hub_commit(http, &s->repo, commit, reply, err));
    qk_cache_set_commit(&s->cache, commit);
    qk_error ignored; /* the Hub has it anew */
    if (read_kept_listing(s, &ignored) == QK_OK && s->listing_is_kept) {
        char *path = listing_path(s);
        bool own = qk_cache_is_own(path);
        free(path);
        return own ? QK_OK : list_again(s, http, commit, err);
    }
    return qk_hub_list(&s->listing, http, &s->repo, commit, err);
}

static qk_status open_listing(qk_snapshot *s, qk_error *err)
{
    if (s->hub->offline) {
        qk_fail(&s->why, QK_ERR_NOTFOUND, "unset HF_HUB_OFFLINE, or run it once with a network",
                "HF_HUB_OFFLINE is set");
        return open_cached(s, err);
    }
    qk_http *http = qk_http_open(s->hub);
    qk_http_reply reply = {0};
    char commit[72];
    qk_status status = ask_hub(s, http, &reply, err);
    bool cached = status != QK_OK && may_use_cache(&reply);
    qk_http_close(http);
    qk_http_reply_free(&reply);
    qk_error why; /* *err says what failed first */
    if (!cached || qk_cache_read_ref(&s->cache, s->repo.revision, commit, &why) != QK_OK ||
        !*commit)
        return status;
    s->why = *err;
    QK_TRY(open_cached(s, err));
    qk_warn("%s; using what the cache has of %s at '%s'", s->why.message, s->repo.id,
            s->repo.revision);
    return QK_OK;
}

qk_status qk_snapshot_open(qk_snapshot *s, const qk_hub *hub, qk_repo_type type, const char *repo,
                           const char *revision, qk_error *err)
{
    if (!revision) revision = "main";
    QK_TRY(qk_check_repo(repo, err));
    QK_TRY(qk_check_revision(revision, err));
    *s = (qk_snapshot){.hub = hub, .repo = {type, qk_strdup(repo), qk_strdup(revision)}};
    qk_cache_open(&s->cache, hub, &s->repo);
    qk_status status = open_listing(s, err);
    s->checked = qk_zalloc(s->listing.count + 1, sizeof *s->checked);
    if (status != QK_OK) qk_snapshot_close(s);
    return status;
}

void qk_snapshot_close(qk_snapshot *s)
{
    qk_hub_listing_free(&s->listing);
    free(s->checked);
    qk_cache_close(&s->cache);
    free((char *)s->repo.id);
    free((char *)s->repo.revision);
    *s = (qk_snapshot){.cache = {.root = -1, .blobs = -1}};
}

/* ---- files ---- */

const char *qk_snapshot_folder(const qk_snapshot *s)
{
    return s->cache.snapshot;
}

bool qk_snapshot_has(const qk_snapshot *s, const char *path)
{
    return qk_hub_listing_find(&s->listing, path) != NULL;
}

qk_status qk_snapshot_holds(const qk_snapshot *s, const char *path, bool *holds, qk_error *err)
{
    const qk_hub_file *file = qk_hub_listing_find(&s->listing, path);
    *holds = false;
    return file ? qk_cache_has(&s->cache, path, file->size, holds, err) : QK_OK;
}

/* Where the listing has the file. */
static size_t number_of(const qk_snapshot *s, const qk_hub_file *file)
{
    return (size_t)(file - s->listing.files);
}

qk_status qk_snapshot_knows(const qk_snapshot *s, const char *path, bool *knows, qk_error *err)
{
    const qk_hub_file *file = qk_hub_listing_find(&s->listing, path);
    *knows = file && s->checked[number_of(s, file)];
    return *knows ? qk_cache_has(&s->cache, path, file->size, knows, err) : QK_OK;
}

/* The ref is written once: files that are fetched hours later must not turn it back. */
static qk_status prepare(qk_snapshot *s, qk_error *err)
{
    if (s->cache.root < 0) QK_TRY(qk_cache_prepare(&s->cache, err));
    if (!s->ref_is_written) QK_TRY(qk_cache_write_ref(&s->cache, s->repo.revision, err));
    s->ref_is_written = true;
    return QK_OK;
}

/* Only a listing whose contents came is worth keeping: a wrong one would stay for ever. */
static qk_status keep_listing(qk_snapshot *s, qk_error *err)
{
    if (s->listing_is_kept) return QK_OK;
    qk_buf text;
    qk_hub_listing_json(&s->listing, &text);
    char *name = qk_strf("trees/%s.json", s->cache.commit);
    qk_status status = qk_cache_write(&s->cache, name, text.data, text.size, err);
    s->listing_is_kept = status == QK_OK;
    free(name);
    qk_buf_free(&text);
    return status;
}

static qk_status not_in_cache(const qk_snapshot *s, const char *path, qk_error *err)
{
    *err = s->why;
    return qk_error_prefix(err, "%s: '%s' is not in the cache (%s)", s->repo.id, path,
                           s->hub->cache);
}

/* A file that has the right size and other bytes. Without the Hub that is the end; else it goes,
 * and is fetched again. */
static qk_status drop_wrong(qk_snapshot *s, const qk_hub_file *file, const qk_file_state *seen,
                            qk_error *err)
{
    bool busy; /* then the download waits for who makes it */
    if (s->from_cache)
        return qk_fail(err, QK_ERR_DATA, "remove that file, and run it once with a network",
                       "%s: '%s' in the cache is damaged: its content is not what the Hub lists "
                       "(%s %.12s...): %s/%s",
                       s->repo.id, file->path, strlen(file->digest) == 64 ? "SHA-256" : "git sha1",
                       file->digest, s->cache.snapshot, file->path);
    qk_warn("%s: '%s' in the cache is damaged: its content is not what the Hub lists; it is "
            "fetched again",
            s->repo.id, file->path);
    QK_TRY(prepare(s, err));
    return qk_cache_drop(&s->cache, file, seen, &busy, err);
}

/* Whether the file is there, with the right content. */
static qk_status check_file(qk_snapshot *s, const qk_hub_file *file, bool *right, qk_error *err)
{
    qk_file_state seen;
    atomic_bool *checked = &s->checked[number_of(s, file)];
    QK_TRY(qk_cache_has(&s->cache, file->path, file->size, right, err));
    if (!*right || *checked) return QK_OK;
    char *path = qk_path_join(s->cache.snapshot, file->path);
    qk_status status = qk_content_check(s->hub, path, file, right, &seen, err);
    free(path);
    if (status != QK_OK) return qk_error_prefix(err, "%s", s->repo.id);
    *checked = *right;
    return *right ? QK_OK : drop_wrong(s, file, &seen, err);
}

/* The files that the snapshot lacks; the caller frees. */
static qk_status find_missing(qk_snapshot *s, const qk_names *paths, const qk_hub_file ***missing,
                              size_t *count, qk_error *err)
{
    *missing = qk_alloc(paths->count + 1, sizeof **missing);
    *count = 0;
    for (size_t i = 0; i < paths->count; i++) {
        const qk_hub_file *file = qk_hub_listing_find(&s->listing, paths->items[i]);
        if (!file && s->from_cache) return not_in_cache(s, paths->items[i], err);
        if (!file)
            return qk_fail(err, QK_ERR_NOTFOUND, NULL, "%s at '%s': there is no file '%s'",
                           s->repo.id, s->repo.revision, paths->items[i]);
        bool right;
        QK_TRY(check_file(s, file, &right, err));
        if (right) continue;
        if (s->from_cache) return not_in_cache(s, file->path, err);
        (*missing)[(*count)++] = file;
    }
    return QK_OK;
}

static qk_status fetch_missing(qk_snapshot *s, const qk_hub_file **missing, size_t count,
                               qk_error *err)
{
    qk_error ignored;
    if (!count) {
        /* Nothing to write but what says so: a read-only cache is as good. */
        if (!s->from_cache && prepare(s, &ignored) == QK_OK) keep_listing(s, &ignored);
        return QK_OK;
    }
    QK_TRY(prepare(s, err));
    double bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += (double)missing[i]->size;
    char *what = count == 1 ? qk_strdup(missing[0]->path) : qk_strf("%zu files", count);
    if (!s->quiet)
        qk_info("%s: %s, %s from %s%s%s", s->repo.id, what, qk_human_bytes(bytes), s->hub->endpoint,
                s->reason ? ": " : "", s->reason ? s->reason : "");
    free(what);
    QK_TRY(qk_download(&s->cache, &s->repo, missing, count, s->quiet, err));
    for (size_t i = 0; i < count; i++) s->checked[number_of(s, missing[i])] = true;
    return keep_listing(s, err);
}

qk_status qk_snapshot_fetch(qk_snapshot *s, const qk_names *paths, qk_error *err)
{
    const qk_hub_file **missing = NULL;
    size_t count;
    qk_status status = find_missing(s, paths, &missing, &count, err);
    if (status == QK_OK) status = fetch_missing(s, missing, count, err);
    free(missing);
    return status;
}

qk_status qk_snapshot_fetch_present(qk_snapshot *s, const char *const *paths, qk_error *err)
{
    qk_names present = {0};
    for (const char *const *p = paths; *p; p++)
        if (qk_snapshot_has(s, *p)) qk_names_add(&present, *p);
    qk_status status = qk_snapshot_fetch(s, &present, err);
    for (const char *const *p = paths; *p && status == QK_OK && !s->from_cache; p++)
        if (!qk_snapshot_has(s, *p)) qk_cache_note_absent(&s->cache, *p);
    qk_names_free(&present);
    return status;
}
