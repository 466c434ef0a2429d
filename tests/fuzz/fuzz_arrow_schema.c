/* formats/arrow_schema_read: any bytes as the schema, as base64 of themselves and as they are. The
 * first byte says of how many columns, and which of them; a path leads into structs. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "engine/base/hash.h"
#include "formats/arrow_schema_read.h"

static void look(const char *text, size_t index, size_t count, const char *path)
{
    qk_arrow_type t;
    qk_error err = {0};
    qk_status s = qk_arrow_schema_column(&t, text, index, count, path, &err);
    QK_ASSERT(s == QK_OK ? t.unit % 3 == 0 && t.unit <= 9 : err.message[0] && !t.member);
    QK_ASSERT(memchr(t.zone, 0, sizeof t.zone) && memchr(t.extension, 0, sizeof t.extension));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {NULL, "b.c.d", "a", "a.a.a.a.a.a.a.a", "", "..", "b"};
    qk_buf text = {0};
    if (!size) return 0;
    size_t count = data[0] & 15, index = data[0] >> 4;
    qk_base64_add(&text, data + 1, size - 1);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        look(qk_buf_str(&text), index, count, paths[i]);
    qk_buf_clear(&text);
    qk_buf_add(&text, data + 1, size - 1);
    look(qk_buf_str(&text), index, count, NULL);
    qk_buf_free(&text);
    return 0;
}
