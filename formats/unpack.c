/* See unpack.h. */
#include "formats/unpack.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "engine/base/mem.h"

enum { PIECE = 64 << 10 };

struct qk_unpacker {
    qk_packing packing;
    const qk_input *in;
    uint8_t *piece;  /* [PIECE] of the packed file: n bytes, of which `at` are used */
    size_t n, at;    /* of the piece */
    uint64_t behind; /* bytes of the file up to the end of the piece */
    bool inside;     /* a member or frame has begun and is not complete */
    z_stream gzip;   /* of QK_PACKING_GZIP */
    ZSTD_DStream *zstd;
};

static qk_status fail(const qk_unpacker *u, const char *what, qk_error *err)
{
    return qk_fail(err, QK_ERR_FORMAT, "the file is damaged or incomplete; fetch it again",
                   "%s: %s, at byte %llu of the packed file",
                   u->packing == QK_PACKING_GZIP ? "gzip" : "zstd", what,
                   (unsigned long long)(u->behind - u->n + u->at));
}

qk_status qk_unpack_open(qk_unpacker **out, qk_packing packing, const qk_input *in, qk_error *err)
{
    qk_unpacker *u = qk_zalloc(1, sizeof *u);
    *out = NULL;
    *u = (qk_unpacker){.packing = packing, .in = in, .piece = qk_alloc(PIECE, 1)};
    bool ok;
    if (packing == QK_PACKING_GZIP) {
        ok = inflateInit2(&u->gzip, 15 + 16) == Z_OK; /* 16: gzip headers only */
    } else {
        u->zstd = ZSTD_createDStream();
        ok = u->zstd != NULL;
    }
    if (!ok) {
        qk_unpack_close(u);
        return qk_fail(err, QK_ERR_IO, NULL, "no memory to unpack");
    }
    *out = u;
    return QK_OK;
}

/* The next piece, when this one is used up; it stays empty at the end of the file. */
static qk_status refill(qk_unpacker *u, qk_error *err)
{
    uint64_t left = u->in->state.size - u->behind;
    if (u->at < u->n) return QK_OK;
    u->n = left < PIECE ? (size_t)left : PIECE;
    u->at = 0;
    QK_TRY(qk_input_read(u->in, u->behind, u->piece, u->n, err));
    u->behind += u->n;
    return QK_OK;
}

/* Some packed bytes -> some plain ones; *made may stay 0. */
static qk_status step_gzip(qk_unpacker *u, char *out, size_t capacity, size_t *made, qk_error *err)
{
    z_stream *z = &u->gzip;
    z->next_in = u->piece + u->at;
    z->avail_in = (uInt)(u->n - u->at);
    z->next_out = (Bytef *)out;
    z->avail_out = capacity < INT_MAX ? (uInt)capacity : INT_MAX;
    int rc = inflate(z, Z_NO_FLUSH);
    u->at = (size_t)(z->next_in - u->piece);
    *made = (size_t)((char *)z->next_out - out);
    u->inside = rc != Z_STREAM_END;
    if (rc == Z_OK || rc == Z_BUF_ERROR) return QK_OK;
    if (rc == Z_MEM_ERROR) return qk_fail(err, QK_ERR_IO, NULL, "no memory to unpack");
    if (rc != Z_STREAM_END) return fail(u, z->msg ? z->msg : "damaged data", err);
    inflateReset(z);
    do { /* zero bytes are padding up to the end or the next member */
        QK_TRY(refill(u, err));
        while (u->at < u->n && !u->piece[u->at]) u->at++;
    } while (u->n && u->at == u->n);
    return QK_OK;
}

static qk_status step_zstd(qk_unpacker *u, char *out, size_t capacity, size_t *made, qk_error *err)
{
    ZSTD_inBuffer in = {u->piece, u->n, u->at};
    ZSTD_outBuffer to = {out, capacity, 0};
    size_t left = ZSTD_decompressStream(u->zstd, &to, &in);
    u->at = in.pos;
    *made = to.pos;
    if (ZSTD_isError(left)) return fail(u, ZSTD_getErrorName(left), err);
    u->inside = left != 0;
    return QK_OK;
}

qk_status qk_unpack_next(qk_unpacker *u, char *out, size_t capacity, size_t *made, bool *ended,
                         qk_error *err)
{
    *made = 0;
    *ended = false;
    while (*made < capacity) {
        QK_TRY(refill(u, err));
        size_t more, before = u->at;
        if (!u->n && !u->inside) {
            *ended = true;
            return QK_OK;
        }
        QK_TRY((u->packing == QK_PACKING_GZIP ? step_gzip : step_zstd)(
            u, out + *made, capacity - *made, &more, err));
        *made += more;
        if (!more && u->at == before && u->inside) return fail(u, "the data end early", err);
    }
    return QK_OK;
}

void qk_unpack_close(qk_unpacker *u)
{
    if (!u) return;
    if (u->packing == QK_PACKING_GZIP) inflateEnd(&u->gzip);
    ZSTD_freeDStream(u->zstd);
    free(u->piece);
    free(u);
}
