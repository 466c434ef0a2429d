/* Opening a Parquet file and finding its columns. See parquet_read.h. */
#include "formats/parquet_read.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC_BYTES = 4, TAIL_BYTES = 8, MOST_FOOTER = 128 << 20 };

/* What a file that is no Parquet begins with, for the message. */
static qk_status not_parquet(const char *path, const qk_map *map, const char *where, qk_error *err)
{
    char head[9] = "";
    for (size_t i = 0; i < 8 && i < map->size; i++)
        head[i] = isprint(map->data[i]) ? (char)map->data[i] : '.';
    if (map->size > 40 && !memcmp(map->data, "version https://git-lfs.github.com/spec/", 40))
        return qk_fail(err, QK_ERR_FORMAT, "fetch it with `git lfs pull`",
                       "%s: this is a Git LFS pointer, not the file it stands for", path);
    return qk_fail(err, QK_ERR_FORMAT, "the file is cut short or of another format",
                   "%s: not a Parquet file: no \"PAR1\" at its %s; it begins with '%s'", path,
                   where, head);
}

static qk_status find_footer(const char *path, const qk_map *map, size_t *at, size_t *n,
                             qk_error *err)
{
    if (map->size < MAGIC_BYTES + TAIL_BYTES)
        return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: a file of %zu bytes is too short for Parquet",
                       path, map->size);
    const uint8_t *tail = map->data + map->size - TAIL_BYTES;
    if (!memcmp(tail + 4, "PARE", 4))
        return qk_fail(err, QK_ERR_UNSUPPORTED, NULL, "%s: encrypted Parquet is not supported",
                       path);
    if (memcmp(tail + 4, "PAR1", 4)) return not_parquet(path, map, "end", err);
    if (memcmp(map->data, "PAR1", 4)) return not_parquet(path, map, "begin", err);
    *n = (size_t)tail[0] | (size_t)tail[1] << 8 | (size_t)tail[2] << 16 | (size_t)tail[3] << 24;
    if (*n > map->size - MAGIC_BYTES - TAIL_BYTES)
        return qk_fail(err, QK_ERR_FORMAT, NULL,
                       "%s: the footer's length, %zu, exceeds the file of %zu bytes", path, *n,
                       map->size);
    if (*n > MOST_FOOTER)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "write the file again with larger row groups",
                       "%s: a footer of %zu bytes is more than the limit of %d", path, *n,
                       MOST_FOOTER);
    if (*n == 0) return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the footer is empty", path);
    *at = map->size - TAIL_BYTES - *n;
    return QK_OK;
}

qk_status qk_pq_open(qk_pq_file **out, const char *path, qk_error *err)
{
    qk_map map;
    size_t n = 0;
    *out = NULL;
    QK_TRY(qk_map_open(&map, path, err));
    qk_pq_file *f = qk_zalloc(1, sizeof *f);
    f->map = map;
    f->path = qk_strdup(path);
    qk_status status = find_footer(path, &map, &f->footer_at, &n, err);
    if (status == QK_OK) status = qk_pq_footer_read(f, n, err);
    if (status != QK_OK) {
        qk_pq_close(f);
        return status;
    }
    qk_map_forget(map.data + f->footer_at, n); /* statistics may be looked at again, from disk */
    *out = f;
    return QK_OK;
}

void qk_pq_close(qk_pq_file *f)
{
    if (!f) return;
    qk_arena_free(&f->arena);
    qk_map_close(&f->map);
    free(f->path);
    free(f);
}

const char *qk_pq_metadata(const qk_pq_file *f, const char *key)
{
    for (size_t i = 0; i < f->n_metadata; i++)
        if (!strcmp(f->metadata[i].key, key)) return f->metadata[i].value;
    return NULL;
}

int qk_pq_find(const qk_pq_file *f, const char *name)
{
    for (int top = 1; top >= 0; top--) {
        int found = -1;
        for (size_t i = 0; i < f->n_leaves; i++) {
            const qk_pq_leaf *leaf = &f->leaves[i];
            if (leaf->is_top != top || strcmp(leaf->path, name) != 0) continue;
            found = found == -1 ? (int)i : -2;
        }
        if (found != -1) return found;
    }
    return -1;
}

int64_t qk_pq_list_size(const qk_pq_file *f, size_t leaf)
{
    int64_t values = 0;
    if (!f->rows || f->leaves[leaf].max_rep != 1) return -1;
    for (size_t i = 0; i < f->n_groups; i++)
        if (__builtin_add_overflow(values, f->groups[i].chunks[leaf].values, &values)) return -1;
    return values > 0 && values % f->rows == 0 ? values / f->rows : -1;
}
