/* See layout.h. */
#include "engine/output/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/tokenizer/space.h"

const char *qk_file_name(qk_arena *arena, int layer, int head, qk_kind kind)
{
    return qk_arena_strf(arena, "l%02dh%02d%s", layer, head, qk_kind_name(kind));
}

bool qk_parse_file_name(const char *name, int *layer, int *head, qk_kind *kind)
{
    char end[8], again[32];
    if (sscanf(name, "l%4dh%4d%7s", layer, head, end) != 3) return false;
    if (!qk_kind_parse(end, kind) || *layer < 0 || *head < 0) return false;
    snprintf(again, sizeof again, "l%02dh%02d%s", *layer, *head, end);
    return !strcmp(name, again);
}

bool qk_is_file_name(const char *name)
{
    int layer, head;
    qk_kind kind;
    return qk_parse_file_name(name, &layer, &head, &kind);
}

const char *qk_split_name(qk_arena *arena, const char *name)
{
    const uint8_t *s = (const uint8_t *)name;
    size_t n = strlen(name), at = 0;
    char *out = qk_arena_alloc(arena, n + 1, 1);
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t length = qk_utf8_decode(s + i, n - i, &c);
        if (length && (c == '_' || qk_class_has("L", c) || qk_class_has("N", c))) {
            memcpy(out + at, s + i, length);
            at += length;
        } else {
            out[at++] = '_';
        }
        i += length ? length : 1;
    }
    return out;
}

bool qk_is_split_name(const char *name)
{
    qk_arena arena = {0};
    const char *words = qk_split_name(&arena, name);
    bool ok = *name && *name != '.' && strcmp(name, "all") != 0 && strlen(words) == strlen(name);
    for (size_t i = 0; ok && name[i]; i++)
        ok = name[i] == words[i] || (name[i] == '.' && name[i + 1] && name[i + 1] != '.');
    qk_arena_free(&arena);
    return ok;
}

bool qk_parse_data_path(const char *path, const char *split, char head[32])
{
    size_t n = split ? strlen(split) : 0;
    if (split && (strncmp(path, split, n) != 0 || path[n++] != '/')) return false;
    const char *slash = strchr(path + n, '/');
    size_t length = slash ? (size_t)(slash - path) - n : 32;
    if (length >= 32 || strcmp(slash, "/data.parquet") != 0) return false;
    memcpy(head, path + n, length);
    head[length] = 0;
    return qk_is_file_name(head);
}

qk_status qk_list_heads(const char *folder, qk_names *out, qk_error *err)
{
    bool there;
    qk_names all = {0};
    *out = (qk_names){0};
    QK_TRY(qk_has_folder(folder, &there, err));
    qk_status s = there ? qk_list_dir(folder, &all, err) : QK_OK;
    for (size_t i = 0; i < all.count && s == QK_OK; i++) {
        if (!qk_is_file_name(all.items[i])) continue;
        char *path = qk_strf("%s/%s/data.parquet", folder, all.items[i]);
        s = qk_has_file(path, &there, err);
        free(path);
        if (there) qk_names_add(out, all.items[i]);
    }
    qk_names_free(&all);
    if (s != QK_OK) qk_names_free(out);
    return s;
}

/* Adds the name when its folder holds data; *more: it may hold folders that do. */
static qk_status add_if_data(const char *folder, const char *name, qk_names *out, bool *more,
                             qk_error *err)
{
    bool there;
    char *path = qk_path_join(folder, name), *data = qk_path_join(path, "data.parquet");
    qk_status s = qk_has_file(data, &there, err);
    if (s == QK_OK && there) qk_names_add(out, name);
    *more = false;
    if (s == QK_OK && !there) s = qk_has_folder(path, more, err);
    free(path);
    free(data);
    return s;
}

qk_status qk_find_data_files(const char *folder, qk_names *out, qk_error *err)
{
    *out = (qk_names){0};
    qk_names top = {0};
    QK_TRY(qk_list_dir(folder, &top, err));
    qk_status s = QK_OK;
    for (size_t i = 0; i < top.count && s == QK_OK; i++) {
        bool more, deeper;
        s = add_if_data(folder, top.items[i], out, &more, err);
        if (s != QK_OK || !more) continue;
        char *split = qk_path_join(folder, top.items[i]);
        qk_names inner = {0};
        s = qk_list_dir(split, &inner, err);
        for (size_t k = 0; k < inner.count && s == QK_OK; k++) {
            char *name = qk_strf("%s/%s", top.items[i], inner.items[k]);
            s = add_if_data(folder, name, out, &deeper, err);
            free(name);
        }
        qk_names_free(&inner);
        free(split);
    }
    qk_names_free(&top);
    if (s == QK_OK && !out->count)
        s = qk_fail(err, QK_ERR_NOTFOUND, "give the final/ folder of a run",
                    "%s: holds no l*h*/data.parquet", folder);
    if (s != QK_OK) qk_names_free(out);
    return s;
}
