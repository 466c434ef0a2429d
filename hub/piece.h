/* A part of a file in memory, asked for until it is complete. Private to hub/download.
 *
 * next: hub/piece.c */
#pragma once

#include "hub/listing.h"

enum { QK_PIECE = 4 << 20 };

/* One file as its pieces see it. */
typedef struct qk_piece_source {
    const qk_hub_file *file;
    const char *commit;
    char *url;    /* of the endpoint */
    char *direct; /* where it led last (signed, valid for a while), or NULL */
} qk_piece_source;

typedef enum qk_piece_end {
    QK_PIECE_DONE,
    QK_PIECE_NO_RANGES, /* the server does not give parts: read the file as a stream */
    QK_PIECE_WRONG,     /* not what the listing says; err is set */
    QK_PIECE_FAILED,    /* err is set */
} qk_piece_end;

/* Bytes [from, from + n) of the file into bytes. `direct` is borrowed and may be NULL; *led_to
 * becomes the URL that served it when that is another server's (the caller frees), else NULL. */
qk_piece_end qk_piece_get(qk_http *http, const qk_piece_source *source, const char *direct,
                          uint64_t from, size_t n, uint8_t *bytes, char **led_to, qk_error *err);

/* The whole file as one reply, its first `skip` bytes passed over; `add` gets the rest in order. */
typedef qk_status (*qk_piece_add)(void *context, const void *bytes, size_t n, qk_error *err);
qk_piece_end qk_piece_stream(qk_http *http, const qk_piece_source *source, uint64_t skip,
                             qk_piece_add add, void *context, qk_error *err);
