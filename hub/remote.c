/* See remote.h. */
#include "hub/remote.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "formats/json.h"
#include "hub/commit_body.h"
#include "hub/errors.h"
#include "hub/url.h"

enum { MOST_PAGES = 10000, TRIES = 6 };

static const char *const json_headers[] = {"Content-Type: application/json", NULL};
static const char *const commit_headers[] = {"Content-Type: application/x-ndjson", NULL};

static qk_status get(qk_http *http, const char *url, qk_http_reply *reply, qk_error *err)
{
    qk_http_request q = {.url = url, .seconds = 60};
    return qk_http_send(http, &q, reply, err);
}

static qk_status post(qk_http *http, const char *url, const qk_buf *body,
                      const char *const *headers, qk_http_reply *reply, qk_error *err)
{
    qk_http_request q = {.method = "POST",
                         .url = url,
                         .headers = headers,
                         .body = body->data,
                         .body_size = body->size,
                         .seconds = 120,
                         .retries = QK_RETRY_UNSENT};
    return qk_http_send(http, &q, reply, err);
}

/* ---- the head ---- */

static qk_status read_head(const qk_http_reply *reply, const char *what, char head[65],
                           qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *root;
    qk_status s = qk_json_parse(&arena, (const char *)reply->body.data, reply->body.size,
                                "the repository's description", &root, err);
    const qk_json *sha = s == QK_OK ? qk_json_get(root, "sha") : NULL;
    if (s == QK_OK && (!sha || sha->type != QK_JSON_T_STRING || !qk_is_commit(sha->text)))
        s = qk_fail(err, QK_ERR_FORMAT, "check HF_ENDPOINT and the proxy",
                    "%s: the reply names no commit: this is not a Hub", what);
    if (s == QK_OK) memcpy(head, sha->text, strlen(sha->text) + 1);
    qk_arena_free(&arena);
    return s;
}

/* The head of a revision, or the problem why there is none. */
static qk_status ask_head(qk_remote *r, qk_http *http, const char *revision, char head[65],
                          qk_problem *problem, qk_error *err)
{
    char *url = qk_hub_api_at(r->hub, QK_REPO_DATASET, r->repo, "revision", revision);
    qk_http_reply reply = {0};
    qk_status s = get(http, url, &reply, err);
    if (s == QK_OK) {
        *problem = qk_reply_problem(&reply);
        s = *problem == QK_PROBLEM_NONE ? read_head(&reply, r->repo, head, err)
                                        : qk_reply_error(r->hub, &reply, r->repo, err);
    } else {
        *problem = QK_PROBLEM_OTHER;
    }
    qk_http_reply_free(&reply);
    free(url);
    return s;
}

qk_status qk_remote_look(qk_remote *r, qk_http *http, qk_error *err)
{
    qk_problem problem;
    return ask_head(r, http, r->branch, r->head, &problem, err);
}

/* ---- the listing ---- */

static int by_name(const void *a, const void *b)
{
    const qk_remote_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

const qk_remote_file *qk_remote_find(const qk_remote *r, const char *name)
{
    qk_remote_file key = {.name = (char *)name};
    return r->count ? bsearch(&key, r->files, r->count, sizeof key, by_name) : NULL;
}

static void clear(qk_remote *r)
{
    for (size_t i = 0; i < r->count; i++) free(r->files[i].name);
    r->count = 0;
}

void qk_remote_free(qk_remote *r)
{
    clear(r);
    free(r->files);
    *r = (qk_remote){0};
}

static bool is_plain_text(const qk_json *v)
{
    return v && v->type == QK_JSON_T_STRING && !memchr(v->text, 0, v->length);
}

static qk_status add_item(qk_remote *r, const qk_json *item, qk_error *err)
{
    const qk_json *name = qk_json_get(item, "path"), *size = qk_json_get(item, "size"),
                  *lfs = qk_json_get(item, "lfs"), *oid = qk_json_get(item, "oid");
    if (!qk_json_is_string(qk_json_get(item, "type"), "file")) return QK_OK;
    bool large = lfs && lfs->type == QK_JSON_T_OBJECT;
    if (large) oid = qk_json_get(lfs, "oid");
    if (!name || name->type != QK_JSON_T_STRING || !is_plain_text(oid) || !qk_is_digest(oid->text))
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: a listing without names or hashes", r->repo);
    qk_error why = {.message = "it has a NUL"};
    if (!is_plain_text(name) || qk_check_file_name(name->text, &why) != QK_OK) {
        qk_warn("%s holds a file whose name is refused: %s", r->repo, why.message);
        return QK_OK;
    }
    QK_GROW(r->files, r->count, r->capacity);
    qk_remote_file *f = &r->files[r->count++];
    *f = (qk_remote_file){.name = qk_strdup(name->text), .large = large};
    f->size = size && size->is_integer ? (uint64_t)size->integer : 0;
    memcpy(f->oid, oid->text, strlen(oid->text) + 1);
    return QK_OK;
}

static qk_status add_page(qk_remote *r, const qk_http_reply *reply, qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *root;
    qk_status s = qk_json_parse(&arena, (const char *)reply->body.data, reply->body.size,
                                "the repository's listing", &root, err);
    if (s == QK_OK && root->type != QK_JSON_T_ARRAY)
        s = qk_fail(err, QK_ERR_FORMAT, NULL, "%s: a listing that is no list", r->repo);
    for (const qk_json *item = s == QK_OK ? root->first : NULL; item && s == QK_OK;
         item = item->next)
        s = add_item(r, item, err);
    qk_arena_free(&arena);
    return s;
}

/* The page after this one in *url, NULL behind the last. */
static qk_status next_page(qk_remote *r, const qk_http_reply *reply, char **url, qk_error *err)
{
    const char *link = qk_http_header(reply, "link");
    char *next = link ? qk_link_next(link) : NULL, *full = NULL;
    qk_status s = QK_OK;
    if (next) {
        char *fixed = qk_hub_fix_url(r->hub, next);
        s = qk_url_follow(&full, *url, fixed, err);
        free(fixed);
        if (s == QK_OK && !qk_url_same_origin(full, r->hub->endpoint))
            s = qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the listing goes on at another server",
                        r->repo);
    }
    free(next);
    free(*url);
    *url = full;
    return s;
}

static qk_status list_at(qk_remote *r, qk_http *http, const char *commit, qk_error *err)
{
    clear(r);
    char *at = qk_hub_api_at(r->hub, QK_REPO_DATASET, r->repo, "tree", commit);
    char *url = qk_strf("%s?recursive=true&expand=false", at);
    free(at);
    qk_http_reply reply = {0};
    qk_status s = QK_OK;
    for (int page = 0; url && s == QK_OK; page++) {
        s = get(http, url, &reply, err);
        if (s == QK_OK && qk_reply_problem(&reply) != QK_PROBLEM_NONE)
            s = qk_reply_error(r->hub, &reply, r->repo, err);
        if (s == QK_OK) s = add_page(r, &reply, err);
        if (s == QK_OK) s = next_page(r, &reply, &url, err);
        if (s == QK_OK && page == MOST_PAGES)
            s = qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the listing does not end", r->repo);
    }
    free(url);
    qk_http_reply_free(&reply);
    if (r->count) qsort(r->files, r->count, sizeof *r->files, by_name);
    return s;
}

qk_status qk_remote_list(qk_remote *r, qk_http *http, qk_error *err)
{
    return list_at(r, http, r->head, err);
}

/* ---- making what is absent ---- */

qk_status qk_commit_read(const qk_http_reply *reply, char head[65], qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *root = NULL;
    qk_status s = qk_json_parse(&arena, (const char *)reply->body.data, reply->body.size,
                                "the reply to the commit", &root, err);
    const qk_json *oid = s == QK_OK ? qk_json_get(root, "commitOid") : NULL;
    if (is_plain_text(oid) && qk_is_commit(oid->text))
        memcpy(head, oid->text, strlen(oid->text) + 1);
    else
        s = qk_fail(err, QK_ERR_RESUME, "check HF_ENDPOINT and the proxy",
                    "the reply to the commit names no commit");
    qk_arena_free(&arena);
    return s;
}

static void create_body(const qk_remote *r, bool is_private, qk_buf *out)
{
    const char *slash = strchr(r->repo, '/');
    qk_json_out o = {.compact = true};
    qk_json_begin(&o, NULL, '{');
    qk_json_add_str(&o, "name", slash ? slash + 1 : r->repo);
    if (slash) qk_json_add_strn(&o, "organization", r->repo, (size_t)(slash - r->repo));
    qk_json_add_str(&o, "type", "dataset");
    qk_json_add_str(&o, "visibility", is_private ? "private" : "public");
    qk_json_end(&o, '}');
    *out = o.buf;
}

/* 409 means that it exists, or that somebody creates it this moment. */
static bool is_creation_in_progress(const qk_hub *hub, const qk_http_reply *reply)
{
    char *text = qk_reply_text(hub, reply);
    bool busy = reply->status == 409 && strstr(text, "conflicting operation is in progress");
    free(text);
    return busy;
}

static qk_status create_repo(qk_remote *r, qk_http *http, bool is_private, qk_error *err)
{
    qk_buf body = {0};
    create_body(r, is_private, &body);
    char *url = qk_strf("%s/api/repos/create", r->hub->endpoint);
    qk_http_reply reply = {0};
    qk_status s = QK_OK;
    qk_retry retry = {0};
    for (int i = 0; i < TRIES; i++) {
        s = post(http, url, &body, json_headers, &reply, err);
        double seconds;
        if (s != QK_OK || !is_creation_in_progress(r->hub, &reply)) break;
        if (!qk_retry_next(&retry, -1, &seconds)) break;
        s = qk_retry_sleep(seconds, err);
        if (s != QK_OK) break;
    }
    if (s == QK_OK && reply.status / 100 == 2)
        qk_info("created %s dataset %s", is_private ? "private" : "public", r->repo);
    if (s == QK_OK && reply.status / 100 != 2 && reply.status != 409)
        s = qk_reply_error(r->hub, &reply, r->repo, err);
    qk_http_reply_free(&reply);
    qk_buf_free(&body);
    free(url);
    return s;
}

static const char *front_page(const qk_remote *r, qk_buf *out)
{
    qk_buf_addf(out,
                "# %s\n\nSampled attention queries and keys, one set of capture options per "
                "branch: choose a branch to see its files.\n\n"
                "```python\nfrom datasets import load_dataset\n\n"
                "rows = load_dataset(\"%s\", \"l00h00q\", revision=\"BRANCH\")\n```\n",
                r->repo, r->repo);
    return qk_buf_str(out);
}

static qk_status commit_front_page(qk_remote *r, qk_http *http, const char *head, qk_error *err)
{
    qk_buf text = {0}, body = {0};
    front_page(r, &text);
    qk_commit_add_header(&body, "Add default branch README", head);
    qk_commit_add_file(&body, "README.md", text.data, text.size);
    char *url = qk_hub_api_at(r->hub, QK_REPO_DATASET, r->repo, "commit", "main");
    qk_http_reply reply = {0};
    qk_status s = post(http, url, &body, commit_headers, &reply, err);
    char new_head[65];
    if (s == QK_OK)
        s = reply.status / 100 == 2 ? qk_commit_read(&reply, new_head, err)
                                    : qk_reply_error(r->hub, &reply, r->repo, err);
    qk_http_reply_free(&reply);
    qk_buf_free(&text);
    qk_buf_free(&body);
    free(url);
    return s;
}

/* A main with nothing but .gitattributes gets a README, so that its page says where to look.
 * *has_data: it holds more than a README. */
static qk_status seed_main(qk_remote *r, qk_http *http, bool *has_data, qk_error *err)
{
    char head[65];
    qk_problem problem;
    QK_TRY(ask_head(r, http, "main", head, &problem, err));
    QK_TRY(list_at(r, http, head, err));
    bool has_card = false;
    *has_data = false;
    for (size_t i = 0; i < r->count; i++) {
        bool is_card = !strcmp(r->files[i].name, "README.md");
        has_card |= is_card;
        *has_data |= !is_card && strcmp(r->files[i].name, ".gitattributes");
    }
    return has_card || *has_data ? QK_OK : commit_front_page(r, http, head, err);
}

/* The branch starts as main is, but without the data of a run that main holds. */
static qk_status create_branch(qk_remote *r, qk_http *http, qk_error *err)
{
    bool has_data;
    QK_TRY(seed_main(r, http, &has_data, err));
    char *url = qk_hub_api_at(r->hub, QK_REPO_DATASET, r->repo, "branch", r->branch);
    qk_http_reply reply = {0};
    qk_buf body = {0};
    qk_buf_add_str(&body, has_data ? "{\"emptyBranch\":true}" : "{}");
    qk_status s = post(http, url, &body, json_headers, &reply, err);
    if (s == QK_OK && reply.status / 100 != 2 && reply.status != 409)
        s = qk_reply_error(r->hub, &reply, r->repo, err);
    qk_http_reply_free(&reply);
    qk_buf_free(&body);
    free(url);
    return s;
}

/* A POST whose reply was lost may have worked, and 412 says that main has moved on: after any
 * failure that may pass, look again. */
qk_status qk_remote_prepare(qk_remote *r, qk_http *http, bool is_private, qk_error *err)
{
    qk_status s = QK_OK;
    for (int i = 0; i < TRIES; i++) {
        qk_problem problem;
        s = ask_head(r, http, r->branch, r->head, &problem, err);
        if (s == QK_OK) return QK_OK;
        if (problem == QK_PROBLEM_REPO && r->hub->token)
            s = create_repo(r, http, is_private, err);
        else if (problem == QK_PROBLEM_REVISION && strcmp(r->branch, "main"))
            s = create_branch(r, http, err);
        else
            return s;
        if (s != QK_OK && s != QK_ERR_RESUME) return s;
    }
    return s;
}
