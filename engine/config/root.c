/* See config/root.h. Paths are compared after "." and ".." are taken out and, as far as folders
 * exist, after links are followed. */
#include "engine/config/root.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
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

/* The caller frees. */
static char *absolute(const char *path)
{
    char *real = realpath(path, NULL);
    if (real) return real;
    char here[PATH_MAX];
    char *joined = qk_path_join(getcwd(here, sizeof here) ? here : "/", path);
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
