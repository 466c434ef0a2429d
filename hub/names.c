/* See names.h. */
#include "hub/names.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/beneath.h"

enum { MAX_NAME = 96, MAX_REVISION = 250 };

const char *qk_repo_type_name(qk_repo_type type)
{
    return type == QK_REPO_MODEL ? "model" : "dataset";
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* One part of an id: begins and ends with a letter, a digit or '_'. */
static bool is_id_part(const char *text, size_t n)
{
    if (!n || n > MAX_NAME) return false;
    for (size_t i = 0; i < n; i++) {
        bool word = is_alnum(text[i]) || text[i] == '_';
        bool edge = i == 0 || i == n - 1;
        if (!word && (edge || (text[i] != '-' && text[i] != '.'))) return false;
    }
    return true;
}

static bool is_repo(const char *repo)
{
    const char *slash = strchr(repo, '/'), *name = slash ? slash + 1 : repo;
    size_t n = strlen(repo);
    if (strstr(repo, "--") || strstr(repo, "..")) return false;
    if (n >= 4 && !strcmp(repo + n - 4, ".git")) return false;
    return is_id_part(name, strlen(name)) && (!slash || is_id_part(repo, (size_t)(slash - repo)));
}

qk_status qk_check_repo(const char *repo, qk_error *err)
{
    if (is_repo(repo)) return QK_OK;
    return qk_fail(err, QK_ERR_CONFIG,
                   "write owner/name: letters, digits, '-', '_' and '.', no \"--\", \"..\" or "
                   "\".git\" at the end",
                   "'%.200s' is not the name of a Hub repository", repo);
}

bool qk_looks_like_repo(const char *text)
{
    return strchr(text, '/') && is_repo(text);
}

qk_status qk_check_revision(const char *revision, qk_error *err)
{
    size_t n = strlen(revision);
    bool ok = n <= MAX_REVISION && !qk_path_problem(revision, n) && !strstr(revision, "..") &&
              !strstr(revision, "@{") && !strpbrk(revision, " ~^:?*[") && revision[0] != '-' &&
              !strstr(revision, "/.") && revision[0] != '.';
    if (ok && n >= 5 && !strcmp(revision + n - 5, ".lock")) ok = false;
    if (ok) return QK_OK;
    return qk_fail(err, QK_ERR_CONFIG, "give a branch, a tag, a commit or refs/pr/N",
                   "'%.200s' is not the name of a revision", revision);
}

qk_status qk_check_file_name(const char *name, qk_error *err)
{
    const char *problem = qk_path_problem(name, strlen(name));
    for (const char *s = name; s && !problem; s = strchr(s, '/')) {
        s += *s == '/';
        if (is_alnum(s[0]) && s[1] == ':') problem = "it has a drive letter";
    }
    if (!problem) return QK_OK;
    char shown[128];
    snprintf(shown, sizeof shown, "%s", name);
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7F) *c = '?';
    return qk_fail(err, QK_ERR_DATA,
                   "the repository holds a name that is not safe to write; "
                   "nothing was written for it",
                   "file name '%s': %s", shown, problem);
}

bool qk_is_digest(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return !text[n] && (n == 40 || n == 64);
}

bool qk_is_commit(const char *text)
{
    return qk_is_digest(text);
}

void qk_url_quote(qk_buf *out, const char *text, bool keep_slash)
{
    for (; *text; text++) {
        bool plain = is_alnum(*text) || strchr("_.-~", *text) || (keep_slash && *text == '/');
        if (plain)
            qk_buf_add_byte(out, (uint8_t)*text);
        else
            qk_buf_addf(out, "%%%02X", (unsigned char)*text);
    }
}
