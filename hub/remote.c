/* See remote.h. */
#include "hub/remote.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "formats/json.h"
#include "hub/commit_body.h"
#include "hub/errors.h"

enum { TRIES = 6 };

static const char *const json_headers[] = {"Content-Type: application/json", NULL};
static const char *const commit_headers[] = {"Content-Type: application/x-ndjson", NULL};

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

/* ---- looking ---- */

static qk_repo repo_of(const qk_remote *r, const char *revision)
{
    return (qk_repo){QK_REPO_DATASET, r->repo, revision};
}

/* The head of a revision, or the problem why there is none. */
static qk_status ask_head(qk_remote *r, qk_http *http, const char *revision, char head[72],
                          qk_problem *problem, qk_error *err)
{
    qk_http_reply reply = {0};
    qk_repo repo = repo_of(r, revision);
    qk_status s = qk_hub_commit(http, &repo, head, &reply, err);
    *problem = reply.status ? qk_reply_problem(&reply) : QK_PROBLEM_OTHER;
    qk_http_reply_free(&reply);
    return s;
}

qk_status qk_remote_update(qk_remote *r, qk_http *http, qk_error *err)
{
    qk_problem problem;
    return ask_head(r, http, r->branch, r->head, &problem, err);
}

static qk_status list_at(qk_remote *r, qk_http *http, const char *commit, qk_error *err)
{
    qk_repo repo = repo_of(r, commit);
    qk_remote_free(r);
    return qk_hub_list(&r->listing, http, &repo, commit, err);
}

qk_status qk_remote_list(qk_remote *r, qk_http *http, qk_error *err)
{
    return list_at(r, http, r->head, err);
}

void qk_remote_free(qk_remote *r)
{
    qk_hub_listing_free(&r->listing);
    r->listing = (qk_hub_listing){0};
}

/* ---- making what is absent ---- */

qk_status qk_commit_read(const qk_http_reply *reply, char head[72], qk_error *err)
{
    qk_arena arena = {0};
    const qk_json *root = NULL;
    qk_status s = qk_json_parse(&arena, (const char *)reply->body.data, reply->body.size,
                                "the reply to the commit", &root, err);
    const qk_json *oid = s == QK_OK ? qk_json_get(root, "commitOid") : NULL;
    if (oid && oid->type == QK_JSON_T_STRING && qk_is_commit(oid->text))
        memcpy(head, oid->text, strlen(oid->text) + 1);
    else
        s = qk_fail(err, QK_ERR_RESUME, "check HF_ENDPOINT and the proxy",
                    "the reply to the commit names no commit");
    qk_arena_free(&arena);
    return s;
}

static qk_status create_repo(qk_remote *r, qk_http *http, bool is_private, qk_error *err)
{
    const char *slash = strchr(r->repo, '/');
    qk_json_out body = {.compact = true};
    qk_json_begin(&body, NULL, '{');
    qk_json_add_str(&body, "name", slash ? slash + 1 : r->repo);
    if (slash) qk_json_add_strn(&body, "organization", r->repo, (size_t)(slash - r->repo));
    qk_json_add_str(&body, "type", "dataset");
    qk_json_add_str(&body, "visibility", is_private ? "private" : "public");
    qk_json_end(&body, '}');
    char *url = qk_strf("%s/api/repos/create", r->hub->endpoint);
    qk_http_reply reply = {0};
    qk_status s = QK_OK;
    qk_retry retry = {0};
    for (int i = 0; i < TRIES; i++) {
        s = post(http, url, &body.buf, json_headers, &reply, err);
        if (s != QK_OK || reply.status != 409) break;
        /* It exists, or somebody creates it this moment. */
        char *text = qk_reply_text(r->hub, &reply);
        bool busy = strstr(text, "conflicting operation is in progress") != NULL;
        free(text);
        double seconds;
        if (!busy || !qk_retry_next(&retry, -1, &seconds)) break;
        s = qk_retry_sleep(r->hub, seconds, err);
        if (s != QK_OK) break;
    }
    if (s == QK_OK && qk_http_is_fine(&reply))
        qk_info("created %s dataset %s", is_private ? "private" : "public", r->repo);
    if (s == QK_OK && !qk_http_is_fine(&reply) && reply.status != 409)
        s = qk_reply_error(r->hub, &reply, r->repo, err);
    qk_http_reply_free(&reply);
    qk_buf_free(&body.buf);
    free(url);
    return s;
}

static qk_status commit_front_page(qk_remote *r, qk_http *http, const char *head, qk_error *err)
{
    qk_buf text = {0}, body = {0};
    qk_buf_addf(
        &text,
        "# %s\n\nSampled attention queries and keys, one set of capture options per "
        "branch: choose a branch to see its files, and in its README.md how layers and heads "
        "are loaded.\n\n"
        "```python\nfrom datasets import load_dataset\n\n"
        "rows = load_dataset(\"%s\", revision=\"BRANCH\", split=\"train\", "
        "streaming=True)\n```\n",
        r->repo, r->repo);
    qk_commit_add_header(&body, "Add default branch README", head);
    qk_commit_add_file(&body, "README.md", text.data, text.size);
    char *url = qk_hub_api_at(r->hub, QK_REPO_DATASET, r->repo, "commit", "main");
    qk_http_reply reply = {0};
    qk_status s = post(http, url, &body, commit_headers, &reply, err);
    char new_head[72];
    if (s == QK_OK)
        s = qk_http_is_fine(&reply) ? qk_commit_read(&reply, new_head, err)
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
    char head[72];
    qk_problem problem;
    QK_TRY(ask_head(r, http, "main", head, &problem, err));
    QK_TRY(list_at(r, http, head, err));
    bool has_card = false;
    *has_data = false;
    for (size_t i = 0; i < r->listing.count; i++) {
        bool is_card = !strcmp(r->listing.files[i].path, "README.md");
        has_card |= is_card;
        *has_data |= !is_card && strcmp(r->listing.files[i].path, ".gitattributes") != 0;
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
    if (s == QK_OK && !qk_http_is_fine(&reply) && reply.status != 409)
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
    int repo_tries = 0, branch_tries = 0;
    qk_error made = {0}; /* how the last try to make something ended */
    for (;;) {
        qk_problem problem;
        qk_status s = ask_head(r, http, r->branch, r->head, &problem, err);
        if (s == QK_OK) return QK_OK;
        bool no_repo = problem == QK_PROBLEM_REPO && r->hub->token;
        bool no_branch = problem == QK_PROBLEM_REVISION && strcmp(r->branch, "main");
        if (!no_repo && !no_branch) return s;
        if (++*(no_repo ? &repo_tries : &branch_tries) > TRIES) {
            if (made.status != QK_OK) *err = made;
            return err->status;
        }
        s = no_repo ? create_repo(r, http, is_private, err) : create_branch(r, http, err);
        if (s != QK_OK && s != QK_ERR_RESUME) return s;
        made = s == QK_OK ? (qk_error){0} : *err;
    }
}
