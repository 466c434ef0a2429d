/* See stream.h. */
#include "engine/dataset/stream.h"

#include <stdlib.h>
#include <string.h>

size_t qk_stream_first = 256 << 10;

static const struct {
    const char *ending, *name;
    qk_packing packing;
} packings[] = {
    {".gz", "gzip", QK_PACKING_GZIP},   {".zst", "zstd", QK_PACKING_ZSTD},
    {".bz2", "bzip2", QK_PACKING_NONE}, {".xz", "xz", QK_PACKING_NONE},
    {".lz4", "lz4", QK_PACKING_NONE},
};

qk_status qk_stream_packing(const char *path, qk_packing *out, qk_error *err)
{
    const char *ending = strrchr(qk_path_name(path), '.');
    *out = QK_PACKING_NONE;
    for (size_t i = 0; ending && i < sizeof packings / sizeof *packings; i++) {
        if (strcmp(ending, packings[i].ending) != 0) continue;
        *out = packings[i].packing;
        if (*out != QK_PACKING_NONE) return QK_OK;
        return qk_fail(err, QK_ERR_UNSUPPORTED, "pack it with gzip or zstd, or unpack it",
                       "%s: %s compression is not supported", path, packings[i].name);
    }
    return QK_OK;
}

qk_status qk_stream_open(qk_stream *s, const char *path, qk_error *err)
{
    qk_packing packing;
    *s = (qk_stream){.path = path};
    QK_TRY(qk_stream_packing(path, &packing, err));
    QK_TRY(qk_map_open(&s->map, path, err));
    if (packing == QK_PACKING_NONE) {
        s->begin = s->at = s->kept = s->map.size ? (const char *)s->map.data : "";
        s->end = s->begin + s->map.size;
        s->ended = true;
        return QK_OK;
    }
    s->capacity = qk_stream_first < 4 ? 4 : qk_stream_first; /* never cuts a byte order mark */
    s->room = qk_alloc(s->capacity, 1);
    s->begin = s->at = s->end = s->room;
    qk_status status = qk_unpack_open(&s->unpacker, packing, s->map.data, s->map.size, err);
    if (status == QK_OK) status = qk_stream_more(s, err);
    if (status != QK_OK) qk_stream_close(s);
    return status;
}

void qk_stream_read_to(qk_stream *s, const char *at)
{
    s->at = at;
    if (s->unpacker || s->at - s->kept < QK_STREAM_FORGET) return;
    qk_map_forget(s->kept, (size_t)(s->at - s->kept));
    s->kept = s->at;
}

/* Drops [begin, at). */
static void drop(qk_stream *s)
{
    const char *line = s->begin;
    for (const char *feed; (feed = memchr(line, '\n', (size_t)(s->at - line)));) {
        s->line++;
        s->column = 0;
        line = feed + 1;
    }
    s->column += (size_t)(s->at - line);
    s->offset += (uint64_t)(s->at - s->begin);
    size_t rest = (size_t)(s->end - s->at);
    memmove(s->room, s->at, rest);
    s->begin = s->at = s->room;
    s->end = s->room + rest;
}

qk_status qk_stream_more(qk_stream *s, qk_error *err)
{
    QK_ASSERT(!s->ended);
    drop(s);
    size_t rest = (size_t)(s->end - s->begin), made;
    if (rest >= QK_STREAM_MOST)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "unpack the file, or leave such rows out",
                       "%s: the row at line %llu is longer than %d MB", s->path,
                       (unsigned long long)s->line + 1, QK_STREAM_MOST >> 20);
    if (2 * rest > s->capacity) { /* at least doubles what is there: rereading stays linear */
        s->capacity *= 2;
        s->room = qk_realloc(s->room, s->capacity, 1);
    }
    s->begin = s->at = s->room;
    qk_status status =
        qk_unpack_next(s->unpacker, s->room + rest, s->capacity - rest, &made, &s->ended, err);
    s->end = s->room + rest + made;
    return status == QK_OK ? QK_OK : qk_error_prefix(err, "%s", s->path);
}

void qk_stream_close(qk_stream *s)
{
    qk_unpack_close(s->unpacker);
    qk_map_close(&s->map);
    free(s->room);
    *s = (qk_stream){0};
}
