/* formats/unpack and engine/dataset/stream: any bytes as a .gz or .zst file of text lines. The
 * first byte picks which, the second the first size of the window. */
#include "tests/fuzz/fuzz.h"

#include "engine/base/mem.h"
#include "engine/dataset/source.h"
#include "engine/dataset/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 1 << 14) return 0;
    const char *path = fuzz_file(data[0] & 1 ? "a.txt.gz" : "a.txt.zst", data + 2, size - 2);
    qk_source_spec spec = {QK_FORMAT_TEXT, path, "text", NULL, false};
    qk_source *s;
    qk_error err = {0};
    qk_row row;
    bool more = true;
    size_t usual = qk_stream_first;
    qk_stream_first = 1 + data[1];
    qk_status status = qk_source_open(&s, &spec, &err);
    while (status == QK_OK && more) status = qk_source_next(s, &row, &more, &err);
    QK_ASSERT(status == QK_OK || err.message[0]);
    qk_source_close(s);
    qk_stream_first = usual;
    return 0;
}
