/* See listed_use.h. */
#include "engine/output/listed_use.h"

#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/text.h"

void qk_listed_use_begin(qk_listed_use *u, const qk_listed *listed)
{
    *u = (qk_listed_use){.listed = listed};
    if (listed) u->used = qk_zalloc(listed->n_examples, sizeof *u->used);
}

void qk_listed_use_add(qk_listed_use *u, int64_t id)
{
    const qk_listed_example *own = u->listed ? qk_listed_own(u->listed, id) : NULL;
    if (own) u->used[own - u->listed->examples] = true;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void warn(const qk_listed_use *u)
{
    const qk_listed *l = u->listed;
    int64_t *lines = qk_alloc(l->n_examples, sizeof *lines);
    size_t n = 0;
    char named[128];
    for (size_t i = 0; i < l->n_examples; i++)
        if (!u->used[i]) lines[n++] = (int64_t)l->examples[i].line;
    if (n) {
        qsort(lines, n, sizeof *lines, by_number);
        qk_list_numbers(named, sizeof named, lines, n);
        qk_warn("%s: %zu of %zu ids name%s no example of this run: line%s %s", l->path, n,
                l->n_examples, n == 1 ? "s" : "", n == 1 ? "" : "s", named);
    }
    free(lines);
}

void qk_listed_use_end(qk_listed_use *u, bool all)
{
    if (u->listed && all) warn(u);
    free(u->used);
    *u = (qk_listed_use){0};
}
