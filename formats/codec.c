/* See codec.h. */
#include "formats/codec.h"

#include <brotli/decode.h>
#include <limits.h>
#include <lz4.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "formats/parquet_creator.h"

static const char *const names[] = {"none",   "snappy", "gzip", "LZO",
                                    "brotli", "lz4",    "zstd", "lz4_raw"};

const char *qk_codec_name(int codec)
{
    return codec >= 0 && codec <= QK_CODEC_LZ4 ? names[codec] : NULL;
}

qk_status qk_codec_check(int codec, qk_error *err)
{
    if (!qk_codec_name(codec))
        return qk_fail(err, QK_ERR_FORMAT, NULL, "unknown compression codec %d", codec);
    if (codec == QK_CODEC_LZO)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "write the file with zstd or snappy",
                       "LZO compression is not supported");
    return QK_OK;
}

size_t qk_codec_max_plain(int codec, size_t n)
{
    const size_t usual = (size_t)64 << 20, ratio = 1000;
    size_t max;
    switch (codec) {
    case QK_CODEC_NONE: return n;
    case QK_CODEC_SNAPPY: max = n * 22; break; /* a copy makes 64 bytes of 3 */
    case QK_CODEC_GZIP: max = n * 1032; break; /* 258 bytes of 2 bits */
    case QK_CODEC_LZ4:
    case QK_CODEC_LZ4_HADOOP: max = n * 255; break; /* a length byte of a match */
    default:
        /* A page is usually one megabyte. One that is larger than 64 and more than a thousand times
         * its packed size is no page that a writer makes. */
        max = n > usual / ratio ? n * ratio : usual;
    }
    return max < INT_MAX ? max : INT_MAX;
}

static qk_status bad(qk_error *err, int codec, const char *what)
{
    return qk_fail(err, QK_ERR_FORMAT, qk_pq_damaged, "%s: %s", qk_codec_name(codec), what);
}

static qk_status too_much(qk_error *err, int codec)
{
    return qk_fail(err, QK_ERR_FORMAT, NULL, "%s: the page expands to more than its header says",
                   qk_codec_name(codec));
}

static qk_status other_size(qk_error *err, int codec, unsigned long long is, size_t plain)
{
    return qk_fail(err, QK_ERR_FORMAT, NULL,
                   "%s: the page expands to %llu bytes, but its header says %zu",
                   qk_codec_name(codec), is, plain);
}

static qk_status expand_snappy(const uint8_t *in, size_t n, uint8_t *out, size_t plain,
                               qk_error *err)
{
    size_t length;
    if (snappy_uncompressed_length((const char *)in, n, &length) != SNAPPY_OK)
        return bad(err, QK_CODEC_SNAPPY, "bad length");
    if (length != plain) return other_size(err, QK_CODEC_SNAPPY, length, plain);
    if (snappy_uncompress((const char *)in, n, (char *)out, &length) != SNAPPY_OK)
        return bad(err, QK_CODEC_SNAPPY, "the data are damaged or end early");
    return QK_OK;
}

/* A page may be several gzip members. */
static qk_status expand_gzip(const uint8_t *in, size_t n, uint8_t *out, size_t plain, qk_error *err)
{
    z_stream z = {0};
    uint8_t spare; /* a byte beyond the end shows whether more would come */
    if (n > UINT_MAX || plain > UINT_MAX) return bad(err, QK_CODEC_GZIP, "a page of over 4 GB");
    if (inflateInit2(&z, 15 + 32) != Z_OK)
        return qk_fail(err, QK_ERR_IO, NULL, "gzip: out of memory");
    z.next_in = (Bytef *)(uintptr_t)in, z.avail_in = (uInt)n;
    z.next_out = plain ? out : &spare, z.avail_out = (uInt)plain;
    int rc = Z_OK;
    while (rc == Z_OK) {
        bool full = z.avail_out == 0;
        if (full) z.next_out = &spare, z.avail_out = 1;
        rc = inflate(&z, Z_NO_FLUSH);
        if (full && z.avail_out == 0) {
            inflateEnd(&z);
            return too_much(err, QK_CODEC_GZIP);
        }
        if (full) z.avail_out = 0;
        if (rc == Z_STREAM_END && z.avail_in) rc = inflateReset(&z);
    }
    const char *why = z.msg ? z.msg : "the data end early";
    size_t missing = z.avail_out;
    inflateEnd(&z);
    if (rc != Z_STREAM_END) return bad(err, QK_CODEC_GZIP, why);
    return missing ? other_size(err, QK_CODEC_GZIP, plain - missing, plain) : QK_OK;
}

static qk_status expand_brotli(const uint8_t *in, size_t n, uint8_t *out, size_t plain,
                               qk_error *err)
{
    size_t size = plain;
    if (BrotliDecoderDecompress(n, in, &size, out) != BROTLI_DECODER_RESULT_SUCCESS)
        return bad(err, QK_CODEC_BROTLI, "the data are damaged or expand to another size");
    return size == plain ? QK_OK : other_size(err, QK_CODEC_BROTLI, size, plain);
}

/* Several frames, skippable ones and frames without a content size are all fine. */
static qk_status expand_zstd(const uint8_t *in, size_t n, uint8_t *out, size_t plain, qk_error *err)
{
    size_t size = ZSTD_decompress(out, plain, in, n);
    if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall) return too_much(err, QK_CODEC_ZSTD);
    if (ZSTD_isError(size)) return bad(err, QK_CODEC_ZSTD, ZSTD_getErrorName(size));
    return size == plain ? QK_OK : other_size(err, QK_CODEC_ZSTD, size, plain);
}

static qk_status expand_lz4(const uint8_t *in, size_t n, uint8_t *out, size_t plain, qk_error *err)
{
    if (n > INT_MAX || plain > INT_MAX) return bad(err, QK_CODEC_LZ4, "a page of over 2 GB");
    int size = LZ4_decompress_safe((const char *)in, (char *)out, (int)n, (int)plain);
    if (size < 0) return bad(err, QK_CODEC_LZ4, "the data are damaged or expand to another size");
    return (size_t)size == plain ? QK_OK
                                 : other_size(err, QK_CODEC_LZ4, (unsigned long long)size, plain);
}

static size_t big_endian(const uint8_t *p)
{
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* Old Arrow wrote bare blocks under this number, so those are tried when the frames do not fit. */
static qk_status expand_hadoop(const uint8_t *in, size_t n, uint8_t *out, size_t plain,
                               qk_error *err)
{
    size_t at = 0, made = 0;
    qk_error ignored; /* what counts is what the bare block says */
    while (n - at >= 8) {
        size_t size = big_endian(in + at), packed = big_endian(in + at + 4);
        if (packed > n - at - 8 || size > plain - made) break;
        if (expand_lz4(in + at + 8, packed, out + made, size, &ignored) != QK_OK) break;
        at += 8 + packed, made += size;
    }
    if (at == n && made == plain) return QK_OK;
    return expand_lz4(in, n, out, plain, err);
}

qk_status qk_codec_expand(int codec, const uint8_t *in, size_t n, uint8_t *out, size_t plain,
                          qk_error *err)
{
    switch (codec) {
    case QK_CODEC_SNAPPY: return expand_snappy(in, n, out, plain, err);
    case QK_CODEC_GZIP: return expand_gzip(in, n, out, plain, err);
    case QK_CODEC_BROTLI: return expand_brotli(in, n, out, plain, err);
    case QK_CODEC_ZSTD: return expand_zstd(in, n, out, plain, err);
    case QK_CODEC_LZ4_HADOOP: return expand_hadoop(in, n, out, plain, err);
    case QK_CODEC_LZ4: return expand_lz4(in, n, out, plain, err);
    default: return qk_codec_check(codec, err);
    }
}
