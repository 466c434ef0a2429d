/* See unit_file.h. */
#include "engine/capture/unit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/base/beneath.h"

static const char MAGIC[8] = {'Q', 'K', 'U', 'N', 'I', 'T', '0', '3'};
enum { TRAILER = 8 + 8 + 4 + 8, WITH_LSE = 256 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "unit files are written as memory lies");

struct qk_unit_writer {
    qk_writer file;
    qk_unit_stamp stamp;
    int d;
    qk_buf examples, blocks; /* footer parts */
    uint32_t n_examples, n_blocks;
};

/* zlib's crc32 takes 32-bit sizes. */
static uint32_t crc_of(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n) {
        size_t part = n < (1u << 30) ? n : 1u << 30;
        crc = (uint32_t)crc32(crc, p, (uInt)part);
        p += part;
        n -= part;
    }
    return crc;
}

/* ---- writing ---- */

qk_status qk_unit_create(qk_unit_writer **out, const char *path, const char *tmp,
                         const qk_unit_stamp *stamp, int d, qk_error *err)
{
    qk_unit_writer *w = qk_zalloc(1, sizeof *w);
    qk_status s = qk_writer_open_as(&w->file, path, tmp, err);
    if (s != QK_OK) {
        free(w);
        return s;
    }
    w->stamp = *stamp;
    w->d = d;
    qk_writer_add(&w->file, MAGIC, sizeof MAGIC);
    *out = w;
    return QK_OK;
}

static void put_u32(qk_buf *b, uint32_t v)
{
    qk_buf_add(b, &v, 4);
}
static void put_u64(qk_buf *b, uint64_t v)
{
    qk_buf_add(b, &v, 8);
}

qk_status qk_unit_add_rows(qk_unit_writer *w, const qk_unit_rows *r, qk_error *err)
{
    if (!r->rows) return QK_OK;
    static const uint8_t zeros[8];
    qk_writer_add(&w->file, zeros, -w->file.offset & 7);
    uint64_t offset = w->file.offset;
    const int32_t *columns[] = {r->tokens, r->positions, r->buckets, r->examples};
    uint32_t crc = 0;
    for (int c = 0; c < 4; c++) {
        qk_writer_add(&w->file, columns[c], r->rows * 4);
        crc = crc_of(crc, columns[c], r->rows * 4);
    }
    put_u32(&w->blocks, (uint32_t)r->layer);
    put_u32(&w->blocks, (uint32_t)r->kind + (r->lse ? WITH_LSE : 0));
    put_u32(&w->blocks, (uint32_t)r->n_heads);
    put_u64(&w->blocks, r->rows);
    put_u64(&w->blocks, offset);
    put_u32(&w->blocks, crc);
    size_t per_head = r->rows * (size_t)w->d;
    for (int32_t h = 0; h < r->n_heads; h++)
        put_u32(&w->blocks, crc_of(0, r->vectors + (size_t)h * per_head, per_head * 4));
    qk_writer_add(&w->file, r->vectors, (size_t)r->n_heads * per_head * 4);
    for (int32_t h = 0; r->lse && h < r->n_heads; h++) {
        const float *lse = r->lse + (size_t)h * r->rows;
        put_u32(&w->blocks, crc_of(0, lse, r->rows * 4));
        qk_writer_add(&w->file, lse, r->rows * 4);
    }
    qk_buf_add(&w->blocks, r->heads, (size_t)r->n_heads * 4);
    w->n_blocks++;
    if (!w->file.error) return QK_OK;
    errno = w->file.error;
    return qk_fail_write(err, "cannot write", w->file.path);
}

void qk_unit_add_example(qk_unit_writer *w, const qk_unit_example *e)
{
    qk_buf *b = &w->examples;
    put_u64(b, (uint64_t)e->index);
    put_u64(b, (uint64_t)e->id);
    put_u32(b, (uint32_t)e->tokens);
    put_u32(b, e->truncated);
    qk_buf_add(b, e->sha256, 32);
    QK_ASSERT(e->id_length < UINT32_MAX);
    put_u32(b, e->id_text ? (uint32_t)e->id_length : UINT32_MAX);
    if (e->id_text) qk_buf_add(b, e->id_text, e->id_length);
    w->n_examples++;
}

static void writer_free(qk_unit_writer *w)
{
    qk_buf_free(&w->examples);
    qk_buf_free(&w->blocks);
    free(w);
}

qk_status qk_unit_commit(qk_unit_writer *w, qk_error *err)
{
    qk_buf footer = {0};
    qk_buf_add(&footer, &w->stamp, sizeof w->stamp);
    put_u32(&footer, (uint32_t)w->d);
    put_u32(&footer, w->n_examples);
    put_u32(&footer, w->n_blocks);
    qk_buf_add(&footer, w->examples.data, w->examples.size);
    qk_buf_add(&footer, w->blocks.data, w->blocks.size);
    uint64_t offset = w->file.offset, size = footer.size;
    uint32_t crc = crc_of(0, footer.data, footer.size);
    put_u64(&footer, offset);
    put_u64(&footer, size);
    put_u32(&footer, crc);
    qk_buf_add(&footer, MAGIC, sizeof MAGIC);
    qk_writer_add(&w->file, footer.data, footer.size);
    qk_buf_free(&footer);
    qk_status s = qk_writer_commit(&w->file, err);
    writer_free(w);
    return s;
}

void qk_unit_abort(qk_unit_writer *w)
{
    if (!w) return;
    qk_writer_abort(&w->file);
    writer_free(w);
}

/* ---- reading ---- */

/* Reads the footer front to back; running past its end is remembered, not fatal. */
typedef struct cursor {
    const uint8_t *at, *end;
    bool failed;
} cursor;

static const void *take(cursor *c, size_t n)
{
    static const uint8_t zeros[32];
    if ((size_t)(c->end - c->at) < n) {
        c->failed = true;
        c->at = c->end;
        return n <= sizeof zeros ? zeros : NULL;
    }
    const void *p = c->at;
    c->at += n;
    return p;
}

static uint32_t get_u32(cursor *c)
{
    uint32_t v;
    memcpy(&v, take(c, 4), 4);
    return v;
}

static uint64_t get_u64(cursor *c)
{
    uint64_t v;
    memcpy(&v, take(c, 8), 8);
    return v;
}

static void read_example(qk_arena *arena, cursor *c, qk_unit_example *e)
{
    *e = (qk_unit_example){0};
    e->index = (int64_t)get_u64(c);
    e->id = (int64_t)get_u64(c);
    e->tokens = (int32_t)get_u32(c);
    e->truncated = get_u32(c) != 0;
    memcpy(e->sha256, take(c, 32), 32);
    uint32_t n = get_u32(c);
    if (n == UINT32_MAX) return;
    const char *text = take(c, n);
    if (c->failed) return;
    e->id_text = qk_arena_strndup(arena, text, n);
    e->id_length = n;
}

void qk_unit_example_of(const qk_unit_writer *w, int32_t ordinal, qk_arena *arena,
                        qk_unit_example *out)
{
    const uint8_t *examples = (const uint8_t *)w->examples.data;
    cursor c = {examples, examples + w->examples.size, false};
    QK_ASSERT(ordinal >= 0 && (uint32_t)ordinal < w->n_examples);
    for (int32_t i = 0; i <= ordinal; i++) read_example(arena, &c, out);
}

static bool is_kind(uint32_t kind)
{
    for (int i = 0; i < QK_KINDS; i++)
        if (kind == (uint32_t)qk_kinds[i]) return true;
    return false;
}

/* Whether all that the index says of a block lies before the footer. */
static bool block_fits(const qk_unit *u, const qk_unit_block *b, uint64_t data_end)
{
    size_t row, bytes; /* of all heads; integers are four to a row */
    if (!qk_mul((size_t)u->d + b->has_lse, (size_t)b->n_heads * 4, &row)) return false;
    return row <= SIZE_MAX - 16 && qk_mul(b->rows, row + 16, &bytes) && b->offset <= data_end &&
           bytes <= data_end - b->offset;
}

static void read_block(qk_unit *u, cursor *c, qk_unit_block *b, uint64_t data_end)
{
    b->layer = (int32_t)get_u32(c);
    uint32_t kind = get_u32(c);
    b->has_lse = kind & WITH_LSE;
    b->kind = (qk_kind)(kind & ~(uint32_t)WITH_LSE);
    b->n_heads = (int32_t)get_u32(c);
    b->rows = get_u64(c);
    b->offset = get_u64(c);
    if (!is_kind((uint32_t)b->kind) || b->n_heads < 0 ||
        (size_t)b->n_heads > (size_t)(c->end - c->at) / 8 || !block_fits(u, b, data_end)) {
        c->failed = true;
        return;
    }
    size_t n = (size_t)b->n_heads, sums = 1 + n * (b->has_lse ? 2 : 1);
    uint32_t *crc = qk_arena_alloc(&u->arena, sums, 4);
    int32_t *heads = qk_arena_alloc(&u->arena, n, 4);
    for (size_t i = 0; i < sums; i++) crc[i] = get_u32(c);
    for (size_t i = 0; i < n; i++) heads[i] = (int32_t)get_u32(c);
    b->crc = crc;
    b->heads = heads;
    u->rows += b->rows * (uint64_t)b->n_heads;
}

/* Strings that end within their arrays. */
static bool stamp_is_sound(const qk_unit_stamp *s)
{
    return memchr(s->identity, 0, sizeof s->identity) && memchr(s->numerics, 0, sizeof s->numerics);
}

static bool read_footer(qk_unit *u, cursor c, uint64_t data_end)
{
    if ((size_t)(c.end - c.at) < sizeof u->stamp) return false;
    memcpy(&u->stamp, take(&c, sizeof u->stamp), sizeof u->stamp);
    if (!stamp_is_sound(&u->stamp)) return false;
    u->d = (int)get_u32(&c);
    u->n_examples = get_u32(&c);
    u->n_blocks = get_u32(&c);
    size_t left = (size_t)(c.end - c.at);
    if (c.failed || u->d < 1 || u->n_examples > left / 60 || u->n_blocks > left / 32) return false;
    u->examples = qk_arena_alloc(&u->arena, u->n_examples, sizeof *u->examples);
    u->blocks = qk_arena_alloc(&u->arena, u->n_blocks, sizeof *u->blocks);
    for (size_t i = 0; i < u->n_examples && !c.failed; i++)
        read_example(&u->arena, &c, &u->examples[i]);
    for (size_t i = 0; i < u->n_blocks && !c.failed; i++)
        read_block(u, &c, &u->blocks[i], data_end);
    return !c.failed && c.at == c.end;
}

static qk_status damaged(const char *path, qk_error *err)
{
    return qk_fail(err, QK_ERR_DAMAGED, "remove this file and run the same command again",
                   "%s: this work unit is damaged", path);
}

/* A disk that cannot be read now is no damage: the file stays. */
static qk_status read_at(const qk_unit *u, void *out, size_t n, uint64_t offset, qk_error *err)
{
    uint8_t *p = out;
    while (n) {
        ssize_t got = pread(u->fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return qk_fail_errno(err, "cannot read", u->path);
        if (got == 0) return damaged(u->path, err);
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return QK_OK;
}

/* Where the footer lies. */
typedef struct trailer {
    uint64_t offset, bytes;
    uint32_t crc;
} trailer;

static qk_status read_trailer(const qk_unit *u, trailer *t, qk_error *err)
{
    off_t size = lseek(u->fd, 0, SEEK_END);
    if (size < 0) return qk_fail_errno(err, "cannot look at", u->path);
    uint8_t first[sizeof MAGIC], bytes[TRAILER];
    if (size < (off_t)(sizeof MAGIC + TRAILER)) return damaged(u->path, err);
    QK_TRY(read_at(u, first, sizeof first, 0, err));
    QK_TRY(read_at(u, bytes, TRAILER, (uint64_t)size - TRAILER, err));
    const uint8_t *last = bytes + TRAILER - sizeof MAGIC;
    bool same = !memcmp(first, last, sizeof MAGIC), now = !memcmp(last, MAGIC, sizeof MAGIC);
    if (!same || memcmp(last, MAGIC, sizeof MAGIC - 2) != 0) return damaged(u->path, err);
    if (!now)
        return qk_fail(err, QK_ERR_FORMAT,
                       "finish that run with the version of this program that began it, or remove "
                       "the staging folder to begin again",
                       "%s: this work unit is of another version (%.8s)", u->path,
                       (const char *)last);
    memcpy(&t->offset, bytes, 8);
    memcpy(&t->bytes, bytes + 8, 8);
    memcpy(&t->crc, bytes + 16, 4);
    if (t->bytes > (uint64_t)size - TRAILER || t->offset != (uint64_t)size - TRAILER - t->bytes)
        return damaged(u->path, err);
    return QK_OK;
}

/* The footer, with its checksum checked. The caller frees it, also after an error. */
static qk_status load_footer(const qk_unit *u, trailer *t, uint8_t **footer, qk_error *err)
{
    *footer = NULL;
    QK_TRY(read_trailer(u, t, err));
    *footer = qk_alloc(t->bytes, 1);
    QK_TRY(read_at(u, *footer, t->bytes, t->offset, err));
    return crc_of(0, *footer, t->bytes) == t->crc ? QK_OK : damaged(u->path, err);
}

static qk_status open_file(qk_unit *u, const char *path, qk_error *err)
{
    *u = (qk_unit){.fd = -1};
    QK_TRY(qk_open_regular(&u->fd, path, O_RDONLY, err));
    u->path = qk_strdup(path);
    return QK_OK;
}

qk_status qk_unit_open(qk_unit *u, const char *path, qk_error *err)
{
    trailer t;
    uint8_t *footer;
    QK_TRY(open_file(u, path, err));
    qk_status s = load_footer(u, &t, &footer, err);
    if (s == QK_OK && !read_footer(u, (cursor){footer, footer + t.bytes, false}, t.offset))
        s = damaged(u->path, err);
    free(footer);
    if (s != QK_OK) qk_unit_close(u);
    return s;
}

qk_status qk_unit_read_stamp(const char *path, qk_unit_stamp *out, qk_error *err)
{
    qk_unit u;
    trailer t;
    uint8_t *footer;
    QK_TRY(open_file(&u, path, err));
    qk_status s = load_footer(&u, &t, &footer, err);
    if (s == QK_OK && t.bytes >= sizeof *out) memcpy(out, footer, sizeof *out);
    if (s == QK_OK && (t.bytes < sizeof *out || !stamp_is_sound(out))) s = damaged(path, err);
    free(footer);
    qk_unit_close(&u);
    return s;
}

qk_status qk_unit_stamp_check(const qk_unit_stamp *have, const qk_unit_stamp *want,
                              const char *path, qk_error *err)
{
    if (strcmp(have->identity, want->identity) != 0)
        return qk_fail(err, QK_ERR_DATA, "move this file to the staging folder that it came from",
                       "%s: this work unit belongs to another run (%.12s..., not %.12s...)", path,
                       have->identity, want->identity);
    if (strcmp(have->numerics, want->numerics) != 0)
        return qk_fail(err, QK_ERR_DATA,
                       "remove this file, and it is computed again as the others were",
                       "%s: this work unit was computed with '%s', the others with '%s': the last "
                       "bits would mix",
                       path, have->numerics, want->numerics);
    return QK_OK;
}

void qk_unit_close(qk_unit *u)
{
    if (u->path) close(u->fd);
    free(u->path);
    qk_arena_free(&u->arena);
    *u = (qk_unit){.fd = -1};
}

static qk_status read_checked(const qk_unit *u, qk_buf *buf, size_t bytes, uint64_t offset,
                              uint32_t crc, qk_error *err)
{
    qk_buf_clear(buf);
    qk_buf_reserve(buf, bytes);
    QK_TRY(read_at(u, buf->data, bytes, offset, err));
    return crc_of(0, buf->data, bytes) == crc ? QK_OK : damaged(u->path, err);
}

qk_status qk_unit_read_rows(const qk_unit *u, const qk_unit_block *b, qk_buf *buf,
                            qk_unit_rows *out, qk_error *err)
{
    QK_TRY(read_checked(u, buf, 16 * b->rows, b->offset, b->crc[0], err));
    const int32_t *ints = (const int32_t *)buf->data;
    *out = (qk_unit_rows){
        .layer = b->layer,
        .kind = b->kind,
        .heads = b->heads,
        .n_heads = b->n_heads,
        .rows = b->rows,
        .tokens = ints,
        .positions = ints + b->rows,
        .buckets = ints + 2 * b->rows,
        .examples = ints + 3 * b->rows,
    };
    for (size_t i = 0; i < b->rows; i++)
        if (out->examples[i] < 0 || (size_t)out->examples[i] >= u->n_examples)
            return damaged(u->path, err);
    return QK_OK;
}

qk_status qk_unit_read_vectors(const qk_unit *u, const qk_unit_block *b, int32_t h, qk_buf *buf,
                               const float **out, qk_error *err)
{
    size_t bytes = b->rows * (size_t)u->d * sizeof(float); /* block_fits: no overflow */
    QK_TRY(read_checked(u, buf, bytes, b->offset + 16 * b->rows + (uint64_t)h * bytes,
                        b->crc[1 + h], err));
    *out = (const float *)buf->data;
    return QK_OK;
}

qk_status qk_unit_read_lse(const qk_unit *u, const qk_unit_block *b, int32_t h, qk_buf *buf,
                           const float **out, qk_error *err)
{
    *out = NULL;
    if (!b->has_lse) return QK_OK;
    uint64_t vectors = b->rows * (uint64_t)b->n_heads * (uint64_t)u->d * sizeof(float);
    size_t bytes = b->rows * sizeof(float);
    QK_TRY(read_checked(u, buf, bytes, b->offset + 16 * b->rows + vectors + (uint64_t)h * bytes,
                        b->crc[1 + b->n_heads + h], err));
    *out = (const float *)buf->data;
    return QK_OK;
}
