/* Writing safetensors: a header that declares every tensor, then their data in that order. See
 * safetensors.h. */
#include "formats/safetensors_file.h"

void qk_st_writer_init(qk_st_writer *w, const char *format)
{
    *w = (qk_st_writer){.header = {.compact = true}};
    qk_json_begin(&w->header, NULL, '{');
    if (!format) return;
    qk_json_begin(&w->header, "__metadata__", '{');
    qk_json_add_str(&w->header, "format", format);
    qk_json_end(&w->header, '}');
}

static size_t data_bytes(const char *dtype, int n_dims, const size_t *shape)
{
    size_t bits = qk_st_dtype_bits(dtype);
    QK_ASSERT(bits);
    for (int d = 0; d < n_dims; d++) QK_ASSERT(qk_mul(bits, shape[d], &bits));
    QK_ASSERT(bits % 8 == 0);
    return bits / 8;
}

void qk_st_writer_declare(qk_st_writer *w, const char *name, const char *dtype, int n_dims,
                          const size_t *shape)
{
    qk_json_out *o = &w->header;
    qk_json_begin(o, name, '{');
    qk_json_add_str(o, "dtype", dtype);
    qk_json_begin(o, "shape", '[');
    for (int d = 0; d < n_dims; d++) qk_json_add_int(o, NULL, (int64_t)shape[d]);
    qk_json_end(o, ']');
    qk_json_begin(o, "data_offsets", '[');
    qk_json_add_int(o, NULL, (int64_t)w->declared);
    QK_ASSERT(qk_add(w->declared, data_bytes(dtype, n_dims, shape), &w->declared));
    qk_json_add_int(o, NULL, (int64_t)w->declared);
    qk_json_end(o, ']');
    qk_json_end(o, '}');
}

qk_status qk_st_writer_begin(qk_st_writer *w, const char *path, qk_error *err)
{
    qk_json_end(&w->header, '}');
    qk_buf *text = &w->header.buf;
    while (text->size % 8) qk_buf_add_byte(text, ' ');
    qk_status s = qk_writer_open(&w->file, path, err);
    if (s == QK_OK) {
        uint8_t length[8];
        for (int i = 0; i < 8; i++) length[i] = (uint8_t)(text->size >> 8 * i);
        qk_writer_add(&w->file, length, 8);
        qk_writer_add(&w->file, text->data, text->size);
    }
    qk_buf_free(text);
    return s;
}

void qk_st_writer_add(qk_st_writer *w, const void *bytes, size_t n)
{
    w->added += n;
    qk_writer_add(&w->file, bytes, n);
}

qk_status qk_st_writer_commit(qk_st_writer *w, qk_error *err)
{
    QK_ASSERT(w->added == w->declared);
    return qk_writer_commit(&w->file, err);
}

void qk_st_writer_abort(qk_st_writer *w)
{
    qk_buf_free(&w->header.buf);
    qk_writer_abort(&w->file);
}

qk_status qk_safetensors_write(const char *path, const qk_st_out_tensor *tensors, size_t count,
                               qk_error *err)
{
    qk_st_writer w;
    qk_st_writer_init(&w, NULL);
    for (size_t i = 0; i < count; i++)
        qk_st_writer_declare(&w, tensors[i].name, tensors[i].dtype, tensors[i].n_dims,
                             tensors[i].shape);
    QK_TRY(qk_st_writer_begin(&w, path, err));
    for (size_t i = 0; i < count; i++)
        qk_st_writer_add(&w, tensors[i].data,
                         data_bytes(tensors[i].dtype, tensors[i].n_dims, tensors[i].shape));
    return qk_st_writer_commit(&w, err);
}
