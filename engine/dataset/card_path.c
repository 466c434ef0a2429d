/* See card_path.h. */
#include "engine/dataset/card_path.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dataset/glob.h"

/* "hf://", "c:x", "zip::...": no path inside a folder. */
static bool has_scheme(const char *text)
{
    const char *s = text;
    if (!isalpha((unsigned char)*s)) return strstr(text, "::") != NULL;
    while (isalnum((unsigned char)*s) || *s == '+' || *s == '-' || *s == '.') s++;
    return *s == ':' || strstr(text, "://") || strstr(text, "::");
}

typedef struct walk {
    char *text, *at; /* the whole, and the next part */
    qk_buf out;      /* what is kept of the parts before it */
    bool wild;       /* some part before it has a wildcard */
    const qk_listing *all;
} walk;

typedef enum outcome { FINE, LEAVES, NO_FOLDER, BEHIND_WILDCARD } outcome;

static bool is_wild(const char *part, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strchr("*?[", part[i])) return true;
    return false;
}

static outcome take_part(walk *w)
{
    size_t n = strcspn(w->at, "/");
    const char *part = w->at, *next = part + n + (part[n] == '/');
    size_t next_length = strcspn(next, "/");
    w->at += n + (part[n] == '/');
    if (n == 0) {
        bool last = !*next && !w->wild; /* "a.jsonl//" */
        return !last && (w->wild || is_wild(next, next_length)) ? BEHIND_WILDCARD : FINE;
    }
    if (part[0] == '.' && (n == 1 || (n == 2 && part[1] == '.'))) {
        /* What stands before "." or ".." must be a folder. */
        if (w->wild) return BEHIND_WILDCARD;
        if (!w->out.size) return n == 1 ? FINE : LEAVES;
        const char *text = qk_buf_str(&w->out), *slash = strrchr(text, '/');
        if (!qk_listing_has_folder(w->all, text)) return NO_FOLDER;
        if (n == 2) w->out.size = slash ? (size_t)(slash - text) : 0;
        return FINE;
    }
    w->wild |= is_wild(part, n);
    if (w->out.size) qk_buf_add_byte(&w->out, '/');
    qk_buf_add(&w->out, part, n);
    return w->wild && part[n] == '/' && !*next ? BEHIND_WILDCARD : FINE;
}

static qk_status refuse(outcome o, const char *text, const char *key, const char *card,
                        qk_error *err)
{
    if (o == LEAVES)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "copy the files into the folder",
                       "%s: %s '%.200s' leaves the folder", card, key, text);
    if (o == NO_FOLDER)
        return qk_fail(err, QK_ERR_NOTFOUND, "correct it in the card",
                       "%s: %s '%.200s': what stands before a '.' or '..' is no folder with files",
                       card, key, text);
    return qk_fail(err, QK_ERR_UNSUPPORTED, "write the path without these parts",
                   "%s: %s '%.200s' matches nothing: '.', '..' or '//' beside a wildcard", card,
                   key, text);
}

qk_status qk_card_path(char **out, const char *data_dir, const char *text, const char *key,
                       const char *card, const qk_listing *all, qk_error *err)
{
    *out = NULL;
    bool inside = data_dir && *data_dir;
    size_t n = inside ? strlen(data_dir) : 0;
    walk w = {.all = all};
    w.text = inside ? qk_strf("%s%s%s", data_dir, data_dir[n - 1] == '/' ? "" : "/", text)
                    : qk_strdup(text);
    w.at = w.text;
    bool leaves = *text == '/' || has_scheme(text) || *w.text == '/' || has_scheme(w.text);
    outcome o = leaves ? LEAVES : FINE;
    while (o == FINE && *w.at) o = take_part(&w);
    if (o == FINE)
        *out = qk_strdup(qk_buf_str(&w.out));
    else
        refuse(o, w.text, key, card, err);
    free(w.text);
    qk_buf_free(&w.out);
    return o == FINE ? QK_OK : err->status;
}
