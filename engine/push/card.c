/* See card.h. */
#include "engine/push/card.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/output/card_splits.h"
#include "engine/output/layout.h"

/* A split of the branch, from the names of its files and its manifest, which is fetched. */
static qk_status add_split(qk_card *c, const qk_push_merge *m, const char *split, qk_error *err)
{
    const qk_hub_listing *all = &m->remote->listing;
    qk_names names = {0};
    for (size_t i = 0; i < all->count; i++) {
        char head[32];
        if (qk_parse_data_path(all->files[i].path, split, head)) qk_names_add(&names, head);
    }
    qk_arena arena = {0};
    const qk_json *manifest = NULL;
    qk_status s = names.count ? qk_push_manifest(m, split, &arena, &manifest, err) : QK_OK;
    if (s == QK_ERR_FORMAT || s == QK_ERR_DAMAGED) { /* of another model: no reason to stop */
        qk_warn("%s; README.md says little of %s", err->message, split);
        s = QK_OK;
    }
    if (s == QK_OK) qk_card_add(c, split, split, &names, manifest);
    qk_names_free(&names);
    qk_arena_free(&arena);
    return s;
}

/* Splits that only the branch has: the folders in it that datasets can call so. */
static qk_status add_theirs(qk_card *c, const qk_push_merge *m, qk_error *err)
{
    const qk_hub_listing *all = &m->remote->listing;
    qk_status s = QK_OK;
    char *last = qk_strdup("");
    for (size_t i = 0; i < all->count && s == QK_OK; i++) {
        const char *path = all->files[i].path, *slash = strchr(path, '/');
        char *split = qk_strf("%.*s", slash ? (int)(slash - path) : 0, path);
        bool is_new = slash && strcmp(split, last) != 0;
        if (is_new && qk_is_split_name(split) && !qk_card_has(c, split))
            s = add_split(c, m, split, err);
        free(last);
        last = split;
    }
    free(last);
    return s;
}

static qk_status write_card(const qk_card *c, const char *path, qk_error *err)
{
    qk_buf text = {0};
    qk_card_text(c, &text);
    qk_status s = qk_write_file(path, text.data, text.size, err);
    qk_buf_free(&text);
    return s;
}

qk_status qk_push_card(qk_push_merge *m, qk_error *err)
{
    qk_card c = {0};
    char *path = qk_path_join(m->staging->folder, "README.md");
    qk_status s = qk_card_add_folders(&c, m->folder, err);
    size_t ours = c.n_splits;
    if (s == QK_OK) s = add_theirs(&c, m, err);
    if (s == QK_OK && c.n_splits > ours) {
        s = write_card(&c, path, err);
        if (s == QK_OK) m->card = qk_strdup(path);
    }
    free(path);
    qk_card_free(&c);
    return s;
}
