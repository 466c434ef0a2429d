/* See endpoint.h. */
#include "hub/endpoint.h"

#include <curl/curl.h>
#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/base/log.h"
#include "hub/url.h"

enum { MAX_ENV_FILE = 1 << 20, MAX_TOKEN = 4096, TIMEOUT_SECONDS = 10 };

static const char canonical[] = "https://huggingface.co";

/* ---- settings: the environment, then .env ---- */

typedef struct settings {
    qk_buf file; /* of .env */
} settings;

static const char *const in_env_file[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME",
                                          "HF_HUB_CACHE", "HF_HUB_OFFLINE"};

/* KEY=value, `export KEY=value`, with quotes or a comment behind; the last one wins. The caller
 * frees. */
static char *env_file_value(const qk_buf *file, const char *name)
{
    char *found = NULL;
    const char *line = (const char *)file->data, *end = line ? line + file->size : NULL;
    for (size_t n; line < end; line += n + 1) {
        n = strcspn(line, "\r\n");
        const char *s = line + strspn(line, " \t"), *stop = line + n;
        if (!strncmp(s, "export ", 7)) s += 7 + strspn(s + 7, " \t");
        if (strncmp(s, name, strlen(name)) != 0) continue;
        s += strlen(name);
        s += strspn(s, " \t");
        if (*s != '=') continue;
        s++;
        s += strspn(s, " \t");
        char quote = *s == '"' || *s == '\'' ? *s++ : 0;
        const char *q = quote ? memchr(s, quote, (size_t)(stop - s)) : NULL;
        const char *hash = quote ? NULL : memchr(s, '#', (size_t)(stop - s));
        if (q) stop = q;
        if (hash && (hash == s || isspace((unsigned char)hash[-1]))) stop = hash;
        while (!q && stop > s && isspace((unsigned char)stop[-1])) stop--;
        free(found);
        found = qk_strf("%.*s", (int)(stop - s), s);
    }
    return found;
}

/* The value of a variable; the caller frees. NULL: not set. */
static char *setting(const settings *set, const char *name)
{
    const char *value = getenv(name);
    if (value) return qk_strdup(value);
    for (size_t i = 0; i < sizeof in_env_file / sizeof *in_env_file; i++)
        if (!strcmp(in_env_file[i], name)) return env_file_value(&set->file, name);
    return NULL;
}

/* The first that is set and not empty. */
static char *first_setting(const settings *set, const char *a, const char *b)
{
    char *value = setting(set, a);
    if (value && *value) return value;
    free(value);
    value = b ? setting(set, b) : NULL;
    if (value && *value) return value;
    free(value);
    return NULL;
}

static bool flag(const settings *set, const char *a, const char *b)
{
    static const char *const words[] = {"1", "ON", "YES", "TRUE"};
    char *value = first_setting(set, a, b);
    bool on = false;
    for (size_t i = 0; value && i < sizeof words / sizeof *words; i++)
        on |= !strcasecmp(value, words[i]);
    free(value);
    return on;
}

/* ---- paths ---- */

char *qk_expand_path(const char *path)
{
    qk_buf out = {0};
    const char *home = getenv("HOME");
    if (path[0] == '~' && (!path[1] || path[1] == '/') && home) {
        qk_buf_add_str(&out, home);
        path++;
    }
    while (*path) {
        size_t n = 0;
        bool brace = path[0] == '$' && path[1] == '{';
        const char *name = path + (brace ? 2 : 1);
        if (*path == '$')
            while (isalnum((unsigned char)name[n]) || name[n] == '_') n++;
        char *variable = qk_strf("%.*s", (int)n, name);
        const char *value = n && (!brace || name[n] == '}') ? getenv(variable) : NULL;
        free(variable);
        if (value) {
            qk_buf_add_str(&out, value);
            path = name + n + brace;
        } else {
            qk_buf_add_byte(&out, (uint8_t)*path++);
        }
    }
    qk_buf_str(&out);
    return (char *)out.data;
}

static char *expand_and_free(char *path)
{
    char *out = path ? qk_expand_path(path) : NULL;
    free(path);
    return out;
}

static char *find_home(const settings *set)
{
    char *home = expand_and_free(first_setting(set, "HF_HOME", NULL));
    if (home) return home;
    char *base = expand_and_free(first_setting(set, "XDG_CACHE_HOME", NULL));
    if (!base) base = qk_expand_path("~/.cache");
    home = qk_path_join(base, "huggingface");
    free(base);
    return home;
}

/* ---- the token ---- */

/* Without line breaks and blanks at the ends; NULL when nothing is left. Frees text. */
static char *clean_token(char *text)
{
    size_t n = 0;
    if (!text) return NULL;
    for (char *c = text; *c; c++)
        if (*c != '\r' && *c != '\n') text[n++] = *c;
    while (n && isspace((unsigned char)text[n - 1])) n--;
    size_t from = 0;
    while (from < n && isspace((unsigned char)text[from])) from++;
    char *out = n > from ? qk_strf("%.*s", (int)(n - from), text + from) : NULL;
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    return out;
}

static void token_from_variable(qk_hub *hub, const settings *set, const char *name)
{
    if (!hub->token) hub->token = clean_token(setting(set, name));
    if (hub->token && !hub->token_from) hub->token_from = qk_strdup(name);
}

static qk_status find_token(qk_hub *hub, const settings *set, const char *given, const char *home,
                            qk_error *err)
{
    bool implicit = !given && !flag(set, "HF_HUB_DISABLE_IMPLICIT_TOKEN", NULL);
    if (given) {
        hub->token = clean_token(qk_strdup(given));
        hub->token_from = qk_strdup("the token that was given");
    }
    if (implicit) {
        token_from_variable(hub, set, "HF_TOKEN");
        token_from_variable(hub, set, "HUGGING_FACE_HUB_TOKEN");
    }
    if (implicit && !hub->token) {
        char *path = expand_and_free(first_setting(set, "HF_TOKEN_PATH", NULL));
        if (!path) path = qk_path_join(home, "token");
        qk_buf text;
        bool there;
        qk_status s = qk_read_file_if_there(&text, path, MAX_TOKEN, &there, err);
        if (s == QK_OK && there) hub->token = clean_token(qk_strdup(qk_buf_str(&text)));
        if (hub->token) hub->token_from = qk_strf("the file %s", path);
        if (text.data) OPENSSL_cleanse(text.data, text.capacity);
        qk_buf_free(&text);
        free(path);
        if (s != QK_OK) return s;
    }
    for (const char *c = hub->token; c && *c; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7F)
            return qk_fail(err, QK_ERR_CONFIG, "copy it again from the settings of your account",
                           "%s: the token has a blank or another character that none has",
                           hub->token_from);
    return QK_OK;
}

/* ---- opening ---- */

static qk_status set_endpoint(qk_hub *hub, const settings *set, qk_error *err)
{
    hub->endpoint = first_setting(set, "HF_ENDPOINT", NULL);
    if (!hub->endpoint) hub->endpoint = qk_strdup(canonical);
    for (size_t n = strlen(hub->endpoint); n && hub->endpoint[n - 1] == '/'; n--)
        hub->endpoint[n - 1] = 0;
    char *origin = qk_url_origin(hub->endpoint);
    bool scheme = !strncasecmp(hub->endpoint, "http://", 7) || qk_url_is_https(hub->endpoint);
    bool ok = origin && scheme && !strpbrk(hub->endpoint, "?#");
    free(origin);
    if (ok) return QK_OK;
    char *shown = qk_url_shown(hub->endpoint);
    qk_fail(err, QK_ERR_CONFIG, "give an address like https://huggingface.co",
            "HF_ENDPOINT: '%.200s' is not the address of a server", shown);
    free(shown);
    return err->status;
}

static qk_status read_all(qk_hub *hub, const settings *set, const char *token, qk_error *err)
{
    hub->offline = flag(set, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE");
    hub->no_links = flag(set, "HF_HUB_DISABLE_SYMLINKS", NULL);
    char *timeout = first_setting(set, "HF_HUB_DOWNLOAD_TIMEOUT", NULL);
    double seconds = timeout ? strtod(timeout, NULL) : 0;
    hub->download_timeout = seconds >= 1 && seconds < 1e6 ? (int)seconds : TIMEOUT_SECONDS;
    free(timeout);
    char *home = find_home(set);
    hub->cache = expand_and_free(first_setting(set, "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"));
    if (!hub->cache) hub->cache = qk_path_join(home, "hub");
    qk_status s = set_endpoint(hub, set, err);
    if (s == QK_OK) s = find_token(hub, set, token, home, err);
    free(home);
    return s;
}

qk_status qk_hub_open(qk_hub *hub, const char *token, qk_error *err)
{
    *hub = (qk_hub){0};
    settings set = {0};
    bool there;
    qk_status s = qk_read_file_if_there(&set.file, ".env", MAX_ENV_FILE, &there, err);
    if (s == QK_OK) s = read_all(hub, &set, token, err);
    if (set.file.data) OPENSSL_cleanse(set.file.data, set.file.capacity);
    qk_buf_free(&set.file);
    if (s == QK_OK && getenv("HF_OIDC_RESOURCE"))
        qk_warn("HF_OIDC_RESOURCE is set; tokens of trusted publishers are not supported");
    if (s != QK_OK) qk_hub_close(hub);
    return s;
}

void qk_hub_close(qk_hub *hub)
{
    if (hub->token) OPENSSL_cleanse(hub->token, strlen(hub->token));
    free(hub->token);
    free(hub->token_from);
    free(hub->endpoint);
    free(hub->cache);
    *hub = (qk_hub){0};
}

qk_status qk_hub_check(const qk_hub *hub, qk_error *err)
{
    QK_TRY(qk_interrupt_check(err));
    if (!hub->stop) return QK_OK;
    return qk_fail(err, QK_ERR_RESUME, NULL, "the transfer was given up");
}

/* ---- addresses ---- */

char *qk_hub_api_at(const qk_hub *hub, qk_repo_type type, const char *repo, const char *verb,
                    const char *revision)
{
    qk_buf out = {0};
    qk_buf_addf(&out, "%s/api/%ss/%s/%s/", hub->endpoint, qk_repo_type_name(type), repo, verb);
    qk_url_quote(&out, revision, false);
    qk_buf_str(&out);
    return (char *)out.data;
}

char *qk_hub_resolve_url(const qk_hub *hub, qk_repo_type type, const char *repo,
                         const char *revision, const char *file)
{
    qk_buf out = {0};
    qk_buf_addf(&out, "%s/%s%s/resolve/", hub->endpoint, type == QK_REPO_MODEL ? "" : "datasets/",
                repo);
    qk_url_quote(&out, revision, false);
    qk_buf_add_byte(&out, '/');
    qk_url_quote(&out, file, true);
    qk_buf_str(&out);
    return (char *)out.data;
}

char *qk_hub_fix_url(const qk_hub *hub, const char *url)
{
    size_t n = sizeof canonical - 1;
    bool match = !strncmp(url, canonical, n) && (url[n] == '/' || !url[n]);
    return match ? qk_strf("%s%s", hub->endpoint, url + n) : qk_strdup(url);
}
