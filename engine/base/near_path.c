/* See near_path.h. */
#include "engine/base/near_path.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/text.h"

/* Whether half of a name or more, at its two ends, is that of the other. */
static bool resembles(const char *name, const char *other)
{
    size_t n = strlen(name), m = strlen(other), most = n < m ? n : m, same = 0, end = 0;
    while (same < most && name[same] == other[same]) same++;
    while (same + end < most && name[n - 1 - end] == other[m - 1 - end]) end++;
    return 2 * (same + end) >= n;
}

char *qk_near_path(const char *path)
{
    qk_path_info info;
    qk_error ignored;
    if (qk_path_stat(path, &info, &ignored) != QK_OK || info.type != QK_PATH_ABSENT) return NULL;
    const char *name = qk_path_name(path), *near = NULL;
    qk_names there = {0};
    char *above = qk_strf("%.*s", (int)(name - path), path), *found = NULL;
    if (qk_list_dir(*above ? above : ".", &there, &ignored) == QK_OK) {
        QK_GROW(there.items, there.count, there.capacity);
        there.items[there.count] = NULL;
        near = qk_nearest(name, (const char *const *)there.items);
    }
    if (near && resembles(name, near)) found = qk_strf("%s%s", above, near);
    qk_names_free(&there);
    free(above);
    return found;
}
