/* See stream.h. */
#include "engine/dataset/stream.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/interrupt.h"

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
    QK_TRY(qk_input_open(&s->in, path, err));
    s->capacity = qk_stream_first < 4 ? 4 : qk_stream_first; /* never cuts a byte order mark */
    s->buffer = qk_alloc(s->capacity, 1);
    s->begin = s->at = s->end = s->buffer;
    qk_status status = QK_OK;
    if (packing != QK_PACKING_NONE) status = qk_unpack_open(&s->unpacker, packing, &s->in, err);
    if (status == QK_OK) status = qk_stream_more(s, err);
    if (status != QK_OK) qk_stream_close(s);
    return status;
}

/* Drops [begin, at). */
static void drop(qk_stream *s)
{
    const char *line = s->begin;
    for (const char *newline; (newline = memchr(line, '\n', (size_t)(s->at - line)));) {
        s->line++;
        s->column = 0;
        line = newline + 1;
    }
    s->column += (size_t)(s->at - line);
    s->offset += (uint64_t)(s->at - s->begin);
    size_t rest = (size_t)(s->end - s->at);
    memmove(s->buffer, s->at, rest);
    s->begin = s->at = s->buffer;
    s->end = s->buffer + rest;
}

/* At least doubles what is there, so that reading a row again stays linear. */
static qk_status widen(qk_stream *s, size_t rest, qk_error *err)
{
    size_t max = s->unpacker ? QK_STREAM_MAX_PACKED : QK_STREAM_MAX;
    if (rest >= max)
        return qk_fail(err, QK_ERR_UNSUPPORTED,
                       s->unpacker ? "unpack the file, or leave such rows out"
                                   : "leave such rows out",
                       "%s: the row at line %llu is longer than %zu MB", s->path,
                       (unsigned long long)s->line + 1, max >> 20);
    if (2 * rest <= s->capacity) return QK_OK;
    void *wider;
    QK_TRY(qk_try_alloc(&wider, 2 * s->capacity, 1, "a row of the dataset", err));
    if (rest) memcpy(wider, s->begin, rest);
    free(s->buffer);
    s->buffer = wider;
    s->capacity *= 2;
    return QK_OK;
}

qk_status qk_stream_more(qk_stream *s, qk_error *err)
{
    QK_ASSERT(!s->ended);
    QK_TRY(qk_interrupt_check(err));
    drop(s);
    size_t rest = (size_t)(s->end - s->begin), made = 0;
    QK_TRY(widen(s, rest, err));
    s->begin = s->at = s->buffer;
    char *out = s->buffer + rest;
    size_t capacity = s->capacity - rest;
    qk_status status;
    if (s->unpacker) {
        status = qk_unpack_next(s->unpacker, out, capacity, &made, &s->ended, err);
    } else {
        uint64_t left = s->in.state.size - s->taken;
        made = left < capacity ? (size_t)left : capacity;
        status = qk_input_read(&s->in, s->taken, out, made, err);
        if (status == QK_OK) s->taken += made;
        s->ended = status == QK_OK && s->taken == s->in.state.size;
    }
    s->end = out + made;
    bool names_it = status != QK_ERR_FORMAT; /* of reading; not of unpacking */
    return names_it ? status : qk_error_prefix(err, "%s", s->path);
}

void qk_stream_close(qk_stream *s)
{
    qk_unpack_close(s->unpacker);
    qk_input_close(&s->in);
    free(s->buffer);
    *s = (qk_stream){0};
}
