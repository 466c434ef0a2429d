/* gzip and zstd files as streams: members or frames one after the other, expanded piece by piece.
 *
 * gzip: members (RFC 1952), zero bytes behind the last one are padding; CRC and length of each are
 * checked. zstd: frames (RFC 8878) with skippable ones between; checksums and declared sizes are
 * checked, windows above 128 MB are refused. Memory is the window of the format and 64 kB of the
 * packed file, whatever that expands to.
 *
 * next: engine/dataset/stream.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/input.h"

typedef enum qk_packing { QK_PACKING_NONE, QK_PACKING_GZIP, QK_PACKING_ZSTD } qk_packing;

typedef struct qk_unpacker qk_unpacker;

/* The file is borrowed until qk_unpack_close; one of no byte at all expands to nothing. */
qk_status qk_unpack_open(qk_unpacker **out, qk_packing packing, const qk_input *in, qk_error *err);
/* Fills out[0..capacity), or as much as there is: *made < capacity only behind the last byte, and then
 * *ended is true. QK_ERR_FORMAT: "gzip: the data end early, at byte 311 of the packed file". */
qk_status qk_unpack_next(qk_unpacker *u, char *out, size_t capacity, size_t *made, bool *ended,
                         qk_error *err);
void qk_unpack_close(qk_unpacker *u); /* NULL-safe */
