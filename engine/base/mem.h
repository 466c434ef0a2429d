/* Memory: checked allocation, an arena for parse results, a growable byte buffer.
 *
 * qk_alloc and friends are for sizes that the program itself chose; where the machine has no memory
 * left they end the program with one line and exit status 1: run again, it would end there again.
 * qk_try_alloc is for sizes that a file or a configuration asks for: it returns a
 * status that says how much was wanted and for what.
 *
 * next: engine/base/file.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/error.h"

/* Never return NULL. Contents of qk_alloc are undefined, of qk_zalloc zero. */
void *qk_alloc(size_t count, size_t size);
void *qk_zalloc(size_t count, size_t size);
void *qk_realloc(void *old, size_t count, size_t size);
char *qk_strdup(const char *text);
char *qk_strndup(const char *text, size_t length); /* NUL-terminated copy of length bytes */
/* printf into a fresh string; the caller frees it. */
char *qk_strf(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *qk_vstrf(const char *format, va_list args) __attribute__((format(printf, 1, 0)));

/* Ends the program so, for what a library or a function without a status could not have. */
_Noreturn void qk_no_memory(const char *what);

/* 64-byte aligned (a cache line, an AVX-512 register), for tensors; free() frees it.
 * *out is NULL on failure. `what` names the thing in the message: "the weights of layer 3". */
qk_status qk_try_alloc(void **out, size_t count, size_t size, const char *what, qk_error *err);

/* false when a*b or a+b does not fit; *out is then untouched. */
static inline bool qk_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool qk_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Arena: many small objects that die together. Zero-initialise to create, qk_arena_free to end.
 * Pointers stay valid until then. */
typedef struct qk_arena {
    struct qk_arena_block *head;
    size_t used, capacity; /* of the head block, in bytes */
} qk_arena;

void *qk_arena_alloc(qk_arena *arena, size_t count, size_t size); /* 16-byte aligned, zeroed */
char *qk_arena_strndup(qk_arena *arena, const char *text, size_t length); /* NUL-terminated copy */
char *qk_arena_strf(qk_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void qk_arena_free(qk_arena *arena);

/* A hash of bytes for tables in memory. */
uint64_t qk_hash_bytes(const void *bytes, size_t n);

/* Growable bytes. Zero-initialise to create; data may move on every append. */
typedef struct qk_buf {
    uint8_t *data;
    size_t size, capacity; /* bytes */
} qk_buf;

void qk_buf_reserve(qk_buf *buf, size_t extra); /* for `extra` more bytes */
void qk_buf_add(qk_buf *buf, const void *bytes, size_t n);
void qk_buf_add_byte(qk_buf *buf, uint8_t byte);
void qk_buf_add_str(qk_buf *buf, const char *text); /* without its NUL */
void qk_buf_addf(qk_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends a NUL that size does not count, and returns the bytes as a string owned by buf. */
const char *qk_buf_str(qk_buf *buf);
static inline void qk_buf_clear(qk_buf *buf)
{
    buf->size = 0;
}
void qk_buf_free(qk_buf *buf);

/* Grows an array of elements by doubling, so that QK_GROW(list.items, list.count, list.capacity)
 * allows for one more element at items[count]. */
#define QK_GROW(items, count, capacity)                                                            \
    do {                                                                                           \
        if ((count) == (capacity)) {                                                               \
            (capacity) = (capacity) ? 2 * (capacity) : 8;                                          \
            (items) = qk_realloc((items), (size_t)(capacity), sizeof *(items));                    \
        }                                                                                          \
    } while (0)
