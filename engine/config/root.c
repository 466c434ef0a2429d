/* See config/root.h. Paths are compared after "." and ".." are taken out and, as far as folders
 * exist, after links are followed. What lies in what is asked by device and inode, which a bind
 * mount or a second spelling of a name does not change. */
#include "engine/config/root.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"

/* An absolute path without "//", "." and "..", in place. */
static void clean(char *path)
{
    char *out = path;
    for (char *s = path; *s;) {
        while (*s == '/') s++;
        size_t n = strcspn(s, "/");
        if (n == 2 && !memcmp(s, "..", 2)) {
            while (out > path && *--out != '/') continue;
        } else if (n && !(n == 1 && *s == '.')) {
            *out++ = '/';
            memmove(out, s, n);
            out += n;
        }
        s += n;
    }
    if (out == path) *out++ = '/';
    *out = 0;
}

/* The path with the links of its deepest folder that exists followed; the caller frees. */
static char *absolute(const char *path)
{
    char *real = realpath(path, NULL), here[PATH_MAX];
    if (real) return real;
    char *joined =
        *path == '/' ? qk_strdup(path) : qk_path_join(getcwd(here, sizeof here) ? here : "/", path);
    for (char *end = joined + strlen(joined); !real && end > joined;) {
        while (*--end != '/') continue;
        *end = 0;
        real = realpath(end > joined ? joined : "/", NULL);
        *end = '/';
        if (!real) continue;
        char *whole = qk_path_join(real, end + 1);
        free(joined);
        joined = whole;
    }
    free(real);
    clean(joined);
    return joined;
}

/* outer is inner or one of its parents. */
static bool contains(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    if (n == 1) return true;
    return !strncmp(outer, inner, n) && (inner[n] == 0 || inner[n] == '/');
}

const char *qk_config_root_problem(const char *path)
{
    char *root = absolute(path), *here = absolute(".");
    const char *home_path = getenv("HOME");
    char *home = home_path && *home_path == '/' ? absolute(home_path) : NULL;
    const char *problem = NULL;
    if (!strcmp(root, "/"))
        problem = "the root folder";
    else if (strcmp(root, here) != 0 && contains(root, here))
        problem = "above the working folder";
    else if (home && !strcmp(root, home))
        problem = "the home folder";
    else if (home && contains(root, home))
        problem = "above the home folder";
    free(root);
    free(here);
    free(home);
    return problem;
}

/* Whether a path is this folder or below it. */
static bool lies_in(const char *path, const char *folder)
{
    struct stat outer, inner;
    if (stat(folder, &outer) != 0 || !S_ISDIR(outer.st_mode)) return false;
    char *at = absolute(path);
    bool found = false;
    for (;;) {
        found =
            stat(at, &inner) == 0 && inner.st_dev == outer.st_dev && inner.st_ino == outer.st_ino;
        char *slash = strrchr(at, '/');
        if (found || !at[1]) break;
        slash[slash == at] = 0;
    }
    free(at);
    return found;
}

const char *qk_config_root_overlap(const char *path, const char *dataset)
{
    if (access(dataset, F_OK) != 0) return NULL; /* of the Hub, or absent */
    char *staging = qk_path_join(path, "staging"), *final = qk_path_join(path, "final");
    const char *problem = NULL;
    if (lies_in(path, dataset))
        problem = "lies inside";
    else if (lies_in(final, dataset) || lies_in(staging, dataset))
        problem = "has a folder final or staging inside";
    else if (lies_in(dataset, final) || lies_in(dataset, staging))
        problem = "has in its folders final and staging";
    free(staging);
    free(final);
    return problem;
}
