/* See mem.h. */
#include "engine/base/mem.h"

#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t bytes_or_die(size_t count, size_t size)
{
    size_t bytes;
    if (!qk_mul(count, size, &bytes)) qk_fatal("allocation of %zu x %zu bytes", count, size);
    return bytes ? bytes : 1;
}

/* Not abort: it is no mistake of ours. Not exit: other threads are at work, and half of a result
 * may wait in stdout's buffer. Nothing here allocates. */
void qk_no_memory(const char *what)
{
    static const struct {
        int resource;
        const char *name;
    } limits[] = {{RLIMIT_AS, "ulimit -v"}, {RLIMIT_DATA, "ulimit -d"}};
    char text[512];
    size_t n = (size_t)snprintf(text, 256, "qkengine: error: out of memory: %.200s", what);
    for (int i = 0; i < 2; i++) {
        struct rlimit r;
        if (getrlimit((__rlimit_resource_t)limits[i].resource, &r) != 0 ||
            r.rlim_cur == RLIM_INFINITY)
            continue;
        n += (size_t)snprintf(text + n, sizeof text - n, ", %s is %llu kB", limits[i].name,
                              (unsigned long long)(r.rlim_cur >> 10));
    }
    n += (size_t)snprintf(text + n, sizeof text - n,
                          "\nqkengine:   raise the limit, or give it less to do at once; "
                          "`qkengine plan` sizes a run\n");
    while (n && write(STDERR_FILENO, text, n) < 0 && errno == EINTR) continue;
    _exit(qk_exit_status(QK_ERR_IO));
}

static _Noreturn void no_bytes(size_t count, size_t size)
{
    char what[64];
    snprintf(what, sizeof what, "%zu x %zu bytes", count, size);
    qk_no_memory(what);
}

void *qk_alloc(size_t count, size_t size)
{
    size_t bytes = bytes_or_die(count, size);
    void *p = malloc(bytes);
    if (!p) no_bytes(count, size);
    return p;
}

void *qk_zalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p) no_bytes(count, size);
    return p;
}

void *qk_realloc(void *old, size_t count, size_t size)
{
    size_t bytes = bytes_or_die(count, size);
    void *p = realloc(old, bytes);
    if (!p) no_bytes(count, size);
    return p;
}

char *qk_strdup(const char *text)
{
    return qk_strndup(text, strlen(text));
}

char *qk_strndup(const char *text, size_t length)
{
    char *copy = qk_alloc(length + 1, 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

/* Bytes that printf would write, with its NUL; args stay as they are. */
static __attribute__((format(printf, 1, 0))) size_t size_of(const char *format, va_list args)
{
    va_list copy;
    va_copy(copy, args);
    int n = vsnprintf(NULL, 0, format, copy);
    va_end(copy);
    QK_ASSERT(n >= 0);
    return (size_t)n + 1;
}

char *qk_vstrf(const char *format, va_list args)
{
    size_t n = size_of(format, args);
    char *text = qk_alloc(n, 1);
    vsnprintf(text, n, format, args);
    return text;
}

char *qk_strf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = qk_vstrf(format, args);
    va_end(args);
    return text;
}

qk_status qk_try_alloc(void **out, size_t count, size_t size, const char *what, qk_error *err)
{
    *out = NULL;
    size_t bytes;
    if (!qk_mul(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return qk_fail(err, QK_ERR_DATA, NULL, "%s: %zu x %zu bytes do not fit in memory", what,
                       count, size);
    bytes = (bytes + 63) & ~(size_t)63;
    void *p = aligned_alloc(64, bytes ? bytes : 64);
    if (!p)
        return qk_fail(err, QK_ERR_IO,
                       "use a machine with more memory; `qkengine plan` sizes a run",
                       "%s: out of memory (%.1f MB wanted)", what, (double)bytes / 1e6);
    *out = p;
    return QK_OK;
}

/* ---- arena ---- */

struct qk_arena_block {
    struct qk_arena_block *next;
    alignas(16) uint8_t bytes[];
};

void *qk_arena_alloc(qk_arena *arena, size_t count, size_t size)
{
    size_t n = (bytes_or_die(count, size) + 15) & ~(size_t)15;
    if (n > arena->capacity - arena->used) {
        size_t capacity = arena->capacity ? 2 * arena->capacity : 4096;
        if (capacity > (1u << 20)) capacity = 1u << 20;
        if (capacity < n) capacity = n;
        struct qk_arena_block *block = qk_alloc(sizeof *block + capacity, 1);
        block->next = arena->head;
        arena->head = block;
        arena->used = 0;
        arena->capacity = capacity;
    }
    void *p = arena->head->bytes + arena->used;
    arena->used += n;
    return memset(p, 0, n);
}

char *qk_arena_strndup(qk_arena *arena, const char *text, size_t length)
{
    char *copy = qk_arena_alloc(arena, length + 1, 1);
    if (length) memcpy(copy, text, length);
    return copy;
}

char *qk_arena_strf(qk_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t n = size_of(format, args);
    char *text = qk_arena_alloc(arena, n, 1);
    vsnprintf(text, n, format, args);
    va_end(args);
    return text;
}

void qk_arena_free(qk_arena *arena)
{
    while (arena->head) {
        struct qk_arena_block *next = arena->head->next;
        free(arena->head);
        arena->head = next;
    }
    *arena = (qk_arena){0};
}

/* ---- growable bytes ---- */

uint64_t qk_hash_bytes(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint64_t h = n * 0x9E3779B97F4A7C15u, word;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * 0xD6E8FEB86659FD93u;
        h ^= h >> 32;
    }
    word = 0;
    if (n) memcpy(&word, p, n); /* bytes may be NULL for none */
    h = (h ^ word) * 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
    return h * 0x9E3779B97F4A7C15u;
}

void qk_buf_reserve(qk_buf *buf, size_t extra)
{
    size_t wanted;
    if (!qk_add(buf->size, extra, &wanted)) qk_fatal("buffer of %zu + %zu bytes", buf->size, extra);
    if (wanted <= buf->capacity) return;
    size_t capacity = buf->capacity ? buf->capacity : 256;
    while (capacity < wanted) capacity = capacity > SIZE_MAX / 2 ? wanted : 2 * capacity;
    buf->data = qk_realloc(buf->data, capacity, 1);
    buf->capacity = capacity;
}

void qk_buf_add(qk_buf *buf, const void *bytes, size_t n)
{
    if (!n) return;
    qk_buf_reserve(buf, n);
    memcpy(buf->data + buf->size, bytes, n);
    buf->size += n;
}

void qk_buf_add_byte(qk_buf *buf, uint8_t byte)
{
    qk_buf_add(buf, &byte, 1);
}

void qk_buf_add_str(qk_buf *buf, const char *text)
{
    qk_buf_add(buf, text, strlen(text));
}

void qk_buf_addf(qk_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t n = size_of(format, args);
    qk_buf_reserve(buf, n);
    vsnprintf((char *)buf->data + buf->size, n, format, args);
    va_end(args);
    buf->size += n - 1;
}

const char *qk_buf_str(qk_buf *buf)
{
    qk_buf_reserve(buf, 1);
    buf->data[buf->size] = 0;
    return (const char *)buf->data;
}

void qk_buf_free(qk_buf *buf)
{
    free(buf->data);
    *buf = (qk_buf){0};
}
