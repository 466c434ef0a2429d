/* See sealed.h. */
#include "formats/sealed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/beneath.h"
#include "engine/base/hash.h"

#define MARK "sha256 "
enum { MARK_BYTES = 7, SEAL_BYTES = MARK_BYTES + 64 + 1 };

static void make_seal(const void *text, size_t n, char out[SEAL_BYTES + 1])
{
    uint8_t digest[32];
    qk_sha256(text, n, digest);
    memcpy(out, MARK, MARK_BYTES);
    qk_sha256_hex(digest, out + MARK_BYTES);
    memcpy(out + SEAL_BYTES - 1, "\n", 2);
}

void qk_seal(qk_buf *text)
{
    char seal[SEAL_BYTES + 1];
    QK_ASSERT(!text->size || text->data[text->size - 1] == '\n');
    make_seal(text->data, text->size, seal);
    qk_buf_add(text, seal, SEAL_BYTES);
}

qk_status qk_sealed_read(qk_buf *out, const char *path, size_t limit, qk_error *err)
{
    int fd;
    *out = (qk_buf){0};
    QK_TRY(qk_open_regular(&fd, path, O_RDONLY, err));
    qk_status s = qk_read_open_file(out, fd, path, limit, err);
    close(fd);
    if (s != QK_OK) return s;
    char seal[SEAL_BYTES + 1];
    bool whole = out->size >= SEAL_BYTES;
    if (whole) {
        out->size -= SEAL_BYTES;
        make_seal(out->data, out->size, seal);
        whole = !memcmp(out->data + out->size, seal, SEAL_BYTES);
    }
    qk_buf_str(out);
    if (whole) return QK_OK;
    return qk_fail(err, QK_ERR_DAMAGED, "remove this file and run the same command again",
                   "%s: is damaged: its checksum is not that of its text", path);
}

qk_status qk_sealed_json(qk_arena *arena, const char *path, size_t limit, const qk_json **out,
                         qk_error *err)
{
    qk_buf text;
    *out = NULL;
    qk_status s = qk_sealed_read(&text, path, limit, err);
    if (s == QK_OK) s = qk_json_parse(arena, (const char *)text.data, text.size, path, out, err);
    qk_buf_free(&text);
    return s;
}

static qk_status write_sealed(qk_status (*write)(const char *, const void *, size_t, qk_error *),
                              const char *path, const char *text, size_t n, qk_error *err)
{
    qk_buf whole = {0};
    qk_buf_add(&whole, text, n);
    if (n && text[n - 1] != '\n') qk_buf_add_byte(&whole, '\n');
    qk_seal(&whole);
    qk_status s = write(path, whole.data, whole.size, err);
    qk_buf_free(&whole);
    return s;
}

qk_status qk_sealed_create(const char *path, const char *text, size_t n, qk_error *err)
{
    return write_sealed(qk_create_file, path, text, n, err);
}

qk_status qk_sealed_write(const char *path, const char *text, size_t n, qk_error *err)
{
    return write_sealed(qk_write_file, path, text, n, err);
}
