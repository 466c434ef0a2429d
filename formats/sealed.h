/* Small files with a checksum: the text, and a last line "sha256 <64 digits>" of what is before it.
 *
 * A file that lost or changed a bit is QK_ERR_DAMAGED, by name. The seal finds accidents; whoever
 * writes a file on purpose can seal it as well, so what a file says is checked all the same.
 *
 * next: engine/staging/staging.h */
#pragma once

#include "engine/base/file.h"
#include "formats/json.h"

/* Adds the last line to a text, which must end with a line end or be empty. */
void qk_seal(qk_buf *text);
/* Reads a sealed file of at most `limit` bytes: the text without the seal, NUL-terminated behind
 * its size. Links, pipes and devices are refused. QK_ERR_NOTFOUND: there is no such file. The
 * caller frees the buffer in any case. */
qk_status qk_sealed_read(qk_buf *out, const char *path, size_t limit, qk_error *err);
/* The same, parsed. The tree lives in the arena. */
qk_status qk_sealed_json(qk_arena *arena, const char *path, size_t limit, const qk_json **out,
                         qk_error *err);
/* Writes it for whoever comes first (qk_create_file), or anew (qk_write_file). */
qk_status qk_sealed_create(const char *path, const char *text, size_t n, qk_error *err);
qk_status qk_sealed_write(const char *path, const char *text, size_t n, qk_error *err);
