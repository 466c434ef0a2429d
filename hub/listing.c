/* See listing.h. */
#include "hub/listing.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "formats/json.h"
#include "hub/errors.h"
#include "hub/hop.h"
#include "hub/url.h"

enum { MAX_FILES = 1000000, MAX_PAGES = 20000, MAX_CACHED = 256 << 20, API_SECONDS = 60 };

static const char not_a_hub[] = "check HF_ENDPOINT and the proxy: this is not what a Hub answers";

/* ---- requests ---- */

/* GET of JSON; errors name the repository. */
static qk_status ask(qk_http *http, const qk_repo *repo, const char *url, qk_http_reply *reply,
                     qk_error *err)
{
    qk_http_request q = {.url = url, .seconds = API_SECONDS};
    QK_TRY(qk_http_send(http, &q, reply, err));
    if (reply->status == 200) return QK_OK;
    if (qk_reply_problem(reply) == QK_PROBLEM_NONE)
        return qk_fail(err, QK_ERR_FORMAT, not_a_hub, "%s: status %ld", repo->id, reply->status);
    char *what = qk_reply_problem(reply) == QK_PROBLEM_REVISION
                     ? qk_strf("%s: revision '%s'", repo->id, repo->revision)
                     : qk_strf("%s (%s)", repo->id, qk_repo_type_name(repo->type));
    qk_reply_error(qk_http_hub(http), reply, what, err);
    free(what);
    return err->status;
}

static qk_status parse(qk_arena *arena, const qk_http_reply *reply, const qk_json **out,
                       qk_error *err)
{
    char *shown = qk_url_shown(reply->url);
    qk_status s =
        qk_json_parse(arena, (const char *)reply->body.data, reply->body.size, shown, out, err);
    free(shown);
    if (s != QK_OK) snprintf(err->hint, sizeof err->hint, "%s", not_a_hub);
    return s;
}

qk_status qk_hub_commit(qk_http *http, const qk_repo *repo, char commit[72], qk_http_reply *reply,
                        qk_error *err)
{
    const qk_hub *hub = qk_http_hub(http);
    char *url = qk_hub_api_at(hub, repo->type, repo->id, "revision", repo->revision);
    qk_arena arena = {0};
    const qk_json *root = NULL;
    qk_status s = ask(http, repo, url, reply, err);
    if (s == QK_OK) s = parse(&arena, reply, &root, err);
    const qk_json *sha = qk_json_get(root, "sha");
    if (s == QK_OK && (!sha || sha->type != QK_JSON_T_STRING || !qk_is_commit(sha->text)))
        s = qk_fail(err, QK_ERR_FORMAT, not_a_hub, "%s: the reply names no commit", repo->id);
    if (s == QK_OK) snprintf(commit, 72, "%s", sha->text);
    if (s != QK_OK) qk_redact(err->message, hub->token); /* it may quote where we were sent */
    qk_arena_free(&arena);
    free(url);
    return s;
}

/* ---- entries ---- */

/* Lower-case digits of a digest in the arena, or NULL. */
static const char *digest_of(qk_arena *arena, const qk_json *value, size_t length)
{
    if (!value || value->type != QK_JSON_T_STRING || value->length != length) return NULL;
    char *text = qk_arena_strndup(arena, value->text, length);
    for (char *c = text; *c; c++) *c = (char)tolower((unsigned char)*c);
    return qk_is_digest(text) ? text : NULL;
}

/* sha: of an LFS file, else NULL. */
static qk_status add_file(qk_hub_listing *l, const qk_json *path, const qk_json *size,
                          const qk_json *oid, const qk_json *sha, const char *from, qk_error *err)
{
    qk_hub_file file = {.path = qk_arena_strndup(&l->arena, path->text, path->length)};
    if (strlen(file.path) != path->length)
        return qk_fail(err, QK_ERR_DATA, NULL, "%s: a file name with a NUL in it", from);
    if (qk_check_file_name(file.path, err) != QK_OK) return qk_error_prefix(err, "%s", from);
    const char *git = digest_of(&l->arena, oid, 40);
    file.digest = sha ? digest_of(&l->arena, sha, 64) : git;
    file.oid = git ? git : "";
    bool sized = size && size->type == QK_JSON_T_NUMBER && size->is_integer && size->integer >= 0;
    if (sized) file.size = (uint64_t)size->integer;
    if (!sized || !file.digest)
        return qk_fail(err, QK_ERR_FORMAT, not_a_hub, "%s: '%.200s' has no size or no digest", from,
                       file.path);
    if (l->count == MAX_FILES)
        return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: more than %d files", from, MAX_FILES);
    QK_GROW(l->files, l->count, l->capacity);
    l->files[l->count++] = file;
    return QK_OK;
}

static int by_path(const void *a, const void *b)
{
    const qk_hub_file *x = a, *y = b;
    return strcmp(x->path, y->path);
}

/* The same file twice is one; a name that is a file and a folder cannot be written. */
static qk_status sort(qk_hub_listing *l, const char *from, qk_error *err)
{
    size_t kept = 0;
    if (l->count) qsort(l->files, l->count, sizeof *l->files, by_path);
    for (size_t i = 0; i < l->count; i++) {
        const qk_hub_file *f = &l->files[i], *before = kept ? &l->files[kept - 1] : NULL;
        bool same = before && !strcmp(before->path, f->path);
        if (same && (strcmp(before->digest, f->digest) != 0 || before->size != f->size))
            return qk_fail(err, QK_ERR_DATA, NULL,
                           "%s: '%.200s' is listed twice, with two contents", from, f->path);
        if (!same) l->files[kept++] = *f;
    }
    l->count = kept;
    for (size_t i = 0; i < l->count; i++) {
        char *folder = qk_strdup(l->files[i].path);
        bool clash = false;
        for (char *slash; !clash && (slash = strrchr(folder, '/'));) {
            *slash = 0;
            clash = qk_hub_listing_find(l, folder) != NULL;
        }
        if (clash)
            qk_fail(err, QK_ERR_DATA, NULL, "%s: '%.200s' is a file and a folder", from, folder);
        free(folder);
        if (clash) return QK_ERR_DATA;
    }
    return QK_OK;
}

const qk_hub_file *qk_hub_listing_find(const qk_hub_listing *listing, const char *path)
{
    qk_hub_file key = {.path = path};
    return listing->count ? bsearch(&key, listing->files, listing->count, sizeof key, by_path)
                          : NULL;
}

void qk_hub_listing_free(qk_hub_listing *listing)
{
    free(listing->files);
    qk_arena_free(&listing->arena);
    *listing = (qk_hub_listing){0};
}

/* ---- pages ---- */

static qk_status add_page(qk_hub_listing *l, const qk_json *page, const char *from, qk_error *err)
{
    if (page->type != QK_JSON_T_ARRAY)
        return qk_fail(err, QK_ERR_FORMAT, not_a_hub, "%s: the listing is %s", from,
                       qk_json_type_name(page));
    for (const qk_json *e = page->first; e; e = e->next) {
        const qk_json *path = qk_json_get(e, "path"), *lfs = qk_json_get(e, "lfs");
        if (!qk_json_is_string(qk_json_get(e, "type"), "file")) continue;
        if (!path || path->type != QK_JSON_T_STRING)
            return qk_fail(err, QK_ERR_FORMAT, not_a_hub, "%s: a file without a path", from);
        bool is_lfs = lfs && lfs->type == QK_JSON_T_OBJECT;
        QK_TRY(add_file(l, path, qk_json_get(is_lfs ? lfs : e, "size"), qk_json_get(e, "oid"),
                        is_lfs ? qk_json_get(lfs, "oid") : NULL, from, err));
    }
    return QK_OK;
}

/* *next: the URL of the following page or NULL. It must stay at the endpoint and be a new one. */
static qk_status next_page(const qk_hub *hub, const qk_http_reply *reply, qk_names *seen,
                           const char *from, char **next, qk_error *err)
{
    *next = NULL;
    const char *header = qk_http_header(reply, "link");
    char *link = header ? qk_link_next(header) : NULL;
    if (!link) return QK_OK;
    char *fixed = qk_hub_fix_url(hub, link);
    qk_status s = qk_url_follow(next, reply->url, fixed, err);
    free(link);
    free(fixed);
    if (s != QK_OK) return qk_error_prefix(err, "%s: next page", from);
    if (!qk_url_same_origin(*next, hub->endpoint))
        s = qk_fail(err, QK_ERR_DATA, NULL, "%s: the listing goes on at another server", from);
    for (size_t i = 0; i < seen->count && s == QK_OK; i++)
        if (!strcmp(seen->items[i], *next))
            s = qk_fail(err, QK_ERR_DATA, NULL, "%s: the pages of the listing lead in a circle",
                        from);
    if (s == QK_OK && seen->count >= MAX_PAGES)
        s = qk_fail(err, QK_ERR_DATA, NULL, "%s: the listing never ends", from);
    if (s == QK_OK) return QK_OK;
    free(*next);
    *next = NULL;
    return s;
}

qk_status qk_hub_list(qk_hub_listing *out, qk_http *http, const qk_repo *repo, const char *commit,
                      qk_error *err)
{
    *out = (qk_hub_listing){0};
    qk_http_reply reply = {0};
    qk_names seen = {0};
    char *tree = qk_hub_api_at(qk_http_hub(http), repo->type, repo->id, "tree", commit);
    char *url = qk_strf("%s?recursive=true&expand=false", tree);
    qk_status s = QK_OK;
    while (url && s == QK_OK) {
        qk_arena arena = {0};
        const qk_json *page;
        char *next = NULL;
        qk_names_add(&seen, url);
        s = ask(http, repo, url, &reply, err);
        if (s == QK_OK) s = parse(&arena, &reply, &page, err);
        if (s == QK_OK) s = add_page(out, page, repo->id, err);
        if (s == QK_OK) s = next_page(qk_http_hub(http), &reply, &seen, repo->id, &next, err);
        qk_arena_free(&arena);
        free(url);
        url = next;
    }
    if (s == QK_OK) s = sort(out, repo->id, err);
    free(tree);
    free(url);
    qk_names_free(&seen);
    qk_http_reply_free(&reply);
    if (s != QK_OK) qk_redact(err->message, qk_http_hub(http)->token); /* names are the server's */
    if (s != QK_OK) qk_hub_listing_free(out);
    return s;
}

/* ---- in the cache ---- */

static qk_status add_cached(qk_hub_listing *l, const qk_json *root, const char *path, qk_error *err)
{
    const qk_json *files = qk_json_get(root, "files"),
                  *version = qk_json_get(root, "format_version");
    if (!files || files->type != QK_JSON_T_OBJECT || !version || version->integer != 1)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: not a listing of version 1", path);
    for (const qk_json *f = files->first; f; f = f->next) {
        const qk_json *sha = qk_json_get(f, "lfs_sha256");
        bool lfs = sha && sha->type == QK_JSON_T_STRING;
        qk_json name = {.text = f->key, .length = f->key_length};
        const qk_json *size =
            qk_json_get(f, lfs && qk_json_get(f, "lfs_size") ? "lfs_size" : "size");
        QK_TRY(add_file(l, &name, size, qk_json_get(f, "blob_id"), lfs ? sha : NULL, path, err));
    }
    return sort(l, path, err);
}

qk_status qk_hub_listing_read(qk_hub_listing *out, const char *path, qk_error *err)
{
    *out = (qk_hub_listing){0};
    qk_arena arena = {0};
    const qk_json *root;
    qk_status s = qk_json_parse_file(&arena, path, MAX_CACHED, &root, err);
    if (s == QK_OK) s = add_cached(out, root, path, err);
    qk_arena_free(&arena);
    if (s != QK_OK) qk_hub_listing_free(out);
    return s;
}

void qk_hub_listing_json(const qk_hub_listing *listing, qk_buf *out)
{
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_int(&o, "format_version", 1);
    qk_json_begin(&o, "files", '{');
    for (size_t i = 0; i < listing->count; i++) {
        const qk_hub_file *f = &listing->files[i];
        bool lfs = strlen(f->digest) == 64;
        qk_json_begin(&o, f->path, '{');
        qk_json_add_int(&o, "size", (int64_t)f->size);
        qk_json_add_str(&o, "blob_id", f->oid);
        if (lfs) qk_json_add_str(&o, "lfs_sha256", f->digest);
        if (lfs) qk_json_add_int(&o, "lfs_size", (int64_t)f->size);
        qk_json_end(&o, '}');
    }
    qk_json_end(&o, '}');
    qk_json_end(&o, '}');
    *out = o.buf;
}
