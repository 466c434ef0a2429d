/* See rights.h. */
#include "hub/rights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "hub/errors.h"
#include "hub/listing.h"

enum { ASK_SECONDS = 30 };

static const char write_hint[] = "set HF_TOKEN to a token that may write";

qk_status qk_check_push_names(const char *repo, const char *branch, qk_error *err)
{
    QK_TRY(qk_check_repo(repo, err));
    if (!strchr(repo, '/'))
        return qk_fail(err, QK_ERR_CONFIG, "write owner/name", "%s: no owner in the name", repo);
    return branch ? qk_check_revision(branch, err) : QK_OK;
}

qk_status qk_check_push_token(const qk_hub *hub, qk_error *err)
{
    if (hub->token) return QK_OK;
    return qk_fail(err, QK_ERR_CONFIG, write_hint, "a push needs a token");
}

/* ---- what the reply says ---- */

static const char *text_of(const qk_json *object, const char *key)
{
    const qk_json *value = qk_json_get(object, key);
    return value && value->type == QK_JSON_T_STRING ? value->text : "";
}

static bool is_owner(const char *name, const char *repo)
{
    size_t n = strlen(name);
    return n && !strncmp(repo, name, n) && repo[n] == '/';
}

static const qk_json *first_of(const qk_json *list)
{
    return list && list->type == QK_JSON_T_ARRAY ? list->first : NULL;
}

/* Which repositories a fine-grained token may write to. */
typedef struct write_scope {
    bool here, elsewhere;
} write_scope;

static write_scope scope_of(const qk_json *fine_grained, const char *repo)
{
    write_scope found = {0};
    for (const qk_json *s = first_of(qk_json_get(fine_grained, "scoped")); s; s = s->next) {
        const qk_json *entity = qk_json_get(s, "entity");
        const char *name = text_of(entity, "name");
        for (const qk_json *p = first_of(qk_json_get(s, "permissions")); p; p = p->next) {
            if (!qk_json_is_string(p, "repo.write")) continue;
            bool here = is_owner(name, repo) || !strcmp(name, repo);
            found.here |= here;
            found.elsewhere |= !here;
        }
    }
    return found;
}

/* Whether the account may write under the owner's name; where not, why. */
static bool is_member(const qk_json *who, const char *repo, qk_rights *out)
{
    if (!*out->account || is_owner(out->account, repo)) return true;
    int owner = (int)(strchr(repo, '/') - repo);
    for (const qk_json *o = first_of(qk_json_get(who, "orgs")); o; o = o->next) {
        if (!is_owner(text_of(o, "name"), repo)) continue;
        if (strcmp(text_of(o, "roleInOrg"), "read") != 0) return true;
        snprintf(out->doubt, sizeof out->doubt, "'%s' may only read in the organisation '%.*s'",
                 out->account, owner, repo);
        return false;
    }
    snprintf(out->doubt, sizeof out->doubt,
             "the token is of '%s', and '%.*s' is neither that account nor an organisation of it",
             out->account, owner, repo);
    return false;
}

static qk_status judge(qk_rights *out, const qk_hub *hub, const qk_json *who, const char *repo,
                       qk_error *err)
{
    const qk_json *token = qk_json_get(qk_json_get(who, "auth"), "accessToken");
    const qk_json *fine = qk_json_get(token, "fineGrained");
    const char *role = text_of(token, "role");
    write_scope scope = scope_of(fine, repo);
    snprintf(out->account, sizeof out->account, "%.120s", text_of(who, "name"));
    bool fine_grained = !strcmp(role, "fineGrained") && fine && fine->type == QK_JSON_T_OBJECT;
    if (!strcmp(role, "read") || (fine_grained && !scope.here && !scope.elsewhere)) {
        out->refused = true;
        qk_fail(err, QK_ERR_CONFIG, NULL, "the token of '%s' may only read", out->account);
        snprintf(err->hint, sizeof err->hint, "the token is from %.200s; %s", hub->token_from,
                 write_hint);
        return err->status;
    }
    out->may_write = is_member(who, repo, out);
    if (!fine_grained || scope.here) return QK_OK;
    out->may_write = false;
    snprintf(out->doubt, sizeof out->doubt,
             "the token of '%s' may write to some repositories, of which this one is none",
             out->account);
    return QK_OK;
}

/* ---- asking ---- */

qk_status qk_rights_ask(qk_rights *out, const qk_hub *hub, const char *repo, qk_error *err)
{
    *out = (qk_rights){0};
    qk_http *http = qk_http_open(hub);
    qk_arena arena = {0};
    qk_http_reply reply = {0};
    const qk_json *who = NULL;
    char *url = qk_strf("%s/api/whoami-v2", hub->endpoint);
    qk_http_request q = {.url = url, .seconds = ASK_SECONDS, .limit = 4 << 20};
    qk_status s = qk_http_once(http, &q, &reply, err);
    if (s == QK_OK && reply.status != 200) {
        s = qk_http_is_fine(&reply)
                ? qk_fail(err, QK_ERR_FORMAT, NULL, "%s: status %ld", url, reply.status)
                : qk_reply_error(hub, &reply, NULL, err);
        out->refused = qk_reply_problem(&reply) == QK_PROBLEM_TOKEN;
    } else if (s == QK_OK) {
        s = qk_json_parse(&arena, (const char *)reply.body.data, reply.body.size, url, &who, err);
        if (s == QK_OK) s = judge(out, hub, who, repo, err);
    }
    qk_http_reply_free(&reply);
    qk_http_close(http);
    qk_arena_free(&arena);
    free(url);
    return s;
}

qk_presence qk_presence_ask(const qk_hub *hub, const char *repo, const char *branch)
{
    qk_http *http = qk_http_open(hub);
    qk_http_reply reply = {0};
    char *url = qk_hub_api_at(hub, QK_REPO_DATASET, repo, "revision", branch ? branch : "main");
    qk_http_request q = {.url = url, .seconds = ASK_SECONDS};
    qk_error ignored;
    qk_presence found = QK_PRESENCE_UNKNOWN;
    if (qk_http_once(http, &q, &reply, &ignored) == QK_OK) {
        qk_problem problem = qk_reply_problem(&reply);
        if (problem == QK_PROBLEM_NONE) found = QK_PRESENCE_THERE;
        if (problem == QK_PROBLEM_REPO) found = QK_PRESENCE_NO_REPO;
        if (problem == QK_PROBLEM_REVISION) found = QK_PRESENCE_NO_BRANCH;
    }
    qk_http_reply_free(&reply);
    qk_http_close(http);
    free(url);
    return found;
}
