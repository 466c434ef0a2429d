/* See join.h. Which files the two have, and how those of the branch come here. */
#include "engine/push/join.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/output/join.h"
#include "engine/output/layout.h"

typedef struct split_files {
    qk_push_merge *m;
    const char *split;
    qk_join_head *heads; /* sorted by name */
    size_t count, capacity;
    qk_arena arena;
} split_files;

/* A head file of the branch (first), or of the folder (second). */
static void add_file(split_files *s, const char *path, bool first)
{
    char name[32];
    if (!qk_parse_data_path(path, s->split, name)) return;
    const qk_hub_file *there = qk_hub_listing_find(&s->m->remote->listing, path);
    const qk_push_file *here = qk_push_files_find(s->m->files, path);
    if (!first && there) return; /* is listed */
    QK_GROW(s->heads, s->count, s->capacity);
    s->heads[s->count++] = (qk_join_head){
        .name = qk_arena_strndup(&s->arena, name, strlen(name)),
        .first = there != NULL,
        .second = here != NULL,
        .equal = here && qk_push_file_is(here, there),
    };
}

static int by_name(const void *a, const void *b)
{
    const qk_join_head *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* What of the branch is not here with the same bytes. */
static qk_status fetch(void *context, bool heads, qk_error *err)
{
    const split_files *s = context;
    const qk_push_merge *m = s->m;
    char *path;
    if (!heads) {
        qk_status status = qk_push_incoming(m, s->split, "examples.parquet", &path, err);
        free(path);
        return status;
    }
    const qk_hub_file **wanted = qk_alloc(s->count, sizeof *wanted);
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->heads[i].first || s->heads[i].equal) continue;
        path = qk_strf("%s/%s/data.parquet", s->split, s->heads[i].name);
        wanted[n++] = qk_hub_listing_find(&m->remote->listing, path);
        free(path);
    }
    qk_info("%s: %zu files of %s changed in the meantime, merging them", m->remote->repo, n,
            s->split);
    char *folder = qk_path_join(m->staging->folder, "incoming");
    qk_status status = qk_fetch_files(m->lines, m->remote, wanted, n, folder, err);
    free(folder);
    free(wanted);
    return status;
}

qk_status qk_push_join(qk_push_merge *m, const char *split, const qk_json *theirs,
                       const qk_json *ours, qk_error *err)
{
    split_files s = {.m = m, .split = split};
    const qk_hub_listing *there = &m->remote->listing;
    for (size_t i = 0; i < there->count; i++) add_file(&s, there->files[i].path, true);
    for (size_t i = 0; i < m->files->count; i++) add_file(&s, m->files->items[i].name, false);
    if (s.count) qsort(s.heads, s.count, sizeof *s.heads, by_name);
    const char *incoming = qk_arena_strf(&s.arena, "%s/incoming/%s", m->staging->folder, split),
               *here = qk_arena_strf(&s.arena, "%s/%s", m->folder, split);
    const qk_join join = {
        .staging = m->staging,
        .final = m->folder,
        .split = split,
        .below = qk_arena_strf(&s.arena, "%s/", split),
        .once = true,
        .first = {incoming, theirs, m->remote->repo, QK_JOIN_MOVE},
        .second = {here, ours, m->folder, QK_JOIN_STAY},
        .heads = s.heads,
        .n_heads = s.count,
        .fetch = fetch,
        .context = &s,
        .hint = "push to another repository or --branch",
    };
    qk_join_result result;
    qk_status status = qk_join_run(&join, &result, err);
    m->merged += result.written;
    free(s.heads);
    qk_arena_free(&s.arena);
    return status;
}
