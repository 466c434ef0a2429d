/* engine/dataset: a table of any bytes, plain and once more packed with zstd and read through a
 * window that starts with a few bytes: both give the same rows, and both or neither an error.
 *
 * The first byte picks the format, the second the size of the window. */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <zstd.h>

#include "engine/base/mem.h"
#include "engine/dataset/cell.h"
#include "engine/dataset/columns.h"
#include "engine/dataset/source.h"
#include "engine/dataset/stream.h"

/* All rows as bytes; true when the file was read to its end. */
static bool read_all(qk_format format, const char *path, bool ids, qk_buf *out)
{
    qk_source_spec spec = {format, path, "text", ids ? "id" : NULL, false};
    qk_source *s;
    qk_error err;
    qk_row row;
    qk_id id = {0};
    bool more = true;
    if (qk_source_open(&s, &spec, &err) != QK_OK) return false;
    qk_status status = QK_OK;
    while (more && status == QK_OK) {
        status = qk_source_next(s, &row, &more, &err);
        if (status != QK_OK || !more) continue;
        qk_buf_addf(out, "[%d ", (int)row.text.kind);
        qk_buf_add(out, row.text.text, row.text.length);
        if (ids && qk_cell_to_id(&row.id, &s->id_type, NULL, &id, &err) == QK_OK)
            qk_buf_addf(out, "|%lld|%s", (long long)id.id, id.text);
    }
    qk_source_close(s);
    qk_id_free(&id);
    return status == QK_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        qk_format format;
        const char *name, *packed;
        bool ids;
    } kinds[] = {
        {QK_FORMAT_CSV, "a.csv", "a.csv.zst", true},
        {QK_FORMAT_CSV, "a.tsv", "a.tsv.zst", true},
        {QK_FORMAT_JSON, "a.jsonl", "a.jsonl.zst", true},
        {QK_FORMAT_TEXT, "a.txt", "a.txt.zst", false},
        {QK_FORMAT_JSON, "b.jsonl", "b.jsonl.zst", false},
    };
    if (size < 2 || size > 1 << 16) return 0;
    size_t k = data[0] % (sizeof kinds / sizeof *kinds), window = 1 + data[1] % 64;
    data += 2, size -= 2;
    qk_format format = kinds[k].format;
    qk_buf plain = {0}, unpacked = {0}, packed = {0};
    qk_error err;
    const char *path = fuzz_file(kinds[k].name, data, size);
    bool ok = read_all(format, path, kinds[k].ids, &plain);
    qk_columns columns;
    if (qk_columns_find(&columns, format, path, &err) == QK_OK) qk_columns_free(&columns);

    qk_buf_reserve(&packed, ZSTD_compressBound(size));
    packed.size = ZSTD_compress(packed.data, ZSTD_compressBound(size), data, size, 1);
    size_t usual = qk_stream_first;
    qk_stream_first = window;
    const char *again = fuzz_file(kinds[k].packed, packed.data, packed.size);
    /* A plain file with the first bytes of something else is refused by them. */
    bool same_name = qk_source_check_magic(format, path, &err) == QK_OK;
    bool ok_again = read_all(format, again, kinds[k].ids, &unpacked);
    qk_stream_first = usual;
    if (same_name) {
        QK_ASSERT(ok == ok_again);
        QK_ASSERT(plain.size == unpacked.size);
        QK_ASSERT(!plain.size || !memcmp(plain.data, unpacked.data, plain.size));
    }
    qk_buf_free(&plain);
    qk_buf_free(&unpacked);
    qk_buf_free(&packed);
    return 0;
}
