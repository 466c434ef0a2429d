/* See errors.h. */
#include "hub/errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "formats/json.h"
#include "hub/url.h"

enum { MAX_TEXT = 400 };

static bool header_is(const qk_http_reply *reply, const char *name, const char *value)
{
    const char *found = qk_http_header(reply, name);
    return found && !strcmp(found, value);
}

static const struct {
    const char *code;
    qk_problem problem;
} codes[] = {
    {"RevisionNotFound", QK_PROBLEM_REVISION},
    {"EntryNotFound", QK_PROBLEM_ENTRY},
    {"GatedRepo", QK_PROBLEM_GATED},
};

static qk_problem of_status(long status)
{
    switch (status) {
    case 401: return QK_PROBLEM_TOKEN;
    case 403: return QK_PROBLEM_FORBIDDEN;
    case 409: return QK_PROBLEM_CONFLICT;
    case 412: return QK_PROBLEM_CONDITION;
    case 429: return QK_PROBLEM_RATE;
    default: return status == 408 || status >= 500 ? QK_PROBLEM_TRANSIENT : QK_PROBLEM_OTHER;
    }
}

qk_problem qk_reply_problem(const qk_http_reply *reply)
{
    if (qk_http_is_fine(reply)) return QK_PROBLEM_NONE;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (header_is(reply, "x-error-code", codes[i].code)) return codes[i].problem;
    if (header_is(reply, "x-error-message", "Access to this resource is disabled."))
        return QK_PROBLEM_DISABLED;
    if (header_is(reply, "x-error-code", "RepoNotFound")) return QK_PROBLEM_REPO;
    if (reply->status == 412 && reply->url && strstr(reply->url, "/commit/"))
        return QK_PROBLEM_MOVED_ON;
    /* The address of a repository: the Hub says 401 of what is absent, too. */
    bool of_repo =
        reply->url && (strstr(reply->url, "/api/models/") || strstr(reply->url, "/api/datasets/") ||
                       strstr(reply->url, "/resolve/"));
    bool bad_token =
        header_is(reply, "x-error-message", "Invalid credentials in Authorization header");
    if (reply->status == 401 && !bad_token && of_repo) return QK_PROBLEM_REPO;
    return of_status(reply->status);
}

/* ---- the server's words ---- */

static void add_text(qk_buf *out, const char *text)
{
    if (!text || !*text) return;
    if (out->size && strstr(qk_buf_str(out), text)) return;
    if (out->size) qk_buf_add_str(out, "; ");
    qk_buf_add_str(out, text);
}

static void add_strings(qk_buf *out, const qk_json *value)
{
    if (!value) return;
    if (value->type == QK_JSON_T_STRING) add_text(out, value->text);
    if (value->type != QK_JSON_T_ARRAY) return;
    for (const qk_json *v = value->first; v; v = v->next) {
        const qk_json *message = qk_json_get(v, "message");
        add_strings(out, v->type == QK_JSON_T_OBJECT ? message : v);
    }
}

static void add_body(qk_buf *out, const qk_http_reply *reply)
{
    qk_arena arena = {0};
    const qk_json *root;
    qk_error ignored;
    const char *text = (const char *)reply->body.data;
    if (!reply->body.size) return;
    if (qk_json_parse(&arena, text, reply->body.size, "reply", &root, &ignored) == QK_OK) {
        add_strings(out, qk_json_get(root, "error"));
        add_strings(out, qk_json_get(root, "error_description"));
        add_strings(out, qk_json_get(root, "errors"));
    } else if (!memchr(text, '<', reply->body.size < 16 ? reply->body.size : 16)) {
        char *plain = qk_strf(
            "%.*s", (int)(reply->body.size < MAX_TEXT ? reply->body.size : (size_t)MAX_TEXT), text);
        add_text(out, plain);
        free(plain);
    }
    qk_arena_free(&arena);
}

char *qk_reply_text(const qk_hub *hub, const qk_http_reply *reply)
{
    qk_buf out = {0};
    add_text(&out, qk_http_header(reply, "x-error-message"));
    add_body(&out, reply);
    qk_buf_str(&out);
    char *text = (char *)out.data;
    qk_redact(text, hub->token);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = ' ';
    if (strlen(text) > MAX_TEXT) text[MAX_TEXT] = 0;
    return text;
}

/* ---- the message ---- */

static const struct {
    qk_problem problem;
    qk_status status;
    const char *message, *hint; /* with a token */
    const char *anonymous_hint; /* without one; NULL: the same */
} messages[] = {
    {QK_PROBLEM_REVISION, QK_ERR_NOTFOUND, "has no such revision",
     "give a branch, tag or commit that exists", NULL},
    {QK_PROBLEM_ENTRY, QK_ERR_NOTFOUND, "has no such file", "look at the files of the repository",
     NULL},
    {QK_PROBLEM_GATED, QK_ERR_CONFIG, "is gated: its owner grants access to accounts",
     "with the account of the token", "then set HF_TOKEN"}, /* behind where to ask */
    {QK_PROBLEM_DISABLED, QK_ERR_CONFIG, "is disabled", "its page says why", NULL},
    {QK_PROBLEM_REPO, QK_ERR_NOTFOUND, "does not exist, or is private to others",
     "check the name; the token must belong to an account that may read it",
     "check the name; for a private repository set HF_TOKEN"},
    {QK_PROBLEM_TOKEN, QK_ERR_CONFIG, "the token is not valid",
     "make a new one in the settings of your account", "set HF_TOKEN"},
    {QK_PROBLEM_FORBIDDEN, QK_ERR_CONFIG, "access is refused",
     "the token may lack a role (write, for a push)", "set HF_TOKEN"},
    {QK_PROBLEM_CONFLICT, QK_ERR_DATA, "conflict", NULL, NULL},
    {QK_PROBLEM_MOVED_ON, QK_ERR_RESUME, "the branch has new commits by now",
     "run the same command again", NULL},
    {QK_PROBLEM_CONDITION, QK_ERR_RESUME, "the server sees a condition that does not hold",
     "run the same command again; if it stays, a proxy in between may be at fault", NULL},
    {QK_PROBLEM_RATE, QK_ERR_RESUME, "too many requests",
     "wait some minutes, then run the same command again",
     "a token raises the limit: set HF_TOKEN, or wait some minutes and run it again"},
    {QK_PROBLEM_TRANSIENT, QK_ERR_RESUME, "the server has trouble",
     "run the same command again later", NULL},
    {QK_PROBLEM_OTHER, QK_ERR_DATA, "the server refuses", NULL, NULL},
};

/* The page of the repository that an address is of: ENDPOINT/OWNER/NAME, of a dataset with
 * "datasets/" before it; NULL where that cannot be told. The caller frees. */
static char *page_of(const char *url)
{
    static const char models[] = "/api/models/", datasets[] = "/api/datasets/";
    const char *resolve = strstr(url, "/resolve/"), *model = strstr(url, models);
    const char *api = model ? model : strstr(url, datasets);
    if (!api) return resolve ? qk_strf("%.*s", (int)(resolve - url), url) : NULL;
    const char *repo = api + (model ? strlen(models) : strlen("/api/"));
    size_t n = model ? 0 : strlen("datasets/");
    n += strcspn(repo + n, "/") + 1; /* the owner */
    if (n > strlen(repo)) return NULL;
    n += strcspn(repo + n, "/");
    return qk_strf("%.*s/%.*s", (int)(api - url), url, (int)n, repo);
}

qk_status qk_reply_error(const qk_hub *hub, const qk_http_reply *reply, const char *what,
                         qk_error *err)
{
    qk_problem problem = qk_reply_problem(reply);
    QK_ASSERT(problem != QK_PROBLEM_NONE);
    size_t i = 0;
    while (messages[i].problem != problem) i++;
    const char *hint = messages[i].hint;
    if (!hub->token && messages[i].anonymous_hint) hint = messages[i].anonymous_hint;
    char *text = qk_reply_text(hub, reply), *shown = qk_url_shown(reply->url);
    static const char *const ids[] = {"x-request-id", "x-amzn-trace-id", "x-amz-cf-id"};
    const char *id = NULL;
    for (size_t k = 0; k < sizeof ids / sizeof *ids && !(id && *id); k++)
        id = qk_http_header(reply, ids[k]);
    bool has_id = id && *id;
    qk_fail(err, messages[i].status, hint, "%.300s: %s (status %ld%s%.300s%s%.80s)",
            what ? what : shown, messages[i].message, reply->status, *text ? ": " : "", text,
            has_id ? "; request " : "", has_id ? id : "");
    /* "the token is from HF_TOKEN; make a new one ..." helps more than "a token". */
    bool of_token = problem == QK_PROBLEM_TOKEN || problem == QK_PROBLEM_FORBIDDEN ||
                    problem == QK_PROBLEM_REPO;
    if (of_token && hub->token && hint)
        snprintf(err->hint, sizeof err->hint, "the token is from %.200s; %s", hub->token_from,
                 hint);
    char *page = problem == QK_PROBLEM_GATED ? page_of(shown) : NULL;
    if (problem == QK_PROBLEM_GATED)
        snprintf(err->hint, sizeof err->hint, "ask for access on its page%s%.300s%s %s",
                 page ? " " : "", page ? page : "", hub->token ? "" : ",", hint);
    free(page);
    qk_redact(err->message, hub->token);
    free(text);
    free(shown);
    return err->status;
}
