/* Opening a Parquet file and finding its columns. See parquet_read.h. */
#include "formats/parquet_cursor.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC_BYTES = 4, TAIL_BYTES = 8 };

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
    if (status == QK_OK)
        status = qk_pq_meta_read(&f->meta, map.data + f->footer_at, n, f->footer_at, path, err);
    if (status != QK_OK) {
        qk_pq_close(f);
        return status;
    }
    *out = f;
    return QK_OK;
}

void qk_pq_close(qk_pq_file *f)
{
    if (!f) return;
    qk_pq_meta_free(&f->meta);
    qk_map_close(&f->map);
    free(f->path);
    free(f);
}

const qk_pq_meta *qk_pq_footer(const qk_pq_file *f)
{
    return &f->meta;
}

const char *qk_pq_path(const qk_pq_file *f)
{
    return f->path;
}

uint64_t qk_pq_rows(const qk_pq_file *f)
{
    return (uint64_t)f->meta.rows;
}

const char *qk_pq_metadata(const qk_pq_file *f, const char *key)
{
    for (size_t i = 0; i < f->meta.n_pairs; i++)
        if (!strcmp(f->meta.pairs[i].key, key)) return f->meta.pairs[i].value;
    return NULL;
}

size_t qk_pq_n_columns(const qk_pq_file *f)
{
    return f->meta.n_leaves;
}

const qk_pq_leaf *qk_pq_column(const qk_pq_file *f, size_t i)
{
    return &f->meta.leaves[i];
}

int qk_pq_find(const qk_pq_file *f, const char *name)
{
    for (int nested = 0; nested < 2; nested++) {
        int found = -1;
        for (size_t i = 0; i < f->meta.n_leaves; i++) {
            const qk_pq_leaf *leaf = &f->meta.leaves[i];
            if ((leaf->depth > 1) != nested || strcmp(leaf->name, name) != 0) continue;
            found = found == -1 ? (int)i : -2;
        }
        if (found != -1) return found;
    }
    return -1;
}

int64_t qk_pq_list_size(const qk_pq_file *f, size_t column)
{
    int64_t values = 0;
    if (!f->meta.rows || f->meta.leaves[column].max_repetition != 1) return -1;
    for (size_t i = 0; i < f->meta.n_groups; i++)
        if (__builtin_add_overflow(values, f->meta.groups[i].chunks[column].values, &values))
            return -1;
    return values > 0 && values % f->meta.rows == 0 ? values / f->meta.rows : -1;
}
