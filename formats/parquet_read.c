/* Opening a Parquet file and finding its columns. See parquet_read.h. */
#include "formats/parquet_read.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "formats/mistaken.h"
#include "formats/parquet_bits.h"

enum { MAGIC_BYTES = 4, TAIL_BYTES = 8, MAX_FOOTER = 128 << 20 };

/* What a file that is no Parquet begins with, for the message. */
static qk_status not_parquet(const qk_input *in, const char *where, qk_error *err)
{
    char bytes[QK_POINTER_BYTES], head[9] = "";
    size_t n = in->state.size < sizeof bytes ? (size_t)in->state.size : sizeof bytes;
    QK_TRY(qk_input_read(in, 0, bytes, n, err));
    QK_TRY(qk_refuse_stand_in(bytes, n, in->path, err));
    for (size_t i = 0; i < 8 && i < n; i++)
        head[i] = isprint((unsigned char)bytes[i]) ? bytes[i] : '.';
    return qk_fail(err, QK_ERR_FORMAT, "the file is cut short or of another format",
                   "%s: not a Parquet file: no \"PAR1\" at its %s; it begins with '%s'", in->path,
                   where, head);
}

static qk_status find_footer(const qk_input *in, size_t *at, size_t *n, qk_error *err)
{
    const char *path = in->path;
    size_t size = (size_t)in->state.size;
    uint8_t head[MAGIC_BYTES], tail[TAIL_BYTES];
    if (size < MAGIC_BYTES + TAIL_BYTES)
        return qk_fail(err, QK_ERR_FORMAT, qk_pq_damaged,
                       "%s: a file of %zu bytes is too short for Parquet", path, size);
    QK_TRY(qk_input_read(in, 0, head, MAGIC_BYTES, err));
    QK_TRY(qk_input_read(in, size - TAIL_BYTES, tail, TAIL_BYTES, err));
    if (!memcmp(tail + 4, "PARE", 4))
        return qk_fail(err, QK_ERR_UNSUPPORTED, "write it without encryption, where its keys are",
                       "%s: encrypted Parquet is not supported", path);
    if (memcmp(tail + 4, "PAR1", 4)) return not_parquet(in, "end", err);
    if (memcmp(head, "PAR1", 4)) return not_parquet(in, "begin", err);
    *n = qk_pq_u32(tail);
    if (*n > size - MAGIC_BYTES - TAIL_BYTES)
        return qk_fail(err, QK_ERR_FORMAT, qk_pq_damaged,
                       "%s: the footer's length, %zu, exceeds the file of %zu bytes", path, *n,
                       size);
    if (*n > MAX_FOOTER)
        return qk_fail(err, QK_ERR_UNSUPPORTED, "write the file again with larger row groups",
                       "%s: a footer of %zu bytes is more than the limit of %d", path, *n,
                       MAX_FOOTER);
    if (*n == 0) return qk_fail(err, QK_ERR_FORMAT, qk_pq_damaged, "%s: the footer is empty", path);
    *at = size - TAIL_BYTES - *n;
    return QK_OK;
}

static qk_status read_footer(qk_pq_file *f, qk_error *err)
{
    size_t n = 0;
    void *bytes;
    QK_TRY(find_footer(&f->in, &f->footer_at, &n, err));
    QK_TRY(qk_try_alloc(&bytes, n, 1, "the footer of a Parquet file", err));
    qk_status s = qk_input_read(&f->in, f->footer_at, bytes, n, err);
    if (s == QK_OK) s = qk_pq_footer_read(f, bytes, n, err);
    free(bytes);
    return s;
}

qk_status qk_pq_open(qk_pq_file **out, const char *path, qk_error *err)
{
    qk_input in;
    *out = NULL;
    QK_TRY(qk_input_open(&in, path, err));
    qk_pq_file *f = qk_zalloc(1, sizeof *f);
    f->in = in;
    f->path = qk_strdup(path);
    qk_status status = read_footer(f, err);
    if (status == QK_OK)
        *out = f;
    else
        qk_pq_close(f);
    return status;
}

void qk_pq_close(qk_pq_file *f)
{
    if (!f) return;
    qk_arena_free(&f->arena);
    qk_input_close(&f->in);
    free(f->path);
    free(f);
}

const char *qk_pq_metadata(const qk_pq_file *f, const char *key)
{
    for (size_t i = 0; i < f->n_metadata; i++)
        if (f->metadata[i].value && !strcmp(f->metadata[i].key, key)) return f->metadata[i].value;
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
