/* The bytes of a file in order, plain or unpacked, as a window that slides: what text.c,
 * json_rows.c and csv_row.c read from.
 *
 *   [begin ... at ... end)    at is moved by the reader; before it lies what was read
 *
 * The window is a buffer: qk_stream_more drops what lies before `at`, moves the rest to the front
 * and reads or unpacks behind it. A reader that finds no end of its row before `end` calls it and
 * tries again. The rest may grow to QK_STREAM_MAX bytes in a plain file and QK_STREAM_MAX_PACKED
 * in a packed one, so no row is longer than that, and a file that unpacks to terabytes needs no
 * more memory than one row. Private to engine/dataset/.
 *
 * next: engine/dataset/text.c */
#pragma once

#include "engine/base/file.h"
#include "formats/unpack.h"

enum { QK_STREAM_MAX = 1 << 30, QK_STREAM_MAX_PACKED = 32 << 20 };
extern size_t qk_stream_first; /* bytes of a new window: 256 kB; tests cut rows with smaller ones */

typedef struct qk_stream {
    const char *begin, *at, *end;
    bool ended;      /* nothing follows `end` */
    uint64_t offset; /* bytes of the plain text before `begin` */
    uint64_t line;   /* line ends (LF) among them */
    size_t column;   /* bytes among them behind the last line end */

    const char *path; /* borrowed, for messages */
    qk_input in;
    uint64_t taken;        /* bytes of a plain file that are or were in the window */
    qk_unpacker *unpacker; /* NULL: plain */
    char *buffer;          /* capacity bytes */
    size_t capacity;
} qk_stream;

/* By the last part of the name: .gz and .zst are unpacked; .bz2, .xz, .lz4 refused by name. */
qk_status qk_stream_open(qk_stream *s, const char *path, qk_error *err);
/* Makes the window longer, or sets `ended`. Pointers into it become invalid. Looks at signals. */
qk_status qk_stream_more(qk_stream *s, qk_error *err);
/* How a file of this name is packed. */
qk_status qk_stream_packing(const char *path, qk_packing *out, qk_error *err);
void qk_stream_close(qk_stream *s); /* zeroed: fine */
