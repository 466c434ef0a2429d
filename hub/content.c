/* See content.h. */
#include "hub/content.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/digest_note.h"
#include "engine/base/progress.h"
#include "hub/oid.h"

enum { PIECE = 1 << 20 };

/* The digest of an open file, of the kind that `file` has. */
static qk_status read_digest(const qk_hub *hub, const qk_input *in, const qk_hub_file *file,
                             char hex[65], qk_error *err)
{
    uint8_t *piece = qk_alloc(PIECE, 1);
    uint64_t size = in->state.size;
    qk_hash *digest = qk_oid_begin(&(qk_hub_file){.size = size, .digest = file->digest});
    qk_status s = QK_OK;
    for (uint64_t at = 0; at < size && s == QK_OK; at += PIECE) {
        size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
        s = qk_hub_check(hub, err);
        if (s == QK_OK) s = qk_input_read(in, at, piece, n, err);
        if (s == QK_OK) qk_hash_add(digest, piece, n);
        qk_progress_of("hashing what the cache has", (double)(at + n), (double)size, NULL);
    }
    qk_hash_end(digest, hex);
    free(piece);
    return s;
}

static qk_status check_open(const qk_hub *hub, const qk_input *in, const qk_hub_file *file,
                            bool *right, qk_error *err)
{
    char hex[65];
    qk_error changed;
    bool settled = qk_file_state_is_settled(&in->state); /* before it is read */
    *right = file->size == UINT64_MAX || file->size == in->state.size;
    if (!*right || !*file->digest) return QK_OK;
    if (!qk_digest_note_find(&in->state, (int)strlen(file->digest), hex)) {
        QK_TRY(read_digest(hub, in, file, hex, err));
        if (settled && qk_input_check(in, &changed) == QK_OK) qk_digest_note_leave(&in->state, hex);
    }
    *right = !strcmp(hex, file->digest);
    return QK_OK;
}

qk_status qk_content_check(const qk_hub *hub, const char *path, const qk_hub_file *file,
                           bool *right, qk_file_state *seen, qk_error *err)
{
    qk_input in;
    *right = false;
    *seen = (qk_file_state){0};
    QK_TRY(qk_input_open(&in, path, err));
    *seen = in.state;
    qk_status s = check_open(hub, &in, file, right, err);
    qk_input_close(&in);
    return s;
}

void qk_content_note(const char *path, const qk_hub_file *file, const qk_file_state *seen)
{
    qk_error changed;
    if (qk_file_state_check(seen, path, &changed) == QK_OK)
        qk_digest_note_leave(seen, file->digest);
}
